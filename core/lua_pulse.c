/* core/lua_pulse.c: module `moonlb.core.pulse`; mechanism is core/pulse.c, whose thread wakes the loop by a uv_async. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "lua_flight.h"
#include "lua_heartbeat.h"
#include "lua_util.h"
#include "lua_wire.h"
#include "pulse.h"
#include "pulse_table.h"

#define PULSE_MT "moonlb.core.pulse"
#define EVENTS_A_TURN 256	/* then the loop's other handles have their turn */

/* Outlives the userdata: libuv holds the handle until its close callback. */
struct binding {
	uv_async_t async;
	lua_State *L;			/* the main state */
	struct mlb_pulse *pulse;	/* NULL: closed */
	int on_event;
	struct mlb_segment_options heartbeat;	/* name is empty: no heartbeats */
	int self;			/* pins the userdata while the thread runs */
};

struct handle {
	struct binding *binding;	/* NULL: closed, or not started yet */
};

static struct mlb_pulse *check_pulse(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, PULSE_MT);

	luaL_argcheck(L, handle->binding, 1, "pulse is closed");
	return handle->binding->pulse;
}

static void check_address(lua_State *L, int arg, struct in6_addr *ret_address)
{
	const char *text = luaL_checkstring(L, arg);
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		memset(ret_address, 0, sizeof(*ret_address));
		memset(ret_address->s6_addr + 10, 0xff, 2);
		memcpy(ret_address->s6_addr + 12, &ipv4, sizeof(ipv4));
		return;
	}
	luaL_argcheck(L, inet_pton(AF_INET6, text, ret_address) == 1 && !IN6_IS_ADDR_V4MAPPED(ret_address), arg,
		      "IPv4 or IPv6 address expected");
}

static void push_text(lua_State *L, const char *name, const char *value)
{
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static void push_conflict(lua_State *L, const struct mlb_pulse_event *event)
{
	static const char *const operations[] = { "request", "reply", "probe", "solicitation", "advertisement" };

	push_text(L, "type", "conflict");
	if (IN6_IS_ADDR_V4MAPPED(&event->address))
		mlb_set_address(L, "address", AF_INET, event->address.s6_addr + 12);
	else
		mlb_set_address(L, "address", AF_INET6, &event->address);
	mlb_set_mac(L, "mac", event->mac);
	lua_pushinteger(L, event->index);
	lua_setfield(L, -2, "index");
	push_text(L, "operation", operations[event->operation]);
}

static void push_event(lua_State *L, const struct mlb_pulse_event *event)
{
	lua_createtable(L, 0, 5);
	switch (event->type) {
	case MLB_PULSE_CONFLICT:
		push_conflict(L, event);
		break;
	case MLB_PULSE_INTERFACE_ERROR:
		push_text(L, "type", "interface_error");
		lua_pushinteger(L, event->index);
		lua_setfield(L, -2, "index");
		push_text(L, "code", mlb_errno_name(event->error));
		break;
	case MLB_PULSE_MUTE:
		push_text(L, "type", "mute");
		push_text(L, "reason", event->reason == MLB_PULSE_GAP ? "gap" : "loop");
		break;
	case MLB_PULSE_UNMUTE:
		push_text(L, "type", "unmute");
		break;
	case MLB_PULSE_BEAT:
		push_text(L, "type", "beat");
		break;
	}
}

/* Push the next heartbeat with news as an event; false when there is none. */
static bool push_heartbeat(struct binding *binding)
{
	lua_State *L = binding->L;
	struct mlb_heartbeat heartbeat;
	const uint8_t *payload;
	unsigned index;
	uint32_t slot;
	size_t length;

	payload = mlb_pulse_next_heartbeat(binding->pulse, &index, &slot, &length);
	if (!payload || mlb_heartbeat_decode(payload, length, &heartbeat, NULL) < 0)
		return false;
	mlb_push_heartbeat(L, &heartbeat, binding->heartbeat.name);
	push_text(L, "type", "heartbeat");
	lua_pushinteger(L, index);
	lua_setfield(L, -2, "index");
	lua_pushinteger(L, slot);
	lua_setfield(L, -2, "slot");
	return true;
}

/* News before the tick that tells to act on them. Mute comes before both: it says that they are old. */
static bool push_next(struct binding *binding)
{
	struct mlb_pulse_event event;

	if (!binding->pulse)
		return false;
	if (mlb_pulse_is_mute_news(binding->pulse) || !push_heartbeat(binding)) {
		if (!mlb_pulse_next_event(binding->pulse, &event))
			return false;
		push_event(binding->L, &event);
	}
	return true;
}

/* on_event may close the pulse; the binding lives until the loop's close callback. */
static void on_wake(uv_async_t *async)
{
	struct binding *binding = async->data;
	lua_State *L = binding->L;

	for (int i = 0; i < EVENTS_A_TURN; i++) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, binding->on_event);	/* on_event */
		if (!push_next(binding)) {				/* on_event event */
			lua_pop(L, 1);
			return;
		}
		mlb_call(L, 1, "pulse on_event");
	}
	if (binding->pulse)
		uv_async_send(async);
}

