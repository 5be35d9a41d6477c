/* core/lua_netlink_push.c: what netlink tells, as Lua tables. */
#include <string.h>

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "lua_address.h"
#include "lua_netlink.h"
#include "lua_wire.h"

struct named_number {
	unsigned number;
	const char *name;
};

static const struct named_number scopes[] = {
	{ RT_SCOPE_UNIVERSE, "global" }, { RT_SCOPE_SITE, "site" }, { RT_SCOPE_LINK, "link" },
	{ RT_SCOPE_HOST, "host" }, { RT_SCOPE_NOWHERE, "nowhere" }, { 0, NULL },
};

static const struct named_number states[] = {
	{ NUD_INCOMPLETE, "incomplete" }, { NUD_REACHABLE, "reachable" }, { NUD_STALE, "stale" },
	{ NUD_DELAY, "delay" }, { NUD_PROBE, "probe" }, { NUD_FAILED, "failed" },
	{ NUD_NOARP, "noarp" }, { NUD_PERMANENT, "permanent" }, { NUD_NONE, "none" }, { 0, NULL },
};

int mlb_scope_number(const char *name)
{
	for (const struct named_number *scope = scopes; scope->name; scope++)
		if (strcmp(scope->name, name) == 0)
			return (int)scope->number;
	return -1;
}

/* The name, or the digits of a number that has none. */
static void set_named(lua_State *L, const char *field, const struct named_number *names, unsigned number)
{
	while (names->name && names->number != number)
		names++;
	if (names->name)
		lua_pushstring(L, names->name);
	else
		lua_pushfstring(L, "%d", (int)number);
	lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, field);
}

static void set_boolean(lua_State *L, const char *field, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, field);
}

/* Nothing for "". */
static void set_text(lua_State *L, const char *field, const char *value)
{
	if (!*value)
		return;
	lua_pushstring(L, value);
	lua_setfield(L, -2, field);
}

static void set_address(lua_State *L, const char *field, const struct mlb_address *address)
{
	mlb_push_address(L, address);
	lua_setfield(L, -2, field);
}

void mlb_push_link(lua_State *L, const struct mlb_link *link)
{
	lua_createtable(L, 0, 11);
	set_integer(L, "index", link->index);
	set_text(L, "name", link->name);
	set_text(L, "kind", link->kind);
	set_text(L, "alias", link->alias);
	if (link->has_mac)
		mlb_set_mac(L, "mac", link->mac);
	set_integer(L, "mtu", link->mtu);
	set_boolean(L, "is_up", link->is_up);
	set_boolean(L, "is_running", link->is_running);
	set_boolean(L, "is_loopback", link->is_loopback);
	if (link->parent != 0)
		set_integer(L, "parent", link->parent);
	if (link->master != 0)
		set_integer(L, "master", link->master);
}

static void push_interface_address(lua_State *L, const struct mlb_interface_address *address)
{
	lua_createtable(L, 0, 9);
	set_address(L, "address", &address->address);
	set_integer(L, "family", address->address.family);
	set_integer(L, "prefix", address->prefix);
	set_integer(L, "index", address->index);
	set_integer(L, "protocol", address->protocol);
	set_named(L, "scope", scopes, address->scope);
	set_boolean(L, "is_tentative", address->flags & IFA_F_TENTATIVE);
	set_boolean(L, "is_dad_failed", address->flags & IFA_F_DADFAILED);
	set_boolean(L, "is_deprecated", address->flags & IFA_F_DEPRECATED);
}

void mlb_push_route(lua_State *L, const struct mlb_route *route)
{
	lua_createtable(L, 0, 8);
	set_integer(L, "family", route->family);
	set_integer(L, "prefix", route->prefix);
	set_integer(L, "index", route->index);
	set_integer(L, "metric", route->metric);
	set_integer(L, "table", route->table);
	if (route->prefix != 0)
		set_address(L, "destination", &route->destination);
	if (route->has_gateway)
		set_address(L, "gateway", &route->gateway);
	if (route->has_source)
		set_address(L, "source", &route->source);
}

static void push_neighbour(lua_State *L, const struct mlb_neighbour *neighbour)
{
	lua_createtable(L, 0, 4);
	set_address(L, "address", &neighbour->address);
	set_integer(L, "index", neighbour->index);
	if (neighbour->has_mac)
		mlb_set_mac(L, "mac", neighbour->mac);
	set_named(L, "state", states, neighbour->state);
}

void mlb_push_netlink_thing(lua_State *L, const struct mlb_netlink_event *event)
{
	switch (event->type) {
	case MLB_NETLINK_LINK:
		mlb_push_link(L, &event->link);
		break;
	case MLB_NETLINK_ADDRESS:
		push_interface_address(L, &event->address);
		break;
	case MLB_NETLINK_ROUTE:
		mlb_push_route(L, &event->route);
		break;
	case MLB_NETLINK_NEIGHBOUR:
		push_neighbour(L, &event->neighbour);
		break;
	}
}

void mlb_push_ipv4_conf(lua_State *L, const struct mlb_link *link)
{
	lua_createtable(L, 0, IPV4_DEVCONF_MAX);
	for (int id = 1; id < MLB_IPV4_CONF_SIZE; id++)
		if (mlb_ipv4_conf_name(id))
			set_integer(L, mlb_ipv4_conf_name(id), link->ipv4_conf[id]);
}
