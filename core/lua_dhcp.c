/* core/lua_dhcp.c: module `moonlb.core.dhcp`; mechanism is core/dhcp_client.c. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dhcp_client.h"
#include "lua_dhcp.h"
#include "lua_util.h"
#include "lua_wire.h"

#define CLIENT_MT "moonlb.core.dhcp.client"
#define TIME_MOST 1e12		/* seconds; milliseconds of it fit an int64_t */
#define CLIENT_ID_LEAST 2	/* RFC 2132 section 9.14 */
#define NAME_MOST 253

struct handle {
	struct mlb_dhcp_client *client;
};

static struct mlb_dhcp_client *check_client(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, CLIENT_MT);

	return handle->client;
}

int64_t mlb_check_boottime(lua_State *L, int arg)
{
	lua_Number seconds = luaL_checknumber(L, arg);

	luaL_argcheck(L, fabs(seconds) < TIME_MOST, arg, "seconds of CLOCK_BOOTTIME expected");
	return (int64_t)(seconds * 1000);
}

int64_t mlb_field_span(lua_State *L, int table, const char *name, int64_t fallback)
{
	int64_t result = fallback;

	if (lua_getfield(L, table, name) != LUA_TNIL) {
		lua_Number seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;

		if (isnan(seconds) || (!isinf(seconds) && fabs(seconds) >= TIME_MOST))
			luaL_error(L, "%s: seconds expected", name);
		result = isinf(seconds) ? MLB_DHCP_NEVER : (int64_t)(seconds * 1000);
	}
	lua_pop(L, 1);
	return result;
}

int64_t mlb_point(int64_t at, int64_t after)
{
	return after == MLB_DHCP_NEVER ? MLB_DHCP_NEVER : at + after;
}

/* The lease of options: its `expires` stays 0 unless `at` and `seconds` are both given. */
static void read_lease(lua_State *L, int table, struct mlb_dhcp_lease *lease)
{
	int64_t total = mlb_field_span(L, table, "seconds", -1);
	const char *mac = mlb_opt_string(L, table, "server_mac", NULL);

	lease->address = mlb_field_host_ipv4(L, table, "address");
	lease->server = mlb_field_host_ipv4(L, table, "server");
	lease->router = mlb_field_host_ipv4(L, table, "router");
	lease->prefix = (int)mlb_opt_integer(L, table, "prefix", 0, 0, 32);
	if (lease->address == 0)
		luaL_error(L, "lease.address: IPv4 address expected");
	if (mac && !mlb_mac_parse(mac, lease->server_mac))
		luaL_error(L, "lease.server_mac: MAC aa:bb:cc:dd:ee:ff expected, got %s", mac);
	lease->at = mlb_field_span(L, table, "at", MLB_DHCP_NEVER);
	if (lease->at == MLB_DHCP_NEVER || total < 0)
		return;
	lease->expires = mlb_point(lease->at, total);
	lease->t1 = mlb_point(lease->at, mlb_field_span(L, table, "t1", total == MLB_DHCP_NEVER ? total : total / 2));
	lease->t2 = mlb_point(lease->at, mlb_field_span(L, table, "t2", total == MLB_DHCP_NEVER ? total : total * 7 / 8));
	if (lease->t1 > lease->t2 || lease->t2 > lease->expires)
		luaL_error(L, "lease: t1, t2 and seconds in that order expected");
}

static bool is_printable(const struct mlb_dhcp_bytes *text)
{
	for (size_t i = 0; i < text->length; i++)
		if (!isgraph(text->bytes[i]))
			return false;
	return true;
}

static void read_options(lua_State *L, struct mlb_dhcp_options *options)
{
	const char *fqdn = mlb_opt_string(L, 1, "fqdn", NULL);

	mlb_field_mac(L, "mac", false, options->mac);
	if (!mlb_mac_is_station(options->mac))
		luaL_error(L, "mac: address of a station expected");
	mlb_field_dhcp_bytes(L, 1, "client_id", UINT8_MAX, &options->client_id);
	if (options->client_id.length < CLIENT_ID_LEAST)
		luaL_error(L, "client_id: 2 to 255 octets expected");
	lua_getfield(L, 1, "seed");
	if (!lua_isinteger(L, -1))
		luaL_error(L, "seed: integer expected");
	options->seed = (uint64_t)lua_tointeger(L, -1);
	lua_pop(L, 1);
	mlb_field_dhcp_bytes(L, 1, "host_name", NAME_MOST, &options->host_name);
	if (!is_printable(&options->host_name))
		luaL_error(L, "host_name: printable ASCII expected");
	if (fqdn && mlb_dhcp_set_fqdn(&options->fqdn, fqdn) < 0)
		luaL_error(L, "fqdn: host name expected, got %s", fqdn);
	options->requested = mlb_field_host_ipv4(L, 1, "requested");
	options->is_broadcast = mlb_opt_boolean(L, 1, "broadcast", false);
	/* RFC 2132 section 9.10: 576 at least. */
	options->max_message = (uint16_t)mlb_opt_integer(L, 1, "max_message", MLB_DHCP_MESSAGE_MOST, 576, MLB_DHCP_MESSAGE_MOST);
	if (lua_getfield(L, 1, "lease") != LUA_TNIL) {
		luaL_checktype(L, lua_gettop(L), LUA_TTABLE);
		options->has_lease = true;
		read_lease(L, lua_gettop(L), &options->lease);
	}
	lua_pop(L, 1);
}

