"""
What somebody who has the API process's uid can do to the daemon: to the files of the database, and to what stands in them. After each of it the
daemon starts, is ready, no VM was lost, and nothing outside of its directories has changed.
"""

import ctypes
import os
import pwd
import socket
import sqlite3
import stat
import subprocess
import textwrap
import time
import unittest
from contextlib import closing
from pathlib import Path

from harness import OwnDaemonCase, limit
from host import eventually, is_alive, kill, uid_of

NOBODY = pwd.getpwnam("nobody")
SYSCTLS = ["net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter", "net/ipv4/conf/all/forwarding",
           "net/ipv6/conf/all/forwarding", "net/ipv4/conf/lo/rp_filter"]

# name: a program of the attacker's, in the directory of the database; `db` is its path, `canary` a file of root's that must stay as it is.
ATTACKS = {
    "journal": """
        master = canary.encode()
        header = bytes.fromhex("d9d505f920a163d7") + (1).to_bytes(4, "big") + bytes(4) + (1).to_bytes(4, "big") + (512).to_bytes(4, "big") + (4096).to_bytes(4, "big")
        body = header.ljust(512, b"\\0") + (1).to_bytes(4, "big") + bytes(4096) + bytes(4)
        tail = (0).to_bytes(4, "big") + master + len(master).to_bytes(4, "big") + sum(master).to_bytes(4, "big") + header[:8]
        open(db + "-journal", "wb").write(body + tail)
    """,
    "wal": """open(db + "-wal", "wb").write(os.urandom(40000))""",
    "shm": """open(db + "-shm", "wb").write(os.urandom(32768))""",
    "shm truncated": """
        open(db + "-shm", "ab").close()
        os.truncate(db + "-shm", 100)
    """,
    "symlink": """
        os.rename(db, db + ".before")
        os.symlink(canary, db)
    """,
    "wal symlink": """
        if os.path.lexists(db + "-wal"):
            os.unlink(db + "-wal")
        os.symlink(canary, db + "-wal")
    """,
    "FIFO": """
        os.rename(db, db + ".before")
        os.mkfifo(db)
    """,
    "shm FIFO": """
        if os.path.lexists(db + "-shm"):
            os.unlink(db + "-shm")
        os.mkfifo(db + "-shm")
    """,
    "directory": """
        os.rename(db, db + ".before")
        os.makedirs(db + "/full")
    """,
    "rubbish": """open(db, "wb").write(os.urandom(100000))""",
    "empty": """open(db, "wb").close()""",
    "cut": """os.truncate(db, os.path.getsize(db) // 2 // 4096 * 4096)""",
    "damaged pages": """
        size = os.path.getsize(db)
        with open(db, "r+b") as file:
            for page in range(3, size // 4096, 2):
                file.seek(page * 4096 + 8)
                file.write(os.urandom(600))
    """,
    "view": """
        sql("ALTER TABLE vms RENAME TO stolen",
            "CREATE VIEW vms AS SELECT uid, '../../../../../tmp' AS id, image, desired_state, config, boot_config, stop_timeout_ms, boot_wanted, 1 AS deleting,"
            " generation, state, observed_generation, observed, pid, start_time, boot_id, boot_done, revision, created_ms, updated_ms FROM stolen")
    """,
    "endless view": """
        sql("ALTER TABLE images RENAME TO stolen_images",
            "CREATE VIEW images AS WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT x AS id, x AS manifest FROM c")
    """,
    "endless trigger": """
        sql("CREATE TRIGGER endless AFTER UPDATE ON vms BEGIN INSERT INTO facts WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c)"
            " SELECT 'a', x FROM c WHERE x < 0; END")
    """,
    "NULL": """
        sql("PRAGMA writable_schema=ON", "UPDATE sqlite_schema SET sql = replace(replace(sql, 'NOT NULL', ''), 'STRICT', '') WHERE name = 'vms'",
            "PRAGMA writable_schema=RESET")
        sql("UPDATE vms SET config = NULL, boot_config = NULL, observed = NULL WHERE id = 'one'")
    """,
    "id with dots": """
        sql("PRAGMA foreign_keys=OFF", "UPDATE vms SET id = '../../../../etc' WHERE id = 'one'")
    """,
    "tap that is all": """sql("UPDATE interfaces SET tap = 'all' WHERE position = 0 AND vm_uid = (SELECT uid FROM vms WHERE id = 'one')")""",
    "wrong types": """
        sql("PRAGMA writable_schema=ON", "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name IN ('vms', 'interfaces')",
            "PRAGMA writable_schema=RESET")
        sql("UPDATE vms SET config = x'00ff', boot_config = 7, pid = x'00ff', boot_wanted = 1e300 WHERE id = 'one'", "UPDATE interfaces SET address = 'here' WHERE vm_uid = (SELECT uid FROM vms WHERE id = 'one')")
    """,
    "numbers out of range": """sql("UPDATE vms SET stop_timeout_ms = -5, boot_wanted = 9223372036854775807, pid = -1 WHERE id = 'one'")""",
    "schema that can't be read": """
        sql("PRAGMA writable_schema=ON", "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 9999, 'CREATE TABLE nonsense(((')")
    """,
    "facts": """
        sql("INSERT OR REPLACE INTO facts VALUES ('forwarded_uplink', 'all'), ('forwarded6_uplink', 'default'),"
            " ('wireguard_made', '{\\"tables\\":[254],\\"tunnels\\":[\\"lo\\"],\\"tuned\\":{\\"interface\\":\\"all\\",\\"forwarding\\":false,\\"rp_filter\\":0}}')")
    """,
    "subnet and uplink": """
        sql("INSERT OR REPLACE INTO network (id, subnet, uplink, masquerade, lease_quarantine_s, generation, updated_ms) VALUES (1, '0.0.0.0/0', 'all', 1, -1, 5, 0)")
    """,
    "policies": """
        sql("INSERT OR REPLACE INTO firewall_policies (id, policy, generation, confirm_until_ms, updated_ms) VALUES (0, '[[[[', 1, 0, 0)",
            "INSERT OR REPLACE INTO firewall_sets (name, generation, confirm_until_ms, updated_ms) VALUES ('../x', 1, 0, 0), ('y', -7, 0, 0)")
    """,
    "MAC that is none": """sql("UPDATE interfaces SET mac = 'x' WHERE position = 0 AND vm_uid = (SELECT uid FROM vms WHERE id = 'one')")""",
    "TAP that is too long": """sql("UPDATE interfaces SET tap = hex(zeroblob(99)) WHERE position = 0 AND vm_uid = (SELECT uid FROM vms WHERE id = 'one')")""",
    "ports of nowhere": """
        sql("INSERT INTO ports (vm_uid, position, protocol, host_ip, host_port, guest_port, count) SELECT uid, 0, 6, 'here', 80, 80, 1 FROM vms WHERE id = 'one'")
    """,
    "too many rows": """
        numbers = "WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 1500) "
        sql(numbers + "INSERT INTO images (id, manifest, state, created_ms, updated_ms) SELECT 'z' || x, '{}', 'failed', 0, 0 FROM c",
            numbers + "INSERT INTO tasks (kind, created_ms) SELECT 'repair', 0 FROM c")
    """,
    "long texts": """sql("UPDATE vms SET observed = hex(zeroblob(2000000)), config = hex(zeroblob(2000000)) WHERE id = 'one'")""",
    "observed that is none": """sql("UPDATE vms SET observed = '[[[['")""",
    "observed that is no object": """sql("UPDATE vms SET observed = '5'")""",
    "no state of the firewall": """sql("DELETE FROM firewall_state")""",
    "state of the firewall": """sql("UPDATE firewall_state SET generation = -5, error = hex(zeroblob(9000)), error_code = CAST(x'ff0a' AS TEXT)")""",
    "tunnel that is none": """
        sql("INSERT OR REPLACE INTO wireguard (id, generation, wanted, document, public_key, warnings, sealed, updated_ms) VALUES (1, 7, 1, '[]', 'x', -1, x'00', 0)")
    """,
    "tunnel by a link of the host": """
        sql("INSERT OR REPLACE INTO wireguard (id, generation, wanted, document, warnings, updated_ms) VALUES (1, 7, 1,"
            " '{\\"existing_interface\\":\\"lo\\",\\"route_table\\":255,\\"route_all\\":true,\\"fail_closed\\":true,\\"interface_name\\":\\"lo\\"}', 0, 0)")
    """,
    "newest sequence": """sql("UPDATE sqlite_sequence SET seq = 9223372036854775807")""",
}

