"""Life of VMs with real Firecrackers: made, started, paused, stopped, rebooted, ended, deleted."""

import os
import threading
import time
from pathlib import Path

from harness import ThemeCase, eventually, is_alive, limit


class LifeTest(ThemeCase):
    def test_create_runs_and_says_so(self):
        vm = self.create(labels={"a": "b"})
        self.assertEqual(("running", "running", "tiny", {"a": "b"}), tuple(vm[k] for k in ("state", "desired_state", "image", "labels")))
        self.assertEqual({"vcpu_count": 1, "mem_size_mib": 32}, vm["machine_config"])
        self.assertEqual(vm["generation"], vm["observed_generation"])
        vmm = vm["vmm"]
        self.assertEqual(("firecracker", "firecracker", "kvm"), tuple(vmm[k] for k in ("requested", "driver", "accelerator")))
        self.assertRegex(vmm["version"], r"^\d+\.\d+\.\d+$")
        self.assertTrue(vmm["reason"])
        self.assertTrue(is_alive(vmm["pid"]))
        self.assertIn(b"firecracker", Path(f"/proc/{vmm['pid']}/cmdline").read_bytes())
        self.assertEqual("true", self.condition(vm, "process")["status"])
        self.assertIn(b"tiny: up", self.await_console(vm["id"], b"tiny: up"))

    def test_timings_tell_each_operation(self):
        vm = self.create()
        operations = [entry["operation"] for entry in vm["timings"]]
        for name in ("create_tap", "prepare_vmm", "spawn_vmm", "await_vmm"):
            self.assertIn(name, operations)
        starts = [entry["at_us"] for entry in vm["timings"]]
        self.assertEqual(sorted(starts), starts)
        self.assertTrue(all(entry["duration_us"] >= 0 for entry in vm["timings"]))

    def test_create_without_an_id_makes_one(self):
        body = self.body()
        del body["id"]
        reply = self.c.post("/vms", body, wait=15)
        self.ok(reply, 201)
        self.addCleanup(self.forget, reply.json["id"])
        self.assertRegex(reply.json["id"], r"^[a-z0-9][a-z0-9-]{0,62}$")
        self.assertEqual(f"/vms/{reply.json['id']}", reply.headers["Location"])

    def test_defaults(self):
        vm = self.new_id()
        self.addCleanup(self.forget, vm)
        reply = self.c.post("/vms", {"id": vm, "image": "tiny", "desired_state": "stopped"}, wait=15)
        made = self.ok(reply, 201)
        self.assertEqual({"vcpu_count": 1, "mem_size_mib": 128}, made["machine_config"])
        self.assertEqual(("stopped", "", {}, False, "auto"),
                         (made["state"], made["boot_args"], made["labels"], made["autostart"], made["vmm"]["requested"]))

    def test_create_stopped_then_start(self):
        vm = self.create(desired_state="stopped", state="stopped")
        self.assertIsNone(vm["vmm"]["pid"])
        started = self.act(vm["id"], "start")
        self.assertEqual("running", started["state"])
        self.assertTrue(is_alive(started["vmm"]["pid"]))

    def test_create_paused(self):
        vm = self.create(desired_state="paused", state="paused")
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.assertEqual("running", self.act(vm["id"], "resume")["state"])

    def test_create_with_the_longest_id(self):
        vm = self.create(vm="a" * 63)
        self.assertEqual("a" * 63, self.vm(vm["id"])["id"])

    def test_eight_interfaces(self):
        vm = self.create(network_interfaces=[{"iface_id": f"eth{n}"} for n in range(8)])
        interfaces = vm["network_interfaces"]
        self.assertEqual([f"eth{n}" for n in range(8)], [i["iface_id"] for i in interfaces])
        for field in ("tap", "mac", "ip"):
            self.assertEqual(8, len({i[field] for i in interfaces}))

    def test_no_interface(self):
        self.assertEqual([], self.create(network_interfaces=[])["network_interfaces"])

    def test_more_processors_and_memory(self):
        vm = self.create(machine_config={"vcpu_count": 4, "mem_size_mib": 256})
        self.assertEqual({"vcpu_count": 4, "mem_size_mib": 256}, vm["machine_config"])

    def test_pause_and_resume(self):
        vm = self.create(mode="spin")
        pid = vm["vmm"]["pid"]
        self.assertEqual("paused", self.act(vm["id"], "pause")["state"])
        before = _cpu_ticks(pid)
        time.sleep(0.2)
        self.assertLessEqual(_cpu_ticks(pid) - before, 3)
        resumed = self.act(vm["id"], "resume")
        self.assertEqual(("running", pid), (resumed["state"], resumed["vmm"]["pid"]))
        before = _cpu_ticks(pid)
        eventually(lambda: _cpu_ticks(pid) - before > 3, "CPU time of a guest that spins")

    def test_graceful_stop(self):
        vm = self.create(mode="ctrlaltdel")
        self.await_console(vm["id"], b"waiting")
        with self.quick(2):
            stopped = self.act(vm["id"], "stop", {"timeout_seconds": 30})
        self.assertEqual(("stopped", "graceful"), (stopped["state"], stopped["last_exit"]["tier"]))
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.assertIsNone(stopped["vmm"]["pid"])
        self.assertIn(b"tiny: ctrl-alt-del", self.c.get(f"/vms/{vm['id']}/console").body)

    def test_forced_stop(self):
        vm = self.create(mode="halt")
        begin = time.monotonic()
        stopped = self.act(vm["id"], "stop", {"timeout_seconds": 1})
        self.assertEqual(("stopped", "forced"), (stopped["state"], stopped["last_exit"]["tier"]))
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertLess(time.monotonic() - begin, 4)

    def test_stop_uses_the_configured_deadline(self):
        vm = self.create(mode="halt")
        begin = time.monotonic()
        self.assertEqual("forced", self.act(vm["id"], "stop")["last_exit"]["tier"])
        self.assertGreater(time.monotonic() - begin, 1.8)

    def test_stop_at_once(self):
        vm = self.create()
        with self.quick(2):
            self.assertIn(self.act(vm["id"], "stop", {"timeout_seconds": 0})["last_exit"]["tier"], ("forced", "killed"))

    def test_kill_during_a_stop_that_takes_long(self):
        vm = self.create()
        self.assertEqual("stopping", self.await_stopping(vm["id"])["state"])
        with self.quick(2):
            self.assertEqual("stopped", self.act(vm["id"], "kill")["state"])

    def await_stopping(self, vm):
        self.ok(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 60}), 202)
        return self.await_vm(vm, lambda v: v["state"] == "stopping")

    def test_stop_of_a_paused_vm(self):
        vm = self.create(desired_state="paused", state="paused")
        self.assertEqual("stopped", self.act(vm["id"], "stop", {"timeout_seconds": 1})["state"])

    def test_kill(self):
        vm = self.create()
        with self.quick(2):
            killed = self.act(vm["id"], "kill")
        self.assertEqual(("stopped", "killed"), (killed["state"], killed["last_exit"]["tier"]))
        self.assertFalse(is_alive(vm["vmm"]["pid"]))

    def test_reboot(self):
        vm = self.create(mode="ctrlaltdel")
        self.await_console(vm["id"], b"waiting")
        rebooted = self.act(vm["id"], "reboot")
        self.assertEqual("running", rebooted["state"])
        self.assertNotEqual(vm["vmm"]["pid"], rebooted["vmm"]["pid"])
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.assertEqual(vm["network_interfaces"], rebooted["network_interfaces"])
        eventually(lambda: self.c.get(f"/vms/{vm['id']}/console").body.count(b"tiny: up") == 2, "both boots on the console")

    def test_reboot_of_a_guest_that_does_not_listen(self):
        vm = self.create(mode="halt")
        rebooted = self.act(vm["id"], "reboot", {"timeout_seconds": 0})
        self.assertEqual("running", rebooted["state"])
        self.assertNotEqual(vm["vmm"]["pid"], rebooted["vmm"]["pid"])

    def test_a_guest_that_ends_by_itself(self):
        for mode in ("reset", "triple"):
            with self.subTest(mode):
                vm = self.body(mode=mode)
                self.addCleanup(self.forget, vm["id"])
                self.ok(self.c.post("/vms", vm), 201)
                ended = self.await_vm(vm["id"], lambda v: v["state"] == "stopped" and v["last_exit"] is not None)
                self.assertEqual("guest", ended["last_exit"]["tier"])
                self.assertEqual("stopped", ended["desired_state"])
                self.assertEqual("running", self.act_unchecked(vm["id"]))

    def act_unchecked(self, vm):
        """A start of a guest that ends at once: what is wanted, whatever became of it by now."""
        reply = self.c.post(f"/vms/{vm}/start", wait=0)
        self.assertIn(reply.status, (200, 202), repr(reply))
        return reply.json["desired_state"]

    def test_a_vmm_that_is_killed_by_hand(self):
        vm = self.create()
        os.kill(vm["vmm"]["pid"], 9)
        ended = self.await_vm(vm["id"], lambda v: v["state"] in ("stopped", "failed"))
        self.assertEqual("lost", ended["last_exit"]["tier"])
        self.assertIn("signal 9", ended["last_exit"]["message"])
        self.assertEqual("running", self.act(vm["id"], "start")["state"])

    def test_a_kernel_panic_is_a_condition(self):
        vm = self.create(mode="die")
        dead = self.await_vm(vm["id"], lambda v: any(c["type"] == "guest" and c["status"] == "false" for c in v["conditions"]))
        condition = self.condition(dead, "guest")
        self.assertEqual("panicked", condition["reason"])
        self.assertIn("Kernel panic", condition["message"])

    def test_delete(self):
        vm = self.create()
        self.ok(self.c.delete(f"/vms/{vm['id']}", wait=15), 204)
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        self.refused(self.c.get(f"/vms/{vm['id']}"), 404, "NOT_FOUND")
        self.refused(self.c.delete(f"/vms/{vm['id']}"), 404, "NOT_FOUND")
        self.daemon.await_no_leaks()

    def test_delete_without_waiting(self):
        vm = self.create()
        reply = self.c.delete(f"/vms/{vm['id']}")
        self.assertIn(reply.status, (202, 204))
        eventually(lambda: self.c.get(f"/vms/{vm['id']}").status == 404, "deletion")

    def test_delete_in_every_state(self):
        for desired in ("stopped", "paused", "running"):
            with self.subTest(desired):
                vm = self.create(desired_state=desired, state=desired)
                self.ok(self.c.delete(f"/vms/{vm['id']}", wait=15), 204)
        vm = self.create()
        self.await_stopping(vm["id"])
        self.ok(self.c.delete(f"/vms/{vm['id']}", wait=15), 204)
        self.daemon.await_no_leaks()

    def test_an_id_can_be_used_again(self):
        vm = self.create()
        self.forget(vm["id"])
        again = self.create(vm=vm["id"])
        self.assertEqual((1, "running"), (again["generation"], again["state"]))
        self.assertNotEqual(vm["vmm"]["pid"], again["vmm"]["pid"])

    def test_a_writable_drive_is_staged_and_the_base_never_written(self):
        self.daemon.add_tiny("writable", read_only=False)
        vm = self.create(image="writable")
        self.assertEqual([(True, False, True)], [(d["is_root_device"], d["is_read_only"], d["ephemeral"]) for d in vm["drives"]])
        staged = [p for p in self.daemon.stage_dir.rglob("*") if p.is_file()]
        self.assertEqual(1, len(staged))
        self.assertEqual(Path(self.daemon.images / "rootfs.img").read_bytes(), staged[0].read_bytes())
        self.assertEqual(0o700, staged[0].parent.stat().st_mode & 0o777)
        self.act(vm["id"], "kill")
        self.assertEqual([], [p for p in self.daemon.stage_dir.rglob("*") if p.is_file()])

    def test_a_read_only_drive_stays_in_place(self):
        drives = self.create()["drives"]
        self.assertEqual([(True, True, False)], [(d["is_root_device"], d["is_read_only"], d["ephemeral"]) for d in drives])
        self.assertEqual([], [p for p in self.daemon.stage_dir.rglob("*") if p.is_file()])

    def test_runtime_directories_are_for_root_only(self):
        vm = self.create()
        directory = self.daemon.run_dir / "vm" / vm["id"]
        self.assertEqual((0o700, 0), (directory.stat().st_mode & 0o777, directory.stat().st_uid))

    @limit(90)
    def test_thirty_at_once(self):
        ids = [self.new_id() for _ in range(30)]
        replies = []

        def make(vm):
            replies.append(self.c.post("/vms", self.body(vm), wait=40))

        threads = [threading.Thread(target=make, args=(vm,)) for vm in ids]
        for vm in ids:
            self.addCleanup(self.forget, vm)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([(201, "running")] * 30, [(r.status, r.json.get("state")) for r in replies])
        self.assertEqual(30, len({r.json["network_interfaces"][0]["ip"] for r in replies}))
        self.assertEqual(30, len({r.json["vmm"]["pid"] for r in replies}))
        for vm in ids:
            self.c.delete(f"/vms/{vm}")
        eventually(lambda: not self.c.items("/vms"), "the deletion of all", 20)
        self.daemon.await_no_leaks()


def _cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
