"""The threads of random_run.py: clients, a watcher, a reader of events, a disturber, and a guard over the daemon's process."""

import collections
import http.client
import random
import re
import signal
import threading
import time
import traceback
from pathlib import Path

import model
import world  # noqa: F401: finds the modules of tests/api
from decisions import Decisions
from model import Op, Sighting

from host import is_alive, kill  # noqa: E402

ANSWER_S = 30  # an answer takes no longer than this beside its ?wait=


class NotSent(Exception):
    """The daemon was not there: nothing was asked."""


class Run:
    """What all threads share."""

    def __init__(self, world, seed):
        self.world, self.seed, self.begin = world, seed, time.monotonic()
        self.ops = []           # of VMs, images and the firewall
        self.sightings, self.lists, self.seen = [], [], []
        self.faults = collections.defaultdict(list)
        self.disturbances = collections.Counter()
        self.names = {"vms": set(), "images": set(), "sets": set()}
        self.stop, self.over = threading.Event(), threading.Event()
        self.life = threading.Lock()  # of the daemon's process
        self.decisions = 0

    def now(self):
        return time.monotonic() - self.begin

    def fault(self, test, text):
        self.faults[test].append(text)

    def sight(self, invoked, returned, etag, vm):
        if etag:
            self.sightings.append(Sighting(invoked, returned, model.uid_of(etag), vm))


class Requests:
    """Sends requests and notes what came back."""

    def __init__(self, run, name):
        self.run, self.client, self.name, self.keys = run, run.world.client, name, 0

    def new_key(self):
        self.keys += 1
        return f"{self.name}-{self.keys}"

    def send(self, method, path, body=None, headers=None, wait=None):
        """(invoked, returned, reply or None)."""
        invoked = self.run.now()
        try:
            reply = self.client.request(method, path, body, headers=headers, timeout=ANSWER_S, **({"wait": wait} if wait else {}))
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError):
            raise NotSent() from None
        except TimeoutError:
            self.run.fault("answers", f"{method} {path}: no answer within {ANSWER_S} s beside the wait of {wait}")
            return invoked, model.INFINITE, None
        except (OSError, http.client.HTTPException):
            return invoked, self.run.now(), None
        except AssertionError as e:  # openapi.yaml does not know such an answer
            self.run.fault("answers", f"{method} {path}: {e}")
            return invoked, self.run.now(), None
        return invoked, self.run.now(), reply

    def ask(self, kind, target, method, path, body=None, args=None, headers=None, key=None, since=None, wait=None):
        headers = {**(headers or {}), **({"Idempotency-Key": key} if key else {})}
        invoked, returned, reply = self.send(method, path, body, headers, wait)
        op = Op(kind, target, invoked, returned, args or {}, self.name, key, since=since)
        if reply is not None:
            self.fill(op, reply, wait)
        if not (op.unknown and kind.startswith("get")):  # such a one says nothing
            self.run.ops.append(op)
        return op, reply

    def fill(self, op, reply, wait):
        op.status, op.replayed = reply.status, reply.headers.get("Idempotency-Replayed") == "true"
        if reply.status >= 400 and reply.json["resource"] is not None:  # done, and what was waited for ended in failure
            op.status = 201 if op.kind in ("create", "image_create") else 200
            return
        if reply.status >= 400:
            op.code, op.detail = reply.code, reply.json.get("detail", "")
            return
        body = reply.json if reply.body else None
        is_vm = body is not None and "network_interfaces" in body
        if is_vm and not op.replayed:
            op.uid = model.uid_of(reply.etag)
            self.run.sight(op.invoked, op.returned, reply.etag, body)
        if op.replayed:
            return
        if not wait or op.kind.startswith("get"):
            op.body = body
        elif is_vm:
            # What the daemon shows after a wait is of a later moment: a read.
            self.run.ops.append(Op("get", op.target, op.invoked, op.returned, client=op.client, status=200, uid=op.uid, body=body))


