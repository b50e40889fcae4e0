"""How VMs end, told the same whether the daemon ran, was restarted or was dead; and what starts them again."""

import os
import re
import signal
import socket
import time
from pathlib import Path

from harness import OwnDaemonCase, ThemeCase, eventually, is_alive, limit


def firecracker_call(path, method, target, body):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(f"{method} {target} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return sock.recv(4096)


def shims():
    """pid -> the VM's id, of this machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0] == b"smartvmd-shim":
                found[int(entry.name)] = words[1].decode()
    return found


class EndCase(OwnDaemonCase):
    def press(self, vm):
        """Ctrl-Alt-Del by the VMM's own API, as nobody but the daemon does it otherwise."""
        path = f"/proc/{vm['vmm']['pid']}/root/api.sock"  # also while no daemon runs
        reply = firecracker_call(path, "PUT", "/actions", '{"action_type": "SendCtrlAltDel"}')
        self.assertIn(b" 204 ", reply)

    def signal(self, vm, number):
        os.kill(vm["vmm"]["pid"], number)

    def shim_of(self, vm):
        return next(pid for pid, name in shims().items() if name == vm["id"] and self.is_ours(pid))

    def is_ours(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/fd/0").startswith(str(self.daemon.run_dir))
        except OSError:
            return False

    def kill_both(self, vm):
        os.kill(self.shim_of(vm), signal.SIGKILL)
        self.signal(vm, signal.SIGKILL)

    def waiting(self, word="", **extra):
        vm = self.create(mode=f"ctrlaltdel{word}", **extra)
        self.await_console(vm["id"], b"waiting")
        return vm


class HowItEndedTest(EndCase):
    """{how it ended} x {the daemon was alive, was restarted before, was dead}."""

    # the guest's word, what happens, reason, state, exit code, signal, in the message
    ENDS = {
        "reset": ("", "press", "guest_shutdown", "stopped", 0, None, "exit code 0"),
        "panic": (":panic", "press", "guest_panic", "failed", 0, None, "Kernel panic - not syncing: tiny"),
        "poweroff": (":poweroff", "press", "guest_shutdown", "stopped", 0, None, "guest"),
        "triple": (":triple", "press", "guest_shutdown", "stopped", 0, None, "exit code 0"),
        "kill": ("", signal.SIGKILL, "killed", "failed", None, 9, "signal 9"),
        "term": ("", signal.SIGTERM, "killed", "failed", None, 15, "signal 15"),
        "crash": ("", signal.SIGABRT, "vmm_crash", "failed", None, 6, "signal 6"),
        "caught": ("", signal.SIGSEGV, "vmm_crash", "failed", None, 11, "signal 11"),
        "shim": ("", "kill_both", "unknown", "failed", None, None, "nobody"),
    }

    def end(self, vm, how):
        if isinstance(how, signal.Signals):
            self.signal(vm, how)
        else:
            getattr(self, how)(vm)

    def check(self, name, vm):
        _, _, reason, state, code, number, words = self.ENDS[name]
        ended = self.await_vm(vm["id"], lambda v: v["state"] in ("stopped", "failed"), name, 20)
        last = ended["last_exit"]
        if name == "caught":  # Firecracker catches it, and says so by its exit status
            self.assertIn(last["exit_code"], (None, 150))
            code = last["exit_code"]
        self.assertEqual((reason, state, code, number), (last["reason"], ended["state"], last["exit_code"], last["signal"]), last)
        self.assertIn(words, last["message"])
        self.assertEqual(("stopped", 0), (ended["desired_state"], ended["restart_count"]))
        if reason == "guest_panic":
            self.assertEqual("panicked", self.condition(ended, "guest")["reason"])
            self.assertIn(words, ended["error"]["message"])
            self.assertEqual("GUEST_PANICKED", ended["error"]["code"])  # as a wait for the guest says
        events = [event for event in self.daemon.client.get("/events", headers={"Last-Event-ID": "0"}, follow="false").body.decode().split("\n\n")
                  if f"/vms/{vm['id']}\"" in event and ("vm.failed" in event or "vm.stopped" in event)]
        self.assertEqual(1, len(events), events)
        self.assertIn(f"vm.{state}", events[0])
        self.assertIn(f'"reason":"{reason}"', events[0].replace(": ", ":"))
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.forget(vm["id"])

    def all(self, middle):
        vms = {name: self.waiting(word, vm=name) for name, (word, *_) in self.ENDS.items()}
        middle(vms)
        for name, vm in vms.items():
            with self.subTest(name):
                self.check(name, vm)
        self.daemon.await_no_leaks()
        eventually(lambda: not [pid for pid in shims() if self.is_ours(pid)], "the end of the shims")

    def end_all(self, vms):
        for name, vm in vms.items():
            self.end(vm, self.ENDS[name][1])

    @limit(120)
    def test_alive(self):
        self.all(self.end_all)

    @limit(120)
    def test_restarted_before(self):
        def middle(vms):
            self.daemon.kill9()
            self.daemon.start()
            self.end_all(vms)

        self.all(middle)

    @limit(120)
    def test_dead(self):
        def middle(vms):
            self.daemon.kill9()
            self.end_all(vms)
            for name, vm in vms.items():
                if name != "poweroff":  # whose VMM stays
                    eventually(lambda vm=vm: not is_alive(vm["vmm"]["pid"]), f"the end of {name}")
            self.daemon.start()

        self.all(middle)

    @limit(120)
    def test_dead_and_ended_later_by_the_next_one(self):
        """The daemon died twice: what was found by the first was found for good."""
        def middle(vms):
            self.daemon.kill9()
            self.end_all(vms)
            self.daemon.start()
            self.daemon.kill9()
            self.daemon.start()

        self.all(middle)

    def test_the_time_is_that_of_the_end(self):
        vm = self.waiting()
        self.daemon.kill9()
        self.signal(vm, signal.SIGKILL)
        eventually(lambda: not is_alive(vm["vmm"]["pid"]))
        before = time.time()
        time.sleep(1.5)
        self.daemon.start()
        ended = self.await_vm(vm["id"], lambda v: v["state"] == "failed")
        at = time.strptime(ended["last_exit"]["at"][:19], "%Y-%m-%dT%H:%M:%S")
        self.assertLess(abs(before - __import__("calendar").timegm(at)), 1.4)

    def test_asked(self):
        for how, tier in (("stop", "graceful"), ("kill", "killed")):
            vm = self.waiting(":reboot")
            stopped = self.act(vm["id"], how)
            self.assertEqual(("stopped", "asked", tier, 0), (stopped["state"], stopped["last_exit"]["reason"], stopped["last_exit"]["tier"], stopped["restart_count"]))

    def test_asked_of_a_daemon_that_dies_of_it(self):
        vm = self.waiting(":reboot")
        self.ok(self.c.post(f"/vms/{vm['id']}/stop", {"timeout_seconds": 60}), 202)
        self.daemon.kill9()
        self.daemon.start()
        stopped = self.await_vm(vm["id"], lambda v: v["state"] == "stopped")
        self.assertEqual("asked", stopped["last_exit"]["reason"])


class ConsoleTest(EndCase):
    def console(self, vm):
        return self.c.get(f"/vms/{vm['id']}/console").body

    @limit(90)
    def test_what_is_said_meanwhile_is_there_in_order(self):
        vm = self.create(mode="echo")
        self.await_console(vm["id"], b"tiny: up")
        self.daemon.kill9()
        said = b""
        path = self.daemon.run_dir / "vm" / vm["id"] / "console.in"
        for n in range(40):
            line = b"line %d\n" % n
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(fd, line)
            os.close(fd)
            said += line
            if n == 20:
                time.sleep(0.3)
                self.daemon.start()
                time.sleep(0.1)
                self.daemon.kill9()
        time.sleep(1)
        self.daemon.start()
        eventually(lambda: said in self.console(vm), "all lines, once and in order")

    @limit(90)
    def test_the_last_words_after_a_flood(self):
        vm = self.create(mode="flood")
        self.daemon.kill9()
        before = os.path.getsize(self.daemon.run_dir / "vm" / vm["id"] / "console.log")
        kept = self.daemon.run_dir / "vm" / vm["id"] / "console.kept"
        eventually(lambda: kept.exists() and kept.stat().st_size > 1000, "a kept part", 20)
        time.sleep(1)
        total = sum(p.stat().st_size for p in kept.parent.glob("console.kept*"))
        self.assertLessEqual(total, 256 * 1024)
        self.signal(vm, signal.SIGKILL)
        self.daemon.start()
        self.await_vm(vm["id"], lambda v: v["state"] == "failed")
        self.assertGreater(os.path.getsize(self.daemon.run_dir / "vm" / vm["id"] / "console.log"), before)
        self.assertEqual([], list(kept.parent.glob("*.kept*")))

    def test_a_shim_at_rest_does_nothing(self):
        vm = self.waiting()
        pid = self.shim_of(vm)

        def switches():
            return re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]

        for dead in (False, True):
            if dead:
                self.daemon.kill9()
                time.sleep(0.2)
            before = switches()
            time.sleep(1)
            self.assertEqual(before, switches(), f"dead: {dead}")
        self.daemon.start()

    def test_a_shim_is_small(self):
        vm = self.waiting()
        rollup = Path(f"/proc/{self.shim_of(vm)}/smaps_rollup").read_text()
        self.assertLess(int(re.search(r"\nRss:\s*(\d+) kB", rollup)[1]), 64, rollup)

    def test_signals_do_not_end_a_shim(self):
        vm = self.waiting()
        pid = self.shim_of(vm)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            os.kill(pid, number)
        time.sleep(0.1)
        self.assertTrue(is_alive(pid))

    def test_a_shim_that_is_killed_ends_nothing(self):
        vm = self.waiting()
        os.kill(self.shim_of(vm), signal.SIGKILL)
        time.sleep(0.2)
        self.assertEqual(("running", vm["vmm"]["pid"]), (self.vm(vm["id"])["state"], self.vm(vm["id"])["vmm"]["pid"]))
        self.daemon.restart()
        self.assertEqual(vm["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])
        self.assertEqual("graceful", self.act(vm["id"], "stop", {"timeout_seconds": 20})["last_exit"]["tier"])


class RestartPolicyTest(EndCase):
    def restarted(self, vm, count=1, timeout=20):
        now = self.await_vm(vm["id"], lambda v: v["state"] == "running" and v["restart_count"] == count, f"restart {count}", timeout)
        self.assertNotEqual(vm["vmm"]["pid"], now["vmm"]["pid"])
        return now

    @limit(120)
    def test_a_reboot_from_inside(self):
        for state in ("alive", "restarted", "dead"):
            with self.subTest(state):
                vm = self.waiting(":reboot")
                if state != "alive":
                    self.daemon.kill9()
                if state == "restarted":
                    self.daemon.start()
                self.press(vm)
                eventually(lambda vm=vm: not is_alive(vm["vmm"]["pid"]), "the end of the VMM")
                if state == "dead":
                    self.daemon.start()
                now = self.restarted(vm)
                self.assertEqual(("guest_reboot", "running", vm["network_interfaces"]), (now["last_exit"]["reason"], now["desired_state"], now["network_interfaces"]))
                eventually(lambda vm=vm: self.c.get(f"/vms/{vm['id']}/console").body.count(b"tiny: up") == 2, "both boots")
                self.assertEqual("stopped", self.act(vm["id"], "kill")["state"])

    @limit(60)
    def test_policies(self):
        # policy, word, what happens, is it started again
        cases = [
            ("on-failure", ":panic", "press", True),
            ("on-failure", "", signal.SIGKILL, True),
            ("on-failure", "", "kill_both", True),
            ("on-failure", "", "press", False),
            ("always", "", "press", True),
            ("always", ":poweroff", "press", True),
            ("never", ":panic", "press", False),
        ]
        vms = []
        for policy, word, how, again in cases:
            vm = self.waiting(word, restart_policy=policy)
            self.assertEqual((policy, 0), (vm["restart_policy"], vm["restart_count"]))
            vms.append((vm, how, again))
        for vm, how, _ in vms:
            if isinstance(how, signal.Signals):
                self.signal(vm, how)
            else:
                getattr(self, how)(vm)
        for vm, how, again in vms:
            with self.subTest(policy=vm["restart_policy"], how=how):
                if again:
                    self.assertEqual("running", self.restarted(vm)["desired_state"])
                else:
                    ended = self.await_vm(vm["id"], lambda v: v["state"] in ("stopped", "failed"))
                    self.assertEqual(("stopped", 0), (ended["desired_state"], ended["restart_count"]))

    @limit(60)
    def test_a_loop_gets_slower_and_can_be_stopped(self):
        vm = self.body(mode="reset", restart_policy="always")
        self.addCleanup(self.forget, vm["id"])
        self.ok(self.c.post("/vms", vm), 201)
        self.await_vm(vm["id"], lambda v: v["restart_count"] >= 3, "three restarts", 20)
        begin = time.monotonic()
        self.await_vm(vm["id"], lambda v: v["restart_count"] >= 4, "a fourth", 20)
        self.assertGreater(time.monotonic() - begin, 1.5)
        pausing = self.await_vm(vm["id"], lambda v: v["state"] == "starting" and v["vmm"]["pid"] is None)
        self.assertEqual("running", pausing["desired_state"])
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual("starting", self.vm(vm["id"])["state"])
        with self.quick(3):
            self.assertEqual("stopped", self.act(vm["id"], "stop")["state"])
        count = self.vm(vm["id"])["restart_count"]
        time.sleep(1)
        self.assertEqual(("stopped", count), (self.vm(vm["id"])["state"], self.vm(vm["id"])["restart_count"]))

    @limit(60)
    def test_a_change_of_the_policy_counts_at_once(self):
        vm = self.waiting(":panic")
        changed = self.ok(self.c.patch(f"/vms/{vm['id']}", {"restart_policy": "on-failure"}, wait=5))
        self.assertEqual(("on-failure", vm["vmm"]["pid"]), (changed["restart_policy"], changed["vmm"]["pid"]))
        self.press(vm)
        vm = self.restarted(vm)
        self.await_console(vm["id"], b"waiting")
        eventually(lambda: self.c.get(f"/vms/{vm['id']}/console").body.count(b"waiting") == 2, "the second boot")
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"restart_policy": "never"}, wait=5))
        self.press(vm)
        self.assertEqual("guest_panic", self.await_vm(vm["id"], lambda v: v["state"] == "failed")["last_exit"]["reason"])

    def test_wrong_policies(self):
        for value in ("sometimes", "", 3, "on_failure"):
            reply = self.c.post("/vms", self.body(restart_policy=value))
            self.refused(reply, 400, "INVALID_CONFIG", "/restart_policy")

    @limit(60)
    def test_drives_over_a_reboot(self):
        """As a real machine's: also by POST /reboot; a stop and a start begin anew."""
        manifest = self.daemon.tiny_manifest("writable", read_only=False)
        self.ok(self.c.post("/images", {"manifest": manifest}, wait=20), 201)
        vm = self.waiting(":reboot", image="writable")
        (drive,) = [p for p in self.daemon.stage_dir.rglob("*") if p.is_file()]
        mark = b"written by the guest"

        def write():
            with open(drive, "r+b") as file:
                file.write(mark)

        write()
        self.press(vm)
        vm = self.restarted(vm)
        self.assertEqual(mark, drive.read_bytes()[: len(mark)])
        vm = self.act(vm["id"], "reboot", {"timeout_seconds": 0})
        self.assertEqual(mark, drive.read_bytes()[: len(mark)])
        self.act(vm["id"], "kill")
        self.act(vm["id"], "start")
        self.assertNotEqual(mark, drive.read_bytes()[: len(mark)])

    @limit(60)
    def test_restarts_go_on_after_the_daemons_end(self):
        vm = self.waiting(restart_policy="always")
        self.daemon.kill9()
        self.signal(vm, signal.SIGKILL)
        eventually(lambda: not is_alive(vm["vmm"]["pid"]))
        self.daemon.start()
        self.assertEqual("killed", self.restarted(vm)["last_exit"]["reason"])


