"""
A hostile guest: every kind of packet that it might try, and where each may be seen at most.

A packet carries a tag (magic, seed, kind, number), so that one that escapes names its kind and can be repeated. The places that are watched:
  bridge  on the bridge, behind the anti-spoofing (what is refused by the firewall proper is still seen here)
  host    delivered to the host itself, behind its input chain
  lan     another network of the host
  uplink  the way out
  victim  another guest
"""

import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import threading
import time

import frames as f
from host import CLONE_NEWNET

MAGIC = b"\xf5Sv\x0dTag"
TAG = struct.Struct("!7sIHI")
LEGIT_PORT = 9
ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 26, 33, 263, 6
RECEIVE_BYTES = 64 * 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


def in_netns(name, make):
    """make()'s result, of a thread that is in this namespace: a socket stays where it was made."""
    result = []

    def work():
        fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            result.append(make())
        except OSError as e:
            result.append(e)
        finally:
            os.close(fd)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def checksums_in_software(netns, link):
    """As on hardware without offloads: the kernel itself fills in the checksums that a guest left open. (ETHTOOL_STXCSUM)"""
    value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0))
    request = struct.pack("16sQ16x", link.encode(), ctypes.addressof(value))

    def set_it():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL

    in_netns(netns, set_it)


def packet_socket(ignored=()):
    """All links of the namespace but those with the given indexes."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    if ignored:
        code = [(0x20, 0, 0, 0xFFFFF000 + 8)]  # A = interface index
        code += [(0x15, len(ignored) - i, 0, index) for i, index in enumerate(ignored)]
        code += [(0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
    return sock


def raw_sockets():
    """One for each protocol that a host might listen to: each gets what the input chain lets pass."""
    found = []
    for family, protocols in ((socket.AF_INET, (f.ICMP, f.IGMP, f.TCP, f.UDP, f.GRE, f.ESP, f.SCTP, 253)),
                              (socket.AF_INET6, (f.ICMP6, f.TCP, f.UDP))):
        for protocol in protocols:
            sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
            found.append(sock)
    return found


class Watch(threading.Thread):
    """Reads sockets until it is stopped; see(place, data) for each packet. `place` may be a function of the socket's address."""

    def __init__(self, sockets, place, see):
        super().__init__(daemon=True)
        self.sockets, self.place, self.see, self.on, self.lost = sockets, place, see, True, 0
        self.start()

    def run(self):
        while True:
            ready = select.select(self.sockets, [], [], 0.1)[0]
            if not ready and not self.on:
                break
            for sock in ready:
                try:
                    data, address = sock.recvfrom(70000)
                except OSError:
                    continue  # the link went down: the socket stays
                self.see(self.place if isinstance(self.place, str) else self.place(address), data)
        for sock in self.sockets:
            if sock.family == socket.AF_PACKET:
                self.lost += struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            sock.close()

    def stop(self):
        self.on = False
        self.join()


class Scene:
    """The addresses that a kind of packet may use. All as bytes."""

    def __init__(self, attacker, victim, gateway, gateway_mac, host, lan, seed):
        """`attacker`, `victim`: interfaces of the API. `host`: other addresses of the host. `lan`: one in another network of it."""
        self.mac, self.ip = mac_bytes(attacker["mac"]), socket.inet_aton(attacker["ip"])
        self.victim_mac, self.victim = mac_bytes(victim["mac"]), socket.inet_aton(victim["ip"])
        self.gateway, self.gateway_mac = socket.inet_aton(gateway), mac_bytes(gateway_mac)
        self.host = [socket.inet_aton(address) for address in host]
        self.lan = socket.inet_aton(lan)
        self.outside = socket.inet_aton("192.0.2.1")
        self.metadata = socket.inet_aton("169.254.169.254")
        self.link_local = bytes.fromhex("fe80000000000000") + mac64(self.mac)
        self.victim_local = bytes.fromhex("fe80000000000000") + mac64(self.victim_mac)
        self.ip6 = socket.inet_pton(socket.AF_INET6, attacker["ip6"]) if attacker.get("ip6") else self.link_local
        self.outside6 = socket.inet_pton(socket.AF_INET6, "2001:db8:99::1")
        self.seed, self.random, self.number = seed, random.Random(seed), 0

    def tag(self, kind):
        self.number += 1
        return TAG.pack(MAGIC, self.seed, kind, self.number)

    def any_port(self):
        return self.random.choice([22, 53, 67, 80, 111, 123, 443, 2375, 5353, 6443, 8080, self.random.randrange(1, 65536)])

    def to(self, payload, **kw):
        """Of the right MAC to the gateway."""
        return f.ether(kw.pop("dst", self.gateway_mac), kw.pop("src", self.mac), kw.pop("kind", f.ETH_IP), payload, **kw)

    def packet(self, dst, payload, protocol=f.UDP, **kw):
        return self.to(f.ipv4(kw.pop("src", self.ip), dst, protocol, payload, number=self.number, **kw))

    def packet6(self, following, payload):
        return self.to(f.ipv6(self.ip6, self.outside6, following, payload), kind=f.ETH_IP6)


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def mac64(mac):
    return bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


