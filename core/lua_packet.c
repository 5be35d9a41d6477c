/* core/lua_packet.c: module `moonlb.core.packet`; mechanism is core/packet.c. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lua_util.h"
#include "lua_wire.h"
#include "packet.h"

#define SOCKET_MT "moonlb.core.packet.socket"
#define FRAME_MOST 2048		/* DHCP servers send no more than option 57 allows */
#define FRAMES_A_TURN 32	/* then others on the loop have a turn */

struct receiver {
	uv_poll_t poll;
	lua_State *L;
	int fd;
	int callback;
	int owner;
	bool is_stopped;
};

struct handle {
	struct receiver *receiver;	/* NULL: closed */
	unsigned index;
};

static struct handle *check_socket(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, SOCKET_MT);

	luaL_argcheck(L, handle->receiver, 1, "socket is closed");
	return handle;
}

static void on_closed(uv_handle_t *handle)
{
	struct receiver *receiver = handle->data;

	close(receiver->fd);
	free(receiver);
}

static void stop(lua_State *L, struct receiver *receiver)
{
	receiver->is_stopped = true;
	mlb_unpin(L, &receiver->callback);
	mlb_unpin(L, &receiver->owner);
	uv_close((uv_handle_t *)&receiver->poll, on_closed);
}

/* libuv takes the POLLERR of an interface that went down for the descriptor's end and stops polling; reading the error clears
 * it, and the socket works again when the interface is up. The receiver lives until the loop's next turn at least. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct receiver *receiver = poll->data;
	lua_State *L = receiver->L;
	uint8_t frame[FRAME_MOST];
	size_t length;
	int result;

	(void)events;
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_readable);
	for (int i = 0; i < FRAMES_A_TURN && !receiver->is_stopped; i++) {
		result = mlb_packet_receive(receiver->fd, frame, sizeof(frame), &length);
		if (result == -EAGAIN)
			return;
		if (result < 0)
			continue;
		lua_rawgeti(L, LUA_REGISTRYINDEX, receiver->callback);
		lua_pushlstring(L, (const char *)frame, length);
		mlb_call(L, 1, "packet socket");
	}
}

static int start_receiver(lua_State *L, struct receiver *receiver, int owner)
{
	int result = uv_poll_init(mlb_loop(L), &receiver->poll, receiver->fd);

	if (result < 0) {
		close(receiver->fd);
		free(receiver);
		return result;
	}
	receiver->poll.data = receiver;
	receiver->L = mlb_main_state(L);
	receiver->callback = mlb_pin(L, 2);
	receiver->owner = mlb_pin(L, owner);
	result = uv_poll_start(&receiver->poll, UV_READABLE, on_readable);
	if (result < 0)
		stop(L, receiver);
	return result;
}

static int open_socket(lua_State *L, enum mlb_packet_kind kind)
{
	unsigned index = mlb_check_index(L, 1);
	struct receiver *receiver;
	struct handle *handle;
	int result, fd;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	handle = lua_newuserdatauv(L, sizeof(*handle), 0);
	*handle = (struct handle){ .index = index };
	luaL_setmetatable(L, SOCKET_MT);
	result = mlb_packet_open(index, kind, &fd);
	if (result < 0)
		return mlb_push_wire_error(L, result, "packet socket", index);
	receiver = calloc(1, sizeof(*receiver));
	if (!receiver) {
		close(fd);
		return luaL_error(L, "out of memory");
	}
	receiver->fd = fd;
	result = start_receiver(L, receiver, lua_gettop(L));
	if (result < 0)
		return mlb_push_wire_error(L, result, "packet socket", index);
	handle->receiver = receiver;
	return 1;
}

/* moonlb.core.packet.dhcp_socket(index, on_frame) -> socket | nil, message, code: on_frame(frame) on the loop. */
static int packet_dhcp_socket(lua_State *L)
{
	return open_socket(L, MLB_PACKET_DHCP);
}

/* moonlb.core.packet.dhcp6_socket(index, on_frame): the same for DHCPv6. */
static int packet_dhcp6_socket(lua_State *L)
{
	return open_socket(L, MLB_PACKET_DHCP6);
}

/* moonlb.core.packet.arp_socket(index, on_frame): the same for ARP requests and replies. */
static int packet_arp_socket(lua_State *L)
{
	return open_socket(L, MLB_PACKET_ARP);
}

/* moonlb.core.packet.nd_socket(index, on_frame): the same for neighbour solicitations and advertisements. */
static int packet_nd_socket(lua_State *L)
{
	return open_socket(L, MLB_PACKET_ND);
}

/* socket:send(frame) -> true | nil, message, code */
static int socket_send(lua_State *L)
{
	struct handle *handle = check_socket(L);
	size_t length;
	const char *frame = luaL_checklstring(L, 2, &length);
	int result;

	luaL_argcheck(L, length >= MLB_ETHER_HEADER, 2, "Ethernet frame expected");
	result = mlb_packet_send_bytes(handle->receiver->fd, (const uint8_t *)frame, length);
	if (result < 0)
		return mlb_push_wire_error(L, result, "sending", handle->index);
	lua_pushboolean(L, 1);
	return 1;
}

/* socket:close(); also __gc and __close. Idempotent; no frame comes after it. */
static int socket_close(lua_State *L)
{
	struct handle *handle = luaL_checkudata(L, 1, SOCKET_MT);
	struct receiver *receiver = handle->receiver;

	handle->receiver = NULL;
	if (receiver)
		stop(L, receiver);
	return 0;
}

static const luaL_Reg functions[] = {
	{ "arp_socket", packet_arp_socket },
	{ "dhcp6_socket", packet_dhcp6_socket },
	{ "dhcp_socket", packet_dhcp_socket },
	{ "nd_socket", packet_nd_socket },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "close", socket_close },
	{ "send", socket_send },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", socket_close },
	{ "__gc", socket_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_packet(lua_State *L);

int luaopen_moonlb_core_packet(lua_State *L)
{
	mlb_new_class(L, SOCKET_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
