#include "policy_process.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "policy_sandbox.h"
#include "policy_worker.h"

#define NUMBER_MAX 24		/* characters of a decimal number */
#define SOCKET_OVERHEAD 1024	/* what the kernel may count on top of a message's bytes (unix(7), SO_SNDBUF) */

struct mlb_policy_process {
	uv_process_t child;
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;
	int handles;			/* still to be closed before this can be freed */
	size_t most;
	bool awaiting;			/* a message is out, its answer not in */
	bool exited;			/* and reaped */
	bool ended;			/* the event has been given, or close() has been called */
	const char *code;		/* why we killed it; NULL: its own doing */
	char message[256];
	struct mlb_policy_events events;
	void *data;
};

static unsigned char inbox[MLB_POLICY_FRAME_MAX];

/* Nothing that it sends is read any more. */
static void kill_for(struct mlb_policy_process *process, const char *code, const char *message)
{
	uv_poll_stop(&process->poll);
	uv_timer_stop(&process->timer);
	if (!process->code) {
		process->code = code;
		snprintf(process->message, sizeof(process->message), "%s", message);
	}
	if (!process->exited)
		uv_process_kill(&process->child, SIGKILL);
}

/* A message of type 'F': the worker's own reason for giving up. It is held to it. Its text goes to a log, so nothing but
 * ASCII. */
static void take_last_words(struct mlb_policy_process *process, struct mlb_policy_reader *value)
{
	struct mlb_policy_token token;
	char text[sizeof(process->message)];
	size_t length;

	if (mlb_policy_next(value, &token) < 0 || token.tag != 's') {
		kill_for(process, "EBADMSG", "the worker gave up without a word");
		return;
	}
	length = token.string.length < 200 ? token.string.length : 200;
	snprintf(text, sizeof(text), "could not start: %.*s", (int)length, token.string.bytes);
	for (char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	kill_for(process, "ENOEXEC", text);
}

/* Take one message from the socket. */
static void receive(struct mlb_policy_process *process)
{
	ssize_t length = recv(process->fd, inbox, sizeof(inbox), MSG_DONTWAIT | MSG_TRUNC);
	struct mlb_policy_reader value;
	uint32_t id;
	char type;

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0) {	/* its end is closed: dead or dying, and its exit says why */
		kill_for(process, NULL, "");
	} else if (mlb_policy_open(inbox, (size_t)length, &type, &id, &value) < 0) {
		kill_for(process, "EBADMSG", "the worker sent what is no message");
	} else if (type == 'F') {
		take_last_words(process, &value);
	} else if (!process->awaiting) {
		kill_for(process, "EBADMSG", "the worker sent a message that nobody asked for");
	} else {
		process->awaiting = false;
		uv_timer_stop(&process->timer);
		process->events.answered(process->data, type, id, &value);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct mlb_policy_process *process = poll->data;

	(void)status;
	(void)events;
	if (!process->ended)
		receive(process);
}

static void on_timeout(uv_timer_t *timer)
{
	struct mlb_policy_process *process = timer->data;
	bool had = process->awaiting;

	receive(process);	/* after a pause of the loop the answer may lie there */
	if (!process->ended && had && process->awaiting)
		kill_for(process, "ETIMEDOUT", "the worker gave no answer in time");
}

static void describe_end(struct mlb_policy_process *process, int64_t status, int signal)
{
	const char *what = "";

	process->code = "EKILLED";
	if (signal == SIGPROF) {
		process->code = "ETIMEDOUT";
		what = "the worker was killed: too much CPU time";
	} else if (signal == SIGSYS) {
		what = "the worker was killed: a system call that is not allowed";
	}
	if (*what)
		snprintf(process->message, sizeof(process->message), "%s", what);
	else if (signal)
		snprintf(process->message, sizeof(process->message), "the worker was killed by signal %d (%s)",
			 signal, strsignal(signal));
	else
		snprintf(process->message, sizeof(process->message), "the worker exited with status %" PRId64, status);
}

static void on_exit_of_child(uv_process_t *child, int64_t status, int signal)
{
	struct mlb_policy_process *process = child->data;

	process->exited = true;
	if (process->ended)
		return;
	if (!process->code)
		receive(process);	/* an answer or last words that were sent before it died */
	if (process->ended)
		return;
	process->ended = true;
	uv_poll_stop(&process->poll);
	uv_timer_stop(&process->timer);
	if (!process->code)
		describe_end(process, status, signal);
	process->events.ended(process->data, process->message, process->code);
}

/* Room for a whole message on both ends. Returns what fits. */
static size_t widen(const int fds[2])
{
	int wanted = MLB_POLICY_FRAME_MAX + SOCKET_OVERHEAD, got = 0;
	socklen_t length = sizeof(got);

	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	if (getsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &got, &length) < 0 || got <= 2 * SOCKET_OVERHEAD)
		return SOCKET_OVERHEAD;
	got -= SOCKET_OVERHEAD;
	return got < MLB_POLICY_FRAME_MAX ? (size_t)got : MLB_POLICY_FRAME_MAX;
}

