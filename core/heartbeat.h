/* The heartbeat: one broadcast UDP datagram in which a node says what it is, whom it hears and what it claims. Codec and
 * authentication; who may be believed is core/segment.h's. All integers are in network order on the wire:
 *
 *	 0 magic "MLHB"			 4 version 1, flags, length of name, count of heard
 *	 8 key id			12 cluster (16 bytes)
 *	28 newest key id		32 incarnation		36 nonce
 *	40 sequence (8)			48 digest (8)		56 MAC of the interface (6)
 *	62 counts: handshakes, want, relays, statements		66 whole: index, total (2 each), id (4)		74 zero (2)
 *	76 name; heard {id 4}; handshakes {id 4, incarnation 4, nonce 4}; want {id 4};
 *	   relays {group 16, term 8, length 1, node}; statements {group 16, giving 1 bit, term 63 bit};
 *	   HMAC-SHA256 over all before it, its first 16 bytes (RFC 2104 section 5) */
#ifndef MLB_HEARTBEAT_H
#define MLB_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_HEARTBEAT_PAYLOAD 1472	/* bytes at most: an MTU of 1500 less IPv4 and UDP */
#define MLB_HEARTBEAT_HEADER 76
#define MLB_HEARTBEAT_TAG 16
#define MLB_HEARTBEAT_WRAP 42		/* Ethernet, IPv4, UDP */
#define MLB_HEARTBEAT_NAME 253		/* RFC 1123: the longest node name */
#define MLB_HEARTBEAT_ID 16		/* a group, a cluster: a UID, or the hash of another text */
#define MLB_HEARTBEAT_KEY 32
#define MLB_HEARTBEAT_TERM ((UINT64_C(1) << 63) - 1)

enum mlb_heartbeat_flag {
	MLB_HEARTBEAT_GIVES_ALL = 1,	/* the sender serves nothing (any more) */
	MLB_HEARTBEAT_STALE = 2,	/* its view of the API is old */
	MLB_HEARTBEAT_MORE = 4,		/* the next datagram goes on with this one's statements */
};

/* Sizes of the lists' elements; of a relay, without its node's name. */
#define MLB_HEARD_SIZE 4
#define MLB_HANDSHAKE_SIZE 12
#define MLB_WANT_SIZE 4
#define MLB_RELAY_SIZE 25
#define MLB_STATEMENT_SIZE 24

/* A datagram. The lists are as on the wire, and within the decoded payload. */
struct mlb_heartbeat {
	uint8_t flags;
	uint32_t key_id, newest_key_id;
	uint8_t cluster[MLB_HEARTBEAT_ID];
	uint32_t incarnation, nonce;
	uint64_t sequence, digest;
	uint8_t mac[MLB_MAC_SIZE];
	uint32_t whole_id;	/* 0: not part of a whole set */
	uint16_t whole_index, whole_total;
	char name[MLB_HEARTBEAT_NAME + 1];
	uint8_t nheard, nhandshakes, nwant, nrelays, nstatements;
	size_t relays_length;
	const uint8_t *heard, *handshakes, *want, *relays, *statements;
};

struct mlb_handshake {
	uint32_t id;		/* the node that it is for */
	uint32_t incarnation;	/* it must go above this */
	uint32_t nonce;		/* the one that it sent */
};

struct mlb_statement {
	uint8_t group[MLB_HEARTBEAT_ID];
	uint64_t term;
	bool is_giving;
};

struct mlb_relay {
	uint8_t group[MLB_HEARTBEAT_ID];
	uint64_t term;
	uint8_t node_length;
	char node[MLB_HEARTBEAT_NAME + 1];
};

/* Read a payload with its tag (not checked here). 0, or -EBADMSG and `*ret_why` says what is wrong (may be NULL). */
int mlb_heartbeat_decode(const uint8_t *payload, size_t length, struct mlb_heartbeat *ret_heartbeat, const char **ret_why);

/* Write a payload without its tag; returns its length, 0 when it would not fit. */
size_t mlb_heartbeat_encode(const struct mlb_heartbeat *heartbeat, uint8_t ret_payload[MLB_HEARTBEAT_PAYLOAD]);

/* Element `i` of a list, `i` below its count. */
uint32_t mlb_heartbeat_id_at(const uint8_t *list, unsigned i);
void mlb_heartbeat_handshake_at(const struct mlb_heartbeat *heartbeat, unsigned i, struct mlb_handshake *ret_handshake);
void mlb_heartbeat_statement_at(const struct mlb_heartbeat *heartbeat, unsigned i, struct mlb_statement *ret_statement);

/* The relay at `position` (0 first) of the list, and the position after it; false at the end. */
bool mlb_heartbeat_relay_at(const struct mlb_heartbeat *heartbeat, size_t *position, struct mlb_relay *ret_relay);

/* Write one element; returns its size. */
size_t mlb_heartbeat_put_id(uint8_t *out, uint32_t id);
size_t mlb_heartbeat_put_handshake(uint8_t *out, const struct mlb_handshake *handshake);
size_t mlb_heartbeat_put_statement(uint8_t *out, const struct mlb_statement *statement);
size_t mlb_heartbeat_put_relay(uint8_t *out, const struct mlb_relay *relay);

/* What a node's name is in lists (FNV-1a): two nodes of a cluster with the same one are refused where both are heard. */
uint32_t mlb_heartbeat_node_id(const char *name, size_t length);

/* 16 bytes for a text: those of a UUID (RFC 4122 section 3), of anything else a hash. */
void mlb_heartbeat_id(const char *text, size_t length, uint8_t ret_id[MLB_HEARTBEAT_ID]);

/* The keys in force: `previous` may be NULL. NULL when libcrypto fails. Not for two threads at once. */
struct mlb_heartbeat_keys;
struct mlb_heartbeat_keys *mlb_heartbeat_keys_new(const uint8_t current[MLB_HEARTBEAT_KEY],
						  const uint8_t *previous);
void mlb_heartbeat_keys_free(struct mlb_heartbeat_keys *keys);

/* Public name of a key; 0 for a previous one that is not there. */
uint32_t mlb_heartbeat_key_id(const struct mlb_heartbeat_keys *keys, bool is_previous);

/* Append the tag made with one of the keys to a payload of `length` bytes that has room for it. 0 or -EIO. */
int mlb_heartbeat_sign(struct mlb_heartbeat_keys *keys, bool is_previous, uint8_t *payload, size_t length);

/* Is the tag at the end right, by the key that the payload names? `length` counts the tag. */
bool mlb_heartbeat_verify(struct mlb_heartbeat_keys *keys, const uint8_t *payload, size_t length);

/* Put Ethernet, IPv4 and UDP headers (RFC 791, 768; no UDP checksum: the tag is better) before a payload. */
void mlb_heartbeat_wrap(const uint8_t mac[MLB_MAC_SIZE], uint16_t port, size_t payload_length,
			uint8_t ret_headers[MLB_HEARTBEAT_WRAP]);

/* The payload of a frame as mlb_heartbeat_wrap makes it; NULL for any other. */
const uint8_t *mlb_heartbeat_unwrap(const uint8_t *frame, size_t length, uint16_t port, size_t *ret_length);

#endif
