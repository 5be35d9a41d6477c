#!/usr/bin/python3
"""as_pod.py ROOT UID PROGRAM [ARGUMENT]...: run a program as a container runtime would: in ROOT, as UID, with CAP_NET_ADMIN and
CAP_NET_RAW and no other capability to be had, and no_new_privs. For another uid than 0 they are ambient (capabilities(7))."""
import ctypes
import os
import sys

NET_ADMIN, NET_RAW = 12, 13
PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 23, 24, 38, 47
PR_CAP_AMBIENT_RAISE = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def prctl(*arguments):
    check(libc.prctl(*(list(arguments) + [0] * (5 - len(arguments)))))


def main(root, uid, *argv):
    wanted = {NET_ADMIN, NET_RAW}
    os.chroot(root)
    os.chdir("/")
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 and capability not in wanted:
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    mask = sum(1 << capability for capability in wanted)
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)))
    for capability in wanted if uid else ():
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.execve(argv[0], argv, {"PATH": "/usr/bin"})


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
