/* The Lua state that runs one policy: capped memory, budgeted calls, an allow-listed environment. The same in the
 * worker process and, for trials and tests, in the caller's own. What it speaks are the messages of policy_value.h.
 *
 * In the caller's process it holds as long as Lua itself does; a mounted policy belongs in the worker, where the CPU
 * timer, the address space and the system call filter hold whatever Lua does. */
#ifndef MLB_POLICY_SANDBOX_H
#define MLB_POLICY_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

struct lua_State;
struct mlb_policy_sandbox;

struct mlb_policy_limits {
	size_t memory;		/* bytes of the Lua heap, the replica of the cluster included */
	int64_t budget;		/* work of one guarded call: a VM instruction is 1, 32 bytes allocated are 1 */
	unsigned soft_ms;	/* CPU time of one guarded call; an error with the line ends it */
	unsigned hard_ms;	/* CPU time at which SIGPROF ends the process; 0: no timer */
	unsigned trusted_ms;	/* the same for our own work on one message, where hard_ms is set */
};

/* Limits of a worker (10,000 replicated Services fit in its memory). */
extern const struct mlb_policy_limits mlb_policy_default_limits;

/* A new state with the policy API (lua/moonlb/policy/inside.lua) and no policy yet.
 * -ENOMEM; -EPROTO when the embedded Lua fails to load, with its message in `message`. */
int mlb_policy_sandbox_open(const struct mlb_policy_limits *limits, struct mlb_policy_sandbox **ret_sandbox,
			    char *message, size_t message_size);

/* Answer one message. Returns the length of the answer, which is below `size` (MLB_POLICY_FRAME_MAX is enough);
 * -EBADMSG when `frame` is none. A failure inside is an answer of type 'X' with a text. */
int mlb_policy_sandbox_answer(struct mlb_policy_sandbox *sandbox, const unsigned char *frame, size_t length,
			      unsigned char *answer, size_t size);

/* Collect garbage, as much as was made since: to be called after an answer is out, while nobody waits. */
void mlb_policy_sandbox_rest(struct mlb_policy_sandbox *sandbox);

void mlb_policy_sandbox_close(struct mlb_policy_sandbox *sandbox);

/* For the functions of the environment: take `units` from the budget of the guarded call that runs; raises, and no
 * pcall of the policy outlives it, when nothing is left. Outside a guarded call it does nothing. */
void mlb_policy_charge(struct lua_State *L, uint64_t units);

/* expose(function) -> a C function that calls it. The policy's own frame stays on the stack below one of those, which a
 * tail call (`return use(...)`) to a function of Lua would take away with the line. */
int mlb_policy_expose(struct lua_State *L);

/* The innermost line of a chunk ("@file") that is running; 0 when none is. */
int mlb_policy_line(struct lua_State *L, const char *chunk);

/* What is left, for work in C that counts by itself and charges afterwards. INT64_MAX outside a guarded call. */
int64_t mlb_policy_budget_left(struct lua_State *L);

#endif
