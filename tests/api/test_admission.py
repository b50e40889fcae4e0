"""What VMs may have of the host: reserved when they are created, refused when it is not there, shown by GET /host."""

import threading
import time

from harness import Daemon, OwnDaemonCase, ThemeCase, limit, run

FIRECRACKER_MIB = 64  # core/vm_memory.h
LACK = "INSUFFICIENT_CAPACITY"


class CapacityCase(OwnDaemonCase):
    def capacity(self, name="memory_mib"):
        return self.c.json("/host")["capacity"][name]

    def reserved(self, name="memory_mib"):
        return self.capacity(name)["reserved"]

    def at_rest(self, **extra):
        return self.create(desired_state="stopped", state="stopped", **extra)


class MemoryTest(CapacityCase):
    settings = {"capacity": {"memory_mib": 3 * (32 + FIRECRACKER_MIB)}}

    def test_it_is_reserved_and_freed(self):
        self.assertEqual({"total": 288, "reserved": 0, "free": 288}, self.capacity())
        vms = [self.create(), self.at_rest(), self.create()]
        self.assertEqual({"total": 288, "reserved": 288, "free": 0}, self.capacity())
        for query in ({}, {"dry_run": "true"}):
            problem = self.refused(self.c.post("/vms", self.body(), **query), 409, LACK, "/machine_config/mem_size_mib")
            self.assertIn("96 MiB of memory asked for, 288 of 288 reserved, 0 free", problem["detail"])
        self.act(vms[0]["id"], "stop")  # what is stopped will want to start
        self.refused(self.c.post("/vms", self.body()), 409, LACK)
        self.forget(vms[0]["id"])
        self.assertEqual(192, self.reserved())
        self.create()

    def test_a_refusal_takes_nothing(self):
        before = self.c.json("/host")["capacity"]
        body = self.body(machine_config={"mem_size_mib": 300})
        self.refused(self.c.post("/vms", body, headers={"Idempotency-Key": "k"}), 409, LACK)
        self.assertEqual(before, self.c.json("/host")["capacity"])
        self.assertEqual(404, self.c.get(f"/vms/{body['id']}").status)
        body["machine_config"]["mem_size_mib"] = 32
        self.ok(self.c.post("/vms", body, headers={"Idempotency-Key": "k"}, wait=10), 201)  # errors are not stored

    def test_a_dry_run_takes_nothing(self):
        for _ in range(10):
            self.ok(self.c.post("/vms", self.body(), dry_run="true"))
        self.assertEqual(0, self.reserved())

    def test_a_vm_that_becomes_larger(self):
        vm = self.create()["id"]
        self.at_rest()
        for query in ({}, {"dry_run": "true"}):
            problem = self.refused(self.c.patch(f"/vms/{vm}", {"machine_config": {"mem_size_mib": 200}}, **query), 409, LACK, "/machine_config/mem_size_mib")
            self.assertIn("171 MiB of memory asked for, 192 of 288 reserved, 96 free", problem["detail"])
        self.assertEqual(32, self.vm(vm)["machine_config"]["mem_size_mib"])
        self.ok(self.c.patch(f"/vms/{vm}", {"machine_config": {"mem_size_mib": 64}}, wait=10))
        self.assertEqual(192 + 33, self.reserved())

    def test_a_vm_that_becomes_smaller(self):
        """Not before its process has less."""
        vm = self.create(machine_config={"mem_size_mib": 128})["id"]
        self.ok(self.c.patch(f"/vms/{vm}", {"machine_config": {"mem_size_mib": 32}}, wait=10))
        self.assertEqual(128 + 2 + FIRECRACKER_MIB, self.reserved())
        self.act(vm, "reboot")
        self.assertEqual(96, self.reserved())
        stopped = self.at_rest(machine_config={"mem_size_mib": 100})["id"]
        self.ok(self.c.patch(f"/vms/{stopped}", {"machine_config": {"mem_size_mib": 32}}, wait=10))
        self.await_reserved(192)

    def await_reserved(self, mib):
        end = time.monotonic() + 5
        while self.reserved() != mib and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(mib, self.reserved())

    @limit(120)
    def test_nobody_takes_the_last_piece_twice(self):
        """Many clients at the same moment, again and again: as many get one as there are."""
        for _ in range(5):
            replies, together = [], threading.Barrier(12)
            bodies = [self.body(desired_state="stopped") for _ in range(12)]

            def work(body):
                together.wait()
                replies.append(self.c.post("/vms", body, wait=10))

            threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([201] * 3 + [409] * 9, sorted(reply.status for reply in replies))
            self.assertEqual({LACK}, {reply.code for reply in replies if reply.status == 409})
            self.assertEqual(288, self.reserved())
            for body in bodies:
                self.forget(body["id"])
            self.assertEqual(0, self.reserved())

    def test_a_restart_forgets_nothing(self):
        self.create()
        self.at_rest(machine_config={"mem_size_mib": 64})
        before = self.reserved()
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual(before, self.reserved())

    def test_a_smaller_total_ends_nothing(self):
        vm = self.create()["id"]
        self.daemon.stop()
        self.daemon.config["capacity"]["memory_mib"] = 50
        self.daemon.start()
        self.assertEqual({"total": 50, "reserved": 96, "free": 0}, self.capacity())
        self.assertEqual("running", self.vm(vm)["state"])
        self.act(vm, "reboot")
        self.refused(self.c.post("/vms", self.body()), 409, LACK)