class LastWordsTest(ThemeCase):
    @limit(60)
    def test_who_prints_the_words_of_a_halt_and_lives_goes_on(self):
        """Of the guest `echo` the vCPU runs; so does that of each Linux, now and then."""
        words = ("reboot: Power down\n", "reboot: System halted\n", "you typed reboot: Power down", "[    1.0] reboot: Power off not available: System halted instead\n")
        vms = [self.create(mode="echo") for _ in words]
        for vm, text in zip(vms, words):
            self.ok(self.c.post(f"/vms/{vm['id']}/console", text, headers={"Content-Type": "text/plain"}), 204)
        ends = self.create(mode="poweroff", wait=0, state="creating")["id"]
        self.await_vm(ends, lambda v: v["state"] == "stopped", "stopped", 15)
        time.sleep(5)
        for vm in vms:
            now = self.vm(vm["id"])
            self.assertEqual(("running", vm["vmm"]["pid"], None), (now["state"], (now["vmm"] or {}).get("pid"), now["last_exit"]))


class QemuEndsTest(ThemeCase):
    @limit(90)
    def test_ends_of_qemu(self):
        for mode, how, reason in (("reset", None, "guest_reboot"), ("halt", signal.SIGKILL, "killed"), ("halt", signal.SIGTERM, "killed"), ("panic", None, "guest_panic"),
                                  ("poweroff", None, "guest_shutdown")):
            with self.subTest(mode=mode, how=how):
                body = self.body(vmm="qemu", mode=mode)
                self.addCleanup(self.forget, body["id"])
                self.ok(self.c.post("/vms", body, wait=0 if how is None else 40), 201)
                if how is not None:
                    os.kill(self.vm(body["id"])["vmm"]["pid"], how)
                ended = self.await_vm(body["id"], lambda v: (v["last_exit"] or {}).get("reason") == reason, reason, 30)
                self.assertEqual(reason == "guest_reboot", ended["desired_state"] == "running")
