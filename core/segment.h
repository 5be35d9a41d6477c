/* Who speaks on one segment: the peers heard on an interface, which of their heartbeats are believed, and what our own
 * heartbeats carry of that. No socket and no clock here. Written by the pulse thread alone; what the loop reads is atomic.
 *
 * A datagram recorded earlier is never believed, and no wall clock is needed for that: within an incarnation (and nonce) of
 * a peer only a higher sequence counts; another incarnation must be higher, and its datagram must echo the nonce that this
 * process made at its start. Who refuses a peer, or is not heard by it, echoes that peer's nonce, and says above which
 * incarnation it must go. */
#ifndef MLB_SEGMENT_H
#define MLB_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heartbeat.h"

#define MLB_SEGMENT_PEERS 256
#define MLB_SEGMENT_VOUCHED 128	/* ids of peers heard in one datagram, at most */

enum mlb_segment_verdict {
	MLB_SEGMENT_SAME,	/* believed, and says what it said before */
	MLB_SEGMENT_NEWS,	/* believed: hand it on, then call mlb_segment_told */
	MLB_SEGMENT_FOREIGN,	/* of another cluster, or under a key that we do not have */
	MLB_SEGMENT_BAD,	/* not a heartbeat, or from a second node with the id of a peer */
	MLB_SEGMENT_FORGED,	/* the tag is wrong */
	MLB_SEGMENT_REPLAYED,	/* not after what was believed before */
	MLB_SEGMENT_UNPROVEN,	/* another incarnation without our nonce: we owe it a handshake */
	MLB_SEGMENT_OWN,	/* from a node of our own name */
	MLB_SEGMENT_FULL,	/* no room for another peer */
	MLB_SEGMENT_VERDICTS,
};

struct mlb_segment_peer {
	char name[MLB_HEARTBEAT_NAME + 1];
	uint32_t id;
	bool is_used, is_believed, is_told;
	bool hears_us;			/* as it said last */
	uint32_t incarnation, nonce;	/* of what was believed last */
	uint32_t offered_nonce;		/* of what was refused last; echoed until `offered_until_ms` */
	int64_t offered_until_ms;
	uint32_t newest_key_id;
	uint64_t sequence, content;
	int64_t vouch_at_ms;		/* when it was believed last, since we slept */
	int64_t seen_at_ms;		/* anything authentic */
	_Atomic int64_t heard_at_ms;	/* believed, and the loop knows who is in this slot; 0: never */
	_Atomic uint64_t mac;		/* 48 bits, of what was believed last */
};

struct mlb_segment_options {
	char name[MLB_HEARTBEAT_NAME + 1];	/* this node's */
	uint8_t cluster[MLB_HEARTBEAT_ID];
	uint32_t nonce;				/* random */
	unsigned vouch_ms;			/* a peer heard within this is vouched for */
	unsigned silent_ms;			/* a peer not heard for longer counts as gone */
};

struct mlb_segment {
	struct mlb_segment_options options;
	uint32_t id, incarnation;
	uint64_t sequence;
	unsigned next_handshake;
	_Atomic uint32_t npeers;		/* slots used so far */
	atomic_bool must_retell;		/* the loop's: what every peer says is news again */
	struct mlb_segment_peer peers[MLB_SEGMENT_PEERS];
};

/* What the loop gave to say: lists as on the wire, want then relays then statements, in as many parts as needed. */
struct mlb_segment_part {
	uint8_t flags, nwant, nrelays, nstatements;
	uint16_t whole_index, whole_total;
	size_t relays_length, length;
	uint8_t bytes[MLB_HEARTBEAT_PAYLOAD];
};

struct mlb_segment_body {
	uint64_t generation;	/* another one for another body */
	uint64_t digest;
	uint32_t whole_id;
	size_t nparts;
	struct mlb_segment_part parts[];
};

/* A segment on which nobody was heard. NULL when out of memory; free(3) it. */
struct mlb_segment *mlb_segment_new(const struct mlb_segment_options *options);

/* How many bytes a part may have so that its datagram fits into `payload_most` with what the thread adds. */
size_t mlb_segment_part_room(const char *name, size_t payload_most);

/* Judge a payload that arrived at `now_ms`. For SAME, NEWS and UNPROVEN `*ret_slot` is the sender's slot; for SAME and
 * NEWS `*ret_heartbeat` refers to the payload. */
enum mlb_segment_verdict mlb_segment_hear(struct mlb_segment *segment, struct mlb_heartbeat_keys *keys,
					  const uint8_t *payload, size_t length, int64_t now_ms,
					  struct mlb_heartbeat *ret_heartbeat, uint32_t *ret_slot);

/* The loop will learn of the NEWS of that slot. Not called, the same news come again with the next datagram. */
void mlb_segment_told(struct mlb_segment *segment, uint32_t slot, const struct mlb_heartbeat *heartbeat, int64_t now_ms);

/* Is there a peer that refuses us or that we refuse, to be answered before the next tick? */
bool mlb_segment_owes(const struct mlb_segment *segment, int64_t now_ms);

/* We slept: vouch for nobody until really heard. */
void mlb_segment_slept(struct mlb_segment *segment);

/* Build and sign the datagram for one part. Returns the payload's length with its tag; 0 when it cannot be made. */
size_t mlb_segment_compose(struct mlb_segment *segment, struct mlb_heartbeat_keys *keys,
			   const struct mlb_segment_body *body, size_t part, const uint8_t mac[MLB_MAC_SIZE],
			   size_t payload_most, int64_t now_ms, uint8_t ret_payload[MLB_HEARTBEAT_PAYLOAD]);

#endif
