/* The pulse thread. It waits for the kernel only; no lock, no allocation, no blocking call but epoll_wait. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "packet.h"
#include "pulse_answer.h"
#include "pulse_impl.h"

#define EVENTS_A_WAKE 16
#define BATCHES_A_WAKE 4	/* then the other interfaces have their turn */
#define BATCHES_OF_DRAIN 128	/* more than a receive buffer holds */

int64_t mlb_pulse_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool mlb_pulse_ring_put(struct mlb_pulse_ring *ring, const struct mlb_pulse_event *event)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == MLB_PULSE_RING)
		return false;
	ring->events[tail % MLB_PULSE_RING] = *event;
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	return true;
}

bool mlb_pulse_ring_take(struct mlb_pulse_ring *ring, struct mlb_pulse_event *ret_event)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
		return false;
	*ret_event = ring->events[head % MLB_PULSE_RING];
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return true;
}

void mlb_pulse_count(struct mlb_pulse *pulse, enum mlb_pulse_counter counter, uint64_t n)
{
	atomic_fetch_add_explicit(&pulse->counts[counter], n, memory_order_relaxed);
}

static void report(struct mlb_pulse *pulse, const struct mlb_pulse_event *event)
{
	if (!mlb_pulse_ring_put(&pulse->ring, event)) {
		mlb_pulse_count(pulse, MLB_PULSE_COUNT_EVENTS_LOST, 1);
		return;
	}
	pulse->options.wake(pulse->options.context);
}

static bool is_same_claim(const struct mlb_pulse_event *a, const struct mlb_pulse_event *b)
{
	return a->operation == b->operation && a->index == b->index &&
	       memcmp(&a->address, &b->address, sizeof(a->address)) == 0 && memcmp(a->mac, b->mac, MLB_MAC_SIZE) == 0;
}

/* A flood of claims costs the loop MLB_PULSE_CLAIMS events a tick, each claim once. */
static void report_conflict(struct mlb_pulse *pulse, const struct mlb_pulse_event *event)
{
	struct mlb_pulse_scratch *scratch = &pulse->scratch;

	mlb_pulse_count(pulse, MLB_PULSE_COUNT_CONFLICTS, 1);
	for (uint32_t i = 0; i < scratch->nclaims; i++) {
		if (is_same_claim(&scratch->claims[i], event)) {
			mlb_pulse_count(pulse, MLB_PULSE_COUNT_EVENTS_MERGED, 1);
			return;
		}
	}
	if (scratch->nclaims == MLB_PULSE_CLAIMS) {
		mlb_pulse_count(pulse, MLB_PULSE_COUNT_EVENTS_LOST, 1);
		return;
	}
	scratch->claims[scratch->nclaims++] = *event;
	report(pulse, event);
}

/* Mute, for another reason, or not mute any more. The loop learns of it by the state, which cannot overflow. */
static void set_mute(struct mlb_pulse *pulse, enum mlb_pulse_mute_reason reason)
{
	uint32_t state = atomic_load(&pulse->mute_state);

	atomic_store(&pulse->mute_state, ((state >> 2) + 1) << 2 | (uint32_t)reason);
	pulse->options.wake(pulse->options.context);
}

static bool is_loop_silent(const struct mlb_pulse *pulse, int64_t now)
{
	return now - atomic_load(&pulse->alive_at_ms) > (int64_t)pulse->options.silence_ms;
}

/* Look at the clock. May this thread answer now? */
bool mlb_pulse_look(struct mlb_pulse *pulse)
{
	struct mlb_pulse_scratch *scratch = &pulse->scratch;
	uint32_t state = atomic_load(&pulse->mute_state);
	int64_t now = mlb_pulse_now_ms();
	bool has_gap = now - scratch->looked_at_ms > (int64_t)pulse->options.gap_ms;

	scratch->looked_at_ms = now;
	if (has_gap) {
		/* Also when mute: the loop may have dealt with an older reason just before. */
		scratch->must_drain = true;
		set_mute(pulse, MLB_PULSE_GAP);
		return false;
	}
	if ((state & 3) == MLB_PULSE_HEARD) {
		if (!is_loop_silent(pulse, now))
			return true;
		set_mute(pulse, MLB_PULSE_LOOP_SILENT);
		return false;
	}
	if (scratch->must_drain || atomic_load(&pulse->acknowledged) != state || is_loop_silent(pulse, now))
		return false;
	set_mute(pulse, MLB_PULSE_HEARD);
	return true;
}