# The same for the definition of the VM `one`: what it is set to, and what is told of it.
DOCUMENTS = {
    "no JSON": ("'{]'", "the document is not JSON"),
    "JSON of another kind": ("'[[[[7]]]]'", "the document must be an object"),
    "nothing": ("''", "config"),
    "an unknown field": ("json_set(config, '$.path_on_host', '/etc/passwd')", "/path_on_host is not a known field"),
    "a number out of range": ("json_set(config, '$.machine_config.vcpu_count', 1 << 62)", "/machine_config/vcpu_count must be at most 32"),
    "a line end in boot_args": ("json_set(config, '$.boot_args', 'a' || char(10) || 'b')", "/boot_args"),
    "bytes that are no text": ("replace(config, 'tiny', cast(x'ff1b5b324a' as text))", "config"),
    "another VM's": ("json_set(config, '$.network_interfaces', json('[]'))", "other network interfaces"),
    "another image's": ("json_set(config, '$.image', 'other')", "another image"),
    "10 MiB of boot_args": ("json_set(config, '$.boot_args', replace(hex(zeroblob(5 * 1024 * 1024)), '0', 'x'))", "config"),
    "10 MiB of brackets": ("replace(hex(zeroblob(5 * 1024 * 1024)), '0', '[')", "config"),
}