static void wake(void *context)
{
	uv_async_send(context);
}

static void on_closed(uv_fs_t *request)
{
	uv_fs_req_cleanup(request);
	free(request);
}

/* Close a socket in libuv's pool. */
static void close_elsewhere(void *context, int fd)
{
	uv_async_t *async = context;
	uv_fs_t *request = malloc(sizeof(*request));

	if (request && uv_fs_close(async->loop, request, fd, on_closed) == 0)
		return;
	free(request);
	close(fd);
}

static void free_binding(uv_handle_t *async)
{
	free(async->data);
}

/* Seconds from field `name` as milliseconds. */
static unsigned milliseconds(lua_State *L, const char *name, lua_Number fallback)
{
	lua_Number seconds = fallback;

	if (lua_getfield(L, 1, name) != LUA_TNIL)
		seconds = luaL_checknumber(L, -1);
	lua_pop(L, 1);
	if (!(seconds >= 0.001 && seconds <= 3600))
		luaL_error(L, "%s: seconds from 0.001 to 3600 expected", name);
	return (unsigned)(seconds * 1000 + 0.5);
}

static void read_options(lua_State *L, struct mlb_pulse_options *ret_options)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	ret_options->tick_ms = milliseconds(L, "tick", 0.1);
	ret_options->gap_ms = milliseconds(L, "gap", 0.25);
	ret_options->silence_ms = milliseconds(L, "silence", 2);
	ret_options->frames_per_second = (unsigned)mlb_opt_integer(L, 1, "frames_per_second", 20000, 1, 10000000);
	ret_options->priority = (int)mlb_opt_integer(L, 1, "priority", 1, 0, 99);
	lua_settop(L, 1);
	if (lua_getfield(L, 1, "on_event") != LUA_TFUNCTION)	/* options on_event */
		luaL_error(L, "on_event: function expected");
}

/* moonlb.core.pulse.start{on_event = function(event) end, tick = 0.1, gap = 0.25, silence = 2, frames_per_second = 20000,
 * priority = 1} -> pulse | nil, message, code (EBUSY: there is one already). Times in seconds; core/pulse.h says what each
 * option means. */
static int pulse_start(lua_State *L)
{
	struct mlb_pulse_options options;
	struct binding *binding;
	struct handle *handle;
	int result;

	read_options(L, &options);					/* options on_event */
	handle = lua_newuserdatauv(L, sizeof(*handle), 0);		/* options on_event handle */
	handle->binding = NULL;
	luaL_setmetatable(L, PULSE_MT);
	binding = calloc(1, sizeof(*binding));
	if (!binding)
		return mlb_push_error(L, ENOMEM, "pulse");
	binding->L = mlb_main_state(L);
	binding->async.data = binding;
	result = uv_async_init(mlb_loop(L), &binding->async, on_wake);
	if (result < 0) {
		free(binding);
		return mlb_push_error(L, result, "uv_async_init");
	}
	options.wake = wake;
	options.close = close_elsewhere;
	options.context = &binding->async;
	result = mlb_pulse_start(&options, &binding->pulse);
	if (result < 0) {
		uv_close((uv_handle_t *)&binding->async, free_binding);
		return mlb_push_error(L, result, "starting the pulse thread");
	}
	handle->binding = binding;
	binding->on_event = mlb_pin(L, 2);
	binding->self = mlb_pin(L, 3);
	return 1;
}

