#include "runtime.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <lua-cjson.h>	/* uses lua.h without including it */
#include <luv/luv.h>
#include <uv.h>

#include "log.h"
#include "lua_modules.h"
#include "lua_util.h"

int luaopen_yaml(lua_State *L);		/* the C half of lua-yaml ships no header */
int luaopen_cjson_safe(lua_State *L);	/* not in lua-cjson.h */

const struct mlb_embedded *mlb_embedded_find(const char *name)
{
	for (const struct mlb_embedded *file = mlb_embedded_files; file->name; file++)
		if (strcmp(file->name, name) == 0)
			return file;
	return NULL;
}

int mlb_traceback(lua_State *L)
{
	const char *message = lua_tostring(L, 1);

	if (!message)	/* an error object that is no string: name its type, run none of its code */
		message = lua_pushfstring(L, "(error object is a %s)", luaL_typename(L, 1));
	luaL_traceback(L, L, message, 1);
	return 1;
}

/* luv's own handler ends the process on an error; this one logs it and the loop goes on. The result is the
 * number of values left on the stack, or minus the status (luv.h, luv_CFpcall). */
static int luv_pcall(lua_State *L, int nargs, int nresults, int flags)
{
	int base = lua_gettop(L) - nargs;
	uint64_t began = uv_hrtime();
	int status;

	(void)flags;
	lua_pushcfunction(L, mlb_traceback);
	lua_insert(L, base);
	status = lua_pcall(L, nargs, nresults, base);
	mlb_callback_ended("callback", began);
	lua_remove(L, base);
	if (status != LUA_OK) {
		mlb_callback_failed("callback", lua_tostring(L, -1));
		lua_settop(L, base - 1);
		return -status;
	}
	return lua_gettop(L) - base + 1;
}

static const struct mlb_embedded *find_module(lua_State *L, const char *module)
{
	const char *path = luaL_gsub(L, module, ".", "/");
	const struct mlb_embedded *file = mlb_embedded_find(lua_pushfstring(L, "%s.lua", path));

	return file ? file : mlb_embedded_find(lua_pushfstring(L, "%s/init.lua", path));
}

/* package.searchers entry: the module's file in the binary. */
static int search_embedded(lua_State *L)
{
	const char *module = luaL_checkstring(L, 1);
	const struct mlb_embedded *file = find_module(L, module);

	if (!file) {
		lua_pushfstring(L, "no file '%s' in the binary", module);
		return 1;
	}
	lua_pushfstring(L, "@lua/%s", file->name);
	if (luaL_loadbufferx(L, file->text, file->size, lua_tostring(L, -1), "t") != LUA_OK)
		return lua_error(L);
	lua_pushstring(L, file->name);
	return 2;
}

/* Replace the default searchers: a daemon that runs as root loads nothing from the working directory. */
static void set_searchers(lua_State *L)
{
	const char *folder = getenv("MOONLB_LUA_PATH");
	int next = 2;					/* [1] is package.preload */

	lua_getglobal(L, "package");			/* package */
	lua_getfield(L, -1, "searchers");		/* package searchers */
	if (folder && folder[0] == '/') {
		lua_pushfstring(L, "%s/?.lua;%s/?/init.lua", folder, folder);
		lua_setfield(L, -3, "path");
		next = 3;				/* [2] searches package.path */
	}
	lua_pushcfunction(L, search_embedded);
	lua_seti(L, -2, next++);
	for (; lua_geti(L, -1, next) != LUA_TNIL; next++) {
		lua_pop(L, 1);
		lua_pushnil(L);
		lua_seti(L, -2, next);
	}
	lua_pop(L, 1);					/* package searchers */
	lua_pushliteral(L, "");
	lua_setfield(L, -3, "cpath");
	lua_pop(L, 2);
}

static void preload(lua_State *L, const char *name, lua_CFunction open)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, open);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
}

static int out_of_memory(lua_State *L)
{
	const char *message = lua_tostring(L, -1);

	mlb_log(MLB_LOG_ERROR, "fatal: %s", message ? message : "unprotected Lua error");
	return 0;	/* Lua aborts */
}

