"""The real daemon under test, with directories, bridge, subnet and network namespace of its own."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import disks
import host
from client import Client
from host import Netns, eventually

BUILD = Path(os.environ.get("SMARTVM_TEST_BUILD", host.Path(__file__).resolve().parents[2] / "build-tests"))
BINARY = BUILD / "smartvmd"
TINY = BUILD / "tests" / "guest" / "tiny.elf"
BASE = Path("/var/lib/smartvm-tests")
SANITIZER = re.compile(r"^.*(ERROR: \w*Sanitizer|runtime error:|\w*Sanitizer:DEADLYSIGNAL|\w*Sanitizer has encountered).*$", re.M)
READY_S = 20
# For VMMs that are no Firecracker: what can't be found when the daemon starts is not required.
UNJAILED = {"jailer": "/nonexistent/jailer"}

_numbers = itertools.count()


def merged(base, extra):
    result = dict(base)
    for key, value in extra.items():
        result[key] = merged(result.get(key, {}), value) if isinstance(value, dict) else value
    return result


class Daemon:
    """
    Settings are given as in the file: {"vmm": {"console_bytes": 4096}}. `like` makes a second daemon in the same namespace;
    what is given in `settings` then decides what else they share.
    """

    def __init__(self, settings=None, like=None, args=()):
        self.number = next(_numbers)
        self.name = f"svt-{os.getpid()}-{self.number}"
        self.args = list(args)
        self.base = BASE / self.name
        self.images = like.images if like else self.base / "images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.base.mkdir(parents=True, exist_ok=True)
        self.log_path = self.base / "daemon.log"
        defaults = {
            "state_dir": str(self.base / "state"),
            "run_dir": f"/run/{self.name}",
            "user": "nobody",
            "network": {
                "bridge": f"b{self.number}p{os.getpid()}",
                "subnet": f"10.{100 + self.number}.0.0/24",
                "lease_quarantine_s": 0,
            },
            "images": {"allowed_roots": [str(self.images)]},
            "vmm": {"stage_dir": f"/dev/shm/{self.name}", "stop_timeout_s": 2, "workers": 4},
            # Tests have hundreds of VMs that take far less than they may: here nobody keeps them from it. tests/api/test_admission.py does.
            "capacity": {"memory_mib": 1 << 30, "vcpu_factor": 10000},
            "log": {"level": "debug"},
        }
        self.config = merged(defaults, settings or {})
        self.stage_dir = Path(self.config["vmm"]["stage_dir"] or f"/dev/shm/{self.name}")
        self.stage_dir.mkdir(mode=0o700, exist_ok=True)
        self.bridge = self.config["network"]["bridge"]
        self.mark = "smartvm" if self.bridge == "svbr0" else f"smartvm_{self.bridge}"
        self.run_dir = Path(self.config["run_dir"])
        self.socket = self.run_dir / "api.sock"
        self.client = Client(str(self.socket))
        self.owns_netns = like is None
        self.netns = Netns(self.name) if like is None else like.netns
        self.log_path.touch()
        self.tap_prefix = self.bridge[:9] + "t"  # core/config.h
        self.process = None
        self.before = []  # a command that the daemon is started through
        self.faults = []

    def command(self):
        """Half of the settings by the file, half by --set: both ways must work."""
        path = self.base / "smartvmd.yaml"
        path.write_text(json.dumps({key: self.config[key] for key in self.config if key != "network"}, indent=1))
        sets = [f"network.{key}={json.dumps(value)}" for key, value in self.config["network"].items()]
        arguments = [part for text in sets for part in ("--set", text)]
        return [str(BINARY), "--config", str(path), *arguments, *self.args]

    def spawn(self, env=None):
        # Leaks are looked for in programs that end by themselves; here the daemon is mostly killed.
        environment = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0:handle_abort=1", **(env or {})}
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
        for name in ("GCOV_PREFIX", "SMARTVM_COVERAGE_API"):  # tests/coverage.sh
            if name in os.environ:
                environment[name] = os.environ[name]
        log = open(self.log_path, "ab")
        with log:
            argv = self.netns.wrap(*self.before, *self.command())
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def start(self, env=None):
        self.spawn(env)
        self.await_ready()
        return self

    def await_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                return self.client.get("/readyz", timeout=5).status == 200
            except OSError:
                return False

        eventually(ready, "readiness", READY_S)

    @property
    def pid(self):
        return self.process.pid

    def child_pid(self, flag):
        """Of a process that was started with this argument; None while it has root's uid yet, or is not there."""
        found = [pid for pid in host.children(self.pid) if host.uid_of(pid) not in (0, None) and flag in host.cmdline_of(pid)]
        return found[0] if found else None

    def api_pid(self):
        return self.child_pid("--api-process")

    def keeper_pid(self):
        return self.child_pid("--keeper-process")

    def stop(self, timeout=20):
        """SIGTERM; returns the exit status."""
        api = self.api_pid()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.faults.append(f"no end within {timeout} s after SIGTERM")
            self.process.kill()
            self.process.wait()
            raise AssertionError(self.faults[-1]) from None
        self._await_api_end(api)
        return status

    def kill9(self):
        """kill -9 of the worker; the API process ends with it."""
        api = self.api_pid()
        self.process.kill()
        self.process.wait()
        self._await_api_end(api)

    def _await_api_end(self, api):
        if api is not None:
            eventually(lambda: not host.is_alive(api), "the end of the API process after the worker's")

    def restart(self):
        self.stop()
        return self.start()

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def vmm_pids(self):
        own = {self.pid, *host.children(self.pid)} if self.is_running() else set()
        daemons = {pid for pid in own if "smartvmd" in _command(pid)}
        return [pid for pid in self.netns.pids() if pid not in daemons and "smartvmd" not in _command(pid) and "wireguard-go" not in _command(pid)]

    def log_tail(self, lines=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def sanitizer_reports(self):
        text = self.log_path.read_text(errors="replace")
        if "Sanitizer" not in text and "runtime error:" not in text:  # the pattern is slow, and this is asked again and again
            return []
        return [text[m.start() : m.start() + 6000] for m in SANITIZER.finditer(text)]

    def close(self):
        """Ends it, removes whatever is left, and fails when a sanitizer had something to say."""
        try:
            if self.is_running():
                self.stop()
        finally:
            reports = self.sanitizer_reports()
            tail = self.log_tail()
            self.remove()
        if reports:
            raise AssertionError("the daemon's sanitizers found:\n" + "\n".join(reports[:2]))
        if self.faults:
            raise AssertionError("; ".join(self.faults) + "\n" + tail)

    def remove(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()
        if self.owns_netns:
            self.netns.close()
        host.remove_cgroup(self.mark)
        for path in (self.run_dir, self.stage_dir, self.base):
            host.remove_tree(path)

    # Images and VMs

    def tiny_manifest(self, bundle_id="tiny", read_only=True, **extra):
        kernel, rootfs = self.images / "tiny.elf", self.images / "rootfs.img"
        if not kernel.exists():
            kernel.write_bytes(TINY.read_bytes())
            rootfs.write_bytes(disks.ext4(bytes(range(256))))
        return {
            "schema_version": 1,
            "bundle_id": bundle_id,
            "rootfs_is_read_only": read_only,
            "kernel": {"path": str(kernel)},
            "rootfs": {"path": str(rootfs)},
            **extra,
        }

    def add_tiny(self, bundle_id="tiny", **kw):
        reply = self.client.post("/images", {"manifest": self.tiny_manifest(bundle_id, **kw)}, wait=20)
        if reply.status != 201 or reply.json["state"] != "ready":
            raise AssertionError(f"{reply!r}\n{self.log_tail()}")
        return self

    def settled(self, vm):
        """The VM once the worker has done what is wanted of it."""
        state = self.client.json(f"/vms/{vm}")
        done = state["observed_generation"] == state["generation"]
        return state if done and state["state"] in ("running", "paused", "stopped", "failed") else None

    def leaks(self):
        """What is still on the host though there is no VM any more. Empty when all is well."""
        found = {
            "VMM processes": [f"{pid} {_command(pid)}" for pid in self.vmm_pids()],
            "TAPs": [name for name in self.netns.links() if name.startswith(self.tap_prefix)],
            "leases": self.client.items("/network/leases"),
            "runtime files": host.files_below(self.run_dir / "vm"),
            "staged files": host.files_below(self.stage_dir / self.mark),
            "firewall elements": self.netns.set_elements(self.mark, "guest4") or [],
            "cgroups": _cgroups(self.mark),
            "uids": host.held_uids(self.config["state_dir"]),
            "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f" {self.run_dir}" in line],
        }
        return {what: left for what, left in found.items() if left}

    def await_no_leaks(self, timeout=15):
        end = time.monotonic() + timeout
        while leaks := self.leaks():
            if time.monotonic() > end:
                raise AssertionError(f"left behind: {json.dumps(leaks, indent=1)}\n{self.log_tail()}")
            time.sleep(0.05)


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _cgroups(mark):
    mount = host.cgroup2_mount()
    if mount is None or not (mount / mark).is_dir():
        return []
    return [entry.name for entry in (mount / mark).iterdir() if entry.is_dir()]
