#include "policy_sandbox_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "lua_modules.h"
#include "lua_policy_env.h"
#include "lua_policy_value.h"
#include "policy_value.h"
#include "runtime.h"

#define GARBAGE (256 << 10)	/* bytes made since the last collection that are worth one */
#define FULL_GARBAGE (2 << 20)	/* bytes that are worth a full one, however full the heap is */
#define CHUNK_KEY "moonlb.policy.chunk"

const struct mlb_policy_limits mlb_policy_default_limits = {
	.memory = 16 << 20,
	.budget = 4000000,
	.soft_ms = 60,
	.hard_ms = 100,
	.trusted_ms = 2000,
};

static int call_exposed(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

int mlb_policy_expose(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_pushcclosure(L, call_exposed, 1);
	return 1;
}

/* load(text, name, environment) -> function | nil, message: compile the policy; text only, never bytecode. */
static int load_policy(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);

	luaL_checktype(L, 3, LUA_TTABLE);
	lua_pushfstring(L, "@%s", luaL_checkstring(L, 2));
	mlb_policy_sandbox_of(L)->chunk = lua_tostring(L, -1);
	lua_setfield(L, LUA_REGISTRYINDEX, CHUNK_KEY);
	if (luaL_loadbufferx(L, text, length, mlb_policy_sandbox_of(L)->chunk, "t") != LUA_OK) {
		luaL_pushfail(L);
		lua_insert(L, -2);
		return 2;
	}
	lua_pushvalue(L, 3);
	lua_setupvalue(L, -2, 1);			/* a main chunk has one upvalue, _ENV */
	return 1;
}

/* unpack(bytes) -> value: what the host has packed. Not checked first: the host is no enemy, and mlb_policy_push
 * raises where bytes are missing. */
static int unpack(lua_State *L)
{
	size_t length;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &length);
	struct mlb_policy_reader reader = { bytes, bytes + length };

	mlb_policy_push(L, &reader);
	return 1;
}

/* line() -> the line of the policy that is running; 0 when none is. */
static int line(lua_State *L)
{
	const char *chunk = mlb_policy_sandbox_of(L)->chunk;

	lua_pushinteger(L, chunk ? mlb_policy_line(L, chunk) : 0);
	return 1;
}

/* line_of(function) -> the line it is defined on; 0 for a function of C. */
static int line_of(lua_State *L)
{
	lua_Debug ar;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_getinfo(L, ">S", &ar);
	lua_pushinteger(L, ar.linedefined > 0 ? ar.linedefined : 0);
	return 1;
}

/* set_memory(bytes): a larger cluster needs a larger replica. */
static int set_memory(lua_State *L)
{
	mlb_policy_sandbox_of(L)->limits.memory = (size_t)luaL_checkinteger(L, 1);
	return 0;
}

/* memory() -> used, limit: bytes of the Lua heap. */
static int memory(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)mlb_policy_sandbox_of(L)->used);
	lua_pushinteger(L, (lua_Integer)mlb_policy_sandbox_of(L)->limits.memory);
	return 2;
}

static const luaL_Reg native[] = {
	{ "environment", mlb_policy_environment },
	{ "expose", mlb_policy_expose },
	{ "freeze", mlb_policy_freeze },
	{ "guard", mlb_policy_guard },
	{ "line", line },
	{ "line_of", line_of },
	{ "load", load_policy },
	{ "memory", memory },
	{ "set_memory", set_memory },
	{ "suspend", mlb_policy_suspend },
	{ "tostring", mlb_policy_tostring },
	{ "unpack", unpack },
	{ NULL, NULL },
};

/* Of the core, our own Lua in here may use what only computes. */
static lua_CFunction core_module(const char *name)
{
	if (strcmp(name, "moonlb.core.address") != 0)
		return NULL;
	for (const luaL_Reg *module = mlb_lua_modules; module->name; module++)
		if (strcmp(module->name, name) == 0)
			return module->func;
	return NULL;
}

/* require for our own Lua: files of the binary. */
static int require_embedded(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct mlb_embedded *file;

	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);	/* name loaded */
	if (lua_getfield(L, 2, name) != LUA_TNIL)
		return 1;
	if (core_module(name)) {
		luaL_requiref(L, name, core_module(name), 0);
		return 1;
	}
	file = mlb_embedded_find(lua_pushfstring(L, "%s.lua", luaL_gsub(L, name, ".", "/")));
	if (!file)
		return luaL_error(L, "module '%s' is not available to a policy's state", name);
	if (luaL_loadbufferx(L, file->text, file->size, lua_pushfstring(L, "@lua/%s", file->name), "t") != LUA_OK)
		return lua_error(L);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

/* Of os, our own Lua needs only os.date, which computes. */
static void keep_date_alone(lua_State *L)
{
	luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
	lua_createtable(L, 0, 1);
	lua_getfield(L, -2, "date");
	lua_setfield(L, -2, "date");
	lua_setglobal(L, LUA_OSLIBNAME);
	lua_pop(L, 1);
}

/* Runs protected. Leaves the function that answers messages in the registry under the sandbox's address. */
static int open_state(lua_State *L)
{
	static const luaL_Reg libraries[] = {
		{ LUA_GNAME, luaopen_base },
		{ LUA_STRLIBNAME, luaopen_string },
		{ LUA_TABLIBNAME, luaopen_table },
		{ LUA_MATHLIBNAME, luaopen_math },
		{ LUA_UTF8LIBNAME, luaopen_utf8 },
		{ NULL, NULL },
	};

	for (const luaL_Reg *library = libraries; library->name; library++) {
		luaL_requiref(L, library->name, library->func, 1);
		lua_pop(L, 1);
	}
	keep_date_alone(L);
	mlb_policy_open_environment(L);
	lua_register(L, "require", require_embedded);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "moonlb.policy.inside");
	lua_call(L, 1, 1);				/* inside */
	lua_getfield(L, -1, "new");
	luaL_newlib(L, native);
	lua_call(L, 1, 1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, mlb_policy_sandbox_of(L));
	return 0;
}