/* pulse:close(); also __gc and __close: ends the thread and waits for it, which takes less than a millisecond; the sockets
 * are closed in libuv's pool. Idempotent, never raises. */
static int pulse_close(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, PULSE_MT);
	struct binding *binding = handle->binding;

	if (!binding)
		return 0;
	handle->binding = NULL;
	mlb_pulse_stop(binding->pulse);
	binding->pulse = NULL;
	mlb_unpin(L, &binding->on_event);
	mlb_unpin(L, &binding->self);
	uv_close((uv_handle_t *)&binding->async, free_binding);
	return 0;
}

static int push_result(lua_State *L, int result, const char *what, unsigned index)
{
	if (result < 0)
		return mlb_push_wire_error(L, result, what, index);
	lua_pushboolean(L, 1);
	return 1;
}

/* pulse:attach(index, mac, is_deaf = false) -> true | nil, message, code: listen on an interface (`is_deaf`: not for heartbeats)
 * and answer there with `mac`. Attaching again opens new sockets. EPERM without CAP_NET_RAW, ENODEV, EOPNOTSUPP where it is not Ethernet. */
static int pulse_attach(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);
	uint8_t mac[MLB_MAC_SIZE];

	mlb_check_mac(L, 3, mac);
	return push_result(L, mlb_pulse_attach(pulse, index, mac, lua_toboolean(L, 4)), "pulse: listening", index);
}

/* pulse:detach(index) -> true | nil, message, code: stop listening; its addresses stay in the table. */
static int pulse_detach(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);

	return push_result(L, mlb_pulse_detach(pulse, index), "pulse: detaching", index);
}

/* pulse:set_mac(index, mac) -> true | nil, message, code: the interface's MAC has changed. ENODEV when not attached. */
static int pulse_set_mac(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);
	uint8_t mac[MLB_MAC_SIZE];

	mlb_check_mac(L, 3, mac);
	return push_result(L, mlb_pulse_set_mac(pulse, index, mac), "pulse: setting the MAC", index);
}

/* pulse:set_own_macs(macs) -> true | nil, message, code: the MACs of all our nodes; what they claim is no conflict. */
static int pulse_set_own_macs(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	uint8_t (*macs)[MLB_MAC_SIZE];
	lua_Integer count;
	int result;

	luaL_checktype(L, 2, LUA_TTABLE);
	count = luaL_len(L, 2);
	macs = lua_newuserdatauv(L, (size_t)count * sizeof(*macs), 0);
	for (lua_Integer i = 0; i < count; i++) {
		lua_geti(L, 2, i + 1);
		mlb_check_mac(L, lua_gettop(L), macs[i]);
		lua_pop(L, 1);
	}
	result = mlb_pulse_set_own_macs(pulse, macs, (size_t)count);
	if (result < 0)
		return mlb_push_error(L, result, "pulse: %d MACs", (int)count);
	lua_pushboolean(L, 1);
	return 1;
}

static int change_use(lua_State *L, uint32_t use, bool is_added)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 3);
	struct in6_addr address;
	int result;

	check_address(L, 2, &address);
	result = is_added ? mlb_pulse_add_use(pulse, &address, index, use) :
			    mlb_pulse_remove_use(pulse, &address, index, use);
	if (result < 0)
		return mlb_push_error(L, result, "pulse: %s on interface %u", lua_tostring(L, 2), index);
	lua_pushboolean(L, 1);
	return 1;
}

/* pulse:hold(address, index) -> true | nil, message, code: answer for the address on that interface, from publish() on. The
 * solicited-node group of an IPv6 address is joined at once, or when the interface is attached. */
static int pulse_hold(lua_State *L)
{
	return change_use(L, MLB_PULSE_HELD, true);
}

/* pulse:drop(address, index) -> true | nil, message, code: answer no longer, from publish() on. */
static int pulse_drop(lua_State *L)
{
	return change_use(L, MLB_PULSE_HELD, false);
}

/* pulse:probe_for(address, index) -> true | nil, message, code: report who claims the address, from publish() on. */
static int pulse_probe_for(lua_State *L)
{
	return change_use(L, MLB_PULSE_PROBED, true);
}

/* pulse:probe_done(address, index) -> true | nil, message, code: undoes probe_for, from publish() on. */
static int pulse_probe_done(lua_State *L)
{
	return change_use(L, MLB_PULSE_PROBED, false);
}

