"""Writes spec/vectors/dhcp.txt: what a DHCPv4 client sends and may get, frame by frame, as scapy builds it."""
import sys
from scapy.all import BOOTP, DHCP, IP, UDP, Ether, raw

MAC, SERVER_MAC, ALL = "02:00:5e:00:53:01", "02:00:5e:00:53:fe", "ff:ff:ff:ff:ff:ff"
CLIENT_ID = b"\xff\0\0\0\1\0\4" + b"u" * 16
WISHES = [1, 3, 51, 54, 58, 59]
ADDRESS, SERVER = "10.77.0.50", "10.77.0.1"
MACB = bytes.fromhex(MAC.replace(":", ""))


def draw(count):
    """The upper half of the count-th number of splitmix64 with seed 1: the transaction ids of the client under test."""
    z = (1 + count * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) >> 32


def client(xid, options, station=ALL, source="0.0.0.0", destination="255.255.255.255", **bootp):
    layers = (Ether(src=MAC, dst=station) / IP(src=source, dst=destination, tos=0xC0, id=0, flags="DF", ttl=64)
              / UDP(sport=68, dport=67) / BOOTP(op=1, xid=xid, chaddr=MACB, options=b"c\x82Sc", **bootp))
    message = raw(layers[BOOTP]) + raw(DHCP(options=[*options, "end"]))
    padded = message + bytes(max(0, 300 - len(message)))
    frame = layers.copy()
    frame[UDP].remove_payload()
    return raw(frame / padded)


def server(xid, tail, sname=b"", file=b"", yiaddr=ADDRESS):
    bootp = BOOTP(op=2, xid=xid, yiaddr=yiaddr, chaddr=MACB, sname=sname, file=file, options=b"c\x82Sc")
    return raw(Ether(src=SERVER_MAC, dst=MAC) / IP(src=SERVER, dst=ADDRESS) / UDP(sport=67, dport=68) / bootp / tail)


def option(code, value):
    return bytes([code, len(value)]) + value


def name_of(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


ID = ("client_id", CLIENT_ID)
SIZE = ("max_dhcp_size", 1472)
LIST = ("param_req_list", WISHES)
KIND = lambda number: ("message-type", number)
FIXED = option(53, b"\5") + option(54, bytes([10, 77, 0, 1]))
LEASE = option(51, b"\0\0\x0e\x10")

frames = {
    "discover": client(draw(1), [KIND(1), ID, SIZE, ("hostname", b"web"), LIST]),
    "discover-wish": client(draw(1), [KIND(1), ID, ("requested_addr", "10.77.0.9"), SIZE,
                                         (81, b"\5\0\0" + name_of("web.example.org")), LIST], flags=0x8000),
    "request-selecting": client(draw(1), [KIND(3), ID, ("requested_addr", ADDRESS), ("server_id", SERVER), SIZE,
                                             ("hostname", b"web"), LIST]),
    "request-rebooting": client(draw(1), [KIND(3), ID, ("requested_addr", ADDRESS), SIZE, ("hostname", b"web"), LIST]),
    "request-renewing": client(draw(6), [KIND(3), ID, SIZE, ("hostname", b"web"), LIST], SERVER_MAC, ADDRESS, SERVER,
                               ciaddr=ADDRESS),
    "request-rebinding": client(draw(7), [KIND(3), ID, SIZE, ("hostname", b"web"), LIST], ALL, ADDRESS,
                                ciaddr=ADDRESS),
    "decline": client(draw(6), [KIND(4), ID, ("requested_addr", ADDRESS), ("server_id", SERVER),
                                   ("error_message", b"the address is in use")]),
    "release": client(draw(6), [KIND(7), ID, ("server_id", SERVER), ("error_message", b"the Service is deleted")],
                      SERVER_MAC, ADDRESS, SERVER, ciaddr=ADDRESS),
    "ack-plain": server(0x01020304, FIXED + LEASE + option(1, b"\xff\xff\xff\0") + option(3, bytes([10, 77, 0, 254]))
                        + option(58, b"\0\0\3\x84") + option(59, b"\0\0\7\x08") + option(61, CLIENT_ID) + b"\xff"),
    "ack-overloaded": server(0x01020304, option(53, b"\5") + option(52, b"\3") + b"\xff",
                             file=option(54, bytes([10, 77, 0, 1])) + LEASE + b"\xff",
                             sname=option(1, b"\xff\xff\xff\0") + b"\xff"),
    "ack-long": server(0x01020304, FIXED + LEASE + option(56, b"a" * 255) + option(0x50, b"x") + option(56, b"b" * 45)
                       + b"\xff"),
}

with open(sys.argv[1], "w", encoding="ascii") as out:
    for name, frame in frames.items():
        print(name, frame.hex(), file=out)
