"""Every VMM in its jail: what it is, what it can't reach, what it can't fill, and what the worker makes of what it leaves lying there."""

import ctypes
import errno
import fcntl
import os
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import disks
import host
from daemon import UNJAILED, Daemon
from host import UIDS, held_uids
from harness import OwnDaemonCase, ThemeCase, eventually, is_alive, limit, run

CONFIG_UIDS = range(1879048192, 1879048192 + 65536)
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def limit_of(pid, name):
    """Soft and hard."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name))
    return tuple(line[len(name):].split()[:2])


def descriptors_of(pid):
    return {int(entry.name): os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def mounts():
    return Path("/proc/self/mountinfo").read_text()


def as_uid(uid, work, root=None):
    """What `work` returns (a small text) in a process of that uid, perhaps with another root directory; what it raises is its errno's name."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if root is not None:
                os.chroot(root)
                os.chdir("/")
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            answer = str(work())
        except OSError as e:
            answer = errno.errorcode[e.errno]
        except BaseException as e:  # noqa: BLE001
            answer = repr(e)
        os.write(theirs, answer.encode()[:4000])
        os._exit(0)
    os.close(theirs)
    answer = b""
    while block := os.read(ours, 4096):
        answer += block
    os.close(ours)
    os.waitpid(pid, 0)
    return answer.decode()


