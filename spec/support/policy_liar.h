/* Workers that lie, die and break out, for the specs of the host: the runner becomes one when its `steps` argument is LIE plus one of
 * the numbers below (spec/unit/policy_process_spec.lua names them). */
#ifndef SPEC_POLICY_LIAR_H
#define SPEC_POLICY_LIAR_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy_value.h"
#include "policy_worker.h"

#define LIE 900000000L
#define LIAR_FD MLB_POLICY_WORKER_FD

static unsigned char liar_frame[2 * MLB_POLICY_FRAME_MAX];

static void liar_send(size_t length)
{
	if (write(LIAR_FD, liar_frame, length) < 0)
		_exit(9);
}

/* Take one question; its header is left in the frame. */
static void liar_receive(void)
{
	if (read(LIAR_FD, liar_frame, sizeof(liar_frame)) <= 0)
		_exit(9);
}

_Noreturn static void liar_wait(void)
{
	for (;;)
		pause();
}

/* Send a table whose header claims `items`, nested `depth` times. */
static void liar_send_table(uint32_t items, int depth)
{
	struct mlb_policy_writer writer = { liar_frame + MLB_POLICY_HEADER, liar_frame + sizeof(liar_frame) };

	for (int i = 0; i < depth; i++)
		mlb_policy_put_table(&writer, items, 0);
	liar_send((size_t)(writer.at - liar_frame));
}

/* Its last words, over and over when it `floods`; and lives on. */
static void liar_give_up(bool floods)
{
	do {
		struct mlb_policy_writer writer = { liar_frame + MLB_POLICY_HEADER, liar_frame + sizeof(liar_frame) };

		mlb_policy_put_header(liar_frame, 'F', 0);
		mlb_policy_put_string(&writer, "no luck\n", 8);
		liar_send((size_t)(writer.at - liar_frame));
	} while (floods);
}

static void liar_talk(long lie)
{
	int size = 4 * MLB_POLICY_FRAME_MAX;

	switch (lie) {
	case 1:	/* bytes that are no message */
		memset(liar_frame, 0xff, 100);
		liar_send(100);
		break;
	case 2:	/* a flood that nobody asked for */
		for (;;) {
			memcpy(liar_frame, "D\0\0\0\0n", 6);
			liar_send(6);
		}
	case 3:	/* longer than a message may be */
		setsockopt(LIAR_FD, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		memset(liar_frame, 'n', sizeof(liar_frame));
		liar_send(MLB_POLICY_FRAME_MAX + 1);
		break;
	case 4:
		_exit(3);
	case 5:	/* silence */
		break;
	case 6:	/* two answers */
		liar_frame[MLB_POLICY_HEADER] = 'n';
		liar_send(MLB_POLICY_HEADER + 1);
		liar_send(MLB_POLICY_HEADER + 1);
		break;
	case 7:	/* the answer to another question */
		liar_frame[1] ^= 1;
		liar_frame[MLB_POLICY_HEADER] = 'n';
		liar_send(MLB_POLICY_HEADER + 1);
		break;
	case 8:	/* cut short */
		liar_send(3);
		break;
	case 9:	/* closes its end and lives on */
		close(LIAR_FD);
		break;
	case 10:
		liar_send_table(1, 1000);
		break;
	case 11:
		liar_send_table(UINT32_MAX, 1);
		break;
	case 12:
		raise(SIGSEGV);
		break;
	case 13:	/* an answer without sense */
		liar_frame[MLB_POLICY_HEADER] = 't';
		liar_send(MLB_POLICY_HEADER + 1);
		break;
	case 14:	/* last words, and no end */
		liar_give_up(false);
		break;
	case 15:
		liar_give_up(true);
		break;
	}
	liar_wait();
}

/* What a worker that got out of Lua would try. Each must end it. */
static void liar_break_out(long lie)
{
	char *const none[] = { NULL };
	int result = 0;

	switch (lie) {
	case 20: result = open("/etc/passwd", O_RDONLY | O_CLOEXEC); break;
	case 21: result = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); break;
	case 22: result = execve("/bin/true", none, none); break;
	case 23: result = fork(); break;
	case 24: result = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED; break;
	case 25: result = mprotect(liar_frame, 4096, PROT_READ | PROT_EXEC); break;
	case 26: result = kill(getppid(), 0); break;
	case 27: result = (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL); break;
	case 28: result = (int)write(STDOUT_FILENO, "x", 1); break;
	case 29: result = (int)read(STDIN_FILENO, liar_frame, 1); break;
	case 30: result = prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); break;
	case 31: result = dup(LIAR_FD); break;
	case 32:	/* not forbidden, but there is no room for it */
		_exit(mmap(NULL, (size_t)1 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 40 : 41);
	}
	_exit(result == 0 ? 50 : 51);
}

static void policy_liar(int argc, char **argv)
{
	long lie = argc > 4 ? atol(argv[4]) - LIE : 0;
	const char *step;

	if (lie < 1 || lie > 99)
		return;
	if (lie >= 20) {
		liar_receive();
		if (mlb_policy_worker_lock_in(getppid(), 64 << 20, &step) < 0)
			_exit(60);
		liar_break_out(lie);
	}
	if (lie != 2)
		liar_receive();
	liar_talk(lie);
}

#endif
