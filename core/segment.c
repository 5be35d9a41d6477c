#include "segment.h"

#include <stdlib.h>
#include <string.h>

#define OFFER_MS 1000		/* a refused peer is echoed for this long after its last datagram */
#define FORGET_MS 60000		/* a peer silent for longer makes room for another */
#define HANDSHAKES_RESERVED 4	/* in each datagram */

/* FNV-1a over 64 bits, as a fingerprint of what a peer says; it is authentic, so nobody searches for collisions. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t content_of(const struct mlb_heartbeat *heartbeat)
{
	const uint8_t *end = heartbeat->statements + (size_t)heartbeat->nstatements * MLB_STATEMENT_SIZE;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = mix(hash, &heartbeat->flags, sizeof(heartbeat->flags));
	hash = mix(hash, &heartbeat->digest, sizeof(heartbeat->digest));
	hash = mix(hash, &heartbeat->whole_id, sizeof(heartbeat->whole_id));
	hash = mix(hash, &heartbeat->whole_index, sizeof(heartbeat->whole_index));
	hash = mix(hash, &heartbeat->incarnation, sizeof(heartbeat->incarnation));
	hash = mix(hash, heartbeat->mac, MLB_MAC_SIZE);
	hash = mix(hash, heartbeat->heard, (size_t)heartbeat->nheard * MLB_HEARD_SIZE);
	return mix(hash, heartbeat->want, (size_t)(end - heartbeat->want));
}

struct mlb_segment *mlb_segment_new(const struct mlb_segment_options *options)
{
	struct mlb_segment *segment = calloc(1, sizeof(*segment));

	if (!segment)
		return NULL;
	segment->options = *options;
	segment->id = mlb_heartbeat_node_id(options->name, strlen(options->name));
	segment->incarnation = 1;
	return segment;
}

size_t mlb_segment_part_room(const char *name, size_t payload_most)
{
	size_t taken = MLB_HEARTBEAT_HEADER + strlen(name) + MLB_SEGMENT_VOUCHED * MLB_HEARD_SIZE +
		       HANDSHAKES_RESERVED * MLB_HANDSHAKE_SIZE + MLB_HEARTBEAT_TAG;

	return payload_most > taken ? payload_most - taken : 0;
}

static struct mlb_segment_peer *find_peer(struct mlb_segment *segment, uint32_t id)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);

	for (uint32_t i = 0; i < npeers; i++)
		if (segment->peers[i].is_used && segment->peers[i].id == id)
			return &segment->peers[i];
	return NULL;
}

/* A slot for a new peer: an unused one, or that of the peer that is silent longest. What that peer sent could be replayed
 * once it is forgotten, unless our nonce is another from then on; to our peers that makes us a new incarnation. */
static struct mlb_segment_peer *make_room(struct mlb_segment *segment, int64_t now_ms)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);
	struct mlb_segment_peer *oldest = &segment->peers[0];

	if (npeers < MLB_SEGMENT_PEERS) {
		atomic_store(&segment->npeers, npeers + 1);
		return &segment->peers[npeers];
	}
	for (uint32_t i = 1; i < npeers; i++)
		if (segment->peers[i].seen_at_ms < oldest->seen_at_ms)
			oldest = &segment->peers[i];
	if (now_ms - oldest->seen_at_ms <= FORGET_MS)
		return NULL;
	segment->options.nonce = (uint32_t)mix(segment->options.nonce, &oldest->nonce, sizeof(oldest->nonce)) ^
				 (uint32_t)random();
	segment->incarnation++;
	return oldest;
}

static struct mlb_segment_peer *add_peer(struct mlb_segment *segment, const char *name, uint32_t id, int64_t now_ms)
{
	struct mlb_segment_peer *peer = make_room(segment, now_ms);

	if (!peer)
		return NULL;
	atomic_store(&peer->heard_at_ms, 0);
	atomic_store(&peer->mac, 0);
	memcpy(peer->name, name, sizeof(peer->name));
	peer->id = id;
	peer->is_used = true;
	peer->is_believed = peer->is_told = peer->hears_us = false;
	peer->incarnation = peer->nonce = peer->newest_key_id = 0;
	peer->sequence = peer->content = 0;
	peer->vouch_at_ms = INT64_MIN / 2;
	peer->offered_until_ms = 0;
	return peer;
}

