"""
Tracked flows when what was decided of them changes: a client that keeps sending from one port sees published ports, policies and the masquerade as
they are now. By packets, with the stand-in's guests; that other flows live on is seen by a rule of the test's own that lets no flow begin any more.
"""

import contextlib
import socket
import threading
import time

import hostile
from harness import eventually, limit, run
import test_policies
from test_policies import OUTSIDE, PolicyCase

HOST = "198.51.100.2"  # the uplink's address, host.py
SOURCE_PORT = 40000


class Sender(threading.Thread):
    """A datagram each 20 ms to one port of the host, always from the same port."""

    def __init__(self, netns, port, source_port=SOURCE_PORT, address=HOST):
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.port, self.address, self.number, self.on = port, address, 0, True
        self.word = f"to-{port}-from-{source_port} "
        self.sock = hostile.in_netns(netns, lambda: self.make(family, source_port))
        self.start()

    @staticmethod
    def make(family, source_port):
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sock.bind(("", source_port))
        return sock

    def run(self):
        while self.on:
            self.number += 1
            with contextlib.suppress(OSError):  # the link may be gone
                self.sock.sendto(f"{self.word}{self.number}".encode(), (self.address, self.port))
            time.sleep(0.02)

    def stop(self):
        self.on = False
        self.join()
        self.sock.close()


class FlowsCase(PolicyCase):
    def sender(self, port, **kw):
        made = Sender(self.ns.world, port, **kw)
        self.addCleanup(made.stop)
        return made

    def port(self, host_port, guest_port=53):
        return {"host_port": host_port, "guest_port": guest_port, "protocol": "udp"}

    def publish(self, guest, *ports):
        self.ok(self.c.patch(f"/vms/{guest.id}", {"ports": list(ports)}, wait=5))

    def gets(self, guest, sender, timeout=3):
        """Something that is sent from now on."""
        first = sender.number + 2
        sent = lambda: {f"{sender.word}{n}".encode() for n in range(first, sender.number + 1)}  # noqa: E731
        eventually(lambda: sent() & guest.answers, f"a datagram {sender.word}at {guest.id}", timeout)

    def gets_nothing(self, guest, sender):
        time.sleep(0.1)
        first = sender.number + 2
        time.sleep(0.3)
        self.assertFalse({f"{sender.word}{n}".encode() for n in range(first, sender.number)} & guest.answers)

    def restart(self, guest, pause=0.5):
        self.act(guest.id, "kill")
        time.sleep(pause)
        self.act(guest.id, "start")
        guest.join()

    def setUp(self):
        super().setUp()
        self.nft("add", "table", "ip", "marked")
        self.nft("add", "chain", "ip", "marked", "forward", "{ type filter hook forward priority -5 ; }")
        self.nft("add", "rule", "ip", "marked", "forward", "ct", "mark", "set", "7")

    def no_flow_begins(self):
        """From now on, of those that pass the host: what still passes is a flow of before."""
        self.nft("insert", "rule", "ip", "marked", "forward", "ct", "mark", "!=", "7", "drop")

