/* core/lua_runtime.c: module `moonlb.core.runtime`; what the binary is and holds. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lua_util.h"
#include "runtime.h"

#ifndef MLB_VERSION
#error "MLB_VERSION comes from the Makefile"
#endif

/* moonlb.core.runtime.source(name) -> text | nil: an embedded Lua file, such as "policies/default.lua". */
static int runtime_source(lua_State *L)
{
	const struct mlb_embedded *file = mlb_embedded_find(luaL_checkstring(L, 1));

	if (!file)
		return luaL_pushfail(L), 1;
	lua_pushlstring(L, file->text, file->size);
	return 1;
}

/* moonlb.core.runtime.files(prefix) -> array of the embedded files' names that start with `prefix`. */
static int runtime_files(lua_State *L)
{
	size_t length;
	const char *prefix = luaL_optlstring(L, 1, "", &length);
	lua_Integer count = 0;

	lua_newtable(L);
	for (const struct mlb_embedded *file = mlb_embedded_files; file->name; file++) {
		if (strncmp(file->name, prefix, length) != 0)
			continue;
		lua_pushstring(L, file->name);
		lua_seti(L, -2, ++count);
	}
	return 1;
}

/* moonlb.core.runtime.boottime() -> seconds since boot, suspend included (CLOCK_BOOTTIME, clock_gettime(2)). */
static int runtime_boottime(lua_State *L)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
	return 1;
}

/* moonlb.core.runtime.walltime() -> seconds since 1970, fractions included (CLOCK_REALTIME). */
static int runtime_walltime(lua_State *L)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
	return 1;
}

/* moonlb.core.runtime.callback_errors() -> errors caught at the boundary of callbacks since start. */
static int runtime_callback_errors(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)mlb_callback_errors());
	return 1;
}

/* moonlb.core.runtime.long_callbacks() -> count, seconds: how many held the loop for over 20 ms, and the longest. */
static int runtime_long_callbacks(lua_State *L)
{
	double longest;

	lua_pushinteger(L, (lua_Integer)mlb_long_callbacks(&longest));
	lua_pushnumber(L, longest);
	return 2;
}

/* moonlb.core.runtime.memory() -> {rss, anonymous}: bytes, from /proc/self/status (proc(5)), zeros when unreadable. */
static int runtime_memory(lua_State *L)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long rss = 0, anonymous = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "VmRSS: %lu", &rss);
		sscanf(line, "RssAnon: %lu", &anonymous);
	}
	if (file)
		fclose(file);
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, (lua_Integer)rss * 1024);
	lua_setfield(L, -2, "rss");
	lua_pushinteger(L, (lua_Integer)anonymous * 1024);
	lua_setfield(L, -2, "anonymous");
	return 1;
}

/* moonlb.core.runtime.trim(): free heap pages go back to the kernel (malloc_trim(3)). */
static int runtime_trim(lua_State *L)
{
	(void)L;
	malloc_trim(0);
	return 0;
}

static const luaL_Reg functions[] = {
	{ "boottime", runtime_boottime },
	{ "callback_errors", runtime_callback_errors },
	{ "files", runtime_files },
	{ "long_callbacks", runtime_long_callbacks },
	{ "memory", runtime_memory },
	{ "source", runtime_source },
	{ "trim", runtime_trim },
	{ "walltime", runtime_walltime },
	{ NULL, NULL },
};

int luaopen_moonlb_core_runtime(lua_State *L);

int luaopen_moonlb_core_runtime(lua_State *L)
{
	luaL_newlib(L, functions);
	lua_pushliteral(L, MLB_VERSION);
	lua_setfield(L, -2, "version");
	return 1;
}