class OthersTest(CapacityCase):
    settings = {"network": {"subnet": "10.99.0.0/29"}, "capacity": {"vcpu_factor": 1}}

    def test_vcpus(self):
        total = self.capacity("vcpus")["total"]
        self.assertEqual(self.c.json("/host")["cpus"], total)
        for _ in range(total):
            self.at_rest(network_interfaces=[])
        problem = self.refused(self.c.post("/vms", self.body(network_interfaces=[])), 409, LACK, "/machine_config/vcpu_count")
        self.assertIn(f"1 vCPUs asked for, {total} of {total} reserved, 0 free", problem["detail"])

    def test_addresses_and_ports_of_the_bridge(self):
        self.assertEqual(({"total": 5, "reserved": 0, "free": 5}, {"total": 1023, "reserved": 0, "free": 1023}),
                         (self.capacity("addresses"), self.capacity("bridge_ports")))
        self.at_rest(network_interfaces=[{"iface_id": f"eth{i}"} for i in range(4)])
        self.assertEqual(({"total": 5, "reserved": 4, "free": 1}, {"total": 1023, "reserved": 4, "free": 1019}),
                         (self.capacity("addresses"), self.capacity("bridge_ports")))
        body = self.body(network_interfaces=[{"iface_id": f"eth{i}"} for i in range(2)])
        problem = self.refused(self.c.post("/vms", body), 409, "IP_EXHAUSTED")
        self.assertIn("4 reserved", problem["detail"])


class DrivesTest(CapacityCase):
    """Staged in a small file system of their own."""

    size_mib = 48

    def setUp(self):
        self.daemon = Daemon({})
        self.addCleanup(self.daemon.close)
        run("mount", "-t", "tmpfs", "-o", f"size={self.size_mib}m", "smartvm-test", str(self.daemon.stage_dir))
        self.addCleanup(run, "umount", "--lazy", str(self.daemon.stage_dir))
        self.daemon.start()
        self.c = self.daemon.client

    def test_by_the_size_that_they_appear_to_have(self):
        staging = self.c.json("/host")["staging"]
        self.assertEqual({"path": str(self.daemon.stage_dir / self.daemon.mark), "in_memory": True, "size_mib": self.size_mib}, staging)
        manifest = self.daemon.tiny_manifest(read_only=False)
        with open(self.daemon.images / "rootfs.img", "r+b") as file:
            file.truncate(32 << 20)  # a hole, which takes nothing yet
        self.ok(self.c.post("/images", {"manifest": manifest}, wait=20), 201)
        self.create("first")
        self.assertEqual(({"total": 48, "reserved": 32, "free": 16}, 32 + 96), (self.capacity("disk_mib"), self.reserved()))
        problem = self.refused(self.c.post("/vms", self.body()), 409, LACK, "/image")
        self.assertIn("32 MiB for writable drives asked for, 32 of 48 reserved, 16 free", problem["detail"])
        self.forget("first")
        self.assertEqual((0, 0), (self.reserved("disk_mib"), self.reserved()))


