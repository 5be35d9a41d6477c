/* The flight recorder's frames: a ring of fixed size that one thread writes and another reads, without a lock and without
 * allocation. A reader never sees half a frame: one that was overwritten meanwhile is lost. */
#ifndef MLB_FLIGHT_H
#define MLB_FLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_FLIGHT_SIZE 2048	/* frames, a power of two */
#define MLB_FLIGHT_BYTES 96	/* kept of each: all of ARP, and of a neighbour solicitation or advertisement */

enum mlb_flight_direction {
	MLB_FLIGHT_IN,
	MLB_FLIGHT_OUT,
};

struct mlb_flight_frame {
	int64_t at_us;		/* of CLOCK_BOOTTIME */
	uint32_t index;		/* of the interface */
	enum mlb_flight_direction direction;
	size_t length;		/* on the wire */
	size_t kept;		/* of `bytes` */
	uint8_t bytes[MLB_FLIGHT_BYTES];
};

/* All zero is an empty ring. */
struct mlb_flight {
	_Atomic uint64_t count;	/* frames ever noted: the writer's */
	struct {
		_Atomic uint64_t state;	/* 2 n + 1: frame n is being written, 2 n + 2: it is there */
		_Atomic uint64_t words[2 + MLB_FLIGHT_BYTES / 8];
	} slots[MLB_FLIGHT_SIZE];
};

/* Note a frame, now. One thread alone may do that. Never waits. */
void mlb_flight_note(struct mlb_flight *flight, uint32_t index, enum mlb_flight_direction direction,
		     const uint8_t *bytes, size_t length);

/* How many frames were ever noted: numbers from 0; the last MLB_FLIGHT_SIZE of them are there. */
uint64_t mlb_flight_count(struct mlb_flight *flight);

/* Frame `number`; false when it is not there any more, or not yet. Any thread. */
bool mlb_flight_read(struct mlb_flight *flight, uint64_t number, struct mlb_flight_frame *ret_frame);

/* The ring for what the loop's thread sends. */
struct mlb_flight *mlb_flight_loop(void);

#endif