KINDS = []


def kind(*places):
    """Registers build(scene, tag) -> frame, or (virtio header, frame), or a list of those."""

    def register(build):
        KINDS.append((build.__name__, frozenset(places), build))
        return build

    return register


# What is allowed: without it the test would prove nothing.


@kind("bridge", "uplink")
def legit(s, tag):
    return s.packet(s.outside, f.udp(40000, LEGIT_PORT, tag))


@kind("bridge", "host")
def legit_ping(s, tag):
    return s.packet(s.gateway, f.icmp(8, 0, b"\0\1\0\1", tag), f.ICMP)


# Who it says it is.


@kind()
def spoofed_mac(s, tag):
    src = s.random.choice([s.victim_mac, s.gateway_mac, s.random.randbytes(6), b"\0" * 6, f.BROADCAST, b"\1\0\x5e\0\0\1"])
    return s.to(f.ipv4(s.ip, s.outside, f.UDP, f.udp(1, LEGIT_PORT, tag)), src=src)


@kind()
def spoofed_ipv4(s, tag):
    others = [s.victim, s.gateway, *s.host, s.lan, s.outside, s.metadata, b"\x7f\0\0\1", b"\0\0\0\0", b"\xff" * 4, s.random.randbytes(4)]
    near = s.ip[:3] + bytes([s.random.choice([n for n in range(256) if n != s.ip[3]])])
    src = s.random.choice([*others, near])
    return s.packet(s.random.choice([s.outside, s.gateway, s.victim]), f.udp(1, LEGIT_PORT, tag), src=src if src != s.ip else s.victim)


@kind()
def spoofed_both(s, tag):
    return f.ether(s.gateway_mac, s.victim_mac, f.ETH_IP, f.ipv4(s.victim, s.outside, f.UDP, f.udp(1, LEGIT_PORT, tag)))


@kind()
def spoofed_ipv6(s, tag):
    src = s.random.choice([s.link_local, s.victim_local, s.random.randbytes(16), bytes(16), bytes(15) + b"\1"])
    dst = s.random.choice([s.victim_local, s.random.randbytes(16), bytes.fromhex("ff02") + bytes(13) + b"\1"])
    return s.to(f.ipv6(src, dst, f.UDP, f.udp(1, 53, tag)), kind=f.ETH_IP6, dst=s.random.choice([s.gateway_mac, b"\x33\x33\0\0\0\1"]))


@kind()
def spoofed_arp(s, tag):
    mac, address = s.random.choice([(s.mac, s.victim), (s.mac, s.gateway), (s.victim_mac, s.victim), (s.victim_mac, s.ip), (s.gateway_mac, s.gateway),
                                    (s.mac, s.random.randbytes(4)), (s.mac, b"\0\0\0\0"), (s.random.randbytes(6), s.ip)])
    target = s.random.choice([s.gateway, s.victim, address])
    src = s.random.choice([s.mac, mac])
    return s.to(f.arp(s.random.choice([1, 2]), mac, address, bytes(6), target, tag), src=src, kind=f.ETH_ARP,
                dst=s.random.choice([f.BROADCAST, s.gateway_mac, s.victim_mac]))


