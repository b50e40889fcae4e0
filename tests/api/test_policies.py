"""
Firewall policies by their packets: guests (the stand-in's, so that the test has their frames) send through real TAPs, the daemon's firewall and the
uplink to a server outside, which answers, so that flows are established.
"""

import json
import socket
import threading
import time

import frames as f
import hostile
import standin
from harness import Daemon, OwnDaemonCase, eventually, limit
from test_drift import stored
from test_ipv6 import OUTSIDE as OUTSIDE6, SUBNET, give_host_ipv6

OUTSIDE = "192.0.2.1"
PORTS = range(5000, 5004)
DENY_ALL = {"default_action": "deny", "rules": []}


def deny(port, **extra):
    return {"action": "deny", "protocol": "udp", "ports": port, **extra}


class Server(threading.Thread):
    """Answers each datagram at each of the ports, and notes it."""

    def __init__(self, netns, family=socket.AF_INET, address=OUTSIDE):
        super().__init__(daemon=True)
        self.seen, self.sources, self.on = set(), set(), True
        self.sockets = [hostile.in_netns(netns, lambda port=port: self.listen(family, address, port)) for port in PORTS]
        self.start()

    @staticmethod
    def listen(family, address, port):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.bind((address, port))
        return sock

    def run(self):
        while self.on:
            for sock in hostile.select.select(self.sockets, [], [], 0.05)[0]:
                data, address = sock.recvfrom(2000)
                self.seen.add(data)
                self.sources.add(address[0])
                sock.sendto(data, address)

    def stop(self):
        self.on = False
        self.join()
        for sock in self.sockets:
            sock.close()


class Guest:
    """One that runs: it sends datagrams, and notes which answers come."""

    outside = OUTSIDE
    text_at = 42  # in a frame

    def __init__(self, case, vm, bridge_mac):
        interface = vm["network_interfaces"][0]
        self.case, self.id, self.ip = case, vm["id"], interface["ip"]
        self.mac, self.gateway_mac = hostile.mac_bytes(interface["mac"]), hostile.mac_bytes(bridge_mac)
        self.answers, self.tcp_ports, self.number = set(), set(), 0
        self.join()

    def join(self):
        self.wire = standin.Wire(self.case.daemon.run_dir / "vm" / self.id)
        answer = self.neighbour()

        def take(frame):
            answer(frame)
            self.answers.add(frame[self.text_at :])
            if frame[12:14] == b"\x08\x00" and frame[23] == 6:
                self.tcp_ports.add(int.from_bytes(frame[36:38], "big"))

        receiver = standin.Receiver(self.wire, take)
        self.case.addCleanup(lambda: (receiver.stop(), self.wire.close()))

    def neighbour(self):
        return hostile.answer_arp(self.wire, self.mac, socket.inet_aton(self.ip))

    def frame(self, to, source_port, port, text):
        packet = f.ipv4(socket.inet_aton(self.ip), socket.inet_aton(to), f.UDP, f.udp(source_port, port, text), number=self.number)
        return f.ether(self.gateway_mac, self.mac, f.ETH_IP, packet)

    def send(self, port, source_port=40000, to=None):
        self.number += 1
        text = f"{self.id} {self.number} to {port}".encode()
        self.wire.send(self.frame(to or self.outside, source_port, port, text))
        return text

    def reaches(self, port, **kw):
        """With the answer back: the flow is established."""
        texts = []

        def answered():
            texts.append(self.send(port, **kw))
            time.sleep(0.02)
            return any(text in self.answers for text in texts)

        eventually(answered, f"an answer from port {port} to {self.id}", 5, every=0.05)

    def is_stopped(self, port, **kw):
        texts = [self.send(port, **kw) for _ in range(5)]
        time.sleep(0.15)
        self.case.assertFalse(self.case.server.seen & set(texts), f"{self.id} reached port {port}")