/* pulse:heartbeat{node, cluster, port, vouch = 0.15, silent = 0.3} -> true | nil, message, code: from here on heartbeats are
 * heard on every interface, attached or to be, and sent where `say` gave them something. Once a pulse (EBUSY). */
static int pulse_heartbeat(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, PULSE_MT);
	struct mlb_pulse *pulse = check_pulse(L);
	struct mlb_segment_options options;
	uint16_t port;
	int result;

	mlb_check_segment_options(L, 2, &options);
	port = (uint16_t)mlb_opt_integer(L, 2, "port", 0, 1, UINT16_MAX);
	result = mlb_pulse_heartbeat(pulse, &options, port);
	if (result < 0)
		return mlb_push_error(L, result, "pulse: heartbeats");
	handle->binding->heartbeat = options;
	lua_pushboolean(L, 1);
	return 1;
}

/* pulse:set_keys(current, previous|nil) -> true | nil, message, code: the keys of heartbeats, 32 bytes each. */
static int pulse_set_keys(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	struct mlb_heartbeat_keys *keys = mlb_check_keys(L, 2);
	int result = keys ? mlb_pulse_set_keys(pulse, keys) : -ENOMEM;

	return result < 0 ? mlb_push_error(L, result, "pulse: keys of heartbeats") : (lua_pushboolean(L, 1), 1);
}

/* pulse:say(index, body, mtu = 1500) -> true | nil, message, code (ENODEV: not attached): what heartbeats say from now on,
 * and say it now. `body` as in core/lua_heartbeat.h; nil: say nothing. */
static int pulse_say(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, PULSE_MT);
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);
	lua_Integer mtu = luaL_optinteger(L, 4, 1500);
	size_t most = (size_t)(mtu < 576 ? 576 : mtu > 1500 ? 1500 : mtu) - 28;
	struct mlb_segment_body *body = NULL;
	int result;

	if (!lua_isnil(L, 3)) {
		body = mlb_check_body(L, 3, mlb_segment_part_room(handle->binding->heartbeat.name, most));
		if (!body)
			return mlb_push_error(L, ENOMEM, "pulse: heartbeat");
	}
	result = mlb_pulse_say(pulse, index, body, most);
	return push_result(L, result, "pulse: heartbeat", index);
}

/* pulse:retell(index) -> true | nil, message, code (ENODEV: no heartbeats there): every peer's next heartbeat is news. */
static int pulse_retell(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);

	return push_result(L, mlb_pulse_retell(pulse, index), "pulse: heartbeats", index);
}

static void push_heard(void *context, uint32_t slot, double heard_at)
{
	lua_State *L = context;

	lua_pushnumber(L, heard_at);
	lua_rawseti(L, -2, slot);
}

/* pulse:heard(index) -> {[slot] = seconds of CLOCK_BOOTTIME}: when each peer was heard last on the interface. */
static int pulse_heard(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);
	unsigned index = mlb_check_index(L, 2);

	lua_newtable(L);
	mlb_pulse_heard(pulse, index, push_heard, L);
	return 1;
}

/* pulse:publish() -> true | nil, message, code: hand the thread what hold, drop, probe_for and probe_done made of the table;
 * attach, detach, set_mac and set_own_macs publish as well. */
static int pulse_publish(lua_State *L)
{
	int result = mlb_pulse_publish(check_pulse(L));

	if (result < 0)
		return mlb_push_error(L, result, "pulse: publishing");
	lua_pushboolean(L, 1);
	return 1;
}

/* pulse:alive(): the loop runs. To be called at least every second; after `silence` without it the thread goes mute. */
static int pulse_alive(lua_State *L)
{
	mlb_pulse_alive(check_pulse(L));
	return 0;
}

/* pulse:acknowledge(): the last mute event has been dealt with: what is no longer ours was dropped and published. Until
 * then the thread answers nothing. */
static int pulse_acknowledge(lua_State *L)
{
	mlb_pulse_acknowledge(check_pulse(L));
	return 0;
}

/* pulse:frames() -> array as of moonlb.core.flight.sent: what the thread answered last, and its answers. */
static int pulse_frames(lua_State *L)
{
	struct mlb_pulse *pulse = check_pulse(L);

	lua_newtable(L);
	mlb_push_frames(L, mlb_pulse_flight(pulse), 0);
	return 1;
}

