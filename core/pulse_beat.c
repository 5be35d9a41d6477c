/* Heartbeats in the pulse thread: sent each tick and when there is something new to say, heard whenever they come. */
#include <string.h>
#include <sys/socket.h>

#include "heartbeat.h"
#include "pulse_impl.h"

#define REPLY_MS 20	/* between two heartbeats that answer handshakes */

static bool send_part(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
		      size_t part, int64_t now_ms)
{
	uint8_t *frame = pulse->scratch.heartbeat;
	struct mlb_pulse_sockets *sockets = link->sockets;
	size_t length = mlb_segment_compose(sockets->segment, table->keys, link->body, part, link->mac,
					    atomic_load(&sockets->payload_most), now_ms, frame + MLB_HEARTBEAT_WRAP);

	if (length == 0)
		return false;
	mlb_heartbeat_wrap(link->mac, pulse->port, length, frame);
	return send(sockets->beat_fd, frame, MLB_HEARTBEAT_WRAP + length, MSG_DONTWAIT) >= 0;
}

/* Say all parts on one interface, if this thread may speak at all. */
static void say(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, const struct mlb_pulse_link *link)
{
	if (!mlb_pulse_look(pulse))
		return;
	link->sockets->said = link->body->generation;
	for (size_t i = 0; i < link->body->nparts; i++) {
		bool is_sent = send_part(pulse, table, link, i, pulse->scratch.looked_at_ms);

		mlb_pulse_count(pulse, is_sent ? MLB_PULSE_COUNT_BEATS_SENT : MLB_PULSE_COUNT_BEATS_UNSENT, 1);
	}
}

void mlb_pulse_beat(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, bool is_tick)
{
	for (size_t i = 0; i < table->nlinks; i++) {
		const struct mlb_pulse_link *link = &table->links[i];

		if (link->sockets->beat_fd >= 0 && link->body && (is_tick || link->sockets->said != link->body->generation))
			say(pulse, table, link);
	}
}

/* To the loop; false when the ring is full, so that the same news are taken for news again. */
static bool hand_on(struct mlb_pulse *pulse, uint32_t index, uint32_t slot, const uint8_t *payload, size_t length)
{
	struct mlb_pulse_heartbeat_ring *ring = &pulse->heartbeats;
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	struct mlb_pulse_heartbeat *entry = &ring->entries[tail % MLB_PULSE_HEARTBEATS];

	if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == MLB_PULSE_HEARTBEATS) {
		mlb_pulse_count(pulse, MLB_PULSE_COUNT_EVENTS_LOST, 1);
		return false;
	}
	entry->index = index;
	entry->slot = slot;
	entry->length = length;
	memcpy(entry->payload, payload, length);
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	pulse->options.wake(pulse->options.context);
	return true;
}

static void judge(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
		  const uint8_t *frame, size_t frame_length)
{
	static const enum mlb_pulse_counter counters[MLB_SEGMENT_VERDICTS] = {
		[MLB_SEGMENT_SAME] = MLB_PULSE_COUNT_BEATS_HEARD, [MLB_SEGMENT_NEWS] = MLB_PULSE_COUNT_BEATS_HEARD,
		[MLB_SEGMENT_FOREIGN] = MLB_PULSE_COUNT_BEATS_FOREIGN, [MLB_SEGMENT_BAD] = MLB_PULSE_COUNT_BEATS_BAD,
		[MLB_SEGMENT_FORGED] = MLB_PULSE_COUNT_BEATS_FORGED, [MLB_SEGMENT_REPLAYED] = MLB_PULSE_COUNT_BEATS_REPLAYED,
		[MLB_SEGMENT_UNPROVEN] = MLB_PULSE_COUNT_BEATS_UNPROVEN, [MLB_SEGMENT_OWN] = MLB_PULSE_COUNT_BEATS_OWN,
		[MLB_SEGMENT_FULL] = MLB_PULSE_COUNT_BEATS_BAD,
	};
	size_t length;
	const uint8_t *payload = mlb_heartbeat_unwrap(frame, frame_length, pulse->port, &length);
	struct mlb_heartbeat heartbeat;
	enum mlb_segment_verdict verdict = MLB_SEGMENT_BAD;
	int64_t now_ms = mlb_pulse_now_ms();
	uint32_t slot;

	if (payload)
		verdict = mlb_segment_hear(link->sockets->segment, table->keys, payload, length, now_ms, &heartbeat, &slot);
	mlb_pulse_count(pulse, counters[verdict], 1);
	if (verdict == MLB_SEGMENT_NEWS && hand_on(pulse, link->index, slot, payload, length))
		mlb_segment_told(link->sockets->segment, slot, &heartbeat, now_ms);
}

void mlb_pulse_judge_heartbeats(struct mlb_pulse *pulse, const struct mlb_pulse_table *table,
				const struct mlb_pulse_link *link, const size_t *lengths, int count)
{
	struct mlb_pulse_sockets *sockets = link->sockets;
	int64_t now_ms = mlb_pulse_now_ms();

	if (!table->keys)
		return;
	for (int i = 0; i < count; i++)
		judge(pulse, table, link, pulse->scratch.frames[i], lengths[i]);
	if (link->body && now_ms - sockets->replied_at_ms >= REPLY_MS && mlb_segment_owes(sockets->segment, now_ms)) {
		sockets->replied_at_ms = now_ms;
		say(pulse, table, link);
	}
}
