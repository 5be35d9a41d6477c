/* core/lua_peer.c: module `moonlb.core.peer`; mechanism is SO_PEERCRED of unix(7). */
#include <errno.h>
#include <sys/socket.h>

#include "lua_util.h"

/* moonlb.core.peer.credentials(fd) -> uid, pid | nil, message, code: who was at the other end of a connected Unix stream
 * socket when the connection was made, as the kernel knows it. */
static int peer_credentials(lua_State *L)
{
	lua_Integer fd = luaL_checkinteger(L, 1);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	luaL_argcheck(L, fd >= 0 && fd <= INT32_MAX, 1, "a descriptor expected");
	if (getsockopt((int)fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return mlb_push_error(L, errno, "SO_PEERCRED");
	if (size != sizeof(peer) || peer.uid == (uid_t)-1)
		return mlb_push_error(L, ENOTCONN, "SO_PEERCRED");
	lua_pushinteger(L, peer.uid);
	lua_pushinteger(L, peer.pid);
	return 2;
}

static const luaL_Reg functions[] = {
	{ "credentials", peer_credentials },
	{ NULL, NULL },
};

int luaopen_moonlb_core_peer(lua_State *L);

int luaopen_moonlb_core_peer(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