/* moonlb.core.dhcp.client{mac=, client_id=, seed=, ...} -> client; core/README.md lists the fields. */
static int dhcp_client(lua_State *L)
{
	struct mlb_dhcp_options options = { 0 };
	struct handle *handle;

	luaL_checktype(L, 1, LUA_TTABLE);
	read_options(L, &options);
	handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	handle->client = NULL;
	luaL_setmetatable(L, CLIENT_MT);
	handle->client = mlb_dhcp_client_new(&options);
	if (!handle->client)
		return luaL_error(L, "out of memory");
	return 1;
}

static int client_gc(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, CLIENT_MT);

	free(handle->client);
	handle->client = NULL;
	return 0;
}

static void set_seconds(lua_State *L, const char *name, int64_t milliseconds)
{
	lua_pushnumber(L, (lua_Number)milliseconds / 1000);
	lua_setfield(L, -2, name);
}

void mlb_set_span(lua_State *L, const char *name, int64_t at, int64_t until)
{
	lua_pushnumber(L, until == MLB_DHCP_NEVER ? HUGE_VAL : (lua_Number)(until - at) / 1000);
	lua_setfield(L, -2, name);
}

static void push_lease(lua_State *L, const struct mlb_dhcp_lease *lease)
{
	lua_createtable(L, 0, 9);
	mlb_set_host_ipv4(L, "address", lease->address);
	mlb_set_host_ipv4(L, "server", lease->server);
	mlb_set_host_ipv4(L, "router", lease->router);
	if (mlb_mac_is_station(lease->server_mac))
		mlb_set_mac(L, "server_mac", lease->server_mac);
	if (lease->prefix) {
		lua_pushinteger(L, lease->prefix);
		lua_setfield(L, -2, "prefix");
	}
	set_seconds(L, "at", lease->at);
	mlb_set_span(L, "seconds", lease->at, lease->expires);
	mlb_set_span(L, "t1", lease->at, lease->t1);
	mlb_set_span(L, "t2", lease->at, lease->t2);
}

