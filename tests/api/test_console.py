"""The console: history, following, input, and a guest that floods it."""

import os
import threading
import time

from harness import ThemeCase, eventually, limit

TEXT = {"Content-Type": "text/plain"}


class ConsoleTest(ThemeCase):
    settings = {"vmm": {"console_bytes": 65536}}

    def console(self, vm, **query):
        return self.c.get(f"/vms/{vm}/console", **query)

    def write(self, vm, data, **kw):
        return self.c.post(f"/vms/{vm}/console", data, headers=TEXT, **kw)

    def test_history(self):
        vm = self.create()["id"]
        self.await_console(vm, b"tiny: up\n")
        reply = self.console(vm)
        begin, end = int(reply.headers["X-Console-Begin"]), int(reply.headers["X-Console-End"])
        self.assertEqual(len(reply.body), end - begin)

    def test_offset(self):
        vm = self.create()["id"]
        whole = self.await_console(vm, b"tiny: up\n")
        begin = int(self.console(vm).headers["X-Console-Begin"])
        part = self.console(vm, offset=begin + 3)
        self.assertEqual((whole[3:], str(begin + 3)), (part.body, part.headers["X-Console-Begin"]))
        past = self.console(vm, offset=10**9)
        self.assertEqual(b"", past.body)

    def test_a_vm_that_never_ran(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        self.assertEqual(b"", self.console(vm).body)

    def test_history_stays_after_the_end(self):
        vm = self.create()["id"]
        self.await_console(vm, b"tiny: up")
        self.act(vm, "kill")
        self.assertIn(b"tiny: up", self.console(vm).body)

    def test_input(self):
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")
        self.ok(self.write(vm, b"hello, guest\n"), 204)
        self.await_console(vm, b"hello, guest")

    def test_input_as_bytes(self):
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")
        for part in (b"\x03", b"\x1b[A", "grün".encode(), b"end-of-it"):
            self.ok(self.write(vm, part), 204)
        self.assertIn("\x03\x1b[Agrünend-of-it".encode(), self.await_console(vm, b"end-of-it"))

    def test_input_that_is_refused(self):
        vm = self.create(mode="echo")["id"]
        self.refused(self.write(vm, b"x" * 4097), 413, "PAYLOAD_TOO_LARGE")
        self.ok(self.write(vm, b"x" * 4096), 204, 409)
        reply = self.c.post(f"/vms/{vm}/console", b"{}", headers={"Content-Type": "application/json"})
        self.refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE")

    def test_input_of_a_vm_that_does_not_run(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        self.refused(self.write(vm, b"x"), 409, "INVALID_STATE")
        self.act(vm, "start")
        self.act(vm, "kill")
        self.refused(self.write(vm, b"x"), 409, "INVALID_STATE")

    def test_input_that_nobody_reads_is_refused_whole(self):
        vm = self.create(desired_state="paused", state="paused")["id"]
        for _ in range(400):
            reply = self.write(vm, b"y" * 4096)
            if reply.status != 204:
                break
        self.refused(reply, 409, "CONSOLE_FULL")

    def test_follow(self):
        vm = self.create(mode="echo")["id"]
        with self.c.stream(f"/vms/{vm}/console", follow="true") as stream:
            stream.read_until(b"tiny: up")
            self.write(vm, b"first")
            with self.quick(2):
                stream.read_until(b"first")
            self.write(vm, b"second")
            stream.read_until(b"second")

    def test_follow_from_an_offset(self):
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")
        end = int(self.console(vm).headers["X-Console-End"])
        with self.c.stream(f"/vms/{vm}/console", follow="true", offset=end) as stream:
            self.write(vm, b"news")
            self.assertEqual(b"news", stream.read_until(b"news"))

    def test_several_follow(self):
        vm = self.create(mode="echo")["id"]
        streams = [self.c.stream(f"/vms/{vm}/console", follow="true") for _ in range(10)]
        try:
            self.write(vm, b"to all of you")
            for stream in streams:
                stream.read_until(b"to all of you")
        finally:
            for stream in streams:
                stream.close()

    def test_follow_goes_over_a_reboot(self):
        vm = self.create(mode="ctrlaltdel")["id"]
        self.await_console(vm, b"waiting")
        with self.c.stream(f"/vms/{vm}/console", follow="true") as stream:
            stream.read_until(b"waiting")
            stream.buffer = b""
            self.act(vm, "reboot")
            stream.read_until(b"tiny: up")

    def test_follow_ends_when_the_vm_is_deleted(self):
        vm = self.create()["id"]
        with self.c.stream(f"/vms/{vm}/console", follow="true") as stream:
            stream.read_until(b"tiny: up")
            self.forget(vm)
            with self.quick(10):
                stream.read_all()

    def test_the_console_goes_on_after_a_restart_of_the_daemon(self):
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")
        self.write(vm, b"before")
        self.await_console(vm, b"before")
        self.daemon.kill9()
        self.daemon.start()
        self.assertIn(b"before", self.console(vm).body)
        self.write(vm, b"after")
        self.await_console(vm, b"after")


class FloodTest(ThemeCase):
    settings = {"vmm": {"console_bytes": 65536}}

    def disk_bytes(self, vm):
        directory = self.daemon.run_dir / "vm" / vm
        return sum(p.stat().st_blocks * 512 for p in directory.iterdir() if p.is_file())

    @limit(90)
    def test_a_flood_is_bounded_and_the_daemon_stays_quick(self):
        vm = self.create(mode="flood")["id"]
        worst, largest, end = 0.0, 0, time.monotonic() + 4
        while time.monotonic() < end:
            begin = time.monotonic()
            self.assertEqual("running", self.vm(vm)["state"])
            worst = max(worst, time.monotonic() - begin)
            largest = max(largest, self.disk_bytes(vm))
            time.sleep(0.02)
        self.assertLess(worst, 1.0)
        self.assertLess(largest, 65536 * 4)
        eventually(lambda: int(self.c.get(f"/vms/{vm}/console").headers["X-Console-End"]) > 65536, "a flood", 20)
        reply = self.c.get(f"/vms/{vm}/console")
        self.assertLessEqual(len(reply.body), 65536 + 4096)
        self.assertIn(b"tiny: flood", reply.body)
        with self.quick(3):
            self.assertEqual("stopped", self.act(vm, "kill")["state"])

    @limit(60)
    def test_others_are_made_and_stopped_during_a_flood(self):
        for _ in range(2):
            self.create(mode="flood")
        with self.quick(10):
            vm = self.create()["id"]
            self.act(vm, "kill")
            self.forget(vm)

    @limit(60)
    def test_a_follower_that_reads_slowly_holds_nothing_up(self):
        vm = self.create(mode="flood")["id"]
        with self.c.stream(f"/vms/{vm}/console", follow="true") as stream:
            stream.read_until(b"tiny: up", 5)
            api = self.daemon.api_pid()
            before = _resident_kib(api)
            time.sleep(2)
            self.assertLess(_resident_kib(api) - before, 40_000)
            with self.quick(1):
                self.assertEqual(200, self.c.get("/healthz").status)

    @limit(60)
    def test_a_follower_that_reads_sees_it_go_by(self):
        vm = self.create(mode="flood")["id"]
        total, end = 0, time.monotonic() + 20
        with self.c.stream(f"/vms/{vm}/console", follow="true") as stream:
            while total <= 65536 and time.monotonic() < end:
                total += len(stream.read(5))
        self.assertGreater(total, 65536)

    @limit(60)
    def test_a_flood_goes_on_while_the_daemon_is_away(self):
        vm = self.create(mode="flood")
        self.daemon.kill9()
        time.sleep(1)
        os.kill(vm["vmm"]["pid"], 0)
        self.assertLess(self.disk_bytes(vm["id"]), 65536 * 4)
        self.daemon.start()
        self.assertEqual(("running", vm["vmm"]["pid"]), (self.vm(vm["id"])["state"], self.vm(vm["id"])["vmm"]["pid"]))
        before = int(self.c.get(f"/vms/{vm['id']}/console").headers["X-Console-End"])
        eventually(lambda: int(self.c.get(f"/vms/{vm['id']}/console").headers["X-Console-End"]) > before, "more of the flood")

    @limit(60)
    def test_writers_and_followers_at_once(self):
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")

        def write(letter):
            for _ in range(20):
                self.c.post(f"/vms/{vm}/console", letter * 16, headers=TEXT)

        threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        text = eventually(lambda: self._all_of_it(vm), "640 bytes of echo")
        for index in range(0, 640, 16):
            self.assertEqual(1, len(set(text[index : index + 16])), "one POST arrives whole")

    def _all_of_it(self, vm):
        text = self.c.get(f"/vms/{vm}/console").body.partition(b"tiny: up\n")[2]
        return text if len(text) >= 640 else None


def _resident_kib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")
