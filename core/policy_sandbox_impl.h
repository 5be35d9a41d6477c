/* Within the policy's state: what policy_sandbox.c (the state and its messages) and policy_guard.c (the limits of a call)
 * share. */
#ifndef MLB_POLICY_SANDBOX_IMPL_H
#define MLB_POLICY_SANDBOX_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "policy_sandbox.h"

enum mlb_policy_stop {
	MLB_POLICY_STOP_NONE, MLB_POLICY_STOP_BUDGET, MLB_POLICY_STOP_TIME, MLB_POLICY_STOP_MEMORY,
	MLB_POLICY_STOP_SUSPEND,
};

struct mlb_policy_sandbox {
	lua_State *L;
	struct mlb_policy_limits limits;
	size_t used;
	bool is_gc_stopped;
	size_t collected;		/* `used` after the last collection */
	size_t live;			/* `used` after the last full one */
	bool guarded;			/* a guarded call runs */
	enum mlb_policy_stop stop;			/* why it must end; sticky until it has */
	int64_t budget;
	uint64_t wall_end, cpu_end;	/* ns */
	uint64_t lap_end;		/* ns of wall time: until then guarded calls share the timer and CPU time of the first */
	uint64_t lap_cpu;		/* ns of CPU time at its beginning */
	unsigned refusals;		/* of allocations, each for want of room */
	size_t refused;			/* bytes of the one that was refused just now; 0: the last one was granted */
	int line;			/* of the policy, where the error was raised; 0 unknown */
	const char *chunk;		/* "@name" of the policy, anchored in the registry */
};

/* The sandbox of a state. */
static inline struct mlb_policy_sandbox *mlb_policy_sandbox_of(lua_State *L)
{
	return *(struct mlb_policy_sandbox **)lua_getextraspace(L);
}

/* lua_Alloc, with the sandbox as its data. The cap counts what Lua asks for. */
void *mlb_policy_allocate(void *data, void *old, size_t old_size, size_t size);

/* SIGPROF ends the process after so much CPU time; 0: never. Where the limits have a hard one. */
void mlb_policy_arm_timer(const struct mlb_policy_sandbox *sandbox, unsigned ms);

/* guard(fn, ...) -> true, results... | false, cause, message, line: call `fn` within the limits. `cause` is "error",
 * "budget", "time", "memory" or "suspend"; `line` is 0 when the error was raised outside the policy's chunk. */
int mlb_policy_guard(lua_State *L);

/* suspend(): end the guarded call for an answer from outside. When it is there, the decision runs again from its start. */
int mlb_policy_suspend(lua_State *L);

#endif
