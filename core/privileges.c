#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>

#include "sanitized.h"

/* Select what is kept in libcap-ng's picture of the process; what the process has not stays out. */
static int select_kept(const char *const *names, size_t count)
{
	bool is_held[CAP_LAST_CAP + 1] = { false };

	for (size_t i = 0; i < count; i++) {
		int capability = capng_name_to_capability(names[i]);

		if (capability < 0 || capability > CAP_LAST_CAP)
			return -EINVAL;
		is_held[capability] = capng_have_capability(CAPNG_PERMITTED, (unsigned)capability) == 1;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	for (unsigned capability = 0; capability <= CAP_LAST_CAP; capability++)
		if (is_held[capability])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, capability);
	return 0;
}

int mlb_privileges_keep(const char *const *names, size_t count, bool *ret_is_bounded)
{
	int result;

	if (capng_get_caps_process() < 0)
		return -EPERM;
	*ret_is_bounded = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
	result = select_kept(names, count);
	if (result < 0)
		return result;
	/* The bounding set first: cutting it takes CAP_SETPCAP, which goes with the rest. */
	if (*ret_is_bounded && capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

int mlb_privileges_gain_none(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* What neither moonlb nor a credential plugin or policy worker that it executes has to do. */
static const int forbidden_calls[] = {
	SCMP_SYS(acct), SCMP_SYS(add_key), SCMP_SYS(adjtimex), SCMP_SYS(bpf), SCMP_SYS(chroot), SCMP_SYS(clock_adjtime),
	SCMP_SYS(clock_settime), SCMP_SYS(delete_module), SCMP_SYS(fanotify_init), SCMP_SYS(finit_module), SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount), SCMP_SYS(fsopen), SCMP_SYS(fspick), SCMP_SYS(init_module), SCMP_SYS(io_uring_setup),
	SCMP_SYS(ioperm), SCMP_SYS(iopl), SCMP_SYS(kcmp), SCMP_SYS(kexec_file_load), SCMP_SYS(kexec_load), SCMP_SYS(keyctl),
	SCMP_SYS(mount), SCMP_SYS(mount_setattr), SCMP_SYS(move_mount), SCMP_SYS(move_pages), SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at), SCMP_SYS(open_tree), SCMP_SYS(perf_event_open), SCMP_SYS(personality),
	SCMP_SYS(pivot_root), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(quotactl), SCMP_SYS(reboot),
	SCMP_SYS(request_key), SCMP_SYS(setdomainname), SCMP_SYS(sethostname), SCMP_SYS(setns), SCMP_SYS(settimeofday),
	SCMP_SYS(swapoff), SCMP_SYS(swapon), SCMP_SYS(syslog), SCMP_SYS(umount2), SCMP_SYS(unshare),
	SCMP_SYS(userfaultfd), SCMP_SYS(vhangup),
};

static int forbid(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp new_user = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER);
	int result = 0;

	for (size_t i = 0; result == 0 && i < sizeof(forbidden_calls) / sizeof(forbidden_calls[0]); i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden_calls[i], 0);
	/* LeakSanitizer looks at its own threads by ptrace(2). */
	if (result == 0 && !MLB_SANITIZED)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
	/* A filter cannot see clone3's flags, which lie in memory: glibc goes on with clone when it gets ENOSYS. */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (result == 0)
		result = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &new_user);
	return result;
}

int mlb_privileges_forbid_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int result;

	if (!filter)
		return -ENOMEM;
	result = forbid(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	return result;
}
