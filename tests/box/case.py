"""What a scenario starts from: the box, booted, with the daemon running, and the words of tests/api/harness.py."""

import contextlib
import itertools
import threading

from box import READY_LIMIT_S, Box
from harness import Case, VmWords, eventually

BUNDLE = "/usr/share/box/debian-minimal/manifest.json"
TINY = {
    "schema_version": 1,
    "bundle_id": "tiny",
    "rootfs_is_read_only": True,
    "kernel": {"path": "/usr/share/box/tiny.elf"},
    "rootfs": {"path": "/usr/share/box/rootfs.img"},
}
GUEST_UP_S = 90
ECHO_S = 20
WAIT_S = 60


class GuestLost(AssertionError):
    """The scenario is played anew, as with a box that broke: a fault of the daemon's would lose the guest each time."""


class Shared:
    """The box that scenarios share, until one of them fails."""

    box = None

    @classmethod
    def get(cls):
        if cls.box is None:
            cls.box = Box().boot()
            cls.box.start_daemon()
        return cls.box

    @classmethod
    def drop(cls):
        if cls.box is not None:
            cls.box.close()
            cls.box = None


class Adapter:
    """The daemon in the box as tests/api knows its daemons."""

    def __init__(self, box):
        self.box = box

    def is_running(self):
        return self.box.is_running()

    def log_tail(self, lines=40):
        return self.box.log_tail(lines)


class BoxCase(VmWords, Case):
    own_box = None  # a Box of the scenario alone
    echoes = itertools.count()

    @classmethod
    def setUpClass(cls):
        cls.box = cls.own_box or Shared.get()
        cls.daemon = Adapter(cls.box)

    @property
    def c(self):
        return self.box.client

    def tearDown(self):
        self.assertEqual([], self.box.sanitizer_reports()[:1])

    def import_image(self, body, name):
        if self.c.get(f"/images/{name}").status == 404:
            reply = self.c.post("/images", body, wait=WAIT_S)
            self.assertEqual((201, "ready"), (reply.status, reply.json.get("state")), repr(reply))

    @staticmethod
    def tiny_manifest():
        return dict(TINY)

    def tiny(self, vm=None, mode="", **extra):
        """A VM of a guest that boots in no time."""
        self.import_image({"manifest": self.tiny_manifest()}, "tiny")
        extra.setdefault("boot_args", f"tiny={mode}" if mode else "")
        return self.create(vm, wait=WAIT_S, **extra)

    def linux(self, vm=None, **extra):
        """A VM of a Linux guest; its console says when it is up."""
        self.import_image({"manifest_path": BUNDLE}, "debian-minimal")
        body = {"image": "debian-minimal", "vmm": "auto", "machine_config": {"mem_size_mib": 128}, "boot_args": "", **extra}
        return self.create(vm, wait=WAIT_S, **body)

    def await_console(self, vm, needle, timeout=30):
        """As everywhere, but each request costs the box as much as a hundred do elsewhere."""
        eventually(lambda: needle in self.c.get(f"/vms/{vm}/console").body, f"{needle!r} on the console of {vm}", timeout, 0.3)

    def guest_up(self, vm):
        """A Linux whose VMM runs and answers, and that does not get to its end: the emulation mostly loses guests while they boot."""
        try:
            self.await_console(vm["id"], b"smartvm-guest: up", GUEST_UP_S)
        except AssertionError as e:
            if self.vm(vm["id"])["state"] != "running":
                raise
            raise self.lost(vm, e) from None

    def lost(self, vm, what):
        console = self.c.get(f"/vms/{vm['id']}/console").body.decode(errors="replace")
        return GuestLost(f"{what}; its console:\n{console[-1000:]}")

    def says(self, vm, text):
        self.ok(self.c.post(f"/vms/{vm['id']}/console", text.encode() + b"\n", headers={"Content-Type": "text/plain"}), 204)

    def is_mute(self, vm):
        """A guest whose VMM runs, and whose terminal does not even give back what is typed."""
        word = f"still-there-{next(self.echoes)}"
        if self.vm(vm["id"])["state"] != "running":
            return False
        self.says(vm, f"# {word}")
        try:
            self.await_console(vm["id"], word.encode(), ECHO_S)
        except AssertionError:
            return True
        return False

    @contextlib.contextmanager
    def asking(self, vm):
        """What is asked of a Linux guest that was up: one that the emulation lost since then is no answer."""
        try:
            yield
        except AssertionError as e:
            if not self.is_mute(vm):
                raise
            raise self.lost(vm, e) from None

    def type(self, vm, text, answer, timeout=30):
        """On the guest's shell. `answer` must not stand in `text`, which comes back as an echo."""
        with self.asking(vm):
            self.says(vm, text)
            self.await_console(vm["id"], answer.encode(), timeout)

    def page(self, vm, timeout=5):
        """What the guest's web server says to the host; "" when it says nothing."""
        return self.box.sh(f"curl -s --noproxy '*' -m {timeout} http://{vm['network_interfaces'][0]['ip']}/", check=False)[0].strip()

    def answers(self, vm):
        with self.asking(vm):
            eventually(lambda: self.page(vm) == vm["id"], f"{vm['id']} over HTTP", 60, 0.2)

    def await_host(self, probe, what, timeout=READY_LIMIT_S):
        return eventually(probe, what, timeout, 0.2)

    def leftovers(self):
        """What there is on the host of VMs, TAPs, cgroups and directories."""
        return self.box.sh("""
            pidof firecracker
            for p in $(pidof qemu-system-x86_64); do echo qemu $p; done
            ip -br link | grep -o '^svbr0t[0-9]*'
            ls /run/smartvm/vm /dev/shm/smartvm 2> /dev/null | grep -v :$
            find /sys/fs/cgroup/smartvm -mindepth 1 -type d 2> /dev/null
            nft list set bridge smartvm guest4 | grep elements
            true""").split()

    def nothing_left(self):
        try:
            eventually(lambda: not self.leftovers(), "an empty host", 30, 0.3)
        except AssertionError:
            raise AssertionError(f"left behind: {self.leftovers()}") from None


def together(*works):
    """Runs them at the same time; their results, or the first error."""
    results, errors = [None] * len(works), []

    def run(index, work):
        try:
            results[index] = work()
        except BaseException as e:  # noqa: BLE001: raised again below
            errors.append(e)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
