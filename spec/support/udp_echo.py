#!/usr/bin/python3
"""udp_echo.py NAME PORT: send each datagram back from the address it came to, with NAME after it."""
import socket
import sys

name, port = sys.argv[1].encode(), int(sys.argv[2])
IP_PKTINFO = 8
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
echo.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
echo.bind(("0.0.0.0", port))
print("ready", flush=True)
while True:
    data, control, _, peer = echo.recvmsg(256, 256)
    for level, kind, info in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            reply_from = b"\0\0\0\0" + info[8:12] + b"\0\0\0\0"
            try:
                echo.sendmsg([data, name], [(socket.IPPROTO_IP, IP_PKTINFO, reply_from)], 0, peer)
            except OSError:
                pass
