/* Heartbeats as Lua tables, for the bindings `moonlb.core.heartbeat` and `moonlb.core.pulse`. */
#include <stdlib.h>
#include <string.h>

#include "lua_heartbeat.h"
#include "lua_util.h"
#include "lua_wire.h"

#define PARTS_MOST 4096

/* The elements of a body one after another, in a userdata of their full size; `kinds` says what each is. */
struct items {
	uint8_t *bytes;
	size_t length;
	struct item { uint32_t length; char kind; } *list;
	size_t count;
};

static const char *check_id(lua_State *L, const char *what)
{
	size_t length;
	const char *id = lua_tolstring(L, -1, &length);

	if (!id || length != MLB_HEARTBEAT_ID)
		luaL_error(L, "%s: a group is a string of 16 bytes", what);
	return id;
}

static uint64_t check_term(lua_State *L, const char *what)
{
	int is_integer;
	lua_Integer term = lua_tointegerx(L, -1, &is_integer);

	if (!is_integer || term < 0)
		luaL_error(L, "%s: a term is an integer from 0", what);
	return (uint64_t)term;
}

static void add_item(struct items *items, char kind, size_t length)
{
	items->list[items->count++] = (struct item){ (uint32_t)length, kind };
	items->length += length;
}

static void add_want(lua_State *L, int body, struct items *items)
{
	if (lua_getfield(L, body, "want") == LUA_TTABLE) {
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			size_t length;
			const char *name;

			if (lua_type(L, -2) != LUA_TSTRING)
				luaL_error(L, "want: names expected");
			name = lua_tolstring(L, -2, &length);
			add_item(items, 'w', mlb_heartbeat_put_id(items->bytes + items->length,
								  mlb_heartbeat_node_id(name, length)));
		}
	}
	lua_pop(L, 1);
}

/* The entry on top is {group, term, node}. */
static void add_relay(lua_State *L, struct items *items)
{
	struct mlb_relay relay;
	const char *node;
	size_t length;

	lua_geti(L, -1, 1);
	memcpy(relay.group, check_id(L, "relays"), MLB_HEARTBEAT_ID);
	lua_geti(L, -2, 2);
	relay.term = check_term(L, "relays");
	lua_geti(L, -3, 3);
	node = lua_tolstring(L, -1, &length);
	if (!node || length == 0 || length > MLB_HEARTBEAT_NAME)
		luaL_error(L, "relays: a node's name has 1 to 253 bytes");
	relay.node_length = (uint8_t)length;
	memcpy(relay.node, node, length);
	add_item(items, 'r', mlb_heartbeat_put_relay(items->bytes + items->length, &relay));
	lua_pop(L, 3);
}

/* The entry on top is {group, term, giving}. */
static void add_statement(lua_State *L, struct items *items)
{
	struct mlb_statement statement;

	lua_geti(L, -1, 1);
	memcpy(statement.group, check_id(L, "statements"), MLB_HEARTBEAT_ID);
	lua_geti(L, -2, 2);
	statement.term = check_term(L, "statements");
	lua_geti(L, -3, 3);
	statement.is_giving = lua_toboolean(L, -1);
	add_item(items, 's', mlb_heartbeat_put_statement(items->bytes + items->length, &statement));
	lua_pop(L, 3);
}