/* pulse:stats() -> {requests, answered, unsent, conflicts, events_lost, events_merged, frames, frames_bad, throttled, muted,
 * is_realtime, addresses, interfaces}: counts since start (core/pulse.h), `muted` = "gap", "loop" or false, whether `priority`
 * was granted, and the table's size. */
static int pulse_stats(lua_State *L)
{
	static const char *const names[MLB_PULSE_COUNTERS] = {
		[MLB_PULSE_COUNT_REQUESTS] = "requests",
		[MLB_PULSE_COUNT_ANSWERED] = "answered",
		[MLB_PULSE_COUNT_UNSENT] = "unsent",
		[MLB_PULSE_COUNT_CONFLICTS] = "conflicts",
		[MLB_PULSE_COUNT_EVENTS_LOST] = "events_lost",
		[MLB_PULSE_COUNT_EVENTS_MERGED] = "events_merged",
		[MLB_PULSE_COUNT_FRAMES] = "frames",
		[MLB_PULSE_COUNT_FRAMES_BAD] = "frames_bad",
		[MLB_PULSE_COUNT_THROTTLED] = "throttled",
		[MLB_PULSE_COUNT_BEATS_SENT] = "heartbeats_sent",
		[MLB_PULSE_COUNT_BEATS_UNSENT] = "heartbeats_unsent",
		[MLB_PULSE_COUNT_BEATS_HEARD] = "heartbeats_heard",
		[MLB_PULSE_COUNT_BEATS_FOREIGN] = "heartbeats_foreign",
		[MLB_PULSE_COUNT_BEATS_BAD] = "heartbeats_bad",
		[MLB_PULSE_COUNT_BEATS_FORGED] = "heartbeats_forged",
		[MLB_PULSE_COUNT_BEATS_REPLAYED] = "heartbeats_replayed",
		[MLB_PULSE_COUNT_BEATS_UNPROVEN] = "heartbeats_unproven",
		[MLB_PULSE_COUNT_BEATS_OWN] = "heartbeats_own",
	};
	struct mlb_pulse_stats stats;

	mlb_pulse_read_stats(check_pulse(L), &stats);
	lua_createtable(L, 0, MLB_PULSE_COUNTERS + 4);
	for (int i = 0; i < MLB_PULSE_COUNTERS; i++) {
		lua_pushinteger(L, (lua_Integer)stats.counts[i]);
		lua_setfield(L, -2, names[i]);
	}
	if (stats.mute_reason == MLB_PULSE_HEARD)
		lua_pushboolean(L, 0);
	else
		lua_pushstring(L, stats.mute_reason == MLB_PULSE_GAP ? "gap" : "loop");
	lua_setfield(L, -2, "muted");
	lua_pushboolean(L, stats.is_realtime);
	lua_setfield(L, -2, "is_realtime");
	lua_pushinteger(L, (lua_Integer)stats.entries);
	lua_setfield(L, -2, "addresses");
	lua_pushinteger(L, (lua_Integer)stats.links);
	lua_setfield(L, -2, "interfaces");
	return 1;
}

static const luaL_Reg functions[] = {
	{ "start", pulse_start },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "acknowledge", pulse_acknowledge },
	{ "alive", pulse_alive },
	{ "attach", pulse_attach },
	{ "close", pulse_close },
	{ "detach", pulse_detach },
	{ "drop", pulse_drop },
	{ "frames", pulse_frames },
	{ "heard", pulse_heard },
	{ "heartbeat", pulse_heartbeat },
	{ "hold", pulse_hold },
	{ "probe_done", pulse_probe_done },
	{ "probe_for", pulse_probe_for },
	{ "publish", pulse_publish },
	{ "retell", pulse_retell },
	{ "say", pulse_say },
	{ "set_keys", pulse_set_keys },
	{ "set_mac", pulse_set_mac },
	{ "set_own_macs", pulse_set_own_macs },
	{ "stats", pulse_stats },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", pulse_close },
	{ "__gc", pulse_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_pulse(lua_State *L);

int luaopen_moonlb_core_pulse(lua_State *L)
{
	mlb_new_class(L, PULSE_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
