#include "lua_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "flight.h"
#include "lua_util.h"
#include "packet.h"

#define SENDER_MT "moonlb.core.wire.sender"

struct sender {
	int fd;	/* < 0: not opened */
};

unsigned mlb_check_index(lua_State *L, int arg)
{
	lua_Integer index = luaL_checkinteger(L, arg);

	luaL_argcheck(L, index > 0 && index <= INT_MAX, arg, "interface index expected");
	return (unsigned)index;
}

void mlb_check_mac(lua_State *L, int arg, uint8_t ret_mac[MLB_MAC_SIZE])
{
	luaL_argcheck(L, mlb_mac_parse(luaL_checkstring(L, arg), ret_mac), arg, "MAC aa:bb:cc:dd:ee:ff expected");
}

void mlb_check_ipv4(lua_State *L, int arg, struct in_addr *ret_address)
{
	luaL_argcheck(L, inet_pton(AF_INET, luaL_checkstring(L, arg), ret_address) == 1, arg, "IPv4 address expected");
}

void mlb_check_ipv6(lua_State *L, int arg, struct in6_addr *ret_address)
{
	luaL_argcheck(L, inet_pton(AF_INET6, luaL_checkstring(L, arg), ret_address) == 1, arg, "IPv6 address expected");
}

void mlb_field_mac(lua_State *L, const char *name, bool is_optional, uint8_t ret_mac[MLB_MAC_SIZE])
{
	const char *text = is_optional ? mlb_opt_string(L, 1, name, "00:00:00:00:00:00") : mlb_check_string(L, 1, name);

	if (!mlb_mac_parse(text, ret_mac))
		luaL_error(L, "%s: MAC aa:bb:cc:dd:ee:ff expected, got %s", name, text);
}

void mlb_field_ipv4(lua_State *L, const char *name, struct in_addr *ret_address)
{
	const char *text = mlb_check_string(L, 1, name);

	if (inet_pton(AF_INET, text, ret_address) != 1)
		luaL_error(L, "%s: IPv4 address expected, got %s", name, text);
}

void mlb_field_ipv6(lua_State *L, const char *name, struct in6_addr *ret_address)
{
	const char *text = mlb_check_string(L, 1, name);

	if (inet_pton(AF_INET6, text, ret_address) != 1)
		luaL_error(L, "%s: IPv6 address expected, got %s", name, text);
}

void mlb_set_mac(lua_State *L, const char *name, const uint8_t mac[MLB_MAC_SIZE])
{
	char text[MLB_MAC_TEXT];

	mlb_mac_format(mac, text);
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

void mlb_set_address(lua_State *L, const char *name, int family, const void *address)
{
	char text[INET6_ADDRSTRLEN];

	lua_pushstring(L, inet_ntop(family, address, text, sizeof(text)));
	lua_setfield(L, -2, name);
}

int mlb_push_wire_error(lua_State *L, int err, const char *what, unsigned index)
{
	const char *hint = "";

	if (err == -EPERM)
		hint = " (needs CAP_NET_RAW)";
	else if (err == -EOPNOTSUPP)
		hint = " (not an Ethernet interface)";
	return mlb_push_error(L, err, "%s on interface %u%s", what, index, hint);
}

static int sender_close(lua_State *L)
{
	struct sender *sender = luaL_checkudata(L, 1, SENDER_MT);

	if (sender->fd >= 0)
		close(sender->fd);
	sender->fd = -1;
	return 0;
}

/* The one socket that announcements and probes leave by, kept until the state closes: closing an AF_PACKET socket waits for
 * a grace period of the kernel, milliseconds. It belongs to the network namespace of its first use. 0 or -errno. */
static int sender_socket(lua_State *L, int *ret_fd)
{
	static const luaL_Reg methods[] = { { NULL, NULL } };
	static const luaL_Reg metamethods[] = { { "__gc", sender_close }, { NULL, NULL } };
	struct sender *sender;
	int result = 0;

	if (lua_getfield(L, LUA_REGISTRYINDEX, SENDER_MT ".open") == LUA_TNIL) {	/* nil */
		mlb_new_class(L, SENDER_MT, methods, metamethods);
		sender = lua_newuserdatauv(L, sizeof(*sender), 0);			/* nil sender */
		sender->fd = -1;
		luaL_setmetatable(L, SENDER_MT);
		lua_pushvalue(L, -1);
		lua_setfield(L, LUA_REGISTRYINDEX, SENDER_MT ".open");
		lua_replace(L, -2);							/* sender */
	}
	sender = luaL_checkudata(L, -1, SENDER_MT);
	if (sender->fd < 0)
		result = mlb_packet_open(0, MLB_PACKET_SEND, &sender->fd);
	*ret_fd = sender->fd;
	lua_pop(L, 1);
	return result;
}

static void note_sent(unsigned index, const struct mlb_frame *frames, size_t sent)
{
	for (size_t i = 0; i < sent; i++)
		mlb_flight_note(mlb_flight_loop(), index, MLB_FLIGHT_OUT, frames[i].bytes, frames[i].length);
}

int mlb_send_one(lua_State *L, const char *what, unsigned index, const struct mlb_frame *frame)
{
	size_t sent;
	int fd, result = sender_socket(L, &fd);

	if (result == 0)
		result = mlb_packet_send(fd, index, frame, 1, 0, &sent);
	if (result < 0)
		return mlb_push_wire_error(L, result, what, index);
	note_sent(index, frame, sent);
	lua_pushboolean(L, 1);
	return 1;
}

/* The frames of every address of the list at 3, as a userdata on the stack. */
static struct mlb_frame *build_frames(lua_State *L, mlb_frames_of *frames_of, const uint8_t mac[MLB_MAC_SIZE],
				      size_t *ret_count)
{
	lua_Integer addresses = luaL_len(L, 3);
	struct mlb_frame *frames = lua_newuserdatauv(L, sizeof(*frames) * MLB_FRAMES_MOST * (size_t)addresses, 0);
	size_t count = 0;

	for (lua_Integer i = 1; i <= addresses; i++) {
		lua_geti(L, 3, i);
		count += frames_of(L, lua_gettop(L), mac, frames + count);
		lua_pop(L, 1);
	}
	*ret_count = count;
	return frames;
}

int mlb_announce(lua_State *L, const char *what, mlb_frames_of *frames_of)
{
	unsigned index = mlb_check_index(L, 1);
	uint8_t mac[MLB_MAC_SIZE];
	lua_Number patience = luaL_optnumber(L, 4, 0.01);
	const struct mlb_frame *frames;
	size_t count, sent = 0;
	lua_Integer addresses;
	int fd, result;

	mlb_check_mac(L, 2, mac);
	luaL_checktype(L, 3, LUA_TTABLE);
	luaL_argcheck(L, patience >= 0 && patience <= 10, 4, "seconds from 0 to 10 expected");
	addresses = luaL_len(L, 3);
	frames = build_frames(L, frames_of, mac, &count);
	result = sender_socket(L, &fd);
	if (result == 0)
		result = mlb_packet_send(fd, index, frames, count, (int)(patience * 1000), &sent);
	if (result < 0 && result != -ENOBUFS && result != -EAGAIN)
		return mlb_push_wire_error(L, result, what, index);
	note_sent(index, frames, sent);
	lua_pushinteger(L, count ? (lua_Integer)sent / ((lua_Integer)count / addresses) : 0);
	return 1;
}
