"""Two daemons on one host: what the one has, the other is refused, by the owner's name, at its start or in the request. Elsewhere both may have the same."""

import os
import time

from harness import Case, Daemon, eventually
from wireguard import Peer, config_text, new_key, new_name


class Pair(Case):
    def first_daemon(self, settings=None):
        daemon = Daemon(settings)
        self.addCleanup(daemon.close)
        daemon.start()
        return daemon

    def second_daemon(self, first, settings=None, **shared):
        daemon = Daemon(settings, like=first)
        self.addCleanup(daemon.close)
        daemon.config.update(shared)
        return daemon

    def refused_at_start(self, daemon, *words):
        daemon.spawn()
        with self.quick(15):
            self.assertNotEqual(0, daemon.process.wait(15))
        text = daemon.log_tail()
        for word in words:
            self.assertIn(word, text)
        self.assertEqual([], daemon.sanitizer_reports())
        daemon.process = None


class StartTest(Pair):
    def test_the_same_things(self):
        first = self.first_daemon({"network": {"ipv6_subnet": "fd00:77:1::/64"}})
        first.add_tiny()
        network, pid = first.config["network"], str(first.pid)
        before = first.netns.run("nft", "list", "ruleset"), first.netns.ip("link")
        cases = (
            ("the bridge", {"network": {"bridge": network["bridge"]}}, {}, ("IN_USE", f"the bridge {network['bridge']}", pid)),
            ("TAPs that begin alike", {"network": {"bridge": network["bridge"][:9] + "t"}}, {}, ("IN_USE", network["bridge"], pid)),
            ("the subnet", {"network": {"subnet": network["subnet"]}}, {}, ("IN_USE", network["subnet"], pid)),
            ("one around it", {"network": {"subnet": "10.0.0.0/8"}}, {}, ("IN_USE", network["subnet"], pid)),
            ("the IPv6 subnet", {"network": {"ipv6_subnet": "fd00:77:1::/112"}}, {}, ("IN_USE", "fd00:77:1::/64", pid)),
            ("the state directory", {}, {"state_dir": first.config["state_dir"]}, ("CONFLICT", f"state_dir: {first.config['state_dir']}", pid)),
            ("the run directory", {}, {"run_dir": first.config["run_dir"], "listen": [f"/run/{first.name}-2.sock"]},
             ("CONFLICT", f"run_dir: {first.config['run_dir']}", pid)),
            ("the socket", {}, {"listen": [str(first.socket)]}, ("CONFLICT", f"listens on {first.socket}", "pid ")),
        )
        for name, settings, shared, words in cases:
            with self.subTest(name):
                self.refused_at_start(self.second_daemon(first, settings, **shared), *words)
        self.assertEqual(before, (first.netns.run("nft", "list", "ruleset"), first.netns.ip("link")), "nothing of the first was touched")
        self.assertEqual(200, first.client.get("/readyz").status)

    def test_after_kill_9_it_gets_its_things_back(self):
        daemon = self.first_daemon()
        for _ in range(3):
            daemon.kill9()
            daemon.start()

    def test_who_is_killed_has_nothing_any_more(self):
        first = self.first_daemon()
        second = self.second_daemon(first, {"network": {"subnet": first.config["network"]["subnet"]}})
        self.refused_at_start(second, "IN_USE")
        first.kill9()
        first.netns.ip("link", "del", first.bridge)
        second.start()

    def test_other_namespaces_are_other_hosts(self):
        first = self.first_daemon()
        second = Daemon({"network": {"subnet": first.config["network"]["subnet"]}})
        self.addCleanup(second.close)
        second.start()

    def test_the_stage_directory(self):
        """A mark is unique in a network namespace, and a file system is shared by several."""
        first = self.first_daemon()
        stage = first.config["vmm"]["stage_dir"]
        second = Daemon({"network": {"bridge": first.bridge}, "vmm": {"stage_dir": stage}})
        self.addCleanup(second.close)
        self.refused_at_start(second, "IN_USE", f"vmm.stage_dir: {stage}/{first.mark}", first.config["state_dir"])


class RunningTest(Pair):
    def test_the_subnet(self):
        first = self.first_daemon()
        second = self.second_daemon(first).start()
        taken = first.config["network"]["subnet"]
        for subnet in (taken, taken.replace(".0/24", ".64/26"), "10.0.0.0/8"):
            problem = self.refused(second.client.patch("/network", {"subnet": subnet}, wait=5), 409, "IN_USE")
            self.assertIn(f"pid {first.pid}", problem["detail"])
        self.ok(second.client.patch("/network", {"subnet": "10.230.0.0/24"}, wait=10))
        # Its old one is free now, and the new one is not.
        self.ok(first.client.patch("/network", {"subnet": second.config["network"]["subnet"]}, wait=10))
        self.refused(first.client.patch("/network", {"subnet": "10.230.0.0/25"}, wait=5), 409, "IN_USE")

    def test_the_routing_table(self):
        """They rewrote it against each other for ever."""
        first = self.first_daemon()
        second = self.second_daemon(first).start()
        peer = Peer(first.netns)
        self.addCleanup(peer.stop)

        def body(table=51820):
            return {"config": config_text(new_key()[0], peer), "interface_name": new_name("f"), "route_table": table}

        self.ok(first.client.put("/network/wireguard", body(), wait=15), 200)
        problem = self.refused(second.client.put("/network/wireguard", body(), wait=5), 409, "IN_USE")
        self.assertIn("51820", problem["detail"])
        self.assertIn(f"pid {first.pid}", problem["detail"])
        self.ok(second.client.put("/network/wireguard", body(51821), wait=15), 200)
        self.refused(second.client.put("/network/wireguard", body(), wait=5), 409, "IN_USE")

        # Its rules outlive it, and lead its guests by that table.
        first.kill9()
        problem = self.refused(second.client.put("/network/wireguard", body(), wait=5), 409, "IN_USE")
        self.assertIn(first.bridge, problem["detail"])
        first.start()
        eventually(lambda: first.client.json("/network/wireguard")["conditions"][0]["status"] == "true", "the tunnel of the first", 15)

        # A table that was let go is free.
        self.ok(first.client.delete("/network/wireguard", wait=15), 204)
        self.ok(second.client.put("/network/wireguard", body(), wait=15), 200)
        self.refused(first.client.put("/network/wireguard", body(), wait=5), 409, "IN_USE")
        time.sleep(1)
        self.assertFalse([e for e in os.popen(f"ip netns exec {first.netns.name} ip route show table 51821").read().splitlines()], "the old table is empty")