@kind()
def odd_arp(s, tag):
    """Not Ethernet and IPv4, or of lengths that move the addresses."""
    wrong = s.random.choice([{"hardware": 6}, {"protocol": 0x86DD}, {"lengths": 0x0610}, {"lengths": 0x0804}, {"lengths": 0}])
    return s.to(f.arp(1, s.mac, s.ip, bytes(6), s.gateway, tag, **wrong), kind=f.ETH_ARP)


# In what it is wrapped.


@kind()
def vlan(s, tag):
    tags = s.random.choice([[(f.ETH_VLAN, 0)], [(f.ETH_VLAN, 1)], [(f.ETH_VLAN, 0xE000)], [(f.ETH_VLAN, 4095)], [(f.ETH_QINQ, 0)], [(f.ETH_QINQ, 7)]])
    return s.to(f.ipv4(s.ip, s.outside, f.UDP, f.udp(1, LEGIT_PORT, tag)), tags=tags)


@kind()
def vlan_twice(s, tag):
    outer = s.random.choice([f.ETH_VLAN, f.ETH_QINQ])
    tags = [(outer, s.random.choice([0, 1, 9])), (f.ETH_VLAN, s.random.choice([0, 1, 9]))]
    return s.to(f.ipv4(s.ip, s.outside, f.UDP, f.udp(1, LEGIT_PORT, tag)), tags=tags * s.random.choice([1, 1, 2]))


@kind()
def vlan_arp(s, tag):
    return s.to(f.arp(2, s.mac, s.victim, bytes(6), s.gateway, tag), kind=f.ETH_ARP, tags=[(f.ETH_VLAN, s.random.choice([0, 1]))])


@kind()
def other_ether_type(s, tag):
    types = [0, 46, 0x05DC, 0x0600, 0x0842, 0x6003, 0x8035, 0x809B, 0x8137, 0x8847, 0x8863, 0x8864, 0x888E, 0x88CC, 0x88E5, 0x88F7, 0x9000, 0x22F0]
    return s.to(tag + bytes(40), kind=s.random.choice([*types, s.random.choice([n for n in range(0x0600, 0x1000) if n not in (0x800, 0x806)])]))


@kind()
def link_control(s, tag):
    """To the groups that a bridge keeps for itself: spanning tree, LACP, LLDP, 802.1X."""
    group = b"\x01\x80\xc2\0\0" + bytes([s.random.randrange(0, 16)])
    body = b"\x42\x42\x03" + tag + bytes(35)
    return f.ether(group, s.mac, s.random.choice([len(body), 0x8809, 0x88CC, 0x888E]), body)


@kind()
def link_control_ipv4(s, tag):
    """A spoofed packet that hides behind such a group: it must not go past the chain."""
    group = b"\x01\x80\xc2\0\0" + bytes([s.random.randrange(0, 16)])
    return f.ether(group, s.mac, f.ETH_IP, f.ipv4(s.victim, s.gateway, f.UDP, f.udp(1, 53, tag)))


@kind()
def ipv4_options(s, tag):
    options = s.random.choice([b"\x07\x07\x04\0\0\0\0\0", b"\x83\x07\x04" + s.outside + b"\0", b"\x89\x07\x04" + s.lan + b"\0", b"\x94\x04\0\0", b"\1\1\1\1",
                               b"\x44\x04\x05\0", b"\x07\x27\x04" + bytes(37), b"\xff\xff\xff\xff", b"\x82\x0b" + bytes(10)])
    return s.packet(s.random.choice([s.outside, s.gateway]), f.udp(1, LEGIT_PORT, tag), options=options)


@kind()
def ipv6_extensions(s, tag):
    body = f.udp(1, 53, tag)
    chain = [0, 43, 44, 60, 135, 0, 60, 43]
    s.random.shuffle(chain)
    following = f.UDP
    for number in chain[: s.random.randrange(1, 8)]:
        body = bytes([following, 0]) + s.random.randbytes(6) + body
        following = number
    return s.to(f.ipv6(s.link_local, s.random.choice([s.victim_local, s.random.randbytes(16)]), following, body), kind=f.ETH_IP6)


