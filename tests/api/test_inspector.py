"""Files of images are looked at, and kernels unpacked, by a process that has nothing, and that may die of it."""

import os
import re
import signal
import subprocess
from pathlib import Path

import host
from harness import OwnDaemonCase, eventually, limit

UID = 1879113728  # INSPECTOR_UID, server/privileges.h
MIB = 1024 * 1024


def write_initrd(path, size):
    """A cpio archive with one file of `size` zeroes, as gzip data of a thousandth of that."""
    def entry(name, mode, length):
        head = b"070701" + b"".join(b"%08x" % v for v in (1, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, len(name) + 1, 0)) + name + b"\0"
        return head + bytes(-len(head) % 4)

    with open(path, "wb") as file:
        gzip = subprocess.Popen(["gzip", "-1"], stdin=subprocess.PIPE, stdout=file)
        gzip.stdin.write(entry(b"zeroes", 0o100644, size))
        for _ in range(size // MIB):
            gzip.stdin.write(bytes(MIB))
        gzip.stdin.write(entry(b"TRAILER!!!", 0, 0))
        gzip.stdin.close()
        if gzip.wait() != 0:
            raise AssertionError("gzip")


class InspectorTest(OwnDaemonCase):
    def add(self, size, wait=0):
        path = self.daemon.images / "initrd"
        write_initrd(path, size)
        return self.c.post("/images", {"manifest": self.daemon.tiny_manifest("seen") | {"initrd": {"path": str(path)}}}, wait=wait)

    def inspector(self):
        """One that has given up what it had."""
        pid = self.daemon.child_pid("--inspector-process")
        return pid if pid and "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text() else None

    def ended(self):
        image = self.c.json("/images/seen")
        return image if image["state"] != "importing" else None

    def none_left(self):
        return [pid for pid in host.children(self.daemon.pid) if "--inspector-process" in host.cmdline_of(pid)] == []

    @limit(60)
    def test_it_has_nothing(self):
        self.assertIn(self.add(480 * MIB).status, (201, 202))
        pid = eventually(self.inspector, "the inspector", 20, 0.001)
        os.kill(pid, signal.SIGSTOP)
        try:
            status = dict(re.findall(r"^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M))
            limits = Path(f"/proc/{pid}/limits").read_text()
            files = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            flags = {fd: int(re.search(r"flags:\s+0?(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text()).group(1), 8) for fd in files}
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual({str(UID)}, set(status["Uid"].split()) | set(status["Gid"].split()))
        self.assertEqual("", status["Groups"].strip())
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(0, int(status[name], 16), name)
        self.assertEqual(("1", "2"), (status["NoNewPrivs"], status["Seccomp"]))
        self.assertRegex(limits, r"Max cpu time\s+120\s+120")
        self.assertRegex(limits, rf"Max file size\s+{512 * MIB}\s+{512 * MIB}")
        self.assertRegex(limits, r"Max core file size\s+0\s+0")
        self.assertEqual({3, 4}, set(files), "its own, and no others")
        self.assertTrue(files[3].startswith("pipe:"), files)
        self.assertEqual((True, os.O_RDONLY), ("/images/tmp/add-" in files[4], flags[4] & os.O_ACCMODE), files)
        self.assertEqual("ready", eventually(self.ended, "the import", 40)["state"])
        self.assertTrue(self.none_left())

    @limit(60)
    def test_one_that_dies_is_a_file_that_failed(self):
        self.assertIn(self.add(480 * MIB).status, (201, 202))
        os.kill(eventually(self.inspector, "the inspector", 20, 0.001), signal.SIGKILL)
        image = eventually(self.ended, "the end of the import", 10)
        self.assertEqual(("failed", "INVALID_MANIFEST"), (image["state"], image["error"]["code"]))
        self.assertIn("ended with signal 9", image["error"]["message"])
        self.ok(self.c.delete("/images/seen", wait=10), 204)
        self.assertEqual("ready", self.ok(self.add(MIB, wait=20), 201)["state"])

    @limit(60)
    def test_called_off(self):
        self.assertIn(self.add(480 * MIB).status, (201, 202))
        pid = eventually(self.inspector, "the inspector", 20, 0.001)
        os.kill(pid, signal.SIGSTOP)  # for ever
        self.ok(self.c.delete("/images/seen", wait=10), 204)
        self.assertTrue(self.none_left())
        self.assertEqual([], os.listdir(Path(self.daemon.config["state_dir"]) / "images" / "tmp"))

    @limit(60)
    def test_the_worker_dies_and_it_does_too(self):
        self.assertIn(self.add(480 * MIB).status, (201, 202))
        pid = eventually(self.inspector, "the inspector", 20, 0.001)
        os.kill(pid, signal.SIGSTOP)
        self.daemon.kill9()
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), "its end", 5)
        self.daemon.start()
        self.assertEqual("ready", eventually(self.ended, "the import", 40)["state"])

    @limit(60)
    def test_a_bomb(self):
        reply = self.add(600 * MIB, wait=40)
        self.assertEqual("PAYLOAD_TOO_LARGE", reply.code, repr(reply))
        self.assertIn(f"more than {512 * MIB} bytes", reply.json["detail"])
        self.assertTrue(self.none_left())
