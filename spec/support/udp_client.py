#!/usr/bin/python3
"""udp_client.py RATE PORT ADDRESS...: ask each address in turn, RATE requests a second in all, until standard input ends.

PORT as `7777/eth0`: a client that asks the LAN anew for each request. Its neighbour entry is deleted before each, so
that a node that only accepts, but does not answer ARP any more, is no owner.

Prints at each change of who answers `t=SECONDS address=A from=NAME`, and at the end for each address
`address=A sent=N lost=N gap_ms=N`: lost requests, and the longest time between two requests that were answered.
`mark` on standard input prints `mark t=SECONDS`.
"""
import select
import socket
import struct
import sys
import time

rate, addresses = float(sys.argv[1]), sys.argv[3:]
port, _, device = sys.argv[2].partition("/")
port = int(port)
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setblocking(False)
sent_at = []
answered = {}
holder = {}
start = time.monotonic()


def take():
    while True:
        try:
            data, peer = wire.recvfrom(256)
        except (BlockingIOError, ConnectionRefusedError, OSError) as error:
            if isinstance(error, BlockingIOError):
                return
            continue
        number = struct.unpack("!I", data[:4])[0]
        answered[number] = True
        name = data[4:].decode()
        if holder.get(peer[0]) != name:
            holder[peer[0]] = name
            print(f"t={time.monotonic() - start:.3f} address={peer[0]} from={name}", flush=True)


def forget(address):
    """Delete the neighbour entry: RTM_DELNEIGH (29) with NDA_DST (1), rtnetlink(7)."""
    body = struct.pack("=BxxxiHBB", socket.AF_INET, index, 0, 0, 0)
    body += struct.pack("=HH", 8, 1) + socket.inet_aton(address)
    neighbours.send(struct.pack("=IHHII", 16 + len(body), 29, 1, 0, 0) + body)
    try:
        while neighbours.recv(4096):  # an error for an entry that there is none of
            pass
    except BlockingIOError:
        pass


if device:
    index = socket.if_nametoindex(device)
    neighbours = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    neighbours.bind((0, 0))
    neighbours.setblocking(False)

is_open = True
while is_open:
    number = len(sent_at)
    due = start + number / rate
    while True:
        left = due - time.monotonic()
        ready, _, _ = select.select([wire, sys.stdin], [], [], max(0, left))
        if wire in ready:
            take()
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if line.startswith("mark"):
                print(f"mark t={time.monotonic() - start:.3f}", flush=True)
            is_open = line != ""
        if left <= 0 or not is_open:
            break
    if device:
        forget(addresses[number % len(addresses)])
    sent_at.append(time.monotonic())
    try:
        wire.sendto(struct.pack("!I", number), (addresses[number % len(addresses)], port))
    except OSError:
        pass
until = time.monotonic() + 0.3
while time.monotonic() < until:
    select.select([wire], [], [], 0.05)
    take()
for i, address in enumerate(addresses):
    times = [sent_at[n] for n in range(i, len(sent_at), len(addresses)) if n in answered]
    total = len(range(i, len(sent_at), len(addresses)))
    gap = max((b - a for a, b in zip(times, times[1:])), default=float("inf"))
    print(f"address={address} sent={total} lost={total - len(times)} gap_ms={gap * 1000:.0f}", flush=True)
