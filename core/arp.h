/* ARP for IPv4 over Ethernet (RFC 826) and what RFC 5227 makes of it: probes, announcements, answers. */
#ifndef MLB_ARP_H
#define MLB_ARP_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_ARP_FRAME 42	/* bytes, without Ethernet's padding to 60 */

enum mlb_arp_operation {
	MLB_ARP_REQUEST = 1,
	MLB_ARP_REPLY = 2,
};

struct mlb_arp {
	uint8_t destination[MLB_MAC_SIZE];	/* of the Ethernet frame */
	uint8_t source[MLB_MAC_SIZE];
	enum mlb_arp_operation operation;
	uint8_t sender_mac[MLB_MAC_SIZE];
	struct in_addr sender_ip;
	uint8_t target_mac[MLB_MAC_SIZE];
	struct in_addr target_ip;
};

/* Read a frame. 0, or -EBADMSG and `*ret_why` names the field and what it should be (a constant; may be NULL). */
int mlb_arp_decode(const uint8_t *bytes, size_t length, struct mlb_arp *ret_arp, const char **ret_why);

/* Write a frame, as given. */
void mlb_arp_encode(const struct mlb_arp *arp, struct mlb_frame *ret_frame);

/* The reply to `request`, unicast to who asked; `mac` is said to have the request's target (RFC 826, "Packet Reception"). */
void mlb_arp_answer(const struct mlb_arp *request, const uint8_t mac[MLB_MAC_SIZE], struct mlb_frame *ret_frame);

/* "Is anybody using this address?" (RFC 5227 section 2.1.1). */
void mlb_arp_probe(const uint8_t mac[MLB_MAC_SIZE], struct in_addr ip, struct mlb_frame *ret_frame);

/* "I am using this address": as a request (RFC 5227 section 2.3) or as a reply (RFC 5944 section 4.6). */
void mlb_arp_gratuitous(enum mlb_arp_operation operation, const uint8_t mac[MLB_MAC_SIZE], struct in_addr ip,
			struct mlb_frame *ret_frame);

#endif
