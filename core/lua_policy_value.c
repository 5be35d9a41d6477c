#include "lua_policy_value.h"

#include <errno.h>
#include <stdbool.h>

#include <lauxlib.h>

static int pack_value(lua_State *L, int index, struct mlb_policy_writer *writer, int depth);

static bool is_null(lua_State *L, int index)
{
	return lua_islightuserdata(L, index) && !lua_touserdata(L, index);
}

/* The items 1..n up to the first that is missing. Returns n or a negative errno. */
static int pack_items(lua_State *L, int table, struct mlb_policy_writer *writer, int depth)
{
	int items = 0;

	for (;;) {
		int result;

		if (lua_rawgeti(L, table, items + 1) == LUA_TNIL || is_null(L, -1))
			break;
		result = pack_value(L, lua_gettop(L), writer, depth);
		if (result < 0)
			return result;
		lua_pop(L, 1);
		items++;
	}
	lua_pop(L, 1);
	return items;
}

static bool is_item(lua_State *L, int key, int items)
{
	return lua_isinteger(L, key) && lua_tointeger(L, key) >= 1 && lua_tointeger(L, key) <= items;
}

/* Every entry that pack_items did not write. Returns how many or a negative errno. */
static int pack_pairs(lua_State *L, int table, int items, struct mlb_policy_writer *writer, int depth)
{
	int pairs = 0;

	lua_pushnil(L);
	while (lua_next(L, table)) {			/* key value */
		int key = lua_gettop(L) - 1;
		int type = lua_type(L, key);
		int result;

		if (!is_item(L, key, items) && !is_null(L, key + 1)) {
			if (type != LUA_TSTRING && type != LUA_TNUMBER)
				return -EINVAL;
			result = pack_value(L, key, writer, depth);
			if (result == 0)
				result = pack_value(L, key + 1, writer, depth);
			if (result < 0)
				return result;
			pairs++;
		}
		lua_pop(L, 1);
	}
	return pairs;
}

static int pack_table(lua_State *L, int index, struct mlb_policy_writer *writer, int depth)
{
	struct mlb_policy_writer head = *writer;	/* the counts are known only at the end */
	int items, pairs, result;

	if (depth >= MLB_POLICY_DEPTH_MAX)
		return -ELOOP;
	if (!lua_checkstack(L, 8))
		return -ENOMEM;
	result = mlb_policy_put_table(writer, 0, 0);
	if (result < 0)
		return result;
	items = pack_items(L, index, writer, depth + 1);
	if (items < 0)
		return items;
	pairs = pack_pairs(L, index, items, writer, depth + 1);
	if (pairs < 0)
		return pairs;
	return mlb_policy_put_table(&head, (uint32_t)items, (uint32_t)pairs);
}

static int pack_value(lua_State *L, int index, struct mlb_policy_writer *writer, int depth)
{
	const char *text;
	size_t length;

	switch (lua_type(L, index)) {
	case LUA_TNIL:
		return mlb_policy_put_tag(writer, 'n');
	case LUA_TBOOLEAN:
		return mlb_policy_put_tag(writer, lua_toboolean(L, index) ? 't' : 'f');
	case LUA_TNUMBER:
		if (lua_isinteger(L, index))
			return mlb_policy_put_integer(writer, lua_tointeger(L, index));
		return mlb_policy_put_number(writer, lua_tonumber(L, index));
	case LUA_TSTRING:
		text = lua_tolstring(L, index, &length);
		return mlb_policy_put_string(writer, text, length);
	case LUA_TTABLE:
		return pack_table(L, index, writer, depth);
	default:
		return -EINVAL;
	}
}

int mlb_policy_pack(lua_State *L, int arg, struct mlb_policy_writer *writer)
{
	int top = lua_gettop(L);
	int result = pack_value(L, lua_absindex(L, arg), writer, 0);

	lua_settop(L, top);
	return result;
}

static void push_table(lua_State *L, struct mlb_policy_reader *reader, const struct mlb_policy_token *token)
{
	luaL_checkstack(L, 4, "policy value");
	lua_createtable(L, (int)token->table.items, (int)token->table.pairs);
	for (uint32_t i = 1; i <= token->table.items; i++) {
		mlb_policy_push(L, reader);
		lua_rawseti(L, -2, i);
	}
	for (uint32_t i = 0; i < token->table.pairs; i++) {
		mlb_policy_push(L, reader);
		mlb_policy_push(L, reader);
		lua_rawset(L, -3);
	}
}

void mlb_policy_push(lua_State *L, struct mlb_policy_reader *reader)
{
	struct mlb_policy_token token;

	if (mlb_policy_next(reader, &token) < 0)
		luaL_error(L, "policy value: read past what was checked");
	switch (token.tag) {
	case 't':
	case 'f':
		lua_pushboolean(L, token.tag == 't');
		break;
	case 'i':
		lua_pushinteger(L, token.integer);
		break;
	case 'd':
		lua_pushnumber(L, token.number);
		break;
	case 's':
		lua_pushlstring(L, token.string.bytes, token.string.length);
		break;
	case '{':
		push_table(L, reader, &token);
		break;
	default:
		lua_pushnil(L);
	}
}
