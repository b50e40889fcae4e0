"""The log: docs/logging.md lists what it tells, and a VM's life is told, with the requests that it came of."""

import re
import shlex
from pathlib import Path

import standin
from harness import OwnDaemonCase, eventually, limit
from standin import fault

ROOT = Path(__file__).resolve().parents[2]
CALLS = re.compile(r"(?:log_event\(\s*LOG_\w+,|log_event\([^,;]*\?[^,;]*,|log_failure\()\s*\"([a-z]+\.[a-z_]+)\"")
CHOSEN = re.compile(r"log_event\([^;]*?,([^,;]*\?[^,;]*:[^,;]*),")
WORD = re.compile(r"\"([a-z]+\.[a-z_]+)\"")
# What is an event, too, is told by its type.
TYPE = re.compile(r"^X\((\w+), \"([a-z]+\.[a-z_]+)\"", re.M)
TOLD = re.compile(r"(?:network_tell\([^,;]+,\s*|event_type_name\()EVENT_(\w+)")
EITHER = re.compile(r"enum event_type type = [^;]*\? EVENT_(\w+) : EVENT_(\w+);")


def documented():
    return set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", (ROOT / "docs" / "logging.md").read_text(), re.M))


def in_sources():
    found = set()
    types = dict(TYPE.findall((ROOT / "core" / "event_type.def").read_text()))
    for folder in ("api", "server", "worker", "keeper", "main.c"):
        path = ROOT / folder
        for file in [path] if path.is_file() else path.rglob("*.c"):
            text = file.read_text()
            found.update(CALLS.findall(text))
            for chosen in CHOSEN.findall(text):
                found.update(WORD.findall(chosen))
            if "log_event" in text or "network_tell" in text:
                found.update(types[name] for name in TOLD.findall(text) + [name for either in EITHER.findall(text) for name in either] if name in types)
    return found


class LogTest(OwnDaemonCase):
    settings = standin.SETTINGS | {"log": {"level": "info"}}

    def lines(self, event, **values):
        found = []
        for line in self.daemon.log_path.read_text().splitlines():
            if f" event={event} " in f"{line} ":
                fields = dict(part.partition("=")[::2] for part in shlex.split(line, posix=True))
                if all(fields.get(key) == value for key, value in values.items()):
                    found.append(fields)
        return found

    def one(self, event, **values):
        eventually(lambda: self.lines(event, **values), f"{event} {values}\n{self.daemon.log_tail()}")
        found = self.lines(event, **values)
        self.assertEqual(1, len(found), found)
        return found[0]

    def test_the_table_lists_every_event(self):
        self.assertEqual(documented(), in_sources())

    @limit(90)
    def test_a_life(self):
        body = self.body()
        vm = body["id"]
        self.addCleanup(self.forget, vm)
        reply = self.c.post("/vms", body, headers={"X-Request-Id": "make-it-1"}, wait=10)
        self.assertEqual("make-it-1", reply.headers["X-Request-Id"])
        self.assertEqual("tiny", self.one("vm.created", vm=vm, request="make-it-1")["image"])
        started = self.one("vm.started", vm=vm, request="make-it-1")
        self.assertEqual(("firecracker", str(reply.json["vmm"]["pid"]), "1"), (started["vmm"], started["pid"], started["boot"]))
        steps = dict(step.split(":") for step in started["steps_ms"].split(","))
        self.assertEqual([timing["operation"] for timing in reply.json["timings"]], list(steps))
        self.assertGreaterEqual(float(started["ms"]), sum(map(float, steps.values())) * 0.9)
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual(started["pid"], self.one("vm.adopted", vm=vm)["pid"])
        self.c.post(f"/vms/{vm}/kill", headers={"X-Request-Id": "end-it-1"}, wait=10)
        self.assertEqual("killed", self.one("vm.ended", vm=vm, request="end-it-1")["how"])
        self.c.post(f"/vms/{vm}/start", headers={"X-Request-Id": "again-1"}, wait=10)
        self.assertEqual("2", self.one("vm.started", vm=vm, request="again-1")["boot"])
        with standin.connect(str(self.daemon.run_dir / "vm" / vm / "standin.ctl")) as sock:
            sock.send(b"end=0")
        self.one("vm.ended", vm=vm, request="-")
        self.c.delete(f"/vms/{vm}", headers={"X-Request-Id": "away-1"}, wait=10)
        self.one("vm.deleted", vm=vm, request="away-1")

    def test_a_failure(self):
        body = self.body(boot_args="standin.fault=" + fault("die", op="start", words="no luck event=forged"))
        self.addCleanup(self.forget, body["id"])
        reply = self.c.post("/vms", body, wait=10)
        failed = self.one("vm.failed", vm=body["id"], request=reply.headers["X-Request-Id"])
        self.assertEqual(("VMM_START_FAILED", reply.json["detail"]), (failed["code"], failed["message"]))

    def test_an_import(self):
        manifest = self.daemon.tiny_manifest("other")
        request = self.ok_request(self.c.post("/images", {"manifest": manifest}, wait=20))
        self.one("image.import_begun", image="other", request=request)
        self.assertGreater(int(self.one("image.ready", image="other", request=request)["bytes"]), 1000)
        self.ok(self.c.delete("/images/other", headers={"X-Request-Id": "away-2"}, wait=10), 204)
        self.one("image.deleted", image="other", request="away-2")
        manifest = self.daemon.tiny_manifest("wrong")
        manifest["kernel"] = {"path": manifest["kernel"]["path"], "sha256": "0" * 64}
        reply = self.c.post("/images", {"manifest": manifest}, wait=20)
        self.assertEqual("DIGEST_MISMATCH", self.one("image.failed", image="wrong", request=reply.headers["X-Request-Id"])["code"])

    def ok_request(self, reply):
        self.ok(reply, 201)
        return reply.headers["X-Request-Id"]

    def test_the_start(self):
        self.assertEqual(str(self.daemon.run_dir), self.one("worker.started")["run_dir"])
        self.assertEqual(f"unix://{self.daemon.socket}", self.one("listener.open")["address"])
        self.assertEqual(str(self.daemon.api_pid()), self.one("api.started")["pid"])
        self.assertEqual(self.daemon.bridge, self.one("network.ready")["bridge"])

    def test_what_was_not_confirmed_is_named(self):
        vm = self.create()["id"]
        self.ok(self.c.put(f"/vms/{vm}/firewall", {"egress": {"default_action": "deny"}}, confirm_within=1, wait=5))
        self.one("firewall.rolled_back", resource=f"/vms/{vm}")
