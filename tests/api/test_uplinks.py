"""Where guests leave is what the host's routing says: it is followed, whatever it is, and what guests can't use is told."""

import json
import os
from pathlib import Path

from harness import BUILD, Case, Daemon, OwnDaemonCase, eventually, limit, parse_events, run

BUNDLE = Path(os.environ.get("SMARTVM_TEST_BUNDLE", BUILD / "image" / "debian-minimal"))
WITHIN = 1.0  # seconds
QUIET = {"ready"}  # conditions of a host on which nothing is wrong


class Ways:
    """A host with three uplinks: up0 (198.51.100.1), up2 (203.0.113.1), up3 (198.18.3.1)."""

    def add_uplinks(self):
        self.netns.add_link("up2", "203.0.113.2/24")
        self.netns.add_link("up3", "198.18.3.2/24")

    def ip(self, text):
        return self.netns.ip(*text.split())

    def network(self):
        return self.daemon.client.json("/network")

    def conditions(self):
        return {c["type"]: c["message"] for c in self.network()["conditions"]}

    def condition(self, name, words=""):
        """Its message, when these words are in it: what is seen is told a moment after what was done about it."""
        return eventually(lambda: words in self.conditions().get(name, "") and self.conditions()[name], f"{words!r} in the condition {name}", 2)

    def in_the_firewall(self):
        return set(self.netns.set_elements(self.daemon.mark, "uplink") or [])

    def forwards(self, link):
        return self.netns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding", check=False).strip() == "1"

    def leads_to(self, *names, conditions=QUIET, within=WITHIN):
        """The firewall has them in time, and the resource says so; no other condition stands there than those given."""
        eventually(lambda: self.in_the_firewall() == set(names), f"uplinks {names}", within)
        eventually(lambda: set(self.network()["uplinks"]) == set(names), f"uplinks {names} in the resource", WITHIN)
        eventually(lambda: set(self.conditions()) == set(conditions), f"the conditions {conditions}", WITHIN)
        self.assertEqual(self.network()["uplinks"][:1] or [None], [self.network()["uplink"]])
        # a link that was made anew has the name that the firewall knows already: the rest is true only once the daemon has seen it
        eventually(lambda: {link for link in ("up0", "up2", "up3") if self.forwards(link)} == set(names) & {"up0", "up2", "up3"}, f"forwarding of {names}", within)


class FollowTest(Ways, OwnDaemonCase):
    def setUp(self):
        super().setUp()
        self.netns = self.daemon.netns
        self.add_uplinks()

    def two(self):
        self.ip("route replace default via 198.51.100.1 dev up0 metric 200")
        self.ip("route del default metric 0")
        self.ip("route replace default via 203.0.113.1 dev up2 metric 100")
        self.leads_to("up2")

    def test_the_link_goes_down(self):
        self.two()
        self.ip("link set up2 down")
        self.leads_to("up0")

    def test_the_link_is_deleted(self):
        self.two()
        self.ip("link del up2")
        self.leads_to("up0")

    def test_its_address_is_removed(self):
        self.two()
        self.ip("address del 203.0.113.2/24 dev up2")
        self.leads_to("up0")

    def test_its_carrier_is_lost(self):
        self.two()
        self.netns.run("sysctl", "-qw", "net.ipv4.conf.up2.ignore_routes_with_linkdown=1")
        self.ip("link set up2p down")
        self.leads_to("up0")
        self.ip("link set up2p up")
        self.leads_to("up2")
        self.netns.run("sysctl", "-qw", "net.ipv4.conf.up2.ignore_routes_with_linkdown=0")
        self.ip("link set up2p down")  # now the kernel goes on sending there
        self.leads_to("up2", conditions=QUIET | {"uplink_down"})
        self.condition("uplink_down", "ignore_routes_with_linkdown")
        self.netns.run("sysctl", "-qw", "net.ipv4.conf.up2.ignore_routes_with_linkdown=1")
        self.leads_to("up0")

    def test_all_go(self):
        self.ip("link set up0 down")
        self.leads_to(conditions=QUIET | {"no_uplink"})
        self.ip("link set up0 up")
        self.ip("route add default via 198.51.100.1")
        self.leads_to("up0")

    def test_the_link_is_renamed(self):
        self.ip("link set up0 name wan0")
        self.leads_to("wan0")
        self.ip("link set wan0 down")
        eventually(lambda: not self.forwards("wan0"), "forwarding is off again", 2)
        self.ip("link set wan0 name up0")
        self.ip("link set up0 up")
        self.ip("route add default via 198.51.100.1")
        self.leads_to("up0")

    def test_the_link_is_another_one_of_the_same_name(self):
        self.two()
        self.ip("link del up2")
        self.netns.add_link("up2", "203.0.113.2/24")
        self.ip("route add default via 203.0.113.1 dev up2 metric 100")
        self.leads_to("up2")

    def test_rules_and_other_tables(self):
        self.ip("route add default via 203.0.113.1 table 100")
        self.ip("rule add from all lookup 100 suppress_prefixlength 0")  # all but default routes
        self.leads_to("up0")
        self.ip("rule del from all lookup 100 suppress_prefixlength 0")
        self.leads_to("up0")
        self.ip(f"rule add iif {self.daemon.bridge} lookup 100")
        self.leads_to("up2")
        self.ip("route replace default via 198.18.3.1 table 100")
        self.leads_to("up3")
        self.ip("route flush table 100")
        self.leads_to("up0")

    def test_a_restart_finds_the_same(self):
        self.ip("route add default via 203.0.113.1 table 100")
        self.ip(f"rule add iif {self.daemon.bridge} lookup 100")
        self.leads_to("up2")
        self.daemon.restart()
        self.leads_to("up2")
        self.daemon.stop()
        self.ip(f"rule del iif {self.daemon.bridge} lookup 100")
        self.ip("route add 128.0.0.0/1 via 198.18.3.1")
        self.daemon.start()
        self.leads_to("up0", "up3")

    def test_nothing_of_it_is_a_repair(self):
        self.two()
        self.ip("link set up2 down")
        self.leads_to("up0")
        with self.c.stream("/events", follow="false", headers={"Last-Event-ID": "0"}) as stream:
            self.assertNotIn("network.repaired", stream.read_all().decode())


