"""Ethernet frames by hand: right ones, and every sort of wrong one. Addresses are bytes; builders give whole frames."""

import struct

BROADCAST = b"\xff" * 6
ETH_IP, ETH_ARP, ETH_IP6, ETH_VLAN, ETH_QINQ = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
ICMP, IGMP, TCP, UDP, GRE, ESP, ICMP6, SCTP = 1, 2, 6, 17, 47, 50, 58, 132


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(dst, src, kind, payload, tags=()):
    """`tags`: (tag protocol, tag control information) from the outside inwards."""
    head = dst + src
    for protocol, control in tags:
        head += struct.pack("!HH", protocol, control)
    return head + struct.pack("!H", kind) + payload


def ipv4(src, dst, protocol, payload, options=b"", flags_offset=0, number=1, ttl=64, version=4, header_words=None, length=None):
    """`header_words` and `length` only to lie about them. `flags_offset`: 0x2000 is "more fragments", the offset in units of 8."""
    words = 5 + len(options) // 4
    total = words * 4 + len(payload) if length is None else length
    first = version << 4 | (words if header_words is None else header_words)
    head = struct.pack("!BBHHHBBH4s4s", first, 0, total, number & 0xFFFF, flags_offset, ttl, protocol, 0, src, dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, following, payload, hops=64):
    return struct.pack("!IHBB", 6 << 28, len(payload), following, hops) + src + dst + payload


def udp(sport, dport, payload):
    """Without a checksum, as IPv4 allows."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def udp6(src, dst, sport, dport, payload):
    """With its checksum, as IPv6 demands."""
    datagram = udp(sport, dport, payload)
    return datagram[:6] + struct.pack("!H", checksum(src + dst + struct.pack("!II", len(datagram), UDP) + datagram) or 0xFFFF) + payload


def tcp(src, dst, sport, dport, flags, payload=b"", number=1000):
    head = struct.pack("!HHIIBBHHH", sport, dport, number, 0, 5 << 4, flags, 65535, 0, 0)
    pseudo = src + dst + struct.pack("!BBH", 0, TCP, len(head) + len(payload))
    return head[:16] + struct.pack("!H", checksum(pseudo + head + payload)) + head[18:] + payload


def icmp(kind, code, rest, payload):
    head = struct.pack("!BBH4s", kind, code, 0, rest)
    return head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload


def icmp6(src, dst, kind, code, body):
    head = struct.pack("!BBH", kind, code, 0)
    pseudo = src + dst + struct.pack("!II", len(head) + len(body), ICMP6)
    return head[:2] + struct.pack("!H", checksum(pseudo + head + body)) + body


def arp(operation, sender_mac, sender, target_mac, target, padding=b"", hardware=1, protocol=0x0800, lengths=0x0604):
    return struct.pack("!HHHH", hardware, protocol, lengths, operation) + sender_mac + sender + target_mac + target + padding


def opened(src, dst, protocol, payload):
    """The same UDP or TCP with its checksum left open: begun with the addresses, to be finished by the host. See vnet()."""
    at = 16 if protocol == TCP else 6
    begun = ~checksum(src + dst + struct.pack("!II", len(payload), protocol)) & 0xFFFF
    return payload[:at] + struct.pack("!H", begun) + payload[at + 2:]


def is_whole(frame):
    """Is the checksum of its UDP or TCP right? IPv4 without options, or IPv6 without extensions."""
    at, addresses, following = (34, 8, frame[23]) if frame[12:14] == b"\x08\0" else (54, 32, frame[20])
    return checksum(frame[at - addresses:at] + struct.pack("!II", len(frame) - at, following) + frame[at:]) == 0


def vnet(flags=0, gso=0, header=0, size=0, start=0, offset=0):
    """A virtio_net_hdr_v1. flags 1: the checksum of what begins at `start` is to be put at start + offset."""
    return struct.pack("<BBHHHHH", flags, gso, header, size, start, offset, 0)
