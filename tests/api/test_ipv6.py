"""IPv6 for guests, by choice: network.ipv6_subnet."""

import ipaddress
import json
import os
from pathlib import Path

from harness import BUILD, Case, Daemon, OwnDaemonCase, ThemeCase, eventually, limit, run
from test_isolation import covers

BUNDLE = Path(os.environ.get("SMARTVM_TEST_BUNDLE", BUILD / "image" / "debian-minimal"))
SUBNET = "fd00:5a:1::/64"
OUTSIDE = "2001:db8:99::1"  # of the namespace `world`


def give_host_ipv6(netns):
    for ns, link, address in ((netns.name, "up0", "2001:db8:9::2/64"), (netns.world, "up1", "2001:db8:9::1/64")):
        run("ip", "-n", ns, "-6", "address", "add", address, "dev", link, "nodad")
    run("ip", "-n", netns.world, "-6", "address", "add", f"{OUTSIDE}/128", "dev", "lo", "nodad")
    netns.ip("-6", "route", "add", "default", "via", "2001:db8:9::1")


class ResourceTest(ThemeCase):
    settings = {"network": {"ipv6_subnet": SUBNET}}

    def bridge_addresses(self):
        shown = json.loads(self.daemon.netns.ip("-j", "-6", "address", "show", "dev", self.daemon.bridge))
        addresses = [a for link in shown for a in link.get("addr_info", [])]  # one that is being made is empty
        return [f"{a['local']}/{a['prefixlen']}" for a in addresses if a["scope"] == "global"]

    def test_addresses(self):
        network = self.c.json("/network")
        self.assertEqual((SUBNET, "fd00:5a:1::1"), (network["ipv6_subnet"], network["ipv6_gateway"]))
        self.assertEqual(["fd00:5a:1::1/64"], self.bridge_addresses())
        vm = self.create(network_interfaces=[{"iface_id": "eth0"}, {"iface_id": "eth1"}])
        subnet = ipaddress.ip_network(self.daemon.config["network"]["subnet"])
        for interface in vm["network_interfaces"]:
            number = int(ipaddress.ip_address(interface["ip"])) - int(subnet[0])
            self.assertEqual(str(ipaddress.ip_network(SUBNET)[number]), interface["ip6"])
            self.assertEqual("fd00:5a:1::1", interface["gateway6"])
            found = self.daemon.netns.set_elements(self.daemon.mark, "guest6")
            self.assertIn({"concat": [interface["tap"], interface["mac"], interface["ip6"]]}, found)
        config = json.loads((self.daemon.run_dir / "vm" / vm["id"] / "vmm.json").read_text())
        wanted = f"smartvm.ip6={vm['network_interfaces'][0]['ip6']}/128,fd00:5a:1::1"
        self.assertIn(wanted, config["boot-source"]["boot_args"].split())
        self.act(vm["id"], "kill")
        self.assertFalse(self.daemon.netns.set_elements(self.daemon.mark, "guest6"))

    def test_traces(self):
        first, second = self.create(), self.create(firewall={"ingress": {"rules": [{"action": "allow", "from": "fd00:5a:1::/64", "protocol": "icmp"}]}})
        ip6, peer6 = (vm["network_interfaces"][0]["ip6"] for vm in (first, second))

        def trace(remote, protocol="icmp", direction="egress", **kw):
            body = {"direction": direction, "remote": remote, "protocol": protocol, **({"vm": first["id"]} if "address" not in kw else {}), **kw}
            return self.ok(self.c.post("/firewall/trace", body))

        outside = trace("2606:4700::1")
        self.assertEqual(("allow", "host_policy", ip6), (outside["verdict"], outside["stage"], outside["address"]))
        self.assertEqual("closed", trace("fe80::1")["stage"])
        self.assertEqual(("allow", "host"), tuple(trace("fd00:5a:1::1")[k] for k in ("verdict", "stage")))
        self.assertEqual(("deny", "host"), tuple(trace("fd00:5a:1::1", "tcp", port=22)[k] for k in ("verdict", "stage")))
        self.assertEqual(("deny", "host_policy"), tuple(trace("2606:4700::1", direction="ingress")[k] for k in ("verdict", "stage")))
        self.ok(self.c.put("/firewall", {"ingress": {"default_action": "allow"}}, wait=5))
        self.addCleanup(lambda: self.c.put("/firewall", {}, wait=5))
        ping = trace(peer6)
        self.assertEqual(("allow", "vm_policy", 0, second["id"]), tuple(ping[k] for k in ("verdict", "stage", "rule", "peer_vm")))
        self.assertEqual(("deny", "vm_policy"), tuple(trace(peer6, "udp", port=9)[k] for k in ("verdict", "stage")))
        self.assertEqual(first["id"], trace(peer6, address=ip6)["vm"])

    def test_what_others_do_is_undone(self):
        netns, bridge = self.daemon.netns, self.daemon.bridge
        vm = self.create()
        netns.ip("-6", "address", "del", "fd00:5a:1::1/64", "dev", bridge)
        eventually(lambda: self.bridge_addresses() == ["fd00:5a:1::1/64"], "the address", 5)
        netns.ip("-6", "address", "add", "fd00:bad::1/64", "dev", bridge)
        eventually(lambda: self.bridge_addresses() == ["fd00:5a:1::1/64"], "the end of a foreign address", 5)
        netns.ip("link", "del", bridge)
        eventually(lambda: bridge in netns.links() and self.bridge_addresses() == ["fd00:5a:1::1/64"], "the bridge", 8)
        eventually(lambda: netns.links()[vm["network_interfaces"][0]["tap"]]["master"] == bridge, "the TAP in it", 8)

    def test_forwarding_is_on_where_it_is_needed(self):
        def value(link, item):
            return self.daemon.netns.run("cat", f"/proc/sys/net/ipv6/conf/{link}/{item}").strip()

        if not Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
            self.assertEqual("1", value("all", "forwarding"))
            return
        self.assertEqual(["0", "1", "1", "0"], [value("all", "forwarding"), value(self.daemon.bridge, "force_forwarding"),
                                                value("up0", "force_forwarding"), value("lo", "force_forwarding")])

    def passes_on(self):
        """Does the host pass on, to another network of its own, what comes in by the uplink? Then it asks for that neighbour."""
        netns = self.daemon.netns
        netns.ip("-6", "neigh", "flush", "dev", "other0")
        run("ip", "netns", "exec", netns.world, "ping", "-6", "-c", "2", "-i", "0.2", "-W", "1", "2001:db8:66::9", check=False)
        return "2001:db8:66::9" in netns.ip("-6", "neigh", "show", "dev", "other0")

    def test_the_uplink_is_no_way_into_other_networks(self):
        """It forwards for guests alone; without the daemon the host passed on nothing."""
        netns, mark = self.daemon.netns, self.daemon.mark
        give_host_ipv6(netns)
        netns.add_link("other0", "10.66.0.1/24")
        netns.ip("-6", "address", "add", "2001:db8:66::1/64", "dev", "other0", "nodad")
        run("ip", "-n", netns.world, "-6", "route", "add", "2001:db8:66::/64", "via", "2001:db8:9::2")
        eventually(lambda: netns.set_elements(mark, "entries6") == ["up0"], "the guard", 5)
        self.assertFalse(self.passes_on())
        netns.run("nft", "flush", "ruleset")
        eventually(lambda: netns.set_elements(mark, "entries6") == ["up0"], "the guard anew", 5)
        self.assertFalse(self.passes_on())
        self.assertEqual([], self.c.json("/drift")["items"])
        if not Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
            return
        # Whoever wants the host to be a router, has one.
        netns.run("sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
        self.addCleanup(netns.run, "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=0")
        eventually(lambda: not netns.set_elements(mark, "entries6"), "the guard's end", 5)
        self.assertTrue(self.passes_on())

    def test_a_subnet_with_more_addresses_than_the_ipv6_one(self):
        daemon = Daemon({"network": {"ipv6_subnet": "fd00:5a:2::/112"}})
        self.addCleanup(daemon.close)
        daemon.start()
        self.refused(daemon.client.patch("/network", {"subnet": "10.128.0.0/15"}), 400, "INVALID_SUBNET", "/subnet")
        self.ok(daemon.client.patch("/network", {"subnet": "10.128.0.0/16"}, wait=10))

    def test_chosen_no_more(self):
        daemon = Daemon({"network": {"ipv6_subnet": "fd00:5a:3::/64"}})
        self.addCleanup(daemon.close)
        daemon.start()
        daemon.stop()
        daemon.config["network"]["ipv6_subnet"] = None
        daemon.start()
        self.assertIsNone(daemon.client.json("/network")["ipv6_subnet"])
        self.assertNotIn("fd00:5a:3", daemon.netns.ip("-6", "address", "show", "dev", daemon.bridge))
        if Path("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists():
            self.assertEqual("0", daemon.netns.run("cat", "/proc/sys/net/ipv6/conf/up0/force_forwarding").strip())


class OpenedTest(ThemeCase):
    """network.allow_host_networks of both versions."""

    settings = {"network": {"ipv6_subnet": "fd00:5a:4::/64", "allow_host_networks": ["203.0.113.0/26", "2001:db8:7:0:8000::/65", "2001:db8:7::9"]}}
    tiny = False

    def closed(self, address):
        return covers(self.daemon.netns.set_elements(self.daemon.mark, "closed6" if ":" in address else "closed4"), address)

    def test_only_what_is_named_is_open(self):
        netns = self.daemon.netns
        netns.add_link("lan7", "203.0.113.1/25")
        netns.ip("-6", "address", "add", "2001:db8:7::1/64", "dev", "lan7", "nodad")
        eventually(lambda: self.closed("203.0.113.126") and self.closed("2001:db8:7::1"), "the networks that the host is connected to now", 5)
        for address in ("203.0.113.64", "2001:db8:7::8", "2001:db8:7::a", "2001:db8:7:0:7fff::", "fe80::1", "ff02::1", "::1"):
            self.assertTrue(self.closed(address), address)
        for address in ("203.0.113.1", "203.0.113.63", "2001:db8:7::9", "2001:db8:7:0:8000::", "2001:db8:7:0:ffff::1"):
            self.assertFalse(self.closed(address), address)

    def test_refused_without_ipv6(self):
        daemon = Daemon({"network": {"allow_host_networks": ["2001:db8:7::/64"]}})
        self.addCleanup(daemon.close)
        daemon.spawn()
        self.assertNotEqual(0, daemon.process.wait(10))
        self.assertIn("'2001:db8:7::/64' needs network.ipv6_subnet", daemon.log_tail())


class WrongTest(Case):
    def test_wrong_subnets(self):
        for subnet in ("fe80::/64", "ff00::/64", "::/64", "fd00::/63", "fd00::/113", "fd00::1/64", "10.0.0.0/24", "4000::/64", "x::/64"):
            with self.subTest(subnet):
                daemon = Daemon({"network": {"ipv6_subnet": subnet}})
                try:
                    daemon.spawn()
                    self.assertNotEqual(0, daemon.process.wait(10))
                    self.assertIn("network.ipv6_subnet", daemon.log_tail())
                finally:
                    daemon.close()


class PacketsTest(OwnDaemonCase):
    """Real guests."""

    def setUp(self):
        if not (BUNDLE / "manifest.json").exists():
            raise AssertionError(f"no bundle at {BUNDLE}: deploy/build-image.sh --output {BUNDLE}")
        settings = {"images": {"allowed_roots": [str(BUNDLE.resolve())]}, "network": {"ipv6_subnet": SUBNET}}
        self.daemon = Daemon(settings)
        self.addCleanup(self.daemon.close)
        give_host_ipv6(self.daemon.netns)
        self.daemon.start()
        self.c = self.daemon.client
        reply = self.c.post("/images", {"manifest_path": str(BUNDLE / "manifest.json")}, wait=60)
        self.assertEqual((201, "ready"), (reply.status, reply.json["state"]), repr(reply))
        self.image = reply.json["id"]

    def linux(self, **extra):
        body = {"image": self.image, "vmm": "auto", "machine_config": {"mem_size_mib": 256}, "boot_args": "", **extra}
        vm = self.create(wait=60, **body)
        self.await_console(vm["id"], b"smartvm-guest: up", 60)
        return vm

    def guest_pings(self, vm, address, wanted, mark):
        """The marks are made by arithmetic, so that what is typed is not taken for what is answered."""
        text = f"ping -6 -c 1 -w 5 {address} > /dev/null && echo {mark}-in-$((1 + 1)) || echo {mark}-out-$((1 + 1))\n"
        self.ok(self.c.post(f"/vms/{vm['id']}/console", text.encode(), headers={"Content-Type": "text/plain"}), 204)
        self.await_console(vm["id"], f"{mark}-{'in' if wanted else 'out'}-2".encode(), 20)

    @limit(180)
    def test_ways(self):
        first, second = self.linux(), self.linux()
        ip6 = first["network_interfaces"][0]["ip6"]
        self.daemon.netns.run("ping", "-6", "-c", "1", "-W", "5", ip6)
        self.guest_pings(first, "fd00:5a:1::1", True, "gateway")
        self.guest_pings(first, OUTSIDE, True, "outside")  # which has no route back: it saw the host's address
        self.guest_pings(first, "2001:db8:9::2", False, "host")
        self.guest_pings(first, "2001:db8:9::1", False, "lan")
        self.guest_pings(first, second["network_interfaces"][0]["ip6"], False, "other")

        run("ip", "-n", self.daemon.netns.world, "-6", "route", "add", SUBNET, "via", "2001:db8:9::2")
        world = ["nsenter", f"--net=/run/netns/{self.daemon.netns.world}", "--", "ping", "-6", "-c", "1", "-W", "1", ip6]
        with self.assertRaises(RuntimeError):
            run(*world)  # from outside, nothing that was not asked for

        self.daemon.netns.run("nft", "flush", "ruleset")
        eventually(lambda: self.daemon.netns.set_elements(self.daemon.mark, "guest6"), "the elements", 5)
        self.guest_pings(first, OUTSIDE, True, "again")
        self.daemon.kill9()
        self.daemon.start()
        self.guest_pings(first, OUTSIDE, True, "after")

        self.daemon.netns.add_link("lan7", "2001:db8:7::1/64")
        run("ip", "-n", self.daemon.netns.world, "-6", "address", "add", "2001:db8:7::2/128", "dev", "lo", "nodad")
        self.daemon.stop()
        self.daemon.config["network"]["allow_host_networks"] = ["2001:db8:9::/64", "2001:db8:7::/64"]
        self.daemon.start()
        self.guest_pings(first, "2001:db8:9::1", True, "opened")  # a neighbour of the host, at the uplink
        self.guest_pings(first, "2001:db8:9::2", False, "still")  # the host itself
        self.guest_pings(first, "2001:db8:7::2", False, "behind")  # opened too, but not behind the uplink
