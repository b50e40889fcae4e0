"""What a guest came to (the condition `guest`), and waits that end in failure."""

import standin
from harness import OwnDaemonCase, ThemeCase, eventually, limit
from standin import fault

class GuestTest(ThemeCase):
    """The condition `guest`, with the stand-in, whose console says what the test wants."""

    settings = standin.SETTINGS

    def order(self, vm, text):
        self.assertEqual("ok", standin.order(str(self.daemon.run_dir / "vm" / vm), text))

    def guest(self, vm, reason):
        found = self.await_vm(vm, lambda now: any(c["type"] == "guest" and c["reason"] == reason for c in now["conditions"]), f"a guest that is {reason}")
        return self.condition(found, "guest")

    def test_up(self):
        vm = self.create()["id"]
        self.assertEqual("true", self.guest(vm, "up")["status"])

    def test_a_silent_guest_is_booting_until_it_speaks(self):
        vm = self.create(mode="silent")["id"]
        self.assertEqual("unknown", self.guest(vm, "booting")["status"])
        self.order(vm, "print=x")
        self.guest(vm, "up")

    def test_last_words(self):
        for words, reason in (
            ("[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009\n", "panicked"),
            ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n", "no_root"),
            ('VFS: Cannot open root device "vda1" or unknown-block(0,0): error -6\n', "no_root"),
            ("ALERT!  /dev/vda1 does not exist.  Dropping to a shell!\n", "no_root"),
            ("Unable to find a medium containing a live file system\n", "no_root"),
        ):
            with self.subTest(words):
                vm = self.create()["id"]
                self.guest(vm, "up")
                self.order(vm, "print=" + words)
                condition = self.guest(vm, reason)
                self.assertEqual("false", condition["status"])
                self.order(vm, "print=and some more\n")
                self.assertEqual(condition, self.condition(self.vm(vm), "guest"))

    def test_it_stays_when_the_vm_has_ended(self):
        """With panic=-1 the VMM ends at once, and what is told of the guest must not go with it."""
        panics, ends = self.create()["id"], self.create()["id"]
        self.order(panics, "print=Kernel panic - not syncing: x\n")
        for vm in (panics, ends):
            with standin.connect(str(self.daemon.run_dir / "vm" / vm / "standin.ctl")) as sock:
                sock.send(b"end=0")
        self.guest(panics, "panicked")
        self.guest(ends, "exited")
        self.await_vm(panics, lambda now: now["state"] in ("stopped", "failed"))
        self.guest(panics, "panicked")
        self.act(panics, "start")
        self.guest(panics, "up")

    def test_a_vm_that_never_ran_has_none(self):
        vm = self.create(desired_state="stopped", state="stopped")
        self.assertEqual([], [c for c in vm["conditions"] if c["type"] == "guest"])

    def test_stopped(self):
        vm = self.create()["id"]
        self.guest(vm, "up")
        self.assertEqual("exited", self.condition(self.act(vm, "kill"), "guest")["reason"])


class GuestAndDaemonTest(OwnDaemonCase):
    settings = standin.SETTINGS

    def reason(self, vm):
        return self.condition(self.vm(vm), "guest")["reason"]

    def test_an_adopted_vm_knows_what_its_guest_came_to(self):
        vms = {"up": None, "panicked": "Kernel panic - not syncing", "no_root": "Unable to mount root fs"}
        for vm, words in vms.items():
            self.create(vm=vm.replace("_", "-"))
            if words is not None:
                standin.order(str(self.daemon.run_dir / "vm" / vm.replace("_", "-")), "print=" + words)
        silent = self.create(mode="silent")["id"]
        for vm in vms:
            eventually(lambda vm=vm: self.reason(vm.replace("_", "-")) == vm, vm)
        for again in (self.daemon.kill9, self.daemon.stop):
            again()
            self.daemon.start()
            self.assertEqual(list(vms), [self.reason(vm.replace("_", "-")) for vm in vms])
            self.assertEqual("booting", self.reason(silent))

    def test_words_that_are_cut_by_the_end_of_the_daemon(self):
        vm = self.create()["id"]
        run_dir = str(self.daemon.run_dir / "vm" / vm)
        standin.order(run_dir, "print=Kernel panic - ")
        self.await_console(vm, b"Kernel panic - ")
        self.daemon.kill9()
        standin.order(run_dir, "print=not syncing: x\n")
        self.daemon.start()
        eventually(lambda: self.reason(vm) == "panicked", "the panic")


