#!/usr/bin/python3
"""arp_asker.py INTERFACE FIRST COUNT RATE [ROUNDS]: ask for COUNT IPv4 addresses from FIRST on, RATE requests a second.

Prints `asked=N answered=N macs=M,... p50=us p90=us p99=us max=us`; the times are from before the request's send to after
the reply's read, this program's own cost included. An asker of its own, so that it shares no code with what it judges.
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
deadline = time.perf_counter() + 1
while sent_at and time.perf_counter() < deadline:
    select.select([wire], [], [], 0.1)
    take()
times.sort()


def quantile(q):
    return int(times[min(len(times) - 1, int(q * len(times)))] * 1e6) if times else 0


print("asked=%d answered=%d macs=%s p50=%d p90=%d p99=%d max=%d" % (
    asked, len(times), ",".join(sorted(macs)), quantile(0.5), quantile(0.9), quantile(0.99), quantile(1)))
