"""The daemon as a service of systemd, by the unit that is shipped: VMs outlive its restart and its death, and systemd leaves their cgroups alone."""

import json

from box import SETTINGS, Box
from case import BoxCase
from harness import eventually, limit

SYSTEMD = "/usr/lib/systemd/systemd systemd.unit=box.target"


class Service(BoxCase):
    @classmethod
    def setUpClass(cls):
        cls.own_box = Box(init=SYSTEMD)
        try:
            cls.own_box.boot()
            cls.own_box.log_path = "/run/log.txt"
            super().setUpClass()
        except BaseException:
            print(cls.own_box.console_tail())
            cls.own_box.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.own_box.close()

    def setUp(self):
        self.box.sh(f"cat > /run/smartvmd.yaml << 'END'\n{json.dumps(SETTINGS)}\nEND\n")

    def tearDown(self):
        self.box.sh("journalctl -u smartvmd --no-pager > /run/log.txt")
        super().tearDown()

    def systemctl(self, *words):
        return self.box.sh("systemctl " + " ".join(words), timeout=120)

    def main_pid(self):
        return int(self.systemctl("show", "-P", "MainPID", "smartvmd"))

    @limit(300)
    def test_a_life_as_a_service(self):
        self.systemctl("start", "smartvmd")  # returns when it has told that it is ready
        self.assertEqual(200, self.c.get("/readyz").status)
        vm = self.tiny("served")
        pid = vm["vmm"]["pid"]
        self.assertIn("0::/smartvm/served", self.box.sh(f"cat /proc/{pid}/cgroup"))
        limits = vm["vmm"]["limits"]
        self.assertIsNotNone(limits["memory_max_bytes"])

        first = self.main_pid()
        self.systemctl("restart", "smartvmd")
        self.assertNotEqual(first, self.main_pid())
        self.adopted(vm)
        killed = self.main_pid()
        self.box.sh(f"kill -9 {killed}")
        eventually(lambda: self.main_pid() not in (0, killed) and self.box.api_is_ready(), "the restart by systemd", 60, 0.5)
        self.adopted(vm)

        # What systemd does to cgroups does nothing to ours.
        self.systemctl("daemon-reload")
        self.systemctl("set-property", "--runtime", "box-agent.service", "MemoryMax=900M", "TasksMax=500")
        self.assertEqual(str(limits["memory_max_bytes"]), self.box.sh("cat /sys/fs/cgroup/smartvm/served/memory.max").strip())
        self.assertEqual([], self.c.json("/drift")["items"])

        self.systemctl("stop", "smartvmd")
        self.assertIn("firecracker", self.box.sh(f"cat /proc/{pid}/comm"))
        self.systemctl("start", "smartvmd")
        self.adopted(vm)
        self.assertIn("event=daemon.ready", self.box.sh("journalctl -u smartvmd --no-pager -o cat"))
        self.ok(self.c.delete("/vms/served", wait=60), 204)
        self.nothing_left()

    def adopted(self, vm):
        found = self.await_vm(vm["id"], lambda v: v["state"] == "running", timeout=60)
        self.assertEqual((vm["vmm"]["pid"], vm["vmm"]["limits"]), (found["vmm"]["pid"], found["vmm"]["limits"]))