PRELUDE = """
import os, sqlite3, sys
db, canary = sys.argv[1:]
def sql(*statements):
    connection = sqlite3.connect(db, isolation_level=None, timeout=20)
    for statement in statements:
        connection.execute(statement)
    connection.close()
"""


def as_nobody(program, *arguments, wait=True):
    command = ["/usr/bin/python3", "-c", PRELUDE + textwrap.dedent(program.replace("\\\\", "\\")), *arguments]
    process = subprocess.Popen(command, user=NOBODY.pw_uid, group=NOBODY.pw_gid, extra_groups=[], stderr=subprocess.PIPE, text=True)
    if not wait:
        return process
    _, errors = process.communicate(timeout=60)
    if process.returncode != 0:
        raise AssertionError(errors)
    return process


class BorderCase(OwnDaemonCase):
    def setUp(self):
        super().setUp()
        self.db = self.daemon.base / "state" / "db" / "smartvm.db"
        self.canary = self.daemon.base / "canary"
        self.canary.write_text("mine")
        self.canary.chmod(0o666)

    def sysctls(self):
        return {name: self.daemon.netns.run("cat", f"/proc/sys/{name}").strip() for name in SYSCTLS}

    def outside(self):
        """What nobody may have changed."""
        return (self.canary.read_text(), self.canary.stat().st_mode, self.canary.stat().st_uid,
                Path("/etc/passwd").stat().st_mtime_ns, self.sysctls())


