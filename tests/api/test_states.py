"""What states allow, ETags, changes by PATCH, and lists of VMs."""

import threading

from harness import ThemeCase, eventually


class StateTest(ThemeCase):
    """What a state does not allow, and what a client must not overwrite."""

    ACTIONS = {
        "stopped": {"start"},
        "running": {"stop", "kill", "pause", "reboot"},
        "paused": {"stop", "kill", "resume", "reboot"},
    }

    def test_actions_that_the_state_does_not_allow(self):
        for state, allowed in self.ACTIONS.items():
            vm = self.create(desired_state=state, state=state)["id"]
            for action in {"start", "stop", "kill", "pause", "resume", "reboot"} - allowed:
                with self.subTest(f"{action} when {state}"):
                    reply = self.c.post(f"/vms/{vm}/{action}")
                    problem = self.refused(reply, 409, "INVALID_STATE")
                    self.assertIn(state, problem["detail"])
                    for possible in allowed:
                        self.assertIn(possible, problem["detail"])
            self.assertEqual(state, self.vm(vm)["state"])

    def test_actions_on_a_vm_that_is_not_there(self):
        for action in ("start", "stop", "kill", "pause", "resume", "reboot"):
            self.refused(self.c.post(f"/vms/not-there/{action}"), 404, "NOT_FOUND")
        self.refused(self.c.patch("/vms/not-there", {"labels": {}}), 404, "NOT_FOUND")
        self.refused(self.c.get("/vms/not-there/console"), 404, "NOT_FOUND")
        self.refused(self.c.post("/vms/not-there/console", b"x", headers={"Content-Type": "text/plain"}), 404, "NOT_FOUND")

    def test_bad_stop_options(self):
        vm = self.create()["id"]
        for body in ({"timeout_seconds": -1}, {"timeout_seconds": 301}, {"timeout_seconds": "5"}, {"nothing": 1}, []):
            for action in ("stop", "reboot"):
                with self.subTest(f"{action} {body}"):
                    self.assertEqual(400, self.c.post(f"/vms/{vm}/{action}", body).status)
        self.assertEqual("running", self.vm(vm)["state"])

    def test_duplicate_id(self):
        vm = self.create()
        self.refused(self.c.post("/vms", self.body(vm["id"])), 409, "ALREADY_EXISTS")
        self.assertEqual(vm["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])

    def test_etag_changes_with_the_resource_only(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        first, second = self.c.get(f"/vms/{vm}").etag, self.c.get(f"/vms/{vm}").etag
        self.assertEqual(first, second)
        self.assertRegex(first, r'^(W/)?"[^"]+"$')
        patched = self.c.patch(f"/vms/{vm}", {"labels": {"a": "1"}})
        self.assertNotEqual(first, patched.etag)

    def test_if_match(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        old = self.c.get(f"/vms/{vm}").etag
        new = self.c.patch(f"/vms/{vm}", {"labels": {"a": "1"}}, headers={"If-Match": old}, wait=5).etag
        stale = {"If-Match": old}
        self.refused(self.c.patch(f"/vms/{vm}", {"labels": {"a": "2"}}, headers=stale), 412, "PRECONDITION_FAILED")
        self.refused(self.c.delete(f"/vms/{vm}", headers=stale), 412, "PRECONDITION_FAILED")
        for action in ("start", "stop", "kill", "pause", "resume", "reboot"):
            self.refused(self.c.post(f"/vms/{vm}/{action}", headers=stale), 412, "PRECONDITION_FAILED")
        self.assertEqual({"a": "1"}, self.vm(vm)["labels"])
        self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": "3"}}, headers={"If-Match": "*"}, wait=5))
        self.await_vm(vm, lambda v: v["observed_generation"] == v["generation"])  # which is a change of the resource, too
        listed = self.c.get(f"/vms/{vm}").etag
        self.assertNotEqual(new, listed)
        self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": "4"}}, headers={"If-Match": f'"x", {listed}'}, wait=5))
        self.refused(self.c.patch(f"/vms/{vm}", {"labels": {}}, headers={"If-Match": "no quotes"}), 412, "PRECONDITION_FAILED")

    def test_of_two_clients_that_change_one_etag_one_wins(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        etag = self.c.get(f"/vms/{vm}").etag
        statuses = []

        def change(n):
            reply = self.c.patch(f"/vms/{vm}", {"labels": {"n": str(n)}}, headers={"If-Match": etag}, wait=5)
            statuses.append(reply.status)

        threads = [threading.Thread(target=change, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([200] + [412] * 7, sorted(statuses))


class PatchTest(ThemeCase):
    def test_labels_are_merged(self):
        vm = self.create(desired_state="stopped", state="stopped", labels={"a": "1", "b": "2"})["id"]
        patched = self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": None, "c": "3"}}, wait=5))
        self.assertEqual({"b": "2", "c": "3"}, patched["labels"])

    def test_labels_of_a_running_vm_leave_it_alone(self):
        vm = self.create()
        patched = self.ok(self.c.patch(f"/vms/{vm['id']}", {"labels": {"a": "b"}}, wait=5))
        self.assertEqual(("running", vm["vmm"]["pid"]), (patched["state"], patched["vmm"]["pid"]))

    def test_the_number_of_labels_is_bounded_after_the_merge_too(self):
        vm = self.create(desired_state="stopped", state="stopped", labels={f"k{n}": "" for n in range(60)})["id"]
        reply = self.c.patch(f"/vms/{vm}", {"labels": {f"l{n}": "" for n in range(10)}})
        self.refused(reply, 400, "INVALID_CONFIG", "/labels")
        self.assertEqual(60, len(self.vm(vm)["labels"]))

    def test_desired_state(self):
        vm = self.create(mode="ctrlaltdel")
        self.await_console(vm["id"], b"waiting")
        for desired in ("paused", "running", "stopped", "running", "stopped", "paused"):
            with self.subTest(desired):
                patched = self.ok(self.c.patch(f"/vms/{vm['id']}", {"desired_state": desired}, wait=15))
                self.assertEqual((desired, desired), (patched["state"], patched["desired_state"]))

    def test_configuration_of_a_stopped_vm(self):
        vm = self.create(desired_state="stopped", state="stopped")
        change = {"machine_config": {"mem_size_mib": 64}, "boot_args": "tiny=die", "autostart": True}
        patched = self.ok(self.c.patch(f"/vms/{vm['id']}", change, wait=5))
        self.assertEqual(({"vcpu_count": 1, "mem_size_mib": 64}, "tiny=die", True),
                         tuple(patched[k] for k in ("machine_config", "boot_args", "autostart")))
        self.assertGreater(patched["generation"], vm["generation"])
        self.act(vm["id"], "start")
        self.await_console(vm["id"], b"panic")

    def test_configuration_of_a_running_vm_waits_for_its_next_boot(self):
        vm = self.create()
        path, pid = f"/vms/{vm['id']}", vm["vmm"]["pid"]
        self.assertEqual([], vm["pending_reboot"])
        change = {"machine_config": {"mem_size_mib": 64}, "boot_args": "tiny=ctrlaltdel", "labels": {"a": "b"}, "restart_policy": "never"}
        for _ in range(2):
            patched = self.ok(self.c.patch(path, change, wait=5))
            self.assertEqual((["machine_config", "boot_args"], 64, "tiny=ctrlaltdel", pid),
                             (patched["pending_reboot"], patched["machine_config"]["mem_size_mib"], patched["boot_args"], patched["vmm"]["pid"]))
        self.assertEqual(["machine_config", "boot_args"], self.vm(vm["id"])["pending_reboot"])
        self.assertEqual(["machine_config"], self.ok(self.c.patch(path, {"boot_args": vm["boot_args"]}, wait=5))["pending_reboot"])
        self.ok(self.c.patch(path, {"boot_args": "tiny=ctrlaltdel"}, wait=5))
        rebooted = self.act(vm["id"], "reboot")
        self.assertEqual([], rebooted["pending_reboot"])
        self.assertNotEqual(pid, rebooted["vmm"]["pid"])
        self.await_console(vm["id"], b"waiting")
        self.ok(self.c.patch(path, {"machine_config": None}, wait=5))
        self.assertEqual(["machine_config"], self.vm(vm["id"])["pending_reboot"])
        self.assertEqual([], self.act(vm["id"], "stop")["pending_reboot"])
        self.assertEqual(128, self.vm(vm["id"])["machine_config"]["mem_size_mib"])

    def test_bad_patches(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        before = self.c.get(f"/vms/{vm}")
        for body, pointer in (
            ({"id": "b"}, "/id"), ({"image": "b"}, "/image"), ({"state": "running"}, "/state"),
            ({"labels": {"-": "a"}}, "/labels"), ({"machine_config": {"vcpu_count": 3}}, "/machine_config/vcpu_count"),
            ({"network_interfaces": []}, "/network_interfaces"), ({"desired_state": None}, "/desired_state"),
        ):
            with self.subTest(str(body)):
                reply = self.c.patch(f"/vms/{vm}", body)
                self.refused(reply, 400, "INVALID_CONFIG")
                self.assertTrue(any(e["pointer"].startswith(pointer) for e in reply.json["errors"]), repr(reply))
        self.assertEqual(before.etag, self.c.get(f"/vms/{vm}").etag)

    def test_patches_that_change_nothing(self):
        """RFC 7396: an empty object changes nothing, and null removes; of labels it removes all."""
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        before = self.c.json(f"/vms/{vm}")
        self.assertEqual(before, self.ok(self.c.patch(f"/vms/{vm}", {}, wait=5)))
        self.assertEqual({"a": "1"}, self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": "1"}}, wait=5))["labels"])
        self.assertEqual({}, self.ok(self.c.patch(f"/vms/{vm}", {"labels": None}, wait=5))["labels"])

    def test_too_much_memory_by_patch(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        reply = self.c.patch(f"/vms/{vm}", {"machine_config": {"mem_size_mib": 1048576}})
        self.refused(reply, 409, "INSUFFICIENT_MEMORY")


class ListTest(ThemeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for n in range(7):
            body = {"id": f"v{n}", "image": "tiny", "desired_state": "stopped", "vmm": "firecracker",
                    "labels": {"n": str(n), "odd": "yes" if n % 2 else "no", **({"first": ""} if n == 0 else {})}}
            reply = cls.daemon.client.post("/vms", body, wait=10)
            if reply.status != 201:
                raise AssertionError(repr(reply))

    def ids(self, **query):
        return [vm["id"] for vm in self.c.items("/vms", **query)]

    def test_all_by_id(self):
        self.assertEqual([f"v{n}" for n in range(7)], self.ids())

    def test_pages(self):
        for size in (1, 2, 3, 7, 8):
            with self.subTest(size):
                self.assertEqual([f"v{n}" for n in range(7)], self.ids(limit=size))
        self.assertIsNone(self.c.json("/vms", limit=7)["next_cursor"])

    def test_pages_while_vms_come_and_go(self):
        first = self.c.json("/vms", limit=3)
        self.create(vm="aaa", desired_state="stopped", state="stopped")
        second = self.c.json("/vms", limit=3, cursor=first["next_cursor"])
        self.assertEqual(["v3", "v4", "v5"], [vm["id"] for vm in second["items"]])

    def test_by_label(self):
        self.assertEqual(["v1", "v3", "v5"], self.ids(label="odd=yes"))
        self.assertEqual(["v0"], self.ids(label="first"))
        self.assertEqual(["v0"], self.ids(label="first="))
        self.assertEqual(["v3"], self.ids(label=["odd=yes", "n=3"]))
        self.assertEqual([], self.ids(label="odd=maybe"))
        self.assertEqual([], self.ids(label=["n=1", "n=2"]))

    def test_by_label_over_pages(self):
        self.assertEqual(["v1", "v3", "v5"], self.ids(label="odd=yes", limit=1))

    def test_by_state(self):
        running = self.create(vm="zz")
        self.assertEqual(["zz"], self.ids(state="running"))
        self.assertEqual([f"v{n}" for n in range(7)], self.ids(state="stopped"))
        self.assertEqual([], self.ids(state="failed"))
        self.assertEqual([running["id"]], self.ids(state="running", limit=1))

    def test_an_item_is_the_resource(self):
        listed = {vm["id"]: vm for vm in self.c.items("/vms")}
        self.assertEqual(self.vm("v4"), listed["v4"])
