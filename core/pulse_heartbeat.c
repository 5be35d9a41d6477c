/* Heartbeats on the loop's side of pulse: keys, what is said, what was heard. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "packet.h"
#include "pulse_impl.h"

static struct mlb_segment *segment_of(struct mlb_pulse *pulse, unsigned index)
{
	for (struct mlb_pulse_segment *it = pulse->segments; it; it = it->next)
		if (it->index == index)
			return it->segment;
	return NULL;
}

static struct mlb_segment *add_segment(struct mlb_pulse *pulse, unsigned index)
{
	struct mlb_segment_options options = pulse->segment_options;
	struct mlb_pulse_segment *it = calloc(1, sizeof(*it));

	if (!it)
		return NULL;
	if (getrandom(&options.nonce, sizeof(options.nonce), 0) != sizeof(options.nonce))
		goto failed;
	it->segment = mlb_segment_new(&options);
	if (!it->segment)
		goto failed;
	it->index = index;
	it->next = pulse->segments;
	pulse->segments = it;
	return it->segment;

failed:
	free(it);
	return NULL;
}

void mlb_pulse_free_segments(struct mlb_pulse *pulse)
{
	while (pulse->segments) {
		struct mlb_pulse_segment *it = pulse->segments;

		pulse->segments = it->next;
		free(it->segment);
		free(it);
	}
}

int mlb_pulse_open_heartbeat(struct mlb_pulse *pulse, unsigned index, struct mlb_pulse_sockets *sockets)
{
	struct mlb_segment *segment;

	if (!pulse->has_heartbeats)
		return 0;
	segment = segment_of(pulse, index);
	if (!segment)
		segment = add_segment(pulse, index);
	if (!segment)
		return -ENOMEM;
	sockets->segment = segment;
	atomic_store(&sockets->payload_most, MLB_HEARTBEAT_PAYLOAD);
	return mlb_packet_open_udp(index, pulse->port, &sockets->beat_fd);
}

int mlb_pulse_heartbeat(struct mlb_pulse *pulse, const struct mlb_segment_options *options, uint16_t port)
{
	if (pulse->has_heartbeats)
		return -EBUSY;
	pulse->segment_options = *options;
	pulse->port = port;
	pulse->has_heartbeats = true;
	/* Sockets with one more descriptor: those that the thread uses now are replaced, not changed under it. */
	for (size_t i = 0; i < pulse->draft.nlinks; i++) {
		struct mlb_pulse_link link = pulse->draft.links[i];
		int result = mlb_pulse_attach(pulse, link.index, link.mac, link.is_deaf);

		if (result < 0)
			return result;
	}
	return 0;
}

int mlb_pulse_set_keys(struct mlb_pulse *pulse, struct mlb_heartbeat_keys *keys)
{
	struct mlb_pulse_waste waste = { .keys = pulse->draft.keys };
	int result;

	pulse->draft.keys = keys;
	result = mlb_pulse_publish_draft(pulse, &waste);
	if (result < 0) {
		pulse->draft.keys = waste.keys;
		mlb_heartbeat_keys_free(keys);
	}
	return result;
}

int mlb_pulse_say(struct mlb_pulse *pulse, unsigned index, struct mlb_segment_body *body, size_t payload_most)
{
	struct mlb_pulse_link *link = mlb_pulse_find_link(&pulse->draft, index);
	struct mlb_pulse_waste waste = { 0 };
	int result;

	if (!link || link->sockets->beat_fd < 0) {
		free(body);
		return -ENODEV;
	}
	if (body)
		body->generation = ++pulse->generation;
	waste.body = link->body;
	link->body = body;
	atomic_store(&link->sockets->payload_most, payload_most);
	result = mlb_pulse_publish_draft(pulse, &waste);
	if (result < 0) {
		link->body = waste.body;
		free(body);
		return result;
	}
	mlb_pulse_wake_thread(pulse);
	return 0;
}

const uint8_t *mlb_pulse_next_heartbeat(struct mlb_pulse *pulse, unsigned *ret_index, uint32_t *ret_slot,
					size_t *ret_length)
{
	struct mlb_pulse_heartbeat_ring *ring = &pulse->heartbeats;
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	const struct mlb_pulse_heartbeat *entry;

	if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
		return NULL;
	entry = &ring->entries[head % MLB_PULSE_HEARTBEATS];
	memcpy(pulse->heartbeat, entry->payload, entry->length);
	*ret_index = entry->index;
	*ret_slot = entry->slot;
	*ret_length = entry->length;
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return pulse->heartbeat;
}

int mlb_pulse_retell(struct mlb_pulse *pulse, unsigned index)
{
	struct mlb_segment *segment = segment_of(pulse, index);

	if (!segment)
		return -ENODEV;
	atomic_store(&segment->must_retell, true);
	return 0;
}

int mlb_pulse_heard(struct mlb_pulse *pulse, unsigned index,
		    void (*each)(void *context, uint32_t slot, double heard_at), void *context)
{
	struct mlb_segment *segment = segment_of(pulse, index);
	uint32_t npeers;

	if (!segment)
		return -ENODEV;
	npeers = atomic_load(&segment->npeers);
	for (uint32_t slot = 0; slot < npeers; slot++) {
		int64_t heard_at_ms = atomic_load(&segment->peers[slot].heard_at_ms);

		if (heard_at_ms)
			each(context, slot, (double)heard_at_ms / 1000);
	}
	return 0;
}