static void add_list(lua_State *L, int body, const char *field, void add(lua_State *, struct items *), struct items *items)
{
	if (lua_getfield(L, body, field) == LUA_TTABLE) {
		lua_Integer count = luaL_len(L, -1);

		for (lua_Integer i = 1; i <= count; i++) {
			if (lua_geti(L, -1, i) != LUA_TTABLE)
				luaL_error(L, "%s: tables expected", field);
			add(L, items);
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
}

static size_t count_of(lua_State *L, int body, const char *field)
{
	size_t count = 0;

	if (lua_getfield(L, body, field) == LUA_TTABLE) {
		if (strcmp(field, "want") == 0) {
			for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
				count++;
		} else {
			count = (size_t)luaL_len(L, -1);
		}
	}
	lua_pop(L, 1);
	if (count > PARTS_MOST * 16)
		luaL_error(L, "%s: too many", field);
	return count;
}

/* Collect the elements: want, relays, statements. Leaves two userdata on the stack that own the memory. */
static void collect(lua_State *L, int body, struct items *ret_items)
{
	size_t nwant = count_of(L, body, "want"), nrelays = count_of(L, body, "relays");
	size_t nstatements = count_of(L, body, "statements");

	memset(ret_items, 0, sizeof(*ret_items));
	ret_items->bytes = lua_newuserdatauv(L, 1 + nwant * MLB_WANT_SIZE + nstatements * MLB_STATEMENT_SIZE +
					     nrelays * (MLB_RELAY_SIZE + MLB_HEARTBEAT_NAME), 0);
	ret_items->list = lua_newuserdatauv(L, (1 + nwant + nrelays + nstatements) * sizeof(*ret_items->list), 0);
	add_want(L, body, ret_items);
	add_list(L, body, "relays", add_relay, ret_items);
	add_list(L, body, "statements", add_statement, ret_items);
}

/* Where the part that begins at item `first` ends: it is full, or all is in it. */
static size_t end_of_part(const struct items *items, size_t first, size_t room)
{
	size_t length = 0, i;

	for (i = first; i < items->count && i - first < UINT8_MAX; i++) {
		length += items->list[i].length;
		if (length > room && i > first)
			break;
	}
	return i;
}

static void fill_part(const struct items *items, size_t first, size_t end, const uint8_t *bytes, uint8_t flags,
		      struct mlb_segment_part *part)
{
	memset(part, 0, offsetof(struct mlb_segment_part, bytes));
	part->flags = flags;
	for (size_t i = first; i < end; i++) {
		const struct item *item = &items->list[i];

		part->nwant += item->kind == 'w';
		part->nstatements += item->kind == 's';
		part->nrelays += item->kind == 'r';
		part->relays_length += item->kind == 'r' ? item->length : 0;
		part->length += item->length;
	}
	memcpy(part->bytes, bytes, part->length);
}

static size_t count_parts(const struct items *items, size_t room)
{
	size_t nparts = 0, at = 0;

	do {
		at = end_of_part(items, at, room);
		nparts++;
	} while (at < items->count);
	return nparts;
}

static struct mlb_segment_body *split(const struct items *items, size_t room, uint8_t flags, bool is_whole)
{
	size_t nparts = count_parts(items, room), at = 0;
	struct mlb_segment_body *body = calloc(1, sizeof(*body) + nparts * sizeof(body->parts[0]));
	const uint8_t *bytes = items->bytes;

	if (!body)
		return NULL;
	body->nparts = nparts;
	for (size_t i = 0; i < nparts; i++) {
		size_t end = end_of_part(items, at, room);
		bool has_more = !is_whole && i + 1 < nparts;

		fill_part(items, at, end, bytes, flags | (has_more ? MLB_HEARTBEAT_MORE : 0), &body->parts[i]);
		body->parts[i].whole_index = is_whole ? (uint16_t)(i + 1) : 0;
		body->parts[i].whole_total = is_whole ? (uint16_t)nparts : 0;
		bytes += body->parts[i].length;
		at = end;
	}
	return body;
}

struct mlb_segment_body *mlb_check_body(lua_State *L, int arg, size_t room)
{
	int top = lua_gettop(L);
	struct mlb_segment_body *body;
	struct items items;
	lua_Integer digest, whole_id;
	uint8_t flags = 0;

	luaL_checktype(L, arg, LUA_TTABLE);
	luaL_argcheck(L, room >= MLB_RELAY_SIZE + MLB_HEARTBEAT_NAME, arg, "the interface's MTU is too small");
	digest = mlb_opt_integer(L, arg, "digest", 0, LUA_MININTEGER, LUA_MAXINTEGER);
	whole_id = mlb_opt_integer(L, arg, "whole_id", 0, 0, UINT32_MAX);
	if (mlb_opt_boolean(L, arg, "gives_all", false))
		flags |= MLB_HEARTBEAT_GIVES_ALL;
	if (mlb_opt_boolean(L, arg, "stale", false))
		flags |= MLB_HEARTBEAT_STALE;
	collect(L, arg, &items);
	if (count_parts(&items, room) > PARTS_MOST)
		luaL_error(L, "too much for %d datagrams", PARTS_MOST);
	body = split(&items, room, flags, whole_id != 0);
	lua_settop(L, top);
	if (body) {
		body->digest = (uint64_t)digest;
		body->whole_id = (uint32_t)whole_id;
	}
	return body;
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void push_lists(lua_State *L, const struct mlb_heartbeat *heartbeat)
{
	struct mlb_statement statement;
	struct mlb_relay relay;
	size_t position = 0;

	lua_createtable(L, heartbeat->nstatements, 0);
	for (unsigned i = 0; i < heartbeat->nstatements; i++) {
		mlb_heartbeat_statement_at(heartbeat, i, &statement);
		lua_createtable(L, 3, 0);
		lua_pushlstring(L, (const char *)statement.group, MLB_HEARTBEAT_ID);
		lua_rawseti(L, -2, 1);
		lua_pushinteger(L, (lua_Integer)statement.term);
		lua_rawseti(L, -2, 2);
		lua_pushboolean(L, statement.is_giving);
		lua_rawseti(L, -2, 3);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "statements");
	lua_createtable(L, heartbeat->nrelays, 0);
	for (lua_Integer i = 1; mlb_heartbeat_relay_at(heartbeat, &position, &relay); i++) {
		lua_createtable(L, 3, 0);
		lua_pushlstring(L, (const char *)relay.group, MLB_HEARTBEAT_ID);
		lua_rawseti(L, -2, 1);
		lua_pushinteger(L, (lua_Integer)relay.term);
		lua_rawseti(L, -2, 2);
		lua_pushlstring(L, relay.node, relay.node_length);
		lua_rawseti(L, -2, 3);
		lua_rawseti(L, -2, i);
	}
	lua_setfield(L, -2, "relays");
}

void mlb_push_heartbeat(lua_State *L, const struct mlb_heartbeat *heartbeat, const char *me)
{
	uint32_t my_id = mlb_heartbeat_node_id(me, strlen(me));

	lua_createtable(L, 0, 12);
	lua_pushstring(L, heartbeat->name);
	lua_setfield(L, -2, "from");
	set_integer(L, "digest", (lua_Integer)heartbeat->digest);
	set_integer(L, "incarnation", heartbeat->incarnation);
	set_flag(L, "gives_all", heartbeat->flags & MLB_HEARTBEAT_GIVES_ALL);
	set_flag(L, "stale", heartbeat->flags & MLB_HEARTBEAT_STALE);
	set_flag(L, "more", heartbeat->flags & MLB_HEARTBEAT_MORE);
	mlb_set_mac(L, "mac", heartbeat->mac);
	push_lists(L, heartbeat);
	lua_createtable(L, 0, heartbeat->nheard);
	for (unsigned i = 0; i < heartbeat->nheard; i++) {
		lua_pushboolean(L, 1);
		lua_rawseti(L, -2, mlb_heartbeat_id_at(heartbeat->heard, i));
	}
	lua_setfield(L, -2, "heard");
	lua_createtable(L, 0, 1);
	for (unsigned i = 0; i < heartbeat->nwant; i++)
		if (mlb_heartbeat_id_at(heartbeat->want, i) == my_id)
			set_flag(L, me, true);
	lua_setfield(L, -2, "want");
	if (heartbeat->whole_id == 0)
		return;
	lua_createtable(L, 0, 3);
	set_integer(L, "id", heartbeat->whole_id);
	set_integer(L, "index", heartbeat->whole_index);
	set_integer(L, "total", heartbeat->whole_total);
	lua_setfield(L, -2, "whole");
}

static const uint8_t *check_key(lua_State *L, int arg)
{
	size_t length;
	const char *key = luaL_checklstring(L, arg, &length);

	luaL_argcheck(L, length == MLB_HEARTBEAT_KEY, arg, "a key has 32 bytes");
	return (const uint8_t *)key;
}

struct mlb_heartbeat_keys *mlb_check_keys(lua_State *L, int arg)
{
	const uint8_t *current = check_key(L, arg);

	return mlb_heartbeat_keys_new(current, lua_isnoneornil(L, arg + 1) ? NULL : check_key(L, arg + 1));
}

static unsigned check_ms(lua_State *L, int arg, const char *name, lua_Number fallback)
{
	lua_Number seconds = fallback;

	if (lua_getfield(L, arg, name) != LUA_TNIL)
		seconds = luaL_checknumber(L, -1);
	lua_pop(L, 1);
	if (!(seconds >= 0.001 && seconds <= 3600))
		luaL_error(L, "%s: seconds from 0.001 to 3600 expected", name);
	return (unsigned)(seconds * 1000 + 0.5);
}

void mlb_check_segment_options(lua_State *L, int arg, struct mlb_segment_options *ret_options)
{
	const char *name, *cluster;

	luaL_checktype(L, arg, LUA_TTABLE);
	memset(ret_options, 0, sizeof(*ret_options));
	name = mlb_check_string(L, arg, "node");
	if (strlen(name) == 0 || strlen(name) > MLB_HEARTBEAT_NAME)
		luaL_error(L, "node: a name of 1 to 253 bytes expected");
	strcpy(ret_options->name, name);
	cluster = mlb_check_string(L, arg, "cluster");
	mlb_heartbeat_id(cluster, strlen(cluster), ret_options->cluster);
	ret_options->nonce = (uint32_t)mlb_opt_integer(L, arg, "nonce", 0, 0, UINT32_MAX);
	ret_options->vouch_ms = check_ms(L, arg, "vouch", 0.15);
	ret_options->silent_ms = check_ms(L, arg, "silent", 0.3);
}
