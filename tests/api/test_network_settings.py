"""PATCH /network: what can be changed while the daemon runs, and what the host shows of it."""

import json

from harness import Case, Daemon, OwnDaemonCase, ThemeCase, eventually, parse_events


class SettingsTest(ThemeCase):
    def patch(self, body, status=200, **kw):
        return self.ok(self.c.patch("/network", body, wait=10, **kw), status)

    def tearDown(self):
        self.patch({"uplink": None, "masquerade": None, "lease_quarantine_s": None})

    def rules(self):
        return [entry["rule"] for entry in self.daemon.netns.ruleset() if "rule" in entry]

    def masquerades(self):
        return [r for r in self.rules() if r.get("comment", "").startswith("masquerade ")]

    def uplinks(self):
        return self.daemon.netns.set_elements(self.daemon.mark, "uplink")

    def forwards(self, link):
        return self.daemon.netns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() == "1"

    def test_masquerade(self):
        self.assertTrue(self.masquerades())
        changed = self.patch({"masquerade": False})
        self.assertEqual((False, changed["generation"]), (changed["masquerade"], changed["observed_generation"]))
        self.assertFalse(self.masquerades())
        self.assertTrue(self.patch({"masquerade": None})["masquerade"])
        self.assertTrue(self.masquerades())

    def test_a_running_vm_stays_through_a_change(self):
        vm = self.create()
        interface = vm["network_interfaces"][0]
        wanted = {"concat": [interface["tap"], interface["mac"], interface["ip"]]}
        self.patch({"masquerade": False})
        self.assertIn(wanted, self.daemon.netns.set_elements(self.daemon.mark, "guest4"))
        self.assertEqual(vm["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])

    def test_the_change_is_an_event_and_no_repair(self):
        self.patch({"lease_quarantine_s": 77})
        with self.c.stream("/events", follow="false", headers={"Last-Event-ID": "0"}) as stream:
            events = parse_events(stream.read_all().decode())
        changes = [e["data"] for e in events if e["event"] == "network.changed"]
        self.assertIn({"lease_quarantine_s": 77}, [c.get("data", c) for c in changes], changes)
        self.assertEqual([], [e for e in events if e["event"] == "network.repaired"])

    def test_an_uplink_by_name(self):
        netns = self.daemon.netns
        netns.add_link("up7", "203.0.113.2/24")
        self.addCleanup(netns.ip, "link", "del", "up7")
        self.assertEqual("up7", self.patch({"uplink": "up7"})["uplink"])
        self.assertEqual(["up7"], self.uplinks())
        self.assertTrue(self.forwards("up7"))
        self.assertFalse(self.forwards("up0"))  # the daemon turned it on, so it is off again
        self.assertEqual("up0", self.patch({"uplink": "default"})["uplink"])
        self.assertEqual(["up0"], self.uplinks())
        self.assertFalse(self.forwards("up7"))

    def test_forwarding_that_was_on_before_stays_on(self):
        netns = self.daemon.netns
        netns.add_link("up6", "203.0.113.6/24")
        self.addCleanup(netns.ip, "link", "del", "up6")
        netns.run("sysctl", "-qw", "net.ipv4.conf.up6.forwarding=1")
        self.patch({"uplink": "up6"})
        self.patch({"uplink": "default"})
        self.assertTrue(self.forwards("up6"))

    def test_an_uplink_that_is_not_there_yet(self):
        netns = self.daemon.netns
        changed = self.patch({"uplink": "later0"})
        self.assertEqual(["later0"], self.uplinks())
        self.assertEqual("later0", changed["uplink"])
        netns.add_link("later0", "203.0.113.9/30")
        self.addCleanup(netns.ip, "link", "del", "later0")
        eventually(lambda: self.forwards("later0"), "forwarding on the uplink that came", 5)

    def test_another_subnet_is_refused_while_vms_run(self):
        first, second, third = self.create(), self.create(), self.create(desired_state="stopped", state="stopped")
        reply = self.c.patch("/network", {"subnet": "10.200.0.0/24"}, wait=5)
        problem = self.refused(reply, 409, "IN_USE", "/subnet")
        details = [entry["detail"] for entry in problem["errors"]]
        for vm in (first, second):
            self.assertIn(f"VM '{vm['id']}' has {vm['network_interfaces'][0]['ip']}", details)
        self.assertFalse([d for d in details if third["id"] in d], "one that does not run gets another address")
        self.assertEqual(self.daemon.config["network"]["subnet"], self.c.json("/network")["subnet"])

    def test_lost_updates(self):
        etag = self.c.get("/network").etag
        self.patch({"lease_quarantine_s": 5}, headers={"If-Match": etag})
        self.refused(self.c.patch("/network", {"lease_quarantine_s": 6}, headers={"If-Match": etag}), 412, "PRECONDITION_FAILED")

    def test_what_is_not_to_be_changed(self):
        for body, pointer in (({"bridge": "br1"}, "/bridge"), ({"gateway": "10.0.0.1"}, "/gateway")):
            self.refused(self.c.patch("/network", body), 400, "INVALID_CONFIG", pointer)
        generation = self.c.json("/network")["generation"]
        self.assertEqual(generation, self.ok(self.c.patch("/network", {}))["generation"], "an empty patch changes nothing (RFC 7396)")
        self.refused(self.c.patch("/network", {"subnet": "10.0.0.0/31"}), 400, "INVALID_SUBNET", "/subnet")
        self.refused(self.c.patch("/network", {"uplink": self.daemon.bridge}), 400, "INVALID_INTERFACE_NAME", "/uplink")


class SubnetTest(OwnDaemonCase):
    def test_another_subnet(self):
        vm = self.create()
        self.forget(vm["id"])
        changed = self.ok(self.c.patch("/network", {"subnet": "10.201.0.0/20"}, wait=10), 200)
        self.assertEqual("10.201.0.1", changed["gateway"])
        self.assertEqual("true", changed["conditions"][0]["status"])
        shown = json.loads(self.daemon.netns.ip("-j", "-4", "address", "show", "dev", self.daemon.bridge))[0]["addr_info"]
        self.assertEqual([("10.201.0.1", 20)], [(a["local"], a["prefixlen"]) for a in shown])
        vm = self.create()
        interface = vm["network_interfaces"][0]
        self.assertEqual(("10.201.0.2", 20, "10.201.0.1"), (interface["ip"], interface["prefix"], interface["gateway"]))
        config = json.loads((self.daemon.run_dir / "vm" / vm["id"] / "vmm.json").read_text())
        self.assertIn("ip=10.201.0.2::10.201.0.1:255.255.240.0::eth0:off", config["boot-source"]["boot_args"])

        self.daemon.restart()  # what was changed is stored
        self.assertEqual("10.201.0.0/20", self.c.json("/network")["subnet"])
        self.assertEqual("running", self.vm(vm["id"])["state"])
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual("10.201.0.0/20", self.c.json("/network")["subnet"])

    def test_a_subnet_that_overlaps_a_route_of_the_host(self):
        self.daemon.netns.add_link("lan0", "10.202.0.1/16")
        reply = self.ok(self.c.patch("/network", {"subnet": "10.202.5.0/24"}, wait=5), 202, 500)  # what was waited for has failed
        bad = eventually(lambda: [c for c in self.c.json("/network")["conditions"] if c["status"] == "false"], "a condition", 5)
        self.assertIn("10.202.0.0/16", bad[0]["message"], reply)
        self.assertIn("PATCH /network", bad[0]["message"])
        self.ok(self.c.patch("/network", {"subnet": None}, wait=10), 200)
        eventually(lambda: self.c.json("/network")["conditions"][0]["status"] == "true", "the repair", 10)
        self.create()


class MovedTest(OwnDaemonCase):
    """The subnet, or the IPv6 network, of VMs that exist is changed: by the configuration, or at run time."""

    def configure(self, **network):
        self.daemon.stop()
        self.daemon.config["network"].update(network)
        self.daemon.start()

    def network_condition(self, vm):
        return next((c for c in self.vm(vm)["conditions"] if c["type"] == "network"), None)

    def boot_args(self, vm):
        return json.loads((self.daemon.run_dir / "vm" / vm / "vmm.json").read_text())["boot-source"]["boot_args"]

    def test_the_configured_subnet(self):
        running, stopped = self.create(), self.create(desired_state="stopped", state="stopped")
        pid = running["vmm"]["pid"]
        old = {vm["id"]: vm["network_interfaces"][0] for vm in (running, stopped)}
        self.configure(subnet="10.211.0.0/24")

        new = self.create()  # 503 DATABASE "UNIQUE constraint failed: interfaces.tap", at every try
        taps = {self.vm(vm["id"])["network_interfaces"][0]["tap"] for vm in (running, stopped, new)}
        self.assertEqual(3, len(taps), "each TAP has a name of its own")
        self.assertEqual("10.211.0.2", new["network_interfaces"][0]["ip"])

        self.assertEqual((pid, old[running["id"]]["tap"]), (self.vm(running["id"])["vmm"]["pid"], self.vm(running["id"])["network_interfaces"][0]["tap"]))
        condition = eventually(lambda: (c := self.network_condition(running["id"])) and c["status"] == "false" and c, "the condition of the guest", 5)
        self.assertEqual("changed", condition["reason"])
        self.assertIn(old[running["id"]]["ip"], condition["message"])
        self.assertIn("reboot", condition["message"])

        for action, vm in (("reboot", running), ("start", stopped)):
            self.act(vm["id"], action)
            eventually(lambda: self.vm(vm["id"])["state"] == "running" and self.network_condition(vm["id"])["status"] == "true", "the new network", 10)
            interface = self.vm(vm["id"])["network_interfaces"][0]
            self.assertTrue(interface["ip"].startswith("10.211.0."), interface)
            self.assertEqual((old[vm["id"]]["tap"], old[vm["id"]]["mac"]), (interface["tap"], interface["mac"]), "these it keeps")
            self.assertIn(f"ip={interface['ip']}::10.211.0.1:", self.boot_args(vm["id"]))
            guests = self.daemon.netns.set_elements(self.daemon.mark, "guest4")
            self.assertIn({"concat": [interface["tap"], interface["mac"], interface["ip"]]}, guests)
            self.assertFalse([g for g in guests if old[vm["id"]]["ip"] in g["concat"]], "nothing of the old address is left")
        with self.c.stream("/events", follow="false", headers={"Last-Event-ID": "0"}) as stream:
            events = [e for e in parse_events(stream.read_all().decode()) if e["event"] == "vm.readdressed"]
        self.assertEqual({old[vm["id"]]["ip"] for vm in (running, stopped)}, {e["data"]["data"]["from"] for e in events})
        eventually(lambda: "outside_subnet" not in [c["type"] for c in self.c.json("/network")["conditions"]], "no VM outside", 10)
        leased = [lease["address"] for lease in self.c.json("/network/leases")["items"] if lease["state"] == "leased"]
        self.assertEqual(3, len([ip for ip in leased if ip.startswith("10.211.0.")]), leased)

    def test_a_gateway_that_moves_under_an_address_that_stays(self):
        vm = self.create()
        while not vm["network_interfaces"][0]["ip"].endswith(".4"):
            vm = self.create()
        prefix = vm["network_interfaces"][0]["ip"].rpartition(".")[0]
        self.configure(subnet=f"{prefix}.0/29")
        condition = eventually(lambda: (c := self.network_condition(vm["id"])) and c["status"] == "false" and c, "the mask that changed", 5)
        self.assertIn("255.255.255.248", condition["message"])
        self.act(vm["id"], "reboot")
        eventually(lambda: self.network_condition(vm["id"])["status"] == "true", "the new mask", 10)
        self.assertEqual(vm["network_interfaces"][0]["ip"], self.vm(vm["id"])["network_interfaces"][0]["ip"])

    def test_the_configured_ipv6_network(self):
        vm = self.create()
        self.configure(ipv6_subnet="fd00:5a:77::/64")
        condition = eventually(lambda: (c := self.network_condition(vm["id"])) and c["status"] == "false" and c, "the IPv6 that the guest lacks", 5)
        self.assertIn("fd00:5a:77::", condition["message"])
        self.act(vm["id"], "reboot")
        eventually(lambda: self.network_condition(vm["id"])["status"] == "true", "IPv6", 10)
        self.assertIn("smartvm.ip6=fd00:5a:77::", self.boot_args(vm["id"]))

    def test_a_subnet_without_room(self):
        vms = [self.create(desired_state="stopped", state="stopped") for _ in range(2)]
        self.configure(subnet="10.212.0.0/30")
        self.act(vms[0]["id"], "start")
        eventually(lambda: self.vm(vms[0]["id"])["state"] == "running", "the one that fits", 10)
        self.c.post(f"/vms/{vms[1]['id']}/start", wait=20)
        failed = eventually(lambda: (v := self.vm(vms[1]["id"]))["state"] == "failed" and v, "the one that does not", 10)
        self.assertIn("IP_EXHAUSTED", json.dumps(failed))

    def test_at_run_time(self):
        vm = self.create(desired_state="stopped", state="stopped")
        self.ok(self.c.patch("/network", {"subnet": "10.213.0.0/24"}, wait=10))
        self.act(vm["id"], "start")
        eventually(lambda: self.vm(vm["id"])["state"] == "running", "the start", 10)
        self.assertEqual("10.213.0.2", self.vm(vm["id"])["network_interfaces"][0]["ip"])


class UplinkTest(Case):
    def test_forwarding_over_a_restart(self):
        """Turned on by one daemon, turned off by the next."""
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.start()
        daemon.netns.add_link("up5", "203.0.113.2/24")
        daemon.kill9()
        daemon.netns.ip("route", "replace", "default", "via", "203.0.113.1")
        daemon.start()
        forwards = {link: daemon.netns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() for link in ("up0", "up5")}
        self.assertEqual({"up0": "0", "up5": "1"}, forwards)