int mlb_policy_sandbox_open(const struct mlb_policy_limits *limits, struct mlb_policy_sandbox **ret_sandbox,
			    char *text, size_t text_size)
{
	struct mlb_policy_sandbox *sandbox = calloc(1, sizeof(*sandbox));
	const char *failure;

	if (!sandbox)
		return -ENOMEM;
	sandbox->limits = *limits;
	sandbox->L = lua_newstate(mlb_policy_allocate, sandbox);
	if (!sandbox->L) {
		free(sandbox);
		return -ENOMEM;
	}
	*(struct mlb_policy_sandbox **)lua_getextraspace(sandbox->L) = sandbox;
	lua_gc(sandbox->L, LUA_GCGEN, 0, 0);	/* the replica is old: the garbage of decisions goes without it */
	lua_pushcfunction(sandbox->L, open_state);
	if (lua_pcall(sandbox->L, 0, 0, 0) == LUA_OK) {
		*ret_sandbox = sandbox;
		return 0;
	}
	failure = lua_tostring(sandbox->L, -1);
	snprintf(text, text_size, "%s", failure ? failure : "error object is no string");
	mlb_policy_sandbox_close(sandbox);
	return -EPROTO;
}

struct exchange {
	char type;
	uint32_t id;
	struct mlb_policy_reader value;
	unsigned char *answer;
	size_t size;
	int length;		/* of the answer, or a negative errno */
};

/* Runs protected: answer(type, value) -> type, value. */
static int exchange_values(lua_State *L)
{
	struct exchange *exchange = lua_touserdata(L, 1);
	struct mlb_policy_writer writer = { exchange->answer + MLB_POLICY_HEADER, exchange->answer + exchange->size };
	int result;

	lua_rawgetp(L, LUA_REGISTRYINDEX, mlb_policy_sandbox_of(L));
	lua_pushlstring(L, &exchange->type, 1);
	mlb_policy_push(L, &exchange->value);
	lua_call(L, 2, 2);
	result = mlb_policy_pack(L, 3, &writer);
	mlb_policy_put_header(exchange->answer, *luaL_checkstring(L, 2), exchange->id);
	exchange->length = result < 0 ? result : (int)(writer.at - exchange->answer);
	return 0;
}

/* The answer when ours failed: type 'X' and why. */
static int answer_failure(struct exchange *exchange, const char *why)
{
	struct mlb_policy_writer writer = { exchange->answer + MLB_POLICY_HEADER, exchange->answer + exchange->size };

	mlb_policy_put_header(exchange->answer, 'X', exchange->id);
	mlb_policy_put_string(&writer, why, strnlen(why, 1024));
	return (int)(writer.at - exchange->answer);
}

int mlb_policy_sandbox_answer(struct mlb_policy_sandbox *sandbox, const unsigned char *frame, size_t length,
			      unsigned char *answer, size_t size)
{
	struct exchange exchange = { .answer = answer, .size = size };
	lua_State *L = sandbox->L;
	int result = mlb_policy_open(frame, length, &exchange.type, &exchange.id, &exchange.value);

	if (result < 0)
		return result;
	mlb_policy_arm_timer(sandbox, sandbox->limits.trusted_ms);
	sandbox->lap_end = 0;
	sandbox->is_gc_stopped = true;
	lua_gc(L, LUA_GCSTOP);		/* until mlb_policy_sandbox_rest, or the heap is three quarters full */
	lua_pushcfunction(L, exchange_values);
	lua_pushlightuserdata(L, &exchange);
	result = lua_pcall(L, 1, 0, 0);
	if (result != LUA_OK)
		result = answer_failure(&exchange, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "no message");
	else if (exchange.length == -EMSGSIZE)
		result = answer_failure(&exchange, "the answer is too long");
	else if (exchange.length < 0)
		result = answer_failure(&exchange, "the answer holds no plain value");
	else
		result = exchange.length;
	lua_settop(L, 0);
	mlb_policy_arm_timer(sandbox, 0);
	return result;
}

/* Steps take only what is young. What is old is taken here, half way from what lived to where the collector would start
 * in a guarded call: there a full collection of a large replica is charged to a policy that has not made the garbage. */
static bool full_collection_is_due(const struct mlb_policy_sandbox *sandbox)
{
	size_t start = sandbox->limits.memory / 4 * 3;
	size_t room = start > sandbox->live ? (start - sandbox->live) / 2 : 0;

	return sandbox->used > sandbox->live + (room > FULL_GARBAGE ? room : FULL_GARBAGE);
}

void mlb_policy_sandbox_rest(struct mlb_policy_sandbox *sandbox)
{
	if (sandbox->used < sandbox->collected + GARBAGE)
		return;
	mlb_policy_arm_timer(sandbox, sandbox->limits.trusted_ms);
	if (full_collection_is_due(sandbox)) {
		lua_gc(sandbox->L, LUA_GCCOLLECT);
		sandbox->live = sandbox->used;
	} else {
		lua_gc(sandbox->L, LUA_GCSTEP, 0);
	}
	sandbox->collected = sandbox->used;
	mlb_policy_arm_timer(sandbox, 0);
}

void mlb_policy_sandbox_close(struct mlb_policy_sandbox *sandbox)
{
	lua_close(sandbox->L);
	free(sandbox);
}
