"""kill -9 of the daemon's processes at random moments; afterwards nothing is leaked, and nobody is stuck."""

import http.client
import os
import random
import signal
import threading
import time

from harness import OwnDaemonCase, eventually, is_alive, limit

MOMENTS = 20
SEED = int(os.environ.get("SMARTVM_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


class RandomKillTest(OwnDaemonCase):
    """SMARTVM_TEST_SEED repeats a run's choices."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(f"{SEED} {self.id()}")
        self.daemon.add_tiny("writable", read_only=False)
        self.pids = set()
        print(f"{self.id()}: SMARTVM_TEST_SEED={SEED}")

    def ask(self, method, path, body=None, **query):
        """A request whose answer may never come."""
        try:
            self.c.request(method, path, body, timeout=5, **query)
        except (OSError, http.client.HTTPException):
            pass

    def kill_at_a_random_moment(self, longest_s):
        time.sleep(self.random.uniform(0, longest_s))
        victim = self.random.choice(["worker", "worker", "api", "keeper"])
        api, keeper = self.daemon.api_pid(), self.daemon.keeper_pid()
        if victim == "api" and api is not None:
            os.kill(api, signal.SIGKILL)
            eventually(lambda: self.daemon.api_pid() not in (None, api), "another API process")
            self.daemon.await_ready()
        elif victim == "keeper" and keeper is not None:
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda: self.daemon.keeper_pid() not in (None, keeper), "another keeper")
        else:
            self.daemon.kill9()
            self.daemon.start()
        return victim

    def during(self, requests, longest_s):
        threads = [threading.Thread(target=self.ask, args=request) for request in requests]
        for thread in threads:
            thread.start()
        victim = self.kill_at_a_random_moment(longest_s)
        for thread in threads:
            thread.join()
        return victim

    def settle(self):
        """Every VM at rest, and the host as the API says."""
        vms = {}

        def at_rest():
            vms.clear()
            vms.update({vm["id"]: vm for vm in self.c.items("/vms")})
            return all(vm["generation"] == vm["observed_generation"] and vm["state"] in ("running", "stopped", "paused") for vm in vms.values())

        try:
            eventually(at_rest, "rest", 20)
        except AssertionError:
            raise AssertionError(f"not at rest: {vms}\n{self.daemon.log_tail()}") from None
        wanted = sorted(vm["vmm"]["pid"] for vm in vms.values() if vm["state"] != "stopped")
        eventually(lambda: self.daemon.vmm_pids() == wanted, f"only the VMMs {wanted}")
        taps = {i["tap"] for vm in vms.values() if vm["state"] != "stopped" for i in vm["network_interfaces"]}
        eventually(lambda: {n for n, link in self.daemon.netns.links().items() if link["kind"] == "tun"} == taps, f"only the TAPs {taps}")
        elements = self.daemon.netns.set_elements(self.daemon.mark, "guest4") or []
        self.assertEqual(taps, {e["concat"][0] for e in elements})
        self.assertEqual(sum(len(vm["network_interfaces"]) for vm in vms.values()), len(self.c.items("/network/leases")))
        return vms

    def clean(self, vms):
        for vm in vms:
            self.c.delete(f"/vms/{vm}")
        eventually(lambda: not self.c.items("/vms"), "the deletion of all", 20)
        self.daemon.await_no_leaks()

    def fresh(self, count=3, **extra):
        return [self.body(image=self.random.choice(["tiny", "writable"]), mode="ctrlaltdel", **extra) for _ in range(count)]

    @limit(120)
    def test_during_create(self):
        for _ in range(MOMENTS // 4):
            bodies = self.fresh()
            self.during([("POST", "/vms", body) for body in bodies], 0.25)
            vms = self.settle()
            self.assertLessEqual(set(vms), {body["id"] for body in bodies})
            self.assertTrue(all(vm["state"] == "running" for vm in vms.values()), vms)
            self.clean(vms)

    @limit(120)
    def test_during_start(self):
        bodies = self.fresh(desired_state="stopped")
        for body in bodies:
            self.ok(self.c.post("/vms", body, wait=10), 201)
        for _ in range(MOMENTS // 4):
            self.during([("POST", f"/vms/{body['id']}/start") for body in bodies], 0.25)
            vms = self.settle()
            self.assertEqual({body["id"] for body in bodies}, set(vms))
            for vm in vms.values():
                self.assertEqual(vm["desired_state"], vm["state"])
                if vm["state"] != "stopped":
                    self.act(vm["id"], "kill")
        self.clean(vms)

    @limit(120)
    def test_during_stop(self):
        bodies = self.fresh()
        for body in bodies:
            self.ok(self.c.post("/vms", body, wait=10), 201)
        for _ in range(MOMENTS // 4):
            stop = self.random.choice(["stop", "kill", "stop"])
            self.during([("POST", f"/vms/{body['id']}/{stop}") for body in bodies], 0.15)
            vms = self.settle()
            self.assertEqual({body["id"] for body in bodies}, set(vms))
            for vm in vms.values():
                if vm["state"] == "stopped":
                    self.assertEqual("running", self.act(vm["id"], "start")["state"])
        self.clean(vms)

    @limit(120)
    def test_during_delete(self):
        for _ in range(MOMENTS // 4):
            bodies = self.fresh()
            for body in bodies:
                self.ok(self.c.post("/vms", body, wait=10), 201)
            self.during([("DELETE", f"/vms/{body['id']}") for body in bodies], 0.2)
            self.clean(self.settle())

    @limit(60)
    def test_bystanders_live_on(self):
        """VMs that nobody touches keep their process over all of it."""
        vm = self.create(vm="bystander")
        for _ in range(4):
            bodies = self.fresh(2)
            self.during([("POST", "/vms", body) for body in bodies], 0.1)
            for body in bodies:
                self.ask("DELETE", f"/vms/{body['id']}")
        self.assertTrue(is_alive(vm["vmm"]["pid"]))
        self.assertEqual(vm["vmm"]["pid"], self.vm("bystander")["vmm"]["pid"])
        eventually(lambda: [v["id"] for v in self.c.items("/vms")] == ["bystander"], "the deletion of the others", 20)
