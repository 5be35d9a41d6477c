/* What the two halves of pulse share: core/pulse.c runs on the loop, core/pulse_thread.c is the thread. Each field says
 * who writes it; what both touch is atomic. */
#ifndef MLB_PULSE_IMPL_H
#define MLB_PULSE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "flight.h"
#include "pulse.h"
#include "pulse_table.h"
#include "segment.h"

#define MLB_PULSE_RING 256	/* events, a power of two */
#define MLB_PULSE_CLAIMS 64	/* conflicts reported a tick */
#define MLB_PULSE_BATCH 32	/* frames a system call */
#define MLB_PULSE_FRAME 2048	/* bytes of a frame that are read; a longer one is bad */
#define MLB_PULSE_HEARTBEATS 128	/* with news, between the thread and the loop; a power of two */

enum mlb_pulse_source {	/* upper half of the epoll data; the lower is the interface index */
	MLB_PULSE_TICK,
	MLB_PULSE_COMMAND,
	MLB_PULSE_ARP,
	MLB_PULSE_ND,
	MLB_PULSE_HEARTBEAT,
};

/* The sockets of an attached interface. The loop opens and closes them; the thread owns the rest. */
struct mlb_pulse_sockets {
	int arp_fd, nd_fd;
	int beat_fd;		/* < 0: no heartbeats */
	struct mlb_segment *segment;	/* the interface's; NULL as long as beat_fd is < 0 */
	_Atomic size_t payload_most;	/* the loop's: bytes of a heartbeat */
	uint64_t said;		/* generation of the body that was sent last */
	int64_t replied_at_ms;	/* the last heartbeat between ticks */
	uint32_t budget;	/* frames it may still read in this tick */
	bool is_paused;		/* the budget is used up: not polled until the next tick */
	int last_error;		/* reported already; 0 after a frame came */
};

/* One producer, the thread; one consumer, the loop. */
struct mlb_pulse_ring {
	struct mlb_pulse_event events[MLB_PULSE_RING];
	_Atomic uint32_t head;	/* next to take: the loop's */
	_Atomic uint32_t tail;	/* next to fill: the thread's */
};

/* A heartbeat with news. */
struct mlb_pulse_heartbeat {
	uint32_t index, slot;
	size_t length;
	uint8_t payload[MLB_HEARTBEAT_PAYLOAD];
};

struct mlb_pulse_heartbeat_ring {
	struct mlb_pulse_heartbeat entries[MLB_PULSE_HEARTBEATS];
	_Atomic uint32_t head, tail;	/* as of the ring above */
};

/* The segment of an interface lives as long as the pulse: what it believes outlasts sockets. */
struct mlb_pulse_segment {
	struct mlb_pulse_segment *next;
	unsigned index;
	struct mlb_segment *segment;
};

/* What was replaced, and is freed when the thread cannot be reading it. */
struct mlb_pulse_waste {
	struct mlb_pulse_sockets *sockets;
	struct mlb_segment_body *body;
	struct mlb_heartbeat_keys *keys;
};

/* The thread's own; big, so it is not on its stack. */
struct mlb_pulse_scratch {
	uint8_t frames[MLB_PULSE_BATCH][MLB_PULSE_FRAME];
	struct mlb_frame answers[MLB_PULSE_BATCH];
	struct mlb_pulse_event claims[MLB_PULSE_CLAIMS];	/* reported in this tick */
	uint32_t nclaims;
	int64_t looked_at_ms;	/* CLOCK_BOOTTIME of the last look */
	uint8_t heartbeat[MLB_HEARTBEAT_WRAP + MLB_HEARTBEAT_PAYLOAD];
	bool must_drain;	/* what queued up while the thread was not run is stale */
};

struct mlb_pulse {
	struct mlb_pulse_options options;	/* constant */
	int epoll_fd, tick_fd, command_fd;	/* constant */
	pthread_t thread;
	bool has_thread, is_realtime;

	/* Both sides. */
	_Atomic(struct mlb_pulse_table *) published;	/* the loop's; never NULL while the thread runs */
	_Atomic(struct mlb_pulse_table *) in_use;	/* the thread's: it may read this one; NULL between wake-ups */
	atomic_bool must_stop;
	_Atomic int64_t alive_at_ms;			/* the loop's */
	_Atomic uint32_t mute_state;			/* the thread's: number of the change << 2 | enum mlb_pulse_mute_reason */
	_Atomic uint32_t acknowledged;			/* the loop's: the mute_state it has dealt with */
	_Atomic uint64_t counts[MLB_PULSE_COUNTERS];	/* the thread's */
	struct mlb_pulse_ring ring;
	struct mlb_pulse_heartbeat_ring heartbeats;
	struct mlb_flight flight;			/* the thread's: what it answered, and whom */
	_Atomic uint32_t beats;				/* the thread's: ticks since heartbeats are on */

	struct mlb_pulse_scratch scratch;

	/* The loop's alone. */
	struct mlb_pulse_table draft;
	struct mlb_groups *groups;
	struct mlb_pulse_retired *retired;
	uint32_t seen_mute_state;
	uint32_t seen_beats;
	bool has_heartbeats;
	struct mlb_segment_options segment_options;
	uint16_t port;
	uint64_t generation;			/* of the last body */
	struct mlb_pulse_segment *segments;
	uint8_t heartbeat[MLB_HEARTBEAT_PAYLOAD];	/* taken from the ring last */
};

/* Of core/pulse.c, for core/pulse_heartbeat.c: publish the draft and free `waste` in time; poll a socket; wake the thread. */
int mlb_pulse_publish_draft(struct mlb_pulse *pulse, const struct mlb_pulse_waste *waste);
int mlb_pulse_watch(struct mlb_pulse *pulse, int fd, enum mlb_pulse_source source, uint32_t index);
void mlb_pulse_wake_thread(struct mlb_pulse *pulse);

/* Of core/pulse_heartbeat.c: open the socket for heartbeats of an interface that is being attached; 0 when they are off. */
int mlb_pulse_open_heartbeat(struct mlb_pulse *pulse, unsigned index, struct mlb_pulse_sockets *sockets);
void mlb_pulse_free_segments(struct mlb_pulse *pulse);

/* Of core/pulse_thread.c, for core/pulse_beat.c. */
void mlb_pulse_count(struct mlb_pulse *pulse, enum mlb_pulse_counter counter, uint64_t n);
bool mlb_pulse_look(struct mlb_pulse *pulse);

/* Of core/pulse_beat.c, in the thread: send on all interfaces (only where there is something new to say, without
 * `is_tick`); judge what was read from one; answer handshakes. */
void mlb_pulse_beat(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, bool is_tick);
void mlb_pulse_judge_heartbeats(struct mlb_pulse *pulse, const struct mlb_pulse_table *table,
				const struct mlb_pulse_link *link, const size_t *lengths, int count);

/* Milliseconds of CLOCK_BOOTTIME: goes on while the machine sleeps. */
int64_t mlb_pulse_now_ms(void);

/* Put an event in; false when the ring is full. */
bool mlb_pulse_ring_put(struct mlb_pulse_ring *ring, const struct mlb_pulse_event *event);
bool mlb_pulse_ring_take(struct mlb_pulse_ring *ring, struct mlb_pulse_event *ret_event);

/* The thread's main function; `argument` is the struct mlb_pulse. */
void *mlb_pulse_run(void *argument);

#endif
