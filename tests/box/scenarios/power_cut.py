"""
Power cuts while clients write: what was acknowledged is there afterwards, the database is sound, and the host is as it says. Only what the box had
flushed to its disk survives, which a control shows first. 3 cuts, or 25 with --long.
"""

import http.client
import os
import random
import threading
import time

from box import Box
from case import BoxCase
from harness import eventually, limit

LONG = bool(os.environ.get("SMARTVM_BOX_LONG"))
CUTS = 25 if LONG else 3
SEED = int(os.environ.get("SMARTVM_BOX_SEED", "0")) or (random.SystemRandom().randrange(1, 2**31) if LONG else 20261127)
WRITERS = 3
DATABASE = "/var/lib/smartvm/db/smartvm.db"
GONE = None


class Ledger:
    """What was acknowledged of each thing, and what was asked and not answered. A thing has one writer."""

    def __init__(self):
        self.acknowledged = {}
        self.open = {}
        self.writes = 0

    def write(self, thing, value, ask):
        self.open[thing] = value
        reply = ask()
        assert reply.status < 300, repr(reply)
        self.acknowledged[thing] = value
        del self.open[thing]
        self.writes += 1

    def faults(self, found):
        """What is not as acknowledged; what was open may have happened or not, and from now on it has, or not."""
        faults = []
        for thing in {*self.acknowledged, *self.open}:
            allowed = {self.acknowledged.get(thing), self.open.get(thing, self.acknowledged.get(thing))}
            if found.get(thing) not in allowed:
                faults.append(f"{thing} is {found.get(thing)!r}, not one of {allowed}")
        faults += [f"{thing}, which nobody made, is {value!r}" for thing, value in found.items() if thing not in self.acknowledged and thing not in self.open]
        self.acknowledged = {thing: found.get(thing) for thing in {*self.acknowledged, *self.open}}
        self.open = {}
        return faults


class LedgerTest(BoxCase):
    """The scenario's own judge can say no."""

    @classmethod
    def setUpClass(cls):
        pass

    def tearDown(self):
        pass

    def test_a_lost_write_is_seen(self):
        class Reply:
            status = 200

        for found, faulty in (({"a": "1"}, False), ({}, True), ({"a": "2"}, True), ({"a": "1", "b": "1"}, True)):
            ledger = Ledger()
            ledger.write("a", "1", Reply)
            self.assertEqual(faulty, bool(ledger.faults(found)), found)
        ledger.open["a"] = "3"
        ledger.acknowledged["a"] = "1"
        self.assertEqual([], ledger.faults({"a": "3"}))
        self.assertEqual(1, len(ledger.faults({"a": "1"})))


