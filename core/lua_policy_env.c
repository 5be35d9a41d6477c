/* core/lua_policy_env.c: the environment of a policy. Left out: whatever reads or writes the world, loads code, or
 * would run the policy's code where the count hook does not (coroutine, __gc, Lua message handlers), and math.random, for
 * a decision asked twice says the same. Bounded: whatever could keep C busy, which the hook cannot interrupt. */
#include "lua_policy_env.h"

#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "policy_sandbox.h"

#define PARTS_KEY "moonlb.policy.environment"
#define STRING_MAX (1 << 20)	/* bytes that string.rep may make */
#define BYTES_A_UNIT 16		/* bytes of a string that C looks at in the time of an instruction */

/* next() of what lies below a frozen table, whatever table it is given. */
static int frozen_next(lua_State *L)
{
	lua_settop(L, 2);
	return lua_next(L, lua_upvalueindex(1)) ? 2 : 0;
}

/* pairs() of a frozen table would be empty: walk what lies below, which the caller does not get to see. */
static int frozen_pairs(lua_State *L)
{
	lua_settop(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushcclosure(L, frozen_next, 1);
	lua_insert(L, 1);
	lua_pushnil(L);					/* iterator view nil */
	return 3;
}

static int frozen_newindex(lua_State *L)
{
	if (lua_type(L, 2) == LUA_TSTRING)
		return luaL_error(L, "cannot change '%s' of a table that is not yours", lua_tostring(L, 2));
	return luaL_error(L, "cannot change a table that is not yours");
}

int mlb_policy_freeze(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_newtable(L);
	lua_createtable(L, 0, 4);			/* view mt */
	lua_pushvalue(L, 1);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, frozen_newindex);
	lua_setfield(L, -2, "__newindex");
	lua_pushvalue(L, 1);
	lua_pushcclosure(L, frozen_pairs, 1);
	lua_setfield(L, -2, "__pairs");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	return 1;
}

/* setmetatable without __gc: a finalizer runs with hooks off. One put into the metatable later is ignored by Lua. */
static int base_setmetatable(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2, "nil or table");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	if (lua_istable(L, 2)) {
		lua_pushliteral(L, "__gc");
		if (lua_rawget(L, 2) != LUA_TNIL)
			return luaL_error(L, "__gc is not available to a policy");
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

static int base_rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 3);
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a table that is not yours");
	lua_settop(L, 3);
	lua_rawset(L, 1);
	return 1;
}

/* xpcall whose handler runs after the stack is unwound: Lua would run it in the hook that raised, with hooks off. */
static int base_xpcall(lua_State *L)
{
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushvalue(L, 2);
	lua_insert(L, 1);				/* handler fn handler args... */
	lua_remove(L, 3);
	if (lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0) == LUA_OK) {
		lua_pushboolean(L, 1);
		lua_replace(L, 1);
		return lua_gettop(L);
	}
	lua_pushboolean(L, 0);				/* handler error false */
	lua_insert(L, 1);
	lua_call(L, 1, LUA_MULTRET);
	return lua_gettop(L);
}

/* The text of a value without its address, which differs from run to run. Lua shows it behind a __name as well. */
static void push_text(lua_State *L, int arg)
{
	if (lua_type(L, arg) > LUA_TSTRING) {
		if (luaL_getmetafield(L, arg, "__tostring") == LUA_TNIL) {
			lua_pushstring(L, luaL_typename(L, arg));
			return;
		}
		lua_pop(L, 1);
	}
	luaL_tolstring(L, arg, NULL);
}

int mlb_policy_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	push_text(L, 1);
	return 1;
}

