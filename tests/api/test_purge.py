"""smartvmd --purge: an instance is removed, whatever its names are, and nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

from harness import Case, Daemon, eventually
from host import cgroup2_mount, files_below, is_alive
from wireguard import Peer, config_text, new_key, new_name


class PurgeTest(Case):
    def instance(self, settings=None, **kw):
        daemon = Daemon(settings, **kw)
        self.addCleanup(daemon.close)
        daemon.start()
        daemon.add_tiny()
        return daemon

    def add_vm(self, daemon, vm="web"):
        body = {"id": vm, "image": "tiny", "vmm": "firecracker", "machine_config": {"mem_size_mib": 32}, "network_interfaces": [{"iface_id": "eth0"}],
                "ports": [{"host_port": 8080, "guest_port": 80}]}
        reply = daemon.client.post("/vms", body, wait=15)
        self.assertEqual((201, "running"), (reply.status, reply.json.get("state")), repr(reply))
        return reply.json

    def purge(self, daemon, status=0, sets=()):
        argv = daemon.netns.wrap(*daemon.command(), "--purge", *(arg for one in sets for arg in ("--set", one)))
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        self.assertNotIn("Sanitizer", done.stderr)
        return done.stdout + done.stderr

    def nothing_is_left(self, daemon, neighbour=False):
        netns = daemon.netns
        self.assertFalse([name for name, link in netns.links().items() if (link.get("alias") or "").startswith(daemon.mark + ":")])
        self.assertNotIn(daemon.mark, netns.run("nft", "list", "tables"))
        for family in ("-4", "-6"):
            self.assertNotIn(daemon.bridge, netns.ip(family, "rule"))
            if not neighbour:
                self.assertNotIn("proto 173", netns.ip(family, "rule"))
                self.assertNotIn("proto 173", netns.ip(family, "route", "show", "table", "all"))
        mount = cgroup2_mount()
        self.assertFalse(mount is not None and (mount / daemon.mark).exists())
        for path in (daemon.config["state_dir"], daemon.config["run_dir"], daemon.stage_dir / daemon.mark):
            self.assertFalse(Path(path).exists(), f"{path}: {files_below(path)}")

    def test_all_of_it(self):
        daemon = self.instance({"network": {"ipv6_subnet": "fd00:5a:9::/64"}})
        vm = self.add_vm(daemon)
        peer = Peer(daemon.netns)
        self.addCleanup(peer.stop)
        tunnel = {"config": config_text(new_key()[0], peer), "interface_name": new_name("f")}
        self.ok(daemon.client.put("/network/wireguard", tunnel, wait=15), 200)
        forwards = "/proc/sys/net/ipv4/conf/up0/forwarding"
        daemon.netns.ip("tuntap", "add", "foreign0", "mode", "tap")

        text = self.purge(daemon, 1)  # while it runs
        self.assertIn(f"pid {daemon.pid}", text)
        self.assertIn("nothing was removed", text)
        self.assertEqual("running", daemon.client.json(f"/vms/{vm['id']}")["state"])

        daemon.kill9()
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        text = self.purge(daemon)
        self.assertIn("1 VMM processes removed", text)
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.nothing_is_left(daemon)
        self.assertIn("foreign0", daemon.netns.links())
        self.assertIn("up0", daemon.netns.ip("link"))
        self.assertEqual("0", daemon.netns.run("cat", forwards).strip(), "it was turned on by the daemon")
        self.assertIn("nothing of the instance", self.purge(daemon))  # again
        daemon.start()  # as on the first day
        self.assertEqual([], daemon.client.json("/vms")["items"])
        daemon.stop()
        self.purge(daemon)
        self.nothing_is_left(daemon)

    def test_without_or_with_a_damaged_database(self):
        for damage in ("missing", "damaged", "no state directory"):
            with self.subTest(damage):
                daemon = self.instance()
                vm = self.add_vm(daemon)
                daemon.kill9()
                database = Path(daemon.config["state_dir"]) / "db" / "smartvm.db"
                for path in database.parent.glob("smartvm.db*"):
                    path.write_bytes(b"not a database" * 1000) if damage == "damaged" else path.unlink()
                if damage == "no state directory":
                    shutil.rmtree(daemon.config["state_dir"])
                self.purge(daemon)
                self.assertFalse(is_alive(vm["vmm"]["pid"]))
                self.nothing_is_left(daemon)

    def test_faults_of_the_configuration(self):
        """What does not say where the instance is stops nobody from taking it away; what does, is not guessed."""
        daemon = self.instance()
        vm = self.add_vm(daemon)
        daemon.kill9()
        for wrong in ("run_dir=relative", "state_dir=7", "network.bridge=much-too-long-a-name", "network=7", "listen=7"):
            self.assertIn("INVALID", self.purge(daemon, 1, [wrong]), wrong)
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.purge(daemon, sets=["log.level=infos", "network.subnet=7", "vmm.firecracker=/", "future=1", "network.future=1"])
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.nothing_is_left(daemon)

    def test_what_is_not_marked_is_left(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        netns = daemon.netns
        netns.ip("link", "add", daemon.bridge, "type", "bridge")
        netns.ip("link", "set", daemon.bridge, "alias", "somebody's")
        netns.ip("tuntap", "add", daemon.tap_prefix + "7", "mode", "tap")
        netns.ip("rule", "add", "iif", daemon.bridge, "lookup", "777", "priority", "5100")
        netns.ip("route", "add", "unreachable", "192.0.2.0/24", "table", "777")
        state, run = Path(daemon.config["state_dir"]), Path(daemon.config["run_dir"])
        for directory in (state / "images" / "sha256", state / "db", run / "vm" / "web"):
            directory.mkdir(parents=True)
            (directory / "mine").write_text("mine")
        before = netns.ip("link"), netns.ip("rule"), netns.ip("route", "show", "table", "all"), files_below(state), files_below(run)
        text = self.purge(daemon)
        self.assertIn(f"the link {daemon.bridge} is not marked", text)
        self.assertEqual(before, (netns.ip("link"), netns.ip("rule"), netns.ip("route", "show", "table", "all"), files_below(state), files_below(run)))
        shutil.rmtree(run)

    def test_a_neighbour_is_left_alone(self):
        first = self.instance()
        second = self.instance(like=first)
        vms = [self.add_vm(daemon) if daemon is first else daemon.client.post("/vms", {
            "id": "web", "image": "tiny", "vmm": "firecracker", "machine_config": {"mem_size_mib": 32}, "network_interfaces": [{"iface_id": "eth0"}]}, wait=15).json
            for daemon in (first, second)]
        first.kill9()
        self.purge(first)
        self.nothing_is_left(first, neighbour=True)
        self.assertNotIn(f"to {first.config['network']['subnet']} ", first.netns.ip("rule"))
        self.assertTrue(is_alive(vms[1]["vmm"]["pid"]))
        self.assertEqual("running", second.client.json("/vms/web")["state"])
        eventually(lambda: second.client.get("/readyz").status == 200, "the neighbour", 5)
        self.assertEqual(204, second.client.delete("/vms/web", wait=15).status)

    def test_foreign_files_stay(self):
        daemon = self.instance()
        daemon.stop()
        keep = Path(daemon.config["state_dir"]) / "notes.txt"
        keep.write_text("mine")
        text = self.purge(daemon)
        self.assertIn(f"{daemon.config['state_dir']} is kept", text)
        self.assertEqual(["notes.txt"], files_below(daemon.config["state_dir"]))