class WaitTest(ThemeCase):
    """A write that was waited for and ended in failure has an error status, and the resource."""

    settings = standin.SETTINGS

    def failing_body(self, **extra):
        body = self.body(boot_args="standin.fault=" + fault("die", op="start", words="no luck"), **extra)
        self.addCleanup(self.forget, body["id"])
        return body

    def test_create(self):
        body = self.failing_body()
        reply = self.c.post("/vms", body, wait=10)
        self.refused(reply, 500, "VMM_START_FAILED")
        vm = reply.json["resource"]
        self.assertEqual((body["id"], "failed", "VMM_START_FAILED", reply.json["detail"]),
                         (vm["id"], vm["state"], vm["error"]["code"], vm["error"]["message"]))
        self.assertEqual(f"/vms/{body['id']}", reply.headers["Location"])
        self.assertEqual(self.vm(body["id"]), vm)

    def test_without_a_wait_nothing_is_told(self):
        body = self.failing_body()
        self.ok(self.c.post("/vms", body), 201)
        self.await_vm(body["id"], lambda now: now["state"] == "failed")

    def test_a_replay_gives_the_same(self):
        body = self.failing_body()
        key = {"Idempotency-Key": body["id"]}
        first = self.c.post("/vms", body, headers=key, wait=10)
        self.refused(first, 500, "VMM_START_FAILED")
        again = self.c.post("/vms", body, headers=key, wait=10)
        self.assertEqual((500, first.json, "true", first.headers["Content-Type"]),
                         (again.status, again.json, again.headers["Idempotency-Replayed"], again.headers["Content-Type"]))

    def test_every_way_to_want_it_up(self):
        """Those that end in failure, each, and those that only happen to a VM that has failed before."""
        body = self.failing_body(desired_state="stopped")
        vm = body["id"]
        self.ok(self.c.post("/vms", body, wait=10), 201)
        self.refused(self.c.post(f"/vms/{vm}/start", wait=10), 500, "VMM_START_FAILED")
        self.refused(self.c.post(f"/vms/{vm}/start", wait=10), 500, "VMM_START_FAILED")
        self.refused(self.c.patch(f"/vms/{vm}", {"desired_state": "running"}, wait=10), 500, "VMM_START_FAILED")
        self.refused(self.c.patch(f"/vms/{vm}", {"desired_state": "paused"}, wait=10), 500, "VMM_START_FAILED")
        labelled = self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": "b"}}, wait=10))
        self.assertEqual(("failed", {"a": "b"}), (labelled["state"], labelled["labels"]))
        self.ok(self.c.patch(f"/vms/{vm}", {"desired_state": "stopped"}, wait=10))
        self.ok(self.c.delete(f"/vms/{vm}", wait=10), 204)

    def test_a_reboot_that_fails(self):
        vm = self.create()["id"]
        self.act(vm, "kill")
        self.ok(self.c.patch(f"/vms/{vm}", {"boot_args": "standin.fault=" + fault("die", op="pause", words="no luck")}, wait=5))
        self.act(vm, "start")
        reply = self.c.post(f"/vms/{vm}/pause", wait=10)
        self.refused(reply, 500, "VMM_FAILED")
        self.assertEqual("failed", reply.json["resource"]["state"])

    def test_a_stop_of_one_that_crashes_reached_what_it_wanted(self):
        vm = self.create(boot_args="standin.fault=" + fault("die", op="ctrl_alt_del"))["id"]
        self.ok(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 10}, wait=15), 200)

    def test_a_wait_that_runs_out(self):
        vm = self.body(boot_args="standin.fault=" + fault("slow", op="info", ms=3000))
        self.addCleanup(self.forget, vm["id"])
        self.ok(self.c.post("/vms", vm, wait=1), 202)

    def test_guest(self):
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        vm = self.ok(self.c.post("/vms", body, wait=10, wait_for="guest"), 201)
        self.assertEqual("up", self.condition(vm, "guest")["reason"])
        vm = vm["id"]
        self.act(vm, "pause")
        self.assertEqual("running", self.act(vm, "resume", wait_for="guest")["state"])
        self.assertEqual("up", self.condition(self.act(vm, "reboot", {"timeout_seconds": 0}, wait_for="guest"), "guest")["reason"])
        with self.quick(2):
            self.ok(self.c.patch(f"/vms/{vm}", {"desired_state": "running"}, wait=10, wait_for="guest"))

    def test_a_guest_that_says_nothing(self):
        body = self.body(mode="silent")
        self.addCleanup(self.forget, body["id"])
        with self.quick(3):
            vm = self.ok(self.c.post("/vms", body, wait=1, wait_for="guest"), 202)
        self.assertEqual(("running", "booting"), (vm["state"], self.condition(vm, "guest")["reason"]))
        self.ok(self.c.patch(f"/vms/{body['id']}", {"desired_state": "running"}, wait=5, wait_for="running"))

    def test_a_guest_that_dies(self):
        for words, code in (("Kernel panic - not syncing: x", "GUEST_PANICKED"), ("VFS: Unable to mount root fs", "GUEST_NO_ROOT")):
            with self.subTest(code):
                body = self.body(boot_args="tiny=die" if code == "GUEST_PANICKED" else "standin.print=" + words.replace(" ", "_"))
                self.addCleanup(self.forget, body["id"])
                reply = self.c.post("/vms", body, wait=10, wait_for="guest")
                for _ in range(4):  # its first byte means "up": it may be read, and told, before its last ones
                    if reply.status != 201:
                        break
                    self.ok(self.c.delete(f"/vms/{body['id']}", wait=10), 204)
                    reply = self.c.post("/vms", body, wait=10, wait_for="guest")
                self.refused(reply, 500, code)
                self.assertEqual("false", self.condition(reply.json["resource"], "guest")["status"])

    def test_wait_for_needs_a_wait(self):
        self.refused(self.c.post("/vms", self.body(), wait_for="guest"), 400, "INVALID_REQUEST", "wait_for")
        self.refused(self.c.post("/vms", self.body(), wait=1, wait_for="Christmas"), 400, "INVALID_REQUEST", "wait_for")

    def test_an_image(self):
        manifest = self.daemon.tiny_manifest("wrong")
        manifest["kernel"] = {"path": manifest["kernel"]["path"], "sha256": "0" * 64}
        key = {"Idempotency-Key": "wrong-image"}
        for _ in range(2):
            reply = self.c.post("/images", {"manifest": manifest}, headers=key, wait=10)
            self.refused(reply, 409, "DIGEST_MISMATCH")
            self.assertEqual(("wrong", "failed", "DIGEST_MISMATCH"),
                             (reply.json["resource"]["id"], reply.json["resource"]["state"], reply.json["resource"]["error"]["code"]))
        self.ok(self.c.delete("/images/wrong", wait=10), 204)