@kind()
def router_advertisement(s, tag):
    everybody = bytes.fromhex("ff02") + bytes(13) + b"\1"
    body = struct.pack("!BBHII", 64, 0xC0, 9000, 0, 0) + b"\x03\x04\x40\xc0" + struct.pack("!III", 86400, 14400, 0) + bytes.fromhex("20010db8bad0") + bytes(10)
    return f.ether(b"\x33\x33\0\0\0\1", s.mac, f.ETH_IP6, f.ipv6(s.link_local, everybody, f.ICMP6, f.icmp6(s.link_local, everybody, 134, 0, body + tag), 255))


@kind()
def neighbour_advertisement(s, tag):
    target = s.random.choice([s.victim_local, s.link_local, s.random.randbytes(16)])
    body = b"\xa0\0\0\0" + target + b"\2\1" + s.mac
    return s.to(f.ipv6(s.link_local, s.victim_local, f.ICMP6, f.icmp6(s.link_local, s.victim_local, 136, 0, body + tag), 255), kind=f.ETH_IP6)


@kind()
def dhcp_reply(s, tag):
    dst = s.random.choice([b"\xff" * 4, s.victim, s.gateway])
    body = b"\2\1\6\0" + bytes(12) + s.victim + s.ip + bytes(210) + b"\x63\x82\x53\x63\x35\1\5\xff" + tag
    return f.ether(s.random.choice([f.BROADCAST, s.victim_mac, s.gateway_mac]), s.mac, f.ETH_IP, f.ipv4(s.ip, dst, f.UDP, f.udp(67, 68, body)))


@kind()
def dhcp6_reply(s, tag):
    return f.ether(b"\x33\x33\0\1\0\2", s.mac, f.ETH_IP6, f.ipv6(s.link_local, s.victim_local, f.UDP, f.udp(547, 546, b"\7" + tag)))


# Broken ones.


@kind("bridge")
def malformed_ipv4(s, tag):
    wrong = s.random.choice([{"version": 7}, {"version": 6}, {"version": 0}, {"header_words": 4}, {"header_words": 0}, {"header_words": 15}, {"length": 0},
                             {"length": 10}, {"length": 65535}, {"length": 20}, {"ttl": 0}])
    return s.packet(s.random.choice([s.gateway, s.victim, s.lan]), f.udp(1, 53, tag), **wrong)


@kind("bridge")
def bad_checksum(s, tag):
    packet = bytearray(f.ipv4(s.ip, s.random.choice([s.gateway, s.victim, s.outside]), f.UDP, f.udp(1, LEGIT_PORT, tag)))
    packet[10] ^= 0x55
    return s.to(bytes(packet))


@kind("bridge")
def short_headers(s, tag):
    """Cut off somewhere in a header. What has no tag any more may not be seen either: the watchers know those that are right."""
    whole = s.packet(s.random.choice([s.gateway, s.victim, s.lan]), f.tcp(s.ip, s.gateway, 1, 80, 2, tag), f.TCP)
    return whole[: s.random.randrange(1, 54)]


@kind("bridge")
def odd_transport(s, tag):
    dst = s.random.choice([s.gateway, s.victim, s.lan])
    payload = s.random.choice([b"", b"\0", tag[:3], struct.pack("!HHHH", 1, 53, 4, 0) + tag, struct.pack("!HHHH", 1, 53, 65535, 0) + tag])
    return s.packet(dst, payload, s.random.choice([f.UDP, f.TCP, f.ICMP, f.SCTP]))


@kind()
def lone_padding(s, tag):
    return f.ether(s.gateway_mac, s.mac, f.ETH_IP, tag)


# Where it must not go.


@kind("bridge")
def host_udp(s, tag):
    return s.packet(s.random.choice([s.gateway, *s.host]), f.udp(s.random.randrange(1, 65536), s.any_port(), tag))


@kind("bridge")
def host_tcp(s, tag):
    dst = s.random.choice([s.gateway, *s.host])
    flags = s.random.choice([2, 2, 2, 0x10, 0x12, 0x04, 0x01, 0x29, 0, 0x3F, 0x06])
    return s.packet(dst, f.tcp(s.ip, dst, s.random.randrange(1, 65536), s.any_port(), flags, tag), f.TCP)


