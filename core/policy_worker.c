#include "policy_worker.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <seccomp.h>

#include "policy_sandbox.h"
#include "policy_value.h"
#include "sanitized.h"

#define FD MLB_POLICY_WORKER_FD
#define ADDRESS_SPACE ((size_t)256 << 20)	/* bytes on top of what the program maps at its start */
#define KEPT (32 << 20)		/* bytes of freed memory; mallopt(3) takes no more for a block */

static int limit(int resource, rlim_t value)
{
	struct rlimit now, wanted = { value, value };

	if (getrlimit(resource, &now) < 0)
		return -errno;
	if (now.rlim_max < value)	/* lower already: a container's limit stays */
		wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
	return setrlimit(resource, &wanted) < 0 ? -errno : 0;
}

/* What is mapped now (statm, proc(5): pages, the first number is the program's size). */
static size_t mapped_now(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int limit_resources(size_t memory)
{
	size_t mapped = mapped_now();
	int result = 0;

	if (!MLB_SANITIZED)
		result = mapped ? limit(RLIMIT_AS, mapped + memory) : -ENOENT;
	if (result == 0)
		result = limit(RLIMIT_CORE, 0);
	if (result == 0)
		result = limit(RLIMIT_FSIZE, 0);
	if (result == 0)
		result = limit(RLIMIT_NPROC, 0);
	if (result == 0)
		result = limit(RLIMIT_NOFILE, FD + 1);
	return result;
}

/* The signal comes only if the parent dies after the call; before, getppid() has changed. */
static int die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

/* Before the limits: RLIMIT_NOFILE does not close what is open. A kernel or an outer filter without close_range(2)
 * leaves the long way. */
static int close_others(void)
{
	long most = sysconf(_SC_OPEN_MAX);

	if (close_range(FD + 1, ~0U, 0) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return -errno;
	for (long fd = FD + 1; fd < most; fd++)
		close((int)fd);
	return 0;
}

static const int allowed_calls[] = {
	SCMP_SYS(brk), SCMP_SYS(clock_gettime), SCMP_SYS(exit_group), SCMP_SYS(madvise), SCMP_SYS(mremap),
	SCMP_SYS(munmap), SCMP_SYS(rt_sigreturn), SCMP_SYS(setitimer), SCMP_SYS(time),
};
static const int sanitizer_calls[] = {
	SCMP_SYS(close), SCMP_SYS(futex), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(mprotect),
	SCMP_SYS(openat), SCMP_SYS(readlink), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(sched_yield), SCMP_SYS(sigaltstack),
};

/* mmap(2): the third argument without PROT_EXEC. */
static const struct scmp_arg_cmp not_executable = {
	.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0,
};

static struct scmp_arg_cmp is_fd(int fd)
{
	return (struct scmp_arg_cmp){ .arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)fd, .datum_b = 0 };
}

static int allow_if(scmp_filter_ctx filter, int call, struct scmp_arg_cmp condition)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &condition);
}

static int allow_calls(scmp_filter_ctx filter)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(allowed_calls) / sizeof(allowed_calls[0]); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0);
	for (size_t i = 0; MLB_SANITIZED && result == 0 && i < sizeof(sanitizer_calls) / sizeof(sanitizer_calls[0]); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, sanitizer_calls[i], 0);
	if (result == 0)
		result = allow_if(filter, SCMP_SYS(read), is_fd(FD));
	if (result == 0)
		result = allow_if(filter, SCMP_SYS(write), is_fd(FD));
	if (MLB_SANITIZED && result == 0)
		result = allow_if(filter, SCMP_SYS(write), is_fd(STDERR_FILENO));
	if (result == 0)
		result = allow_if(filter, SCMP_SYS(mmap), not_executable);
	return result;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int result;

	if (!filter)
		return -ENOMEM;
	result = allow_calls(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result;
}

static int set_flag(int option, unsigned long value)
{
	return prctl(option, value, 0, 0, 0) < 0 ? -errno : 0;
}

