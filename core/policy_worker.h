/* The process that runs a mounted policy: this binary executed again, so that nothing of the controller's memory is in
 * it. It locks itself in before it looks at anything, then answers messages on descriptor 3 until that is closed. */
#ifndef MLB_POLICY_WORKER_H
#define MLB_POLICY_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MLB_POLICY_WORKER_COMMAND "policy-worker"
#define MLB_POLICY_WORKER_FD 3

/* Whether argv asks for the worker; to be looked at first of all, before any library has opened anything. */
bool mlb_policy_worker_wanted(int argc, char **argv);

/* main of the worker: argv is { program, "policy-worker", parent's pid, memory in bytes, steps, soft ms, hard ms }.
 * Never returns: exit 0 when the parent closed the socket, 64 (EX_USAGE) arguments, 71 (EX_OSERR) a step of the lock-in
 * failed (its name went out as a message of type 'F'), 70 (EX_SOFTWARE) the state did not open (likewise). */
_Noreturn void mlb_policy_worker_main(int argc, char **argv);

/* The lock-in by itself, in its order: rlimits, death with the parent, not dumpable, no new privileges, descriptors
 * above 3 closed, system call filter (everything else kills). `memory` is what may be mapped on top of what is mapped
 * now. 0 or -errno with the step's name. */
int mlb_policy_worker_lock_in(pid_t parent, size_t memory, const char **ret_step);

#endif
