/* The host's end of a policy worker: starts it, sends one message at a time, hands over whole checked answers, notices
 * every way it can end. What the worker sends is hostile. */
#ifndef MLB_POLICY_PROCESS_H
#define MLB_POLICY_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy_value.h"

struct uv_loop_s;
struct mlb_policy_limits;
struct mlb_policy_process;

struct mlb_policy_events {
	/* One answer, already accepted by mlb_policy_check. May close the process. */
	void (*answered)(void *data, char type, uint32_t id, struct mlb_policy_reader *value);
	/* The worker is gone or was killed: once, and nothing after it. `code` is ETIMEDOUT (CPU timer, or no answer in
	 * time), EBADMSG (it sent what is no message), ENOEXEC (it could not lock itself in, or gave up), else
	 * EKILLED. */
	void (*ended)(void *data, const char *message, const char *code);
};

/* Start a worker: socketpair(2) of type SOCK_SEQPACKET as its descriptor 3, /dev/null as 0 to 2, an empty environment.
 * -errno of socketpair or of the start. */
int mlb_policy_process_start(struct uv_loop_s *loop, const struct mlb_policy_limits *limits,
			     const struct mlb_policy_events *events, void *data,
			     struct mlb_policy_process **ret_process);

/* Send a message; the answer must be there within `timeout_ms` of wall time, or the worker is killed. -EBUSY while
 * an answer is awaited, -EMSGSIZE above mlb_policy_process_most, -EPIPE after the end or when it is to be killed. */
int mlb_policy_process_send(struct mlb_policy_process *process, const unsigned char *frame, size_t length,
			    uint64_t timeout_ms);

/* The longest message in bytes: MLB_POLICY_FRAME_MAX, or less where net.core.wmem_max is low. */
size_t mlb_policy_process_most(const struct mlb_policy_process *process);

/* Kill it for an answer that made no sense: `ended` follows, with EBADMSG and this text. */
void mlb_policy_process_reject(struct mlb_policy_process *process, const char *why);

pid_t mlb_policy_process_pid(const struct mlb_policy_process *process);

/* Kill and reap it, free everything; no event follows. */
void mlb_policy_process_close(struct mlb_policy_process *process);

#endif
