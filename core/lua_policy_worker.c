/* core/lua_policy_worker.c: module `moonlb.core.policy_worker`; the process, its messages, the same state in here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lua_policy_env.h"
#include "lua_policy_value.h"
#include "lua_util.h"
#include "policy_process.h"
#include "policy_sandbox.h"

#define WORKER_MT "moonlb.core.policy_worker"
#define LOCAL_MT "moonlb.core.policy_worker.local"

struct worker {
	struct mlb_policy_process *process;	/* NULL: closed, or not started yet */
	lua_State *L;				/* the main state, for the callbacks */
	int on_answer, on_end;			/* references; LUA_NOREF when closed */
	int self;				/* pins the worker while its process lives */
};

struct local {
	struct mlb_policy_sandbox *sandbox;	/* NULL: closed */
};

static unsigned char outbox[MLB_POLICY_FRAME_MAX];	/* one message is built at a time, on one thread */

static struct worker *check_worker(lua_State *L, int arg)
{
	struct worker *worker = luaL_checkudata(L, arg, WORKER_MT);

	luaL_argcheck(L, worker->process, arg, "worker is closed");
	return worker;
}

/* {memory=bytes, steps=, soft=s, hard=s} at `arg`; nothing given: the defaults. */
static struct mlb_policy_limits check_limits(lua_State *L, int arg)
{
	struct mlb_policy_limits limits = mlb_policy_default_limits;

	limits.memory = (size_t)mlb_opt_integer(L, arg, "memory", (lua_Integer)limits.memory, 1 << 20, 1 << 30);
	limits.budget = mlb_opt_integer(L, arg, "steps", limits.budget, 1000, LUA_MAXINTEGER);
	limits.soft_ms = (unsigned)mlb_opt_integer(L, arg, "soft_ms", limits.soft_ms, 1, 60000);
	limits.hard_ms = (unsigned)mlb_opt_integer(L, arg, "hard_ms", limits.hard_ms, 1, 60000);
	return limits;
}

/* Append the packed values of the array at `arg` as one array. Raises on what is no string. */
static int put_parts(lua_State *L, int arg, struct mlb_policy_writer *writer)
{
	lua_Unsigned count = lua_rawlen(L, arg);
	int result = mlb_policy_put_table(writer, (uint32_t)count, 0);

	for (lua_Unsigned i = 1; result == 0 && i <= count; i++) {
		const char *part;
		size_t length;

		lua_rawgeti(L, arg, (lua_Integer)i);
		luaL_argexpected(L, lua_type(L, -1) == LUA_TSTRING, arg, "array of packed values");
		part = lua_tolstring(L, -1, &length);
		if (mlb_policy_check((const unsigned char *)part, length) < 0)
			luaL_argerror(L, arg, "a part is no packed value");
		result = mlb_policy_put_raw(writer, part, length);
		lua_pop(L, 1);
	}
	return result;
}

/* Build the message (type, id, parts) of arguments 2 to 4 in the outbox. Returns its length, or pushes the triple and
 * returns 0. */
static size_t build_message(lua_State *L, size_t most)
{
	struct mlb_policy_writer writer = { outbox + MLB_POLICY_HEADER, outbox + most };
	const char *type = luaL_checkstring(L, 2);
	lua_Integer id = luaL_checkinteger(L, 3);

	luaL_argcheck(L, type[0] && !type[1], 2, "one letter expected");
	luaL_argcheck(L, id >= 0 && id <= UINT32_MAX, 3, "an unsigned 32-bit number expected");
	luaL_checktype(L, 4, LUA_TTABLE);
	mlb_policy_put_header(outbox, type[0], (uint32_t)id);
	if (put_parts(L, 4, &writer) < 0) {
		mlb_push_error(L, EMSGSIZE, "message of type '%s' to the policy", type);
		return 0;
	}
	return (size_t)(writer.at - outbox);
}

/* moonlb.core.policy_worker.pack(value) -> bytes | nil, message, code: a value in wire form, for a message's parts.
 * Strings, numbers, booleans and tables of them; JSON nulls are left out. EMSGSIZE, EINVAL, ELOOP. */
static int worker_pack(lua_State *L)
{
	struct mlb_policy_writer writer = { outbox, outbox + sizeof(outbox) };
	int result;

	luaL_checkany(L, 1);
	result = mlb_policy_pack(L, 1, &writer);
	if (result < 0)
		return mlb_push_error(L, result, "value for the policy");
	lua_pushlstring(L, (const char *)outbox, (size_t)(writer.at - outbox));
	return 1;
}