static void set_boolean(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *value)
{
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static void push_action(lua_State *L, const struct mlb_dhcp_action *action)
{
	static const char *const types[] = {
		[MLB_DHCP_SEND] = "send",
		[MLB_DHCP_CHECK] = "check",
		[MLB_DHCP_GRANTED] = "bound",
		[MLB_DHCP_LOST] = "lost",
		[MLB_DHCP_NOTICE] = "note",
	};

	lua_createtable(L, 0, 4);
	set_string(L, "type", types[action->type]);
	switch (action->type) {
	case MLB_DHCP_SEND:
		lua_pushlstring(L, (const char *)action->frame, action->length);
		lua_setfield(L, -2, "frame");
		break;
	case MLB_DHCP_CHECK:
		mlb_set_host_ipv4(L, "address", action->lease.address);
		break;
	case MLB_DHCP_GRANTED:
		push_lease(L, &action->lease);
		lua_setfield(L, -2, "lease");
		set_boolean(L, "is_new", action->is_new);
		set_boolean(L, "is_changed", action->is_changed);
		break;
	case MLB_DHCP_LOST:
		mlb_set_host_ipv4(L, "address", action->lease.address);
		set_string(L, "reason", action->reason);
		set_string(L, "message", action->text);
		break;
	case MLB_DHCP_NOTICE:
		set_string(L, "message", action->text);
		break;
	}
}

static int push_actions(lua_State *L, const struct mlb_dhcp_actions *actions)
{
	lua_createtable(L, (int)actions->count, 0);
	for (size_t i = 0; i < actions->count; i++) {
		push_action(L, &actions->items[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* client:start(now) -> actions; a second time it does nothing. */
static int client_start(lua_State *L)
{
	struct mlb_dhcp_actions actions = { .count = 0 };

	mlb_dhcp_client_start(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:receive(now, frame) -> actions */
static int client_receive(lua_State *L)
{
	struct mlb_dhcp_client *client = check_client(L);
	struct mlb_dhcp_actions actions = { .count = 0 };
	size_t length;
	const char *frame = luaL_checklstring(L, 3, &length);

	mlb_dhcp_client_receive(client, mlb_check_boottime(L, 2), (const uint8_t *)frame, length, &actions);
	return push_actions(L, &actions);
}

/* client:tick(now) -> actions */
static int client_tick(lua_State *L)
{
	struct mlb_dhcp_actions actions = { .count = 0 };

	mlb_dhcp_client_tick(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:checked(now, is_free) -> actions */
static int client_checked(lua_State *L)
{
	struct mlb_dhcp_client *client = check_client(L);
	struct mlb_dhcp_actions actions = { .count = 0 };

	luaL_checktype(L, 3, LUA_TBOOLEAN);
	mlb_dhcp_client_checked(client, mlb_check_boottime(L, 2), lua_toboolean(L, 3), &actions);
	return push_actions(L, &actions);
}

/* client:release(now, reason|nil) -> actions */
static int client_release(lua_State *L)
{
	struct mlb_dhcp_client *client = check_client(L);
	struct mlb_dhcp_actions actions = { .count = 0 };

	mlb_dhcp_client_release(client, mlb_check_boottime(L, 2), luaL_optstring(L, 3, NULL), &actions);
	return push_actions(L, &actions);
}

/* client:link_up(now) -> actions */
static int client_link_up(lua_State *L)
{
	struct mlb_dhcp_actions actions = { .count = 0 };

	mlb_dhcp_client_link_up(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:deadline() -> seconds | nil. Rounded up, so that a tick at that time is never too early. */
static int client_deadline(lua_State *L)
{
	int64_t deadline = mlb_dhcp_client_deadline(check_client(L));

	if (deadline == MLB_DHCP_NEVER)
		lua_pushnil(L);
	else
		lua_pushnumber(L, (lua_Number)deadline / 1000 + 0.0005);
	return 1;
}

/* client:lease() -> lease | nil */
static int client_lease(lua_State *L)
{
	const struct mlb_dhcp_lease *lease = mlb_dhcp_client_lease(check_client(L));

	if (lease)
		push_lease(L, lease);
	else
		lua_pushnil(L);
	return 1;
}

/* client:state() -> text */
static int client_state(lua_State *L)
{
	lua_pushstring(L, mlb_dhcp_state_name(mlb_dhcp_client_state(check_client(L))));
	return 1;
}

static void set_counts(lua_State *L, const char *name, const uint64_t counts[MLB_DHCP_TYPES])
{
	lua_createtable(L, 0, MLB_DHCP_TYPES);
	for (enum mlb_dhcp_type type = MLB_DHCP_DISCOVER; type < MLB_DHCP_TYPES; type++) {
		if (counts[type] == 0)
			continue;
		lua_pushinteger(L, (lua_Integer)counts[type]);
		lua_setfield(L, -2, mlb_dhcp_type_name(type));
	}
	lua_setfield(L, -2, name);
}

/* client:stats() -> {sent={discover=...}, received={offer=...}, bad=, foreign=, refused=} */
static int client_stats(lua_State *L)
{
	const struct mlb_dhcp_stats *stats = mlb_dhcp_client_stats(check_client(L));

	lua_createtable(L, 0, 5);
	set_counts(L, "sent", stats->sent);
	set_counts(L, "received", stats->received);
	lua_pushinteger(L, (lua_Integer)stats->bad);
	lua_setfield(L, -2, "bad");
	lua_pushinteger(L, (lua_Integer)stats->foreign);
	lua_setfield(L, -2, "foreign");
	lua_pushinteger(L, (lua_Integer)stats->refused);
	lua_setfield(L, -2, "refused");
	return 1;
}

static const luaL_Reg functions[] = {
	{ "client", dhcp_client },
	{ "client_id", mlb_lua_dhcp_client_id },
	{ "decode", mlb_lua_dhcp_decode },
	{ "encode", mlb_lua_dhcp_encode },
	{ "mac", mlb_lua_dhcp_mac },
	{ "unwrap", mlb_lua_dhcp_unwrap },
	{ "wrap", mlb_lua_dhcp_wrap },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "checked", client_checked },
	{ "deadline", client_deadline },
	{ "lease", client_lease },
	{ "link_up", client_link_up },
	{ "receive", client_receive },
	{ "release", client_release },
	{ "start", client_start },
	{ "state", client_state },
	{ "stats", client_stats },
	{ "tick", client_tick },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__gc", client_gc },
	{ NULL, NULL },
};

int luaopen_moonlb_core_dhcp(lua_State *L);

int luaopen_moonlb_core_dhcp(lua_State *L)
{
	mlb_new_class(L, CLIENT_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
