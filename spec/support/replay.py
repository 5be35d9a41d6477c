#!/usr/bin/python3
"""replay.py INTERFACE PORT MAC: record the heartbeats that MAC sends; from `replay` on standard input on, send what was
recorded over and over, with MAC as its source, until standard input ends. Prints `recorded N` each second.
"""
import select
import socket
import sys
import time

interface, port, mac = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
wire.bind((interface, 0x0800))
frames, is_replaying, is_open, told = [], False, True, 0.0
while is_open:
    ready, _, _ = select.select([wire, sys.stdin], [], [], 0.02)
    if wire in ready:
        frame = wire.recv(2048)
        if not is_replaying and frame[6:12] == mac and frame[36:38] == port.to_bytes(2, "big"):
            frames.append(frame)
    if sys.stdin in ready:
        line = sys.stdin.readline()
        is_open = line != ""
        is_replaying = is_replaying or line.startswith("replay")
    if is_replaying and frames:
        wire.send(frames[int(time.monotonic() * 50) % len(frames)])
    if time.monotonic() - told > 1:
        told = time.monotonic()
        print(f"recorded {len(frames)}", flush=True)