/* moonlb.core.policy_worker.pack_call(name, value) -> bytes | nil, message, code: the array {name, value in wire form}. */
static int worker_pack_call(lua_State *L)
{
	struct mlb_policy_writer writer = { outbox, outbox + sizeof(outbox) };
	struct mlb_policy_writer head;
	size_t length;
	const char *name = luaL_checklstring(L, 1, &length);
	int result = mlb_policy_put_table(&writer, 2, 0);

	luaL_checkany(L, 2);
	if (result == 0)
		result = mlb_policy_put_string(&writer, name, length);
	head = writer;
	if (result == 0)
		result = mlb_policy_put_string_head(&writer, 0);	/* the length is known only at the end */
	if (result == 0)
		result = mlb_policy_pack(L, 2, &writer);
	if (result < 0)
		return mlb_push_error(L, result, "value for the policy");
	mlb_policy_put_string_head(&head, (size_t)(writer.at - head.at) - MLB_POLICY_STRING_HEAD);
	lua_pushlstring(L, (const char *)outbox, (size_t)(writer.at - outbox));
	return 1;
}

/* moonlb.core.policy_worker.unpack(bytes) -> value | nil, message, "EBADMSG". */
static int worker_unpack(lua_State *L)
{
	size_t length;
	const unsigned char *bytes = (const unsigned char *)luaL_checklstring(L, 1, &length);
	struct mlb_policy_reader reader = { bytes, bytes + length };

	if (mlb_policy_check(bytes, length) < 0)
		return mlb_push_error(L, EBADMSG, "value from the policy");
	mlb_policy_push(L, &reader);
	return 1;
}

static int call_answered(lua_State *L)
{
	struct worker *worker = lua_touserdata(L, 1);
	const char *type = lua_touserdata(L, 2);
	struct mlb_policy_reader *value = lua_touserdata(L, 4);

	lua_rawgeti(L, LUA_REGISTRYINDEX, worker->on_answer);
	lua_pushlstring(L, type, 1);
	lua_pushvalue(L, 3);
	mlb_policy_push(L, value);
	lua_call(L, 3, 0);
	return 0;
}

static void on_answered(void *data, char type, uint32_t id, struct mlb_policy_reader *value)
{
	struct worker *worker = data;
	lua_State *L = worker->L;

	lua_pushcfunction(L, call_answered);
	lua_pushlightuserdata(L, worker);
	lua_pushlightuserdata(L, &type);
	lua_pushinteger(L, id);
	lua_pushlightuserdata(L, value);
	mlb_call(L, 4, "policy worker");
}

static void forget(lua_State *L, struct worker *worker)
{
	mlb_unpin(L, &worker->on_answer);
	mlb_unpin(L, &worker->on_end);
	mlb_unpin(L, &worker->self);
}

/* Closed before the callback, which may start another. */
static void on_ended(void *data, const char *message, const char *code)
{
	struct worker *worker = data;
	lua_State *L = worker->L;
	struct mlb_policy_process *process = worker->process;

	lua_rawgeti(L, LUA_REGISTRYINDEX, worker->on_end);
	mlb_push_error_table(L, message, code);
	worker->process = NULL;
	forget(L, worker);
	mlb_policy_process_close(process);
	mlb_call(L, 1, "policy worker");
}

static const struct mlb_policy_events events = { .answered = on_answered, .ended = on_ended };

/* moonlb.core.policy_worker.start{memory=, steps=, soft_ms=, hard_ms=, on_answer=, on_end=} -> worker | nil, ...
 * on_answer(type, id, value); on_end(err) once: ETIMEDOUT, EBADMSG, ENOEXEC, EKILLED. The worker is closed by then. */
static int worker_start(lua_State *L)
{
	struct mlb_policy_limits limits;
	struct worker *worker;
	int result;

	luaL_checktype(L, 1, LUA_TTABLE);
	limits = check_limits(L, 1);
	luaL_argcheck(L, lua_getfield(L, 1, "on_answer") == LUA_TFUNCTION, 1, "on_answer: function expected");
	luaL_argcheck(L, lua_getfield(L, 1, "on_end") == LUA_TFUNCTION, 1, "on_end: function expected");
	worker = lua_newuserdatauv(L, sizeof(*worker), 0);	/* on_answer on_end worker */
	*worker = (struct worker){ .on_answer = LUA_NOREF, .on_end = LUA_NOREF, .self = LUA_NOREF };
	worker->L = mlb_main_state(L);
	luaL_setmetatable(L, WORKER_MT);
	result = mlb_policy_process_start(mlb_loop(L), &limits, &events, worker, &worker->process);
	if (result < 0)
		return mlb_push_error(L, result, "start of the policy worker");
	worker->on_answer = mlb_pin(L, -3);
	worker->on_end = mlb_pin(L, -2);
	worker->self = mlb_pin(L, -1);
	return 1;
}

/* worker:send(type, id, parts, timeout) -> true | nil, message, code: `parts` is an array of packed values; the answer
 * must come within `timeout` seconds. EBUSY while one is awaited, EMSGSIZE, EPIPE. */
static int worker_send(lua_State *L)
{
	struct worker *worker = check_worker(L, 1);
	lua_Number timeout = luaL_checknumber(L, 5);
	size_t length = build_message(L, mlb_policy_process_most(worker->process));
	int result;

	luaL_argcheck(L, timeout > 0 && timeout <= 3600, 5, "seconds expected");
	if (length == 0)
		return 3;
	result = mlb_policy_process_send(worker->process, outbox, length, (uint64_t)(timeout * 1000));
	if (result < 0)
		return mlb_push_error(L, result, "message to the policy worker");
	lua_pushboolean(L, 1);
	return 1;
}

