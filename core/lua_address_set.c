/* core/lua_address_set.c: class `moonlb.core.address.set`; mechanism is core/address_set.c. */
#include <math.h>

#include "address_set.h"
#include "lua_address.h"
#include "lua_util.h"

#define SET_MT "moonlb.core.address.set"

static struct mlb_address_set *check_set(lua_State *L, int arg)
{
	return luaL_checkudata(L, arg, SET_MT);
}

static struct mlb_address_set *new_set(lua_State *L)
{
	struct mlb_address_set *set = lua_newuserdatauv(L, sizeof(*set), 0);

	*set = (struct mlb_address_set){ .ranges = 0 };
	luaL_setmetatable(L, SET_MT);
	return set;
}

static int check_family(lua_State *L, int arg)
{
	lua_Integer family = luaL_checkinteger(L, arg);

	luaL_argcheck(L, family == 4 || family == 6, arg, "family 4 or 6 expected");
	return (int)family;
}

/* The addresses at `arg` and, unless nil, after it: one range. */
static void check_range(lua_State *L, int arg, struct mlb_address *ret_first, struct mlb_address *ret_last)
{
	*ret_first = *ret_last = mlb_check_address(L, arg);
	if (lua_isnoneornil(L, arg + 1))
		return;
	*ret_last = mlb_check_address(L, arg + 1);
	luaL_argcheck(L, ret_first->family == ret_last->family, arg + 1, "address of the first one's family expected");
	luaL_argcheck(L, mlb_address_compare(ret_first, ret_last) <= 0, arg + 1, "the range ends before it starts");
}

/* Running out of memory is fatal, but an error in Lua says where. */
static void check_memory(lua_State *L, int err)
{
	if (err < 0)
		luaL_error(L, "not enough memory for a set of addresses");
}

/* An integer, or past 2^63 a float. */
static void push_count(lua_State *L, struct mlb_address_count count)
{
	if (count.high == 0 && count.low <= LUA_MAXINTEGER)
		lua_pushinteger(L, (lua_Integer)count.low);
	else
		lua_pushnumber(L, ldexp((lua_Number)count.high, 64) + (lua_Number)count.low);
}

/* moonlb.core.address.set() -> set: an empty one. */
int mlb_lua_address_set(lua_State *L)
{
	new_set(L);
	return 1;
}

/* moonlb.core.address.hash(text, set, family) -> address | nil: what a stable hash of `text` picks. */
int mlb_lua_address_hash(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	struct mlb_address_set *set = check_set(L, 2);
	struct mlb_address address;

	if (!mlb_address_set_hash(set, check_family(L, 3), text, length, &address))
		return luaL_pushfail(L), 1;
	mlb_push_address(L, &address);
	return 1;
}

/* set:add(first[, last]) */
static int set_add(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address first, last;

	check_range(L, 2, &first, &last);
	check_memory(L, mlb_address_set_add(set, &first, &last));
	return 0;
}

/* set:remove(first[, last]) */
static int set_remove(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address first, last;

	check_range(L, 2, &first, &last);
	check_memory(L, mlb_address_set_remove(set, &first, &last));
	return 0;
}

/* set:contains(address) -> boolean */
static int set_contains(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address address = mlb_check_address(L, 2);

	lua_pushboolean(L, mlb_address_set_intersects(set, &address, &address));
	return 1;
}

/* set:intersects(first, last) -> boolean: whether any address of the range is in the set. */
static int set_intersects(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address first, last;

	check_range(L, 2, &first, &last);
	lua_pushboolean(L, mlb_address_set_intersects(set, &first, &last));
	return 1;
}

/* set:copy() -> set */
static int set_copy(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address_set *copy = new_set(L);

	check_memory(L, mlb_address_set_union(copy, set));
	/* The collector does not see the ranges: make it keep pace with whoever copies in a loop. */
	lua_gc(L, LUA_GCSTEP, (int)(copy->ranges * sizeof(struct mlb_address_range) / 1024));
	return 1;
}

/* set:union(other): add all of it. */
static int set_union(lua_State *L)
{
	check_memory(L, mlb_address_set_union(check_set(L, 1), check_set(L, 2)));
	return 0;
}

/* set:subtract(other): remove all of it. */
static int set_subtract(lua_State *L)
{
	check_memory(L, mlb_address_set_subtract(check_set(L, 1), check_set(L, 2)));
	return 0;
}

/* set:size(family) -> number of addresses: an integer, or past 2^63 a float. */
static int set_size(lua_State *L)
{
	push_count(L, mlb_address_set_size(check_set(L, 1), check_family(L, 2)));
	return 1;
}

static void push_ranges(lua_State *L, const struct mlb_address_set *set, int family)
{
	const struct mlb_address_range *range = mlb_address_set_first(set, family);
	lua_Integer count = (lua_Integer)lua_rawlen(L, -1);

	for (; range; range = mlb_address_set_next(range)) {	/* ranges */
		lua_createtable(L, 0, 2);			/* ranges range */
		mlb_push_address(L, &range->first);
		lua_setfield(L, -2, "first");
		mlb_push_address(L, &range->last);
		lua_setfield(L, -2, "last");
		lua_seti(L, -2, ++count);
	}
}

/* set:ranges([family]) -> {{first=, last=}, ...}, in order, IPv4 first. */
static int set_ranges(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	int family = lua_isnoneornil(L, 2) ? 0 : check_family(L, 2);

	lua_newtable(L);
	if (family != 6)
		push_ranges(L, set, 4);
	if (family != 4)
		push_ranges(L, set, 6);
	return 1;
}

/* set:is_empty([family]) -> boolean */
static int set_is_empty(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);

	if (lua_isnoneornil(L, 2))
		lua_pushboolean(L, set->ranges == 0);
	else
		lua_pushboolean(L, mlb_address_set_first(set, check_family(L, 2)) == NULL);
	return 1;
}

/* set:free(taken, family[, from_end]) -> address | nil: the lowest (highest) one that is not in `taken` and does not
 * end in .0 or .255. Adds such endings to `taken` when it meets them. */
static int set_free(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address_set *taken = check_set(L, 2);
	struct mlb_address address;
	int found = mlb_address_set_free(set, taken, check_family(L, 3), lua_toboolean(L, 4), &address);

	check_memory(L, found);
	if (found == 0)
		return luaL_pushfail(L), 1;
	mlb_push_address(L, &address);
	return 1;
}

/* set:free_count(taken, family) -> number of addresses that set:free would give, one after the other. */
static int set_free_count(lua_State *L)
{
	struct mlb_address_set *set = check_set(L, 1);
	struct mlb_address_set *taken = check_set(L, 2);

	push_count(L, mlb_address_set_free_count(set, taken, check_family(L, 3)));
	return 1;
}

static int set_gc(lua_State *L)
{
	mlb_address_set_clear(check_set(L, 1));
	return 0;
}

static const luaL_Reg methods[] = {
	{ "add", set_add },
	{ "contains", set_contains },
	{ "copy", set_copy },
	{ "free", set_free },
	{ "free_count", set_free_count },
	{ "intersects", set_intersects },
	{ "is_empty", set_is_empty },
	{ "ranges", set_ranges },
	{ "remove", set_remove },
	{ "size", set_size },
	{ "subtract", set_subtract },
	{ "union", set_union },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__gc", set_gc },
	{ NULL, NULL },
};

void mlb_open_address_set(lua_State *L)
{
	mlb_new_class(L, SET_MT, methods, metamethods);
}
