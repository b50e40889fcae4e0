"""The database refuses for a moment: what the daemon had to say or to look up is not lost."""

import sqlite3
from contextlib import closing

from harness import OwnDaemonCase, eventually, limit
from test_statuses import set_fault


class RefusalTest(OwnDaemonCase):
    settings = {"network": {"sweep_s": 3600}}

    def sql(self, *statements):
        with closing(sqlite3.connect(self.daemon.base / "state" / "db" / "smartvm.db", timeout=10)) as database, database:
            for statement in statements:
                database.execute(statement)

    def ready(self):
        try:
            return self.c.get("/readyz").status == 200
        except OSError:
            return False

    @limit(120)
    def test_a_write_that_fails_right_after_the_first_settling(self):
        """Which one of the facts that are told at a start it is, differs; one of those after the first ones it is."""
        for skip in range(3, 9):
            self.daemon.stop()
            before = self.daemon.log_path.read_text().count("event=worker.settle_failed")
            set_fault(self.daemon, f"keeper keeper.fact_set {skip} 1 fail")
            self.daemon.start()
            eventually(self.ready, "readiness", 20)
            if self.daemon.log_path.read_text().count("event=worker.settle_failed") > before:
                return
        self.fail("no write failed then")

    @limit(60)
    def test_the_event_of_a_repair_is_stored_later(self):
        vm = self.create()
        tap = vm["network_interfaces"][0]["tap"]
        self.sql("CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
        self.daemon.netns.ip("link", "set", tap, "nomaster")
        eventually(lambda: self.daemon.netns.links()[tap].get("master") == self.daemon.bridge, "the repair", 20)

        def told():
            with closing(sqlite3.connect(self.daemon.base / "state" / "db" / "smartvm.db", timeout=10)) as database:
                return database.execute("SELECT data FROM events WHERE type = 'network.repaired' AND resource = ?", (f"/vms/{vm['id']}",)).fetchall()

        self.assertEqual([], told())
        self.sql("DROP TRIGGER refuse")
        eventually(told, "the event", 35)
