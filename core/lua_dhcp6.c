/* core/lua_dhcp6.c: module `moonlb.core.dhcp6`; mechanism is core/dhcp6_client.c. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dhcp6_client.h"
#include "dhcp_identity.h"
#include "lua_dhcp.h"
#include "lua_dhcp6.h"
#include "lua_util.h"
#include "lua_wire.h"
#include "octets.h"

#define CLIENT_MT "moonlb.core.dhcp6.client"
#define DUID_LEAST 3
#define FQDN_HEADER 3	/* what option 81 of DHCPv4 has before the name */

struct handle {
	struct mlb_dhcp6_client *client;
};

static struct mlb_dhcp6_client *check_client(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, CLIENT_MT);

	return handle->client;
}

/* The lease of options: its `expires` stays 0 unless `at` and `seconds` are both given. */
static void read_lease(lua_State *L, int table, struct mlb_dhcp6_lease *lease)
{
	int64_t total = mlb_field_span(L, table, "seconds", -1);
	bool is_finite = total != MLB_DHCP6_NEVER;

	mlb_field_in6(L, table, "address", &lease->address);
	if (IN6_IS_ADDR_UNSPECIFIED(&lease->address))
		luaL_error(L, "lease.address: IPv6 address expected");
	mlb_field_duid(L, table, "server", &lease->server);
	lease->at = mlb_field_span(L, table, "at", MLB_DHCP6_NEVER);
	if (lease->at == MLB_DHCP6_NEVER || total < 0)
		return;
	lease->expires = mlb_point(lease->at, total);
	lease->preferred = mlb_point(lease->at, mlb_field_span(L, table, "preferred", total));
	lease->t1 = mlb_point(lease->at, mlb_field_span(L, table, "t1", is_finite ? total / 2 : total));
	lease->t2 = mlb_point(lease->at, mlb_field_span(L, table, "t2", is_finite ? total * 4 / 5 : total));
	if (lease->t1 > lease->t2 || lease->t2 > lease->expires)
		luaL_error(L, "lease: t1, t2 and seconds in that order expected");
}

static void read_fqdn(lua_State *L, struct mlb_dhcp6_options *options)
{
	const char *fqdn = mlb_opt_string(L, 1, "fqdn", NULL);
	struct mlb_dhcp_bytes wire;

	if (!fqdn)
		return;
	if (mlb_dhcp_set_fqdn(&wire, fqdn) < 0)
		luaL_error(L, "fqdn: host name expected, got %s", fqdn);
	options->fqdn_length = wire.length - FQDN_HEADER;
	memcpy(options->fqdn, wire.bytes + FQDN_HEADER, options->fqdn_length);
}

static void read_options(lua_State *L, struct mlb_dhcp6_options *options)
{
	mlb_field_mac(L, "mac", false, options->mac);
	if (!mlb_mac_is_station(options->mac))
		luaL_error(L, "mac: address of a station expected");
	mlb_field_in6(L, 1, "source", &options->source);
	if (IN6_IS_ADDR_UNSPECIFIED(&options->source))
		options->source = mlb_link_local(options->mac);
	mlb_field_duid(L, 1, "duid", &options->duid);
	if (options->duid.length < DUID_LEAST)
		luaL_error(L, "duid: 3 to 130 octets expected");
	options->iaid = (uint32_t)mlb_opt_integer(L, 1, "iaid", 0, 0, UINT32_MAX);
	lua_getfield(L, 1, "seed");
	if (!lua_isinteger(L, -1))
		luaL_error(L, "seed: integer expected");
	options->seed = (uint64_t)lua_tointeger(L, -1);
	lua_pop(L, 1);
	mlb_field_in6(L, 1, "requested", &options->requested);
	read_fqdn(L, options);
	if (lua_getfield(L, 1, "lease") != LUA_TNIL) {
		luaL_checktype(L, lua_gettop(L), LUA_TTABLE);
		options->has_lease = true;
		read_lease(L, lua_gettop(L), &options->lease);
	}
	lua_pop(L, 1);
}

