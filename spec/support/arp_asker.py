#!/usr/bin/python3
"""arp_asker.py INTERFACE FIRST COUNT RATE [ROUNDS]: ask for COUNT IPv4 addresses from FIRST on, RATE requests a second.

Prints `asked=N answered=N macs=M,... p50=us p90=us p99=us p999=us max=us wire_p50=us ...`. The first times are from before the
request's send to after the reply's read, this program's own turns included; those of the wire are between the kernel's
timestamps of the two frames on the interface. An asker of its own, so that it shares no code with what it judges.
"""
import ipaddress
import select
import socket
import struct
import sys
import time

interface, first, count, rate = sys.argv[1], ipaddress.IPv4Address(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 1
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
wire.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
wire.bind((interface, 0x0806))
wire.setblocking(False)
mac = wire.getsockname()[4]
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))  # sees what leaves, too
tap.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
tap.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
tap.bind((interface, 0x0003))
tap.setblocking(False)
sender = ipaddress.IPv4Address("10.77.0.4").packed
head = b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac + sender + b"\0" * 6

sent_at, times, macs = {}, [], set()


def take():
    while True:
        try:
            frame = wire.recv(2048)
        except BlockingIOError:
            return
        now = time.perf_counter()
        if len(frame) >= 42 and frame[20:22] == b"\0\2" and frame[0:6] == mac and frame[32:38] == mac:
            asked = sent_at.pop(frame[28:32], None)
            if asked is not None:
                times.append(now - asked)
                macs.add(frame[22:28].hex(":"))


wire_asked, wire_times = {}, []


def watch():
    while True:
        try:
            frame, control, _, _ = tap.recvmsg(128, 64)
        except BlockingIOError:
            return
        if len(frame) < 42 or frame[12:14] != b"\x08\x06" or not control:
            continue
        seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
        at = seconds + nanoseconds / 1e9
        if frame[20:22] == b"\0\1" and frame[6:12] == mac:
            wire_asked[frame[38:42]] = at
        elif frame[20:22] == b"\0\2" and frame[0:6] == mac and frame[28:32] in wire_asked:
            wire_times.append(at - wire_asked.pop(frame[28:32]))


start, asked = time.perf_counter(), 0
for _ in range(rounds):
    for i in range(count):
        due = start + asked / rate
        while True:
            left = due - time.perf_counter()
            if left <= 0:
                break
            select.select([wire], [], [], left)
            take()
        target = (first + i).packed
        sent_at[target] = time.perf_counter()
        try:
            wire.send(head + target)
        except BlockingIOError:
            pass
        asked += 1
        if asked % 16 == 0:
            take()
            watch()
deadline = time.perf_counter() + 1
while sent_at and time.perf_counter() < deadline:
    select.select([wire], [], [], 0.1)
    take()
watch()
times.sort()
wire_times.sort()


def quantiles(prefix, sample):
    def at(q):
        return int(sample[min(len(sample) - 1, int(q * len(sample)))] * 1e6) if sample else 0

    return " ".join("%s%s=%d" % (prefix, name, at(q)) for name, q in (
        ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1)))


print("asked=%d answered=%d macs=%s %s %s" % (
    asked, len(times), ",".join(sorted(macs)), quantiles("", times), quantiles("wire_", wire_times)))
