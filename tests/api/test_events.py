"""/events: what happened, in order, with nothing lost."""

import json
import threading

from client import EventSource
from harness import OwnDaemonCase, ThemeCase, eventually, limit, parse_events


def stored(client, after=0):
    with client.stream("/events", {"Last-Event-ID": str(after)}, follow="false") as stream:
        return parse_events(stream.read_all().decode())


class EventsTest(ThemeCase):
    def states_of(self, vm):
        return [e["data"]["data"]["state"] if "data" in e["data"] else e["data"]["state"]
                for e in stored(self.c) if e["event"] == "vm.state" and vm in str(e["data"])]

    def test_a_life_in_events(self):
        vm = self.create()["id"]
        self.act(vm, "kill")
        self.forget(vm)
        events = [e for e in stored(self.c) if f"/vms/{vm}" in str(e["data"]) or f"'{vm}'" in str(e["data"])]
        types = [e["event"] for e in events]
        self.assertEqual("vm.created", types[0])
        self.assertEqual("vm.deleted", types[-1])
        states = self.states_of(vm)
        for earlier, later in (("starting", "running"), ("running", "stopped")):
            self.assertLess(states.index(earlier), len(states) - 1 - states[::-1].index(later))

    def test_ids_go_up(self):
        self.create()
        ids = [int(e["id"]) for e in stored(self.c)]
        self.assertEqual(sorted(set(ids)), ids)

    def test_last_event_id_goes_on_after_that_one(self):
        self.create()
        events = stored(self.c)
        middle = len(events) // 2
        self.assertEqual(events[middle:], stored(self.c, events[middle - 1]["id"])[: len(events) - middle])

    def test_a_number_that_was_never_given(self):
        self.assertEqual([], [e for e in stored(self.c, 10**17) if e["event"] != "events.lost"])

    def test_following_begins_now(self):
        self.create()
        with self.c.stream("/events") as stream:
            vm = self.create()["id"]
            stream.read_until(b"running")
            self.assertIn(vm.encode(), stream.buffer)
            first = parse_events(stream.buffer.decode())[0]
            self.assertEqual("vm.created", first["event"])

    def test_a_browser_gets_them_by_onmessage(self):
        begin = int(stored(self.c)[-1]["id"])
        vm = self.create()["id"]
        self.create()
        target = f"/events?after={begin}&type=vm.*&resource=vm/{vm}"
        with self.c.stream(target) as stream:
            self.assertEqual(("text/event-stream", "no", "no-store"), tuple(stream.response.headers[name] for name in ("Content-Type", "X-Accel-Buffering", "Cache-Control")))
            stream.read_until(b"running")
            source = EventSource().feed(stream.buffer.decode())
        self.assertEqual([], source.others)
        self.assertEqual(1000, source.retry)
        events = [json.loads(message["data"]) for message in source.messages]
        self.assertEqual({f"/vms/{vm}"}, {event["resource"] for event in events})
        self.assertEqual("vm.created", events[0]["type"])
        # When it comes back it still has the address that it began with.
        with self.c.stream(target + "&follow=false", {"Last-Event-ID": source.messages[0]["id"]}) as stream:
            again = parse_events(stream.read_all().decode())
        self.assertNotIn(source.messages[0]["id"], [event["id"] for event in again])

    def test_filters_that_are_none(self):
        for query in ({"type": "VM"}, {"resource": "web"}, {"after": "x"}, {"after": -1}):
            with self.subTest(query):
                self.refused(self.c.get("/events", **query), 400, "INVALID_REQUEST", next(iter(query)))

    def test_events_come_at_once(self):
        with self.c.stream("/events") as stream:
            body = self.body(desired_state="stopped")
            self.addCleanup(self.forget, body["id"])
            self.c.post("/vms", body)
            with self.quick(1):
                stream.read_until(b"vm.created")

    def test_image_events(self):
        self.daemon.add_tiny("for-events")
        self.c.delete("/images/for-events", wait=10)
        types = [e["event"] for e in stored(self.c) if "for-events" in str(e["data"])]
        self.assertTrue(types[0].startswith("image."), types)
        self.assertEqual("image.deleted", types[-1])

    def test_many_readers(self):
        streams = [self.c.stream("/events") for _ in range(50)]
        try:
            vm = self.create(desired_state="stopped", state="stopped")["id"]
            for stream in streams:
                stream.read_until(vm.encode())
        finally:
            for stream in streams:
                stream.close()

    def test_the_number_of_streams_is_bounded(self):
        streams, refused = [], None
        try:
            for _ in range(300):
                try:
                    streams.append(self.c.stream("/events"))
                except AssertionError as e:
                    refused = str(e)
                    break
            self.assertIsNotNone(refused, "300 streams were accepted")
            self.assertRegex(refused, r"-> (429|503)")
            self.assertGreaterEqual(len(streams), 200)
            self.assertEqual(200, self.c.get("/healthz").status)
        finally:
            for stream in streams:
                stream.close()
        eventually(lambda: self._can_stream(), "a free place for a stream")

    def _can_stream(self):
        try:
            self.c.stream("/events").close()
            return True
        except AssertionError:
            return False


class EventsOverRestartTest(OwnDaemonCase):
    def follow(self, seen, stop):
        """A client as it should be: goes on after the last event that it saw, whatever happens to the daemon."""
        while not stop.is_set():
            last = seen[-1]["id"] if seen else "0"
            try:
                with self.c.stream("/events", {"Last-Event-ID": last}) as stream:
                    while not stop.is_set():
                        events = stream.take_events(0.3)
                        seen.extend(events)
                        if not events and stream.response.isclosed():
                            break
                        if not events and not self.daemon.is_running():
                            break
            except (OSError, AssertionError):
                stop.wait(0.05)

    @limit(90)
    def test_nothing_is_lost_over_restarts(self):
        seen, stop = [], threading.Event()
        thread = threading.Thread(target=self.follow, args=(seen, stop))
        thread.start()
        try:
            for round_number in range(3):
                vm = self.create(vm=f"v{round_number}")["id"]
                (self.daemon.kill9, self.daemon.stop)[round_number % 2]()
                self.daemon.start()
                self.act(vm, "kill")
            last = stored(self.c)[-1]["id"]
            eventually(lambda: seen and int(seen[-1]["id"]) >= int(last), "the last event", 10)
        finally:
            stop.set()
            thread.join()
        everything = stored(self.c)
        self.assertEqual([e["id"] for e in everything][: len(seen)], [e["id"] for e in seen])
        self.assertEqual(everything[: len(seen)], seen)
        self.assertFalse([e for e in seen if e["event"] == "events.lost"])

    def test_a_stream_ends_with_the_daemon(self):
        with self.c.stream("/events") as stream:
            self.daemon.stop(timeout=10)
            try:
                while stream.read(5):
                    pass
            except ConnectionError:
                pass
