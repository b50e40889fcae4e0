"""The daemon ends, is killed, comes back; VMs do not notice. What changed meanwhile is found, what was left is removed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from harness import Case, Daemon, OwnDaemonCase, eventually, is_alive, kill, limit
from host import cgroup2_mount, children


class RestartTest(OwnDaemonCase):
    def database(self):
        return self.daemon.base / "state" / "db" / "smartvm.db"

    def three(self):
        return [self.create(vm="runs", mode="ctrlaltdel"), self.create(vm="paused", desired_state="paused", state="paused"),
                self.create(vm="stopped", desired_state="stopped", state="stopped")]

    def same(self, before):
        for vm in before:
            now = self.vm(vm["id"])
            for field in ("state", "desired_state", "network_interfaces", "machine_config", "labels", "generation"):
                self.assertEqual(vm[field], now[field])
            self.assertEqual(vm["vmm"], now["vmm"])

    def test_sigterm_leaves_vms(self):
        vms = self.three()
        self.assertEqual(0, self.daemon.stop())
        for vm in vms[:2]:
            self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.daemon.start()
        self.same(vms)
        self.assertEqual("graceful", self.act("runs", "stop", {"timeout_seconds": 20})["last_exit"]["tier"])
        self.assertEqual("running", self.act("paused", "resume")["state"])
        self.assertEqual("running", self.act("stopped", "start")["state"])

    def test_sigint_ends_it_too(self):
        self.daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(0, self.daemon.process.wait(15))

    def test_a_stop_does_not_wait_for_requests(self):
        vm = self.create()["id"]
        self.ok(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 100}), 202)
        with self.quick(8), self.c.stream("/events"):
            self.daemon.stop()
        self.daemon.start()
        self.assertEqual("stopped", self.act(vm, "kill")["state"])

    def test_what_waits_for_a_boot_is_known_afterwards(self):
        vm = self.create()
        path = f"/vms/{vm['id']}"
        self.ok(self.c.patch(path, {"machine_config": {"mem_size_mib": 64}}, wait=5))
        for lost in (False, True):
            self.daemon.kill9()
            if lost:  # what is kept beside the process of the document that it was started by: then the database's word counts
                (self.daemon.run_dir / "vm" / vm["id"] / "row").unlink()
            self.daemon.start()
            now = self.vm(vm["id"])
            self.assertEqual((["machine_config"], vm["vmm"]["pid"]), (now["pending_reboot"], now["vmm"]["pid"]))
        self.assertEqual(["machine_config", "boot_args"],
                         self.ok(self.c.patch(path, {"boot_args": "tiny=ctrlaltdel"}, wait=5))["pending_reboot"])
        self.assertEqual([], self.act(vm["id"], "reboot")["pending_reboot"])
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual([], self.vm(vm["id"])["pending_reboot"])

    def test_kill_9_of_the_worker(self):
        vms = self.three()
        self.daemon.kill9()
        for vm in vms[:2]:
            self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.daemon.start()
        self.same(vms)
        self.act("runs", "kill")
        self.assertFalse(is_alive(vms[0]["vmm"]["pid"]))

    def test_kill_9_of_the_api_process(self):
        vms = self.three()
        for _ in range(3):
            api = self.daemon.api_pid()
            os.kill(api, signal.SIGKILL)
            eventually(lambda: self.daemon.api_pid() not in (None, api), "another API process")
            self.daemon.await_ready()
        self.assertTrue(self.daemon.is_running())
        self.same(vms)
        self.assertEqual("running", self.create()["state"])

    def test_kill_9_of_the_api_process_while_a_vmm_is_being_started(self):
        """The child holds copies of all descriptors until it closes them: an end must not be seen again and again by those."""
        vm = self.body()
        self.addCleanup(self.forget, vm["id"])
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=close_range", "-e", "inject=close_range:delay_enter=400000",
                                   "-p", str(self.daemon.pid)], stdin=subprocess.DEVNULL)
        self.addCleanup(tracer.wait)
        self.addCleanup(tracer.terminate)
        eventually(lambda: all("TracerPid:\t0\n" not in status.read_text() for status in Path(f"/proc/{self.daemon.pid}/task").glob("*/status")), "the tracer")
        self.ok(self.c.post("/vms", vm), 201)
        eventually(lambda: len(children(self.daemon.pid)) > 2, "a child that is held")
        api = self.daemon.api_pid()
        os.kill(api, signal.SIGKILL)
        eventually(lambda: self.daemon.api_pid() not in (None, api), "another API process")
        self.daemon.await_ready()
        self.await_vm(vm["id"], lambda v: v["state"] == "running")
        self.assertEqual(1, self.daemon.log_path.read_text().count("event=api.ended"))

    def test_kill_9_of_the_api_process_during_a_wait(self):
        vm = self.create()["id"]
        os.kill(self.daemon.api_pid(), signal.SIGSTOP)
        os.kill(self.daemon.api_pid(), signal.SIGKILL)
        self.daemon.await_ready()
        self.assertEqual("stopped", self.act(vm, "kill")["state"])

    def test_a_stop_goes_on_after_the_restart(self):
        vm = self.create()
        self.ok(self.c.post(f"/vms/{vm['id']}/stop", {"timeout_seconds": 1}), 202)
        self.daemon.kill9()
        self.daemon.start()
        self.await_vm(vm["id"], lambda v: v["state"] == "stopped")
        self.assertFalse(is_alive(vm["vmm"]["pid"]))

    def test_a_creation_goes_on_after_the_restart(self):
        bodies = [self.body() for _ in range(8)]
        for body in bodies:
            self.addCleanup(self.forget, body["id"])
            self.ok(self.c.post("/vms", body), 201)
        self.daemon.kill9()
        self.daemon.start()
        for body in bodies:
            self.await_vm(body["id"], lambda v: v["state"] == "running")
        self.assertEqual(8, len(self.daemon.vmm_pids()))

    def test_a_vmm_killed_by_hand_while_the_daemon_was_down(self):
        vm = self.create()
        self.daemon.kill9()
        os.kill(vm["vmm"]["pid"], signal.SIGKILL)
        eventually(lambda: not is_alive(vm["vmm"]["pid"]))
        self.daemon.start()
        now = self.await_vm(vm["id"], lambda v: v["state"] in ("stopped", "failed"))
        self.assertIn(now["last_exit"]["tier"], ("lost", "guest"))
        self.assertIsNone(now["vmm"]["pid"])
        self.assertNotIn(vm["network_interfaces"][0]["tap"], self.daemon.netns.links())
        self.assertEqual("running", self.act(vm["id"], "start")["state"])

    def test_a_process_that_took_over_the_number_is_left_alone(self):
        """The pid is that of someone else now: neither believed nor signalled."""
        vm = self.create()
        self.daemon.kill9()
        pid = vm["vmm"]["pid"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"))
        other = self.take_over(pid)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.daemon.start()
        self.await_vm(vm["id"], lambda v: v["state"] in ("stopped", "failed"))
        self.forget(vm["id"])
        self.assertIsNone(other.poll())

    def take_over(self, pid):
        for _ in range(50):
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
            other = subprocess.Popen(["sleep", "60"])
            if other.pid == pid:
                return other
            other.kill()
            other.wait()
        self.skipTest(f"no process could be given the number {pid}")

    def test_a_tap_removed_while_the_daemon_was_down(self):
        vm = self.create()
        tap = vm["network_interfaces"][0]["tap"]
        self.daemon.kill9()
        self.daemon.netns.ip("link", "del", tap)
        self.daemon.start()

        def seen(now):
            lost = [c for c in now["conditions"] if c["type"].lower() == "network" and c["status"] == "false"]
            return lost or (now["vmm"]["pid"] != vm["vmm"]["pid"] and tap in self.daemon.netns.links())

        self.await_vm(vm["id"], seen, "the loss of the TAP")

    def test_bridge_and_firewall_removed_while_the_daemon_was_down(self):
        vm = self.create()
        self.daemon.kill9()
        self.daemon.netns.ip("link", "del", self.daemon.bridge)
        self.daemon.netns.run("nft", "flush", "ruleset")
        self.daemon.start()
        interface = vm["network_interfaces"][0]
        wanted = {"concat": [interface["tap"], interface["mac"], interface["ip"]]}
        eventually(lambda: wanted in (self.daemon.netns.set_elements(self.daemon.mark, "guest4") or []), "the guest's element")
        eventually(lambda: self.daemon.netns.links()[interface["tap"]]["master"] == self.daemon.bridge, "the TAP in the bridge")

    def test_leftovers_of_a_vm_that_nobody_knows(self):
        self.create(vm="real")
        self.daemon.stop()
        ghost = self.daemon.run_dir / "vm" / "ghost"
        shutil.copytree(self.daemon.run_dir / "vm" / "real", ghost, ignore=lambda d, names: [n for n in names if n != "vmm.json"])
        stage = self.daemon.stage_dir / self.daemon.mark / "ghost"
        stage.mkdir(parents=True)
        (stage / "rootfs").write_bytes(b"x")
        netns = self.daemon.netns
        tap = self.daemon.tap_prefix + "250"
        netns.ip("tuntap", "add", "dev", tap, "mode", "tap")
        netns.ip("link", "set", tap, "alias", f"{self.daemon.mark}:ghost")
        netns.run("nft", "add", "element", "bridge", self.daemon.mark, "guest4", f"{{ {tap} . 02:00:00:00:00:99 . 10.9.9.9 }}")
        foreign = self.daemon.tap_prefix + "251"
        netns.ip("tuntap", "add", "dev", foreign, "mode", "tap")
        self.daemon.start()
        eventually(lambda: not ghost.exists() and not stage.exists(), "the removal of directories")
        eventually(lambda: tap not in netns.links(), "the removal of the TAP")
        eventually(lambda: len(netns.set_elements(self.daemon.mark, "guest4")) == 1, "the removal of the element")
        self.assertIn(foreign, netns.links())
        self.assertEqual("running", self.vm("real")["state"])

    def test_a_process_that_only_names_our_paths_is_left_alone(self):
        self.daemon.stop()
        path = f"{self.daemon.run_dir}/vm/ghost/console.log"
        reader = subprocess.Popen(["tail", "-F", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(reader.wait)
        self.addCleanup(reader.kill)
        self.daemon.start()
        time.sleep(0.3)
        self.assertIsNone(reader.poll())

    def test_a_vmm_that_nobody_knows_is_ended(self):
        """A daemon that died between the start of a VMM and the record of it; here the record is lost by hand."""
        vm = self.create(vm="orphan")
        self.daemon.kill9()
        with closing(sqlite3.connect(self.database())) as connection, connection:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("DELETE FROM vms WHERE id = 'orphan'")
        self.daemon.start()
        eventually(lambda: not is_alive(vm["vmm"]["pid"]), "the end of the orphan")
        self.daemon.await_no_leaks()

    def test_a_vmm_whose_record_is_behind_is_adopted(self):
        """A daemon that died between the start of a VMM and the record of its number."""
        vm = self.create(vm="behind")
        self.daemon.kill9()
        with closing(sqlite3.connect(self.database())) as connection, connection:
            connection.execute("UPDATE vms SET pid = 0, start_time = 0, boot_id = '', state = 'starting', boot_done = boot_done - 1")
        self.daemon.start()
        now = self.await_vm("behind", lambda v: v["state"] == "running")
        self.assertEqual(1, len(self.daemon.vmm_pids()), "no second VMM for one VM")
        self.assertIn(now["vmm"]["pid"], self.daemon.vmm_pids())
        self.assertTrue(now["vmm"]["pid"] == vm["vmm"]["pid"] or not is_alive(vm["vmm"]["pid"]))

    @limit(60)
    def test_a_reboot_of_the_host(self):
        self.create(vm="auto", autostart=True)
        self.create(vm="manual")
        self.create(vm="off", desired_state="stopped", state="stopped", autostart=True)
        self.daemon.kill9()
        for pid in self.daemon.vmm_pids():
            kill(pid, signal.SIGKILL)
        eventually(lambda: not self.daemon.vmm_pids())
        for name in self.daemon.netns.links():
            self.daemon.netns.ip("link", "del", name)
        self.daemon.netns.run("nft", "flush", "ruleset")
        shutil.rmtree(self.daemon.run_dir)
        shutil.rmtree(self.daemon.stage_dir / self.daemon.mark, ignore_errors=True)
        fake = self.daemon.base / "boot_id"
        fake.write_text("11111111-2222-3333-4444-555555555555\n")
        script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
        self.daemon.before = ["unshare", "-m", "sh", "-c", script, str(fake)]
        self.daemon.start()
        self.assertEqual("11111111-2222-3333-4444-555555555555", self.c.json("/host")["boot_id"])
        self.await_vm("auto", lambda v: v["state"] == "running")
        now = self.await_vm("manual", lambda v: v["state"] == "stopped")
        self.assertIsNone(now["vmm"]["pid"])
        self.assertEqual("stopped", self.vm("off")["state"])
        self.assertEqual("running", self.act("manual", "start")["state"])

    def test_stop_vms(self):
        pids = [self.create(mode="ctrlaltdel")["vmm"]["pid"], self.create()["vmm"]["pid"]]
        self.daemon.stop()
        self.daemon.args = ["--stop-vms"]
        self.daemon.start()
        self.assertEqual(pids, [self.vm(vm["id"])["vmm"]["pid"] for vm in self.c.items("/vms")])
        self.assertEqual(0, self.daemon.stop(timeout=30))
        self.assertEqual([], [pid for pid in pids if is_alive(pid)])
        self.assertEqual([], [n for n, link in self.daemon.netns.links().items() if link["kind"] == "tun"])
        self.daemon.args = []
        self.daemon.start()
        self.assertEqual(2, len(self.c.items("/vms")))


class WithoutCgroupsTest(OwnDaemonCase):
    """A host without cgroup v2: VMMs are known by the socket that their arguments name."""

    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.daemon.before = ["unshare", "-m", "sh", "-c", 'umount -l "$0" && exec "$@"', str(cgroup2_mount())]
        self.daemon.start()

    def change_database(self, *statements):
        with closing(sqlite3.connect(self.daemon.base / "state" / "db" / "smartvm.db")) as connection, connection:
            connection.execute("PRAGMA foreign_keys=ON")
            for statement in statements:
                connection.execute(statement)

    @limit(90)
    def test_vmms_are_found(self):
        self.assertEqual(0, self.c.json("/host")["cgroup"]["version"])
        kept, behind, orphan = self.create(vm="kept"), self.create(vm="behind"), self.create(vm="orphan")
        reader = subprocess.Popen(self.daemon.netns.wrap("tail", "-f", "/dev/null", f"{self.daemon.run_dir}/vm/orphan/console.log"),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (reader.kill(), reader.wait()))
        self.daemon.kill9()
        self.change_database("DELETE FROM vms WHERE id = 'orphan'",
                             "UPDATE vms SET pid = 0, start_time = 0, boot_id = '', state = 'starting', boot_done = boot_done - 1 WHERE id = 'behind'")
        self.daemon.start()
        self.assertEqual(kept["vmm"]["pid"], self.await_vm("kept", lambda v: v["state"] == "running")["vmm"]["pid"])
        self.await_vm("behind", lambda v: v["state"] == "running")
        eventually(lambda: not is_alive(orphan["vmm"]["pid"]), "the end of the orphan")
        self.assertEqual(2, len([pid for pid in self.daemon.vmm_pids() if pid != reader.pid]), "one VMM for each VM")
        self.assertTrue(is_alive(reader.pid), "who only names our paths is nobody's VMM")
        reader.kill()
        reader.wait()
        for vm in (kept, behind):
            self.forget(vm["id"])
        self.daemon.await_no_leaks()


class TwoDaemonsTest(Case):
    def test_a_second_daemon_on_the_same_state_directory_refuses(self):
        first = self.start_daemon()
        second = Daemon(like=first)
        self.addCleanup(second.remove)
        second.config["state_dir"] = first.config["state_dir"]
        second.spawn()
        with self.quick(10):
            self.assertNotEqual(0, second.process.wait(15))
        text = second.log_tail()
        self.assertIn(first.config["state_dir"], text)
        self.assertEqual([], second.sanitizer_reports())
        self.assertEqual(200, first.client.get("/readyz").status)

    def test_the_lock_goes_with_the_daemon(self):
        daemon = self.start_daemon()
        daemon.kill9()
        daemon.start()

    @limit(90)
    def test_two_side_by_side(self):
        first = self.start_daemon()
        second = Daemon(like=first)
        self.addCleanup(second.close)
        second.start()
        second.add_tiny()
        vms = []
        for daemon in (first, second):
            body = {"id": "same", "image": "tiny", "vmm": "firecracker", "network_interfaces": [{"iface_id": "eth0"}]}
            reply = daemon.client.post("/vms", body, wait=15)
            self.assertEqual((201, "running"), (reply.status, reply.json.get("state")), repr(reply))
            vms.append(reply.json)
        self.assertNotEqual(vms[0]["network_interfaces"][0]["tap"], vms[1]["network_interfaces"][0]["tap"])
        self.assertNotEqual(vms[0]["network_interfaces"][0]["mac"], vms[1]["network_interfaces"][0]["mac"])
        second.kill9()
        first.restart()
        time.sleep(0.2)
        self.assertTrue(is_alive(vms[1]["vmm"]["pid"]), "a daemon must not end what another one made")
        self.assertIn(vms[1]["network_interfaces"][0]["tap"], first.netns.links())
        self.assertEqual(1, len(first.netns.set_elements(second.mark, "guest4")))
        second.start()
        self.assertEqual(vms[1]["vmm"]["pid"], second.client.json("/vms/same")["vmm"]["pid"])
        self.assertEqual(204, first.client.delete("/vms/same", wait=15).status)
        self.assertTrue(is_alive(vms[1]["vmm"]["pid"]))
        self.assertEqual(204, second.client.delete("/vms/same", wait=15).status)
