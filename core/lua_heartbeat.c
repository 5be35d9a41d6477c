/* core/lua_heartbeat.c: module `moonlb.core.heartbeat`; mechanism is core/heartbeat.c and core/segment.c. The pulse thread
 * runs segments of its own; those made here have no socket and take the time as an argument. */
#include <stdlib.h>
#include <string.h>

#include "lua_heartbeat.h"
#include "lua_util.h"
#include "lua_wire.h"

#define SEGMENT_MT "moonlb.core.heartbeat.segment"

struct handle {
	struct mlb_segment *segment;	/* NULL: closed */
	struct mlb_heartbeat_keys *keys;
};

static struct handle *check_segment(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, SEGMENT_MT);

	luaL_argcheck(L, handle->segment, 1, "segment is closed");
	return handle;
}

/* moonlb.core.heartbeat.id(text) -> 16 bytes: of a UUID its own, of another text a hash. */
static int heartbeat_id(lua_State *L)
{
	uint8_t id[MLB_HEARTBEAT_ID];
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);

	mlb_heartbeat_id(text, length, id);
	lua_pushlstring(L, (const char *)id, sizeof(id));
	return 1;
}

/* moonlb.core.heartbeat.node_id(name) -> integer: what a node is in the lists of heartbeats. */
static int heartbeat_node_id(lua_State *L)
{
	size_t length;
	const char *name = luaL_checklstring(L, 1, &length);

	lua_pushinteger(L, mlb_heartbeat_node_id(name, length));
	return 1;
}

/* moonlb.core.heartbeat.decode(payload) -> table (mlb_push_heartbeat) | nil, message, "EBADMSG": without any check of
 * who sent it. */
