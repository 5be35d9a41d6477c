/* libFuzzer: a frame as the filter lets it through, and its payload to a segment that knows the key. What is accepted must
 * read back byte for byte; what is not authentic must change nothing. */
#include "../../core/heartbeat.c"

#include <stdlib.h>

#include "../../core/segment.h"

#define PORT 2113

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_lists(const struct mlb_heartbeat *heartbeat, const uint8_t *payload, size_t length)
{
	uint8_t again[MLB_HEARTBEAT_PAYLOAD];
	struct mlb_statement statement;
	struct mlb_handshake handshake;
	struct mlb_relay relay;
	size_t position = 0;
	unsigned nrelays = 0;

	for (unsigned i = 0; i < heartbeat->nstatements; i++)
		mlb_heartbeat_statement_at(heartbeat, i, &statement);
	for (unsigned i = 0; i < heartbeat->nhandshakes; i++)
		mlb_heartbeat_handshake_at(heartbeat, i, &handshake);
	while (mlb_heartbeat_relay_at(heartbeat, &position, &relay))
		nrelays++;
	check(nrelays == heartbeat->nrelays && position == heartbeat->relays_length);
	check(mlb_heartbeat_encode(heartbeat, again) == length - MLB_HEARTBEAT_TAG);
	check(memcmp(again, payload, length - MLB_HEARTBEAT_TAG) == 0);
}

static void hear(const uint8_t *payload, size_t length)
{
	static const uint8_t key[MLB_HEARTBEAT_KEY];
	struct mlb_segment_options options = { .name = "me", .vouch_ms = 150, .silent_ms = 300 };
	struct mlb_heartbeat_keys *keys = mlb_heartbeat_keys_new(key, NULL);
	struct mlb_segment *segment = mlb_segment_new(&options);
	struct mlb_heartbeat heartbeat;
	uint8_t signed_payload[MLB_HEARTBEAT_PAYLOAD];
	uint32_t slot, id = mlb_heartbeat_key_id(keys, false);

	check(mlb_segment_hear(segment, keys, payload, length, 1, &heartbeat, &slot) != MLB_SEGMENT_NEWS);
	check(atomic_load(&segment->npeers) == 0);
	/* The same, under the key. */
	memcpy(signed_payload, payload, length);
	memset(signed_payload + 12, 0, MLB_HEARTBEAT_ID);
	mlb_put32(signed_payload + 8, id);
	check(mlb_heartbeat_sign(keys, false, signed_payload, length - MLB_HEARTBEAT_TAG) == 0);
	mlb_segment_hear(segment, keys, signed_payload, length, 1, &heartbeat, &slot);
	check(atomic_load(&segment->npeers) <= 1);
	free(segment);
	mlb_heartbeat_keys_free(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_heartbeat heartbeat;
	uint8_t *copy = malloc(size ? size : 1);
	size_t length = 0;
	const uint8_t *payload;

	if (size)
		memcpy(copy, data, size);
	payload = mlb_heartbeat_unwrap(copy, size, PORT, &length);
	check(!payload || (payload > copy && payload + length <= copy + size));
	if (!payload) {	/* the input as a bare payload */
		payload = copy;
		length = size;
	}
	if (mlb_heartbeat_decode(payload, length, &heartbeat, NULL) == 0) {
		check_lists(&heartbeat, payload, length);
		hear(payload, length);
	}
	free(copy);
	return 0;
}