@kind("bridge")
def host_icmp(s, tag):
    """Anything but an echo request to the gateway."""
    number, code = s.random.choice([(0, 0), (3, 3), (3, 4), (4, 0), (5, 1), (9, 0), (10, 0), (11, 0), (13, 0), (15, 0), (17, 0), (40, 0)])
    inner = f.ipv4(s.random.choice([s.ip, s.gateway]), s.outside, f.UDP, f.udp(1, 2, b""))[:28]
    return s.packet(s.random.choice([s.gateway, *s.host]), f.icmp(number, code, s.outside, inner + tag), f.ICMP)


@kind("bridge")
def host_ping_elsewhere(s, tag):
    return s.packet(s.random.choice(s.host), f.icmp(8, 0, b"\0\1\0\1", tag), f.ICMP)


@kind("bridge")
def host_other_protocols(s, tag):
    return s.packet(s.random.choice([s.gateway, *s.host]), s.random.choice([b"", b"\0\0\x08\0"]) + tag, s.random.choice([f.IGMP, f.GRE, f.ESP, f.SCTP, 4, 41, 51, 253]))


@kind("bridge")
def metadata(s, tag):
    return s.packet(s.random.choice([s.metadata, b"\xa9\xfe" + s.random.randbytes(2)]), f.udp(1, s.any_port(), tag))


@kind("bridge")
def metadata_tcp(s, tag):
    return s.packet(s.metadata, f.tcp(s.ip, s.metadata, s.random.randrange(1, 65536), 80, 2, tag), f.TCP)


@kind("bridge")
def loopback(s, tag):
    return s.packet(b"\x7f" + s.random.choice([b"\0\0\1", s.random.randbytes(3)]), f.udp(1, s.any_port(), tag))


@kind("bridge")
def other_network(s, tag):
    return s.packet(s.lan, s.random.choice([f.udp(1, s.any_port(), tag), f.tcp(s.ip, s.lan, 1, s.any_port(), 2, tag)]), f.UDP)


@kind("bridge")
def other_guest(s, tag):
    if s.random.random() < 0.5:
        return s.packet(s.victim, f.udp(1, s.any_port(), tag))
    return s.packet(s.victim, f.tcp(s.ip, s.victim, s.random.randrange(1, 65536), s.any_port(), s.random.choice([2, 0x10, 0x12]), tag), f.TCP)


@kind("bridge")
def other_guest_direct(s, tag):
    """To its MAC, past the host."""
    body = s.random.choice([f.udp(1, s.any_port(), tag), f.icmp(8, 0, b"\0\1\0\1", tag)])
    return f.ether(s.victim_mac, s.mac, f.ETH_IP, f.ipv4(s.ip, s.victim, f.UDP, body))


@kind("bridge")
def other_guest_arp(s, tag):
    """A right question, but of the other guest."""
    return f.ether(s.random.choice([s.victim_mac, f.BROADCAST]), s.mac, f.ETH_ARP, f.arp(1, s.mac, s.ip, bytes(6), s.victim, tag))


@kind("bridge")
def many_cast(s, tag):
    group = s.random.choice([b"\xe0\0\0\1", b"\xe0\0\0\xfb", b"\xe0\0\0\x16", b"\xef\xff\xff\xfa", b"\xff" * 4, s.ip[:3] + b"\xff", s.ip[:3] + b"\0"])
    mac = s.random.choice([f.BROADCAST, b"\1\0\x5e" + bytes([group[1] & 0x7F]) + group[2:], s.gateway_mac, s.victim_mac])
    return f.ether(mac, s.mac, f.ETH_IP, f.ipv4(s.ip, group, s.random.choice([f.UDP, f.IGMP]), f.udp(5353, 5353, tag)))


@kind("bridge")
def gateway_by_broadcast(s, tag):
    """An address of one host in a frame for all."""
    return f.ether(s.random.choice([f.BROADCAST, b"\1\0\x5e\0\0\1"]), s.mac, f.ETH_IP, f.ipv4(s.ip, s.random.choice([s.gateway, s.victim]), f.UDP, f.udp(1, 53, tag)))