/* worker:most() -> bytes: the longest message, of which 14 are header. */
static int worker_most(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)mlb_policy_process_most(check_worker(L, 1)->process));
	return 1;
}

/* worker:reject(why): kill it, for its answer made no sense; on_end follows with EBADMSG. */
static int worker_reject(lua_State *L)
{
	mlb_policy_process_reject(check_worker(L, 1)->process, luaL_checkstring(L, 2));
	return 0;
}

/* worker:pid() -> process id. */
static int worker_pid(lua_State *L)
{
	lua_pushinteger(L, mlb_policy_process_pid(check_worker(L, 1)->process));
	return 1;
}

/* worker:close(); also __gc and __close. Idempotent: kills and reaps, no callback follows. */
static int worker_close(lua_State *L)
{
	struct worker *worker = luaL_checkudata(L, 1, WORKER_MT);
	struct mlb_policy_process *process = worker->process;

	worker->process = NULL;
	forget(L, worker);
	if (process)
		mlb_policy_process_close(process);
	return 0;
}

/* moonlb.core.policy_worker.open_local{memory=, steps=, soft_ms=} -> local | nil, message, code: the state in this
 * process. It holds as long as Lua does, and what loops in C loops here: for policies that are part of the binary, and for tests. */
static int worker_open_local(lua_State *L)
{
	struct mlb_policy_limits limits;
	struct local *local;
	char message[200] = "";
	int result;

	luaL_checktype(L, 1, LUA_TTABLE);
	limits = check_limits(L, 1);
	limits.hard_ms = 0;
	local = lua_newuserdatauv(L, sizeof(*local), 0);
	local->sandbox = NULL;
	luaL_setmetatable(L, LOCAL_MT);
	result = mlb_policy_sandbox_open(&limits, &local->sandbox, message, sizeof(message));
	if (result == -EPROTO)
		return mlb_push_failure(L, message, "EPROTO");
	if (result < 0)
		return mlb_push_error(L, result, "state of the policy");
	return 1;
}

struct answer {
	unsigned char bytes[MLB_POLICY_FRAME_MAX];
};

/* local:answer(type, id, parts) -> type, value | nil, message, code: what a worker would answer. */
static int local_answer(lua_State *L)
{
	struct local *local = luaL_checkudata(L, 1, LOCAL_MT);
	struct mlb_policy_reader value;
	struct answer *answer;
	size_t length;
	uint32_t id;
	int result;
	char type;

	luaL_argcheck(L, local->sandbox, 1, "state is closed");
	length = build_message(L, sizeof(outbox));
	if (length == 0)
		return 3;
	answer = lua_newuserdatauv(L, sizeof(*answer), 0);
	result = mlb_policy_sandbox_answer(local->sandbox, outbox, length, answer->bytes, sizeof(answer->bytes));
	if (result >= 0)
		result = mlb_policy_open(answer->bytes, (size_t)result, &type, &id, &value);
	if (result < 0)
		return mlb_push_error(L, result, "answer of the policy");
	mlb_policy_sandbox_rest(local->sandbox);
	lua_pushlstring(L, &type, 1);
	mlb_policy_push(L, &value);
	return 2;
}

/* local:close(); also __gc and __close. Idempotent. */
static int local_close(lua_State *L)
{
	struct local *local = luaL_checkudata(L, 1, LOCAL_MT);
	struct mlb_policy_sandbox *sandbox = local->sandbox;

	local->sandbox = NULL;
	if (sandbox)
		mlb_policy_sandbox_close(sandbox);
	return 0;
}

/* moonlb.core.policy_worker.line(chunk) -> the innermost line of the chunk ("@file") that is running; 0 when none is. */
static int worker_line(lua_State *L)
{
	lua_pushinteger(L, mlb_policy_line(L, luaL_checkstring(L, 1)));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "expose", mlb_policy_expose },
	{ "line", worker_line },
	{ "open_local", worker_open_local },
	{ "pack", worker_pack },
	{ "pack_call", worker_pack_call },
	{ "start", worker_start },
	{ "tostring", mlb_policy_tostring },
	{ "unpack", worker_unpack },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "close", worker_close },
	{ "most", worker_most },
	{ "pid", worker_pid },
	{ "reject", worker_reject },
	{ "send", worker_send },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", worker_close },
	{ "__gc", worker_close },
	{ NULL, NULL },
};

static const luaL_Reg local_methods[] = {
	{ "answer", local_answer },
	{ "close", local_close },
	{ NULL, NULL },
};

static const luaL_Reg local_metamethods[] = {
	{ "__close", local_close },
	{ "__gc", local_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_policy_worker(lua_State *L);

int luaopen_moonlb_core_policy_worker(lua_State *L)
{
	mlb_new_class(L, WORKER_MT, methods, metamethods);
	mlb_new_class(L, LOCAL_MT, local_methods, local_metamethods);
	luaL_newlib(L, functions);
	return 1;
}