/* moonlb.core.dhcp6.client{mac=, duid=, iaid=, seed=, ...} -> client; core/README.md lists the fields. */
static int dhcp6_client(lua_State *L)
{
	struct mlb_dhcp6_options options = { 0 };
	struct handle *handle;

	luaL_checktype(L, 1, LUA_TTABLE);
	read_options(L, &options);
	handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	handle->client = NULL;
	luaL_setmetatable(L, CLIENT_MT);
	handle->client = mlb_dhcp6_client_new(&options);
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

static void push_lease(lua_State *L, const struct mlb_dhcp6_lease *lease)
{
	lua_createtable(L, 0, 7);
	mlb_set_address(L, "address", AF_INET6, &lease->address);
	lua_pushlstring(L, (const char *)lease->server.bytes, lease->server.length);
	lua_setfield(L, -2, "server");
	lua_pushnumber(L, (lua_Number)lease->at / 1000);
	lua_setfield(L, -2, "at");
	mlb_set_span(L, "seconds", lease->at, lease->expires);
	mlb_set_span(L, "preferred", lease->at, lease->preferred);
	mlb_set_span(L, "t1", lease->at, lease->t1);
	mlb_set_span(L, "t2", lease->at, lease->t2);
}

static void set_string(lua_State *L, const char *name, const char *value)
{
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void push_action(lua_State *L, const struct mlb_dhcp6_action *action)
{
	static const char *const types[] = {
		[MLB_DHCP6_SEND] = "send",
		[MLB_DHCP6_CHECK] = "check",
		[MLB_DHCP6_GRANTED] = "bound",
		[MLB_DHCP6_LOST] = "lost",
		[MLB_DHCP6_NOTICE] = "note",
	};

	lua_createtable(L, 0, 4);
	set_string(L, "type", types[action->type]);
	switch (action->type) {
	case MLB_DHCP6_SEND:
		lua_pushlstring(L, (const char *)action->frame, action->length);
		lua_setfield(L, -2, "frame");
		break;
	case MLB_DHCP6_CHECK:
		mlb_set_address(L, "address", AF_INET6, &action->lease.address);
		break;
	case MLB_DHCP6_GRANTED:
		push_lease(L, &action->lease);
		lua_setfield(L, -2, "lease");
		set_boolean(L, "is_new", action->is_new);
		set_boolean(L, "is_changed", action->is_changed);
		break;
	case MLB_DHCP6_LOST:
		mlb_set_address(L, "address", AF_INET6, &action->lease.address);
		set_string(L, "reason", action->reason);
		set_string(L, "message", action->text);
		break;
	case MLB_DHCP6_NOTICE:
		set_string(L, "message", action->text);
		break;
	}
}

static int push_actions(lua_State *L, const struct mlb_dhcp6_actions *actions)
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
	struct mlb_dhcp6_actions actions = { .count = 0 };

	mlb_dhcp6_client_start(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:receive(now, frame) -> actions */
static int client_receive(lua_State *L)
{
	struct mlb_dhcp6_client *client = check_client(L);
	struct mlb_dhcp6_actions actions = { .count = 0 };
	size_t length;
	const char *frame = luaL_checklstring(L, 3, &length);

	mlb_dhcp6_client_receive(client, mlb_check_boottime(L, 2), (const uint8_t *)frame, length, &actions);
	return push_actions(L, &actions);
}

/* client:tick(now) -> actions */
static int client_tick(lua_State *L)
{
	struct mlb_dhcp6_actions actions = { .count = 0 };

	mlb_dhcp6_client_tick(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:checked(now, is_free) -> actions */
static int client_checked(lua_State *L)
{
	struct mlb_dhcp6_client *client = check_client(L);
	struct mlb_dhcp6_actions actions = { .count = 0 };

	luaL_checktype(L, 3, LUA_TBOOLEAN);
	mlb_dhcp6_client_checked(client, mlb_check_boottime(L, 2), lua_toboolean(L, 3), &actions);
	return push_actions(L, &actions);
}

/* client:release(now) -> actions */
static int client_release(lua_State *L)
{
	struct mlb_dhcp6_actions actions = { .count = 0 };

	mlb_dhcp6_client_release(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:link_up(now) -> actions */
static int client_link_up(lua_State *L)
{
	struct mlb_dhcp6_actions actions = { .count = 0 };

	mlb_dhcp6_client_link_up(check_client(L), mlb_check_boottime(L, 2), &actions);
	return push_actions(L, &actions);
}

/* client:deadline() -> seconds | nil. Half a millisecond more, so that a tick at that time is never too early. */
static int client_deadline(lua_State *L)
{
	int64_t deadline = mlb_dhcp6_client_deadline(check_client(L));

	if (deadline == MLB_DHCP6_NEVER)
		lua_pushnil(L);
	else
		lua_pushnumber(L, (lua_Number)deadline / 1000 + 0.0005);
	return 1;
}

/* client:lease() -> lease | nil */
static int client_lease(lua_State *L)
{
	const struct mlb_dhcp6_lease *lease = mlb_dhcp6_client_lease(check_client(L));

	if (lease)
		push_lease(L, lease);
	else
		lua_pushnil(L);
	return 1;
}

/* client:state() -> text */
static int client_state(lua_State *L)
{
	lua_pushstring(L, mlb_dhcp6_state_name(mlb_dhcp6_client_state(check_client(L))));
	return 1;
}

static void set_counts(lua_State *L, const char *name, const uint64_t counts[MLB_DHCP6_TYPES])
{
	lua_createtable(L, 0, MLB_DHCP6_TYPES);
	for (enum mlb_dhcp6_type type = MLB_DHCP6_SOLICIT; type < MLB_DHCP6_TYPES; type++) {
		if (counts[type] == 0)
			continue;
		lua_pushinteger(L, (lua_Integer)counts[type]);
		lua_setfield(L, -2, mlb_dhcp6_type_name(type));
	}
	lua_setfield(L, -2, name);
}

/* client:stats() -> {sent={solicit=...}, received={advertise=...}, bad=, foreign=, refused=} */
static int client_stats(lua_State *L)
{
	const struct mlb_dhcp6_stats *stats = mlb_dhcp6_client_stats(check_client(L));

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

/* moonlb.core.dhcp6.duid(identity, namespace, name) -> bytes: a DUID-UUID (RFC 6355), the one in DHCPv4's client-id. */
static int dhcp6_duid(lua_State *L)
{
	struct mlb_dhcp_identity identity;

	mlb_check_dhcp_identity(L, &identity);
	lua_pushlstring(L, (const char *)identity.duid, sizeof(identity.duid));
	return 1;
}

/* moonlb.core.dhcp6.iaid(identity, namespace, name) -> integer */
static int dhcp6_iaid(lua_State *L)
{
	struct mlb_dhcp_identity identity;

	mlb_check_dhcp_identity(L, &identity);
	lua_pushinteger(L, mlb_get32(identity.iaid));
	return 1;
}

/* moonlb.core.dhcp6.link_local(mac) -> address (RFC 4291 appendix A) */
static int dhcp6_link_local(lua_State *L)
{
	uint8_t mac[MLB_MAC_SIZE];
	struct in6_addr address;
	char text[INET6_ADDRSTRLEN];

	mlb_check_mac(L, 1, mac);
	address = mlb_link_local(mac);
	lua_pushstring(L, inet_ntop(AF_INET6, &address, text, sizeof(text)));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "client", dhcp6_client },
	{ "decode", mlb_lua_dhcp6_decode },
	{ "duid", dhcp6_duid },
	{ "encode", mlb_lua_dhcp6_encode },
	{ "iaid", dhcp6_iaid },
	{ "link_local", dhcp6_link_local },
	{ "unwrap", mlb_lua_dhcp6_unwrap },
	{ "wrap", mlb_lua_dhcp6_wrap },
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

int luaopen_moonlb_core_dhcp6(lua_State *L);

int luaopen_moonlb_core_dhcp6(lua_State *L)
{
	mlb_new_class(L, CLIENT_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