class Guest6(Guest):
    """The same over IPv6."""

    outside = OUTSIDE6
    text_at = 62

    def __init__(self, case, vm, bridge_mac):
        self.ip6_text = vm["network_interfaces"][0]["ip6"]
        self.ip6 = socket.inet_pton(socket.AF_INET6, self.ip6_text)
        super().__init__(case, vm, bridge_mac)

    def neighbour(self):
        return hostile.answer_neighbours(self.wire, self.mac, self.ip6)

    def frame(self, to, source_port, port, text):
        there = socket.inet_pton(socket.AF_INET6, to)
        return f.ether(self.gateway_mac, self.mac, f.ETH_IP6, f.ipv6(self.ip6, there, f.UDP, f.udp6(self.ip6, there, source_port, port, text)))


class PolicyCase(OwnDaemonCase):
    settings = standin.SETTINGS
    kind = Guest

    def setUp(self):
        super().setUp()
        self.ns = self.daemon.netns
        self.server = Server(self.ns.world)
        self.addCleanup(self.server.stop)

    def guest(self, **extra):
        return self.kind(self, self.create(**extra), self.ns.links()[self.daemon.bridge]["mac"])

    def put(self, path, body, **query):
        reply = self.ok(self.c.put(path, body, wait=10, **query))
        self.assertEqual(reply["generation"], reply["observed_generation"], reply)
        return reply

    def nft(self, *argv):
        return self.ns.run("nft", *argv)

    def chains(self):
        return {e["chain"]["name"] for e in self.ns.ruleset() if "chain" in e}

    def policy_chains(self):
        return {name for name in self.chains() if name.startswith("vm_")}


