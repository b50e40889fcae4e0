"""
What openapi.yaml declares for many operations alike, walked through operation by operation, so that a new one can't be forgotten; and the answers that
need a daemon that is slow, has just begun, or whose disk is full.
"""

import os

import disks
from harness import SPEC, Case, Daemon, OwnDaemonCase, ThemeCase, VmWords, eventually, limit, run

BODY_BYTES = 256 * 1024  # LIMIT_BODY_BYTES of core/limits.h
POLICY = {"egress": {"default_action": "allow"}}
# A body that is accepted, for each operation that must have one and is refused for something else below.
BODIES = {
    "createVm": {"image": "tiny"},
    "patchVm": {"labels": {"a": "1"}},
    "putFirewall": POLICY,
    "patchFirewall": POLICY,
    "putAddressSet": {"addresses": []},
    "putVmFirewall": POLICY,
    "patchVmFirewall": POLICY,
    "patchNetwork": {"masquerade": True},
    "putWireguard": {"existing_interface": "wg-nowhere"},
}


def item_of(operation):
    return SPEC.document["paths"][operation.path]


def parameters_of(operation):
    item = item_of(operation)
    return {p["name"] for p in map(SPEC.resolve, item.get("parameters", []) + item[operation.method.lower()].get("parameters", []))}


def media_types(operation):
    return set(item_of(operation)[operation.method.lower()].get("requestBody", {}).get("content", {}))


def set_fault(daemon, line):
    """See core/fault.h. A new file each time, so that the daemon sees the change for sure."""
    new = daemon.run_dir / "fault.new"
    new.write_text(line + "\n")
    os.chmod(new, 0o666)
    os.rename(new, daemon.run_dir / "fault")


class PreconditionsTest(ThemeCase):
    """RFC 9110, section 13: what has not changed is not sent again, and what exists is not made."""

    def test_what_has_not_changed(self):
        self.create(vm="known", desired_state="stopped", state="stopped")
        self.ok(self.c.put("/firewall/sets/known", {"addresses": []}, wait=5))
        repair = self.c.post("/drift/repair", {}, wait=10).json["id"]
        self.c.put("/network/wireguard", {"existing_interface": "wg-nowhere"}, wait=5)
        self.addCleanup(lambda: self.c.delete("/network/wireguard", wait=5))
        for path in ("/images/tiny", "/vms/known", "/firewall", "/firewall/sets/known", "/vms/known/firewall", "/network", "/network/wireguard",
                     f"/drift/repairs/{repair}"):
            with self.subTest(path):
                eventually(lambda: self.c.get(path, headers={"If-None-Match": self.c.get(path).etag}).status == 304, path)
                self.assertEqual(304, self.c.get(path, headers={"If-None-Match": "*"}).status)
                self.assertEqual(200, self.c.get(path, headers={"If-None-Match": '"other"'}).status)

    def test_what_exists_is_not_made(self):
        self.create(vm="first", desired_state="stopped", state="stopped")
        only_new = {"If-None-Match": "*"}
        self.refused(self.c.post("/vms", self.body("first"), headers=only_new), 412, "PRECONDITION_FAILED")
        self.refused(self.c.post("/images", {"manifest": self.daemon.tiny_manifest("tiny")}, headers=only_new), 412, "PRECONDITION_FAILED")
        self.ok(self.c.post("/vms", self.body("second", desired_state="stopped"), headers=only_new, wait=5), 201)


