"""Bridge, TAPs, addresses and the firewall, as the host shows them."""

import ipaddress
import json
import time

from harness import Case, Daemon, OwnDaemonCase, ThemeCase, eventually, limit


class NetworkTest(ThemeCase):
    def links(self):
        return self.daemon.netns.links()

    def guests(self):
        return self.daemon.netns.set_elements(self.daemon.mark, "guest4")

    def test_the_resource(self):
        network = self.c.json("/network")
        subnet = ipaddress.ip_network(self.daemon.config["network"]["subnet"])
        self.assertEqual((self.daemon.bridge, str(subnet), str(subnet[1]), "up0", True),
                         tuple(network[k] for k in ("bridge", "subnet", "gateway", "uplink", "masquerade")))
        self.assertEqual(253, network["addresses"]["total"])
        self.assertEqual(["true"], [c["status"] for c in network["conditions"]])

    def test_the_bridge(self):
        bridge = self.links()[self.daemon.bridge]
        self.assertEqual(("bridge", True), (bridge["kind"], bridge["up"]))
        self.assertTrue(bridge["alias"].startswith(f"{self.daemon.mark}:"), bridge)
        addresses = json.loads(self.daemon.netns.ip("-j", "-4", "address", "show", "dev", self.daemon.bridge))[0]["addr_info"]
        subnet = ipaddress.ip_network(self.daemon.config["network"]["subnet"])
        self.assertEqual([(str(subnet[1]), 24)], [(a["local"], a["prefixlen"]) for a in addresses])

    def test_a_tap(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        tap = self.links()[interface["tap"]]
        self.assertEqual(("tun", True, True, self.daemon.bridge, f"{self.daemon.mark}:{vm['id']}"),
                         tuple(tap[k] for k in ("kind", "up", "isolated", "master", "alias")))
        self.assertLessEqual(len(interface["tap"]), 15)
        self.assertEqual("true", self.condition(vm, "network")["status"])
        self.act(vm["id"], "kill")
        self.assertNotIn(interface["tap"], self.links())

    def test_addresses(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        subnet = ipaddress.ip_network(self.daemon.config["network"]["subnet"])
        self.assertEqual((24, str(subnet[1])), (interface["prefix"], interface["gateway"]))
        self.assertIn(ipaddress.ip_address(interface["ip"]), list(subnet.hosts())[1:])
        self.assertRegex(interface["mac"], r"^02(:[0-9a-f]{2}){5}$")

    def test_the_guest_is_told_its_address(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        config = json.loads((self.daemon.run_dir / "vm" / vm["id"] / "vmm.json").read_text())
        self.assertIn(f"ip={interface['ip']}::{interface['gateway']}:255.255.255.0::eth0:off", config["boot-source"]["boot_args"])
        self.assertEqual((interface["mac"], interface["tap"]),
                         (config["network-interfaces"][0]["guest_mac"], config["network-interfaces"][0]["host_dev_name"]))

    def test_leases(self):
        vm = self.create(network_interfaces=[{"iface_id": "eth0"}, {"iface_id": "eth1"}])
        leases = [lease for lease in self.c.items("/network/leases") if lease["vm"] == vm["id"]]
        wanted = [{"address": i["ip"], "state": "leased", "freed_at": None, "vm": vm["id"], "iface_id": i["iface_id"], "mac": i["mac"]} for i in vm["network_interfaces"]]
        self.assertEqual(sorted(wanted, key=lambda lease: ipaddress.ip_address(lease["address"])), leases)
        self.assertEqual(leases, [lease for lease in self.c.items("/network/leases", limit=1) if lease["vm"] == vm["id"]])
        self.assertEqual(2, self.c.json("/network")["addresses"]["used"])
        self.forget(vm["id"])
        self.assertEqual([], self.c.items("/network/leases"))
        self.assertEqual(0, self.c.json("/network")["addresses"]["used"])

    def test_a_stopped_vm_keeps_its_addresses(self):
        vm = self.create()
        self.act(vm["id"], "kill")
        self.assertEqual(vm["network_interfaces"], self.act(vm["id"], "start")["network_interfaces"])

    def test_the_tables(self):
        tables = {(e["table"]["family"], e["table"]["name"]) for e in self.daemon.netns.ruleset() if "table" in e}
        self.assertEqual({("inet", self.daemon.mark), ("bridge", self.daemon.mark)}, tables)
        chains = {(c["family"], c["hook"]) for c in (e["chain"] for e in self.daemon.netns.ruleset() if "chain" in e) if "hook" in c}
        self.assertLessEqual({("inet", "forward"), ("inet", "input"), ("inet", "postrouting"), ("bridge", "prerouting")}, chains)
        self.assertEqual(["up0"], self.daemon.netns.set_elements(self.daemon.mark, "uplink"))

    def test_a_running_vm_is_a_firewall_element(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        wanted = {"concat": [interface["tap"], interface["mac"], interface["ip"]]}
        self.assertIn(wanted, self.guests())
        self.act(vm["id"], "kill")
        self.assertNotIn(wanted, self.guests())

    def test_forwarding_is_on_where_it_is_needed_and_nowhere_else(self):
        for link in ("up0", self.daemon.bridge):
            value = self.daemon.netns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding")
            self.assertEqual("1", value.strip(), link)
        self.assertEqual("0", self.daemon.netns.run("cat", "/proc/sys/net/ipv4/conf/lo/forwarding").strip())

    def test_the_uplink_follows_the_default_route(self):
        netns = self.daemon.netns
        netns.add_link("up9", "203.0.113.2/24")
        self.addCleanup(netns.ip, "link", "del", "up9")
        netns.ip("route", "replace", "default", "via", "203.0.113.1")
        self.addCleanup(netns.ip, "route", "replace", "default", "via", "198.51.100.1")
        eventually(lambda: netns.set_elements(self.daemon.mark, "uplink") == ["up9"], "the new uplink", 5)
        eventually(lambda: self.c.json("/network")["uplink"] == "up9", "the new uplink in the resource", 5)
        netns.ip("route", "del", "default")
        eventually(lambda: not netns.set_elements(self.daemon.mark, "uplink"), "no uplink", 5)
        eventually(lambda: self.c.json("/network")["uplink"] is None, "no uplink in the resource", 5)
        vm = self.create()
        trace = self.ok(self.c.post("/firewall/trace", {"vm": vm["id"], "direction": "egress", "remote": "8.8.8.8", "protocol": "icmp"}))
        self.assertEqual(("deny", "uplink", None), (trace["verdict"], trace["stage"], trace["rule"]))

    def test_the_bridge_removed_by_hand_comes_back(self):
        vm = self.create()
        self.daemon.netns.ip("link", "del", self.daemon.bridge)
        eventually(lambda: self.links().get(self.daemon.bridge, {}).get("up"), "the bridge", 8)
        eventually(lambda: self.links()[vm["network_interfaces"][0]["tap"]]["master"] == self.daemon.bridge, "the TAP in the bridge", 8)
        self.assertTrue(self.links()[vm["network_interfaces"][0]["tap"]]["isolated"])
        eventually(lambda: self.c.json("/network")["conditions"][0]["status"] == "true", "the condition", 8)

    def test_the_ruleset_flushed_by_hand_comes_back(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        self.daemon.netns.run("nft", "flush", "ruleset")
        wanted = {"concat": [interface["tap"], interface["mac"], interface["ip"]]}
        eventually(lambda: wanted in (self.guests() or []), "the guest's element", 8)
        self.test_the_tables()

    def test_a_tap_removed_by_hand_is_reported(self):
        vm = self.create()
        self.daemon.netns.ip("link", "del", vm["network_interfaces"][0]["tap"])

        def seen(now):
            lost = [c for c in now["conditions"] if c["type"].lower() == "network" and c["status"] == "false"]
            return lost or now["vmm"]["pid"] != vm["vmm"]["pid"]

        self.await_vm(vm["id"], seen, "the loss of the TAP")
        rebooted = self.act(vm["id"], "reboot", {"timeout_seconds": 0})
        self.assertEqual("true", self.condition(rebooted, "network")["status"])
        self.assertIn(vm["network_interfaces"][0]["tap"], self.links())

    def test_a_foreign_link_with_the_name_of_a_tap_is_left_alone(self):
        vm = self.create(desired_state="stopped", state="stopped")
        tap = vm["network_interfaces"][0]["tap"]
        self.daemon.netns.ip("tuntap", "add", "dev", tap, "mode", "tap")
        failed = self.ended(self.c.post(f"/vms/{vm['id']}/start", wait=15), "TAP_CREATE_FAILED")
        self.assertEqual(("failed", "TAP_CREATE_FAILED"), (failed["state"], failed["error"]["code"]))
        self.assertIn(tap, failed["error"]["message"])
        self.assertEqual("", self.links()[tap]["alias"])
        self.daemon.netns.ip("link", "del", tap)
        self.assertEqual("running", self.act(vm["id"], "start")["state"])


class SmallSubnetTest(OwnDaemonCase):
    settings = {"network": {"subnet": "10.99.0.0/29"}}

    def stopped(self, **extra):
        body = self.body(desired_state="stopped", **extra)
        self.addCleanup(self.forget, body["id"])
        return self.c.post("/vms", body, wait=10)

    def test_exhaustion(self):
        self.assertEqual(5, self.c.json("/network")["addresses"]["total"])
        vms = [self.ok(self.stopped(), 201) for _ in range(5)]
        addresses = {vm["network_interfaces"][0]["ip"] for vm in vms}
        self.assertEqual({f"10.99.0.{n}" for n in range(2, 7)}, addresses)
        self.refused(self.stopped(), 409, "IP_EXHAUSTED")
        self.assertEqual(5, len(self.c.items("/vms")))
        self.ok(self.stopped(network_interfaces=[]), 201)
        self.forget(vms[2]["id"])
        again = self.ok(self.stopped(), 201)
        self.assertEqual(vms[2]["network_interfaces"][0]["ip"], again["network_interfaces"][0]["ip"])

    def test_a_vm_that_needs_more_than_is_left_takes_none(self):
        self.ok(self.stopped(network_interfaces=[{"iface_id": f"eth{n}"} for n in range(4)]), 201)
        self.refused(self.stopped(network_interfaces=[{"iface_id": "eth0"}, {"iface_id": "eth1"}]), 409, "IP_EXHAUSTED")
        self.assertEqual(4, self.c.json("/network")["addresses"]["used"])
        self.ok(self.stopped(), 201)

    def test_a_freed_address_is_in_quarantine(self):
        self.daemon.config["network"]["lease_quarantine_s"] = 3600
        self.daemon.restart()
        vms = [self.ok(self.stopped(), 201) for _ in range(5)]
        self.forget(vms[0]["id"])
        self.assertEqual({"total": 5, "used": 4, "quarantined": 1}, self.c.json("/network")["addresses"])
        leases = self.c.items("/network/leases", limit=2)
        self.assertEqual(["quarantined"] + ["leased"] * 4, [lease["state"] for lease in leases])
        self.assertEqual(vms[0]["network_interfaces"][0]["ip"], leases[0]["address"])
        self.refused(self.stopped(), 409, "IP_EXHAUSTED")


class ForeignTest(Case):
    """What someone else made is never adopted, changed or removed."""

    def not_ready(self, prepare, settings=None):
        """A daemon on a host that `prepare` has changed: it stays up, is not ready, and says why. The condition's text."""
        daemon = Daemon(settings)
        self.addCleanup(daemon.close)
        prepare(daemon)
        daemon.spawn()

        def problem():
            if daemon.process.poll() is not None:
                return "ended: " + daemon.log_tail()
            try:
                reply = daemon.client.get("/network")
            except OSError:
                return None
            if reply.status != 200:
                return None
            bad = [c for c in reply.json["conditions"] if c["status"] == "false"]
            return bad[0]["reason"] + " " + bad[0]["message"] if bad else None

        text = eventually(problem, "a report", 15)
        return daemon, text

    def test_a_foreign_bridge_of_the_same_name(self):
        def prepare(daemon):
            daemon.netns.ip("link", "add", daemon.bridge, "type", "bridge")
            daemon.netns.ip("address", "add", "203.0.113.9/24", "dev", daemon.bridge)

        daemon, text = self.not_ready(prepare)
        self.assertIn(daemon.bridge, text)
        self.assertEqual("", daemon.netns.links()[daemon.bridge]["alias"])
        self.assertIn("203.0.113.9/24", daemon.netns.ip("address", "show", "dev", daemon.bridge))
        daemon.netns.ip("link", "del", daemon.bridge)
        eventually(lambda: daemon.client.get("/readyz").status == 200, "readiness after the repair", 15)

    @limit(90)
    def test_a_vm_on_a_host_whose_bridge_is_foreign(self):
        daemon, _ = self.not_ready(lambda d: d.netns.ip("link", "add", d.bridge, "type", "bridge"))
        reply = daemon.client.post("/images", {"manifest": daemon.tiny_manifest()}, wait=15)
        self.assertEqual("ready", reply.json.get("state"), repr(reply))
        body = {"id": "a", "image": "tiny", "vmm": "firecracker", "network_interfaces": [{"iface_id": "eth0"}]}
        vm = self.ended(daemon.client.post("/vms", body, wait=10), "BRIDGE_SETUP_FAILED")
        self.assertEqual(("failed", "BRIDGE_SETUP_FAILED"), (vm["state"], vm["error"]["code"]))
        daemon.netns.ip("link", "del", daemon.bridge)
        self.assertEqual("running", self.ok(daemon.client.post("/vms/a/start", wait=10), 200)["state"])

    def test_a_subnet_that_overlaps_a_route(self):
        settings = {"network": {"subnet": "10.77.5.0/24"}}
        _, text = self.not_ready(lambda daemon: daemon.netns.add_link("lan0", "10.77.0.1/16"), settings)
        self.assertIn("10.77.0.0/16", text)

    def test_foreign_links_and_tables_stay(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.netns.ip("tuntap", "add", "dev", "tap0", "mode", "tap")
        daemon.netns.ip("link", "set", "tap0", "alias", "smartvmx:else")
        daemon.netns.run("nft", "add table inet other; add chain inet other c { type filter hook input priority 0; }")
        daemon.start()
        daemon.restart()
        self.assertIn("tap0", daemon.netns.links())
        self.assertIn("table inet other", daemon.netns.run("nft", "list", "tables"))


class StartTest(OwnDaemonCase):
    """Starts wait for a network that fails, for three seconds, in which it is tried again: nothing is given up because of what somebody does just now."""

    def await_rest(self, vm):
        return self.await_vm(vm, lambda v: v["state"] in ("running", "failed"), "the start")

    @limit(90)
    def test_a_network_that_is_being_repaired(self):
        damages = {"the bridge": ("ip", "link", "delete", self.daemon.bridge), "the ruleset": ("nft", "flush", "ruleset"),
                   "the table": ("nft", "delete", "table", "bridge", self.daemon.mark)}
        for number in range(12):
            for name, damage in damages.items():
                with self.subTest(damage=name, number=number):
                    self.ok(self.c.post("/vms", self.body(f"v{number}")), 201)
                    time.sleep(number * 0.002)
                    self.daemon.netns.run(*damage)
                    vm = self.await_rest(f"v{number}")
                    self.assertEqual("running", vm["state"], vm.get("error"))
                    self.ok(self.c.delete(f"/vms/v{number}", wait=10), 204)
                    self.ok(self.c.post("/drift/repair", wait=10), 201)  # so that it is not taken for a contest

    def network_fails(self):
        try:
            return self.c.json("/network")["conditions"][0]["status"] == "false"
        except OSError:
            return False

    @limit(90)
    def test_a_bridge_that_somebody_took(self):
        self.daemon.stop()
        self.daemon.netns.ip("link", "del", self.daemon.bridge)
        self.daemon.netns.ip("link", "add", self.daemon.bridge, "type", "bridge")
        self.daemon.spawn()
        eventually(self.network_fails, "a network that fails")
        self.ok(self.c.post("/vms", self.body("a")), 201)
        time.sleep(0.5)
        self.assertEqual("starting", self.vm("a")["state"])
        self.daemon.netns.ip("link", "del", self.daemon.bridge)
        self.assertEqual("running", self.await_rest("a")["state"])
