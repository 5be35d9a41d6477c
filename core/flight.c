#include "flight.h"

#include <string.h>
#include <time.h>

#define WORDS (MLB_FLIGHT_BYTES / 8)

static struct mlb_flight loop_flight;

struct mlb_flight *mlb_flight_loop(void)
{
	return &loop_flight;
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

/* A sequence lock a slot: the words are atomic, so that a reader who comes meanwhile reads nonsense, not undefined
 * behaviour, and finds out by the state. */
void mlb_flight_note(struct mlb_flight *flight, uint32_t index, enum mlb_flight_direction direction,
		     const uint8_t *bytes, size_t length)
{
	uint64_t number = atomic_load_explicit(&flight->count, memory_order_relaxed);
	size_t slot = number % MLB_FLIGHT_SIZE;
	size_t kept = length < MLB_FLIGHT_BYTES ? length : MLB_FLIGHT_BYTES;
	uint64_t copy[WORDS] = { 0 };

	if (length > UINT16_MAX)
		length = UINT16_MAX;
	memcpy(copy, bytes, kept);
	atomic_store_explicit(&flight->slots[slot].state, 2 * number + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&flight->slots[slot].words[0], (uint64_t)now_us(), memory_order_relaxed);
	atomic_store_explicit(&flight->slots[slot].words[1],
			      (uint64_t)index << 32 | (uint64_t)direction << 16 | (uint64_t)length,
			      memory_order_relaxed);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&flight->slots[slot].words[2 + i], copy[i], memory_order_relaxed);
	atomic_store_explicit(&flight->slots[slot].state, 2 * number + 2, memory_order_release);
	atomic_store_explicit(&flight->count, number + 1, memory_order_release);
}

uint64_t mlb_flight_count(struct mlb_flight *flight)
{
	return atomic_load_explicit(&flight->count, memory_order_acquire);
}

bool mlb_flight_read(struct mlb_flight *flight, uint64_t number, struct mlb_flight_frame *ret_frame)
{
	size_t slot = number % MLB_FLIGHT_SIZE;
	uint64_t words[2 + WORDS];

	if (atomic_load_explicit(&flight->slots[slot].state, memory_order_acquire) != 2 * number + 2)
		return false;
	for (size_t i = 0; i < 2 + WORDS; i++)
		words[i] = atomic_load_explicit(&flight->slots[slot].words[i], memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&flight->slots[slot].state, memory_order_relaxed) != 2 * number + 2)
		return false;
	ret_frame->at_us = (int64_t)words[0];
	ret_frame->index = (uint32_t)(words[1] >> 32);
	ret_frame->direction = (words[1] >> 16 & 1) ? MLB_FLIGHT_OUT : MLB_FLIGHT_IN;
	ret_frame->length = words[1] & UINT16_MAX;
	ret_frame->kept = ret_frame->length < MLB_FLIGHT_BYTES ? ret_frame->length : MLB_FLIGHT_BYTES;
	memcpy(ret_frame->bytes, words + 2, MLB_FLIGHT_BYTES);
	return true;
}
