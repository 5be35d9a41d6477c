/* Ethernet addresses (IEEE 802.3) and the frames that ARP and NDP put on the wire. */
#ifndef MLB_ETHER_H
#define MLB_ETHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_MAC_SIZE 6
#define MLB_MAC_TEXT 18		/* "aa:bb:cc:dd:ee:ff" and its NUL */
#define MLB_ETHER_HEADER 14	/* destination, source, EtherType */
#define MLB_FRAME_SIZE 86	/* the largest frame we build: Ethernet, IPv6, NA, one link-layer option */

extern const uint8_t mlb_mac_broadcast[MLB_MAC_SIZE];

/* A frame to be sent, without padding and checksum of Ethernet: the interface adds both. */
struct mlb_frame {
	size_t length;
	uint8_t bytes[MLB_FRAME_SIZE];
};

/* Read `aa:bb:cc:dd:ee:ff` in either case; false when `text` is anything else. */
bool mlb_mac_parse(const char *text, uint8_t ret_mac[MLB_MAC_SIZE]);

/* Write the lower-case form. */
void mlb_mac_format(const uint8_t mac[MLB_MAC_SIZE], char ret_text[MLB_MAC_TEXT]);

/* Can it be a station's own address: neither a group (the I/G bit, which broadcast has too) nor all zero. */
bool mlb_mac_is_station(const uint8_t mac[MLB_MAC_SIZE]);

/* Start `frame` with an Ethernet header; `type` is the EtherType in host order. */
void mlb_ether_start(struct mlb_frame *frame, const uint8_t destination[MLB_MAC_SIZE],
		     const uint8_t source[MLB_MAC_SIZE], uint16_t type);

/* Append bytes to a frame that has the room for them; the builders know their sizes. */
void mlb_frame_put(struct mlb_frame *frame, const void *bytes, size_t length);
void mlb_frame_put16(struct mlb_frame *frame, uint16_t value);	/* network order */
void mlb_frame_put8(struct mlb_frame *frame, uint8_t value);

#endif
