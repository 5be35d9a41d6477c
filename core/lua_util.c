#include "lua_util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <luv/luv.h>

#include "log.h"
#include "runtime.h"

#define LONG_CALLBACK_NS (20 * 1000 * 1000)

static unsigned long callback_errors;
static unsigned long long_callbacks;
static uint64_t longest_callback_ns;

const char *mlb_errno_name(int err)
{
	const char *name = strerrorname_np(abs(err));

	return name ? name : "EUNKNOWN";
}

int mlb_push_failure(lua_State *L, const char *message, const char *code)
{
	luaL_pushfail(L);
	lua_pushstring(L, message);
	lua_pushstring(L, code);
	return 3;
}

int mlb_push_error(lua_State *L, int err, const char *what, ...)
{
	char operation[256];
	va_list args;

	va_start(args, what);
	vsnprintf(operation, sizeof(operation), what, args);
	va_end(args);
	luaL_pushfail(L);
	lua_pushfstring(L, "%s: %s", operation, strerror(abs(err)));
	lua_pushstring(L, mlb_errno_name(err));
	return 3;
}

void mlb_push_error_table(lua_State *L, const char *message, const char *code)
{
	lua_createtable(L, 0, 2);
	lua_pushstring(L, message);
	lua_setfield(L, -2, "message");
	lua_pushstring(L, code);
	lua_setfield(L, -2, "code");
}

bool mlb_call(lua_State *L, int nargs, const char *who)
{
	int base = lua_gettop(L) - nargs;
	uint64_t began = uv_hrtime();
	int status;

	lua_pushcfunction(L, mlb_traceback);
	lua_insert(L, base);
	status = lua_pcall(L, nargs, 0, base);
	mlb_callback_ended(who, began);
	if (status != LUA_OK)
		mlb_callback_failed(who, lua_tostring(L, -1));
	lua_settop(L, base - 1);
	return status == LUA_OK;
}

void mlb_callback_failed(const char *who, const char *message)
{
	callback_errors++;
	mlb_log(MLB_LOG_ERROR, "%s: %s", who, message ? message : "(error object is not a string)");
}

void mlb_callback_ended(const char *who, uint64_t began)
{
	uint64_t held = uv_hrtime() - began;

	if (held > longest_callback_ns)
		longest_callback_ns = held;
	if (held < LONG_CALLBACK_NS)
		return;
	long_callbacks++;
	mlb_log(MLB_LOG_DEBUG, "%s held the loop for %llu ms", who, (unsigned long long)(held / 1000000));
}

unsigned long mlb_long_callbacks(double *ret_longest_s)
{
	*ret_longest_s = (double)longest_callback_ns / 1e9;
	return long_callbacks;
}

unsigned long mlb_callback_errors(void)
{
	return callback_errors;
}

lua_State *mlb_main_state(lua_State *L)
{
	lua_State *main_state;

	lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
	main_state = lua_tothread(L, -1);
	lua_pop(L, 1);
	return main_state;
}

uv_loop_t *mlb_loop(lua_State *L)
{
	return luv_loop(L);
}

void mlb_new_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods)
{
	luaL_newmetatable(L, name);			/* mt */
	luaL_setfuncs(L, metamethods, 0);
	lua_newtable(L);				/* mt methods */
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");			/* mt */
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

const char *mlb_opt_string(lua_State *L, int table, const char *field, const char *fallback)
{
	const char *value = fallback;
	int type = lua_getfield(L, table, field);

	if (type == LUA_TSTRING)
		value = lua_tostring(L, -1);
	else if (type != LUA_TNIL)
		luaL_error(L, "%s: string expected, got %s", field, lua_typename(L, type));
	lua_pop(L, 1);
	return value;
}

const char *mlb_check_string(lua_State *L, int table, const char *field)
{
	const char *value = mlb_opt_string(L, table, field, NULL);

	if (!value)
		luaL_error(L, "%s: string expected, got nil", field);
	return value;
}

lua_Integer mlb_opt_integer(lua_State *L, int table, const char *field, lua_Integer fallback,
			    lua_Integer least, lua_Integer most)
{
	lua_Integer value = fallback;

	if (lua_getfield(L, table, field) != LUA_TNIL) {
		int is_integer;

		value = lua_tointegerx(L, -1, &is_integer);
		if (!is_integer || value < least || value > most)
			luaL_error(L, "%s: integer from %I to %I expected", field, least, most);
	}
	lua_pop(L, 1);
	return value;
}

bool mlb_opt_boolean(lua_State *L, int table, const char *field, bool fallback)
{
	bool value = fallback;

	if (lua_getfield(L, table, field) != LUA_TNIL)
		value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

int mlb_pin(lua_State *L, int arg)
{
	lua_pushvalue(L, arg);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

void mlb_unpin(lua_State *L, int *ref)
{
	luaL_unref(L, LUA_REGISTRYINDEX, *ref);
	*ref = LUA_NOREF;
}