# In pieces. Each piece has the tag; the whole is for an address that is closed.


def closed(s):
    return s.random.choice([s.gateway, s.victim, s.metadata, s.lan, *s.host])


@kind("bridge")
def fragments(s, tag):
    dst, body = closed(s), f.udp(1, 53, tag + bytes(7) + tag)
    return [s.packet(dst, body[:24], flags_offset=0x2000), s.packet(dst, body[24:], flags_offset=3)]


@kind("bridge")
def fragments_late_ports(s, tag):
    """TCP whose first piece has 8 bytes: the flags are in the second. And a first one that never comes."""
    dst = closed(s)
    body = f.tcp(s.ip, dst, 1, 22, 2, tag)
    pieces = [s.packet(dst, body[:8], f.TCP, flags_offset=0x2000), s.packet(dst, body[8:], f.TCP, flags_offset=1)]
    return s.random.choice([pieces, pieces[1:], pieces[::-1]])


@kind("bridge")
def fragments_overlapping(s, tag):
    """The second writes other ports over those of the first."""
    dst, body = closed(s), f.udp(1, LEGIT_PORT, tag + bytes(15) + tag)
    other = f.udp(1, 53, tag + bytes(31))
    return [s.packet(dst, body[:32], flags_offset=0x2000), s.packet(dst, other[:24], flags_offset=0x2000), s.packet(dst, body[24:], flags_offset=3)]


@kind("bridge")
def fragments_too_long(s, tag):
    """Beyond 65,535 bytes."""
    dst = closed(s)
    return [s.packet(dst, f.udp(1, 53, tag)[:24], flags_offset=0x2000), s.packet(dst, tag + bytes(500), flags_offset=8189)]


@kind("bridge")
def fragment_of_nothing(s, tag):
    return s.packet(closed(s), tag + bytes(7), s.random.choice([f.UDP, f.ICMP, 0, 255]), flags_offset=s.random.choice([0x2000, 0x2001, 0x4000, 0x8000, 1, 8191]))


# What the guest tells its device: checksums that the host shall fill in, packets that it shall cut.


@kind("bridge", "uplink")
def legit_open(s, tag):
    """As Linux sends its UDP and TCP: at the uplink the checksum is there."""
    if s.random.random() < 0.5:
        return f.vnet(flags=1, start=34, offset=6), s.packet(s.outside, f.opened(s.ip, s.outside, f.UDP, f.udp(40001, LEGIT_PORT, tag)))
    syn = f.tcp(s.ip, s.outside, s.random.randrange(41000, 41064), LEGIT_PORT, 2, tag)
    return f.vnet(flags=1, start=34, offset=16), s.packet(s.outside, f.opened(s.ip, s.outside, f.TCP, syn), f.TCP)


@kind("bridge", "uplink")
def legit_open6(s, tag):
    if s.random.random() < 0.5:
        return f.vnet(flags=1, start=54, offset=6), s.packet6(f.UDP, f.opened(s.ip6, s.outside6, f.UDP, f.udp(40001, LEGIT_PORT, tag)))
    syn = f.tcp(s.ip6, s.outside6, s.random.randrange(41000, 41064), LEGIT_PORT, 2, tag)
    return f.vnet(flags=1, start=54, offset=16), s.packet6(f.TCP, f.opened(s.ip6, s.outside6, f.TCP, syn))


def place_before(s, at, end):
    """A header that tells to write somewhere in front of `end`, in one of the two ways; `at`: of the transport header."""
    place = s.random.randrange(20, end)
    start = place if place < at or s.random.random() < 0.5 else at
    return {"flags": 1, "start": start, "offset": place - start}


@kind("bridge")
def open_checksum_over_port(s, tag):
    """Nobody may be made to write another port over the one that the firewall has judged."""
    return f.vnet(flags=1, start=34, offset=s.random.choice([0, 1, 2, 3, 4, 5])), legit(s, tag)


@kind("bridge")
def open_checksum_over_address(s, tag):
    return f.vnet(**place_before(s, 34, 34)), legit(s, tag)


