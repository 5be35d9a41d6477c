/* core/lua_flight.c: module `moonlb.core.flight`; mechanism is core/flight.c and core/pcapng.c. */
#include <math.h>
#include <string.h>

#include "flight.h"
#include "lua_flight.h"
#include "lua_util.h"
#include "pcapng.h"

static void push_frame(lua_State *L, const struct mlb_flight_frame *frame)
{
	lua_createtable(L, 0, 5);
	lua_pushnumber(L, (lua_Number)frame->at_us / 1e6);
	lua_setfield(L, -2, "at");
	lua_pushinteger(L, frame->index);
	lua_setfield(L, -2, "index");
	lua_pushstring(L, frame->direction == MLB_FLIGHT_OUT ? "out" : "in");
	lua_setfield(L, -2, "direction");
	lua_pushinteger(L, (lua_Integer)frame->length);
	lua_setfield(L, -2, "length");
	lua_pushlstring(L, (const char *)frame->bytes, frame->kept);
	lua_setfield(L, -2, "bytes");
}

lua_Integer mlb_push_frames(lua_State *L, struct mlb_flight *flight, lua_Integer count)
{
	uint64_t last = mlb_flight_count(flight);
	uint64_t number = last > MLB_FLIGHT_SIZE ? last - MLB_FLIGHT_SIZE : 0;
	struct mlb_flight_frame frame;

	for (; number < last; number++) {
		if (!mlb_flight_read(flight, number, &frame))
			continue;	/* overwritten meanwhile */
		push_frame(L, &frame);
		lua_seti(L, -2, ++count);
	}
	return count;
}

/* moonlb.core.flight.sent() -> array of {at = seconds of CLOCK_BOOTTIME, index =, direction =, length =, bytes =}: what the
 * loop sent last (arp, ndp: announcements and probes), oldest first. */
static int flight_sent(lua_State *L)
{
	lua_newtable(L);
	mlb_push_frames(L, mlb_flight_loop(), 0);
	return 1;
}

/* Number of the interface in the file, from the array at 2: 0 and up. */
static uint32_t interface_number(lua_State *L, lua_Integer index)
{
	lua_Integer count = luaL_len(L, 2);

	for (lua_Integer i = 1; i <= count; i++) {
		lua_geti(L, 2, i);
		lua_getfield(L, -1, "index");
		if (lua_tointeger(L, -1) == index) {
			lua_pop(L, 2);
			return (uint32_t)(i - 1);
		}
		lua_pop(L, 2);
	}
	return (uint32_t)luaL_error(L, "interface %I of a frame is not among the interfaces", index);
}

static void add_interfaces(lua_State *L, luaL_Buffer *buffer)
{
	uint8_t block[MLB_PCAPNG_BLOCK + MLB_PCAPNG_NAME];
	lua_Integer count = luaL_len(L, 2);

	luaL_addlstring(buffer, (const char *)block, mlb_pcapng_section(block));
	for (lua_Integer i = 1; i <= count; i++) {
		char name[MLB_PCAPNG_NAME + 1] = "";

		lua_geti(L, 2, i);
		lua_getfield(L, -1, "name");
		if (lua_isstring(L, -1))
			strncat(name, lua_tostring(L, -1), MLB_PCAPNG_NAME);
		lua_pop(L, 2);
		luaL_addlstring(buffer, (const char *)block, mlb_pcapng_interface(block, name));
	}
}

struct packet {
	lua_Number at;
	lua_Integer index, length;
	bool is_outbound;
	size_t kept;
	uint8_t bytes[MLB_FLIGHT_BYTES];
};

/* The frame on top of the stack, which it leaves there. */
static void read_packet(lua_State *L, struct packet *packet)
{
	int frame = lua_gettop(L);
	const char *bytes;
	size_t size;

	luaL_checktype(L, frame, LUA_TTABLE);
	lua_getfield(L, frame, "at");
	lua_getfield(L, frame, "index");
	lua_getfield(L, frame, "length");
	lua_getfield(L, frame, "direction");
	lua_getfield(L, frame, "bytes");
	packet->at = lua_tonumber(L, frame + 1);
	packet->index = lua_tointeger(L, frame + 2);
	packet->length = lua_tointeger(L, frame + 3);
	packet->is_outbound = lua_isstring(L, frame + 4) && strcmp(lua_tostring(L, frame + 4), "out") == 0;
	bytes = lua_tolstring(L, frame + 5, &size);
	if (!bytes || !(packet->at >= 0 && packet->at < 1e12) || packet->length < 0 || packet->length > UINT16_MAX)
		luaL_error(L, "frame: at, index, length, direction and bytes expected");
	packet->kept = size < MLB_FLIGHT_BYTES ? size : MLB_FLIGHT_BYTES;
	memcpy(packet->bytes, bytes, packet->kept);
	lua_settop(L, frame);
}

/* moonlb.core.flight.pcapng(frames, interfaces) -> array of texts, which together are a capture file. `frames` as `sent` gives them, but `at` in seconds
 * since 1970; `interfaces`: array of {index =, name =} with all that the frames name. */
static int flight_pcapng(lua_State *L)
{
	uint8_t block[MLB_PCAPNG_BLOCK + MLB_FLIGHT_BYTES];
	struct packet packet;
	luaL_Buffer buffer;
	lua_Integer count;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	count = luaL_len(L, 1);
	lua_newtable(L);	/* the blocks: a buffer lives on the stack, where reading frames has to work */
	luaL_buffinit(L, &buffer);
	add_interfaces(L, &buffer);
	luaL_pushresult(&buffer);
	lua_seti(L, 3, 1);
	for (lua_Integer i = 1; i <= count; i++) {
		uint32_t number;
		size_t size;

		lua_geti(L, 1, i);
		read_packet(L, &packet);
		number = interface_number(L, packet.index);
		size = mlb_pcapng_packet(block, number, packet.is_outbound, (uint64_t)llround(packet.at * 1e6), packet.bytes,
					 packet.kept, (size_t)packet.length);
		lua_pushlstring(L, (const char *)block, size);
		lua_seti(L, 3, i + 1);
		lua_pop(L, 1);
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{ "pcapng", flight_pcapng },
	{ "sent", flight_sent },
	{ NULL, NULL },
};

int luaopen_moonlb_core_flight(lua_State *L);

int luaopen_moonlb_core_flight(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
