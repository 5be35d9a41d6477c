#!/usr/bin/python3
"""arp_waiter.py INTERFACE ADDRESS...: ask for each IPv4 address each 5 ms until somebody answers, one after another; for each
print `ADDRESS SECONDS`, the kernel's time (CLOCK_REALTIME) of the first answer. `ready` first. Ends by itself after 60 s."""
import ipaddress
import select
import socket
import struct
import sys
import time

interface, addresses = sys.argv[1], sys.argv[2:]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
wire.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
wire.bind((interface, 0x0806))
wire.setblocking(False)
mac = wire.getsockname()[4]
head = b"\xff" * 6 + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + mac
head += ipaddress.IPv4Address("10.77.0.4").packed + b"\0" * 6
print("ready", flush=True)
end = time.monotonic() + 60


def answer(target):
    while True:
        try:
            frame, control, _, _ = wire.recvmsg(128, 64)
        except BlockingIOError:
            return None
        if len(frame) >= 42 and frame[20:22] == b"\0\2" and frame[28:32] == target and control:
            seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
            return seconds + nanoseconds / 1e9


for address in addresses:
    target = ipaddress.IPv4Address(address).packed
    at = None
    while at is None and time.monotonic() < end:
        wire.send(head + target)
        select.select([wire], [], [], 0.005)
        at = answer(target)
    print(address, "%.6f" % at if at else "none", flush=True)
