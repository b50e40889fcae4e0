"""
`?dry_run=true` of every write: nothing of the database, the events or the host differs afterwards, and the plan that it shows is the plan that is
applied. What is applied tells the daemon itself: in a build with faults it records each operation of a plan as it begins (core/fault.h).
"""

import http.client
import json
import os
import re
import sqlite3
import time
from collections import Counter
from contextlib import contextmanager

from harness import OwnDaemonCase, ThemeCase, eventually, limit, unix_socket
from spec import SPEC
from test_events import stored
from wireguard import new_key, new_name

READS = {"traceFirewall"}  # a POST that writes nothing
AREAS = {"vm": "/vms/", "network": "/network", "wireguard": "/network/wireguard", "firewall": "/firewall"}
ACTIONS = ("start", "stop", "kill", "pause", "resume", "reboot")
VOLATILE = ("handle", "hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "tentative")


def writes():
    """Each operation of openapi.yaml that writes, with its parameters."""
    for path, item in SPEC.document["paths"].items():
        for method, operation in item.items():
            if method in ("put", "post", "patch", "delete") and operation["operationId"] not in READS:
                given = [SPEC.resolve(p) for p in item.get("parameters", []) + operation.get("parameters", [])]
                yield operation, {p["name"]: p for p in given}


def without_volatile(value):
    if isinstance(value, dict):
        return {key: without_volatile(inner) for key, inner in value.items() if key not in VOLATILE}
    return [without_volatile(inner) for inner in value] if isinstance(value, list) else value


class VmmClient:
    """Firecracker's API, past the daemon."""

    def __init__(self, path):
        self.connection = http.client.HTTPConnection("localhost")
        self.connection.sock = unix_socket(str(path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def patch(self, path, body):
        self.connection.request("PATCH", path, json.dumps(body), {"Content-Type": "application/json", "Accept": "application/json"})
        return self.connection.getresponse().status


class DryRunWords:
    """For a test with self.daemon."""

    def rows(self):
        """All that is stored, counters of keys included."""
        path = self.daemon.base / "state" / "db" / "smartvm.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return list(db.iterdump())

    def host(self):
        netns = self.daemon.netns
        files = [str(p) for root in (self.daemon.run_dir, self.daemon.stage_dir) for p in sorted(root.rglob("*")) if not p.name.startswith("fault")]
        return {
            "links": without_volatile(json.loads(netns.ip("-j", "-d", "address", "show"))),
            "ruleset": without_volatile(json.loads(netns.run("nft", "-s", "-j", "list", "ruleset"))),
            "rules": json.loads(netns.ip("-j", "rule")),
            "routes": [r for r in json.loads(netns.ip("-j", "route", "show", "table", "all")) if not r["dst"].startswith(("fe80", "ff00"))],
            "processes": netns.pids(),
            "files": files,
        }

    def everything(self):
        return {"rows": self.rows(), "events": stored(self.c), **self.host()}

    @contextmanager
    def nothing_changes(self):
        self.rest()
        before = self.everything()
        yield
        after = self.everything()
        for part, value in before.items():
            self.assertEqual(value, after[part], f"{part} changed")

    def rest(self):
        """KVM is measured some time after the start, and then everything is looked at once more."""
        eventually(lambda: self.c.json("/host")["kvm"]["usable"] is not None, "the measurement of KVM", 20)
        eventually(self.is_quiet, "rest", 15)

    def is_quiet(self):
        before = self.rows()
        time.sleep(0.15)
        return before == self.rows()

    def set_fault(self, line):
        path = self.daemon.run_dir / "fault"
        path.unlink(missing_ok=True)
        new = path.with_suffix(".new")
        new.write_text(line + "\n")
        os.chmod(new, 0o666)
        os.rename(new, path)

    def clear_fault(self):
        (self.daemon.run_dir / "fault").unlink(missing_ok=True)

    def applied(self, work):
        """The operations that the worker begins while `work` goes on, by area."""
        log = self.daemon.run_dir / "fault.log"
        log.write_text("")
        os.chmod(log, 0o666)
        self.set_fault("record")
        try:
            work()
        finally:
            self.clear_fault()
        found = {}
        for role, point in (line.split() for line in log.read_text().splitlines()):
            area, _, name = point.partition(".")
            if role == "worker":
                found.setdefault(area, []).append(name)
        return found

    def plan(self, method, path, body=None, status=200, **kw):
        with self.nothing_changes():
            reply = self.c.request(method, path, body, dry_run="true", **kw)
        return self.ok(reply, status)["plan"]

    @staticmethod
    def of_area(plan, area):
        prefix = AREAS[area]
        named = [op for op in plan["operations"] if (op["resource"].startswith(prefix) if prefix.endswith("/") else op["resource"] == prefix)]
        return [op["operation"] for op in named]

    def compare(self, plan, applied, *areas):
        for area in areas:
            done = applied.get(area, [])
            if done[:2] == ["shutdown_guest", "kill_vmm"] and any("kill_vmm" in text for text in plan["notes"]):
                del done[1]  # Firecracker can outlive its guest, and is buried then: the plan says so, in words
            self.assertEqual(self.of_area(plan, area), done, f"{area}: planned and applied differ; {plan['notes']}\n{self.daemon.log_tail()}")

    def settle(self, vm):
        eventually(lambda: self.daemon.settled(vm), f"{vm} at rest", 15)


class DocumentTest(ThemeCase, DryRunWords):
    """Walks openapi.yaml."""

    def test_every_write_has_it(self):
        count = 0
        for operation, parameters in writes():
            name = operation["operationId"]
            self.assertIn("dry_run", parameters, f"{name} writes, and can't be tried out")
            self.assertEqual({"type": "boolean", "default": False}, parameters["dry_run"]["schema"], name)
            schema = SPEC.resolve(SPEC.resolve(operation["responses"]["200"])["content"]["application/json"]["schema"])
            self.assertEqual("#/components/schemas/Plan", schema["properties"]["plan"]["$ref"], f"{name} does not answer with a plan")
            count += 1
        self.assertGreater(count, 20)

    def test_no_read_has_it(self):
        for path, item in SPEC.document["paths"].items():
            names = [SPEC.resolve(p)["name"] for p in item.get("get", {}).get("parameters", [])]
            self.assertNotIn("dry_run", names, path)

    def test_every_write_is_tried_here(self):
        text = open(__file__, encoding="utf-8").read()
        tried = set(re.findall(r"# tries (\w+)", text)) | {f"{action}Vm" for action in ACTIONS}
        self.assertEqual({operation["operationId"] for operation, _ in writes()}, tried)


class VmTest(ThemeCase, DryRunWords):
    """Every write to a VM in every state."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self.clear_fault)

    # States

    def make(self, state, vm):
        self.addCleanup(self.forget, vm)
        body = self.body(vm, "ctrlaltdel")
        if state == "failed":
            self.set_fault("worker vm.spawn_vmm 0 1 fail")
            self.assertGreaterEqual(self.c.post("/vms", body, wait=15).status, 400)
            self.clear_fault()
        elif state == "starting":
            self.set_fault("worker vm.stage_drives 0 1 hang")
            self.ok(self.c.post("/vms", body), 201)
            self.await_vm(vm, lambda seen: seen["state"] == "starting")
            return
        else:
            self.ok(self.c.post("/vms", body, wait=15), 201)
            self.await_console(vm, b"tiny: up")
            if state == "paused":
                self.act(vm, "pause")
            elif state == "stopped":
                self.act(vm, "stop")
        self.settle(vm)
        self.assertEqual(state, self.vm(vm)["state"])

    def writes_to(self, vm):
        for action in ACTIONS:
            yield action, ("POST", f"/vms/{vm}/{action}", None)
        yield "delete", ("DELETE", f"/vms/{vm}", None)  # tries deleteVm
        yield "want running", ("PATCH", f"/vms/{vm}", {"desired_state": "running"})  # tries patchVm
        yield "want stopped", ("PATCH", f"/vms/{vm}", {"desired_state": "stopped"})
        yield "want paused", ("PATCH", f"/vms/{vm}", {"desired_state": "paused"})
        yield "labels", ("PATCH", f"/vms/{vm}", {"labels": {"a": "b"}})

    def try_and_do(self, vm, request):
        method, path, body = request
        with self.nothing_changes():
            tried = self.c.request(method, path, body, dry_run="true")
        replies = []
        applied = self.applied(lambda: self.do(replies, vm, request))
        real = replies[0]
        if tried.status >= 400:
            self.assertEqual((tried.status, tried.code, tried.json["detail"]), (real.status, real.code, real.json["detail"]))
            return
        self.assertEqual(200, tried.status, repr(tried))
        plan = tried.json["plan"]
        self.assertEqual(plan["status"], replies[0].status, repr(real))
        self.compare(plan, applied, "vm")
        for key in ("id", "image", "desired_state", "machine_config", "network_interfaces", "labels", "generation"):
            self.assertEqual(tried.json[key], real.json[key], key)

    def do(self, replies, vm, request):
        replies.append(self.c.request(*request))
        if replies[0].status >= 400:
            return
        if request[0] == "DELETE":
            eventually(lambda: self.c.get(f"/vms/{vm}").status == 404, "the end of the VM", 15)
        else:
            self.settle(vm)

    def check_state(self, state):
        for name, _ in list(self.writes_to("x")):
            with self.subTest(f"{name} of a VM that is {state}"):
                vm = self.new_id()
                self.make(state, vm)
                self.try_and_do(vm, dict(self.writes_to(vm))[name])
                self.forget(vm)

    @limit(120)
    def test_running(self):
        self.check_state("running")

    @limit(120)
    def test_paused(self):
        self.check_state("paused")

    @limit(120)
    def test_stopped(self):
        self.check_state("stopped")

    @limit(120)
    def test_failed(self):
        self.check_state("failed")

    @limit(120)
    def test_starting(self):
        """The plan waits for the start that is under way, and so does what is planned."""
        for action in ("stop", "kill", "delete"):
            with self.subTest(action):
                vm = self.new_id()
                self.make("starting", vm)
                request = dict(self.writes_to(vm))[action]
                method, path, body = request
                before = stored(self.c)
                plan = self.ok(self.c.request(method, path, body, dry_run="true"))["plan"]
                self.clear_fault()
                self.settle(vm)
                self.assertEqual("running", self.vm(vm)["desired_state"])
                self.assertEqual([], [e for e in stored(self.c)[len(before):] if vm in e["data"]["resource"] and e["event"] != "vm.state"])
                self.await_console(vm, b"tiny: up")
                replies = []
                applied = self.applied(lambda: self.do(replies, vm, request))
                self.compare(plan, applied, "vm")
                self.forget(vm)

    @limit(120)
    def test_creation(self):
        """# tries createVm"""
        for desired in ("running", "stopped", "paused"):
            with self.subTest(desired):
                vm = self.new_id()
                self.addCleanup(self.forget, vm)
                body = self.body(vm, "ctrlaltdel", desired_state=desired, ports=[{"host_port": 0, "guest_port": 80}])
                with self.nothing_changes():
                    tried = self.ok(self.c.post("/vms", body, dry_run="true"))
                self.refused(self.c.get(f"/vms/{vm}"), 404, "NOT_FOUND")
                replies = []
                applied = self.applied(lambda: (replies.append(self.c.post("/vms", body)), self.settle(vm)))
                made = self.ok(replies[0], 201)
                self.assertEqual(201, tried["plan"]["status"])
                self.compare(tried["plan"], applied, "vm")
                self.assertEqual(tried["network_interfaces"], made["network_interfaces"])
                self.assertEqual(tried["ports"], made["ports"])
                taps = [op["target"] for op in tried["plan"]["operations"] if op["operation"] == "create_tap"]
                self.assertEqual([i["tap"] for i in made["network_interfaces"]] if desired != "stopped" else [], taps)
                self.forget(vm)

    def test_published_ports(self):
        vm = self.create(mode="ctrlaltdel")["id"]
        body = {"ports": [{"host_port": 18080, "guest_port": 80}]}
        plan = self.plan("PATCH", f"/vms/{vm}", body)
        self.assertEqual(["set_ports"], self.of_area(plan, "vm"))
        applied = self.applied(lambda: self.ok(self.c.patch(f"/vms/{vm}", body, wait=10)))
        self.compare(plan, applied, "vm")

    def test_nothing_to_do(self):
        vm = self.create()["id"]
        plan = self.plan("PATCH", f"/vms/{vm}", {"desired_state": "running"})
        self.assertEqual((False, []), (plan["changes"], plan["operations"]))
        self.assertTrue(plan["notes"])

    def test_a_guest_that_may_not_listen(self):
        vm = self.create(mode="halt")["id"]
        plan = self.plan("POST", f"/vms/{vm}/stop", {"timeout_seconds": 7})
        self.assertEqual("shutdown_guest", plan["operations"][0]["operation"])
        self.assertTrue([text for text in plan["notes"] if "7 s" in text and "kill_vmm" in text], plan)

    def test_the_console(self):
        """# tries writeConsole"""
        vm = self.create(mode="echo")["id"]
        self.await_console(vm, b"tiny: up")
        before = self.c.get(f"/vms/{vm}/console").body
        plan = self.plan("POST", f"/vms/{vm}/console", b"hello\n", headers={"Content-Type": "application/octet-stream"})
        self.assertEqual((204, []), (plan["status"], plan["operations"]))
        self.assertEqual(before, self.c.get(f"/vms/{vm}/console").body)
        self.act(vm, "kill")
        typed = {"headers": {"Content-Type": "application/octet-stream"}}
        self.refused(self.c.post(f"/vms/{vm}/console", b"x", dry_run="true", **typed), 409, "INVALID_STATE")


class RefusalTest(ThemeCase, DryRunWords):
    """All that a true write is refused for, a dry run is, too."""

    def test_as_the_true_one(self):
        vm = self.create(self.new_id())["id"]
        etag = self.c.get(f"/vms/{vm}").etag
        self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"new": "1"}}, wait=5))
        many = {"id": self.new_id(), "image": "tiny", "machine_config": {"vcpu_count": 3, "mem_size_mib": 1 << 20}, "unknown": 1}
        requests = [
            ("POST", "/vms", many, {}),
            ("POST", "/vms", self.body(vm), {}),
            ("POST", "/vms", self.body(image="none"), {}),
            ("POST", "/vms", self.body(machine_config={"mem_size_mib": 1 << 20}), {}),
            ("PATCH", f"/vms/{vm}", {"machine_config": {"mem_size_mib": 1 << 20}}, {}),
            ("POST", f"/vms/{vm}/start", None, {}),
            ("POST", f"/vms/{vm}/stop", None, {"If-Match": etag}),
            ("DELETE", f"/vms/{vm}", None, {"If-Match": etag}),
            ("DELETE", "/vms/nobody", None, {}),
            ("DELETE", "/images/none", None, {}),
            ("POST", "/images", {"manifest": self.daemon.tiny_manifest("tiny")}, {}),
            ("POST", "/images", {"manifest_path": "/etc/passwd"}, {}),
            ("POST", "/images", {"manifest_path": str(self.daemon.images / "none.json")}, {}),
            ("PUT", "/firewall", {"egress": {"rules": [{"action": "deny", "to": "@none"}]}}, {}),
            ("PATCH", "/firewall", {}, {"If-Match": '"old"'}),
            ("DELETE", "/firewall/sets/none", None, {}),
            ("POST", "/firewall/confirm", None, {}),
            ("PATCH", "/network", {"subnet": "10.9.0.0/24"}, {}),
            ("PATCH", "/network", {"subnet": "10.9.0.0/24"}, {"If-Match": '"old"'}),
            ("DELETE", "/network/wireguard", None, {}),
            ("PUT", "/network/wireguard", {"existing_interface": "wg0", "route_table": 254}, {}),
        ]
        for method, path, body, headers in requests:
            with self.subTest(f"{method} {path}"), self.nothing_changes():
                tried = self.c.request(method, path, body, dict(headers), dry_run="true")
                real = self.c.request(method, path, body, dict(headers))
                self.assertGreaterEqual(real.status, 400, repr(real))
                self.assertEqual((real.status, real.code, real.json["detail"], real.json["errors"]),
                                 (tried.status, tried.code, tried.json["detail"], tried.json["errors"]))

    def test_a_read_has_none(self):
        self.refused(self.c.get("/vms", dry_run="true"), 400, "INVALID_REQUEST")
        self.refused(self.c.delete("/vms/a", dry_run="maybe"), 400, "INVALID_REQUEST")
        self.ok(self.c.post("/vms", self.body(), dry_run="true", wait=5))

    def test_a_key_is_neither_kept_nor_used(self):
        vm = self.new_id()
        self.addCleanup(self.forget, vm)
        key = {"Idempotency-Key": "dry-1"}
        with self.nothing_changes():
            self.ok(self.c.post("/vms", self.body(vm), headers=key, dry_run="true"))
        made = self.c.post("/vms", self.body(vm), headers=key, wait=15)
        self.ok(made, 201)
        self.refused(self.c.post("/vms", self.body(vm), headers=key, dry_run="true"), 409, "ALREADY_EXISTS")
        again = self.c.post("/vms", self.body(vm), headers=key)
        self.assertEqual(("true", made.json["id"]), (again.headers["Idempotency-Replayed"], again.json["id"]))

    def test_numbers_are_not_used_up(self):
        body = {"ids": [self.new_id() for _ in range(2)]}
        for vm in body["ids"]:
            self.addCleanup(self.forget, vm)
        for _ in range(5):
            plan = self.ok(self.c.post("/vms", self.body(body["ids"][0], desired_state="stopped"), dry_run="true"))
            repair = self.ok(self.c.post("/drift/repair", dry_run="true"))
        made = self.ok(self.c.post("/vms", self.body(body["ids"][0], desired_state="stopped"), wait=10), 201)
        self.assertEqual(plan["network_interfaces"], made["network_interfaces"])
        self.assertEqual(repair["id"], self.ok(self.c.post("/drift/repair", wait=10), 201)["id"])