class WalkTest(ThemeCase):
    """Every refusal leaves all as it was."""

    def setUp(self):
        self.create(vm="subject", desired_state="stopped", state="stopped")
        self.ok(self.c.put("/firewall/sets/subject", {"addresses": []}, wait=5))
        self.ok(self.c.put("/vms/subject/firewall", POLICY, wait=5))
        self.before = self.state()

    def tearDown(self):
        self.assertEqual(self.before, self.state())

    def state(self):
        paths = ("/vms/subject", "/firewall", "/firewall/sets/subject", "/vms/subject/firewall", "/network")
        return [self.c.get(path).etag for path in paths], len(self.c.items("/vms")), len(self.c.items("/images"))

    def path_of(self, operation):
        """Of something that exists, if there can be."""
        image = operation.path.startswith("/images")
        return operation.path.replace("{id}", "tiny" if image else "1" if "repairs" in operation.path else "subject").replace("{name}", "subject")

    def walk(self, operations, status, code, send):
        """send(operation) for each, all of which must be answered so and declare it."""
        operations = list(operations)
        self.assertGreater(len(operations), 0)
        for operation in operations:
            with self.subTest(operation.id):
                self.refused(send(operation), status, code)
                self.assertIn(str(status), operation.responses, f"{operation.id}: declared in openapi.yaml")

    def send(self, operation, body=None, **kw):
        if body is None:
            body = {"manifest": self.daemon.tiny_manifest("another")} if operation.id == "createImage" else BODIES.get(operation.id)
        return self.c.request(operation.method, self.path_of(operation), body, **kw)

    def test_a_body_of_another_media_type(self):
        def send(operation):
            other = "text/plain" if "text/plain" not in media_types(operation) else "application/json"
            return self.send(operation, b"{}", headers={"Content-Type": other})

        self.walk((o for o in SPEC.operations if media_types(o)), 415, "UNSUPPORTED_MEDIA_TYPE", send)

    def test_a_body_that_is_too_large(self):
        def send(operation):
            most = item_of(operation)[operation.method.lower()].get("x-max-body-bytes", BODY_BYTES)
            return self.send(operation, b" " * (most + 1), headers={"Content-Type": sorted(media_types(operation))[0]})

        self.walk((o for o in SPEC.operations if media_types(o)), 413, "PAYLOAD_TOO_LARGE", send)

    def test_a_body_that_does_not_fit(self):
        def send(operation):
            return self.send(operation, {"nonsense": 1})

        for operation in SPEC.operations:
            if "application/json" in media_types(operation):
                with self.subTest(operation.id):
                    reply = send(operation)
                    self.assertEqual(400, reply.status, repr(reply))
                    self.assertIn("400", operation.responses)

    def test_an_etag_that_is_not_the_resources(self):
        self.ended(self.c.put("/network/wireguard", {"existing_interface": "wg-nowhere"}, wait=5), "WIREGUARD_SETUP_FAILED")
        self.addCleanup(lambda: self.c.delete("/network/wireguard", wait=5))
        self.before = self.state()
        self.walk((o for o in SPEC.operations if "If-Match" in parameters_of(o)), 412, "PRECONDITION_FAILED",
                  lambda operation: self.send(operation, headers={"If-Match": '"of-nothing"'}))

    def test_an_idempotency_key_of_another_request(self):
        operations = [o for o in SPEC.operations if "Idempotency-Key" in parameters_of(o)]
        self.ok(self.c.post("/drift/repair", headers={"Idempotency-Key": "of-a-repair"}, wait=10), 201)
        self.ok(self.c.post("/vms", self.body("another", desired_state="stopped"), headers={"Idempotency-Key": "of-a-vm"}, wait=10), 201)
        self.forget("another")
        for key, first in (("of-a-repair", "repairDrift"), ("of-a-vm", "createVm")):
            self.walk((o for o in operations if o.id != first), 422, "IDEMPOTENCY_KEY_REUSED",
                      lambda operation: self.send(operation, headers={"Idempotency-Key": key}))

    def test_what_does_not_exist(self):
        def send(operation):
            path = operation.path.replace("{id}", "123" if "repairs" in operation.path else "nosuch").replace("{name}", "nosuch")
            kw = {"headers": {"Content-Type": "text/plain"}} if operation.id == "writeConsole" else {}
            return self.c.request(operation.method, path, b"x" if operation.id == "writeConsole" else BODIES.get(operation.id), **kw)

        made_by_put = ("putAddressSet",)
        self.walk((o for o in SPEC.operations if "{" in o.path and o.id not in made_by_put), 404, "NOT_FOUND", send)

    def test_a_query_that_nobody_knows(self):
        for operation in SPEC.operations:
            with self.subTest(operation.id):
                self.assertEqual(400, self.send(operation, nonsense="1").status)

    def test_a_page_that_does_not_exist(self):
        self.walk((o for o in SPEC.operations if "cursor" in parameters_of(o)), 400, "INVALID_REQUEST",
                  lambda operation: self.c.get(self.path_of(operation), limit=0))


