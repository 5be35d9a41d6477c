/* The limits of a guarded call: work, time and memory; and where in the policy it was when one of them ended it. */
#include "policy_sandbox_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <lauxlib.h>

#define HOOK_STEP 100		/* instructions between two looks at the clock; larger steps are no faster */
#define ALLOC_UNIT 32		/* bytes that cost as much as an instruction */
#define REFUSALS_MAX 8		/* refused allocations in one call; each costs a full collection */
#define LOCATE_LEVELS 64	/* frames searched for the policy's line */
#define OWN_MEMORY (2 << 20)	/* bytes above the cap for our own code, and for the way out of a call, to say so */
#define LAPS 16			/* a lap is this part of the soft limit */

static const char *const stop_causes[] = { "error", "budget", "time", "memory", "suspend" };

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void count_hook(lua_State *L, lua_Debug *ar);

/* From here on each instruction of the policy raises, so no pcall and no __close of its own goes on. lua_sethook may be
 * called at any point (it is made for signal handlers). */
static void set_stop(struct mlb_policy_sandbox *sandbox, enum mlb_policy_stop stop)
{
	sandbox->stop = stop;
	lua_sethook(sandbox->L, count_hook, LUA_MASKCOUNT, 1);
}

/* What an error for want of memory ended, our own code perhaps, is left half way: no pcall of the policy outlives it. */
static void end_for_memory(struct mlb_policy_sandbox *sandbox)
{
	if (sandbox->guarded && sandbox->stop == MLB_POLICY_STOP_NONE)
		set_stop(sandbox, MLB_POLICY_STOP_MEMORY);
}

/* Lua collects all garbage after a refusal and asks for the same again. Whatever else comes next, an error was raised
 * (by the buffers of lauxlib, which ask once). */
static void *refuse(struct mlb_policy_sandbox *sandbox, size_t size)
{
	if (sandbox->refused || ++sandbox->refusals > REFUSALS_MAX)
		end_for_memory(sandbox);
	sandbox->refused = size;
	return NULL;
}

/* When `old` is NULL, `old_size` is a type tag, not a size. */
void *mlb_policy_allocate(void *data, void *old, size_t old_size, size_t size)
{
	struct mlb_policy_sandbox *sandbox = data;
	bool is_policy = sandbox->guarded && sandbox->stop == MLB_POLICY_STOP_NONE;
	size_t cap = sandbox->limits.memory + (is_policy ? 0 : OWN_MEMORY);
	size_t more;
	void *block;

	if (!old)
		old_size = 0;
	if (size == 0) {
		free(old);
		sandbox->used -= old_size;
		return NULL;
	}
	more = size > old_size ? size - old_size : 0;
	if (more && sandbox->used + more > cap)
		return refuse(sandbox, size);
	block = realloc(old, size);
	if (!block)
		return refuse(sandbox, size);
	if (more && sandbox->refused) {
		if (size != sandbox->refused)
			end_for_memory(sandbox);
		sandbox->refused = 0;
	}
	if (sandbox->guarded)
		sandbox->budget -= (int64_t)(more / ALLOC_UNIT);
	sandbox->used += size - old_size;
	return block;
}

int mlb_policy_line(lua_State *L, const char *chunk)
{
	lua_Debug ar;

	for (int level = 0; level < LOCATE_LEVELS && lua_getstack(L, level, &ar); level++)
		if (lua_getinfo(L, "S", &ar) && strcmp(ar.source, chunk) == 0 && lua_getinfo(L, "l", &ar))
			return ar.currentline;
	return 0;
}

static int policy_line(lua_State *L)
{
	const char *chunk = mlb_policy_sandbox_of(L)->chunk;

	return chunk ? mlb_policy_line(L, chunk) : 0;
}

static void push_stop(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	switch (sandbox->stop) {
	case MLB_POLICY_STOP_TIME:
		lua_pushfstring(L, "took more than %d ms of CPU time", (int)sandbox->limits.soft_ms);
		break;
	case MLB_POLICY_STOP_MEMORY:
		lua_pushfstring(L, "used more than %d KiB of memory", (int)(sandbox->limits.memory / 1024));
		break;
	case MLB_POLICY_STOP_SUSPEND:
		lua_pushliteral(L, "waits for an answer from outside");
		break;
	default:
		lua_pushfstring(L, "took more than %I steps", (lua_Integer)sandbox->limits.budget);
	}
}

/* Raises what ends the call; keeps the line of the first raise. */
static int raise_stop(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	if (sandbox->line == 0)
		sandbox->line = policy_line(L);
	push_stop(L);
	return lua_error(L);
}

static void check_limits(lua_State *L, struct mlb_policy_sandbox *sandbox)
{
	if (sandbox->stop == MLB_POLICY_STOP_NONE && sandbox->budget < 0)
		set_stop(sandbox, MLB_POLICY_STOP_BUDGET);
	/* The coarse clock is a read of memory; CPU time, which a busy machine does not use up, is a system call. */
	if (sandbox->stop == MLB_POLICY_STOP_NONE && now_ns(CLOCK_MONOTONIC_COARSE) > sandbox->wall_end &&
	    now_ns(CLOCK_THREAD_CPUTIME_ID) > sandbox->cpu_end)
		set_stop(sandbox, MLB_POLICY_STOP_TIME);
	if (sandbox->stop != MLB_POLICY_STOP_NONE)
		raise_stop(L);
}

