/* core/lua_pcp.c: module `moonlb.core.pcp`; mechanism is core/pcp.c. Sockets, repetition and time are Lua's. */
#include <netinet/in.h>
#include <string.h>

#include "lua_address.h"
#include "lua_util.h"
#include "pcp.h"

static enum mlb_pcp_version field_version(lua_State *L)
{
	lua_Integer version = mlb_opt_integer(L, 1, "version", MLB_PCP, MLB_NATPMP, MLB_PCP);

	if (version != MLB_NATPMP && version != MLB_PCP)
		luaL_error(L, "version: 0 (NAT-PMP) or 2 (PCP) expected, got %d", (int)version);
	return (enum mlb_pcp_version)version;
}

static uint8_t field_protocol(lua_State *L)
{
	const char *name = mlb_check_string(L, 1, "protocol");

	if (strcmp(name, "tcp") == 0)
		return IPPROTO_TCP;
	if (strcmp(name, "udp") != 0)
		luaL_error(L, "protocol: tcp or udp expected, got %s", name);
	return IPPROTO_UDP;
}

/* An address field of the table at 1; family 0 when it is absent. */
static struct mlb_address field_address(lua_State *L, const char *field)
{
	struct mlb_address address = { .family = 0 };

	if (lua_getfield(L, 1, field) != LUA_TNIL)
		address = mlb_check_address(L, lua_gettop(L));
	lua_pop(L, 1);
	return address;
}

static void read_pcp_fields(lua_State *L, struct mlb_pcp_map *map)
{
	size_t length;
	const char *nonce;

	map->client = field_address(L, "client");
	if (map->client.family == 0)
		luaL_error(L, "client: the address that the request leaves from expected");
	mlb_check_string(L, 1, "nonce");
	lua_getfield(L, 1, "nonce");
	nonce = lua_tolstring(L, -1, &length);
	if (length != MLB_PCP_NONCE)
		luaL_error(L, "nonce: 12 bytes expected, got %d", (int)length);
	memcpy(map->nonce, nonce, MLB_PCP_NONCE);
	lua_pop(L, 1);
	map->external_address = field_address(L, "external_address");
}

/* moonlb.core.pcp.encode_map{version = 2 | 0, protocol = "tcp"|"udp", internal_port, external_port = 0, lifetime (seconds; 0
 * deletes), and for PCP client, nonce (12 bytes), external_address} -> bytes */
static int pcp_encode_map(lua_State *L)
{
	struct mlb_pcp_map map = { .protocol = 0 };
	enum mlb_pcp_version version;
	uint8_t bytes[MLB_PCP_MAP_SIZE];
	size_t length;

	luaL_checktype(L, 1, LUA_TTABLE);
	version = field_version(L);
	map.protocol = field_protocol(L);
	map.internal_port = (uint16_t)mlb_opt_integer(L, 1, "internal_port", 0, 1, UINT16_MAX);
	if (map.internal_port == 0)
		return luaL_error(L, "internal_port: 1 to 65535 expected");
	map.external_port = (uint16_t)mlb_opt_integer(L, 1, "external_port", 0, 0, UINT16_MAX);
	map.lifetime_s = (uint32_t)mlb_opt_integer(L, 1, "lifetime", 0, 0, UINT32_MAX);
	if (version == MLB_PCP)
		read_pcp_fields(L, &map);
	length = mlb_pcp_encode_map(version, &map, bytes);
	lua_pushlstring(L, (const char *)bytes, length);
	return 1;
}

/* moonlb.core.pcp.encode_address() -> bytes: NAT-PMP's question for the outside address (RFC 6886 section 3.2). */
static int pcp_encode_address(lua_State *L)
{
	uint8_t bytes[MLB_PCP_MAP_SIZE];
	size_t length = mlb_natpmp_encode_address(bytes);

	lua_pushlstring(L, (const char *)bytes, length);
	return 1;
}

static void set_integer(lua_State *L, const char *field, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, field);
}

static void push_map(lua_State *L, const struct mlb_pcp_answer *answer)
{
	if (answer->protocol == IPPROTO_TCP || answer->protocol == IPPROTO_UDP) {
		lua_pushstring(L, answer->protocol == IPPROTO_TCP ? "tcp" : "udp");
		lua_setfield(L, -2, "protocol");
	}
	set_integer(L, "internal_port", answer->internal_port);
	set_integer(L, "external_port", answer->external_port);
	set_integer(L, "lifetime", answer->lifetime_s);
	if (answer->version == MLB_PCP) {
		lua_pushlstring(L, (const char *)answer->nonce, MLB_PCP_NONCE);
		lua_setfield(L, -2, "nonce");
	}
}

/* moonlb.core.pcp.decode(bytes) -> {version, type = "address"|"announce"|"map"|"other", result, result_text, epoch, lifetime,
 * protocol, internal_port, external_port, external_address, nonce} (what the type has) | nil, message, "EBADMSG" */
static int pcp_decode(lua_State *L)
{
	static const char *const types[] = { "address", "announce", "map", "other" };
	struct mlb_pcp_answer answer;
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);
	const char *why;

	if (mlb_pcp_decode((const uint8_t *)bytes, length, &answer, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not an answer of PCP or NAT-PMP: %s", why), "EBADMSG");
	lua_createtable(L, 0, 11);
	lua_pushstring(L, types[answer.type]);
	lua_setfield(L, -2, "type");
	lua_pushstring(L, mlb_pcp_result_text(answer.version, answer.result));
	lua_setfield(L, -2, "result_text");
	set_integer(L, "version", answer.version);
	set_integer(L, "result", answer.result);
	set_integer(L, "epoch", answer.epoch_s);
	set_integer(L, "lifetime", answer.lifetime_s);
	if (answer.type == MLB_PCP_MAP)
		push_map(L, &answer);
	if (answer.external_address.family) {
		mlb_push_address(L, &answer.external_address);
		lua_setfield(L, -2, "external_address");
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{ "decode", pcp_decode },
	{ "encode_address", pcp_encode_address },
	{ "encode_map", pcp_encode_map },
	{ NULL, NULL },
};

int luaopen_moonlb_core_pcp(lua_State *L);

int luaopen_moonlb_core_pcp(lua_State *L)
{
	luaL_newlib(L, functions);
	lua_pushinteger(L, MLB_PCP_PORT);
	lua_setfield(L, -2, "PORT");
	return 1;
}
