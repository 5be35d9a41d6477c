"""A gateway that is none of miniupnpd's: spec/support/gateway.py MODE [ADDRESS]. It answers SSDP and HTTP on ADDRESS.

It prints a line for each action that it was asked for: NAME EXTERNAL_PORT LEASE CLIENT. MODE is one of
  permanent      good, but for AddPortMapping with a lease (error 725)
  private        good, its outside address is private
  endless        answers without an end
  endless-header headers without an end
  slow           a byte each 200 ms
  redirect       302 to another host
  elsewhere      its location is on another host
  control        its control URL is on another host
  broken         XML that ends in the middle
  entities       entities within entities
  length         a body shorter than it says
  chunks         a chunk of 2^60 bytes
  silent         accepts and says nothing
  nonsense       SSDP that is none
"""
import re
import socket
import sys
import threading
import time

MODE = sys.argv[1]
ADDRESS = sys.argv[2] if len(sys.argv) > 2 else "10.77.0.1"
PORT = 5000
WANIP = "urn:schemas-upnp-org:service:WANIPConnection:1"
GOOD = ("permanent", "private")


def say(line):
    """One write for a line: threads say theirs beside each other."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def description():
    control = "http://203.0.113.9/ctl" if MODE == "control" else "/ctl"
    return f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{WANIP}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<controlURL>{control}</controlURL><eventSubURL>/evt</eventSubURL><SCPDURL>/scpd.xml</SCPDURL>
</service></serviceList></device></deviceList></device></deviceList></device></root>"""


def head(status, length, more=""):
    return f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def misbehave(connection):
    if MODE == "endless":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<root>")
        while True:
            connection.sendall(b"<a>" * 10000)
    elif MODE == "endless-header":
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-Filler: " + b"a" * 1000 + b"\r\n")
    elif MODE == "slow":
        connection.sendall(head("200 OK", 60000))
        while True:
            connection.sendall(b"<")
            time.sleep(0.2)
    elif MODE == "redirect":
        connection.sendall(head("302 Found", 0, "Location: http://10.77.0.250:5000/rootDesc.xml\r\n"))
    elif MODE == "broken":
        text = description()[:400].encode()
        connection.sendall(head("200 OK", len(text)) + text)
    elif MODE == "entities":
        bomb = "".join(f'<!ENTITY e{i} "' + f"&e{i - 1};" * 10 + '">' for i in range(1, 10))
        text = ('<!DOCTYPE x [<!ENTITY e0 "ha">' + bomb + "]>" + description().replace("/ctl", "&e9;")).encode()
        connection.sendall(head("200 OK", len(text)) + text)
    elif MODE == "length":
        connection.sendall(head("200 OK", 60000) + b"<root>")
    elif MODE == "chunks":
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n<root>")
        time.sleep(60)
    elif MODE == "silent":
        time.sleep(60)


def value(body, name):
    found = re.search(f"<{name}>([^<]*)</{name}>", body)
    return found.group(1) if found else ""


def act(connection, action, body, client):
    status, inner = "200 OK", f'<u:{action}Response xmlns:u="{WANIP}">%s</u:{action}Response>'
    lease = value(body, "NewLeaseDuration")
    say(f'{action} {value(body, "NewExternalPort")} {lease} {client}')
    if action == "GetStatusInfo":
        inner %= "<NewConnectionStatus>Connected</NewConnectionStatus><NewUptime>%d</NewUptime>" % time.monotonic()
    elif action == "GetExternalIPAddress":
        outside = "192.168.1.5" if MODE == "private" else "192.0.3.1"
        inner %= f"<NewExternalIPAddress>{outside}</NewExternalIPAddress>"
    elif action in ("AddPortMapping", "DeletePortMapping") and (lease in ("", "0") or MODE != "permanent"):
        inner %= ""
    else:
        code = 725 if action == "AddPortMapping" else 713 if "Generic" in action else 401
        status, inner = "500 Internal Server Error", (
            "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError>"
            f"<errorCode>{code}</errorCode><errorDescription>no</errorDescription></UPnPError></detail></s:Fault>")
    text = ('<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            + inner + "</s:Body></s:Envelope>").encode()
    connection.sendall(head(status, len(text), "Connection: close\r\n") + text)


def serve(connection, client):
    try:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096) or b"\r\n\r\n"
        first, body = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"Content-Length: (\d+)", first)
        while length and len(body) < int(length.group(1)):
            body += connection.recv(4096)
        action = re.search(rb'SOAPAction: "[^#"]*#(\w+)"', first)
        say("asked " + first.split(b"\r\n")[0].decode())
        if MODE not in GOOD and MODE != "control":
            misbehave(connection)
        elif action:
            act(connection, action.group(1).decode(), body.decode(), client)
        else:
            text = description().encode()
            connection.sendall(head("200 OK", len(text), "Connection: close\r\n") + text)
    except OSError:
        pass
    connection.close()


def answer_searches():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.bind(("", 1900))
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                   socket.inet_aton("239.255.255.250") + socket.inet_aton(ADDRESS))
    reply = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    reply.bind((ADDRESS, 0))
    host = "10.77.0.250" if MODE == "elsewhere" else ADDRESS
    while True:
        data, source = udp.recvfrom(2048)
        target = re.search(rb"ST: ([^\r]*)", data)
        text = (f"HTTP/1.1 200 OK\r\nST: {target.group(1).decode() if target else ''}\r\nEXT:\r\n"
                f"USN: uuid:1::x\r\nLOCATION: http://{host}:{PORT}/rootDesc.xml\r\n\r\n").encode()
        if MODE == "nonsense":
            text = b"HTTP/1.1 200 OK\r\nLOCATION: " + b"http://" + b"a" * 1300 + b"\r\n" + bytes(range(256))
        reply.sendto(text, source)


listener = socket.create_server((ADDRESS, PORT), backlog=64)
threading.Thread(target=answer_searches, daemon=True).start()
say("ready")
while True:
    accepted, peer = listener.accept()
    threading.Thread(target=serve, args=(accepted, peer[0]), daemon=True).start()
