#include "pulse.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "groups.h"
#include "packet.h"
#include "pulse_impl.h"

#define STACK_SIZE (256 * 1024)

/* A table that was replaced, and sockets that it may refer to; freed when the thread cannot be reading it. */
struct mlb_pulse_retired {
	struct mlb_pulse_retired *next;
	struct mlb_pulse_table *table;
	struct mlb_pulse_waste waste;	/* NULL: none */
};

static atomic_bool is_running;	/* one a process */

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* A packet socket: close(2) waits for a grace period of the kernel. */
static void close_elsewhere(const struct mlb_pulse *pulse, int fd)
{
	if (fd >= 0)
		pulse->options.close(pulse->options.context, fd);
}

static void free_sockets(const struct mlb_pulse *pulse, struct mlb_pulse_sockets *sockets)
{
	if (!sockets)
		return;
	close_elsewhere(pulse, sockets->arp_fd);
	close_elsewhere(pulse, sockets->nd_fd);
	close_elsewhere(pulse, sockets->beat_fd);
	free(sockets);
}

static void free_waste(const struct mlb_pulse *pulse, const struct mlb_pulse_waste *waste)
{
	free_sockets(pulse, waste->sockets);
	free(waste->body);
	mlb_heartbeat_keys_free(waste->keys);
}

/* The thread reads the published table or none: then nothing that was retired is in use. While it reads an older one,
 * all of them stay; that lasts microseconds. */
static void reclaim(struct mlb_pulse *pulse)
{
	struct mlb_pulse_table *in_use = atomic_load(&pulse->in_use);

	if (in_use && in_use != atomic_load(&pulse->published))
		return;
	while (pulse->retired) {
		struct mlb_pulse_retired *retired = pulse->retired;

		pulse->retired = retired->next;
		mlb_pulse_table_free(retired->table);
		free_waste(pulse, &retired->waste);
		free(retired);
	}
}

/* Publish a copy of the draft. What `waste` refers to is no longer in it and is freed when the thread is done with it. */
int mlb_pulse_publish_draft(struct mlb_pulse *pulse, const struct mlb_pulse_waste *waste)
{
	struct mlb_pulse_retired *retired = malloc(sizeof(*retired));
	struct mlb_pulse_table *table = mlb_pulse_table_copy(&pulse->draft);

	if (!retired || !table) {
		free(retired);
		mlb_pulse_table_free(table);
		return -ENOMEM;
	}
	retired->table = atomic_exchange(&pulse->published, table);
	retired->waste = *waste;
	retired->next = pulse->retired;
	pulse->retired = retired;
	reclaim(pulse);
	return 0;
}

static int publish(struct mlb_pulse *pulse)
{
	static const struct mlb_pulse_waste none;

	return mlb_pulse_publish_draft(pulse, &none);
}

void mlb_pulse_wake_thread(struct mlb_pulse *pulse)
{
	static const uint64_t one = 1;
	ssize_t ignored = write(pulse->command_fd, &one, sizeof(one));

	(void)ignored;	/* EAGAIN: it has been woken 2^64 - 2 times already */
}

int mlb_pulse_watch(struct mlb_pulse *pulse, int fd, enum mlb_pulse_source source, uint32_t index)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index };

	return epoll_ctl(pulse->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_descriptors(struct mlb_pulse *pulse)
{
	unsigned tick_ms = pulse->options.tick_ms;
	struct itimerspec every = { .it_interval = { tick_ms / 1000, tick_ms % 1000 * 1000000L } };
	int result;

	every.it_value = every.it_interval;
	pulse->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	pulse->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pulse->tick_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (pulse->epoll_fd < 0 || pulse->command_fd < 0 || pulse->tick_fd < 0 ||
	    timerfd_settime(pulse->tick_fd, 0, &every, NULL) < 0)
		return -errno;
	result = mlb_pulse_watch(pulse, pulse->tick_fd, MLB_PULSE_TICK, 0);
	return result < 0 ? result : mlb_pulse_watch(pulse, pulse->command_fd, MLB_PULSE_COMMAND, 0);
}

/* On a busy node an ordinary thread waits milliseconds for its turn after a frame has woken it. What this one may cost
 * is bounded by frames_per_second, and by the kernel's own limit on real-time threads. */
static void set_priority(struct mlb_pulse *pulse)
{
	struct sched_param parameters = { .sched_priority = pulse->options.priority };

	if (pulse->options.priority > 0)
		pulse->is_realtime = pthread_setschedparam(pulse->thread, SCHED_RR, &parameters) == 0;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static int start_thread(struct mlb_pulse *pulse)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int error;

	sigfillset(&all);
	error = pthread_attr_init(&attributes);
	if (error)
		return -error;
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&pulse->thread, &attributes, mlb_pulse_run, pulse);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (error)
		return -error;
	pulse->has_thread = true;
	pthread_setname_np(pulse->thread, "pulse");
	set_priority(pulse);
	return 0;
}