class Client(threading.Thread):
    def __init__(self, run, number):
        super().__init__(name=f"client {number}", daemon=True)
        self.run_, self.requests = run, Requests(run, f"client{number}")
        self.decisions = Decisions(run.seed, number)
        self.uids = {}

    def run(self):
        for what, args in self.decisions:
            if self.run_.stop.is_set():
                return
            self.run_.decisions += 1
            self.persist(getattr(self, what), args)

    def persist(self, work, args):
        """A request that could not be sent was not made; it is made when the daemon is there again."""
        while True:
            try:
                return work(**args)
            except NotSent:
                if self.run_.over.is_set():
                    return None
                time.sleep(0.03)
            except Exception:  # noqa: BLE001
                self.run_.fault("answers", f"{self.name}: {work.__name__} {args}\n{traceback.format_exc()}")
                return None

    def keyed(self, keyed, *request, **kw):
        """A request with a key is repeated until there is an answer: it has one effect."""
        key = self.requests.new_key() if keyed else None
        op, reply = self.requests.ask(*request, key=key, **kw)
        for _ in range(100):
            if key is None or not op.unknown:
                break
            repeated = self.persist(lambda: self.requests.ask(*request, key=key, **kw), {})
            if repeated is None:
                break
            op, reply = repeated
        return op, reply

    # VMs

    def create(self, vm, body, keyed, wait):
        self.run_.names["vms"].add(vm)
        whole = {**self.run_.world.body(vm), **body}
        self.keyed(keyed, "create", vm, "POST", "/vms", whole, args=whole, wait=wait)

    def act(self, vm, action, timeout, keyed, wait):
        self.run_.names["vms"].add(vm)
        body = {"timeout_seconds": timeout} if timeout is not None and action in ("stop", "reboot") else None
        self.keyed(keyed, "act", vm, "POST", f"/vms/{vm}/{action}", body, args={"action": action}, wait=wait)

    def matching(self, vm, match):
        """(headers, (uid, generation)) that say what the client has read; nothing when there is no such VM."""
        if not match:
            return None, None
        op, reply = self.get(vm)
        if op.unknown or reply.status != 200:
            return None, None
        return {"If-Match": reply.etag}, (op.uid, reply.json["generation"])

    def patch(self, vm, body, match, wait):
        self.run_.names["vms"].add(vm)
        headers, since = self.matching(vm, match)
        self.requests.ask("patch", vm, "PATCH", f"/vms/{vm}", body, args=body, headers=headers, since=since, wait=wait)

    def delete(self, vm, match, wait):
        self.run_.names["vms"].add(vm)
        headers, since = self.matching(vm, match)
        op, _ = self.requests.ask("delete", vm, "DELETE", f"/vms/{vm}", headers=headers, since=since, wait=wait)
        if op.status == 204 and not vm.startswith("shared"):  # there, another one may have the id by now
            self.run_.ops.append(Op("get", vm, op.invoked, op.returned, client=op.client, status=404))

    def firewall(self, vm, method, body, wait):
        self.run_.names["vms"].add(vm)
        self.requests.ask("firewall", vm, method, f"/vms/{vm}/firewall", body, args={"method": method, "body": body}, wait=wait)

    def get(self, vm):
        self.run_.names["vms"].add(vm)
        return self.requests.ask("get", vm, "GET", f"/vms/{vm}")

    def get_firewall(self, vm):
        self.run_.names["vms"].add(vm)
        self.requests.ask("get_firewall", vm, "GET", f"/vms/{vm}/firewall")

    def anonymous(self, wait):
        """The daemon makes the id, so only the answer tells which VM it is; the key says that there is one."""
        whole = {**self.run_.world.body("x"), "network_interfaces": [{"iface_id": "eth0"}]}
        del whole["id"]
        key = self.requests.new_key()
        invoked = self.run_.now()
        for _ in range(100):
            try:
                _, returned, reply = self.requests.send("POST", "/vms", whole, {"Idempotency-Key": key}, wait)
            except NotSent:
                time.sleep(0.03)
                continue
            if reply is not None and reply.status < 500:
                break
        else:
            return
        if reply.status >= 400:
            self.run_.fault("answers", f"a VM without an id: {reply!r}")
            return
        vm = reply.json["id"]
        self.run_.names["vms"].add(vm)
        uid = model.uid_of(reply.etag) if "ETag" in reply.headers else None  # a stored answer has none
        self.run_.ops.append(Op("create", vm, invoked, returned, whole, self.requests.name, key, status=201, uid=uid))
        self.persist(self.delete, {"vm": vm, "match": False, "wait": wait})

    # Images

    def image_create(self, image, keyed, wait):
        self.run_.names["images"].add(image)
        self.keyed(keyed, "image_create", image, "POST", "/images", {"manifest": self.run_.world.manifest(image)}, wait=wait)

    def image_delete(self, image, keyed, wait):
        self.run_.names["images"].add(image)
        self.requests.ask("delete", image, "DELETE", f"/images/{image}", wait=wait)

    def image_get(self, image, keyed, wait):
        self.run_.names["images"].add(image)
        self.requests.ask("get", image, "GET", f"/images/{image}")

    # The host-wide policy and address sets

    def policy(self, method, body, match, wait):
        headers = None
        if match:
            _, _, reply = self.requests.send("GET", "/firewall")
            headers = {"If-Match": reply.etag} if reply is not None and reply.status == 200 else None
        self.requests.ask("policy", "firewall", method, "/firewall", body, args={"method": method, "body": body}, headers=headers,
                          since=tuple(headers.values()) if headers else None, wait=wait)

    def set_put(self, name, addresses, wait):
        self.run_.names["sets"].add(name)
        self.requests.ask("set_put", "firewall", "PUT", f"/firewall/sets/{name}", {"addresses": addresses}, args={"name": name, "addresses": addresses}, wait=wait)

    def set_delete(self, name, addresses, wait):
        self.requests.ask("set_delete", "firewall", "DELETE", f"/firewall/sets/{name}", args={"name": name})

    def set_get(self, name, addresses, wait):
        self.requests.ask("get_set", "firewall", "GET", f"/firewall/sets/{name}", args={"name": name})


