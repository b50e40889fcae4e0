"""What every test file starts from: a daemon of its own, and the words in which tests speak about replies."""

import itertools
import re
import time
import unittest
from pathlib import Path

from client import Client, Reply, Stream, parse_events, raw_status, read_reply, unix_socket  # noqa: F401
from daemon import BASE, BINARY, BUILD, TINY, Daemon  # noqa: F401
from host import eventually, is_alive, kill, run  # noqa: F401
from spec import SPEC, SpecError  # noqa: F401

DEFAULT_LIMIT_S = 60
_numbers = itertools.count(1)


def limit(seconds):
    """Time limit of a test that needs more, or shall have less, than DEFAULT_LIMIT_S."""

    def mark(method):
        method.limit_s = seconds
        return method

    return mark


class Case(unittest.TestCase):
    """Assertions, for a test that makes its daemons itself."""

    maxDiff = 4000

    def ok(self, reply, *statuses):
        self.assertIn(reply.status, statuses or (200,), repr(reply))
        return reply.json if reply.body else None

    def refused(self, reply, status, code, pointer=None):
        """An error with this code; `pointer` must be among the wrong fields, or all of them if it is a list."""
        self.assertEqual((status, code), (reply.status, reply.code), repr(reply))
        if pointer is not None:
            found = [entry["pointer"] for entry in reply.json.get("errors", [])]
            for wanted in [pointer] if isinstance(pointer, str) else pointer:
                self.assertIn(wanted, found, repr(reply))
        return reply.json

    def ended(self, reply, *codes):
        """A write that was waited for and ended in failure: the resource, with what the problem says as its `error` where it has none."""
        self.assertGreaterEqual(reply.status, 400, repr(reply))
        self.assertIn(reply.code, codes, repr(reply))
        self.assertEqual("application/problem+json", reply.headers["Content-Type"].split(";")[0])
        return reply.json["resource"]

    def condition(self, vm, kind):
        found = [entry for entry in vm["conditions"] if entry["type"].lower() == kind.lower()]
        self.assertEqual(1, len(found), f"conditions of type {kind} in {vm['conditions']}")
        return found[0]

    def start_daemon(self, settings=None, tiny=True, **kw):
        daemon = Daemon(settings, **kw)
        self.addCleanup(daemon.close)
        daemon.start()
        return daemon.add_tiny() if tiny else daemon

    def quick(self, seconds=1.0):
        return _Quick(self, seconds)


class _Quick:
    """`with self.quick(1):` fails when the block takes longer."""

    def __init__(self, case, seconds):
        self.case, self.seconds = case, seconds

    def __enter__(self):
        self.begin = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        took = time.monotonic() - self.begin
        if kind is None:
            self.case.assertLess(took, self.seconds, f"took {took:.3f} s")


class VmWords:
    """VMs of one daemon, `self.daemon`."""

    def new_id(self):
        word = re.sub(r"[^a-z0-9]+", "-", self.id().rpartition(".")[2].removeprefix("test_").lower())
        return f"{word[:40]}-{next(_numbers)}".lstrip("-")

    def body(self, vm=None, mode=None, **extra):
        body = {
            "id": vm or self.new_id(),
            "image": "tiny",
            "vmm": "firecracker",
            "machine_config": {"mem_size_mib": 32},
            "network_interfaces": [{"iface_id": "eth0"}],
        }
        if mode is not None:
            body["boot_args"] = f"tiny={mode}"
        body.update(extra)
        return body

    def create(self, vm=None, mode=None, wait=15, state="running", **extra):
        """A VM that has reached `state`; it is deleted at the end of the test."""
        body = self.body(vm, mode, **extra)
        self.addCleanup(self.forget, body["id"])
        reply = self.c.post("/vms", body, wait=wait)
        self.assertEqual(201, reply.status, repr(reply))
        self.assertEqual(state, reply.json["state"], repr(reply))
        return reply.json

    def forget(self, vm):
        if not self.daemon.is_running():
            return
        reply = self.c.delete(f"/vms/{vm}", wait=20)
        self.assertIn(reply.status, (204, 404), repr(reply))

    def act(self, vm, action, body=None, status=200, **query):
        query.setdefault("wait", 15)
        return self.ok(self.c.post(f"/vms/{vm}/{action}", body, **query), status)

    def vm(self, vm):
        return self.c.json(f"/vms/{vm}")

    def await_vm(self, vm, probe, what="the VM", timeout=15):
        """Polls until `probe` of the resource is true; the resource."""
        last = {}

        def look():
            last.update(self.vm(vm))
            return probe(last)

        try:
            eventually(look, what, timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{last}\n{self.daemon.log_tail()}") from None
        return last

    def jail_of(self, vm):
        """The root directory of its VMM."""
        return Path(f"/proc/{self.vm(vm)['vmm']['pid']}/root")

    def vmm_socket(self, vm):
        return str(self.jail_of(vm) / "api.sock")

    def await_console(self, vm, needle, timeout=10):
        def look():
            text = self.c.get(f"/vms/{vm}/console").body
            return text if needle in text else None

        return eventually(look, f"{needle!r} on the console of {vm}", timeout)


class ThemeCase(VmWords, Case):
    """One daemon for the whole class, with the image `tiny`."""

    settings = {}
    tiny = True

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(cls.settings)
        try:
            cls.daemon.start()
            if cls.tiny:
                cls.daemon.add_tiny()
        except BaseException as e:
            tail = cls.daemon.log_tail()
            cls.daemon.remove()
            raise AssertionError(f"{e}\n{tail}") from None
        cls.c = cls.daemon.client

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()


class OwnDaemonCase(VmWords, Case):
    """A daemon for each test."""

    settings = {}

    def setUp(self):
        self.daemon = self.start_daemon(self.settings)
        self.c = self.daemon.client