class SeveralTest(Ways, OwnDaemonCase):
    def setUp(self):
        super().setUp()
        self.netns = self.daemon.netns
        self.add_uplinks()

    def test_two_halves(self):
        self.ip("route add 0.0.0.0/1 via 203.0.113.1")
        self.leads_to("up0", "up2")
        self.ip("route add 128.0.0.0/1 via 203.0.113.1")
        self.leads_to("up2")
        self.ip("route replace 128.0.0.0/1 via 198.18.3.1")
        self.leads_to("up2", "up3")
        self.ip("route del default")
        self.leads_to("up2", "up3")
        self.ip("route del 0.0.0.0/1")
        self.leads_to("up3", conditions=QUIET | {"uplink_partial"})
        self.condition("uplink_partial", "1.0.0.0 to 127.255.255.255")

    def test_a_multipath_route(self):
        self.ip("route replace default nexthop via 198.51.100.1 nexthop via 203.0.113.1 weight 2")
        self.leads_to("up0", "up2")
        self.ip("link set up2 down")
        self.leads_to("up0")

    def test_next_hop_objects(self):
        for number, gateway, link in ((1, "198.51.100.1", "up0"), (2, "203.0.113.1", "up2"), (3, "198.18.3.1", "up3")):
            self.ip(f"nexthop add id {number} via {gateway} dev {link}")
        self.ip("nexthop add id 9 group 1/2")
        self.ip("route replace default nhid 9")
        self.leads_to("up0", "up2")
        self.ip("nexthop replace id 9 group 2/3")
        self.leads_to("up2", "up3")
        self.netns.run("sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0")
        self.ip("nexthop replace id 9 group 1/3")
        self.leads_to("up0", "up3")
        self.ip("nexthop del id 9")
        self.leads_to(conditions=QUIET | {"no_uplink"})

    def test_the_hosts_own_full_tunnel(self):
        """What wg-quick sets up."""
        self.ip("route add default dev up3 table 51820")
        self.ip("rule add not fwmark 0xca6c table 51820")
        self.ip("rule add table main suppress_prefixlength 0")
        self.leads_to("up3")
        self.ip("rule del table main suppress_prefixlength 0")
        self.ip("rule del not fwmark 0xca6c table 51820")
        self.leads_to("up0")

    def test_routes_that_are_none(self):
        for kind, words in (("unreachable", "No route to host"), ("prohibit", "Permission denied"), ("blackhole", "blackhole")):
            self.ip(f"route replace {kind} default")
            self.leads_to(conditions=QUIET | {"no_uplink"})
            self.condition("no_uplink", words)
        self.ip("route replace default via 198.51.100.1")
        self.leads_to("up0")

    def test_a_configured_uplink(self):
        self.ok(self.c.patch("/network", {"uplink": "up2"}, wait=5))
        self.leads_to("up2", conditions=QUIET | {"uplink_unused"})
        self.assertIn("leads guests to up0", self.condition("uplink_unused").replace("routes lead", "leads"))
        self.ip("route replace default via 203.0.113.1")
        self.leads_to("up2")
        self.ip("route add 128.0.0.0/1 via 198.51.100.1")
        self.leads_to("up2", conditions=QUIET | {"uplink_unused"})
        self.ok(self.c.patch("/network", {"uplink": None}, wait=5))
        self.leads_to("up0", "up2")

    def test_a_public_network_beside(self):
        self.ip("route add 8.8.0.0/16 via 203.0.113.1")
        self.leads_to("up0", conditions=QUIET | {"uplink_unused"})
        self.condition("uplink_unused", "8.8.0.0/16 by up2")
        self.ip("route del 8.8.0.0/16")
        self.leads_to("up0")

    def test_thousands_of_networks(self):
        """As a split tunnel by lists of a country's networks has them: each of them is closed to guests."""
        batch = "".join(f"route add 44.{n >> 8}.{n & 255}.0/24 dev up3\n" for n in range(0, 6000, 2))
        self.netns.run("ip", "-batch", "-", input=batch)
        self.leads_to("up0", within=10)
        eventually(lambda: len(self.netns.set_elements(self.daemon.mark, "closed4")) > 3000, "closed networks", 10)
        self.create()

    def test_rules_by_protocol(self):
        """The kernel takes a question without a protocol for one about UDP."""
        self.ip("route add default via 203.0.113.1 table 100")
        for rule in ("ipproto udp", "ipproto tcp", "ipproto icmp"):
            self.ip(f"rule add iif {self.daemon.bridge} {rule} lookup 100")
            self.leads_to("up0", "up2")
            self.ip(f"rule del iif {self.daemon.bridge} {rule} lookup 100")
            self.leads_to("up0")

    def test_answers_that_are_lost(self):
        self.create()
        self.ip("route add default via 203.0.113.1 table 100")
        subnet = self.daemon.config["network"]["subnet"].replace("/24", "/25")
        self.ip(f"rule add to {subnet} iif up0 lookup 100")
        self.leads_to("up0", conditions=QUIET | {"answers_lost"})
        self.condition("answers_lost", "led to up2")
        self.ip(f"rule del to {subnet} iif up0 lookup 100")
        self.leads_to("up0")

    def test_a_wide_route_is_no_overlap(self):
        first = self.daemon.config["network"]["subnet"].split(".")[0]
        self.ip(f"route add {first}.0.0.0/8 via 203.0.113.1")
        self.leads_to("up0")
        self.ip(f"route add {self.daemon.config['network']['subnet']} via 203.0.113.1 metric 7")
        self.leads_to("up0", conditions=QUIET | {"subnet_overlap"})