class AttackTest(BorderCase):
    def attack(self, program, pids):
        """The daemon starts three times after it, is ready each time, and nothing was lost but what stood in the damaged place."""
        before = self.outside()
        as_nobody(program, str(self.db), str(self.canary))
        for _ in range(2):
            self.daemon.kill9()
            self.daemon.start()
            self.assertEqual([True, True], [is_alive(pid) for pid in pids], self.daemon.log_tail())
        self.assertEqual(before, self.outside())
        self.assertEqual([True, True], [is_alive(pid) for pid in pids], self.daemon.log_tail())
        self.assertEqual("running", self.await_vm("two", lambda v: v["state"] == "running")["state"], self.daemon.log_tail())
        self.assertEqual("paused", self.act("two", "pause")["state"])
        self.assertEqual([], self.daemon.sanitizer_reports())

    def attack_dead(self, program):
        pids = [self.create(vm=vm)["vmm"]["pid"] for vm in ("one", "two")]
        self.daemon.kill9()
        self.daemon.process.poll()
        before_start = self.daemon.kill9
        self.daemon.kill9 = lambda: setattr(self.daemon, "kill9", before_start)  # it is dead already, once
        self.attack(program, pids)

    def attack_alive(self, program):
        pids = [self.create(vm=vm)["vmm"]["pid"] for vm in ("one", "two")]
        self.attack(program, pids)


def _add_attacks():
    def test_of(program, how):
        @limit(90)
        def test(self):
            getattr(self, how)(program)

        return test

    for name, program in ATTACKS.items():
        # Files are changed while the daemon is dead, rows while it lives; SMARTVM_BORDER_LONG: each in both ways.
        of_rows = "sql(" in program
        for how in ("dead", "alive"):
            if of_rows == (how == "alive") or os.environ.get("SMARTVM_BORDER_LONG"):
                setattr(AttackTest, f"test_{how}_{name.replace(' ', '_')}", test_of(program, f"attack_{how}"))


_add_attacks()


class LockTest(BorderCase):
    @limit(90)
    def test_a_lock_that_is_held(self):
        pid = self.create(vm="two")["vmm"]["pid"]
        holder = as_nobody('''
            connection = sqlite3.connect(db, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            print("held", flush=True)
            import time
            time.sleep(6)
        ''', str(self.db), str(self.canary), wait=False)
        self.addCleanup(holder.communicate)
        self.addCleanup(holder.kill)
        time.sleep(1)
        self.daemon.kill9()
        self.daemon.start()
        self.assertTrue(is_alive(pid))
        self.assertEqual("running", self.vm("two")["state"])