static bool is_alive(const struct mlb_segment *segment, const struct mlb_segment_peer *peer, int64_t now_ms)
{
	return peer->is_used && peer->is_believed && now_ms - peer->vouch_at_ms <= (int64_t)segment->options.silent_ms;
}

/* Does it echo the nonce of this process? */
static bool echoes_us(const struct mlb_segment *segment, const struct mlb_heartbeat *heartbeat)
{
	struct mlb_handshake handshake;

	for (unsigned i = 0; i < heartbeat->nhandshakes; i++) {
		mlb_heartbeat_handshake_at(heartbeat, i, &handshake);
		if (handshake.id == segment->id && handshake.nonce == segment->options.nonce)
			return true;
	}
	return false;
}

/* A believed peer refuses our incarnation: go above what it saw. The nonce tells that it speaks of this process. */
static void rise(struct mlb_segment *segment, const struct mlb_heartbeat *heartbeat)
{
	struct mlb_handshake handshake;

	for (unsigned i = 0; i < heartbeat->nhandshakes; i++) {
		mlb_heartbeat_handshake_at(heartbeat, i, &handshake);
		if (handshake.id == segment->id && handshake.nonce == segment->options.nonce &&
		    handshake.incarnation >= segment->incarnation && handshake.incarnation < UINT32_MAX)
			segment->incarnation = handshake.incarnation + 1;
	}
}

static bool lists_us(const struct mlb_segment *segment, const struct mlb_heartbeat *heartbeat)
{
	for (unsigned i = 0; i < heartbeat->nheard; i++)
		if (mlb_heartbeat_id_at(heartbeat->heard, i) == segment->id)
			return true;
	return false;
}

static enum mlb_segment_verdict judge(struct mlb_segment *segment, struct mlb_segment_peer *peer,
				      const struct mlb_heartbeat *heartbeat, int64_t now_ms)
{
	/* Another nonce is another process, though it may not have learnt yet above which incarnation to begin. */
	bool is_same = peer->is_believed && heartbeat->incarnation == peer->incarnation && heartbeat->nonce == peer->nonce;

	if (is_same)
		return heartbeat->sequence > peer->sequence ? MLB_SEGMENT_NEWS : MLB_SEGMENT_REPLAYED;
	if (heartbeat->incarnation > (peer->is_believed ? peer->incarnation : 0) && echoes_us(segment, heartbeat))
		return MLB_SEGMENT_NEWS;
	peer->offered_nonce = heartbeat->nonce;
	peer->offered_until_ms = now_ms + OFFER_MS;
	return MLB_SEGMENT_UNPROVEN;
}

static void believe(struct mlb_segment *segment, struct mlb_segment_peer *peer, const struct mlb_heartbeat *heartbeat,
		    int64_t now_ms)
{
	uint64_t mac = 0;

	for (int i = 0; i < MLB_MAC_SIZE; i++)
		mac = mac << 8 | heartbeat->mac[i];
	atomic_store_explicit(&peer->mac, mac, memory_order_relaxed);
	peer->is_believed = true;
	peer->incarnation = heartbeat->incarnation;
	peer->nonce = heartbeat->nonce;
	peer->sequence = heartbeat->sequence;
	peer->newest_key_id = heartbeat->newest_key_id;
	peer->hears_us = lists_us(segment, heartbeat);
	peer->offered_until_ms = 0;
	peer->vouch_at_ms = now_ms;
	rise(segment, heartbeat);
}

/* What costs nothing to see: not ours, whoever sent it. */
static bool is_foreign(const struct mlb_segment *segment, const struct mlb_heartbeat_keys *keys,
		       const struct mlb_heartbeat *heartbeat)
{
	return memcmp(heartbeat->cluster, segment->options.cluster, MLB_HEARTBEAT_ID) != 0 || heartbeat->key_id == 0 ||
	       (heartbeat->key_id != mlb_heartbeat_key_id(keys, false) &&
		heartbeat->key_id != mlb_heartbeat_key_id(keys, true));
}

/* The loop did not keep what it was told. */
static void retell(struct mlb_segment *segment)
{
	for (uint32_t i = 0; i < atomic_load_explicit(&segment->npeers, memory_order_relaxed); i++)
		segment->peers[i].is_told = false;
}