class PortsTest(FlowsCase):
    def test_published_again(self):
        guest = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353)
        self.gets(guest, sender)
        for _ in range(2):
            self.restart(guest)
            self.gets(guest, sender)

    def test_published_while_somebody_sends(self):
        guest = self.guest()
        sender, other = self.sender(5353), self.sender(5354, source_port=40001)
        time.sleep(0.2)
        self.publish(guest, self.port(5353))
        self.gets(guest, sender)
        self.publish(guest, self.port(5353), self.port(5354, 54))
        self.gets(guest, other)
        self.publish(guest, self.port(5354, 55))
        self.gets(guest, other)
        self.gets_nothing(guest, sender)

    def test_moved_to_another_vm(self):
        first, second = self.guest(ports=[self.port(5353)]), self.guest()
        sender = self.sender(5353)
        self.gets(first, sender)
        self.publish(first)
        self.publish(second, self.port(5353))
        self.gets(second, sender)
        self.gets_nothing(first, sender)
        self.forget(second.id)
        self.publish(first, self.port(5353))
        self.gets(first, sender)

    def test_made_again_with_another_address(self):
        first = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353)
        self.gets(first, sender)
        self.forget(first.id)
        time.sleep(0.2)
        second = self.guest(vm=first.id, ports=[self.port(5353)])
        self.assertNotEqual(first.ip, second.ip)
        self.gets(second, sender)

    def test_flushed_and_repaired(self):
        guest = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353)
        self.gets(guest, sender)
        for damage in ("flush ruleset", f"flush map inet {self.daemon.mark} ports_udp", f"delete table inet {self.daemon.mark}"):
            self.nft(*damage.split(" "))
            self.gets(guest, sender)

    def test_killed_between_the_firewall_and_the_flows(self):
        guest = self.guest(ports=[self.port(5353)])
        self.daemon.kill9()
        mark = self.daemon.mark
        self.nft("delete", "element", "inet", mark, "ports_udp", "{ 5353 }")
        sender = self.sender(5353)
        time.sleep(0.2)
        self.nft("add", "element", "inet", mark, "ports_udp", f"{{ 5353 : {guest.ip} . 53 }}")
        self.gets_nothing(guest, sender)  # the flow to nowhere is kept up by what is sent
        self.daemon.start()
        self.gets(guest, sender)

    def test_tcp(self):
        """The first segments met a host that drops them: they go on until the port is there."""
        guest = self.guest()
        self.nft("add", "table", "ip", "closed")
        self.nft("add", "chain", "ip", "closed", "input", "{ type filter hook input priority 10 ; }")
        self.nft("add", "rule", "ip", "closed", "input", "tcp", "dport", "8080", "drop")
        sock = hostile.in_netns(self.ns.world, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        self.addCleanup(sock.close)
        sock.setblocking(False)
        sock.connect_ex((HOST, 8080))
        time.sleep(0.2)
        self.publish(guest, {"host_port": 8080, "guest_port": 80})
        eventually(lambda: 80 in guest.tcp_ports, "the repeated SYN at the guest", 10)

    def test_other_flows_live_on(self):
        first, second = self.guest(ports=[self.port(5353), self.port(5354, 54)]), self.guest(ports=[self.port(5355)])
        kept = [(first, self.sender(5354, source_port=40001)), (second, self.sender(5355, source_port=40002))]
        going = self.sender(5353)
        for guest, sender in [*kept, (first, going)]:
            self.gets(guest, sender)
        for guest in (first, second):
            guest.reaches(5000)
        self.no_flow_begins()
        self.publish(first, self.port(5354, 54))
        self.publish(first, self.port(5354, 54), self.port(5353))
        third = self.guest(ports=[self.port(5356)])
        self.forget(third.id)
        for guest, sender in kept:
            self.gets(guest, sender)
        for guest in (first, second):
            guest.reaches(5000)
        self.gets_nothing(first, going)  # the rule of the test works: this one would have to begin anew


class MasqueradeTest(FlowsCase):
    def setUp(self):
        super().setUp()
        run("ip", "-n", self.ns.world, "route", "add", self.c.json("/network")["subnet"], "via", HOST)

    def sources(self, guest, port=5000):
        """As whom the server sees the guest's datagrams, which come from one port, now."""
        self.server.sources.clear()
        guest.reaches(port)
        return set(self.server.sources)

    def test_off_and_on(self):
        guest = self.guest()
        self.assertEqual({HOST}, self.sources(guest))
        self.ok(self.c.patch("/network", {"masquerade": False}, wait=10))
        self.assertEqual({guest.ip}, self.sources(guest))
        self.ok(self.c.patch("/network", {"masquerade": True}, wait=10))
        self.assertEqual({HOST}, self.sources(guest))

    def test_others_live_on(self):
        """A flow from outside to the guest has nothing to do with who guests appear as."""
        guest = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353)
        self.gets(guest, sender)
        guest.reaches(5000)
        self.no_flow_begins()
        self.ok(self.c.patch("/network", {"masquerade": False}, wait=10))
        self.gets(guest, sender)
        guest.is_stopped(5000)

    def test_a_repair_cuts_nothing_that_is_right(self):
        guest = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353)
        self.gets(guest, sender)
        guest.reaches(5000)
        self.no_flow_begins()
        self.nft("delete", "table", "inet", self.daemon.mark)
        eventually(lambda: any("map" in e for e in self.ns.ruleset()), "the repair", 5)
        self.gets(guest, sender)
        guest.reaches(5000)