@kind("bridge")
def open_checksum_tcp(s, tag):
    return f.vnet(**place_before(s, 34, 34 + 16)), s.packet(s.outside, f.tcp(s.ip, s.outside, 41064, LEGIT_PORT, 2, tag), f.TCP)


@kind("bridge")
def open_checksum_ipv6(s, tag):
    if s.random.random() < 0.5:
        return f.vnet(**place_before(s, 54, 54 + 6)), s.packet6(f.UDP, f.opened(s.ip6, s.outside6, f.UDP, f.udp(40002, LEGIT_PORT, tag)))
    syn = f.tcp(s.ip6, s.outside6, 41064, LEGIT_PORT, 2, tag)
    return f.vnet(**place_before(s, 54, 54 + 16)), s.packet6(f.TCP, syn)


@kind("bridge", "uplink")
def open_checksum_fragments(s, tag):
    """
    Of the whole, which the first piece might hand on. Where the bridge itself puts packets together (br_netfilter), pieces of which not all are open
    make one that is not.
    """
    body = f.udp(40003, LEGIT_PORT, tag + bytes(7) + tag)
    first = f.vnet(**s.random.choice([place_before(s, 34, 34 + 6), {"flags": 1, "start": 34, "offset": 6}]))
    second = f.vnet(**s.random.choice([{}, place_before(s, 34, 34 + 6), {"flags": 1, "start": 34, "offset": 6}]))
    return [(first, s.packet(s.outside, body[:32], flags_offset=0x2000)), (second, s.packet(s.outside, body[32:], flags_offset=4))]


@kind("bridge")
def open_checksum_segments(s, tag):
    """Of packets that the host has to cut."""
    header = f.vnet(gso=1, header=54, size=500, **place_before(s, 34, 34 + 16))
    return header, s.packet(s.outside, f.tcp(s.ip, s.outside, 41065, LEGIT_PORT, 0x10, tag + bytes(1200)), f.TCP)


@kind("bridge")
def open_checksum_elsewhere(s, tag):
    """Of what has none, or none that Linux would leave open."""
    header = f.vnet(flags=1, start=s.random.choice([20, 24, 34]), offset=s.random.choice([0, 2, 4, 6]))
    return header, s.random.choice([s.packet(s.outside, f.icmp(8, 0, b"\0\1\0\1", tag), f.ICMP), s.packet(s.outside, tag + bytes(20), 253),
                                    s.to(f.arp(1, s.mac, s.ip, bytes(6), s.gateway, tag), kind=f.ETH_ARP)])


@kind("bridge")
def open_checksum_closed(s, tag):
    return f.vnet(flags=1, start=s.random.choice([34, 40, 60]), offset=s.random.choice([0, 2, 6, 16])), host_udp(s, tag)


@kind("bridge")
def lies_about_segments(s, tag):
    header = f.vnet(flags=s.random.choice([0, 1]), gso=s.random.choice([1, 3, 4, 5, 0x81, 77]), header=s.random.choice([0, 14, 54, 1500]),
                    size=s.random.choice([0, 1, 8, 1400, 65535]), start=34, offset=s.random.choice([6, 16]))
    dst = closed(s)
    return header, s.packet(dst, f.tcp(s.ip, dst, 1, 80, 0x10, tag + bytes(s.random.choice([0, 3000]))), f.TCP)