class DefaultsTest(ThemeCase):
    """Without a word about it in the configuration."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon.stop()
        del cls.daemon.config["capacity"]
        cls.daemon.start()

    def test_what_there_is(self):
        host = self.c.json("/host")
        capacity = host["capacity"]
        self.assertEqual(host["memory_mib"] - max(256, host["memory_mib"] // 16), capacity["memory_mib"]["total"])
        self.assertEqual((16, host["cpus"] * 16), (capacity["vcpu_factor"], capacity["vcpus"]["total"]))
        for name in ("memory_mib", "disk_mib", "vcpus", "addresses", "bridge_ports"):
            figures = capacity[name]
            self.assertEqual(figures["total"], figures["reserved"] + figures["free"], name)
            self.assertGreater(figures["total"], 0, name)
        self.create()


NO_IO = {"read_bytes_per_s": 0, "write_bytes_per_s": 0, "read_ops_per_s": 0, "write_ops_per_s": 0}
NO_LIMITS = {"cpu_percent": 0, "cpu_weight": 100, "io": NO_IO}


class LimitsTest(ThemeCase):
    """What is wanted, and what the host can give of it; tests/box/scenarios/cgroup.py shows limits at work."""

    def controllers(self):
        return set(self.c.json("/host")["cgroup"]["controllers"])

    def test_they_are_shown_with_their_defaults(self):
        self.assertEqual(NO_LIMITS, self.create()["limits"])
        asked = {"cpu_percent": 150, "io": {"write_ops_per_s": 7}}
        vm = self.create(limits=asked)
        self.assertEqual({"cpu_percent": 150, "cpu_weight": 100, "io": {**NO_IO, "write_ops_per_s": 7}}, vm["limits"])
        self.daemon.restart()
        self.assertEqual(vm["limits"], self.vm(vm["id"])["limits"])

    def test_a_patch_merges_them_and_reaches_the_vm_that_runs(self):
        vm = self.create(limits={"cpu_percent": 50, "cpu_weight": 7, "io": {"read_bytes_per_s": 1 << 40}})
        changed = self.ok(self.c.patch(f"/vms/{vm['id']}", {"limits": {"cpu_percent": 75, "io": {"read_ops_per_s": 5}}}, wait=10))
        self.assertEqual({"cpu_percent": 75, "cpu_weight": 7, "io": {**NO_IO, "read_bytes_per_s": 1 << 40, "read_ops_per_s": 5}}, changed["limits"])
        self.assertEqual((vm["vmm"]["pid"], []), (changed["vmm"]["pid"], changed["pending_reboot"]))
        self.assertEqual(changed["generation"], changed["observed_generation"])
        if "cpu" in self.controllers():
            self.assertEqual((75, 7), (changed["vmm"]["limits"]["cpu_percent"], changed["vmm"]["limits"]["cpu_weight"]))
        back = self.ok(self.c.patch(f"/vms/{vm['id']}", {"limits": {"cpu_weight": None, "io": None}}, wait=10))
        self.assertEqual({"cpu_percent": 75, "cpu_weight": 100, "io": NO_IO}, back["limits"])
        self.assertEqual(NO_LIMITS, self.ok(self.c.patch(f"/vms/{vm['id']}", {"limits": None}, wait=10))["limits"])
        self.assertEqual([], self.c.json("/drift")["items"])

    def test_what_the_host_can_not_give_is_told(self):
        """Which controllers there are, the host decides: each answer is right for its own."""
        there = self.controllers()
        vm = self.create(limits={"cpu_percent": 50, "io": {"read_ops_per_s": 5}})
        limits, condition = vm["vmm"]["limits"], self.condition(vm, "limits")
        self.assertEqual("cpu" in there, limits["cpu_percent"] is not None)
        if {"cpu", "io"} <= there:
            self.assertIn((condition["status"], condition["reason"]), (("true", "in_force"), ("false", "no_block_device")))
        else:
            self.assertEqual(("false", "no_controller"), (condition["status"], condition["reason"]))
            for name in ("cpu", "io"):
                self.assertEqual(name not in there, f" {name}" in condition["message"].split(":")[0], condition["message"])
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"limits": None}, wait=10))
        self.assertNotIn("limits", [entry["type"] for entry in self.vm(vm["id"])["conditions"]])
        self.assertNotIn("limits", [entry["type"] for entry in self.create()["conditions"]])

    def test_beyond_what_they_can_be(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        for limits, pointer in (({"cpu_percent": -1}, "/limits/cpu_percent"), ({"cpu_percent": 100001}, "/limits/cpu_percent"), ({"cpu_weight": 0}, "/limits/cpu_weight"),
                                ({"cpu_weight": 10001}, "/limits/cpu_weight"), ({"io": {"read_bytes_per_s": (1 << 40) + 1}}, "/limits/io/read_bytes_per_s"),
                                ({"io": {"write_ops_per_s": 10**9 + 1}}, "/limits/io/write_ops_per_s"), ({"io": {"x": 1}}, "/limits/io/x"), ({"x": 1}, "/limits/x"),
                                ([], "/limits")):
            with self.subTest(limits):
                self.refused(self.c.post("/vms", self.body(limits=limits)), 400, "INVALID_CONFIG", pointer)
                self.refused(self.c.patch(f"/vms/{vm}", {"limits": limits}), 400, "INVALID_CONFIG", pointer)
        self.assertEqual(NO_LIMITS, self.vm(vm)["limits"])
