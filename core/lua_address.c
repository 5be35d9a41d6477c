/* core/lua_address.c: module `moonlb.core.address`; mechanism is core/address.c, and core/address_set.c for sets. */
#include "lua_address.h"
#include "lua_util.h"

struct mlb_address mlb_check_address(lua_State *L, int arg)
{
	struct mlb_address address = { .family = 4 };
	const char *why;
	size_t length;
	const char *text = luaL_checklstring(L, arg, &length);

	if (mlb_address_parse(text, length, &address, &why) < 0)
		luaL_argerror(L, arg, lua_pushfstring(L, "not an address: %s", why));
	return address;
}

void mlb_push_address(lua_State *L, const struct mlb_address *address)
{
	char text[MLB_ADDRESS_TEXT];

	mlb_address_format(address, text);
	lua_pushstring(L, text);
}

static int check_prefix(lua_State *L, int arg, const struct mlb_address *address)
{
	lua_Integer prefix = luaL_checkinteger(L, arg);

	luaL_argcheck(L, prefix >= 0 && prefix <= (address->family == 4 ? 32 : 128), arg,
		      address->family == 4 ? "prefix from 0 to 32 expected" : "prefix from 0 to 128 expected");
	return (int)prefix;
}

/* moonlb.core.address.canonical(text) -> text, family | nil, message, "EINVAL" */
static int address_canonical(lua_State *L)
{
	struct mlb_address address;
	const char *why;
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);

	if (mlb_address_parse(text, length, &address, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not an address: %s", why), "EINVAL");
	mlb_push_address(L, &address);
	lua_pushinteger(L, address.family);
	return 2;
}

/* moonlb.core.address.compare(a, b) -> -1 | 0 | 1: IPv4 before IPv6, then numeric. */
static int address_compare(lua_State *L)
{
	struct mlb_address a = mlb_check_address(L, 1);
	struct mlb_address b = mlb_check_address(L, 2);

	lua_pushinteger(L, mlb_address_compare(&a, &b));
	return 1;
}

/* moonlb.core.address.kind(address) -> "unicast" | "loopback" | "multicast" | "broadcast" | "unspecified" |
 * "link-local" | "reserved" */
static int address_kind(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);

	lua_pushstring(L, mlb_address_kind_name(mlb_address_kind(&address)));
	return 1;
}

/* moonlb.core.address.item(text) -> {first=, last=, family=, form="cidr"|"range"|"single", prefix=} |
 * nil, message, "EINVAL": one item of a pool's value. */
static int address_item(lua_State *L)
{
	static const char *const forms[] = {
		[MLB_FORM_SINGLE] = "single",
		[MLB_FORM_RANGE] = "range",
		[MLB_FORM_CIDR] = "cidr",
	};
	struct mlb_address_item item;
	char message[512];
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);

	if (mlb_address_parse_item(text, length, &item, message, sizeof(message)) < 0)
		return mlb_push_failure(L, message, "EINVAL");
	lua_createtable(L, 0, 5);
	mlb_push_address(L, &item.first);
	lua_setfield(L, -2, "first");
	mlb_push_address(L, &item.last);
	lua_setfield(L, -2, "last");
	lua_pushinteger(L, item.first.family);
	lua_setfield(L, -2, "family");
	lua_pushstring(L, forms[item.form]);
	lua_setfield(L, -2, "form");
	if (item.form == MLB_FORM_CIDR) {
		lua_pushinteger(L, item.prefix);
		lua_setfield(L, -2, "prefix");
	}
	return 1;
}

/* moonlb.core.address.mask(address, prefix) -> network: its first address. */
static int address_mask(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);

	address = mlb_address_mask(&address, check_prefix(L, 2, &address));
	mlb_push_address(L, &address);
	return 1;
}

/* moonlb.core.address.broadcast(address, prefix) -> address: the subnet's last one, of either family. */
static int address_broadcast(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);

	address = mlb_address_broadcast(&address, check_prefix(L, 2, &address));
	mlb_push_address(L, &address);
	return 1;
}

/* moonlb.core.address.in_subnet(address, network, prefix) -> boolean; false for different families. */
static int address_in_subnet(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);
	struct mlb_address network = mlb_check_address(L, 2);
	int prefix = check_prefix(L, 3, &network);
	bool is_inside = false;

	if (address.family == network.family) {
		address = mlb_address_mask(&address, prefix);
		network = mlb_address_mask(&network, prefix);
		is_inside = mlb_address_compare(&address, &network) == 0;
	}
	lua_pushboolean(L, is_inside);
	return 1;
}

/* moonlb.core.address.next(address) -> address | nil: nil after the family's last one. */
static int address_next(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);

	if (!mlb_address_next(&address, &address))
		return luaL_pushfail(L), 1;
	mlb_push_address(L, &address);
	return 1;
}

/* Two addresses of one family. */
static void check_family(lua_State *L, const struct mlb_address *a, const struct mlb_address *b)
{
	luaL_argcheck(L, a->family == b->family, 2, "an address of the same family expected");
}

/* moonlb.core.address.distance(from, to) -> number: how far `to` lies behind `from`; an integer where it is exact. */
static int address_distance(lua_State *L)
{
	struct mlb_address from = mlb_check_address(L, 1);
	struct mlb_address to = mlb_check_address(L, 2);
	double distance;

	check_family(L, &from, &to);
	distance = mlb_address_distance(&from, &to);
	if (distance > -0x1p53 && distance < 0x1p53)
		lua_pushinteger(L, (lua_Integer)distance);
	else
		lua_pushnumber(L, distance);
	return 1;
}

/* moonlb.core.address.add(address, count) -> address | nil past the last one; 0 <= count < 2^63. */
static int address_add(lua_State *L)
{
	struct mlb_address address = mlb_check_address(L, 1);
	lua_Integer count = luaL_checkinteger(L, 2);

	luaL_argcheck(L, count >= 0, 2, "negative");
	if (!mlb_address_add(&address, (uint64_t)count, &address))
		return luaL_pushfail(L), 1;
	mlb_push_address(L, &address);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "add", address_add },
	{ "broadcast", address_broadcast },
	{ "canonical", address_canonical },
	{ "compare", address_compare },
	{ "distance", address_distance },
	{ "hash", mlb_lua_address_hash },
	{ "in_subnet", address_in_subnet },
	{ "item", address_item },
	{ "kind", address_kind },
	{ "mask", address_mask },
	{ "next", address_next },
	{ "set", mlb_lua_address_set },
	{ NULL, NULL },
};

int luaopen_moonlb_core_address(lua_State *L);

int luaopen_moonlb_core_address(lua_State *L)
{
	mlb_open_address_set(L);
	luaL_newlib(L, functions);
	return 1;
}