class Judge:
    """Looks at every packet that arrives anywhere, from several threads. What is wrong is kept: (place, kind, the first bytes)."""

    KEPT = 40

    def __init__(self, scene, uplink):
        """`uplink`: the host's own address there."""
        self.scene, self.uplink = scene, socket.inet_aton(uplink)
        self.counts, self.escapes, self.escape_count, self.phase = {}, [], {}, ""
        self.unjudged = set()  # places that say nothing for now
        self.lock = threading.Lock()

    def see(self, place, data):
        if place is None or place in self.unjudged:
            return
        at = data.find(MAGIC)
        if at < 0 or len(data) < at + TAG.size:
            self.see_untagged(place, data)
            return
        _, seed, number, count = TAG.unpack_from(data, at)
        if seed != self.scene.seed or number >= len(KINDS):
            return
        name, places, _ = KINDS[number]
        with self.lock:
            self.counts[place, name] = self.counts.get((place, name), 0) + 1
        if place not in places or (place == "uplink" and not self.is_right(name, data)):
            self.escape(place, f"{name} {count}", data)

    def is_right(self, name, data):
        """At the uplink: as the firewall has judged it, and with the host's address."""
        if data[12:14] == b"\x86\xdd":
            right = name == "legit_open6" and data[38:54] == self.scene.outside6 and data[56:58] == struct.pack("!H", LEGIT_PORT)
        else:
            right = data[12:14] == b"\x08\0" and data[26:34] == self.uplink + self.scene.outside and data[36:38] == struct.pack("!H", LEGIT_PORT)
        return right and (not name.startswith("legit_open") or f.is_whole(data))

    def see_untagged(self, place, data):
        """The host's own frames are known by their addresses; what else comes without a tag was made by the guest."""
        s = self.scene
        if place in ("uplink", "lan", "victim") and data[6:12] == s.mac:
            self.escape(place, "untagged, the guest's MAC", data)
        elif place in ("uplink", "lan") and data[12:14] == b"\x08\0" and (data[26:28] == s.ip[:2] or data[30:32] == s.ip[:2]):
            self.escape(place, "untagged, a guest's address", data)

    def escape(self, place, what, data):
        with self.lock:
            key = (self.phase, place, what.split()[0])
            self.escape_count[key] = self.escape_count.get(key, 0) + 1
            if len(self.escapes) < self.KEPT:
                self.escapes.append((self.phase, place, what, data[:80].hex()))

    def count(self, place, name):
        with self.lock:
            return self.counts.get((place, name), 0)


class Attacker:
    """Sends packets of all kinds in turn through the wire of a stand-in, as fast as the TAP takes them."""

    def __init__(self, scene, wire):
        self.scene, self.wire, self.sent = scene, wire, {}
        self.numbers = list(range(len(KINDS)))
        self.frames = 0

    def only(self, *names):
        self.numbers = [number for number, (name, _, _) in enumerate(KINDS) if name in names]

    def send_one(self, number):
        name, _, build = KINDS[number]
        built = build(self.scene, self.scene.tag(number))
        for one in built if isinstance(built, list) else [built]:
            header, frame = one if isinstance(one, tuple) else (f.vnet(), one)
            self.wire.send(frame, header)
            self.frames += 1
        self.sent[name] = self.sent.get(name, 0) + 1

    def send(self, count):
        end = self.frames + count
        while self.frames < end:
            for number in self.numbers:
                self.send_one(number)

    def send_while(self, condition):
        while condition():
            for number in self.numbers:
                self.send_one(number)

    def send_legit(self, count=20):
        for _ in range(count):
            self.send_one(0)
            time.sleep(0.001)


def answering(wire, reply):
    """What takes a guest's frames, and sends what `reply` makes of each, if it makes something."""

    def take(frame):
        answer = reply(frame)
        try:
            if answer is not None:
                wire.send(answer)
        except OSError:
            pass  # its VM has ended

    return take


def answer_arp(wire, mac, address):
    """A guest's own answers, without which nothing would ever be delivered to it."""

    def reply(frame):
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == address:
            return f.ether(frame[6:12], mac, f.ETH_ARP, f.arp(2, mac, address, frame[22:28], frame[28:32], bytes(18)))
        return None

    return answering(wire, reply)


def answer_neighbours(wire, mac, address):
    """The same for IPv6: solicitations (type 135) are answered by advertisements (136)."""

    def reply(frame):
        if frame[12:14] == b"\x86\xdd" and frame[20] == f.ICMP6 and frame[54] == 135 and frame[62:78] == address:
            asker = frame[22:38]
            body = b"\x60\0\0\0" + address + b"\2\1" + mac  # solicited, override
            return f.ether(frame[6:12], mac, f.ETH_IP6, f.ipv6(address, asker, f.ICMP6, f.icmp6(address, asker, 136, 0, body), 255))
        return None

    return answering(wire, reply)