enum mlb_segment_verdict mlb_segment_hear(struct mlb_segment *segment, struct mlb_heartbeat_keys *keys,
					  const uint8_t *payload, size_t length, int64_t now_ms,
					  struct mlb_heartbeat *ret_heartbeat, uint32_t *ret_slot)
{
	enum mlb_segment_verdict verdict;
	struct mlb_segment_peer *peer;
	uint32_t id;

	if (atomic_exchange(&segment->must_retell, false))
		retell(segment);
	if (mlb_heartbeat_decode(payload, length, ret_heartbeat, NULL) < 0)
		return MLB_SEGMENT_BAD;
	if (is_foreign(segment, keys, ret_heartbeat))
		return MLB_SEGMENT_FOREIGN;
	if (!mlb_heartbeat_verify(keys, payload, length))
		return MLB_SEGMENT_FORGED;
	if (strcmp(ret_heartbeat->name, segment->options.name) == 0)
		return MLB_SEGMENT_OWN;
	id = mlb_heartbeat_node_id(ret_heartbeat->name, strlen(ret_heartbeat->name));
	peer = find_peer(segment, id);
	if (id == segment->id || (peer && strcmp(peer->name, ret_heartbeat->name) != 0))
		return MLB_SEGMENT_BAD;
	if (!peer)
		peer = add_peer(segment, ret_heartbeat->name, id, now_ms);
	if (!peer)
		return MLB_SEGMENT_FULL;
	*ret_slot = (uint32_t)(peer - segment->peers);
	peer->seen_at_ms = now_ms;
	verdict = judge(segment, peer, ret_heartbeat, now_ms);
	if (verdict != MLB_SEGMENT_NEWS)
		return verdict;
	believe(segment, peer, ret_heartbeat, now_ms);
	if (!peer->is_told || peer->content != content_of(ret_heartbeat))
		return MLB_SEGMENT_NEWS;
	atomic_store(&peer->heard_at_ms, now_ms);
	return MLB_SEGMENT_SAME;
}

void mlb_segment_told(struct mlb_segment *segment, uint32_t slot, const struct mlb_heartbeat *heartbeat, int64_t now_ms)
{
	struct mlb_segment_peer *peer = &segment->peers[slot];

	peer->is_told = true;
	peer->content = content_of(heartbeat);
	atomic_store(&peer->heard_at_ms, now_ms);
}

/* Whom to echo, and with what: who is refused here, and who does not hear us. */
static bool owes(const struct mlb_segment *segment, const struct mlb_segment_peer *peer, int64_t now_ms,
		 struct mlb_handshake *ret_handshake)
{
	if (!peer->is_used)
		return false;
	ret_handshake->id = peer->id;
	if (now_ms < peer->offered_until_ms) {
		ret_handshake->incarnation = peer->incarnation;
		ret_handshake->nonce = peer->offered_nonce;
		return true;
	}
	if (!is_alive(segment, peer, now_ms) || peer->hears_us)
		return false;
	ret_handshake->incarnation = peer->incarnation - 1;
	ret_handshake->nonce = peer->nonce;
	return true;
}

bool mlb_segment_owes(const struct mlb_segment *segment, int64_t now_ms)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);
	struct mlb_handshake handshake;

	for (uint32_t i = 0; i < npeers; i++)
		if (owes(segment, &segment->peers[i], now_ms, &handshake))
			return true;
	return false;
}

void mlb_segment_slept(struct mlb_segment *segment)
{
	for (uint32_t i = 0; i < atomic_load_explicit(&segment->npeers, memory_order_relaxed); i++)
		segment->peers[i].vouch_at_ms = INT64_MIN / 2;
}

/* Peers heard lately, in the order of their slots; where they are too many, always the same of them, others elsewhere. */
static uint8_t list_heard(const struct mlb_segment *segment, int64_t now_ms, uint8_t *out)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);
	uint32_t start = npeers > MLB_SEGMENT_VOUCHED ? segment->id % npeers : 0;
	uint8_t count = 0;

	for (uint32_t i = 0; i < npeers && count < MLB_SEGMENT_VOUCHED; i++) {
		const struct mlb_segment_peer *peer = &segment->peers[(start + i) % npeers];

		if (!peer->is_used || !peer->is_believed || now_ms - peer->vouch_at_ms > (int64_t)segment->options.vouch_ms)
			continue;
		mlb_heartbeat_put_id(out + (size_t)count * MLB_HEARD_SIZE, peer->id);
		count++;
	}
	return count;
}

