#!/usr/bin/python3
"""The judge of IFA_PROTO, which ip(8) of Debian 12 does not show: prints "<address>/<prefix> <protocol>" a line."""
import socket
import struct

RTM_GETADDR, NLM_F_REQUEST, NLM_F_DUMP, NLMSG_DONE = 22, 1, 0x300, 3
IFA_ADDRESS, IFA_PROTO = 1, 11

sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
sock.send(struct.pack("=IHHIIBBBBI", 24, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, 0, 0, 0, 0, 0))
done = False
while not done:
    data = sock.recv(65536)
    while data:
        size, kind = struct.unpack_from("=IH", data)
        if kind == NLMSG_DONE:
            done = True
            break
        family, prefix = struct.unpack_from("=BB", data, 16)
        attributes, rest = {}, data[24:size]
        while rest:
            length, number = struct.unpack_from("=HH", rest)
            attributes[number] = rest[4:length]
            rest = rest[(length + 3) & ~3:]
        protocol = attributes.get(IFA_PROTO, b"\0")[0]
        print("%s/%d %d" % (socket.inet_ntop(family, attributes[IFA_ADDRESS]), prefix, protocol))
        data = data[(size + 3) & ~3:]