static int prepare(struct mlb_pulse *pulse)
{
	int result = open_descriptors(pulse);

	if (result < 0)
		return result;
	pulse->groups = mlb_groups_new();
	atomic_store(&pulse->published, mlb_pulse_table_copy(&pulse->draft));
	if (!pulse->groups || !atomic_load(&pulse->published))
		return -ENOMEM;
	pulse->scratch.looked_at_ms = mlb_pulse_now_ms();
	atomic_store(&pulse->alive_at_ms, pulse->scratch.looked_at_ms);
	return start_thread(pulse);
}

int mlb_pulse_start(const struct mlb_pulse_options *options, struct mlb_pulse **ret_pulse)
{
	struct mlb_pulse *pulse;
	int result;

	if (atomic_exchange(&is_running, true))
		return -EBUSY;
	pulse = calloc(1, sizeof(*pulse));
	if (!pulse) {
		atomic_store(&is_running, false);
		return -ENOMEM;
	}
	pulse->options = *options;
	pulse->epoll_fd = pulse->tick_fd = pulse->command_fd = -1;
	result = prepare(pulse);
	if (result < 0) {
		mlb_pulse_stop(pulse);
		return result;
	}
	*ret_pulse = pulse;
	return 0;
}

void mlb_pulse_stop(struct mlb_pulse *pulse)
{
	if (!pulse)
		return;
	if (pulse->has_thread) {
		atomic_store(&pulse->must_stop, true);
		mlb_pulse_wake_thread(pulse);
		pthread_join(pulse->thread, NULL);
	}
	atomic_store(&pulse->in_use, NULL);
	reclaim(pulse);
	for (size_t i = 0; i < pulse->draft.nlinks; i++) {
		free_sockets(pulse, pulse->draft.links[i].sockets);
		free(pulse->draft.links[i].body);
	}
	mlb_heartbeat_keys_free(pulse->draft.keys);
	mlb_pulse_free_segments(pulse);
	mlb_groups_free(pulse->groups);
	mlb_pulse_table_free(atomic_load(&pulse->published));
	mlb_pulse_table_clear(&pulse->draft);
	close_fd(pulse->epoll_fd);
	close_fd(pulse->tick_fd);
	close_fd(pulse->command_fd);
	free(pulse);
	atomic_store(&is_running, false);
}

static int open_sockets(struct mlb_pulse *pulse, unsigned index, bool is_deaf, struct mlb_pulse_sockets **ret_sockets)
{
	static const uint8_t all_nodes[MLB_MAC_SIZE] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct mlb_pulse_sockets *sockets = calloc(1, sizeof(*sockets));
	int result;

	if (!sockets)
		return -ENOMEM;
	sockets->arp_fd = sockets->nd_fd = sockets->beat_fd = -1;
	sockets->budget = MLB_PULSE_BATCH;	/* until the first tick */
	result = mlb_packet_open(index, MLB_PACKET_ARP, &sockets->arp_fd);
	if (result == 0)
		result = mlb_packet_open(index, MLB_PACKET_ND, &sockets->nd_fd);
	if (result == 0)	/* advertisements that answer a probe go to all nodes, also where IPv6 is off */
		result = mlb_packet_group(sockets->nd_fd, index, all_nodes, true);
	if (result == 0 && !is_deaf)
		result = mlb_pulse_open_heartbeat(pulse, index, sockets);
	if (result < 0) {
		free_sockets(pulse, sockets);
		return result;
	}
	*ret_sockets = sockets;
	return 0;
}

static bool is_ipv6(const struct in6_addr *address)
{
	return !IN6_IS_ADDR_V4MAPPED(address);
}

