/* UDP over IPv4 in an Ethernet frame (RFC 768, 791, 894), for who speaks through AF_PACKET before it has an address. */
#ifndef MLB_DATAGRAM_H
#define MLB_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_DATAGRAM_HEADERS (MLB_ETHER_HEADER + 20 + 8)	/* of what we write: no IPv4 options */

/* Addresses and ports in host order. */
struct mlb_datagram {
	uint8_t source_mac[MLB_MAC_SIZE];
	uint8_t destination_mac[MLB_MAC_SIZE];
	uint32_t source;
	uint32_t destination;
	uint16_t source_port;
	uint16_t destination_port;
	const uint8_t *payload;
	size_t length;
};

/* Write the frame. 0; -EMSGSIZE when it has no room in `size` bytes or in an IPv4 packet. */
int mlb_datagram_wrap(const struct mlb_datagram *datagram, uint8_t *ret_frame, size_t size, size_t *ret_length);

/* Read a frame; `payload` points into it. IPv4 options are stepped over. Refused: fragments, lengths that do not fit, a wrong
 * checksum of IPv4 or UDP; a UDP checksum of zero means none (RFC 768). 0, or -EBADMSG and `*ret_why` (unless NULL) says
 * what is wrong (a constant). */
int mlb_datagram_unwrap(const uint8_t *frame, size_t length, struct mlb_datagram *ret_datagram, const char **ret_why);

/* Compute the UDP checksum that a sender on this machine left for hardware that the frame never met. What is no such
 * datagram stays as it is. */
void mlb_datagram_complete(uint8_t *frame, size_t length);

#endif