class Watcher(threading.Thread):
    """Looks at the list of VMs, and at the host's VMMs: no VM has two."""

    def __init__(self, run):
        super().__init__(name="watcher", daemon=True)
        self.run_, self.requests = run, Requests(run, "watcher")

    def run(self):
        while not self.run_.over.is_set():
            try:
                _, _, reply = self.requests.send("GET", "/vms")
                if reply is not None and reply.status == 200:
                    self.run_.lists.append(reply.json["items"])
            except NotSent:
                pass
            self.look_at_host()
            time.sleep(0.15)

    def look_at_host(self):
        found = collections.defaultdict(list)
        for pid in self.run_.world.daemon.netns.pids():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            vm = re.search(r"/vm/([^/ ]+)/api\.sock", command)
            if vm and is_alive(pid):
                found[vm.group(1)].append(pid)
        for vm, pids in found.items():
            if len(pids) > 1:
                self.run_.fault("one VMM", f"{vm} has {pids} at {self.run_.now():.3f}")


class Reader(threading.Thread):
    """Reads /events as a client should: after a break it goes on after the last event that it saw."""

    def __init__(self, run):
        super().__init__(name="reader", daemon=True)
        self.run_, self.connections = run, 0

    def run(self):
        while not self.run_.over.is_set():
            last = self.run_.seen[-1]["id"] if self.run_.seen else "0"
            try:
                with self.run_.world.client.stream("/events", {"Last-Event-ID": last}) as stream:
                    self.connections += 1
                    self.follow(stream)
            except (OSError, AssertionError, http.client.HTTPException):
                time.sleep(0.02)

    def follow(self, stream):
        quiet = 0
        while not self.run_.over.is_set():
            events = stream.take_events(0.5)
            self.run_.seen += events
            quiet = 0 if events else quiet + 1
            if quiet and (stream.response.isclosed() or quiet > 20):
                return


