/* The pulse thread: answers ARP and neighbour solicitations for held addresses and never waits for anybody.
 *
 * The loop edits a draft of the table and publishes copies by pointer swap; a copy is freed when the thread has let go of
 * it. The thread takes no lock, allocates nothing, and reports by a bounded ring. It goes mute, answering nothing, when
 * it was not run for `gap_ms` (other nodes may have taken over meanwhile) or when the loop is silent for `silence_ms`
 * (nobody would hear of a change); it stays mute until the loop has dealt with that.
 * Every function is for the loop's thread. */
#ifndef MLB_PULSE_H
#define MLB_PULSE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

enum mlb_pulse_event_type {
	MLB_PULSE_CONFLICT,		/* a foreign MAC claims an address that is held or probed */
	MLB_PULSE_INTERFACE_ERROR,	/* the interface went down or away */
	MLB_PULSE_MUTE,
	MLB_PULSE_UNMUTE,
	MLB_PULSE_BEAT,			/* a tick: heartbeats were sent, mlb_pulse_heard is worth a look */
};

enum mlb_pulse_operation {	/* the frame that a conflict was seen in */
	MLB_PULSE_REQUEST,	/* ARP, gratuitous ones included */
	MLB_PULSE_REPLY,
	MLB_PULSE_PROBE,	/* ARP probe or DAD solicitation for an address that is probed here */
	MLB_PULSE_SOLICITATION,
	MLB_PULSE_ADVERTISEMENT,
};

enum mlb_pulse_mute_reason {
	MLB_PULSE_HEARD,	/* not mute */
	MLB_PULSE_GAP,
	MLB_PULSE_LOOP_SILENT,
};

struct mlb_pulse_event {
	enum mlb_pulse_event_type type;
	uint32_t index;				/* conflict, interface error */
	struct in6_addr address;		/* conflict; IPv4 as ::ffff:a.b.c.d */
	uint8_t mac[MLB_MAC_SIZE];		/* conflict */
	enum mlb_pulse_operation operation;	/* conflict */
	int error;				/* interface error: errno, positive */
	enum mlb_pulse_mute_reason reason;	/* mute */
};

struct mlb_pulse_options {
	unsigned tick_ms;		/* the thread looks around this often */
	unsigned gap_ms;		/* not run for longer: mute */
	unsigned silence_ms;		/* no mlb_pulse_alive for longer: mute */
	unsigned frames_per_second;	/* read from one interface at most; the rest is left to the kernel to drop */
	int priority;			/* of SCHED_RR, sched(7); 0: ordinary scheduling. Needs CAP_SYS_NICE, else ignored */
	void (*wake)(void *context);	/* called in the thread: an event waits; must not block */
	void (*close)(void *context, int fd);	/* close(2) elsewhere: on a packet socket it waits for the kernel */
	void *context;
};

enum mlb_pulse_counter {
	MLB_PULSE_COUNT_REQUESTS,	/* frames that ask for a held address */
	MLB_PULSE_COUNT_ANSWERED,
	MLB_PULSE_COUNT_UNSENT,		/* answers that the interface did not take */
	MLB_PULSE_COUNT_CONFLICTS,	/* frames with a foreign claim */
	MLB_PULSE_COUNT_EVENTS_LOST,	/* the ring was full */
	MLB_PULSE_COUNT_EVENTS_MERGED,	/* the same claim again within a tick, or more claims than a tick reports */
	MLB_PULSE_COUNT_FRAMES,
	MLB_PULSE_COUNT_FRAMES_BAD,
	MLB_PULSE_COUNT_THROTTLED,	/* ticks in which an interface used up frames_per_second */
	MLB_PULSE_COUNT_BEATS_SENT,	/* heartbeats */
	MLB_PULSE_COUNT_BEATS_UNSENT,
	MLB_PULSE_COUNT_BEATS_HEARD,	/* believed */
	MLB_PULSE_COUNT_BEATS_FOREIGN,	/* of another cluster or key */
	MLB_PULSE_COUNT_BEATS_BAD,	/* no heartbeats, of no peer, or of one too many */
	MLB_PULSE_COUNT_BEATS_FORGED,	/* wrong tag */
	MLB_PULSE_COUNT_BEATS_REPLAYED,
	MLB_PULSE_COUNT_BEATS_UNPROVEN,	/* handshake not done yet */
	MLB_PULSE_COUNT_BEATS_OWN,	/* from another node of our name */
	MLB_PULSE_COUNTERS,
};

struct mlb_pulse_stats {
	uint64_t counts[MLB_PULSE_COUNTERS];
	enum mlb_pulse_mute_reason mute_reason;
	bool is_realtime;	/* `priority` was granted */
	size_t entries, links;
};

struct mlb_pulse;