class PolicyTest(PolicyCase):
    def test_only_what_is_forbidden_is_cut(self):
        first, second = self.guest(), self.guest()
        for guest in (first, second):
            for port in PORTS:
                guest.reaches(port)
        self.put(f"/vms/{first.id}/firewall", {"egress": {"rules": [deny(5000)]}})
        first.is_stopped(5000)  # the flow that was established, too
        first.reaches(5001)
        second.reaches(5000)
        self.put("/firewall", {"egress": {"rules": [deny([5001, "5003-5010"])]}})
        for guest in (first, second):
            guest.is_stopped(5001)
            guest.is_stopped(5003)
            guest.reaches(5002)
        second.reaches(5000)
        self.put("/firewall", {})
        self.ok(self.c.delete(f"/vms/{first.id}/firewall", wait=10))
        for port in PORTS:
            first.reaches(port)
        self.assertEqual(set(), self.policy_chains())

    def test_other_flows_live_on(self):
        first, second = self.guest(), self.guest()
        first.reaches(5000)
        first.reaches(5001)
        second.reaches(5000)

        def flows():
            return int(self.ns.run("cat", "/proc/net/stat/nf_conntrack").splitlines()[1].split()[0], 16)

        before = flows()
        self.put(f"/vms/{first.id}/firewall", {"egress": {"rules": [deny(5000)]}})
        self.assertEqual(before - 1, flows())

    def test_counters(self):
        guest = self.guest()
        self.put(f"/vms/{guest.id}/firewall", {"egress": {"rules": [deny(5000), {"action": "allow", "to": OUTSIDE}]}})
        guest.is_stopped(5000)
        guest.reaches(5001)
        counters = self.c.json(f"/vms/{guest.id}/firewall")["counters"]["egress"]
        self.assertEqual(5, counters["rules"][0]["packets"])
        self.assertGreaterEqual(counters["rules"][1]["packets"], 1)
        self.assertGreater(counters["rules"][0]["bytes"], 5 * 28)
        self.assertEqual(0, counters["default"]["packets"])
        self.assertGreaterEqual(self.c.json("/firewall")["counters"]["egress"]["default"]["packets"], 1)
        self.act(guest.id, "kill")
        self.assertIsNone(self.c.json(f"/vms/{guest.id}/firewall")["counters"]["egress"])

    def test_it_never_runs_without_its_policy(self):
        guest = self.guest(firewall={"egress": {"rules": [deny(5000)]}})
        guest.is_stopped(5000)
        guest.reaches(5001)
        self.act(guest.id, "kill")
        self.assertEqual(set(), self.policy_chains())
        self.put(f"/vms/{guest.id}/firewall", {"egress": {"rules": [deny(5001)]}})  # while it does not run
        self.assertEqual(set(), self.policy_chains())
        self.act(guest.id, "start")
        self.assertEqual(2, len(self.policy_chains()))
        guest.join()
        guest.is_stopped(5001)  # nor does the flow from before go on
        guest.reaches(5000)
        self.forget(guest.id)
        self.assertEqual(set(), self.policy_chains())

    def test_address_sets(self):
        first, second = self.guest(), self.guest()
        self.put("/firewall/sets/servers", {"addresses": ["203.0.113.0/24"]})
        for guest in (first, second):
            self.put(f"/vms/{guest.id}/firewall", {"egress": {"rules": [{"action": "deny", "to": "@servers"}]}})
            guest.reaches(5000)
        rules = self.nft("-a", "list", "chain", "inet", self.daemon.mark, sorted(self.policy_chains())[0])
        self.put("/firewall/sets/servers", {"addresses": [f"{OUTSIDE}/32", "2001:db8::/32"]})
        for guest in (first, second):
            guest.is_stopped(5000)
        after = self.nft("-a", "list", "chain", "inet", self.daemon.mark, sorted(self.policy_chains())[0])
        self.assertEqual([line.split("#")[-1] for line in rules.splitlines()], [line.split("#")[-1] for line in after.splitlines()])
        self.put("/firewall/sets/servers", {"addresses": []})
        first.reaches(5000)

    def test_guests_reach_each_other_when_both_sides_say_so(self):
        first, second = self.guest(), self.guest()

        def arrives():
            text = first.send(7, to=second.ip)
            time.sleep(0.1)
            return any(text in answer for answer in second.answers)

        self.assertFalse(any(arrives() for _ in range(3)))
        self.put("/firewall", {"ingress": {"default_action": "allow"}})
        eventually(arrives, "a packet from guest to guest", 5)
        self.put(f"/vms/{second.id}/firewall", {"ingress": DENY_ALL})
        self.assertFalse(any(arrives() for _ in range(3)))
        self.put(f"/vms/{second.id}/firewall", {"ingress": {"rules": [{"action": "allow", "from": first.ip}]}})
        eventually(arrives, "a packet from guest to guest", 5)

    @limit(60)
    def test_what_others_break_is_repaired(self):
        guest = self.guest(firewall={"egress": {"rules": [deny(5000)]}})
        self.put("/firewall/sets/more", {"addresses": ["203.0.113.0/24", "198.51.100.77"]})
        self.put("/firewall", {"egress": {"rules": [{"action": "deny", "to": "@more"}]}})
        mark, uid = self.daemon.mark, sorted(self.policy_chains())[0].split("_")[1]
        wanted = self.describe()
        for what in (
            ("flush", "chain", "inet", mark, f"vm_{uid}_egress"),
            ("flush", "chain", "inet", mark, "host_ingress"),
            ("insert", "rule", "inet", mark, f"vm_{uid}_egress", "accept"),
            ("delete", "element", "inet", mark, "egress4", "{", guest.ip, "}"),
            ("flush", "set", "inet", mark, "addr4_more"),
            ("add", "element", "inet", mark, "addr6_more", "{ 2001:db8::1 }"),
            ("flush", "ruleset"),
        ):
            begin = time.monotonic()
            self.nft(*what)
            eventually(lambda: self.describe() == wanted, f"the repair of {' '.join(what)}", 5, every=0.005)
            print(f"policies: {' '.join(what)}: repaired after {(time.monotonic() - begin) * 1000:.0f} ms")
            guest.is_stopped(5000)
            guest.reaches(5001)
        self.assertEqual([], self.c.json("/drift")["items"])

    def describe(self):
        """Rules without their handles and counters, and the elements of sets."""
        found = []
        for entry in self.ns.ruleset():
            rule, held = entry.get("rule"), entry.get("set") or entry.get("map")
            if rule and rule["family"] == "inet" and (rule["chain"].startswith(("vm_", "host_"))):
                found.append((rule["chain"], rule.get("comment", "")))
            if held and held["name"].startswith(("addr", "egress", "ingress")):
                found.append((held["name"], json.dumps(held.get("elem", []), sort_keys=True)))
        return sorted(found)