class AtOnceTest(OwnDaemonCase):
    """Writes that are not waited for: 202, with what is on its way."""

    def accepted(self, reply):
        body = self.ok(reply, 202)
        self.assertGreater(body["generation"], body["observed_generation"])
        return body

    def test_policies_and_sets(self):
        vm = self.create()["id"]
        allow, deny = {"egress": {"default_action": "allow"}}, {"egress": {"default_action": "deny"}}
        for send in (lambda: self.c.put("/firewall", deny), lambda: self.c.patch("/firewall", allow),
                     lambda: self.c.put(f"/vms/{vm}/firewall", deny), lambda: self.c.patch(f"/vms/{vm}/firewall", allow),
                     lambda: self.c.delete(f"/vms/{vm}/firewall")):
            self.accepted(send())
        self.accepted(self.c.put("/firewall/sets/here", {"addresses": ["192.0.2.0/24"]}))
        self.assertEqual("allow", self.ok(self.c.patch(f"/vms/{vm}/firewall", allow, wait=5))["egress"]["default_action"])

    def test_the_network(self):
        self.accepted(self.c.patch("/network", {"masquerade": False}))
        eventually(lambda: self.c.json("/network")["observed_generation"] == 1, "the change")

    def test_actions(self):
        vm = self.create(mode="ctrlaltdel")["id"]
        self.act(vm, "pause")
        for action, state in (("resume", "running"), ("reboot", "running"), ("pause", "paused"), ("kill", "stopped"), ("start", "running"), ("stop", "stopped")):
            self.accepted(self.c.post(f"/vms/{vm}/{action}"))
            self.await_vm(vm, lambda v: v["state"] == state and v["generation"] == v["observed_generation"], f"{action}: {state}")


class SlowTest(OwnDaemonCase):
    """Steps that hang for a while (FAULT_HANG_MS of core/fault.h): the time of `wait` is over first."""

    def test_a_vm(self):
        set_fault(self.daemon, "worker vm.spawn_vmm 0 1 hang")
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        reply = self.c.post("/vms", body, wait=1)
        self.assertEqual("starting", self.ok(reply, 202)["state"])
        self.assertEqual(f"/vms/{body['id']}", reply.headers["Location"])
        self.await_vm(body["id"], lambda v: v["state"] == "running")

    def test_an_image(self):
        set_fault(self.daemon, "worker image.kernel 0 1 hang")
        reply = self.c.post("/images", {"manifest": self.daemon.tiny_manifest("slow")}, wait=1)
        self.assertEqual("importing", self.ok(reply, 202)["state"])
        eventually(lambda: self.c.json("/images/slow")["state"] == "ready", "the image")

    def test_a_repair_that_does_not_succeed(self):
        item = f"/proc/sys/net/ipv4/conf/{self.daemon.bridge}/proxy_arp_pvlan"
        set_fault(self.daemon, "worker network.tune_bridge 0 -1 fail")
        self.daemon.netns.run("sh", "-c", f"echo 0 > {item}")
        repair = self.ok(self.c.post("/drift/repair", wait=1), 202)
        self.assertEqual("pending", repair["state"])
        (self.daemon.run_dir / "fault").unlink()
        eventually(lambda: self.c.json(f"/drift/repairs/{repair['id']}")["state"] == "done", "the end of the repair")
        eventually(lambda: self.daemon.netns.run("cat", item).strip() == "1", "the parameter")