static void count_hook(lua_State *L, lua_Debug *ar)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	(void)ar;
	sandbox->budget -= HOOK_STEP;
	if (sandbox->is_gc_stopped && sandbox->used > sandbox->limits.memory / 4 * 3) {
		sandbox->is_gc_stopped = false;
		lua_gc(L, LUA_GCRESTART);	/* once: each time it makes a collection due */
	}
	check_limits(L, sandbox);
}

void mlb_policy_charge(lua_State *L, uint64_t units)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	if (!sandbox->guarded)
		return;
	sandbox->budget = units > (uint64_t)sandbox->limits.budget ? -1 : sandbox->budget - (int64_t)units;
	if (units >= HOOK_STEP || sandbox->budget < 0 || sandbox->stop != MLB_POLICY_STOP_NONE)
		check_limits(L, sandbox);
}

int64_t mlb_policy_budget_left(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	if (!sandbox->guarded)
		return INT64_MAX;
	return sandbox->budget > 0 ? sandbox->budget : 0;
}

void mlb_policy_arm_timer(const struct mlb_policy_sandbox *sandbox, unsigned ms)
{
	struct itimerval timer = { .it_value = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 } };

	if (sandbox->limits.hard_ms)
		setitimer(ITIMER_PROF, &timer, NULL);
}

/* Message handler: the line, while the stack still stands. Runs none of the policy's code: the hook may be off here. */
static int locate(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	if (sandbox->line == 0)
		sandbox->line = policy_line(L);
	return 1;
}

/* The clocks and the timer are system calls, which cost as much as a short decision: those of a batch that begin within
 * a lap share them. So a call gets up to a lap more than the soft limit, and up to a lap less than the hard one. */
static void set_time_limits(struct mlb_policy_sandbox *sandbox)
{
	uint64_t limit = (uint64_t)sandbox->limits.soft_ms * 1000000u, lap = limit / LAPS;
	uint64_t now = now_ns(CLOCK_MONOTONIC_COARSE);

	if (now >= sandbox->lap_end) {
		sandbox->lap_end = now + lap;
		sandbox->lap_cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
		mlb_policy_arm_timer(sandbox, sandbox->limits.hard_ms);
	}
	sandbox->wall_end = now + limit;
	sandbox->cpu_end = sandbox->lap_cpu + lap + limit;
}

static void begin_guard(struct mlb_policy_sandbox *sandbox)
{
	sandbox->budget = sandbox->limits.budget;
	sandbox->stop = MLB_POLICY_STOP_NONE;
	sandbox->refusals = 0;
	sandbox->refused = 0;
	sandbox->line = 0;
	set_time_limits(sandbox);
	sandbox->guarded = true;
	lua_sethook(sandbox->L, count_hook, LUA_MASKCOUNT, HOOK_STEP);
}

static void end_guard(struct mlb_policy_sandbox *sandbox)
{
	if (sandbox->refused)
		end_for_memory(sandbox);
	lua_sethook(sandbox->L, NULL, 0, 0);
	sandbox->guarded = false;	/* the timer runs on: what we do between two calls takes no time to speak of */
}

/* Above the error object: false, cause, message, line. */
static int push_failure(lua_State *L, const struct mlb_policy_sandbox *sandbox)
{
	int object = lua_gettop(L);

	lua_pushboolean(L, 0);
	lua_pushstring(L, stop_causes[sandbox->stop]);
	if (sandbox->stop != MLB_POLICY_STOP_NONE)
		push_stop(L);
	else if (lua_type(L, object) == LUA_TSTRING)	/* what is no string has metamethods: leave it alone */
		lua_pushvalue(L, object);
	else
		lua_pushfstring(L, "(error object is a %s)", luaL_typename(L, object));
	lua_pushinteger(L, sandbox->line);
	return 4;
}

int mlb_policy_guard(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);
	int status;

	if (sandbox->guarded)
		return luaL_error(L, "guarded calls do not nest");
	lua_pushcfunction(L, locate);
	lua_insert(L, 1);				/* locate fn args... */
	begin_guard(sandbox);
	status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1);
	end_guard(sandbox);
	if (status == LUA_OK && sandbox->stop == MLB_POLICY_STOP_NONE) {
		lua_pushboolean(L, 1);
		lua_replace(L, 1);
		return lua_gettop(L);
	}
	if (status == LUA_ERRMEM && sandbox->stop == MLB_POLICY_STOP_NONE)
		sandbox->stop = MLB_POLICY_STOP_MEMORY;
	return push_failure(L, sandbox);
}

int mlb_policy_suspend(lua_State *L)
{
	struct mlb_policy_sandbox *sandbox = mlb_policy_sandbox_of(L);

	if (!sandbox->guarded)
		return luaL_error(L, "only a rule can wait for an answer");
	set_stop(sandbox, MLB_POLICY_STOP_SUSPEND);
	return raise_stop(L);
}
