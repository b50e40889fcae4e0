"""The host is reset with VMs running."""

from case import BoxCase
from harness import limit


class HostReboot(BoxCase):
    @limit(400)
    def test_a_reset_with_vms_running(self):
        before = {name: self.tiny(name, autostart=autostart) for name, autostart in (("comes-back", True), ("stays-off", False), ("paused", True))}
        self.act("paused", "pause")
        self.create("never-ran", state="stopped", desired_state="stopped", autostart=True)
        self.box.sh("sync")  # what is on the disk after a reset without it, tells the scenario of power cuts
        self.box.reset()
        # Each of the old processes' numbers belongs to another process now.
        pids = [vm["vmm"]["pid"] for vm in before.values()]
        for pid in pids:
            self.box.sh(f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid; setsid sleep 100000 > /dev/null 2>&1 &")
        taken = [pid for pid in pids if "sleep" in self.box.sh(f"cat /proc/{pid}/comm", check=False)[0]]
        self.assertTrue(taken, f"none of {pids} could be taken")
        self.box.start_daemon()

        back = self.await_vm("comes-back", lambda v: v["state"] == "running", timeout=60)
        self.assertNotIn(back["vmm"]["pid"], pids)
        self.assertEqual(before["comes-back"]["network_interfaces"], back["network_interfaces"])
        self.await_vm("paused", lambda v: v["state"] == "paused" and v["vmm"]["pid"] not in pids, timeout=60)
        for name in ("stays-off", "never-ran"):
            self.await_vm(name, lambda v: v["state"] == "stopped" and v["vmm"]["pid"] is None, timeout=60)
        self.assertEqual([str(pid) for pid in taken], [str(pid) for pid in taken if "sleep" in self.box.sh(f"cat /proc/{pid}/comm")])
        self.assertEqual(2, len(self.box.sh("pidof firecracker").split()))
        self.assertEqual([], self.c.json("/drift")["items"])