int mlb_policy_worker_lock_in(pid_t parent, size_t memory, const char **ret_step)
{
	int result;

	*ret_step = "rlimits";
	result = limit_resources(memory);
	if (result < 0)
		return result;
	*ret_step = "parent";
	result = die_with(parent);
	if (result < 0)
		return result;
	*ret_step = "PR_SET_DUMPABLE";
	result = set_flag(PR_SET_DUMPABLE, 0);
	if (result < 0)
		return result;
	*ret_step = "PR_SET_NO_NEW_PRIVS";
	result = set_flag(PR_SET_NO_NEW_PRIVS, 1);
	if (result < 0)
		return result;
	*ret_step = "descriptors";
	result = close_others();
	if (result < 0)
		return result;
	*ret_step = "seccomp";
	return filter_calls();
}

bool mlb_policy_worker_wanted(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], MLB_POLICY_WORKER_COMMAND) == 0;
}

static bool read_number(const char *text, unsigned long long least, unsigned long long most, unsigned long long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *ret >= least && *ret <= most;
}

static bool read_arguments(int argc, char **argv, pid_t *ret_parent, struct mlb_policy_limits *limits)
{
	unsigned long long parent, memory, budget, soft, hard;

	if (argc != 7 || !read_number(argv[2], 1, INT_MAX, &parent) ||
	    !read_number(argv[3], 1 << 20, 1u << 30, &memory) ||
	    !read_number(argv[4], 1000, INT64_MAX, &budget) || !read_number(argv[5], 1, 60000, &soft) ||
	    !read_number(argv[6], 1, 60000, &hard))
		return false;
	*ret_parent = (pid_t)parent;
	limits->memory = (size_t)memory;
	limits->budget = (int64_t)budget;
	limits->soft_ms = (unsigned)soft;
	limits->hard_ms = (unsigned)hard;
	return true;
}

/* A last message, 'F' for fatal, and the end. */
_Noreturn static void give_up(int status, const char *what, const char *why)
{
	unsigned char frame[512];
	struct mlb_policy_writer writer = { frame + MLB_POLICY_HEADER, frame + sizeof(frame) };
	char text[256];
	int length = snprintf(text, sizeof(text), "%s: %s", what, why);

	mlb_policy_put_header(frame, 'F', 0);
	mlb_policy_put_string(&writer, text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
	if (write(FD, frame, (size_t)(writer.at - frame)) < 0)
		status = EX_IOERR;
	_exit(status);
}

/* One message in, one out. The buffer is one byte larger than a message may be, so a longer one shows. */
_Noreturn static void serve(struct mlb_policy_sandbox *sandbox)
{
	static unsigned char frame[MLB_POLICY_FRAME_MAX + 1], answer[MLB_POLICY_FRAME_MAX];

	for (;;) {
		ssize_t length = read(FD, frame, sizeof(frame));
		int result;

		if (length == 0)
			_exit(EX_OK);
		if (length < 0)
			_exit(EX_IOERR);
		result = mlb_policy_sandbox_answer(sandbox, frame, (size_t)length, answer, sizeof(answer));
		if (result < 0)
			give_up(EX_PROTOCOL, "message", strerror(-result));
		if (write(FD, answer, (size_t)result) != result)
			_exit(EX_IOERR);
		mlb_policy_sandbox_rest(sandbox);
	}
}

void mlb_policy_worker_main(int argc, char **argv)
{
	struct mlb_policy_limits limits = mlb_policy_default_limits;
	struct mlb_policy_sandbox *sandbox;
	const char *step = "";
	char message[200] = "";
	pid_t parent;
	int result;

	if (!read_arguments(argc, argv, &parent, &limits)) {
		fprintf(stderr, "moonlb %s: started by moonlb itself, not by hand\n", MLB_POLICY_WORKER_COMMAND);
		exit(EX_USAGE);
	}
	/* What one batch has freed the next one takes: not given back to the kernel, which would clear each page anew. */
	mallopt(M_TRIM_THRESHOLD, KEPT);
	mallopt(M_MMAP_THRESHOLD, KEPT);
	setenv("TZ", "UTC0", 1);	/* or the first os.date would open /etc/localtime */
	tzset();
	/* Lua's cap is raised as the cluster grows (the replica lies in the same heap); this is the wall behind it. */
	result = mlb_policy_worker_lock_in(parent, ADDRESS_SPACE, &step);
	if (result < 0)
		give_up(EX_OSERR, step, strerror(-result));
	result = mlb_policy_sandbox_open(&limits, &sandbox, message, sizeof(message));
	if (result < 0)
		give_up(EX_SOFTWARE, "state", result == -EPROTO ? message : strerror(-result));
	serve(sandbox);
}
