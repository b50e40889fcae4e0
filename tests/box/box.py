"""The box: a whole KVM host in QEMU without KVM, on which the daemon runs as on any other host. It has a disk of its own that outlives it."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))

from client import Client  # noqa: E402
from daemon import BUILD, SANITIZER  # noqa: E402
from host import eventually, remove_tree, tsc_khz  # noqa: E402

MEMORY_MIB = 3072
DISK_MIB = 1024
BOOT_LIMIT_S = 75
BOOT_TRIES = 3
READY_LIMIT_S = 60
AGENT_PORT, API_PORT = 7000, 7001
# Slow by design: every instruction in here is emulated, and of a guest's twice.
SETTINGS = {
    "state_dir": "/var/lib/smartvm",
    "images": {"allowed_roots": ["/usr/share/box"]},
    "vmm": {"start_timeout_s": 60, "stop_timeout_s": 60, "api_timeout_s": 30},
    "network": {"lease_quarantine_s": 0},
    "capacity": {"memory_mib": 1 << 20, "vcpu_factor": 10000},  # as in tests/api/daemon.py
    "log": {"level": "debug"},
}


class ScriptFailed(AssertionError):
    pass


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Box:
    """
    It is told the frequency of its clock, and that its processors' counters agree: on a busy machine it would measure that wrong, and lose time or hang.
    `durable`: what the box has not flushed to its disk is gone when its power is cut. Then the disk is served by a process of its own, whose cache
    dies with it. `init`: another one than busybox's.
    """

    last = None  # that was made

    def __init__(self, durable=False, init=None):
        self.work = Path(f"/var/tmp/smartvm-box-{os.getpid()}-{free_port()}")
        self.work.mkdir(parents=True)
        self.disk = self.work / "state.raw"
        self.console = self.work / "console.log"
        self.log_path = "/var/log/smartvmd.log"
        self.durable = durable
        self.init = f" box.init={init}" if init else ""
        self.qemu = self.nbd = None
        self.console_from = 0
        Box.last = self
        self.boots = 0
        self.settings = {}
        tree = self.work / "tree"
        for name in ("lib", "log", "tmp"):
            (tree / name).mkdir(parents=True)
        (tree / "run").symlink_to("/run")
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, self.disk, f"{DISK_MIB}M"], check=True, stdout=subprocess.DEVNULL)

    # The machine

    def boot(self):
        """A boot that hangs (the emulation again, see play.py) is begun anew."""
        for left in reversed(range(BOOT_TRIES)):
            self._switch_on()
            begin = time.monotonic()
            try:
                eventually(self._answers, "the box", BOOT_LIMIT_S, 0.1)
            except AssertionError:
                if left == 0:
                    raise
                print(f"box: not up after {BOOT_LIMIT_S} s, once more:\n{self.console_tail(5)}", flush=True)
                self.cut_power()
            else:
                print(f"box: up after {time.monotonic() - begin:.1f} s", flush=True)
                return self

    def _switch_on(self):
        agent, api = free_port(), free_port()
        self.agent, self.client = ("127.0.0.1", agent), Client(("127.0.0.1", api))
        disk = f"file={self.disk}"
        if self.durable:
            path = self.work / f"disk-{self.boots}.sock"
            self.nbd = subprocess.Popen(["nbdkit", "--foreground", "--unix", path, "--filter=cache", "file", self.disk, "cache=writeback"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            eventually(path.exists, "the disk's server")
            disk = f"file=nbd+unix:///?socket={path}"
        self.boots += 1
        self.console_from = self.console.stat().st_size if self.console.exists() else 0
        forward = ",".join(f"hostfwd=tcp:127.0.0.1:{ours}-:{theirs}" for ours, theirs in ((agent, AGENT_PORT), (api, API_PORT)))
        with open(self.console, "ab") as console:
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", "-M", "microvm,accel=tcg,rtc=on", "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", "2", "-no-reboot", "-nodefaults",
                 "-no-user-config", "-nographic", "-serial", "stdio", "-kernel", BUILD / "image/debian-minimal/vmlinux", "-initrd", BUILD / "box/initrd",
                 "-append", f"console=ttyS0 reboot=t panic=-1 quiet tsc_early_khz={tsc_khz()} tsc=reliable{self.init}",
                 "-drive", f"id=root,if=none,format=raw,read-only=on,file={BUILD / 'box/root'}", "-device", "virtio-blk-device,drive=root,serial=root",
                 "-drive", f"id=state,if=none,format=raw,{disk}", "-device", "virtio-blk-device,drive=state,serial=state",
                 "-netdev", f"user,id=n0,restrict=on,{forward}", "-device", "virtio-net-device,netdev=n0"],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def _answers(self):
        if self.qemu.poll() is not None:
            raise AssertionError(f"the box ended with {self.qemu.returncode}:\n{self.console_tail()}")
        try:
            return self.sh("test -e /run/box-is-up", timeout=1, check=False)[1] == 0
        except OSError:
            return False

    def cut_power(self):
        """At once, with all that was not flushed (if `durable`)."""
        for process in (self.nbd, self.qemu):
            if process is not None:
                process.kill()
        for process in (self.nbd, self.qemu):
            if process is not None:
                process.wait()
        self.qemu = self.nbd = None

    def reset(self):
        self.cut_power()
        return self.boot()

    def is_running(self):
        return self.qemu is not None and self.qemu.poll() is None

    def sh(self, script, timeout=60, check=True):
        """Runs a script in the box: what it printed, and its status if that is not checked."""
        with socket.create_connection(self.agent, timeout) as sock:
            sock.sendall(script.encode())
            sock.shutdown(socket.SHUT_WR)
            data = b""
            # Not up to the end of the connection: what the script leaves running may keep that open.
            while not re.search(rb"\0\d+\n\Z", data[-8:]) and (block := sock.recv(65536)):
                data += block
        output, mark, status = data.rpartition(b"\0")
        if not mark:
            raise ConnectionResetError(f"no answer of the box to {script!r}")
        if not check:
            return output.decode(errors="replace"), int(status)
        if int(status) != 0:
            raise ScriptFailed(f"status {int(status)} of {script!r}:\n{output.decode(errors='replace')}")
        return output.decode(errors="replace")

    def json(self, script):
        return json.loads(self.sh(script))

    def console_tail(self, lines=30):
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def crash(self):
        """What the box's kernel said, since it was switched on, when it broke; None of one that is whole."""
        if not self.console.exists():
            return None
        text = self.console.read_bytes()[self.console_from :].decode(errors="replace")
        found = re.search(r"^.*(Oops|BUG:|general protection|Kernel panic|invalid opcode|soft lockup|rcu_.*stall).*$", text, re.M)
        return text[found.start() : found.start() + 4000] if found else None

    def hung_guests(self):
        """
        Guests whose processor turns round and round although KVM gives it nothing to do: each exit is one for an interrupt of the host, and none is for the
        guest. Emulated virtualization (QEMU 7.2) now and then leaves a guest so, in a spinlock that nobody holds, mostly when several share a processor.
        Guests of tests that turn round on purpose look the same.
        """
        return self.sh("""
            mount -t debugfs debug /sys/kernel/debug 2> /dev/null
            cd /sys/kernel/debug/kvm || exit 0
            look() { for vm in [0-9]*-*; do [ -e $vm/exits ] && echo $vm $(cat $vm/exits $vm/irq_exits $vm/irq_injections 2> /dev/null); done; }
            { look; sleep 3; look; } | awk '
                !($1 in exits) { exits[$1] = $2; irqs[$1] = $3; injections[$1] = $4; next }
                $3 - irqs[$1] > 50 && $2 - exits[$1] - ($3 - irqs[$1]) < 10 && $4 == injections[$1] { print $1 }'""", check=False)[0].split()

    def broken(self):
        """What shows that the emulation broke, and not the daemon; None of a box that is whole."""
        if (crash := self.crash()) is not None:
            return crash
        if self.qemu is not None and not self.is_running():
            return f"QEMU ended by itself with {self.qemu.returncode}"
        try:
            hung = self.is_running() and self.sh("true", timeout=60) == "" and self.hung_guests()
        except OSError as e:
            return f"the box does not answer: {e}"
        return f"guests hang: {' '.join(hung)}" if hung else None

    def close(self):
        self.cut_power()
        remove_tree(self.work)

    # The daemon in it

    def start_daemon(self, settings=None, arguments=""):
        if settings is not None:
            self.settings = settings
        config = json.dumps(_merged(SETTINGS, self.settings))
        environment = "ASAN_OPTIONS=detect_leaks=0:handle_abort=1 UBSAN_OPTIONS=print_stacktrace=1"
        self.sh(f"cat > /run/smartvmd.yaml << 'END'\n{config}\nEND\n"
                f"{environment} setsid smartvmd --config /run/smartvmd.yaml {arguments} >> {self.log_path} 2>&1 &\necho $! > /run/smartvmd.pid\n")
        begin = time.monotonic()
        eventually(self._is_ready, "the daemon", READY_LIMIT_S, 0.1)
        self.ready_s = time.monotonic() - begin

    def _is_ready(self):
        output, status = self.sh("kill -0 $(cat /run/smartvmd.pid)", check=False)
        if status != 0:
            raise AssertionError(f"the daemon ended: {output}\n{self.log_tail()}")
        return self.api_is_ready()

    def api_is_ready(self):
        try:
            return self.client.get("/readyz", timeout=20).status == 200
        except (OSError, http.client.HTTPException):  # the way there begins before the daemon listens
            return False

    @property
    def daemon_pid(self):
        return int(self.sh("cat /run/smartvmd.pid"))

    def stop_daemon(self):
        self.sh("pid=$(cat /run/smartvmd.pid); kill $pid; for i in $(seq 300); do kill -0 $pid 2> /dev/null || exit 0; sleep 0.1; done; exit 1")

    def kill_daemon(self):
        self.sh("pid=$(cat /run/smartvmd.pid); kill -9 $pid; for i in $(seq 100); do pidof smartvmd > /dev/null || exit 0; sleep 0.1; done; exit 1")

    def log_tail(self, lines=40):
        return self.sh(f"grep -v event=http.request {self.log_path} | tail -n {lines}", check=False)[0] if self.is_running() else self.console_tail()

    def sanitizer_reports(self):
        text = self.sh(f"cat {self.log_path} 2> /dev/null", check=False)[0]
        return [text[m.start() : m.start() + 6000] for m in SANITIZER.finditer(text)]


def _merged(base, extra):
    result = dict(base)
    for key, value in extra.items():
        result[key] = {**result.get(key, {}), **value} if isinstance(value, dict) else value
    return result