class QuarantineTest(BorderCase):
    def change(self, statement):
        self.daemon.kill9()
        as_nobody(f"sql({statement!r})", str(self.db), str(self.canary))
        self.daemon.start()

    def test_a_damaged_row_is_shown_and_the_rest_goes_on(self):
        one, two = self.create(vm="one"), self.create(vm="two")
        self.change("UPDATE vms SET stop_timeout_ms = -7 WHERE id = 'one'")
        shown = self.await_vm("one", lambda v: any(c["type"] == "row" for c in v["conditions"]))
        self.assertEqual(("false", "ROW_DAMAGED"), tuple(self.condition(shown, "row")[k] for k in ("status", "reason")))
        self.assertIn("stop_timeout_ms", self.condition(shown, "row")["message"])
        self.assertTrue(is_alive(one["vmm"]["pid"]))
        self.assertEqual("paused", self.act("two", "pause")["state"])
        self.assertIn("event=row.quarantined vm=one", self.daemon.log_path.read_text())
        self.change("UPDATE vms SET stop_timeout_ms = -1 WHERE id = 'one'")
        self.await_vm("one", lambda v: v["state"] == "running" and not any(c["type"] == "row" for c in v["conditions"]))
        self.assertEqual(one["vmm"]["pid"], self.vm("one")["vmm"]["pid"])


    def plant(self, value):
        as_nobody(f"sql({f'UPDATE vms SET config = {value} WHERE id = {chr(39)}one{chr(39)}'!r})", str(self.db), str(self.canary))

    @limit(120)
    def test_damaged_documents(self):
        one, two = self.create(vm="one"), self.create(vm="two")
        before = self.outside()
        with closing(sqlite3.connect(self.db)) as connection:
            stored = connection.execute("SELECT config FROM vms WHERE id = 'one'").fetchone()[0].replace("'", "''")
        for name, (value, told) in DOCUMENTS.items():
            with self.subTest(name):
                self.daemon.kill9()
                self.plant(value)
                self.daemon.start()
                shown = self.await_vm("one", lambda v: any(c["type"] == "row" for c in v["conditions"]))
                self.assertIn(told, self.condition(shown, "row")["message"])
                self.assertEqual(("one", "tiny"), (shown["id"], shown["image"]))
                self.assertEqual({"one", "two"}, {vm["id"] for vm in self.c.json("/vms")["items"]})
                self.refused(self.c.patch("/vms/one", {"labels": {"a": "b"}}), 500, "ROW_DAMAGED")
                self.assertEqual({"a": name}, self.ok(self.c.patch("/vms/two", {"labels": {"a": name}}, wait=5))["labels"])
                self.assertEqual([True, True], [is_alive(vm["vmm"]["pid"]) for vm in (one, two)])
                self.plant(f"'{stored}'")
        self.assertEqual(before, self.outside())
        self.daemon.kill9()
        self.daemon.start()
        now = self.await_vm("one", lambda v: v["state"] == "running" and not any(c["type"] == "row" for c in v["conditions"]))
        self.assertEqual((one["vmm"]["pid"], one["boot_args"], []), (now["vmm"]["pid"], now["boot_args"], now["pending_reboot"]))
        self.assertEqual([], self.daemon.sanitizer_reports())

    def test_a_damaged_document_can_be_deleted(self):
        one, two = self.create(vm="one"), self.create(vm="two")
        self.plant("'{}'")  # while it runs
        self.c.post("/vms/one/stop", {})
        shown = self.await_vm("one", lambda v: any(c["type"] == "row" for c in v["conditions"]))
        self.assertIn("/image is required", self.condition(shown, "row")["message"])
        self.assertTrue(is_alive(one["vmm"]["pid"]))
        self.ok(self.c.delete("/vms/one", wait=15), 204)
        self.assertFalse(is_alive(one["vmm"]["pid"]))
        self.assertTrue(is_alive(two["vmm"]["pid"]))