static void leave_all(struct mlb_pulse *pulse, const struct mlb_pulse_link *link, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct mlb_pulse_entry *entry = &pulse->draft.entries[i];

		if (entry->index == link->index && is_ipv6(&entry->address))
			mlb_groups_leave(pulse->groups, link->index, link->sockets->nd_fd, &entry->address);
	}
}

/* The groups of all addresses used on the interface; on failure none. */
static int join_all(struct mlb_pulse *pulse, const struct mlb_pulse_link *link)
{
	for (size_t i = 0; i < pulse->draft.nentries; i++) {
		const struct mlb_pulse_entry *entry = &pulse->draft.entries[i];
		int result;

		if (entry->index != link->index || !is_ipv6(&entry->address))
			continue;
		result = mlb_groups_join(pulse->groups, link->index, link->sockets->nd_fd, &entry->address);
		if (result < 0) {
			leave_all(pulse, link, i);
			return result;
		}
	}
	return 0;
}

int mlb_pulse_detach(struct mlb_pulse *pulse, unsigned index)
{
	struct mlb_pulse_link *found = mlb_pulse_find_link(&pulse->draft, index);
	struct mlb_pulse_link link;

	if (!found)
		return 0;
	link = *found;
	leave_all(pulse, &link, pulse->draft.nentries);
	/* Fails for a socket that the thread has given up. */
	epoll_ctl(pulse->epoll_fd, EPOLL_CTL_DEL, link.sockets->arp_fd, NULL);
	epoll_ctl(pulse->epoll_fd, EPOLL_CTL_DEL, link.sockets->nd_fd, NULL);
	if (link.sockets->beat_fd >= 0)
		epoll_ctl(pulse->epoll_fd, EPOLL_CTL_DEL, link.sockets->beat_fd, NULL);
	mlb_pulse_remove_link(&pulse->draft, index);
	return mlb_pulse_publish_draft(pulse, &(struct mlb_pulse_waste){ .sockets = link.sockets, .body = link.body });
}

/* The thread may be reading it until it takes the next table. */
static void retire_body(struct mlb_pulse *pulse, struct mlb_segment_body *body)
{
	if (body)
		mlb_pulse_publish_draft(pulse, &(struct mlb_pulse_waste){ .body = body });
}

int mlb_pulse_attach(struct mlb_pulse *pulse, unsigned index, const uint8_t mac[MLB_MAC_SIZE], bool is_deaf)
{
	struct mlb_pulse_link link = { .index = index, .is_deaf = is_deaf }, *before = mlb_pulse_find_link(&pulse->draft, index);
	int result;

	if (before) {	/* what heartbeats say outlasts the sockets */
		link.body = before->body;
		before->body = NULL;
	}
	result = mlb_pulse_detach(pulse, index);
	if (result < 0)
		return result;
	memcpy(link.mac, mac, MLB_MAC_SIZE);
	result = open_sockets(pulse, index, is_deaf, &link.sockets);
	if (result < 0) {
		retire_body(pulse, link.body);
		return result;
	}
	result = mlb_pulse_add_link(&pulse->draft, &link);
	if (result < 0)
		goto failed;
	result = join_all(pulse, &link);
	if (result < 0)
		goto failed;
	/* Published before it is watched: a wake-up for an interface that the table does not have would come again and again. */
	result = publish(pulse);
	if (result == 0)
		result = mlb_pulse_watch(pulse, link.sockets->arp_fd, MLB_PULSE_ARP, index);
	if (result == 0)
		result = mlb_pulse_watch(pulse, link.sockets->nd_fd, MLB_PULSE_ND, index);
	if (result == 0 && link.sockets->beat_fd >= 0)
		result = mlb_pulse_watch(pulse, link.sockets->beat_fd, MLB_PULSE_HEARTBEAT, index);
	if (result < 0)
		mlb_pulse_detach(pulse, index);
	return result;

failed:
	mlb_pulse_remove_link(&pulse->draft, index);
	free_sockets(pulse, link.sockets);
	retire_body(pulse, link.body);
	return result;
}

int mlb_pulse_set_mac(struct mlb_pulse *pulse, unsigned index, const uint8_t mac[MLB_MAC_SIZE])
{
	struct mlb_pulse_link *link = mlb_pulse_find_link(&pulse->draft, index);

	if (!link)
		return -ENODEV;
	memcpy(link->mac, mac, MLB_MAC_SIZE);
	return publish(pulse);
}

