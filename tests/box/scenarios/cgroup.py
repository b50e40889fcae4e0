"""cgroup v2 with its controllers: the limits of a VM are in force and seen, and only the VM pays for them."""

from case import BoxCase
from harness import eventually, limit

MIB = 1 << 20


class Cgroup(BoxCase):
    def control(self, vm, name):
        return self.box.sh(f"cat /sys/fs/cgroup/smartvm/{vm}/{name}").strip()

    @limit(200)
    def test_limits_are_in_force_and_seen(self):
        self.assertEqual({"memory", "cpu", "pids", "io"}, set(self.c.json("/host")["cgroup"]["controllers"]))
        vm = self.tiny("limited", machine_config={"mem_size_mib": 128, "vcpu_count": 2})
        wanted = (128 + 128 // 64 + 64) * MIB
        self.assertEqual((wanted, 2 + 64, 0, 100), tuple(vm["vmm"]["limits"][name] for name in ("memory_max_bytes", "pids_max", "cpu_percent", "cpu_weight")))
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
    def test_cpu_and_io_of_a_vm_that_runs(self):
        """A guest that spins gets what it may have, before its first instruction and from each change on."""
        vm = self.tiny("spins", boot_args="tiny=spin", limits={"cpu_percent": 20, "cpu_weight": 50, "io": {"read_bytes_per_s": 1 << 20, "write_ops_per_s": 100}})
        self.assertEqual(("true", "in_force"), tuple(self.condition(vm, "limits")[name] for name in ("status", "reason")))
        self.assertEqual(["20000 100000", "50"], [self.control("spins", name) for name in ("cpu.max", "cpu.weight")])
        number = int(self.box.sh("stat -c %d /var"))
        disk = f"{number >> 8}:{number & 255}"
        self.assertEqual(f"{disk} rbps={1 << 20} wbps=max riops=max wiops=100", self.control("spins", "io.max"))
        self.assertLess(self.used("spins", 5), 0.3)
        changed = self.ok(self.c.patch("/vms/spins", {"limits": {"cpu_percent": 60, "cpu_weight": None, "io": None}}, wait=30))
        self.assertEqual((60, 100, 0), (changed["vmm"]["limits"]["cpu_percent"], changed["vmm"]["limits"]["cpu_weight"], changed["vmm"]["limits"]["io"]["read_bytes_per_s"]))
        self.assertEqual((["60000 100000", "100", ""], vm["vmm"]["pid"]),
                         ([self.control("spins", name) for name in ("cpu.max", "cpu.weight", "io.max")], changed["vmm"]["pid"]))
        self.assertGreater(self.used("spins", 5), 0.3)
        self.assertEqual([], self.c.json("/drift")["items"])

        # Somebody else's change is seen, and made right; a client's is no drift.
        self.box.sh("echo max > /sys/fs/cgroup/smartvm/spins/cpu.max")
        items = self.c.json("/drift")["items"]
        self.assertEqual([("/vms/spins", "set_limits")], [(i["resource"], i["operation"]) for i in items])
        self.assertIn("cpu.max of the cgroup is max 100000, not 60000 100000", items[0]["found"])
        self.ok(self.c.post("/drift/repair", wait=30), 201)
        eventually(lambda: self.control("spins", "cpu.max") == "60000 100000", "the limit again", 30, 0.3)

    def used(self, vm, seconds):
        """CPUs, on the average."""
        script = f"grep usage_usec /sys/fs/cgroup/smartvm/{vm}/cpu.stat; sleep {seconds}; grep usage_usec /sys/fs/cgroup/smartvm/{vm}/cpu.stat"
        before, after = (int(line.split()[1]) for line in self.box.sh(script).splitlines())
        return (after - before) / seconds / 1e6

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
