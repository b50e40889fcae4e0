"""A real Linux guest, the bundle that deploy/build-image.sh makes, under QEMU; by software emulation where KVM is not usable."""

import os
import time
from pathlib import Path

from harness import BUILD, ThemeCase, eventually, is_alive, limit, read_reply

BUNDLE = Path(os.environ.get("SMARTVM_TEST_BUNDLE", BUILD / "image" / "debian-minimal"))
TEXT = {"Content-Type": "text/plain"}


class LinuxTest(ThemeCase):
    @classmethod
    def setUpClass(cls):
        cls.settings = {"images": {"allowed_roots": [str(BUNDLE.resolve())]}, "vmm": {"stop_timeout_s": 20}}
        cls.tiny = False
        if not (BUNDLE / "manifest.json").exists():
            raise AssertionError(f"no bundle at {BUNDLE}: deploy/build-image.sh --output {BUNDLE}")
        super().setUpClass()
        reply = cls.c.post("/images", {"manifest_path": str(BUNDLE / "manifest.json")}, wait=60)
        if reply.status != 201 or reply.json["state"] != "ready":
            raise AssertionError(repr(reply))
        cls.image = reply.json["id"]

    def linux(self, **extra):
        body = {"image": self.image, "vmm": "auto", "machine_config": {"mem_size_mib": 256}, "boot_args": "", **extra}
        return self.create(wait=60, **body)

    def http(self, address, timeout=30):
        def ask():
            try:
                with self.daemon.netns.connect(address, 80, 3) as sock:
                    sock.settimeout(5)
                    sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    return read_reply(sock)
            except OSError:
                return None

        return eventually(ask, f"an answer of {address}", timeout, 0.1)

    @limit(120)
    def test_a_life(self):
        vm = self.linux()
        usable = self.c.json("/host")["kvm"]["usable"]
        self.assertEqual(("auto", *(("firecracker", "kvm") if usable else ("qemu", "tcg"))),
                         tuple(vm["vmm"][k] for k in ("requested", "driver", "accelerator")))
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.assertRegex(vm["vmm"]["version"], r"^\d+\.\d+")
        self.await_console(vm["id"], b"smartvm-guest: up", 60)
        address = vm["network_interfaces"][0]["ip"]
        answer = self.http(address)
        self.assertIn(b" 200 ", answer.split(b"\r\n")[0])
        self.assertIn(vm["id"].encode(), answer)
        self.daemon.netns.run("ping", "-c", "1", "-W", "5", address)

        # The shell on the console, and by it the way out, which the host's own address is not.
        self.type(vm["id"], b"echo typed-$((6 * 7))\n", b"typed-42")
        self.type(vm["id"], b"ping -c 1 -w 5 192.0.2.1 > /dev/null && echo out-$((1 + 1))\n", b"out-2", 20)
        self.type(vm["id"], b"ping -c 1 -w 1 198.51.100.2 > /dev/null || echo shut-$((1 + 1))\n", b"shut-2", 20)

        # The daemon goes and comes; the guest stays.
        self.daemon.kill9()
        self.assertIn(b" 200 ", self.http(address))
        self.daemon.start()
        adopted = self.vm(vm["id"])
        self.assertEqual((vm["vmm"]["pid"], "running"), (adopted["vmm"]["pid"], adopted["state"]))
        self.type(vm["id"], b"echo again-$((6 * 7))\n", b"again-42")

        self.act(vm["id"], "pause")
        time.sleep(0.2)
        self.act(vm["id"], "resume")
        self.assertIn(b" 200 ", self.http(address))

        stopped = self.act(vm["id"], "stop", {"timeout_seconds": 40}, wait=60)
        self.assertEqual(("stopped", "graceful"), (stopped["state"], stopped["last_exit"]["tier"]))

    def type(self, vm, text, answer, timeout=10):
        self.ok(self.c.post(f"/vms/{vm}/console", text, headers=TEXT), 204)
        self.await_console(vm, answer, timeout)

    @limit(120)
    def test_two_guests_cannot_reach_each_other(self):
        first, second = self.linux(), self.linux()
        for vm in (first, second):
            self.await_console(vm["id"], b"smartvm-guest: up", 60)
            self.http(vm["network_interfaces"][0]["ip"])
        other = second["network_interfaces"][0]["ip"]
        self.type(first["id"], f"ping -c 1 -w 2 {other} > /dev/null || echo apart-$((1 + 1))\n".encode(), b"apart-2", 20)
        self.act(first["id"], "kill")
        self.act(second["id"], "kill")

    @limit(120)
    def test_reboot_and_power_off_from_inside(self):
        vm = self.linux()
        self.await_console(vm["id"], b"smartvm-guest: up", 60)
        rebooted = self.act(vm["id"], "reboot", {"timeout_seconds": 30}, wait=60)
        self.assertNotEqual(vm["vmm"]["pid"], rebooted["vmm"]["pid"])
        eventually(lambda: self.c.get(f"/vms/{vm['id']}/console").body.count(b"smartvm-guest: up") == 2, "the second boot", 60, 0.2)
        self.ok(self.c.post(f"/vms/{vm['id']}/console", b"poweroff\n", headers=TEXT), 204)
        ended = self.await_vm(vm["id"], lambda v: v["state"] == "stopped", "the end", 30)
        self.assertEqual(("guest", "guest_shutdown"), (ended["last_exit"]["tier"], ended["last_exit"]["reason"]))

    @limit(150)
    def test_a_reboot_and_a_panic_from_inside(self):
        vm = self.linux()
        self.await_console(vm["id"], b"smartvm-guest: up", 60)
        self.ok(self.c.post(f"/vms/{vm['id']}/console", b"reboot -f\n", headers=TEXT), 204)
        again = self.await_vm(vm["id"], lambda v: v["state"] == "running" and v["restart_count"] == 1, "the second boot", 30)
        self.assertEqual("guest_reboot", again["last_exit"]["reason"])
        self.assertNotEqual(vm["vmm"]["pid"], again["vmm"]["pid"])
        eventually(lambda: self.c.get(f"/vms/{vm['id']}/console").body.count(b"smartvm-guest: up") == 2, "the second boot's end", 60, 0.2)
        self.ok(self.c.post(f"/vms/{vm['id']}/console", b"echo c > /proc/sysrq-trigger\n", headers=TEXT), 204)
        dead = self.await_vm(vm["id"], lambda v: v["state"] == "failed", "the panic", 30)
        self.assertEqual(("guest_panic", "panicked"), (dead["last_exit"]["reason"], self.condition(dead, "guest")["reason"]))
        self.assertEqual("Kernel panic - not syncing: sysrq triggered crash", dead["last_exit"]["message"])