class ImageTest(ThemeCase, DryRunWords):
    def parts(self, plan, operation):
        return [op["target"] for op in plan["operations"] if op["operation"] == operation]

    def test_import_and_deletion(self):
        """# tries createImage # tries deleteImage"""
        other = self.daemon.images / "other.elf"
        other.write_bytes((self.daemon.images / "tiny.elf").read_bytes() + b"\0")
        manifest = self.daemon.tiny_manifest("other") | {"kernel": {"path": str(other)}}
        path = self.daemon.images / "other.json"
        path.write_text(json.dumps(manifest))
        for body in ({"manifest": manifest}, {"manifest_path": str(path)}):
            with self.subTest(str(list(body))):
                plan = self.plan("POST", "/images", body)
                applied = self.applied(lambda: self.ok(self.c.post("/images", body, wait=20), 201))
                self.assertEqual(self.parts(plan, "import"), applied["image"])
                self.assertEqual(["kernel", "rootfs"], applied["image"])
                self.assertTrue([text for text in plan["notes"] if "not read" in text])
                plan = self.plan("DELETE", "/images/other")
                applied = self.applied(lambda: self.assertEqual(204, self.c.delete("/images/other", wait=20).status))
                self.assertEqual(["kernel"], self.parts(plan, "remove"), "the root file system is tiny's, too")
                self.assertEqual(["remove"] * 1, applied["image"])
                self.assertEqual("forget", plan["operations"][-1]["operation"])


