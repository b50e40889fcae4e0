"""Idempotency-Key and ?wait=."""

import threading
import time

from harness import ThemeCase


class IdempotencyTest(ThemeCase):
    def keyed(self, key, body, **kw):
        return self.c.post("/vms", body, headers={"Idempotency-Key": key}, **kw)

    def test_the_same_key_gives_the_same_answer_and_one_vm(self):
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        first, second = self.keyed("k1", body, wait=10), self.keyed("k1", body, wait=10)
        self.assertEqual((201, 201), (first.status, second.status))
        self.assertEqual(first.json["id"], second.json["id"])
        self.assertEqual(first.headers["Location"], second.headers["Location"])
        self.assertEqual(1, len(self.c.items("/vms")))

    def test_also_when_the_daemon_makes_the_id(self):
        body = self.body(desired_state="stopped")
        del body["id"]
        first, second = self.keyed("k2", body, wait=10), self.keyed("k2", body, wait=10)
        self.addCleanup(self.forget, first.json["id"])
        self.assertEqual(first.json["id"], second.json["id"])

    def test_another_body_is_422(self):
        body = self.body(desired_state="stopped")
        self.addCleanup(self.forget, body["id"])
        self.ok(self.keyed("k3", body, wait=10), 201)
        self.refused(self.keyed("k3", body | {"boot_args": "x"}), 422, "IDEMPOTENCY_KEY_REUSED")
        self.refused(self.c.post(f"/vms/{body['id']}/start", headers={"Idempotency-Key": "k3"}), 422, "IDEMPOTENCY_KEY_REUSED")

    def test_many_at_once_make_one_vm(self):
        body = self.body()
        del body["id"]
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(self.keyed("k4", body, wait=15))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids = {reply.json["id"] for reply in replies}
        for vm in ids:
            self.addCleanup(self.forget, vm)
        self.assertEqual(1, len(ids), replies)
        self.assertEqual(1, len(self.c.items("/vms")))

    def test_the_key_outlives_the_daemon(self):
        body = self.body()
        del body["id"]
        first = self.keyed("k5", body, wait=10)
        self.addCleanup(self.forget, first.json["id"])
        self.daemon.kill9()
        self.daemon.start()
        self.assertEqual(first.json["id"], self.keyed("k5", body, wait=10).json["id"])

    def test_the_key_expires_after_a_day(self):
        """The daemon sees another time since the host's boot; the wall clock is not asked."""
        body = self.body(desired_state="stopped")
        del body["id"]
        first = self.keyed("k12", body, wait=10).json["id"]
        self.addCleanup(self.forget, first)
        for seconds, same in ((86400 - 600, True), (86400 + 600, False)):
            self.daemon.stop()
            self.daemon.before = ["unshare", "--time", "--boottime", str(seconds), "--"]
            self.daemon.start()
            again = self.keyed("k12", body, wait=10)
            self.addCleanup(self.forget, again.json["id"])
            self.assertEqual((same, same), (again.json["id"] == first, again.headers.get("Idempotency-Replayed") == "true"), seconds)
        self.daemon.stop()
        self.daemon.before = []
        self.daemon.start()

    def test_who_left_early_waits_when_it_asks_again(self):
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        first = self.keyed("k8", body)
        self.assertEqual((201, "creating"), (first.status, first.json["state"]))
        again = self.keyed("k8", body, wait=20)
        self.assertEqual((201, "running", "true"), (again.status, again.json["state"], again.headers["Idempotency-Replayed"]))
        self.assertEqual(first.json["id"], again.json["id"])
        self.assertEqual("running", self.keyed("k8", body).json["state"])  # the answer of the one that waited is kept

    def test_an_action_that_was_not_waited_for(self):
        vm = self.create()["id"]
        headers = {"Idempotency-Key": "k9"}
        self.assertEqual(202, self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 1}, headers=headers).status)
        again = self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 1}, headers=headers, wait=20)
        self.assertEqual((200, "stopped"), (again.status, again.json["state"]))

    def test_the_time_is_over_again(self):
        vm = self.create()["id"]
        headers = {"Idempotency-Key": "k10"}
        for _ in range(2):
            reply = self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 4}, headers=headers, wait=1)
            self.assertEqual((202, "stopping"), (reply.status, reply.json["state"]))
        reply = self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 4}, headers=headers, wait=20)
        self.assertEqual((200, "stopped"), (reply.status, reply.json["state"]))

    def test_what_is_gone_is_answered_as_it_was(self):
        body = self.body()
        first = self.keyed("k11", body)
        self.ok(self.c.delete(f"/vms/{body['id']}", wait=20), 204)
        again = self.keyed("k11", body, wait=5)
        self.assertEqual((201, first.json["state"]), (again.status, again.json["state"]))
        self.refused(self.c.get(f"/vms/{body['id']}"), 404, "NOT_FOUND")

    def test_actions(self):
        vm = self.create(mode="ctrlaltdel")
        headers = {"Idempotency-Key": "k6"}
        first = self.ok(self.c.post(f"/vms/{vm['id']}/reboot", {"timeout_seconds": 0}, headers=headers, wait=15))
        second = self.ok(self.c.post(f"/vms/{vm['id']}/reboot", {"timeout_seconds": 0}, headers=headers, wait=15))
        self.assertNotEqual(vm["vmm"]["pid"], first["vmm"]["pid"])
        self.assertEqual(first["vmm"]["pid"], second["vmm"]["pid"])
        self.assertEqual(first["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])

    def test_a_refusal_does_not_use_the_key_up(self):
        body = self.body(image="later", desired_state="stopped")
        self.addCleanup(self.forget, body["id"])
        self.refused(self.keyed("k7", body), 409, "IMAGE_NOT_FOUND")
        self.daemon.add_tiny("later")
        self.assertIn(self.keyed("k7", body, wait=10).status, (201, 409))


class WaitTest(ThemeCase):
    def test_without_wait_the_reply_comes_at_once(self):
        body = self.body()
        self.addCleanup(self.forget, body["id"])
        with self.quick(1):
            reply = self.c.post("/vms", body)
        self.assertEqual(201, reply.status)
        self.assertIn(reply.json["state"], ("creating", "starting", "running"))
        self.await_vm(body["id"], lambda v: v["state"] == "running")

    def test_202_when_the_time_is_over(self):
        vm = self.create()["id"]
        begin = time.monotonic()
        reply = self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 60}, wait=1)
        self.assertEqual((202, "stopping"), (reply.status, reply.json["state"]))
        self.assertGreater(time.monotonic() - begin, 0.9)
        self.assertLess(time.monotonic() - begin, 3)

    def test_many_wait_for_one(self):
        vm = self.create()["id"]
        replies = []

        def stop():
            replies.append(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 2}, wait=20))

        threads = [threading.Thread(target=stop) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual({reply.status for reply in replies}, {200, 409})
        self.assertTrue(any(reply.status == 200 for reply in replies))

    def test_a_waiter_learns_that_the_vm_was_deleted(self):
        vm = self.create()["id"]
        replies = []
        waiter = threading.Thread(target=lambda: replies.append(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 60}, wait=30)))
        waiter.start()
        self.await_vm(vm, lambda v: v["state"] == "stopping")
        self.ok(self.c.delete(f"/vms/{vm}", wait=15), 204)
        waiter.join(5)
        self.assertFalse(waiter.is_alive())
        self.assertIn(replies[0].status, (200, 202, 404, 409), repr(replies[0]))

    def test_a_waiter_does_not_wait_for_what_nobody_wants_any_more(self):
        vm = self.create()["id"]
        replies = []
        waiter = threading.Thread(target=lambda: replies.append(self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 60}, wait=30)))
        waiter.start()
        self.await_vm(vm, lambda v: v["state"] == "stopping")
        self.act(vm, "kill")
        waiter.join(5)
        self.assertFalse(waiter.is_alive())
        self.assertEqual("stopped", replies[0].json["state"])