int mlb_pulse_set_own_macs(struct mlb_pulse *pulse, const uint8_t (*macs)[MLB_MAC_SIZE], size_t count)
{
	int result = mlb_pulse_replace_own_macs(&pulse->draft, macs, count);

	return result < 0 ? result : publish(pulse);
}

int mlb_pulse_add_use(struct mlb_pulse *pulse, const struct in6_addr *address, unsigned index, uint32_t use)
{
	uint32_t before = mlb_pulse_use(&pulse->draft, address, index);
	struct mlb_pulse_link *link = mlb_pulse_find_link(&pulse->draft, index);
	bool must_join = before == 0 && link && is_ipv6(address);
	int result;

	if (must_join) {
		result = mlb_groups_join(pulse->groups, index, link->sockets->nd_fd, address);
		if (result < 0)
			return result;
	}
	result = mlb_pulse_set_use(&pulse->draft, address, index, before | use);
	if (result < 0 && must_join)
		mlb_groups_leave(pulse->groups, index, link->sockets->nd_fd, address);
	return result;
}

int mlb_pulse_remove_use(struct mlb_pulse *pulse, const struct in6_addr *address, unsigned index, uint32_t use)
{
	uint32_t before = mlb_pulse_use(&pulse->draft, address, index), after = before & ~use;
	struct mlb_pulse_link *link = mlb_pulse_find_link(&pulse->draft, index);

	if (before && !after && link && is_ipv6(address))
		mlb_groups_leave(pulse->groups, index, link->sockets->nd_fd, address);
	return mlb_pulse_set_use(&pulse->draft, address, index, after);
}

int mlb_pulse_publish(struct mlb_pulse *pulse)
{
	return publish(pulse);
}

void mlb_pulse_alive(struct mlb_pulse *pulse)
{
	atomic_store(&pulse->alive_at_ms, mlb_pulse_now_ms());
	if ((atomic_load(&pulse->mute_state) & 3) != MLB_PULSE_HEARD)
		mlb_pulse_wake_thread(pulse);	/* it may answer again */
	reclaim(pulse);
}

bool mlb_pulse_next_event(struct mlb_pulse *pulse, struct mlb_pulse_event *ret_event)
{
	uint32_t state = atomic_load(&pulse->mute_state);

	reclaim(pulse);
	if (state != pulse->seen_mute_state) {
		pulse->seen_mute_state = state;
		memset(ret_event, 0, sizeof(*ret_event));
		ret_event->reason = (enum mlb_pulse_mute_reason)(state & 3);
		ret_event->type = ret_event->reason == MLB_PULSE_HEARD ? MLB_PULSE_UNMUTE : MLB_PULSE_MUTE;
		return true;
	}
	if (mlb_pulse_ring_take(&pulse->ring, ret_event))
		return true;
	if (pulse->seen_beats == atomic_load(&pulse->beats))
		return false;
	pulse->seen_beats = atomic_load(&pulse->beats);
	memset(ret_event, 0, sizeof(*ret_event));
	ret_event->type = MLB_PULSE_BEAT;
	return true;
}

bool mlb_pulse_is_mute_news(struct mlb_pulse *pulse)
{
	return atomic_load(&pulse->mute_state) != pulse->seen_mute_state;
}

void mlb_pulse_acknowledge(struct mlb_pulse *pulse)
{
	atomic_store(&pulse->acknowledged, pulse->seen_mute_state);
	mlb_pulse_wake_thread(pulse);
}

struct mlb_flight *mlb_pulse_flight(struct mlb_pulse *pulse)
{
	return &pulse->flight;
}

void mlb_pulse_read_stats(struct mlb_pulse *pulse, struct mlb_pulse_stats *ret_stats)
{
	for (int i = 0; i < MLB_PULSE_COUNTERS; i++)
		ret_stats->counts[i] = atomic_load_explicit(&pulse->counts[i], memory_order_relaxed);
	ret_stats->mute_reason = (enum mlb_pulse_mute_reason)(atomic_load(&pulse->mute_state) & 3);
	ret_stats->is_realtime = pulse->is_realtime;
	ret_stats->entries = pulse->draft.nentries;
	ret_stats->links = pulse->draft.nlinks;
}