/* A function of the library, after a charge for its first argument's length. None of those wrapped has upvalues. */
static int charged(lua_State *L)
{
	size_t length = lua_type(L, 1) == LUA_TSTRING ? lua_rawlen(L, 1) : 0;

	mlb_policy_charge(L, length / BYTES_A_UNIT);
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int string_rep(lua_State *L)
{
	size_t length, separator;
	lua_Integer count = luaL_checkinteger(L, 2);
	size_t each;

	luaL_checklstring(L, 1, &length);
	luaL_optlstring(L, 3, "", &separator);
	each = length + separator;
	if (count <= 0 || each == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if (each > STRING_MAX || (lua_Unsigned)count > STRING_MAX / each)
		return luaL_error(L, "string.rep would make more than %d bytes", STRING_MAX);
	mlb_policy_charge(L, each * (size_t)count / BYTES_A_UNIT);
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* string.format without addresses: no %p, and %s as tostring above. A format goes on behind a zero byte. */
static int string_format(lua_State *L)
{
	size_t length;
	const char *at = luaL_checklstring(L, 1, &length), *end = at + length;
	int top = lua_gettop(L), arg = 1;

	while ((at = memchr(at, '%', (size_t)(end - at)))) {
		at++;
		if (*at != '%') {
			arg++;
			at += strspn(at, "-+ #0123456789.");
		}
		if (*at == 'p')
			return luaL_error(L, "string.format: %%p is not available to a policy");
		if (*at == 's' && arg <= top) {
			push_text(L, arg);
			lua_replace(L, arg);
		}
		if (at < end)
			at++;
	}
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The table functions of C loop as far as a __len or __index says: plain tables only, and charged by their length. */
static int table_plain(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	if (lua_getmetatable(L, 1))
		return luaL_argerror(L, 1, "a table without metatable expected");
	mlb_policy_charge(L, lua_rawlen(L, 1) / 4);
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int table_sort(lua_State *L)
{
	uint64_t units = 0;
	size_t left;

	luaL_checktype(L, 1, LUA_TTABLE);
	for (left = lua_rawlen(L, 1); left > 1; left /= 2)
		units += lua_rawlen(L, 1);
	mlb_policy_charge(L, units);
	return table_plain(L);
}

/* Adding at the end is what most calls do, and costs nothing. */
static int table_insert(lua_State *L)
{
	if (lua_gettop(L) == 2 && lua_istable(L, 1) && !lua_getmetatable(L, 1))
		return lua_tocfunction(L, lua_upvalueindex(1))(L);
	return table_plain(L);
}

static const char *const base_names[] = {
	"assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen",
	"select", "tonumber", "type", "_VERSION", NULL,
};
static const luaL_Reg base_own[] = {
	{ "rawset", base_rawset },
	{ "setmetatable", base_setmetatable },
	{ "tostring", mlb_policy_tostring },
	{ "xpcall", base_xpcall },
	{ NULL, NULL },
};

static const luaL_Reg string_wrapped[] = {
	{ "byte", charged },
	{ "char", charged },
	{ "format", string_format },
	{ "len", charged },
	{ "lower", charged },
	{ "rep", string_rep },
	{ "reverse", charged },
	{ "sub", charged },
	{ "upper", charged },
	{ NULL, NULL },
};
static const luaL_Reg table_wrapped[] = {
	{ "concat", table_plain },
	{ "insert", table_insert },
	{ "remove", table_plain },
	{ "sort", table_sort },
	{ "unpack", table_plain },
	{ NULL, NULL },
};
static const luaL_Reg utf8_wrapped[] = {
	{ "codepoint", charged },
	{ "len", charged },
	{ "offset", charged },
	{ NULL, NULL },
};

static void wrap_functions(lua_State *L, int to, int library, const luaL_Reg *wrapped)
{
	for (; wrapped->name; wrapped++) {
		lua_getfield(L, library, wrapped->name);
		lua_pushcclosure(L, wrapped->func, 1);
		lua_setfield(L, to, wrapped->name);
	}
}

static void copy_fields(lua_State *L, int to, int library, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, library, *names);
		lua_setfield(L, to, *names);
	}
}

/* Leaves a new table, set as field `name` of the parts at index 1 as well, and the library of that name above it. */
static void begin_library(lua_State *L, const char *name)
{
	lua_settop(L, 1);
	lua_newtable(L);				/* parts own */
	lua_pushvalue(L, 2);
	lua_setfield(L, 1, name);
	lua_getglobal(L, name);				/* parts own library */
}

static void open_base(lua_State *L)
{
	lua_settop(L, 1);
	lua_newtable(L);
	lua_pushvalue(L, 2);
	lua_setfield(L, 1, "base");
	lua_pushglobaltable(L);
	copy_fields(L, 2, 3, base_names);
	lua_settop(L, 2);
	luaL_setfuncs(L, base_own, 0);
}

static void copy_all(lua_State *L, int to, int from)
{
	for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, to);
	}
}

/* Our own code calls methods of strings where no limit holds: they are in a table that nobody has a view of. */
static void open_string(lua_State *L)
{
	begin_library(L, LUA_STRLIBNAME);
	wrap_functions(L, 2, 3, string_wrapped);
	lua_settop(L, 2);
	mlb_policy_add_matching(L);
	lua_pushliteral(L, "");
	lua_getmetatable(L, 3);				/* parts own "" mt: one for all strings */
	lua_newtable(L);
	copy_all(L, 5, 2);
	lua_setfield(L, 4, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
}

static void open_rest(lua_State *L)
{
	static const char *const pack[] = { "pack", NULL };
	static const char *const utf8_plain[] = { "char", "charpattern", "codes", NULL };

	begin_library(L, LUA_TABLIBNAME);
	wrap_functions(L, 2, 3, table_wrapped);
	copy_fields(L, 2, 3, pack);
	begin_library(L, LUA_UTF8LIBNAME);
	wrap_functions(L, 2, 3, utf8_wrapped);
	copy_fields(L, 2, 3, utf8_plain);
	begin_library(L, LUA_MATHLIBNAME);
	copy_all(L, 2, 3);
	lua_pushnil(L);
	lua_setfield(L, 2, "random");
	lua_pushnil(L);
	lua_setfield(L, 2, "randomseed");
}

static int build_parts(lua_State *L)
{
	lua_newtable(L);
	open_base(L);
	open_string(L);
	open_rest(L);
	lua_settop(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, PARTS_KEY);
	return 0;
}

void mlb_policy_open_environment(lua_State *L)
{
	lua_pushcfunction(L, build_parts);
	lua_call(L, 0, 0);
}

int mlb_policy_environment(lua_State *L)
{
	static const char *const libraries[] = { LUA_STRLIBNAME, LUA_TABLIBNAME, LUA_MATHLIBNAME, LUA_UTF8LIBNAME };

	lua_settop(L, 0);
	lua_getfield(L, LUA_REGISTRYINDEX, PARTS_KEY);	/* parts */
	lua_newtable(L);				/* parts environment */
	lua_getfield(L, 1, "base");
	copy_all(L, 2, 3);
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		lua_settop(L, 2);
		lua_pushcfunction(L, mlb_policy_freeze);
		lua_getfield(L, 1, libraries[i]);
		lua_call(L, 1, 1);
		lua_setfield(L, 2, libraries[i]);
	}
	lua_settop(L, 2);
	return 1;
}