class EndTest(FlowsCase):
    def test_flows_end_with_their_vm(self):
        """Whoever gets the address next is not the one that they were allowed to."""
        guest, other = self.guest(), self.guest()
        for each in (guest, other):
            each.reaches(5000)
        self.no_flow_begins()
        self.restart(guest, 0)
        other.reaches(5000)
        guest.is_stopped(5000)

    @limit(90)
    def test_a_policy_that_comes_with_its_vm(self):
        """While the VM does not run, only the host-wide policy is asked: flows that began then are judged when it starts."""
        self.put("/firewall", {"ingress": {"default_action": "allow"}})
        guest = self.guest(firewall={"ingress": {"default_action": "deny"}})
        run("ip", "-n", self.ns.world, "route", "add", self.c.json("/network")["subnet"], "via", HOST)
        self.act(guest.id, "kill")
        sender = self.sender(5353, address=guest.ip)
        time.sleep(0.3)
        self.act(guest.id, "start")
        guest.join()
        self.gets_nothing(guest, sender)
        self.ok(self.c.delete(f"/vms/{guest.id}/firewall", wait=10))
        self.gets(guest, sender)


class EntriesTest(FlowsCase):
    """Clients that come by another interface than the uplink."""

    LAN, CLIENT = "10.55.0.1", "10.55.0.2"

    def setUp(self):
        super().setUp()
        self.ns.ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", self.ns.world)
        self.ns.ip("address", "add", f"{self.LAN}/24", "dev", "lan0")
        self.ns.ip("link", "set", "lan0", "up")
        run("ip", "-n", self.ns.world, "address", "add", f"{self.CLIENT}/24", "dev", "lan1")
        run("ip", "-n", self.ns.world, "link", "set", "lan1", "up")

    def forwards(self, link="lan0"):
        return self.ns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() == "1"

    def is_answered(self, guest, sender, port=5353):
        self.gets(guest, sender)
        sender.sock.settimeout(2)
        guest.wire.send(guest.frame(self.CLIENT, 53, sender.sock.getsockname()[1], b"the answer"))
        self.assertEqual((b"the answer", (self.LAN, port)), sender.sock.recvfrom(100))

    def passes_on(self):
        """Does the host pass on, to another network, what comes in by a link? Then it asks for that neighbour."""
        self.ns.ip("neigh", "flush", "dev", "other0")
        sender = Sender(self.ns.world, 9, source_port=40009, address="10.66.0.9")
        time.sleep(0.3)
        sender.stop()
        return "10.66.0.9" in self.ns.ip("neigh", "show", "dev", "other0")

    def test_by_another_interface(self):
        guest = self.guest()
        sender = self.sender(5353, address=self.LAN)
        self.assertFalse(self.forwards())
        self.publish(guest, self.port(5353))
        eventually(self.forwards, "forwarding on lan0", 5)
        self.is_answered(guest, sender)
        self.nft("flush", "ruleset")
        self.is_answered(guest, sender)
        self.daemon.restart()
        self.is_answered(guest, sender)
        self.ok(self.c.patch(f"/vms/{guest.id}", {"ports": [{**self.port(5353), "host_ip": "127.0.0.1"}]}, wait=5))
        eventually(lambda: not self.forwards(), "the end of forwarding on lan0", 5)
        self.gets_nothing(guest, sender)

    def test_the_host_becomes_no_router(self):
        self.ns.add_link("other0", "10.66.0.1/24")
        run("ip", "-n", self.ns.world, "route", "add", "10.66.0.0/24", "via", self.LAN)
        guest = self.guest(ports=[self.port(5353)])
        sender = self.sender(5353, address=self.LAN)
        self.is_answered(guest, sender)
        self.assertFalse(self.passes_on())
        self.nft("flush", "ruleset")
        self.gets(guest, sender)
        eventually(lambda: self.ns.set_elements(self.daemon.mark, "entries") != [], "the guard", 5)
        self.assertFalse(self.passes_on())
        # Whoever wants the host to be a router, has one.
        self.ns.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        eventually(lambda: "lan0" not in (self.ns.set_elements(self.daemon.mark, "entries") or []), "the guard's end", 5)
        self.assertTrue(self.passes_on())
        self.forget(guest.id)
        self.assertTrue(self.forwards())

    def test_the_uplink_is_no_way_into_other_networks(self):
        """It forwards for guests alone; without the daemon the host passed on nothing."""
        self.ns.add_link("other0", "10.66.0.1/24")
        run("ip", "-n", self.ns.world, "route", "add", "10.66.0.0/24", "via", HOST)
        self.assertTrue(self.forwards("up0"))
        self.assertFalse(self.passes_on())
        self.guest().reaches(5000)
        self.nft("flush", "ruleset")
        eventually(lambda: self.ns.set_elements(self.daemon.mark, "entries") == ["up0"], "the guard", 5)
        self.assertFalse(self.passes_on())
        self.ns.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        eventually(lambda: not self.ns.set_elements(self.daemon.mark, "entries"), "the guard's end", 5)
        self.assertTrue(self.passes_on())

    def test_another_daemon(self):
        """Neither its guests nor the clients of its published ports are cut off by the guard."""
        self.guest(ports=[self.port(5353)])
        eventually(self.forwards, "forwarding on lan0", 5)
        first, self.daemon = self.daemon, self.start_daemon(self.settings, like=self.daemon)
        self.addCleanup(setattr, self, "daemon", first)
        self.addCleanup(setattr, self, "c", self.c)
        self.c = self.daemon.client
        guest = self.guest(ports=[self.port(5454)])
        guest.reaches(5000)
        self.gets(guest, self.sender(5454))
        self.is_answered(guest, self.sender(5454, source_port=40001, address=self.LAN), 5454)
        self.assertNotIn(self.daemon.bridge, self.ns.set_elements(first.mark, "entries"))

    def test_one_that_comes_later_and_one_that_goes(self):
        self.ns.ip("link", "set", "lan0", "down")
        self.ns.ip("address", "flush", "dev", "lan0")
        guest = self.guest(ports=[self.port(5353)])
        self.assertFalse(self.forwards())
        self.ns.ip("link", "set", "lan0", "up")
        self.ns.ip("address", "add", f"{self.LAN}/24", "dev", "lan0")
        eventually(self.forwards, "forwarding on lan0", 5)
        self.is_answered(guest, self.sender(5353, address=self.LAN))
        self.ns.ip("link", "delete", "lan0")
        eventually(lambda: "lan0" not in (self.ns.set_elements(self.daemon.mark, "entries") or []), "the guard's end", 5)