class BeforeTest(Ways, Case):
    """What is there before the daemon, and its bridge, are."""

    def host(self, *commands, settings=None):
        self.daemon = Daemon(settings)
        self.addCleanup(self.daemon.close)
        self.netns = self.daemon.netns
        self.add_uplinks()
        for command in commands:
            self.ip(command.replace("BRIDGE", self.daemon.bridge))
        self.daemon.start()
        self.c = self.daemon.client

    def obstacles(self):
        with self.c.stream("/events", follow="false", headers={"Last-Event-ID": "0"}) as stream:
            return [event for event in parse_events(stream.read_all().decode()) if event["event"].startswith("network.obstacle")]

    def test_def1(self):
        self.host("route add 0.0.0.0/1 via 203.0.113.1", "route add 128.0.0.0/1 via 203.0.113.1")
        self.leads_to("up2")
        self.assertEqual([], self.obstacles())

    def test_def1_without_a_default_route(self):
        self.host("route del default", "route add 0.0.0.0/1 via 203.0.113.1", "route add 128.0.0.0/1 via 198.18.3.1")
        self.leads_to("up2", "up3")

    def test_a_rule_for_the_bridge(self):
        """Nothing is told that was so for the moment before the bridge was there."""
        self.host("route del default", "route add default via 203.0.113.1 table 100", "rule add iif BRIDGE lookup 100")
        self.leads_to("up2")
        self.assertEqual([], self.obstacles())

    def test_no_way_by_ipv6(self):
        self.host(settings={"network": {"ipv6_subnet": "fd00:5a:9::/64"}})
        self.leads_to("up0", conditions=QUIET | {"no_uplink_ipv6"})
        self.netns.run("ip", "-6", "address", "add", "2001:db8:2::2/64", "dev", "up2", "nodad")
        self.netns.run("ip", "-6", "route", "add", "default", "via", "2001:db8:2::1")
        self.leads_to("up0", "up2")
        self.netns.run("ip", "link", "set", "up2", "down")
        self.leads_to("up0", conditions=QUIET | {"no_uplink_ipv6"})


