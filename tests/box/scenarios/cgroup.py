"""cgroup v2 with its controllers: the limits of a VM are in force and seen, and only the VM pays for them."""

from case import BoxCase
from harness import eventually, limit

MIB = 1 << 20


class Cgroup(BoxCase):
    def control(self, vm, name):
        return self.box.sh(f"cat /sys/fs/cgroup/smartvm/{vm}/{name}").strip()

    @limit(200)
    def test_limits_are_in_force_and_seen(self):
        self.assertEqual({"memory", "cpu", "pids"}, set(self.c.json("/host")["cgroup"]["controllers"]))
        vm = self.tiny("limited", machine_config={"mem_size_mib": 128, "vcpu_count": 2})
        wanted = (128 + 128 // 64 + 64) * MIB
        self.assertEqual({"memory_max_bytes": wanted, "pids_max": 2 + 64}, vm["vmm"]["limits"])
        self.assertEqual([str(wanted), "0", "1", "66"], [self.control("limited", f"{name}") for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")])
        self.assertIn(str(vm["vmm"]["pid"]), self.control("limited", "cgroup.procs").split())  # beside a thread of KVM
        self.assertEqual([], self.c.json("/drift")["items"])

        # Somebody changes them: seen, and made right on request, or at the next look.
        self.box.sh("echo 100M > /sys/fs/cgroup/smartvm/limited/memory.max; echo max > /sys/fs/cgroup/smartvm/limited/pids.max")
        items = self.c.json("/drift")["items"]
        self.assertEqual([("/vms/limited", "set_limits")], [(i["resource"], i["operation"]) for i in items])
        self.assertIn(f"memory.max of the cgroup is {100 * MIB}, not {wanted}", items[0]["found"])
        self.ok(self.c.post("/drift/repair", wait=30), 201)
        eventually(lambda: (self.control("limited", "memory.max"), self.control("limited", "pids.max")) == (str(wanted), "66"), "the limits again", 30, 0.3)
        self.act("limited", "kill", wait=60)
        self.assertIsNone(self.vm("limited")["vmm"]["limits"])

    @limit(300)
    def test_a_vm_without_memory_takes_nobody_along(self):
        daemon = self.box.daemon_pid
        self.tiny("victim")
        other = self.tiny("other")
        self.await_console("victim", b"tiny: up")
        api = self.box.sh(f"cat /proc/{daemon}/task/{daemon}/children").split()
        self.box.sh("echo 1M > /sys/fs/cgroup/smartvm/victim/memory.max")
        ended = self.await_vm("victim", lambda v: v["state"] == "failed", timeout=60)
        self.assertEqual("out_of_memory", ended["last_exit"]["tier"], ended["last_exit"])
        self.assertIn("limit of memory", ended["last_exit"]["message"])
        self.assertEqual(daemon, self.box.daemon_pid)
        self.assertEqual(api, self.box.sh(f"cat /proc/{daemon}/task/{daemon}/children").split())
        alive = self.vm("other")
        self.assertEqual(("running", other["vmm"]["pid"]), (alive["state"], alive["vmm"]["pid"]))
        # Started again it has its limit, and lives.
        again = self.act("victim", "start", wait=60)
        self.assertEqual((32 + 0 + 64) * MIB, again["vmm"]["limits"]["memory_max_bytes"])
        eventually(lambda: self.c.get("/vms/victim/console").body.count(b"tiny: up") == 2, "the second boot", 60, 0.3)
        for name in ("victim", "other"):
            self.ok(self.c.delete(f"/vms/{name}", wait=60), 204)
        self.nothing_left()