class QemuTest(ThemeCase):
    """The tiny guest under QEMU: the same life by another driver."""

    @limit(90)
    def test_life(self):
        vm = self.create(vmm="qemu", wait=40, mode="echo")
        self.assertEqual("qemu", vm["vmm"]["driver"])
        self.assertIn(vm["vmm"]["accelerator"], ("kvm", "tcg"))
        self.await_console(vm["id"], b"tiny: up")
        self.ok(self.c.post(f"/vms/{vm['id']}/console", b"to and fro", headers=TEXT), 204)
        self.await_console(vm["id"], b"to and fro")
        self.assertEqual("paused", self.act(vm["id"], "pause")["state"])
        self.assertEqual("running", self.act(vm["id"], "resume")["state"])
        self.daemon.restart()
        self.assertEqual(vm["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])
        killed = self.act(vm["id"], "kill")
        self.assertEqual(("stopped", "killed"), (killed["state"], killed["last_exit"]["tier"]))
        self.forget(vm["id"])
        self.daemon.await_no_leaks()

    def test_another_driver_after_the_fact(self):
        vm = self.create(desired_state="stopped", state="stopped")
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"vmm": "qemu"}, wait=5))
        started = self.act(vm["id"], "start", wait=40)
        self.assertEqual(("running", "qemu"), (started["state"], started["vmm"]["driver"]))
        self.act(vm["id"], "kill")
