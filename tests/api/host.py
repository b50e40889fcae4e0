"""The test's view of the host: network namespaces of its own, processes, links, firewall, files."""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, check=True, **kw):
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60, **kw)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def tsc_khz():
    """For guests without KVM, which cannot measure their clock reliably when the host is busy, and hang without one."""
    with open("/proc/cpuinfo", encoding="ascii") as cpus:
        return round(float(re.search(r"cpu MHz\s*: ([0-9.]+)", cpus.read())[1]) * 1000)


def eventually(probe, what="the condition", timeout=10.0, every=0.02):
    """Polls until `probe` gives something true, which it returns."""
    end = time.monotonic() + timeout
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s, the last value was {value!r}")
        time.sleep(every)


class Netns:
    """A network namespace with a veth to a second one, `world`, which has the address 192.0.2.1 as the outside."""

    def __init__(self, name):
        self.name, self.world = name, name + "w"
        run("ip", "netns", "add", self.name)
        run("ip", "netns", "add", self.world)
        self.ip("link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", self.world)
        for ns, link, address in ((self.name, "up0", "198.51.100.2/30"), (self.world, "up1", "198.51.100.1/30")):
            run("ip", "-n", ns, "address", "add", address, "dev", link)
            run("ip", "-n", ns, "link", "set", link, "up")
            run("ip", "-n", ns, "link", "set", "lo", "up")
        run("ip", "-n", self.world, "address", "add", "192.0.2.1/32", "dev", "lo")
        self.ip("route", "add", "default", "via", "198.51.100.1")

    def wrap(self, *argv):
        """Without a mount namespace of its own, unlike `ip netns exec`, which would hide the cgroups."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv]

    def run(self, *argv, **kw):
        return run(*self.wrap(*argv), **kw)

    def ip(self, *argv, check=True):
        return run("ip", "-n", self.name, *argv, check=check)

    def add_link(self, name, address):
        """A link that is up, to nowhere."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", name + "p")
        for end in (name, name + "p"):
            self.ip("link", "set", end, "up")
        self.ip("address", "add", address, "dev", name)

    def links(self):
        """name -> {"alias", "master", "up", "isolated", "mac", …} of every link but the two that the test made."""
        found = {}
        for link in json.loads(self.ip("-j", "-d", "link", "show") or "[]"):
            if link["ifname"] in ("lo", "up0"):
                continue
            info = link.get("linkinfo", {})
            found[link["ifname"]] = {
                "alias": link.get("ifalias", ""),
                "master": link.get("master"),
                "up": "UP" in link["flags"],
                "kind": info.get("info_kind"),
                "isolated": info.get("info_slave_data", {}).get("isolated", False),
                "mac": link.get("address"),
            }
        return found

    def ruleset(self):
        return json.loads(self.run("nft", "-j", "list", "ruleset"))["nftables"]

    def set_elements(self, table, name):
        for entry in self.ruleset():
            found = entry.get("set")
            if found and found["table"] == table and found["name"] == name:
                return [e["elem"]["val"] if isinstance(e, dict) and "elem" in e else e for e in found.get("elem", [])]
        return None

    def pids(self):
        """Processes in the namespace; a zombie has none any more."""
        return sorted(int(pid) for pid in run("ip", "netns", "pids", self.name, check=False).split())

    def connect(self, address, port, timeout=5, world=False):
        """A TCP connection out of the namespace (or of `world`). A thread goes there, so that this one stays where it is."""
        result = []

        def work():
            fd = os.open(f"/run/netns/{self.world if world else self.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                result.append(socket.create_connection((address, port), timeout))
            except OSError as e:
                result.append(e)
            finally:
                os.close(fd)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]

    def close(self):
        remove_netns(self.name)
        remove_netns(self.world)


def remove_netns(name):
    """The namespace with whatever runs in it."""

    def kill_all():
        pids = run("ip", "netns", "pids", name, check=False).split()
        for pid in pids:
            kill(int(pid), signal.SIGKILL)
        return not pids

    eventually(kill_all, f"the end of all processes in {name}", every=0.05)
    run("ip", "netns", "delete", name, check=False)


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def is_alive(pid):
    """Neither gone nor a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def cmdline_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def uid_of(pid):
    """The effective one; None of a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(status.partition("\nUid:")[2].split()[1])


def files_below(directory):
    directory = Path(directory)
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*")) if directory.exists() else []


UIDS = Path("/run/smartvm.uids")


def held_uids(state_dir):
    """Uids that VMs of the daemon with this directory hold, by VM."""
    found = {}
    for entry in UIDS.iterdir() if UIDS.is_dir() else ():
        try:
            words = entry.read_text().split("\n")
        except FileNotFoundError:
            continue
        if words[0] == str(state_dir):
            found[words[1]] = int(entry.name)
    return found


def cgroup2_mount():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    return None


def remove_cgroup(mark):
    mount = cgroup2_mount()
    if mount is not None and (mount / mark).is_dir():
        for path in sorted((mount / mark).rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
        (mount / mark).rmdir()


def remove_tree(path):
    """Never a relative path, or one near the root: a slip in a test must not cost the host's files."""
    assert Path(path).is_absolute() and len(Path(path).parts) >= 3, path
    shutil.rmtree(path, ignore_errors=True)