static int heartbeat_decode(lua_State *L)
{
	size_t length;
	const char *payload = luaL_checklstring(L, 1, &length);
	struct mlb_heartbeat heartbeat;
	const char *why;

	if (mlb_heartbeat_decode((const uint8_t *)payload, length, &heartbeat, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a heartbeat: %s", why), "EBADMSG");
	mlb_push_heartbeat(L, &heartbeat, heartbeat.name);
	return 1;
}

/* moonlb.core.heartbeat.wrap(mac, port, payload) -> frame */
static int heartbeat_wrap(lua_State *L)
{
	uint8_t mac[MLB_MAC_SIZE], headers[MLB_HEARTBEAT_WRAP];
	size_t length;

	luaL_checklstring(L, 3, &length);
	mlb_check_mac(L, 1, mac);
	luaL_argcheck(L, length <= MLB_HEARTBEAT_PAYLOAD, 3, "payload too long");
	mlb_heartbeat_wrap(mac, (uint16_t)luaL_checkinteger(L, 2), length, headers);
	lua_pushlstring(L, (const char *)headers, sizeof(headers));
	lua_pushvalue(L, 3);
	lua_concat(L, 2);
	return 1;
}

/* moonlb.core.heartbeat.unwrap(frame, port) -> payload | nil: nil when it is not such a frame. */
static int heartbeat_unwrap(lua_State *L)
{
	size_t length, payload_length;
	const char *frame = luaL_checklstring(L, 1, &length);
	const uint8_t *payload = mlb_heartbeat_unwrap((const uint8_t *)frame, length, (uint16_t)luaL_checkinteger(L, 2),
						      &payload_length);

	if (!payload)
		return 0;
	lua_pushlstring(L, (const char *)payload, payload_length);
	return 1;
}

/* moonlb.core.heartbeat.segment{node, cluster, key, previous, nonce = 0, vouch = 0.15, silent = 0.3} -> segment */
static int heartbeat_segment(lua_State *L)
{
	struct mlb_segment_options options;
	struct handle *handle;

	mlb_check_segment_options(L, 1, &options);
	handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	memset(handle, 0, sizeof(*handle));
	luaL_setmetatable(L, SEGMENT_MT);
	handle->segment = mlb_segment_new(&options);
	lua_getfield(L, 1, "key");
	lua_getfield(L, 1, "previous");
	handle->keys = mlb_check_keys(L, 3);
	if (!handle->segment || !handle->keys)
		return luaL_error(L, "out of memory");
	lua_settop(L, 2);
	return 1;
}

/* segment:close(); also __gc and __close. Idempotent. */
static int segment_close(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, SEGMENT_MT);

	free(handle->segment);
	mlb_heartbeat_keys_free(handle->keys);
	handle->segment = NULL;
	handle->keys = NULL;
	return 0;
}

/* segment:set_keys(current, previous|nil): the keys from now on, 32 bytes each. */
static int segment_set_keys(lua_State *L)
{
	struct handle *handle = check_segment(L);
	struct mlb_heartbeat_keys *keys = mlb_check_keys(L, 2);

	if (!keys)
		return luaL_error(L, "out of memory");
	mlb_heartbeat_keys_free(handle->keys);
	handle->keys = keys;
	return 0;
}

/* segment:compose(body, now, mac, most = 1472) -> {payload, ...}: the datagrams that say `body` (mlb_check_body). */
static int segment_compose(lua_State *L)
{
	struct handle *handle = check_segment(L);
	int64_t now_ms = (int64_t)(luaL_checknumber(L, 3) * 1000 + 0.5);
	size_t most = (size_t)luaL_optinteger(L, 5, MLB_HEARTBEAT_PAYLOAD);
	uint8_t mac[MLB_MAC_SIZE], payload[MLB_HEARTBEAT_PAYLOAD];
	struct mlb_segment_body *body;

	luaL_argcheck(L, most <= MLB_HEARTBEAT_PAYLOAD, 5, "at most 1472");
	mlb_check_mac(L, 4, mac);
	lua_settop(L, 2);
	body = mlb_check_body(L, 2, mlb_segment_part_room(handle->segment->options.name, most));
	lua_newtable(L);					/* segment body list */
	for (size_t i = 0; body && i < body->nparts; i++) {
		size_t length = mlb_segment_compose(handle->segment, handle->keys, body, i, mac, most, now_ms, payload);

		lua_pushlstring(L, (const char *)payload, length);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	free(body);
	return 1;
}

/* segment:hear(payload, now) -> verdict, heartbeat | nil: "same", "news" (then with the heartbeat), "foreign", "bad",
 * "forged", "replayed", "unproven", "own" or "full". */
static int segment_hear(lua_State *L)
{
	static const char *const names[MLB_SEGMENT_VERDICTS] = {
		[MLB_SEGMENT_SAME] = "same", [MLB_SEGMENT_NEWS] = "news", [MLB_SEGMENT_FOREIGN] = "foreign",
		[MLB_SEGMENT_BAD] = "bad", [MLB_SEGMENT_FORGED] = "forged", [MLB_SEGMENT_REPLAYED] = "replayed",
		[MLB_SEGMENT_UNPROVEN] = "unproven", [MLB_SEGMENT_OWN] = "own", [MLB_SEGMENT_FULL] = "full",
	};
	struct handle *handle = check_segment(L);
	int64_t now_ms = (int64_t)(luaL_checknumber(L, 3) * 1000 + 0.5);
	size_t length;
	const char *payload = luaL_checklstring(L, 2, &length);
	struct mlb_heartbeat heartbeat;
	enum mlb_segment_verdict verdict;
	uint32_t slot;

	verdict = mlb_segment_hear(handle->segment, handle->keys, (const uint8_t *)payload, length, now_ms, &heartbeat, &slot);
	lua_pushstring(L, names[verdict]);
	if (verdict != MLB_SEGMENT_NEWS)
		return 1;
	mlb_segment_told(handle->segment, slot, &heartbeat, now_ms);
	mlb_push_heartbeat(L, &heartbeat, handle->segment->options.name);
	return 2;
}

/* segment:incarnation() -> integer */
static int segment_incarnation(lua_State *L)
{
	lua_pushinteger(L, check_segment(L)->segment->incarnation);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "decode", heartbeat_decode },
	{ "id", heartbeat_id },
	{ "node_id", heartbeat_node_id },
	{ "segment", heartbeat_segment },
	{ "unwrap", heartbeat_unwrap },
	{ "wrap", heartbeat_wrap },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "close", segment_close },
	{ "compose", segment_compose },
	{ "hear", segment_hear },
	{ "incarnation", segment_incarnation },
	{ "set_keys", segment_set_keys },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", segment_close },
	{ "__gc", segment_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_heartbeat(lua_State *L);

int luaopen_moonlb_core_heartbeat(lua_State *L)
{
	mlb_new_class(L, SEGMENT_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