/* Start the thread. 0 or -errno; -EBUSY when the process has one already. */
int mlb_pulse_start(const struct mlb_pulse_options *options, struct mlb_pulse **ret_pulse);

/* End the thread, wait for that (it never blocks), leave all groups, close all sockets. NULL is fine. */
void mlb_pulse_stop(struct mlb_pulse *pulse);

/* Listen on an interface, with new sockets if it is attached already; `is_deaf`: for ARP and ND alone, not for heartbeats (one
 * that shares the segment of another). Publishes. 0 or -errno: what mlb_packet_open and joining the groups of the addresses
 * used there give. */
int mlb_pulse_attach(struct mlb_pulse *pulse, unsigned index, const uint8_t mac[MLB_MAC_SIZE], bool is_deaf);

/* Stop listening; the interface's addresses stay in the table. Publishes. 0 or -errno; 0 also when it was not attached. */
int mlb_pulse_detach(struct mlb_pulse *pulse, unsigned index);

/* The MAC that answers give from now on. Publishes. 0, -ENODEV when not attached, or -ENOMEM. */
int mlb_pulse_set_mac(struct mlb_pulse *pulse, unsigned index, const uint8_t mac[MLB_MAC_SIZE]);

/* MACs of all our nodes: none of them is a stranger. Publishes. 0 or -errno. */
int mlb_pulse_set_own_macs(struct mlb_pulse *pulse, const uint8_t (*macs)[MLB_MAC_SIZE], size_t count);

/* Change the draft: add or remove the uses `use` (enum mlb_pulse_use, see pulse_table.h) of an address on an interface.
 * Joins or leaves the solicited-node group of an IPv6 address when the interface is attached. 0 or -errno. */
int mlb_pulse_add_use(struct mlb_pulse *pulse, const struct in6_addr *address, unsigned index, uint32_t use);
int mlb_pulse_remove_use(struct mlb_pulse *pulse, const struct in6_addr *address, unsigned index, uint32_t use);

/* Hand the draft to the thread. 0 or -ENOMEM. */
int mlb_pulse_publish(struct mlb_pulse *pulse);

/* The loop is alive. */
void mlb_pulse_alive(struct mlb_pulse *pulse);

/* Take the next event; false when there is none. After MLB_PULSE_MUTE has been dealt with (what is no longer ours is
 * dropped and published), mlb_pulse_acknowledge lets the thread answer again. */
bool mlb_pulse_next_event(struct mlb_pulse *pulse, struct mlb_pulse_event *ret_event);
void mlb_pulse_acknowledge(struct mlb_pulse *pulse);

/* Is the next event MUTE or UNMUTE? */
bool mlb_pulse_is_mute_news(struct mlb_pulse *pulse);

/* Heartbeats (core/heartbeat.h, core/segment.h). Once a process, before or after interfaces are attached; each of them is
 * a segment of its own. Sent each tick on every interface for which there are keys and something to say.
 * 0, -EBUSY, or -errno of a socket. */
struct mlb_segment_options;
int mlb_pulse_heartbeat(struct mlb_pulse *pulse, const struct mlb_segment_options *options, uint16_t port);

/* The keys from now on; the pulse frees them. Publishes. 0 or -ENOMEM (then they are freed too). */
struct mlb_heartbeat_keys;
int mlb_pulse_set_keys(struct mlb_pulse *pulse, struct mlb_heartbeat_keys *keys);

/* What heartbeats on an attached interface say from now on (NULL: none are sent), in datagrams of `payload_most` bytes at
 * most, and say it now. The pulse frees it with free(3). Publishes. 0, -ENODEV or -ENOMEM (then it is freed too). */
struct mlb_segment_body;
int mlb_pulse_say(struct mlb_pulse *pulse, unsigned index, struct mlb_segment_body *body, size_t payload_most);

/* Take the next heartbeat that says something new: its payload, until the next call. NULL when there is none. */
const uint8_t *mlb_pulse_next_heartbeat(struct mlb_pulse *pulse, unsigned *ret_index, uint32_t *ret_slot,
					size_t *ret_length);

/* What every peer on the interface says is news again, from its next heartbeat on. -ENODEV: no segment. */
int mlb_pulse_retell(struct mlb_pulse *pulse, unsigned index);

/* Call `each(context, slot, seconds of CLOCK_BOOTTIME)` for the peers ever heard on the interface. -ENODEV: no segment. */
int mlb_pulse_heard(struct mlb_pulse *pulse, unsigned index,
		    void (*each)(void *context, uint32_t slot, double heard_at), void *context);

/* The thread's frames for the flight recorder: what it answered, claimed addresses, and its answers. */
struct mlb_flight;
struct mlb_flight *mlb_pulse_flight(struct mlb_pulse *pulse);

void mlb_pulse_read_stats(struct mlb_pulse *pulse, struct mlb_pulse_stats *ret_stats);

#endif