class Disturber(threading.Thread):
    """Kills the daemon and changes the host. What it does, and when, is decided by the seed; which VMM or TAP it meets, by what there is."""

    KINDS = {"kill_worker": 14, "kill_api": 14, "kill_keeper": 14, "restart": 6, "kill_vmm": 16, "flush_ruleset": 6, "delete_table": 6, "bridge_down": 6, "delete_bridge": 3, "tap_off": 6,
             "flush_elements": 8, "move_route": 5, "kill_worker_twice": 4}

    def __init__(self, run):
        super().__init__(name="disturber", daemon=True)
        self.run_, self.daemon, self.netns = run, run.world.daemon, run.world.daemon.netns
        self.rng = random.Random(f"{run.seed}/disturber")
        self.apis_killed = self.keepers_killed = 0

    def run(self):
        while not self.run_.stop.wait(self.rng.uniform(0.2, 1.6)):
            kind = self.rng.choices(list(self.KINDS), list(self.KINDS.values()))[0]
            number = self.rng.randrange(1000)
            try:
                with self.run_.life:
                    getattr(self, kind)(number)
                self.run_.disturbances[kind] += 1
            except Exception:  # noqa: BLE001: such as a daemon that does not end or come up
                self.run_.fault("daemon", f"{kind}\n{traceback.format_exc()}")

    def up(self, number):
        time.sleep(number % 4 * 0.1)
        self.daemon.spawn()

    def kill_worker(self, number):
        self.daemon.kill9()
        self.up(number)

    def kill_worker_twice(self, number):
        """The second time while it comes up."""
        self.kill_worker(number)
        time.sleep(number % 10 * 0.05)
        self.kill_worker(number)

    def kill_api(self, number):
        pid = self.daemon.api_pid()
        if pid is not None:
            kill(pid, signal.SIGKILL)
            self.apis_killed += 1

    def kill_keeper(self, number):
        pid = self.daemon.keeper_pid()
        if pid is not None:
            kill(pid, signal.SIGKILL)
            self.keepers_killed += 1

    def restart(self, number):
        self.daemon.await_ready()
        self.daemon.stop()
        self.up(number)

    def kill_vmm(self, number):
        pids = self.daemon.vmm_pids()
        if pids:
            kill(pids[number % len(pids)], signal.SIGKILL)

    def flush_ruleset(self, number):
        self.netns.run("nft", "flush", "ruleset")

    def delete_table(self, number):
        self.netns.run("nft", "delete", "table", ("inet", "bridge")[number % 2], self.daemon.mark, check=False)

    def bridge_down(self, number):
        self.netns.ip("link", "set", self.daemon.bridge, "down", check=False)

    def delete_bridge(self, number):
        self.netns.ip("link", "delete", self.daemon.bridge, check=False)

    def tap_off(self, number):
        taps = sorted(name for name in self.netns.links() if name.startswith(self.daemon.tap_prefix))
        if taps:
            self.netns.ip("link", "set", taps[number % len(taps)], "nomaster", check=False)

    def flush_elements(self, number):
        self.netns.run("nft", "flush", "set", "bridge", self.daemon.mark, "guest4", check=False)

    def move_route(self, number):
        if "up2" not in self.netns.links():
            self.netns.add_link("up2", "203.0.113.2/24")
        self.netns.ip("route", "replace", "default", "via", "203.0.113.1")
        time.sleep(number % 3 * 0.2)
        self.netns.ip("route", "replace", "default", "via", "198.51.100.1")


class Guard(threading.Thread):
    """Only the disturber ends the daemon."""

    def __init__(self, run):
        super().__init__(name="guard", daemon=True)
        self.run_ = run

    def run(self):
        while not self.run_.over.wait(0.2):
            with self.run_.life:
                if not self.run_.world.daemon.is_running():
                    self.run_.fault("daemon", f"it ended by itself with {self.run_.world.daemon.process.returncode}\n{self.run_.world.daemon.log_tail()}")
                    self.run_.world.daemon.spawn()