class PacketsTest(Ways, OwnDaemonCase):
    """A real guest pings eight addresses behind two uplinks, each of which leads to all of them."""

    def setUp(self):
        if not (BUNDLE / "manifest.json").exists():
            raise AssertionError(f"no bundle at {BUNDLE}: deploy/build-image.sh --output {BUNDLE}")
        self.daemon = self.start_daemon({"images": {"allowed_roots": [str(BUNDLE.resolve())]}}, tiny=False)
        self.c = self.daemon.client
        self.netns = self.daemon.netns
        world = self.netns.world
        self.ip(f"link add up2 type veth peer name up2w netns {world}")
        self.ip("address add 203.0.113.2/24 dev up2")
        self.ip("link set up2 up")
        run("ip", "-n", world, "address", "add", "203.0.113.1/24", "dev", "up2w")
        run("ip", "-n", world, "link", "set", "up2w", "up")
        for number in range(2, 9):
            run("ip", "-n", world, "address", "add", f"192.0.2.{number}/32", "dev", "lo")
        reply = self.c.post("/images", {"manifest_path": str(BUNDLE / "manifest.json")}, wait=60)
        self.assertEqual(201, reply.status, repr(reply))
        self.vm = self.create(wait=60, image=reply.json["id"], vmm="auto", machine_config={"mem_size_mib": 256}, boot_args="")
        self.await_console(self.vm["id"], b"smartvm-guest: up", 60)
        self.marks = 0

    def received(self, link):
        return json.loads(self.ip(f"-s -j link show dev {link}"))[0]["stats64"]["rx"]["packets"]

    def answers(self, wanted, *links):
        """How many of the eight answer; and by which links the answers came."""
        self.marks += 1
        before = {link: self.received(link) for link in ("up0", "up2")}
        text = f"c=0; for n in 1 2 3 4 5 6 7 8; do ping -c 1 -w 2 192.0.2.$n > /dev/null && c=$((c+1)); done; echo m{self.marks}-$((c+100))-\n"
        self.ok(self.c.post(f"/vms/{self.vm['id']}/console", text.encode(), headers={"Content-Type": "text/plain"}), 204)
        self.await_console(self.vm["id"], f"m{self.marks}-{wanted + 100}-".encode(), 40)
        for link in links:
            self.assertGreater(self.received(link), before[link], link)

    @limit(240)
    def test_all_destinations(self):
        self.answers(8, "up0")
        self.ip("route replace default nexthop via 198.51.100.1 nexthop via 203.0.113.1")
        self.netns.run("sysctl", "-qw", "net.ipv4.fib_multipath_hash_policy=0")
        eventually(lambda: self.in_the_firewall() == {"up0", "up2"}, "both uplinks", 1)
        self.answers(8, "up0", "up2")
        self.ip("link set up0 down")
        eventually(lambda: self.in_the_firewall() == {"up2"}, "the other uplink", 1)
        self.answers(8, "up2")
        self.ip("link set up0 up")
        self.ip("route replace default via 198.51.100.1")
        self.ip("route add 0.0.0.0/1 via 203.0.113.1")
        self.ip("route add 128.0.0.0/1 via 203.0.113.1")
        eventually(lambda: self.in_the_firewall() == {"up2"}, "the halves", 1)
        self.answers(8, "up2")
        self.ip("route del 0.0.0.0/1")
        self.ip("route del 128.0.0.0/1")
        self.ip("route add default via 203.0.113.1 table 51820")
        self.ip("rule add not fwmark 0xca6c table 51820")
        self.ip("rule add table main suppress_prefixlength 0")
        eventually(lambda: self.in_the_firewall() == {"up2"}, "the tunnel", 1)
        self.answers(8, "up2")
        self.ip("route replace unreachable default table 51820")
        eventually(lambda: not self.in_the_firewall(), "no way out", 1)
        self.condition("no_uplink", "No route to host")
