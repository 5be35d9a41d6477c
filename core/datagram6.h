/* UDP over IPv6 in an Ethernet frame (RFC 768, 8200), for who speaks through AF_PACKET. */
#ifndef MLB_DATAGRAM6_H
#define MLB_DATAGRAM6_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_DATAGRAM6_HEADERS (MLB_ETHER_HEADER + 40 + 8)

/* Ports in host order. */
struct mlb_datagram6 {
	uint8_t source_mac[MLB_MAC_SIZE];
	uint8_t destination_mac[MLB_MAC_SIZE];
	struct in6_addr source;
	struct in6_addr destination;
	uint16_t source_port;
	uint16_t destination_port;
	const uint8_t *payload;
	size_t length;
};

/* Write the frame. 0; -EMSGSIZE when it has no room in `size` bytes. */
int mlb_datagram6_wrap(const struct mlb_datagram6 *datagram, uint8_t *ret_frame, size_t size, size_t *ret_length);

/* Read a frame; `payload` points into it. Refused: extension headers (fragments among them), lengths that do not fit, a wrong
 * checksum or none (RFC 8200 section 8.1). 0, or -EBADMSG and `*ret_why` (unless NULL) says what is wrong (a constant). */
int mlb_datagram6_unwrap(const uint8_t *frame, size_t length, struct mlb_datagram6 *ret_datagram, const char **ret_why);

/* Compute the checksum that a sender on this machine left for hardware that the frame never met. What is no such datagram
 * stays as it is. */
void mlb_datagram6_complete(uint8_t *frame, size_t length);

/* The link-local address that a MAC makes (RFC 4291 appendix A). */
struct in6_addr mlb_link_local(const uint8_t mac[MLB_MAC_SIZE]);

#endif
