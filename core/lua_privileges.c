/* core/lua_privileges.c: module `moonlb.core.privileges`; mechanism is core/privileges.c. */
#include "lua_util.h"
#include "privileges.h"

#define NAMES_MOST 64

/* The array of names at `arg`; they stay valid while it does. */
static size_t check_names(lua_State *L, int arg, const char *ret_names[NAMES_MOST])
{
	lua_Unsigned count;

	luaL_checktype(L, arg, LUA_TTABLE);
	count = lua_rawlen(L, arg);
	luaL_argcheck(L, count <= NAMES_MOST, arg, "at most 64 capabilities expected");
	for (lua_Unsigned i = 0; i < count; i++) {
		luaL_argcheck(L, lua_rawgeti(L, arg, (lua_Integer)i + 1) == LUA_TSTRING, arg, "array of names expected");
		ret_names[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	return (size_t)count;
}

/* moonlb.core.privileges.drop(names) -> is_bounded | nil, message, code. Keep the capabilities in `names` ("net_admin"), as
 * far as the process has them, gain none any more, and fail in system calls that are others' jobs. `is_bounded`: nothing
 * that is executed can have others either. Call it once, before there are threads. */
static int privileges_drop(lua_State *L)
{
	const char *names[NAMES_MOST];
	size_t count = check_names(L, 1, names);
	bool is_bounded = false;
	int result = mlb_privileges_keep(names, count, &is_bounded);

	if (result < 0)
		return mlb_push_error(L, result, "capabilities");
	result = mlb_privileges_gain_none();
	if (result < 0)
		return mlb_push_error(L, result, "no_new_privs");
	result = mlb_privileges_forbid_calls();
	if (result < 0)
		return mlb_push_error(L, result, "seccomp");
	lua_pushboolean(L, is_bounded);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "drop", privileges_drop },
	{ NULL, NULL },
};

int luaopen_moonlb_core_privileges(lua_State *L);

int luaopen_moonlb_core_privileges(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
