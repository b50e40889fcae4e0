"""What others on the host put in the way of the guests' network: told of, with the way out, and never changed."""

from harness import Case, Daemon, OwnDaemonCase, ThemeCase, eventually, parse_events


class Words:
    def found(self, kind):
        return next((c for c in self.c.json("/network")["conditions"] if c["type"] == kind), None)

    def appears(self, kind, *words):
        condition = eventually(lambda: self.found(kind), f"the condition {kind}", 5)
        self.assertEqual(("true", kind.upper()), (condition["status"], condition["reason"]))
        for word in words:
            self.assertIn(word, condition["message"])
        return condition["message"]

    def goes(self, kind):
        eventually(lambda: self.found(kind) is None, f"the end of the condition {kind}", 5)


class ForwardTest(Words, ThemeCase):
    def foreign(self):
        """The ruleset of others, as text."""
        tables = self.daemon.netns.run("nft", "list", "tables").splitlines()
        return {t: self.daemon.netns.run("nft", "list", *t.split()) for t in tables if self.daemon.mark not in t}

    def run_advice(self, message):
        for command in message.partition("by: ")[2].split(";"):
            self.daemon.netns.run(*command.split())

    def test_a_policy_of_drop(self):
        netns = self.daemon.netns
        self.assertIsNone(self.found("host_forward_drop"))
        netns.run("nft", "add table ip x; add chain ip x y { type filter hook forward priority 0; policy drop; }")
        before = self.foreign()
        message = self.appears("host_forward_drop", "chain y in table ip x", self.daemon.bridge)
        self.assertEqual(before, self.foreign())
        self.assertEqual("true", self.c.json("/network")["conditions"][0]["status"])  # what the daemon can do is done
        self.run_advice(message)
        self.goes("host_forward_drop")
        netns.run("nft", "delete table ip x")

    def test_docker(self):
        netns = self.daemon.netns
        for rule in ("-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"):
            netns.run("iptables-nft", *rule.split())
        message = self.appears("host_forward_drop", "iptables -I DOCKER-USER -i " + self.daemon.bridge)
        before = self.foreign()
        self.daemon.restart()
        self.appears("host_forward_drop")
        self.assertEqual(before, self.foreign())
        self.run_advice(message.replace("iptables ", "iptables-nft "))
        self.goes("host_forward_drop")
        netns.run("nft", "delete table ip filter")

    def test_coming_and_going_are_events(self):
        netns = self.daemon.netns
        netns.run("nft", "add table inet z; add chain inet z y { type filter hook forward priority 0; policy drop; }")
        self.appears("host_forward_drop")
        netns.run("nft", "delete table inet z")
        self.goes("host_forward_drop")
        with self.c.stream("/events", follow="false", headers={"Last-Event-ID": "0"}) as stream:
            events = parse_events(stream.read_all().decode())
        seen = [e["event"] for e in events if e["event"].startswith("network.obstacle")]
        self.assertEqual(["network.obstacle", "network.obstacle_gone"], seen[-2:])


class HostTest(Words, OwnDaemonCase):
    def test_a_route_into_the_subnet(self):
        netns = self.daemon.netns
        netns.add_link("vpn0", "203.0.113.2/24")
        inside = self.daemon.config["network"]["subnet"].replace(".0/24", ".128/25")
        netns.ip("route", "add", inside, "dev", "vpn0")
        self.appears("subnet_overlap", inside, "vpn0", "PATCH /network")
        self.assertIn("vpn0", netns.ip("route", "show", inside))
        netns.ip("route", "del", inside)
        self.goes("subnet_overlap")

    def test_no_way_out(self):
        netns = self.daemon.netns
        netns.ip("route", "del", "default")
        self.appears("no_uplink", "default route")
        netns.ip("route", "add", "default", "via", "198.51.100.1")
        self.goes("no_uplink")
        self.ok(self.c.patch("/network", {"uplink": "nope0"}, wait=5))
        self.appears("no_uplink", "nope0")
        self.ok(self.c.patch("/network", {"uplink": None}, wait=5))
        self.goes("no_uplink")

    def test_vms_of_another_subnet(self):
        vm = self.create(desired_state="stopped", state="stopped")
        self.daemon.stop()
        self.daemon.config["network"]["subnet"] = "10.250.0.0/24"
        self.daemon.start()
        self.appears("outside_subnet", vm["id"], vm["network_interfaces"][0]["ip"])
        self.forget(vm["id"])
        self.ok(self.c.patch("/network", {"lease_quarantine_s": 1}, wait=5))  # a reason to look
        self.goes("outside_subnet")


class ForeignBridgeTest(Words, Case):
    def test_a_foreign_bridge(self):
        self.daemon = Daemon()
        self.addCleanup(self.daemon.close)
        netns = self.daemon.netns
        netns.ip("link", "add", self.daemon.bridge, "type", "bridge")
        before = netns.ip("-d", "link", "show", self.daemon.bridge)
        self.daemon.spawn()
        self.c = self.daemon.client

        def answers():
            try:
                return self.c.get("/network").status == 200
            except OSError:
                return False

        eventually(answers, "an answer", 15)
        self.appears("foreign_bridge", self.daemon.bridge, "network.bridge")
        self.assertEqual(before, netns.ip("-d", "link", "show", self.daemon.bridge))
        netns.ip("link", "del", self.daemon.bridge)
        self.goes("foreign_bridge")
        eventually(lambda: self.c.get("/readyz").status == 200, "readiness", 15)