static void poll_for(struct mlb_pulse *pulse, int fd, enum mlb_pulse_source source, uint32_t index, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)source << 32 | index };

	epoll_ctl(pulse->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

/* Read no more from a flooded interface until the next tick: the kernel drops what its buffer does not hold. */
static void pause_link(struct mlb_pulse *pulse, const struct mlb_pulse_link *link)
{
	link->sockets->is_paused = true;
	mlb_pulse_count(pulse, MLB_PULSE_COUNT_THROTTLED, 1);
	poll_for(pulse, link->sockets->arp_fd, MLB_PULSE_ARP, link->index, 0);
	poll_for(pulse, link->sockets->nd_fd, MLB_PULSE_ND, link->index, 0);
	if (link->sockets->beat_fd >= 0)
		poll_for(pulse, link->sockets->beat_fd, MLB_PULSE_HEARTBEAT, link->index, 0);
}

static void on_command(struct mlb_pulse *pulse)
{
	uint64_t ignored_count;
	ssize_t ignored = read(pulse->command_fd, &ignored_count, sizeof(ignored_count));

	(void)ignored;	/* what the command was stands in the shared fields; the wake-up is all */
}

/* A socket error: the interface is down (the socket works again when it is up) or gone (never again). */
static void socket_failed(struct mlb_pulse *pulse, const struct mlb_pulse_link *link, int fd, int error)
{
	struct mlb_pulse_event event = {
		.type = MLB_PULSE_INTERFACE_ERROR,
		.index = link->index,
		.error = error,
	};

	if (error != ENETDOWN)
		epoll_ctl(pulse->epoll_fd, EPOLL_CTL_DEL, fd, NULL);	/* the error stands: it would wake us for ever */
	if (link->sockets->last_error == error)
		return;
	link->sockets->last_error = error;
	report(pulse, &event);
}

static void send_answers(struct mlb_pulse *pulse, const struct mlb_pulse_link *link, int fd, size_t nanswers)
{
	size_t sent = 0;

	if (nanswers == 0 || !mlb_pulse_look(pulse))
		return;
	mlb_packet_send(fd, 0, pulse->scratch.answers, nanswers, 0, &sent);
	for (size_t i = 0; i < sent; i++)
		mlb_flight_note(&pulse->flight, link->index, MLB_FLIGHT_OUT, pulse->scratch.answers[i].bytes,
				pulse->scratch.answers[i].length);
	mlb_pulse_count(pulse, MLB_PULSE_COUNT_ANSWERED, sent);
	mlb_pulse_count(pulse, MLB_PULSE_COUNT_UNSENT, nanswers - sent);
}

/* Judge what was read; answers pile up in the scratch. Returns how many. */
static size_t judge(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
		    enum mlb_pulse_source source, const struct mmsghdr *messages, int nmessages)
{
	struct mlb_pulse_verdict verdict;
	size_t nanswers = 0;

	for (int i = 0; i < nmessages; i++) {
		const uint8_t *bytes = pulse->scratch.frames[i];
		size_t length = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? 0 : messages[i].msg_len;

		if (source == MLB_PULSE_ARP)
			mlb_pulse_judge_arp(table, link, bytes, length, &verdict);
		else
			mlb_pulse_judge_ndp(table, link, bytes, length, &verdict);
		mlb_pulse_count(pulse, MLB_PULSE_COUNT_FRAMES_BAD, verdict.is_bad);
		mlb_pulse_count(pulse, MLB_PULSE_COUNT_REQUESTS, verdict.is_request);
		if (verdict.has_conflict || verdict.has_answer)
			mlb_flight_note(&pulse->flight, link->index, MLB_FLIGHT_IN, bytes, length);
		if (verdict.has_conflict)
			report_conflict(pulse, &verdict.conflict);
		if (verdict.has_answer)
			pulse->scratch.answers[nanswers++] = verdict.answer;
	}
	mlb_pulse_count(pulse, MLB_PULSE_COUNT_FRAMES, (uint64_t)nmessages);
	return nanswers;
}

static int fd_of(const struct mlb_pulse_link *link, enum mlb_pulse_source source)
{
	if (source == MLB_PULSE_HEARTBEAT)
		return link->sockets->beat_fd;
	return source == MLB_PULSE_ARP ? link->sockets->arp_fd : link->sockets->nd_fd;
}

static void judge_heartbeats(struct mlb_pulse *pulse, const struct mlb_pulse_table *table,
			     const struct mlb_pulse_link *link, const struct mmsghdr *messages, int nmessages)
{
	size_t lengths[MLB_PULSE_BATCH];

	for (int i = 0; i < nmessages; i++)
		lengths[i] = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? 0 : messages[i].msg_len;
	mlb_pulse_judge_heartbeats(pulse, table, link, lengths, nmessages);
}

/* Read up to `most` frames and answer them. Returns how many were read: 0 when there are none, or after an error. */
static uint32_t receive(struct mlb_pulse *pulse, const struct mlb_pulse_table *table,
			const struct mlb_pulse_link *link, enum mlb_pulse_source source, uint32_t most)
{
	int fd = fd_of(link, source);
	struct mmsghdr messages[MLB_PULSE_BATCH];
	struct iovec parts[MLB_PULSE_BATCH];
	int nmessages;

	if (most > MLB_PULSE_BATCH)
		most = MLB_PULSE_BATCH;
	for (uint32_t i = 0; i < most; i++) {
		parts[i] = (struct iovec){ pulse->scratch.frames[i], MLB_PULSE_FRAME };
		messages[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
	}
	nmessages = recvmmsg(fd, messages, most, MSG_DONTWAIT, NULL);
	if (nmessages < 0) {
		if (errno != EAGAIN && errno != EINTR)
			socket_failed(pulse, link, fd, errno);
		return 0;
	}
	link->sockets->last_error = 0;
	if (source == MLB_PULSE_HEARTBEAT)
		judge_heartbeats(pulse, table, link, messages, nmessages);
	else
		send_answers(pulse, link, fd, judge(pulse, table, link, source, messages, nmessages));
	return (uint32_t)nmessages;
}

static void on_frames(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, const struct mlb_pulse_link *link,
		      enum mlb_pulse_source source)
{
	struct mlb_pulse_sockets *sockets = link->sockets;

	if (sockets->is_paused) {	/* polled for nothing, so it woke us for an error: take that off */
		int fd = fd_of(link, source), error = 0;
		socklen_t size = sizeof(error);

		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error)
			socket_failed(pulse, link, fd, error);
		return;
	}
	for (int i = 0; i < BATCHES_A_WAKE && sockets->budget > 0; i++) {
		uint32_t nread = receive(pulse, table, link, source, sockets->budget);

		sockets->budget -= nread;
		if (nread < MLB_PULSE_BATCH)
			break;
	}
	if (sockets->budget == 0)
		pause_link(pulse, link);
}

/* A new tick: budgets are full again. */
static void refill(struct mlb_pulse *pulse, const struct mlb_pulse_link *link, uint32_t frames)
{
	struct mlb_pulse_sockets *sockets = link->sockets;

	sockets->budget = frames ? frames : 1;
	if (!sockets->is_paused)
		return;
	sockets->is_paused = false;
	poll_for(pulse, sockets->arp_fd, MLB_PULSE_ARP, link->index, EPOLLIN);
	poll_for(pulse, sockets->nd_fd, MLB_PULSE_ND, link->index, EPOLLIN);
	if (sockets->beat_fd >= 0)
		poll_for(pulse, sockets->beat_fd, MLB_PULSE_HEARTBEAT, link->index, EPOLLIN);
}

static void on_tick(struct mlb_pulse *pulse, const struct mlb_pulse_table *table)
{
	uint32_t frames = (uint32_t)((uint64_t)pulse->options.frames_per_second * pulse->options.tick_ms / 1000);
	uint64_t expirations;
	ssize_t ignored = read(pulse->tick_fd, &expirations, sizeof(expirations));

	(void)ignored;	/* nothing to read: the tick was taken already */
	pulse->scratch.nclaims = 0;
	for (size_t i = 0; i < table->nlinks; i++) {
		const struct mlb_pulse_link *link = &table->links[i];

		refill(pulse, link, frames);
		if (link->sockets->last_error == ENETDOWN && !mlb_packet_is_bound(link->sockets->arp_fd))
			socket_failed(pulse, link, link->sockets->arp_fd, ENODEV);
	}
	if (table->keys) {
		mlb_pulse_beat(pulse, table, true);
		atomic_fetch_add(&pulse->beats, 1);
		pulse->options.wake(pulse->options.context);
	}
}

static void drain_socket(struct mlb_pulse *pulse, const struct mlb_pulse_table *table,
			 const struct mlb_pulse_link *link, enum mlb_pulse_source source)
{
	for (int batch = 0; batch < BATCHES_OF_DRAIN; batch++)
		if (receive(pulse, table, link, source, MLB_PULSE_BATCH) == 0)
			break;
}

/* Read away what came while the thread was not run: who asked then has asked again or another node. Claims are reported,
 * and heartbeats tell what the others decided meanwhile; they vouch for nobody. */
static void drain(struct mlb_pulse *pulse, const struct mlb_pulse_table *table)
{
	for (size_t i = 0; i < table->nlinks; i++) {
		const struct mlb_pulse_link *link = &table->links[i];

		drain_socket(pulse, table, link, MLB_PULSE_ARP);
		drain_socket(pulse, table, link, MLB_PULSE_ND);
		if (link->sockets->beat_fd < 0)
			continue;
		drain_socket(pulse, table, link, MLB_PULSE_HEARTBEAT);
		mlb_segment_slept(link->sockets->segment);
	}
	pulse->scratch.must_drain = false;
}

static void dispatch(struct mlb_pulse *pulse, const struct mlb_pulse_table *table, uint64_t data)
{
	enum mlb_pulse_source source = (enum mlb_pulse_source)(data >> 32);
	const struct mlb_pulse_link *link;

	if (source == MLB_PULSE_TICK) {
		on_tick(pulse, table);
	} else if (source == MLB_PULSE_COMMAND) {
		on_command(pulse);
		if (table->keys)
			mlb_pulse_beat(pulse, table, false);
	} else {
		link = mlb_pulse_find_link(table, (uint32_t)data);
		if (link)	/* else it was detached after it woke us */
			on_frames(pulse, table, link, source);
	}
}

/* Announce which table is about to be read, then see that it is still the published one: from there on the loop finds it
 * in `in_use` and does not free it. */
static const struct mlb_pulse_table *acquire(struct mlb_pulse *pulse)
{
	struct mlb_pulse_table *table = atomic_load(&pulse->published);

	for (;;) {
		struct mlb_pulse_table *again;

		atomic_store(&pulse->in_use, table);
		again = atomic_load(&pulse->published);
		if (again == table)
			return table;
		table = again;
	}
}

void *mlb_pulse_run(void *argument)
{
	struct mlb_pulse *pulse = argument;
	struct epoll_event events[EVENTS_A_WAKE];

	while (!atomic_load(&pulse->must_stop)) {
		int nevents = epoll_wait(pulse->epoll_fd, events, EVENTS_A_WAKE, -1);
		const struct mlb_pulse_table *table = acquire(pulse);

		mlb_pulse_look(pulse);
		if (pulse->scratch.must_drain)
			drain(pulse, table);
		for (int i = 0; i < nevents; i++)
			dispatch(pulse, table, events[i].data.u64);
		if (pulse->scratch.must_drain)	/* stopped in the middle */
			drain(pulse, table);
		atomic_store(&pulse->in_use, NULL);
	}
	return NULL;
}