/* Runs as the last finalizer of lua_close: by then each handle has been closed by its own, and luv's close callbacks still need
 * the state. */
static int finish_closing(lua_State *L)
{
	while (uv_run(luv_loop(L), UV_RUN_DEFAULT) != 0)
		;
	return 0;
}

/* lua_close calls finalizers in the reverse order of their marking (manual, 2.5.3): this one is the first marked. */
static void finish_closing_last(lua_State *L)
{
	lua_newuserdatauv(L, 0, 0);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, finish_closing);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	luaL_ref(L, LUA_REGISTRYINDEX);
}

lua_State *mlb_runtime_open(uv_loop_t *loop)
{
	lua_State *L = luaL_newstate();

	if (!L) {
		mlb_log(MLB_LOG_ERROR, "fatal: not enough memory for a Lua state");
		abort();
	}
	signal(SIGPIPE, SIG_IGN);
	*(void **)lua_getextraspace(L) = NULL;	/* no policy's sandbox (policy_sandbox_impl.h) */
	lua_atpanic(L, out_of_memory);
	finish_closing_last(L);
	luaL_openlibs(L);
	luv_set_loop(L, loop);
	luv_set_callback(L, luv_pcall);
	preload(L, "luv", luaopen_luv);
	preload(L, "cjson", luaopen_cjson);
	preload(L, "cjson.safe", luaopen_cjson_safe);
	preload(L, "yaml", luaopen_yaml);
	for (const luaL_Reg *module = mlb_lua_modules; module->name; module++)
		preload(L, module->name, module->func);
	set_searchers(L);
	luaL_requiref(L, "luv", luaopen_luv, 0);	/* before any binding asks for its loop */
	lua_settop(L, 0);
	return L;
}

/* Runs protected: arguments are module name, argv as light data (count, pointer). */
static int run_main(lua_State *L)
{
	const char *module = lua_tostring(L, 1);
	int argc = (int)lua_tointeger(L, 2);
	char **argv = lua_touserdata(L, 3);

	lua_getglobal(L, "require");
	lua_pushstring(L, module);
	lua_call(L, 1, 1);				/* module */
	lua_getfield(L, -1, "main");
	lua_createtable(L, argc, 1);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_seti(L, -2, i);			/* [0] is the program, as in lua(1) */
	}
	lua_call(L, 1, 1);
	return 1;
}

int mlb_runtime_main(lua_State *L, const char *module, int argc, char **argv)
{
	int code;

	lua_pushcfunction(L, mlb_traceback);
	lua_pushcfunction(L, run_main);
	lua_pushstring(L, module);
	lua_pushinteger(L, argc);
	lua_pushlightuserdata(L, argv);
	if (lua_pcall(L, 3, 1, 1) != LUA_OK) {
		fprintf(stderr, "moonlb: %s\n", lua_tostring(L, -1));
		code = EX_SOFTWARE;
	} else {
		code = (int)luaL_optinteger(L, -1, 0);
	}
	lua_settop(L, 0);
	return code;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
	(void)unused;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void note_closing(uv_handle_t *handle, void *ret_is_closing)
{
	if (uv_is_closing(handle))
		*(bool *)ret_is_closing = true;
}

/* luv frees a handle that is still closing when lua_close finalizes it: let those end before. Each turn ends the ones that
 * were closing when it began; callbacks may close more, but not for ever. */
static void settle_closing(uv_loop_t *loop)
{
	for (int turn = 0; turn < 100; turn++) {
		bool is_closing = false;

		uv_walk(loop, note_closing, &is_closing);
		if (!is_closing)
			return;
		uv_run(loop, UV_RUN_NOWAIT);
	}
}

void mlb_runtime_close(lua_State *L, uv_loop_t *loop)
{
	settle_closing(loop);
	lua_close(L);	/* first: luv's and our own finalizers close what they own */
	uv_run(loop, UV_RUN_NOWAIT);
	uv_walk(loop, close_handle, NULL);
	while (uv_run(loop, UV_RUN_DEFAULT) != 0)
		;
	uv_loop_close(loop);
}