/* As many as there is room for, going on where the last datagram ended. */
static uint8_t list_handshakes(struct mlb_segment *segment, int64_t now_ms, size_t room, uint8_t *out)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);
	unsigned start = segment->next_handshake;
	struct mlb_handshake handshake;
	uint8_t count = 0;

	for (uint32_t i = 0; i < npeers; i++) {
		const struct mlb_segment_peer *peer = &segment->peers[(start + i) % npeers];

		if (!owes(segment, peer, now_ms, &handshake))
			continue;
		if ((count + 1u) * MLB_HANDSHAKE_SIZE > room || count == UINT8_MAX)
			break;
		mlb_heartbeat_put_handshake(out + (size_t)count * MLB_HANDSHAKE_SIZE, &handshake);
		segment->next_handshake = (start + i + 1) % npeers;
		count++;
	}
	return count;
}

/* The newest key, unless a living peer does not have it yet and has the one before. */
static bool must_use_previous(const struct mlb_segment *segment, const struct mlb_heartbeat_keys *keys, int64_t now_ms)
{
	uint32_t npeers = atomic_load_explicit(&segment->npeers, memory_order_relaxed);
	uint32_t previous = mlb_heartbeat_key_id(keys, true);

	for (uint32_t i = 0; i < npeers && previous; i++)
		if (segment->peers[i].newest_key_id == previous && is_alive(segment, &segment->peers[i], now_ms))
			return true;
	return false;
}

size_t mlb_segment_compose(struct mlb_segment *segment, struct mlb_heartbeat_keys *keys,
			   const struct mlb_segment_body *body, size_t part, const uint8_t mac[MLB_MAC_SIZE],
			   size_t payload_most, int64_t now_ms, uint8_t ret_payload[MLB_HEARTBEAT_PAYLOAD])
{
	const struct mlb_segment_part *said = &body->parts[part];
	uint8_t heard[MLB_SEGMENT_VOUCHED * MLB_HEARD_SIZE], handshakes[UINT8_MAX * MLB_HANDSHAKE_SIZE];
	bool is_previous = must_use_previous(segment, keys, now_ms);
	struct mlb_heartbeat heartbeat = {
		.flags = said->flags, .key_id = mlb_heartbeat_key_id(keys, is_previous),
		.newest_key_id = mlb_heartbeat_key_id(keys, false), .incarnation = segment->incarnation,
		.nonce = segment->options.nonce, .sequence = ++segment->sequence, .digest = body->digest,
		.whole_id = said->whole_total ? body->whole_id : 0,
		.whole_index = said->whole_index, .whole_total = said->whole_total,
		.nwant = said->nwant, .nrelays = said->nrelays, .nstatements = said->nstatements,
		.relays_length = said->relays_length, .heard = heard, .handshakes = handshakes,
	};
	size_t used, length;

	memcpy(heartbeat.cluster, segment->options.cluster, MLB_HEARTBEAT_ID);
	memcpy(heartbeat.mac, mac, MLB_MAC_SIZE);
	memcpy(heartbeat.name, segment->options.name, sizeof(heartbeat.name));
	heartbeat.want = said->bytes;
	heartbeat.relays = heartbeat.want + (size_t)said->nwant * MLB_WANT_SIZE;
	heartbeat.statements = heartbeat.relays + said->relays_length;
	heartbeat.nheard = list_heard(segment, now_ms, heard);
	used = MLB_HEARTBEAT_HEADER + strlen(heartbeat.name) + (size_t)heartbeat.nheard * MLB_HEARD_SIZE + said->length +
	       MLB_HEARTBEAT_TAG;
	if (used > payload_most)
		return 0;
	heartbeat.nhandshakes = list_handshakes(segment, now_ms, payload_most - used, handshakes);
	length = mlb_heartbeat_encode(&heartbeat, ret_payload);
	if (length == 0 || mlb_heartbeat_sign(keys, is_previous, ret_payload, length) < 0)
		return 0;
	return length + MLB_HEARTBEAT_TAG;
}
