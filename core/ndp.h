/* Neighbour discovery over Ethernet: solicitations and advertisements (RFC 4861 sections 4.3, 4.4, 7.1, 7.2) and
 * duplicate address detection (RFC 4862 section 5.4). */
#ifndef MLB_NDP_H
#define MLB_NDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

enum mlb_ndp_type {
	MLB_NDP_SOLICITATION = 135,
	MLB_NDP_ADVERTISEMENT = 136,
};

struct mlb_ndp {
	uint8_t destination_mac[MLB_MAC_SIZE];	/* of the Ethernet frame */
	uint8_t source_mac[MLB_MAC_SIZE];
	struct in6_addr source;			/* unspecified: duplicate address detection */
	struct in6_addr destination;
	enum mlb_ndp_type type;
	struct in6_addr target;
	bool is_router, is_solicited, is_override;	/* flags of an advertisement; false in a solicitation */
	bool has_link_address;	/* source (in a solicitation) or target link-layer address option */
	uint8_t link_address[MLB_MAC_SIZE];
};

/* Read a frame, checksum included. 0, or -EBADMSG and `*ret_why` names the field and what it should be (a constant; may be NULL). */
int mlb_ndp_decode(const uint8_t *bytes, size_t length, struct mlb_ndp *ret_ndp, const char **ret_why);

/* Write a frame, as given; hop limit 255 and checksum are added. */
void mlb_ndp_encode(const struct mlb_ndp *ndp, struct mlb_frame *ret_frame);

/* The advertisement that answers `solicitation`: to who asked, solicited; to all nodes, unsolicited, when the asker has
 * no address yet (RFC 4861 section 7.2.4). `mac` is said to have the target. */
void mlb_ndp_answer(const struct mlb_ndp *solicitation, const uint8_t mac[MLB_MAC_SIZE], struct mlb_frame *ret_frame);

/* "Is anybody using this address?" (RFC 4862 section 5.4.2). */
void mlb_ndp_probe(const uint8_t mac[MLB_MAC_SIZE], const struct in6_addr *address, struct mlb_frame *ret_frame);

/* "I am using this address": an unsolicited advertisement with Override to all nodes (RFC 4861 section 7.2.6). */
void mlb_ndp_unsolicited(const uint8_t mac[MLB_MAC_SIZE], const struct in6_addr *address, struct mlb_frame *ret_frame);

/* The solicited-node group of an address (RFC 4291 section 2.7.1) and the Ethernet address of a group (RFC 2464 section 7). */
void mlb_ndp_solicited_node(const struct in6_addr *address, struct in6_addr *ret_group);
void mlb_ndp_group_mac(const struct in6_addr *group, uint8_t ret_mac[MLB_MAC_SIZE]);

#endif