class JailCase:
    def check_jailed(self, vm):
        """A resource, against the process."""
        pid, uid = vm["vmm"]["pid"], vm["vmm"]["uid"]
        self.assertIs(True, vm["vmm"]["jailed"], vm["vmm"])
        self.assertIn(uid, CONFIG_UIDS)
        status = status_of(pid)
        self.assertEqual([uid] * 4, [int(n) for n in status["Uid"].split()])
        self.assertEqual([uid] * 4, [int(n) for n in status["Gid"].split()])
        self.assertEqual("", status["Groups"].strip())
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(0, int(status[name], 16), name)
        self.assertEqual("1", status["NoNewPrivs"])
        for task in Path(f"/proc/{pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            if not name.startswith("kvm"):
                self.assertEqual("2", status_of(f"{pid}/task/{task.name}")["Seccomp"], f"thread {name}")
        self.assertEqual(("0", "0"), limit_of(pid, "Max core file size"))
        self.assertNotEqual(os.stat(f"/proc/{pid}/root/").st_dev, os.stat("/").st_dev)
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/mnt"), os.readlink("/proc/self/ns/mnt"))
        self.assertEqual(os.readlink(f"/proc/{pid}/ns/net"), os.readlink(f"/proc/{self.daemon.pid}/ns/net"))


class LookTest(JailCase, ThemeCase):
    @limit(90)
    def test_what_a_vmm_is(self):
        for vmm in ("firecracker", "qemu"):
            with self.subTest(vmm):
                vm = self.create(vmm=vmm)
                self.check_jailed(vm)
                pid = vm["vmm"]["pid"]
                root = Path(f"/proc/{pid}/root")
                self.assertTrue((root / "api.sock").is_socket())
                self.assertFalse((root / "proc/self").exists())
                self.assertFalse((root / "etc/passwd").exists())
                self.assertFalse((root / "home").exists())
                table = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
                self.assertLess(len(table), 12, table)
                inside = {line.split()[4]: line.split()[5].split(",") for line in table}
                self.assertIn("ro", inside["/kernel"])
                self.assertIn("ro", inside["/drive-rootfs"])

    @limit(90)
    def test_nothing_but_its_own_descriptors(self):
        own = re.compile(r"^(/(api\.sock|kernel|drive-rootfs|vmm\.(json|out)|dev/(kvm|net/tun|null|urandom|userfaultfd))|anon_inode:.*|socket:.*|pipe:.*|/memfd:.*)$")
        ours = {target for target in descriptors_of(self.daemon.pid).values() if target.startswith("socket:")}
        for vmm in ("firecracker", "qemu"):
            with self.subTest(vmm):
                for number, target in descriptors_of(self.create(vmm=vmm)["vmm"]["pid"]).items():
                    if number <= 2:
                        self.assertRegex(target, r"/(console|vmm)\.(in|out)$")
                    else:
                        self.assertRegex(target, own, f"descriptor {number}")
                        self.assertNotIn(target, ours)

    def test_each_has_its_own_uid_and_it_rests_afterwards(self):
        first, second = self.create(), self.create(vmm="qemu")
        self.assertNotEqual(first["vmm"]["uid"], second["vmm"]["uid"])
        self.assertEqual(first["vmm"]["uid"], held_uids(self.daemon.config["state_dir"])[first["id"]])
        stopped = self.act(first["id"], "kill")
        self.assertEqual((None, None), (stopped["vmm"]["uid"], stopped["vmm"]["jailed"]))
        self.assertNotIn(first["id"], held_uids(self.daemon.config["state_dir"]))
        self.assertEqual("", (UIDS / str(first["vmm"]["uid"])).read_text())  # it rests
        again = self.act(first["id"], "start")
        self.assertNotEqual(first["vmm"]["uid"], again["vmm"]["uid"])

    @limit(90)
    def test_a_reboot_keeps_the_drive_and_its_owner(self):
        self.ok(self.c.post("/images", {"manifest": self.daemon.tiny_manifest("writable", read_only=False)}, wait=20), 201)
        for vmm in ("firecracker", "qemu"):
            with self.subTest(vmm):
                vm = self.create(image="writable", vmm=vmm)
                drive = self.daemon.stage_dir / self.daemon.mark / vm["id"] / "rootfs"
                self.assertEqual(vm["vmm"]["uid"], drive.stat().st_uid)
                inside = self.jail_of(vm["id"]) / "drive-rootfs"
                self.assertEqual(drive.stat().st_ino, inside.stat().st_ino)
                self.check_jailed(self.act(vm["id"], "reboot"))
                self.assertEqual(self.vm(vm["id"])["vmm"]["uid"], drive.stat().st_uid)

    def test_the_host_says_what_is_in_force(self):
        found = self.c.json("/host")["containment"]
        for vmm in ("firecracker", "qemu"):
            self.assertEqual({"in_force": True, "required": True, "reason": None}, found["jail"][vmm])
        self.assertTrue(found["jailer"]["available"])
        version = tuple(int(n) for n in found["jailer"]["version"].split("."))
        faulty = version <= (1, 13, 1) or version == (1, 14, 0)
        self.assertEqual(["CVE-2026-1386"] if faulty else [], [fault["name"] for fault in found["jailer"]["known_faults"]])

    @limit(90)
    def test_the_host_has_no_mount_of_a_jail(self):
        before = mounts()
        vms = [self.create(vmm=vmm)["id"] for vmm in ("firecracker", "qemu")]
        self.assertNotIn(str(self.daemon.run_dir), mounts())
        for vm in vms:
            self.forget(vm)
        self.assertNotIn(str(self.daemon.run_dir), mounts())
        self.assertEqual(before.count("tmpfs"), mounts().count("tmpfs"))
        self.assertEqual([], list((self.daemon.run_dir / "jail").iterdir()))


class ReachTest(JailCase, ThemeCase):
    """As the VM's uid, and with the host's own root directory: more than whoever breaks out of a VMM has."""

    @limit(90)
    def test_what_it_is_refused(self):
        vm, other = self.create(vmm="qemu"), self.create()
        uid, pid = vm["vmm"]["uid"], other["vmm"]["pid"]
        state = Path(self.daemon.config["state_dir"])
        keeper = self.daemon.keeper_pid()
        refused = {
            "another chroot": lambda: os.listdir(f"/proc/{pid}/root/"),
            "another's memory": lambda: open(f"/proc/{pid}/mem", "rb"),
            "another's descriptors": lambda: os.listdir(f"/proc/{pid}/fd"),
            "seal.key": lambda: (state / "seal.key").read_bytes(),
            "the database": lambda: (state / "db" / "smartvm.db").read_bytes(),
            "the worker's memory": lambda: os.listdir(state / "worker"),
            "the store": lambda: os.listdir(state / "images"),
            "runtime directories": lambda: os.listdir(self.daemon.run_dir / "vm" / vm["id"]),
            "staged drives": lambda: os.listdir(self.daemon.stage_dir / self.daemon.mark),
            "uids": lambda: os.listdir(UIDS),
            "a signal to another VMM": lambda: os.kill(pid, 0),
            "a signal to the worker": lambda: os.kill(self.daemon.pid, 0),
            "a signal to the keeper": lambda: os.kill(keeper, 0),
            "the API's socket": lambda: socket.socket(socket.AF_UNIX).connect(str(self.daemon.socket)),
            "another uid": lambda: os.setuid(other["vmm"]["uid"]),
        }
        for what, work in refused.items():
            with self.subTest(what):
                self.assertIn(as_uid(uid, work), ("EACCES", "EPERM"), what)
        with self.subTest("a TAP"):
            self.assertEqual("EPERM", self.attach(uid, other["network_interfaces"][0]["tap"]))
            self.assertEqual("EBUSY", self.attach(uid, vm["network_interfaces"][0]["tap"]))  # its own: its VMM has it

    def attach(self, uid, tap):
        def work():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.daemon.netns.name}") as namespace:
                if libc.setns(namespace.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            node = os.open("/dev/net/tun", os.O_RDWR)
            os.setresuid(uid, uid, uid)
            fcntl.ioctl(node, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
            return "attached"

        return as_uid(0, work)


class Listener:
    """A unix socket that keeps what it hears."""

    def __init__(self, path):
        self.heard = b""
        self.sock = socket.socket(socket.AF_UNIX)
        directory = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
        self.sock.bind(f"/proc/self/fd/{directory}/{Path(path).name}")
        os.close(directory)
        os.chmod(path, 0o777)
        self.sock.listen(16)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            client.settimeout(1)
            try:
                self.heard += client.recv(4096)
            except OSError:
                pass
            client.close()

    def close(self):
        self.sock.close()


class HostileJailTest(JailCase, OwnDaemonCase):
    settings = {"vmm": {"api_timeout_s": 1}}

    def await_foreign(self, vm, listener=None):
        self.c.post(f"/vms/{vm}/pause")  # makes the worker ask the VMM
        shown = self.await_vm(vm, lambda v: self.condition(v, "process")["reason"] == "foreign_socket", "the condition foreign_socket")
        self.assertEqual("unknown", self.condition(shown, "process")["status"])
        if listener is not None:
            self.assertEqual(b"", listener.heard)
        return shown

    @limit(180)
    def test_a_socket_that_is_none_of_the_vmms(self):
        for vmm in ("firecracker", "qemu"):
            for kind in ("link", "absolute link", "listener", "file", "directory"):
                with self.subTest(f"{vmm}: {kind}"):
                    self.check_foreign(vmm, kind)
        self.daemon.await_no_leaks()

    def check_foreign(self, vmm, kind):
        vm = self.create(vmm=vmm)
        path = self.jail_of(vm["id"]) / "api.sock"
        listener = None
        path.unlink()
        if kind == "link":
            listener = Listener(path.with_name("other.sock"))
            path.symlink_to("other.sock")
        elif kind == "absolute link":
            listener = Listener(self.daemon.base / f"{kind[:4]}-{vmm}")
            path.symlink_to(self.daemon.base / f"{kind[:4]}-{vmm}")
        elif kind == "listener":
            listener = Listener(path)
        elif kind == "file":
            path.write_bytes(b"")
        else:
            path.mkdir()
        shown = self.await_foreign(vm["id"], listener)
        self.assertEqual(vm["vmm"]["pid"], shown["vmm"]["pid"])
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.forget(vm["id"])
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        if listener is not None:
            self.assertEqual(b"", listener.heard)
            listener.close()

    def test_a_daemon_that_finds_such_a_socket_when_it_starts(self):
        vm = self.create()
        path = self.jail_of(vm["id"]) / "api.sock"
        path.unlink()
        listener = Listener(path)
        self.daemon.kill9()
        self.daemon.start()
        shown = self.await_foreign(vm["id"], listener)
        self.assertEqual(vm["vmm"]["pid"], shown["vmm"]["pid"])
        self.act(vm["id"], "kill")
        self.assertFalse(is_alive(vm["vmm"]["pid"]))
        listener.close()

    @limit(120)
    def test_a_jail_that_is_filled(self):
        """By the VMM's uid, from inside. It is bounded, it goes with its process, and nothing that it links to is touched."""
        canary = self.daemon.base / "canary"
        canary.write_text("alive")
        before = mounts().count("tmpfs")
        for vmm in ("firecracker", "qemu"):
            with self.subTest(vmm):
                vm = self.create(vmm=vmm)
                root = f"/proc/{vm['vmm']['pid']}/root"

                def fill():
                    made = 0
                    for i in range(10):
                        os.symlink(str(canary), f"link{i}")
                    os.mkdir("deep")
                    os.chdir("deep")
                    try:
                        for _ in range(1000000):
                            os.mkdir("d")
                            os.chdir("d")
                            with open("small", "wb") as file:
                                file.write(b"x")
                            made += 1
                    except OSError as e:
                        full = errno.errorcode[e.errno]
                    return f"{made} {full}"

                answer = as_uid(vm["vmm"]["uid"], fill, root).split()
                self.assertEqual("ENOSPC", answer[1], answer)
                self.assertLess(int(answer[0]), 1000)
                usage = os.statvfs(root)
                self.assertLess(usage.f_blocks * usage.f_frsize, 32 << 20)
                with self.quick(1):
                    self.assertEqual(200, self.c.get("/healthz").status)
                self.forget(vm["id"])
                self.assertEqual("alive", canary.read_text())
                self.assertEqual(before, mounts().count("tmpfs"))
        self.daemon.await_no_leaks()

    def test_a_drive_grows_for_nobody(self):
        """A VMM owns its writable drive. It can't make it larger than it is."""
        self.ok(self.c.post("/images", {"manifest": self.daemon.tiny_manifest("writable", read_only=False)}, wait=20), 201)
        for vmm in ("firecracker", "qemu"):
            with self.subTest(vmm):
                soft, hard = limit_of(self.create(image="writable", vmm=vmm)["vmm"]["pid"], "Max file size")
                self.assertEqual(soft, hard)
                self.assertLess(int(hard), 64 << 20)


class WithoutTest(JailCase, OwnDaemonCase):
    """Hosts that can't make a jail, and VMs from before there were any."""

    def restart_with(self, **vmm):
        self.daemon.config["vmm"].update(vmm)
        self.daemon.restart()

    def attempt(self):
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        return self.c.post("/vms", body, wait=15)

    def part(self, *path):
        found = self.c.json("/host")["containment"]
        for name in path:
            found = found[name]
        return found["in_force"], found["required"]

    @limit(120)
    def test_vms_of_the_version_before(self):
        self.restart_with(**UNJAILED)
        self.assertEqual((False, False), self.part("jail", "firecracker"))
        vm = self.create()
        self.assertEqual((False, 0), (vm["vmm"]["jailed"], vm["vmm"]["uid"]))
        record = self.daemon.run_dir / "vm" / vm["id"] / "boot"
        record.write_text(" ".join(record.read_text().split()[:7]) + "\n")  # as it was written then
        del self.daemon.config["vmm"]["jailer"]
        self.daemon.restart()
        adopted = self.vm(vm["id"])
        self.assertEqual((vm["vmm"]["pid"], False, 0, "running"), (*(adopted["vmm"][k] for k in ("pid", "jailed", "uid")), adopted["state"]))
        self.act(vm["id"], "pause")
        self.act(vm["id"], "resume")
        jailed = self.act(vm["id"], "reboot")
        self.assertNotEqual(vm["vmm"]["pid"], jailed["vmm"]["pid"])
        self.check_jailed(jailed)

    @limit(90)
    def test_adopted_in_its_jail(self):
        vms = [self.create(vmm=vmm) for vmm in ("firecracker", "qemu")]
        for end in (self.daemon.kill9, self.daemon.stop):
            end()
            self.daemon.start()
            for vm in vms:
                now = self.await_vm(vm["id"], lambda v: v["state"] == "running")
                self.assertEqual((vm["vmm"]["pid"], vm["vmm"]["uid"]), (now["vmm"]["pid"], now["vmm"]["uid"]))
                self.check_jailed(now)
        for vm in vms:
            self.act(vm["id"], "pause")

    def test_adopted_when_the_files_of_uids_were_removed(self):
        vm = self.create()
        self.daemon.kill9()
        (UIDS / str(vm["vmm"]["uid"])).unlink()
        self.daemon.start()
        now = self.await_vm(vm["id"], lambda v: v["state"] == "running")
        self.assertEqual((vm["vmm"]["pid"], vm["vmm"]["uid"]), (now["vmm"]["pid"], now["vmm"]["uid"]))
        self.assertIn(vm["id"], held_uids(self.daemon.config["state_dir"]))

    def test_where_a_jail_is_required(self):
        self.restart_with(**UNJAILED, require_jail=True)
        self.assertIn("vmm.require_jail", self.refused(self.attempt(), 409, "CONTAINMENT_UNAVAILABLE")["detail"])
        self.assertEqual((False, True), self.part("jail", "firecracker"))

    def test_a_jailer_that_goes_is_missed(self):
        """What the host could do when the daemon started is required from then on."""
        place = self.daemon.base / "bin" / "jailer"
        place.parent.mkdir()
        place.symlink_to("/usr/local/bin/jailer")
        self.restart_with(jailer=str(place))
        self.check_jailed(self.create())
        place.unlink()
        self.refused(self.attempt(), 409, "CONTAINMENT_UNAVAILABLE")

    def test_a_jailer_with_a_known_fault_is_refused(self):
        self.restart_with(allow_known_faults=False, require_jail=True)
        reply = self.attempt()
        if self.c.json("/host")["containment"]["jailer"]["known_faults"]:
            self.assertIn("CVE-2026-1386", self.refused(reply, 409, "CONTAINMENT_UNAVAILABLE")["detail"])
        else:
            self.assertEqual(201, reply.status)

    def test_a_jailer_of_another_version_is_not_used(self):
        fake = self.daemon.base / "jailer"
        fake.write_text("#!/bin/sh\necho 'Jailer v9.8.7'\n")
        fake.chmod(0o755)
        self.restart_with(jailer=str(fake), require_jail=True)
        self.assertIn("9.8.7", self.refused(self.attempt(), 409, "CONTAINMENT_UNAVAILABLE")["detail"])

    def test_where_limits_are_required(self):
        self.restart_with(require_limits=True)
        reply = self.attempt()
        if {"memory", "pids"} <= set(self.c.json("/host")["cgroup"]["controllers"]):
            self.assertEqual(201, reply.status)
        else:
            self.assertEqual((False, True), self.part("limits"))
            self.assertIn("vmm.require_limits", self.refused(reply, 409, "CONTAINMENT_UNAVAILABLE")["detail"])

    def test_uids_of_accounts_are_refused(self):
        self.daemon.stop()
        self.daemon.config["vmm"].update({"uid_first": 65500, "uid_count": 100})
        self.daemon.spawn()
        self.assertNotEqual(0, self.daemon.process.wait(20))
        self.assertRegex(self.daemon.log_tail(), r"vmm\.uid_first.*'(nobody|nogroup)' has 65534")
        self.daemon.config["vmm"].update({"uid_first": CONFIG_UIDS[0], "uid_count": len(CONFIG_UIDS)})
        self.daemon.start()

    def test_all_uids_taken(self):
        self.restart_with(uid_first=1879113800 + os.getpid() % 100000, uid_count=1)
        self.create()
        reply = self.attempt()
        self.assertEqual(500, reply.status)
        self.assertIn("vmm.uid_count", reply.json["detail"])

    def test_a_uid_that_somebody_has_is_not_given_out(self):
        first = 1879313800 + 2 * (os.getpid() % 100000)
        self.restart_with(uid_first=first, uid_count=2)
        pid = os.fork()
        if pid == 0:
            os.setresuid(first, first, first)
            time.sleep(600)
            os._exit(0)
        try:
            eventually(lambda: host.uid_of(pid) == first, "its uid")
            self.assertEqual(first + 1, self.create()["vmm"]["uid"])
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class StageTest(OwnDaemonCase):
    def test_somebodys_directory_in_dev_shm(self):
        """Whatever is at the place of the drives keeps no daemon from starting."""
        daemon = Daemon({"vmm": {"stage_dir": ""}})
        self.addCleanup(daemon.close)
        place = Path("/dev/shm") / daemon.mark
        elsewhere = daemon.base / "elsewhere"
        elsewhere.mkdir()
        for kind in ("directory", "file", "link"):
            with self.subTest(kind):
                if kind == "directory":
                    place.mkdir()
                    os.chown(place, 65534, 65534)
                elif kind == "file":
                    place.write_text("x")
                else:
                    place.symlink_to(elsewhere)
                try:
                    daemon.start()
                    daemon.stop()
                finally:
                    place.rmdir() if kind == "directory" else place.unlink()

    @limit(120)
    def test_a_guest_that_fills_its_drive_fills_no_others(self):
        """A sparse drive has the promise of all of its size: who could take it from another is not started."""
        mib = 1 << 20
        path = self.daemon.images / "sparse.img"
        disks.sparse_ext4(path, 8 * mib)
        stage = self.daemon.base / "stage"
        stage.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=20m,mode=0700", "none", str(stage))
        self.addCleanup(run, "umount", str(stage), check=False)
        self.daemon.config["vmm"]["stage_dir"] = str(stage)
        self.daemon.restart()
        manifest = self.daemon.tiny_manifest("sparse", read_only=False) | {"rootfs": {"path": str(path)}}
        self.assertEqual("ready", self.c.post("/images", {"manifest": manifest}, wait=30).json["state"])
        first, second = self.create(image="sparse"), self.create(image="sparse", vmm="qemu")
        self.refused(self.c.post("/vms", self.body(image="sparse"), wait=15), 409, "INSUFFICIENT_CAPACITY")
        for vm in (first, second):  # as their guests could
            with open(self.jail_of(vm["id"]) / "drive-rootfs", "r+b") as drive:
                for _ in range(8):
                    drive.write(b"x" * mib)
        usage = os.statvfs(stage)
        self.assertGreaterEqual(usage.f_bavail * usage.f_frsize, 20 * mib // 16)
        for vm in (first, second):
            self.forget(vm["id"])
        # What is free, and what of it others have taken, is looked at once more where the drive is made.
        others = stage / "others"
        others.write_bytes(bytes(14 * mib))
        body = self.body(image="sparse")
        self.addCleanup(self.forget, body["id"])
        self.assertIn("may grow to 8388608 bytes", self.refused(self.c.post("/vms", body, wait=15), 507, "INSUFFICIENT_STORAGE")["detail"])
        others.unlink()
        self.assertEqual("running", self.act(body["id"], "start")["state"])
        self.forget(body["id"])
