"""Writes spec/vectors/dhcp6.txt: what a DHCPv6 client sends and may get, frame by frame, as scapy builds it."""
import sys
from scapy.all import IPv6, UDP, Ether, raw
from scapy.layers import dhcp6 as d

MAC, SERVER_MAC, SOURCE = "02:00:5e:00:53:01", "02:00:5e:00:53:fe", "fe80::5eff:fe00:5301"
DUID, SERVER = b"\0\4" + b"u" * 16, b"\0\3\0\1\2\0\x5e\0\x53\xfe"
ADDRESS = "fd77::50"


def draw(count):
    """The upper half of the count-th number of splitmix64 with seed 1: the transaction ids of the client under test."""
    z = (1 + count * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) >> 32 & 0xFFFFFF


class Bytes:
    """A DUID as scapy takes it: any bytes."""

    def __new__(cls, octets):
        from scapy.packet import Raw
        return Raw(octets)


def client(kind, xid, server=None, address=ADDRESS, wishes=True, fqdn=None):
    message = kind(trid=xid) / d.DHCP6OptClientId(duid=Bytes(DUID))
    if server:
        message /= d.DHCP6OptServerId(duid=Bytes(server))
    message /= d.DHCP6OptElapsedTime(elapsedtime=0)
    if wishes:
        message /= d.DHCP6OptOptReq(reqopts=[82, 39] if fqdn else [82])
    inner = [d.DHCP6OptIAAddress(addr=address, preflft=0, validlft=0)] if address else []
    message /= d.DHCP6OptIA_NA(iaid=7, T1=0, T2=0, ianaopts=inner)
    octets = raw(message) + (b"\0\x27" + bytes([0, len(fqdn) + 1]) + b"\1" + fqdn if fqdn else b"")
    return raw(Ether(src=MAC, dst="33:33:00:01:00:02") / IPv6(tc=0xC0, hlim=64, src=SOURCE, dst="ff02::1:2")
               / UDP(sport=546, dport=547) / octets)


def server(message):
    return raw(Ether(src=SERVER_MAC, dst=MAC) / IPv6(src="fe80::1", dst=SOURCE) / UDP(sport=547, dport=546)
               / raw(message))


def reply(*options):
    message = d.DHCP6_Reply(trid=0x010203) / d.DHCP6OptClientId(duid=Bytes(DUID)) / d.DHCP6OptServerId(duid=Bytes(SERVER))
    for each in options:
        message /= each
    return server(message)


def given(address, preferred, valid):
    return d.DHCP6OptIAAddress(addr=address, preflft=preferred, validlft=valid)


frames = {
    "solicit": client(d.DHCP6_Solicit, draw(2), address=None),
    "solicit-wish": client(d.DHCP6_Solicit, draw(2), address="fd77::9", fqdn=b"\3web\7example\3org\0"),
    "request": client(d.DHCP6_Request, draw(4), SERVER),
    "confirm": client(d.DHCP6_Confirm, draw(1)),
    "renew": client(d.DHCP6_Renew, draw(10), SERVER),
    "rebind": client(d.DHCP6_Rebind, draw(10)),
    "decline": client(d.DHCP6_Decline, draw(9), SERVER, wishes=False),
    "release": client(d.DHCP6_Release, draw(10), SERVER, wishes=False),
    "reply": reply(d.DHCP6OptPref(prefval=9), d.DHCP6OptIA_NA(iaid=7, T1=900, T2=1440, ianaopts=[
        given(ADDRESS, 1800, 3600), given("fd77::51", 0, 0)])),
    "reply-no-binding": reply(d.DHCP6OptIA_NA(iaid=7, T1=0, T2=0, ianaopts=[
        d.DHCP6OptStatusCode(statuscode=3, statusmsg=b"no such lease")])),
    "reply-not-on-link": reply(d.DHCP6OptStatusCode(statuscode=4, statusmsg=b"elsewhere")),
}

with open(sys.argv[1], "w", encoding="ascii") as out:
    for name, frame in frames.items():
        print(name, frame.hex(), file=out)