class AnswersTest(FlowsCase):
    """What the API says agrees with the packets."""

    def trace(self, guest, remote=OUTSIDE, number=53, protocol="udp"):
        body = {"vm": guest.id, "direction": "ingress", "remote": remote, "protocol": protocol, "port": number}
        return self.ok(self.c.post("/firewall/trace", body))

    def test_trace_of_published_ports(self):
        guest = self.guest()
        self.assertEqual("deny", self.trace(guest)["verdict"])
        self.publish(guest, self.port(5353))
        sender = self.sender(5353)
        self.gets(guest, sender)
        found = self.trace(guest, "198.51.100.1")
        self.assertEqual(("allow", None), (found["verdict"], found["rule"]), found)
        self.assertIn("port 5353 of the host", found["why"])
        self.assertEqual("deny", self.trace(guest, protocol="tcp")["verdict"])
        self.put("/firewall", {"ingress": {"rules": [{"action": "deny", "from": "198.51.100.1"}]}})
        self.gets_nothing(guest, sender)
        self.assertEqual(("deny", 0), tuple(self.trace(guest, "198.51.100.1")[k] for k in ("verdict", "rule")))
        self.put("/firewall", {})
        self.publish(guest, {**self.port(5353), "host_ip": "127.0.0.1"})
        self.gets_nothing(guest, sender)
        self.assertEqual("deny", self.trace(guest)["verdict"])
        self.assertEqual("allow", self.trace(guest, self.c.json("/network")["gateway"], 9)["verdict"])

    def test_what_isolation_closes_is_said(self):
        rules = [{"action": "allow", "to": "169.254.169.254"}, {"action": "allow", "to": ["192.0.2.1", "198.51.100.0/24"]},
                 {"action": "deny", "to": "169.254.0.0/16"}, {"action": "allow"}, {"action": "allow", "to": "2001:db8::/32"}]
        found = self.put("/firewall", {"egress": {"rules": rules}})["warnings"]
        self.assertEqual([("/egress/rules/0/to", "CLOSED_BY_ISOLATION"), ("/egress/rules/1/to", "CLOSED_BY_ISOLATION"), ("/egress/rules/4/to", "NO_IPV6")],
                         [(w["pointer"], w["code"]) for w in found])
        self.assertEqual(found, self.c.json("/firewall")["warnings"])
        self.ok(self.c.put("/firewall/sets/near", {"addresses": ["198.51.100.1"]}, wait=5), 200, 201)
        guest = self.guest(firewall={"egress": {"rules": [{"action": "allow", "to": "@near"}]}})
        self.assertIn("@near", self.c.json(f"/vms/{guest.id}/firewall")["warnings"][0]["message"])
        self.assertEqual([], self.put("/firewall", {"egress": {"rules": [{"action": "allow", "to": OUTSIDE}]}})["warnings"])

    def test_rules_by_the_port_of_the_host(self):
        rules = [{"action": "allow", "from": "203.0.113.0/24", "host_port": 5353}, {"action": "deny", "protocol": "udp", "host_port": 5353}]
        guest = self.guest(ports=[self.port(5353), self.port(5354)])  # both lead to the same port of the guest
        sender, other = self.sender(5353), self.sender(5354, source_port=40001)
        for each in (sender, other):
            self.gets(guest, each)
        shown = self.put(f"/vms/{guest.id}/firewall", {"ingress": {"rules": rules}})["ingress"]["rules"]
        self.assertEqual([5353, 5353], [rule["host_port"] for rule in shown])
        self.gets_nothing(guest, sender)  # its flow is cut, and none begins
        self.gets(guest, other)
        self.put(f"/vms/{guest.id}/firewall", {"ingress": {"rules": [{**rules[0], "from": "198.51.100.0/24"}, rules[1]]}})
        self.gets(guest, sender)
        self.put(f"/vms/{guest.id}/firewall", {"ingress": {"default_action": "deny", "rules": [{"action": "deny", "host_port": 5354}]}})
        self.gets(guest, sender)
        self.gets_nothing(guest, other)
        for wrong in ({"action": "deny", "host_port": 0}, {"action": "deny", "host_port": 65536}, {"action": "deny", "host_port": 53, "protocol": "icmp"}):
            self.refused(self.c.put("/firewall", {"ingress": {"rules": [wrong]}}), 400, "INVALID_FIREWALL_CONFIG", "/ingress/rules/0/host_port")
        reply = self.c.put("/firewall", {"egress": {"rules": [{"action": "deny", "host_port": 53}]}})
        self.refused(reply, 400, "INVALID_FIREWALL_CONFIG")


class Ports6Test(FlowsCase):
    """Published ports of IPv6."""

    settings, kind = test_policies.Ipv6Test.settings, test_policies.Ipv6Test.kind
    HOST6 = "2001:db8:9::2"

    def setUp(self):
        test_policies.Ipv6Test.setUp(self)

    def test_from_outside(self):
        guest = self.guest()
        sender = self.sender(5353, address=self.HOST6)
        time.sleep(0.2)
        self.publish(guest, {**self.port(5353), "host_ip": "::"})
        self.gets(guest, sender)
        self.publish(guest, {**self.port(5353), "host_ip": self.HOST6})
        self.gets(guest, sender)
        self.nft("flush", "ruleset")
        self.gets(guest, sender)
        self.publish(guest, {**self.port(5353), "host_ip": "2001:db8:9::7"}, self.port(5353))
        self.gets_nothing(guest, sender)
        reply = self.c.patch(f"/vms/{guest.id}", {"ports": [{**self.port(5353), "host_ip": "::1"}]})
        self.refused(reply, 400, "INVALID_CONFIG", "/ports/0/host_ip")