class HostWaitTest(OwnDaemonCase):
    """The host-wide writes, where somebody else holds what they need."""

    @limit(90)
    def test_network_and_firewall(self):
        bridge = self.daemon.bridge
        self.daemon.stop()
        self.daemon.netns.ip("link", "del", bridge)
        self.daemon.netns.ip("link", "add", bridge, "type", "bridge")
        self.daemon.netns.run("nft", "flush", "ruleset")
        self.daemon.spawn()

        def ready(status):
            try:
                return any(c["status"] == status for c in self.c.json("/network")["conditions"] if c["type"] == "ready")
            except OSError:
                return False

        eventually(lambda: ready("false"), "a network that fails")
        reply = self.c.patch("/network", {"masquerade": False}, wait=10)
        self.refused(reply, 500, "BRIDGE_SETUP_FAILED")
        self.assertIs(False, reply.json["resource"]["masquerade"])
        reply = self.c.put("/network/wireguard", {"existing_interface": "nothing0"}, wait=10)
        self.refused(reply, 500, "WIREGUARD_SETUP_FAILED")
        for _ in range(2):
            reply = self.c.put("/firewall", {"egress": {"default_action": "deny"}}, wait=10)
            self.refused(reply, 500, "FIREWALL_SETUP_FAILED")
            self.assertEqual("deny", reply.json["resource"]["egress"]["default_action"])
        self.refused(self.c.put("/firewall/sets/some", {"addresses": ["192.0.2.1"]}, wait=10), 500, "FIREWALL_SETUP_FAILED")
        self.daemon.netns.ip("link", "del", bridge)
        eventually(lambda: ready("true"), "the repair", 20)
        self.ok(self.c.put("/firewall", {}, wait=10))
        self.ok(self.c.patch("/network", {"masquerade": None}, wait=10))