class FirewallTest(ThemeCase, DryRunWords):
    DENY = {"egress": {"default_action": "deny", "rules": [{"action": "allow", "to": "192.0.2.0/24"}]}}

    def check(self, method, path, body=None, **query):
        plan = self.plan(method, path, body, **query)
        real = []

        def work():
            can_wait = path != "/firewall/confirm" and not (method == "DELETE" and "/sets/" in path)
            real.append(self.c.request(method, path, body, **query, **({"wait": 10} if can_wait else {})))
            eventually(self.is_quiet, "rest", 10)

        applied = self.applied(work)
        self.assertLess(real[0].status, 300, repr(real[0]))
        self.compare(plan, applied, "firewall")
        return plan

    @limit(120)
    def test_policies(self):
        """# tries putFirewall # tries patchFirewall # tries putVmFirewall # tries patchVmFirewall # tries deleteVmFirewall"""
        vm = self.create()["id"]
        plan = self.check("PUT", "/firewall", self.DENY)
        self.assertEqual(["change_policies", "cut_flows"], self.of_area(plan, "firewall"))
        self.assertTrue(plan["operations"][0]["found"])
        self.check("PATCH", "/firewall", {"ingress": {"default_action": "deny", "rules": []}})
        self.check("PUT", f"/vms/{vm}/firewall", self.DENY)
        self.check("PATCH", f"/vms/{vm}/firewall", {"ingress": {"default_action": "allow", "rules": []}})
        self.check("DELETE", f"/vms/{vm}/firewall")
        self.check("PUT", "/firewall", {})

    @limit(120)
    def test_what_is_larger_than_a_message(self):
        many = [f"10.{i // 125}.{i % 125 * 2}.0/24" for i in range(4000)]
        self.assertGreater(len(json.dumps(many)), 64 * 1024)
        self.check("PUT", "/firewall/sets/many", {"addresses": many})
        self.check("DELETE", "/firewall/sets/many")

    @limit(120)
    def test_sets_and_confirmation(self):
        """# tries putAddressSet # tries deleteAddressSet # tries confirmFirewall"""
        plan = self.check("PUT", "/firewall/sets/office", {"addresses": ["192.0.2.0/24"]})
        self.assertEqual("change_policies", plan["operations"][0]["operation"])
        self.check("PUT", "/firewall/sets/office", {"addresses": ["192.0.2.0/25"]}, confirm_within=60)
        self.check("POST", "/firewall/confirm")
        self.check("DELETE", "/firewall/sets/office")