class Ipv6Test(PolicyCase):
    """What a policy says of IPv6 holds likewise, at every moment."""

    settings = {**standin.SETTINGS, "network": {"ipv6_subnet": SUBNET}}
    kind = Guest6

    def setUp(self):
        self.daemon = Daemon(self.settings)
        self.addCleanup(self.daemon.close)
        give_host_ipv6(self.daemon.netns)
        self.daemon.start()
        self.daemon.add_tiny()
        self.c, self.ns = self.daemon.client, self.daemon.netns
        self.server = Server(self.ns.world, socket.AF_INET6, OUTSIDE6)
        self.addCleanup(self.server.stop)

    def test_only_what_is_forbidden_is_cut(self):
        first, second = self.guest(), self.guest()
        for guest in (first, second):
            guest.reaches(5000)
            guest.reaches(5001)
        self.put(f"/vms/{first.id}/firewall", {"egress": {"rules": [deny(5000)]}})
        first.is_stopped(5000)
        first.reaches(5001)
        second.reaches(5000)
        self.put("/firewall", {"egress": {"rules": [deny(5001)]}})
        for guest in (first, second):
            guest.is_stopped(5001)
            guest.reaches(5002)
        second.reaches(5000)

    def test_the_policy_of_one_holds_while_others_change(self):
        guest = self.guest(firewall={"egress": {"rules": [deny(5000)]}})
        guest.reaches(5001)
        texts, on = [], True

        def send():
            while on:
                texts.append(guest.send(5000, source_port=30000 + len(texts) % 20000))
                time.sleep(0.001)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for number in range(30):
                self.put("/firewall", {"egress": {"rules": [deny(6000 + number)]}})
                self.assertIn(guest.ip6_text, self.nft("list", "map", "inet", self.daemon.mark, "egress6"))
        finally:
            on = False
            sender.join()
        guest.reaches(5001)
        self.assertGreater(len(texts), 100)
        self.assertFalse(self.server.seen & set(texts))
        self.assertEqual([], [e["data"] for e in stored(self.c) if e["event"] == "network.repaired"])


class ConfirmTest(PolicyCase):
    @limit(40)
    def test_without_the_confirmation_packets_flow_again(self):
        guest = self.guest()
        guest.reaches(5000)
        self.put("/firewall", {"egress": DENY_ALL}, confirm_within=2)
        guest.is_stopped(5000)
        guest.reaches(5000)  # in the end
        self.put("/firewall", {"egress": DENY_ALL}, confirm_within=3)
        guest.is_stopped(5000)
        self.daemon.kill9()
        guest.is_stopped(5000)
        time.sleep(3)
        guest.is_stopped(5000)
        self.daemon.start()
        guest.reaches(5000)

    @limit(40)
    def test_policies_hold_over_the_daemons_end(self):
        guest = self.guest(firewall={"egress": {"rules": [deny(5000)]}})
        self.put("/firewall", {"egress": {"rules": [deny(5001)]}})
        for end in (self.daemon.kill9, self.daemon.stop):
            end()
            for port in (5000, 5001):
                guest.is_stopped(port)
            guest.reaches(5002)
            self.daemon.start()
            for port in (5000, 5001):
                guest.is_stopped(port)
            guest.reaches(5002)
