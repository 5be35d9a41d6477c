/* Give up, for good, what a process does not need: capabilities(7), what a set-uid program would give (no_new_privs), and
 * system calls that are others' jobs. Capabilities are a thread's: call these while the process has one. */
#ifndef MLB_PRIVILEGES_H
#define MLB_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>

/* Keep, of the capabilities that the process has, those in `names` ("net_admin"; linux/capability.h), in the effective and
 * the permitted set; what it executes gets none of them by inheritance. With CAP_SETPCAP the bounding set is cut to the same,
 * `*ret_is_bounded`. 0; -EINVAL: no such capability; -EPERM. */
int mlb_privileges_keep(const char *const *names, size_t count, bool *ret_is_bounded);

/* Nothing that is executed from now on can gain privileges (PR_SET_NO_NEW_PRIVS). 0 or -errno. */
int mlb_privileges_gain_none(void);

/* System calls that no part of this program makes, nor what it executes, fail with EPERM from now on: debugging other
 * processes, mounts, namespaces, kernel modules, keys, clocks and the like. Needs mlb_privileges_gain_none. 0 or -errno. */
int mlb_privileges_forbid_calls(void);

#endif