class NetworkTest(OwnDaemonCase, DryRunWords):
    def check(self, body):
        plan = self.plan("PATCH", "/network", body)
        applied = self.applied(lambda: (self.ok(self.c.patch("/network", body, wait=10)), eventually(self.is_quiet, "rest", 10)))
        self.compare(plan, applied, "network")
        return plan

    @limit(120)
    def test_settings(self):
        """# tries patchNetwork"""
        plan = self.check({"masquerade": False})
        self.assertIn("apply_firewall", self.of_area(plan, "network"))
        self.check({"masquerade": None})
        self.check({"lease_quarantine_s": 5})
        self.assertIn("ensure_bridge", self.of_area(self.check({"subnet": "10.99.0.0/24"}), "network"))
        self.assertEqual((False, []), (self.plan("PATCH", "/network", {"subnet": "10.99.0.0/24"})["changes"], self.plan("PATCH", "/network", {})["operations"]))

    @limit(120)
    def test_wireguard(self):
        """# tries putWireguard # tries deleteWireguard"""
        name = new_name("wd")
        private, _ = new_key()
        peer = {"public_key": new_key()[1], "allowed_ips": ["0.0.0.0/0"], "endpoint": "198.51.100.1:51820"}
        body = {"interface": {"private_key": private, "addresses": ["10.77.0.2/24"]}, "peers": [peer], "interface_name": name}

        def check(method, given=None):
            plan = self.plan(method, "/network/wireguard", given)
            text = json.dumps(plan)
            self.assertNotIn(private, text)
            applied = self.applied(lambda: (self.assertLess(self.c.request(method, "/network/wireguard", given, wait=10).status, 300),
                                            eventually(self.is_quiet, "rest", 10)))
            self.compare(plan, applied, "wireguard", "network")
            return plan

        plan = check("PUT", body)
        self.assertIn("start", self.of_area(plan, "wireguard"))
        check("PUT", body | {"peers": [peer | {"persistent_keepalive": 25}]})
        self.assertIn("remove_tunnels", self.of_area(check("DELETE"), "wireguard"))

    @limit(60)
    def test_a_guest_that_somebody_paused(self):
        """By its VMM's own socket, which tells the daemon nothing: drift and a dry run of the repair see it, the repair resumes it."""
        vm = self.create()["id"]
        self.rest()
        with VmmClient(self.vmm_socket(vm)) as vmm:
            self.assertEqual(204, vmm.patch("/vm", {"state": "Paused"}))
        found = self.c.json("/drift")["items"]
        self.assertEqual([(f"/vms/{vm}", "resume_vmm")], [(item["resource"], item["operation"]) for item in found])
        plan = self.plan("POST", "/drift/repair")
        self.assertEqual(["resume_vmm"], self.of_area(plan, "vm"))
        applied = self.applied(lambda: self.ok(self.c.post("/drift/repair", wait=10), 201))
        self.compare(plan, applied, "vm")
        self.assertEqual([], self.c.json("/drift")["items"])

    @limit(120)
    def test_repairs(self):
        """# tries repairDrift"""
        vm = self.create()["id"]
        self.assertEqual([], self.plan("POST", "/drift/repair")["operations"])
        tap = self.vm(vm)["network_interfaces"][0]["tap"]
        # The repair hangs before it is made, so the drift stays for a while.
        self.set_fault("worker vm.repair_tap 0 1 hang")
        self.daemon.netns.ip("link", "set", tap, "down")
        found = eventually(lambda: self.ok(self.c.post("/drift/repair", dry_run="true"))["plan"]["operations"], "drift", 10)
        self.clear_fault()
        self.assertEqual([(f"/vms/{vm}", "repair_tap")], [(op["resource"], op["operation"]) for op in found])
        eventually(lambda: not self.c.json("/drift")["items"], "the repair", 10)
        self.assertEqual(Counter(), Counter(e["event"] for e in stored(self.c) if e["event"] == "drift.repair"))
