/* core/lua_netlink_monitor.c: notifications of rtnetlink(7) on the loop, for nl:monitor. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lua_netlink.h"
#include "lua_util.h"

#define BUFFER_SIZE (8 << 20)	/* 10,000 changes at once: a notification costs the kernel some 800 bytes */
#define DATAGRAM_SIZE 32768
#define DATAGRAMS_A_TURN 64	/* then others on the loop have a turn */

struct mlb_netlink_monitor {
	uv_poll_t poll;
	lua_State *L;
	int fd;
	int callback;
	int owner;
	bool is_stopped;
	bool is_overrun;
};

static void on_closed(uv_handle_t *handle)
{
	struct mlb_netlink_monitor *monitor = handle->data;

	close(monitor->fd);
	free(monitor);
}

void mlb_netlink_monitor_stop(lua_State *L, struct mlb_netlink_monitor *monitor)
{
	if (monitor->is_stopped)
		return;
	monitor->is_stopped = true;
	mlb_unpin(L, &monitor->callback);
	mlb_unpin(L, &monitor->owner);
	uv_close((uv_handle_t *)&monitor->poll, on_closed);
}

static void push_event(lua_State *L, const struct mlb_netlink_event *event)
{
	static const char *const types[] = {
		[MLB_NETLINK_LINK] = "link",
		[MLB_NETLINK_ADDRESS] = "address",
		[MLB_NETLINK_ROUTE] = "route",
		[MLB_NETLINK_NEIGHBOUR] = "neighbour",
	};

	mlb_push_netlink_thing(L, event);
	lua_pushstring(L, types[event->type]);
	lua_setfield(L, -2, "type");
	lua_pushstring(L, event->is_delete ? "delete" : "new");
	lua_setfield(L, -2, "action");
}

/* Hand over one event; NULL: some were lost. */
static void deliver(struct mlb_netlink_monitor *monitor, const struct mlb_netlink_event *event)
{
	lua_State *L = monitor->L;

	lua_rawgeti(L, LUA_REGISTRYINDEX, monitor->callback);
	lua_pushnil(L);
	if (event) {
		push_event(L, event);
	} else {
		lua_createtable(L, 0, 1);
		lua_pushliteral(L, "overrun");
		lua_setfield(L, -2, "type");
	}
	mlb_call(L, 2, "netlink monitor");
}

/* The socket is of no more use: the callback hears why, and nothing after. */
static void fail(struct mlb_netlink_monitor *monitor, int err)
{
	lua_State *L = monitor->L;

	lua_rawgeti(L, LUA_REGISTRYINDEX, monitor->callback);
	lua_pushfstring(L, "netlink monitor: %s", strerror(-err));
	mlb_push_error_table(L, lua_tostring(L, -1), mlb_errno_name(err));
	lua_remove(L, -2);
	uv_poll_stop(&monitor->poll);
	mlb_call(L, 1, "netlink monitor");
}

/* Every message of a datagram, unless the callback stops the monitor. A message that cannot be read is a lost one. */
static void deliver_datagram(struct mlb_netlink_monitor *monitor, const void *datagram, size_t size)
{
	const struct nlmsghdr *header;
	struct mlb_netlink_event event;
	size_t position = 0;
	int found;

	while (!monitor->is_stopped && (header = mlb_netlink_next_message(datagram, size, &position)) != NULL) {
		found = mlb_netlink_parse(header, &event);
		if (found != 0)
			deliver(monitor, found == 1 ? &event : NULL);
	}
}

/* ENOBUFS comes before what is still queued, and until the queue is empty the kernel drops more without a word. So the
 * queue, which a fresh look at everything makes worthless, is emptied first: what changes after `overrun` is told.
 * A full buffer also raises POLLERR, which libuv takes for the descriptor's end: it stops polling and says UV_EBADF; only
 * reading tells which it is. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct mlb_netlink_monitor *monitor = poll->data;
	union {
		struct nlmsghdr header;
		char bytes[DATAGRAM_SIZE];
	} buffer;
	int size;

	(void)events;
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_readable);
	for (int i = 0; i < DATAGRAMS_A_TURN && !monitor->is_stopped; i++) {
		size = mlb_netlink_monitor_read(monitor->fd, &buffer, sizeof(buffer));
		if (size == -ENOBUFS) {
			monitor->is_overrun = true;
		} else if (size < 0) {
			fail(monitor, size);
			return;
		} else if (size == 0) {
			if (monitor->is_overrun) {
				monitor->is_overrun = false;
				deliver(monitor, NULL);
			}
			return;
		} else if (!monitor->is_overrun) {
			deliver_datagram(monitor, &buffer, (size_t)size);
		}
	}
}

int mlb_netlink_monitor_start(lua_State *L, int owner, int callback, struct mlb_netlink_monitor **ret_monitor)
{
	struct mlb_netlink_monitor *monitor;
	int fd = mlb_netlink_monitor_open(BUFFER_SIZE);
	int err;

	if (fd < 0)
		return fd;
	monitor = calloc(1, sizeof(*monitor));
	err = monitor ? uv_poll_init(mlb_loop(L), &monitor->poll, fd) : -ENOMEM;
	if (err < 0) {
		free(monitor);
		close(fd);
		return err;
	}
	monitor->poll.data = monitor;
	monitor->L = mlb_main_state(L);
	monitor->fd = fd;
	monitor->callback = mlb_pin(L, callback);
	monitor->owner = mlb_pin(L, owner);
	err = uv_poll_start(&monitor->poll, UV_READABLE, on_readable);
	if (err < 0) {
		mlb_netlink_monitor_stop(L, monitor);
		return err;
	}
	*ret_monitor = monitor;
	return 0;
}