class PowerCut(BoxCase):
    @classmethod
    def setUpClass(cls):
        cls.own_box = Box(durable=True)
        try:
            cls.own_box.boot()
            super().setUpClass()
        except BaseException:
            cls.own_box.close()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.own_box.close()

    def writer(self, number, rng, stop):
        """Makes, changes and deletes VMs and address sets until the power is cut."""
        own = sorted(t for t, v in self.ledger.acknowledged.items() if t.startswith(f"w{number}-") and v is not GONE)
        while not stop.is_set():
            try:
                choice = rng.random()
                if choice < 0.4 or not own:
                    self.made += 1
                    name = f"w{number}-{self.made}"
                    runs = rng.random() < 0.3
                    body = self.body(name, labels={"n": "0"}, desired_state="running" if runs else "stopped", autostart=runs)
                    self.ledger.write(name, "0", lambda: self.c.post("/vms", body))
                    own.append(name)
                elif choice < 0.7:
                    name, value = rng.choice(own), str(rng.randrange(1000))
                    self.ledger.write(name, value, lambda: self.c.patch(f"/vms/{name}", {"labels": {"n": value}}))
                elif choice < 0.85:
                    value = f"192.0.2.{rng.randrange(256)}"
                    self.ledger.write(f"set-{number}", value, lambda: self.c.put(f"/firewall/sets/set-{number}", {"addresses": [value]}))
                else:
                    name = own.pop(rng.randrange(len(own)))
                    self.ledger.write(name, GONE, lambda: self.c.delete(f"/vms/{name}", wait=20))
            except (OSError, http.client.HTTPException):
                return

    def found(self):
        vms = {vm["id"]: vm["labels"]["n"] for vm in self.c.items("/vms")}
        return {**vms, **{s["name"]: s["addresses"][0].removesuffix("/32") for s in self.c.items("/firewall/sets")}}

    def host_agrees(self):
        def at_rest():
            vms = self.c.items("/vms")
            return all(vm["observed_generation"] == vm["generation"] and vm["state"] in ("running", "stopped") for vm in vms) and vms

        vms = eventually(at_rest, "all VMs at rest", 90, 0.5)
        running = sorted(vm["id"] for vm in vms if vm["state"] == "running")
        self.assertEqual(sorted(vm["id"] for vm in vms if vm["desired_state"] == "running"), running)
        self.assertEqual(running, sorted(self.box.sh("ls /run/smartvm/vm 2> /dev/null; true").split()))
        self.assertEqual(len(running), len(self.box.sh("pidof firecracker; true").split()))
        self.assertEqual(sorted(i["tap"] for vm in vms if vm["state"] == "running" for i in vm["network_interfaces"]),
                         sorted(self.box.sh("ip -br link | grep -o '^svbr0t[0-9]*'; true").split()))
        self.assertEqual([], self.c.json("/drift")["items"])
        leases = [lease["address"] for lease in self.c.items("/network/leases") if lease["state"] == "leased"]
        self.assertEqual(sorted(leases), sorted(i["ip"] for vm in vms for i in vm["network_interfaces"]))

    @limit(180)
    def test_1_the_control_what_was_not_flushed_is_gone(self):
        self.box.sh("head -c 4096 /dev/zero | tr '\\0' a > /var/tmp/page; sync; head -c 4096 /dev/zero | tr '\\0' b > /tmp/b;"
                    "dd if=/tmp/b of=/var/tmp/page bs=4096 count=1 oflag=direct conv=notrunc 2> /dev/null; echo lost > /var/tmp/late")
        self.box.cut_power()
        self.box.boot()
        self.assertEqual(("a" * 10, ""), (self.box.sh("head -c 10 /var/tmp/page"), self.box.sh("cat /var/tmp/late 2> /dev/null; true")))

    @limit(120 * CUTS + 120)
    def test_2_what_was_acknowledged_survives(self):
        rng = random.Random(SEED)
        print(f"power_cut: seed {SEED} (SMARTVM_BOX_SEED)")
        self.ledger, self.made = Ledger(), 0
        self.box.start_daemon()
        self.import_image({"manifest": self.tiny_manifest()}, "tiny")
        for cut in range(CUTS):
            stop, writes = threading.Event(), self.ledger.writes
            writers = [threading.Thread(target=self.writer, args=(n, random.Random(rng.random()), stop)) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.5, 5))
            self.box.cut_power()
            stop.set()
            for writer in writers:
                writer.join()
            writes = self.ledger.writes - writes
            self.box.boot()
            # Looked at before the daemon could mend anything.
            self.assertEqual("ok", self.box.sh(f"sqlite3 {DATABASE} 'PRAGMA integrity_check; PRAGMA foreign_key_check;'").strip())
            self.box.start_daemon()
            open_writes = len(self.ledger.open)
            eventually(lambda: all(vm["state"] != "deleting" for vm in self.c.items("/vms")), "the end of deletions", 60, 0.5)
            self.assertEqual([], self.ledger.faults(self.found()), f"cut {cut}")
            self.host_agrees()
            print(f"power_cut: cut {cut + 1}: {writes} acknowledged writes and {open_writes} open ones; sound, and nothing lost")