class ProcessesTest(BorderCase):
    def test_who_may_enter_where(self):
        state = self.daemon.base / "state"
        self.assertEqual((NOBODY.pw_uid, 0o700), ((state / "db").stat().st_uid, stat.S_IMODE((state / "db").stat().st_mode)))
        self.assertEqual((0, 0o700), ((state / "worker").stat().st_uid, stat.S_IMODE((state / "worker").stat().st_mode)))
        # A member of the socket's group, and of nothing else.
        probe = subprocess.run(["/usr/bin/python3", "-c", f"import os; os.listdir({str(state / 'db')!r})"], user=12345, group=NOBODY.pw_gid,
                               extra_groups=[], capture_output=True, text=True)
        self.assertIn("PermissionError", probe.stderr)
        reach = subprocess.run(["curl", "-sS", "--unix-socket", str(self.daemon.socket), "http://x/healthz"], user=12345, group=NOBODY.pw_gid,
                               extra_groups=[], capture_output=True, text=True)
        self.assertIn("ok", reach.stdout, reach.stderr)

    def test_the_worker_has_no_file_of_the_database_open(self):
        opened = [os.readlink(entry) for entry in Path(f"/proc/{self.daemon.pid}/fd").iterdir()]
        self.assertEqual([], [path for path in opened if "/db/" in path or path.endswith("/db")])

    def test_the_keeper_has_no_power(self):
        status = Path(f"/proc/{self.daemon.keeper_pid()}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(("0000000000000000", "1", "2"), (fields["CapEff"].strip(), fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()))
        self.assertEqual(NOBODY.pw_uid, uid_of(self.daemon.keeper_pid()))

    def test_kill_9_of_the_keeper(self):
        vm = self.create()
        for _ in range(2):
            keeper = self.daemon.keeper_pid()
            kill(keeper, 9)
            eventually(lambda: self.daemon.keeper_pid() not in (None, keeper), "another keeper")
            self.assertEqual("paused", self.act(vm["id"], "pause")["state"])
            self.assertEqual("running", self.act(vm["id"], "resume")["state"])
        self.assertTrue(is_alive(vm["vmm"]["pid"]))

    @limit(90)
    def test_a_keeper_that_hangs_is_ended(self):
        vm = self.create()
        keeper = self.daemon.keeper_pid()
        kill(keeper, 19)
        self.c.post(f"/vms/{vm['id']}/pause", {})
        eventually(lambda: self.daemon.keeper_pid() not in (None, keeper), "another keeper", timeout=40)
        self.await_vm(vm["id"], lambda v: v["state"] == "paused", timeout=40)
        self.assertFalse(is_alive(keeper))


LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
FD_OF_WORKER = 3  # server/child.h


class ApiProcessTest(BorderCase):
    """An API process that was taken over: its end of the socket to the worker is in the test's hand."""

    def its_socket(self):
        with open(os.pidfd_open(self.daemon.api_pid()), closefd=True) as pidfd:
            fd = LIBC.syscall(PIDFD_GETFD, pidfd.fileno(), FD_OF_WORKER, 0)
        self.assertGreaterEqual(fd, 0, os.strerror(ctypes.get_errno()))
        own = socket.socket(fileno=fd)
        self.addCleanup(own.close)
        return own

    def worker_ticks(self):
        return sum(int(field) for field in Path(f"/proc/{self.daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])

    def worker_kib(self):
        return int(next(line.split()[1] for line in Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines() if line.startswith("VmRSS")))

    def test_a_socket_that_is_shut_down(self):
        vm = self.create()
        for how in (socket.SHUT_RDWR, socket.SHUT_WR):
            before = self.daemon.api_pid()
            self.its_socket().shutdown(how)
            eventually(lambda: self.daemon.api_pid() not in (None, before), "another API process")
            self.assertEqual("paused", self.act(vm["id"], "pause")["state"])
            self.assertEqual("running", self.act(vm["id"], "resume")["state"])
            ticks = self.worker_ticks()
            time.sleep(1)
            self.assertLess(self.worker_ticks() - ticks, 50, "the worker is busy with a socket that nobody is at")
        self.assertTrue(is_alive(vm["vmm"]["pid"]))

    @limit(90)
    def test_a_flood_of_keys(self):
        vm = self.create()
        own = self.its_socket()
        before = self.worker_kib()
        flood = subprocess.Popen(["/usr/bin/python3", "-c", """
import itertools, socket, struct
own = socket.socket(fileno=0)
for i in itertools.count():
    try:
        own.send(struct.pack("=IIQ", 0, 0, 0) + b"image/x%d" % i)
        own.send(struct.pack("=IIQ", 0, 0, 0) + b"vm/x%d" % i)
    except OSError:
        pass
"""], stdin=own.fileno())
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        time.sleep(5)
        keeper = self.daemon.keeper_pid()
        kill(keeper, 9)
        eventually(lambda: self.daemon.keeper_pid() not in (None, keeper), "another keeper, in spite of the flood", timeout=20)
        self.assertIsNone(flood.poll())
        self.assertLess(self.worker_kib() - before, 200 * 1024)
        self.assertEqual(0, self.daemon.stop())  # and not for as long as somebody sends
        flood.kill()
        self.daemon.start()
        self.assertEqual("running", self.vm(vm["id"])["state"])
        self.assertTrue(is_alive(vm["vmm"]["pid"]))


if __name__ == "__main__":
    unittest.main()