class FullDiskTest(VmWords, Case):
    """state_dir on a disk of its own, without room: nothing that was acknowledged is lost, what can't be stored is refused, and all goes on with the room."""

    def setUp(self):
        self.daemon = Daemon()
        self.state = self.daemon.base / "state"
        self.state.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=8m", "none", str(self.state))
        self.addCleanup(run, "umount", "-l", str(self.state), check=False)
        self.addCleanup(self.daemon.close)
        self.daemon.start().add_tiny()
        self.c = self.daemon.client

    def fill(self, leave=0):
        """All that there is but so many bytes."""
        with open(self.state / "filler", "wb") as file:
            free = os.statvfs(self.state).f_bavail * os.statvfs(self.state).f_bsize
            os.posix_fallocate(file.fileno(), 0, free - leave)

    def empty(self):
        (self.state / "filler").unlink()

    def create_stopped(self):
        return self.c.post("/vms", {**self.body(), "desired_state": "stopped", "labels": {"filler": "x" * 200}})

    @limit(120)
    def test_all_of_it(self):
        running = self.create()
        self.fill(leave=512 * 1024)
        rootfs = self.daemon.images / "large.img"
        rootfs.write_bytes(disks.ext4(os.urandom(1 << 20), 1 << 20))
        large = self.daemon.tiny_manifest("large") | {"rootfs": {"path": str(rootfs)}}
        image = self.ended(self.c.post("/images", {"manifest": large}, wait=20), "INSUFFICIENT_STORAGE")
        self.assertEqual(("failed", "INSUFFICIENT_STORAGE"), (image["state"], image["error"]["code"]))
        self.assertEqual([], [p for p in self.state.rglob("*") if p.is_file() and p.stat().st_size == 1 << 20], "the part that was copied")

        self.empty()
        self.fill()
        stored = []
        reply = self.create_stopped()
        while reply.status == 201 and len(stored) < 2000:
            stored.append(reply.json["id"])
            reply = self.create_stopped()
        self.refused(reply, 503, "DATABASE")
        self.assertEqual({running["id"], *stored}, {vm["id"] for vm in self.c.items("/vms")})
        self.assertEqual(running["vmm"]["pid"], self.vm(running["id"])["vmm"]["pid"])

        self.empty()
        eventually(lambda: self.create_stopped().status == 201, "a VM that can be stored")
        self.act(running["id"], "kill")
        self.act(running["id"], "start")
        self.ok(self.c.delete("/images/large", wait=10), 204)
        self.ok(self.c.post("/images", {"manifest": large}, wait=20), 201)
        self.daemon.restart()
        self.assertLessEqual({running["id"], *stored}, {vm["id"] for vm in self.c.items("/vms")})
        self.assertEqual("running", self.vm(running["id"])["state"])


class BeginningTest(Case):
    @limit(120)
    def test_before_the_network_was_looked_at(self):
        """The first look hangs; the API process answers meanwhile. On a slow machine it may come too late for that."""
        for _ in range(5):
            if self.asked_in_time():
                return
        self.fail("the network was always looked at before the API process answered")

    def asked_in_time(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.run_dir.mkdir(mode=0o711)
        set_fault(daemon, "worker network.apply_firewall 0 -1 hang")
        daemon.spawn()
        first = eventually(lambda: self.ask(daemon), "an answer", 20)
        if first.status == 200:
            return False
        self.refused(first, 503, "UNAVAILABLE")
        self.refused(daemon.client.patch("/network", {"masquerade": False}), 503, "UNAVAILABLE")
        self.refused(daemon.client.get("/readyz"), 503, "UNAVAILABLE")
        self.ok(daemon.client.get("/host"))  # what was probed before the API process was started
        (daemon.run_dir / "fault").unlink()
        daemon.await_ready()
        self.ok(daemon.client.get("/network"))
        return True

    @staticmethod
    def ask(daemon):
        try:
            return daemon.client.get("/network")
        except OSError:
            return None
