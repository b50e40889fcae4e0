"""No process of the daemon, and none that it starts, leaves a core dump with the memory of guests in it."""

import os
import re
from pathlib import Path

from harness import OwnDaemonCase, eventually, limit


def limit_of(pid):
    return re.search(r"Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text()).groups()


def filter_of(pid):
    return int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16)


class CoreDumpTest(OwnDaemonCase):
    """Started as by somebody who dumps everything."""

    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.daemon.before = ["prlimit", "--core=unlimited:unlimited", "--"]
        self.daemon.start()

    def names(self):
        return {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in self.daemon.netns.pids()}

    def check(self, pids):
        for pid, name in pids.items():
            with self.subTest(name):
                self.assertEqual((("0", "0"), 0), (limit_of(pid), filter_of(pid)))

    @limit(90)
    def test_all_processes(self):
        vms = [self.create(vmm=vmm) for vmm in ("firecracker", "qemu")]
        processes = self.names()
        self.assertLessEqual({vm["vmm"]["pid"] for vm in vms} | {self.daemon.pid, self.daemon.api_pid(), self.daemon.keeper_pid()}, set(processes))
        self.assertEqual(2, len([name for name in processes.values() if b"shim" in name[0]]), processes)
        self.check(processes)
        for pid in (self.daemon.api_pid(), self.daemon.keeper_pid()):
            self.assertEqual(0, os.stat(f"/proc/{pid}/fd").st_uid, "not dumpable: its files in /proc are root's")

    def test_a_vmm_of_an_older_daemon(self):
        pid = self.create()["vmm"]["pid"]
        Path(f"/proc/{pid}/coredump_filter").write_text("0x33")
        self.daemon.kill9()
        self.daemon.start()
        eventually(lambda: filter_of(pid) == 0, "no core dump of the VMM that was adopted")
