/* core/lua_netlink.c: module `moonlb.core.netlink`; mechanism is core/netlink.c, _parse.c and _change.c. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "lua_address.h"
#include "lua_netlink.h"
#include "lua_util.h"
#include "lua_wire.h"

#define NETLINK_MT "moonlb.core.netlink"

static struct mlb_lua_netlink *check_netlink(lua_State *L)
{
	struct mlb_lua_netlink *nl = luaL_checkudata(L, 1, NETLINK_MT);

	luaL_argcheck(L, nl->netlink.socket, 1, "netlink is closed");
	return nl;
}

/* The error triple: what was tried, the missing capability, the kernel's own words. */
__attribute__((format(printf, 4, 5)))
static int push_failure(lua_State *L, const struct mlb_netlink *netlink, int err, const char *what, ...)
{
	char operation[128];
	va_list args;

	va_start(args, what);
	vsnprintf(operation, sizeof(operation), what, args);
	va_end(args);
	return mlb_push_error(L, err, "%s%s%s%s", operation, err == -EPERM ? " (needs CAP_NET_ADMIN)" : "",
			      netlink->explanation[0] ? ": " : "", netlink->explanation);
}

static int push_true(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

static int family_at(lua_State *L, int arg)
{
	lua_Integer family = luaL_checkinteger(L, arg);

	luaL_argcheck(L, family == 4 || family == 6, arg, "family 4 or 6 expected");
	return (int)family;
}

static unsigned optional_index(lua_State *L, int arg)
{
	return lua_isnoneornil(L, arg) ? 0 : mlb_check_index(L, arg);
}

/* moonlb.core.netlink.open() -> nl | nil, message, code */
static int netlink_open(lua_State *L)
{
	struct mlb_lua_netlink *nl = lua_newuserdatauv(L, sizeof(*nl), 0);
	int err;

	*nl = (struct mlb_lua_netlink){ .monitor = NULL };
	luaL_setmetatable(L, NETLINK_MT);
	err = mlb_netlink_open(&nl->netlink);
	return err < 0 ? mlb_push_error(L, err, "netlink socket") : 1;
}

/* The answer to a query as an array, or the error triple. */
static int push_answer(lua_State *L, struct mlb_netlink *netlink, int err, const char *what)
{
	struct mlb_netlink_event event;
	lua_Integer count = 0;
	size_t position = 0;
	int found;

	if (err < 0)
		return push_failure(L, netlink, err, "%s", what);
	lua_newtable(L);
	while ((found = mlb_netlink_next_event(netlink, &position, &event)) == 1) {
		mlb_push_netlink_thing(L, &event);
		lua_seti(L, -2, ++count);
	}
	mlb_netlink_forget_reply(netlink);
	return found < 0 ? push_failure(L, netlink, found, "%s", what) : 1;
}

/* nl:links() -> {link, ...} | nil, message, code */
static int netlink_links(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;

	return push_answer(L, netlink, mlb_netlink_query_links(netlink), "list links");
}

/* The link at `arg`, index or name: 0 or -errno. */
static int find_link(lua_State *L, int arg, struct mlb_netlink *netlink, struct mlb_link *ret_link)
{
	if (lua_type(L, arg) == LUA_TSTRING)
		return mlb_netlink_link(netlink, 0, lua_tostring(L, arg), ret_link);
	return mlb_netlink_link(netlink, mlb_check_index(L, arg), NULL, ret_link);
}

/* nl:link(index_or_name) -> link | nil (there is none) | nil, message, code */
static int netlink_link(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	struct mlb_link link;
	int err = find_link(L, 2, netlink, &link);

	if (err == -ENODEV)
		return luaL_pushfail(L), 1;
	if (err < 0)
		return push_failure(L, netlink, err, "read link %s", luaL_tolstring(L, 2, NULL));
	mlb_push_link(L, &link);
	return 1;
}

/* nl:addresses([index]) -> {address, ...} | nil, message, code */
static int netlink_addresses(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;

	return push_answer(L, netlink, mlb_netlink_query_addresses(netlink, optional_index(L, 2)), "list addresses");
}

/* nl:routes([family]) -> {route, ...} | nil, message, code: unicast routes of every table. */
static int netlink_routes(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	int family = lua_isnoneornil(L, 2) ? 0 : family_at(L, 2);

	return push_answer(L, netlink, mlb_netlink_query_routes(netlink, family, 0), "list routes");
}

/* nl:default_route(family) -> route | nil (there is none) | nil, message, code */
static int netlink_default_route(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	struct mlb_route route;
	int err = mlb_netlink_default_route(netlink, family_at(L, 2), &route);

	if (err == -ENOENT)
		return luaL_pushfail(L), 1;
	if (err < 0)
		return push_failure(L, netlink, err, "list routes");
	mlb_push_route(L, &route);
	return 1;
}

/* nl:neighbours([index]) -> {neighbour, ...} | nil, message, code */
static int netlink_neighbours(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;

	return push_answer(L, netlink, mlb_netlink_query_neighbours(netlink, optional_index(L, 2)), "list neighbours");
}

/* Address, prefix and index of the table at 2; a missing prefix is the address alone. */
static void read_address_change(lua_State *L, struct mlb_address_change *ret_change)
{
	int most;

	luaL_checktype(L, 2, LUA_TTABLE);
	mlb_check_string(L, 2, "address");
	lua_getfield(L, 2, "address");
	ret_change->address = mlb_check_address(L, lua_gettop(L));
	lua_pop(L, 1);
	most = ret_change->address.family == 4 ? 32 : 128;
	ret_change->prefix = (int)mlb_opt_integer(L, 2, "prefix", most, 0, most);
	ret_change->index = (uint32_t)mlb_opt_integer(L, 2, "index", 0, 1, INT_MAX);
	if (ret_change->index == 0)
		luaL_error(L, "index: integer expected, got nil");
}

static int push_address_result(lua_State *L, const struct mlb_netlink *netlink, int err, const char *verb,
			       const struct mlb_address_change *change)
{
	char text[MLB_ADDRESS_TEXT];

	if (err == 0)
		return push_true(L);
	mlb_address_format(&change->address, text);
	return push_failure(L, netlink, err, "%s %s/%d, interface %u", verb, text, change->prefix, change->index);
}

/* nl:address_add{index=, address=, prefix=, protocol=0, scope="global", nodad=true, noprefixroute=false, preferred=,
 * valid=} -> true | nil, message, code: lifetimes in seconds, nil is for ever. */
static int netlink_address_add(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	struct mlb_address_change change = { .flags = 0 };
	int scope;

	read_address_change(L, &change);
	scope = mlb_scope_number(mlb_opt_string(L, 2, "scope", "global"));
	if (scope < 0)
		luaL_error(L, "scope: \"global\", \"link\" or \"host\" expected");
	change.scope = (uint8_t)scope;
	change.protocol = (uint8_t)mlb_opt_integer(L, 2, "protocol", 0, 0, UINT8_MAX);
	change.flags |= mlb_opt_boolean(L, 2, "nodad", true) ? IFA_F_NODAD : 0;
	change.flags |= mlb_opt_boolean(L, 2, "noprefixroute", false) ? IFA_F_NOPREFIXROUTE : 0;
	change.valid_s = (uint32_t)mlb_opt_integer(L, 2, "valid", MLB_FOREVER, 1, MLB_FOREVER);
	change.preferred_s = (uint32_t)mlb_opt_integer(L, 2, "preferred", change.valid_s, 0, change.valid_s);
	return push_address_result(L, netlink, mlb_netlink_add_address(netlink, &change), "add address", &change);
}

/* nl:address_delete{index=, address=, prefix=} -> true | nil, message, code */
static int netlink_address_delete(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	struct mlb_address_change change = { .flags = 0 };

	read_address_change(L, &change);
	return push_address_result(L, netlink, mlb_netlink_delete_address(netlink, &change), "delete address", &change);
}

/* nl:ipv4_conf(index) -> {arp_ignore=, ...} | nil, message, code */
static int netlink_ipv4_conf(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	unsigned index = mlb_check_index(L, 2);
	struct mlb_link link;
	int err = mlb_netlink_link(netlink, index, NULL, &link);

	if (err == 0 && !link.has_ipv4_conf)
		err = -EOPNOTSUPP;
	if (err < 0)
		return push_failure(L, netlink, err, "IPv4 settings of interface %u", index);
	mlb_push_ipv4_conf(L, &link);
	return 1;
}

static size_t read_settings(lua_State *L, int table, struct mlb_ipv4_setting settings[MLB_IPV4_CONF_SIZE])
{
	size_t count = 0;
	int is_integer;

	luaL_checktype(L, table, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {	/* name value */
		struct mlb_ipv4_setting *setting = &settings[count++];
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
		lua_Integer value = lua_tointegerx(L, -1, &is_integer);

		setting->id = mlb_ipv4_conf_id(name);
		if (setting->id == 0)
			luaL_error(L, "no IPv4 setting \"%s\" (names are those under /proc/sys/net/ipv4/conf)", name);
		if (!is_integer || value < INT32_MIN || value > INT32_MAX)
			luaL_error(L, "%s: integer expected", name);
		setting->value = (int32_t)value;
	}
	return count;	/* a name occurs once: there are not more than settings */
}

/* nl:set_ipv4_conf(index, {arp_ignore=, ...}) -> true | nil, message, code */
static int netlink_set_ipv4_conf(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	struct mlb_ipv4_setting settings[MLB_IPV4_CONF_SIZE];
	unsigned index = mlb_check_index(L, 2);
	int err = mlb_netlink_set_ipv4_conf(netlink, index, settings, read_settings(L, 3, settings));

	if (err < 0)
		return push_failure(L, netlink, err, "set IPv4 settings of interface %u", index);
	return push_true(L);
}

/* The MAC in field `mac` of the table at `table`, or NULL. */
static const uint8_t *optional_mac(lua_State *L, int table, uint8_t mac[MLB_MAC_SIZE])
{
	const char *text = mlb_opt_string(L, table, "mac", NULL);

	if (text && !mlb_mac_parse(text, mac))
		luaL_error(L, "mac: aa:bb:cc:dd:ee:ff expected, got \"%s\"", text);
	return text ? mac : NULL;
}

/* nl:link_set(index, {up=, mac=, alias=}) -> true | nil, message, code: nil leaves as it is, alias "" removes it. */
static int netlink_link_set(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	unsigned index = mlb_check_index(L, 2);
	struct mlb_link_change change = { .mac = NULL };
	uint8_t mac[MLB_MAC_SIZE];
	int err;

	luaL_checktype(L, 3, LUA_TTABLE);
	change.mac = optional_mac(L, 3, mac);
	change.alias = mlb_opt_string(L, 3, "alias", NULL);
	change.changes_up = lua_getfield(L, 3, "up") != LUA_TNIL;
	change.is_up = lua_toboolean(L, -1);
	err = mlb_netlink_set_link(netlink, index, &change);
	if (err < 0)
		return push_failure(L, netlink, err, "change interface %u", index);
	return push_true(L);
}

/* nl:link_delete(index) -> true | nil, message, code */
static int netlink_link_delete(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	unsigned index = mlb_check_index(L, 2);
	int err = mlb_netlink_delete_link(netlink, index);

	if (err < 0)
		return push_failure(L, netlink, err, "delete interface %u", index);
	return push_true(L);
}

static uint32_t macvlan_mode(lua_State *L)
{
	static const char *const names[] = { "private", "vepa", "bridge", "passthru", "source", NULL };
	static const uint32_t modes[] = { MACVLAN_MODE_PRIVATE, MACVLAN_MODE_VEPA, MACVLAN_MODE_BRIDGE,
					  MACVLAN_MODE_PASSTHRU, MACVLAN_MODE_SOURCE };
	const char *mode = mlb_opt_string(L, 2, "mode", "bridge");

	for (size_t i = 0; names[i]; i++)
		if (strcmp(mode, names[i]) == 0)
			return modes[i];
	return (uint32_t)luaL_error(L, "mode: no macvlan mode \"%s\"", mode);
}

/* What RTM_NEWLINK leaves out at creation. 0 with the index, or -errno, then the link is gone again. */
static int finish_macvlan(struct mlb_netlink *netlink, const char *name, const char *alias, uint32_t *ret_index)
{
	struct mlb_link_change change = { .alias = alias, .stops_autoconf = true };
	struct mlb_link link;
	char explanation[sizeof(netlink->explanation)];
	int err = mlb_netlink_link(netlink, 0, name, &link);

	if (err < 0)
		return err;
	err = mlb_netlink_set_link(netlink, link.index, &change);
	if (err < 0) {
		memcpy(explanation, netlink->explanation, sizeof(explanation));
		mlb_netlink_delete_link(netlink, link.index);
		memcpy(netlink->explanation, explanation, sizeof(explanation));
		return err;
	}
	*ret_index = link.index;
	return 0;
}

/* nl:macvlan_add{parent=, name=, mac=, mode="bridge", alias=} -> index | nil, message, code: down, and without IPv6
 * addresses of its own making. */
static int netlink_macvlan_add(lua_State *L)
{
	struct mlb_netlink *netlink = &check_netlink(L)->netlink;
	uint8_t mac_bytes[MLB_MAC_SIZE];
	const uint8_t *mac;
	const char *name, *alias;
	uint32_t parent, mode, index;
	int err;

	luaL_checktype(L, 2, LUA_TTABLE);
	name = mlb_check_string(L, 2, "name");
	alias = mlb_opt_string(L, 2, "alias", NULL);
	parent = (uint32_t)mlb_opt_integer(L, 2, "parent", 0, 1, INT_MAX);
	if (parent == 0)
		luaL_error(L, "parent: integer expected, got nil");
	mac = optional_mac(L, 2, mac_bytes);
	mode = macvlan_mode(L);
	err = mlb_netlink_add_macvlan(netlink, parent, name, mac, mode);
	if (err == 0)
		err = finish_macvlan(netlink, name, alias, &index);
	if (err < 0)
		return push_failure(L, netlink, err, "add macvlan %s on interface %u", name, parent);
	lua_pushinteger(L, index);
	return 1;
}

/* nl:monitor(callback) -> true | nil, message, code: callback(err, event) for every change, until nl is closed. */
static int netlink_monitor(lua_State *L)
{
	struct mlb_lua_netlink *nl = check_netlink(L);
	int err;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_argcheck(L, !nl->monitor, 1, "netlink is monitored already");
	err = mlb_netlink_monitor_start(L, 1, 2, &nl->monitor);
	return err < 0 ? mlb_push_error(L, err, "netlink monitor") : push_true(L);
}

/* nl:close(); also __gc and __close. Idempotent, never raises. */
static int netlink_close(lua_State *L)
{
	struct mlb_lua_netlink *nl = luaL_checkudata(L, 1, NETLINK_MT);

	if (nl->monitor)
		mlb_netlink_monitor_stop(L, nl->monitor);
	nl->monitor = NULL;
	mlb_netlink_close(&nl->netlink);
	return 0;
}

static const luaL_Reg functions[] = {
	{ "open", netlink_open },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "address_add", netlink_address_add },
	{ "address_delete", netlink_address_delete },
	{ "addresses", netlink_addresses },
	{ "close", netlink_close },
	{ "default_route", netlink_default_route },
	{ "ipv4_conf", netlink_ipv4_conf },
	{ "link", netlink_link },
	{ "link_delete", netlink_link_delete },
	{ "link_set", netlink_link_set },
	{ "links", netlink_links },
	{ "macvlan_add", netlink_macvlan_add },
	{ "monitor", netlink_monitor },
	{ "neighbours", netlink_neighbours },
	{ "routes", netlink_routes },
	{ "set_ipv4_conf", netlink_set_ipv4_conf },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", netlink_close },
	{ "__gc", netlink_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_netlink(lua_State *L);

int luaopen_moonlb_core_netlink(lua_State *L)
{
	mlb_new_class(L, NETLINK_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