static int spawn(struct mlb_policy_process *process, uv_loop_t *loop, const struct mlb_policy_limits *limits, int fd)
{
	char numbers[5][NUMBER_MAX];
	char *args[] = { "moonlb", MLB_POLICY_WORKER_COMMAND, numbers[0], numbers[1], numbers[2], numbers[3],
			 numbers[4], NULL };
	char *environment[] = { "GLIBC_TUNABLES=glibc.malloc.tcache_count=65535", NULL };
	uv_stdio_container_t stdio[4] = { { .flags = UV_IGNORE }, { .flags = UV_IGNORE }, { .flags = UV_IGNORE },
					  { .flags = UV_INHERIT_FD, .data.fd = fd } };
	uv_process_options_t options = {
		.exit_cb = on_exit_of_child, .file = "/proc/self/exe", .args = args, .env = environment, .cwd = "/",
		.stdio_count = 4, .stdio = stdio,
	};

	snprintf(numbers[0], NUMBER_MAX, "%d", (int)getpid());
	snprintf(numbers[1], NUMBER_MAX, "%zu", limits->memory);
	snprintf(numbers[2], NUMBER_MAX, "%" PRId64, limits->budget);
	snprintf(numbers[3], NUMBER_MAX, "%u", limits->soft_ms);
	snprintf(numbers[4], NUMBER_MAX, "%u", limits->hard_ms);
	return uv_spawn(loop, &process->child, &options);
}

static void on_closed(uv_handle_t *handle)
{
	struct mlb_policy_process *process = handle->data;

	if (--process->handles == 0)
		free(process);
}

static void close_handles(struct mlb_policy_process *process)
{
	uv_close((uv_handle_t *)&process->child, on_closed);
	uv_close((uv_handle_t *)&process->timer, on_closed);
	uv_close((uv_handle_t *)&process->poll, on_closed);
	close(process->fd);	/* libuv wants the descriptor open until uv_close has been called */
}

int mlb_policy_process_start(uv_loop_t *loop, const struct mlb_policy_limits *limits,
			     const struct mlb_policy_events *events, void *data,
			     struct mlb_policy_process **ret_process)
{
	struct mlb_policy_process *process;
	int fds[2];
	int result;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	process = calloc(1, sizeof(*process));
	if (!process) {
		close(fds[0]);
		close(fds[1]);
		return -ENOMEM;
	}
	process->fd = fds[0];
	process->most = widen(fds);
	process->events = *events;
	process->data = data;
	process->handles = 3;
	process->child.data = process->timer.data = process->poll.data = process;
	uv_timer_init(loop, &process->timer);
	uv_poll_init(loop, &process->poll, fds[0]);	/* makes it non-blocking, which fits */
	result = spawn(process, loop, limits, fds[1]);
	close(fds[1]);
	if (result < 0) {
		process->ended = true;
		close_handles(process);
		return result;
	}
	uv_poll_start(&process->poll, UV_READABLE, on_readable);
	*ret_process = process;
	return 0;
}

int mlb_policy_process_send(struct mlb_policy_process *process, const unsigned char *frame, size_t length,
			    uint64_t timeout_ms)
{
	if (process->ended || process->exited || process->code)
		return -EPIPE;
	if (process->awaiting)
		return -EBUSY;
	if (length > process->most)
		return -EMSGSIZE;
	if (send(process->fd, frame, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	process->awaiting = true;
	uv_update_time(process->timer.loop);	/* the loop's clock may lag by what was computed since */
	uv_timer_start(&process->timer, on_timeout, timeout_ms, 0);
	return 0;
}

size_t mlb_policy_process_most(const struct mlb_policy_process *process)
{
	return process->most;
}

void mlb_policy_process_reject(struct mlb_policy_process *process, const char *why)
{
	kill_for(process, "EBADMSG", why);
}

pid_t mlb_policy_process_pid(const struct mlb_policy_process *process)
{
	return process->child.pid;
}

void mlb_policy_process_close(struct mlb_policy_process *process)
{
	pid_t pid = process->child.pid;

	process->ended = true;
	if (!process->exited) {	/* reaped here: once its handle is closed, libuv does it no more */
		uv_process_kill(&process->child, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close_handles(process);
}
