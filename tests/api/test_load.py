"""Many clients, slow clients, clients that leave."""

import os
import resource
import socket
import threading
import time

from harness import OwnDaemonCase, ThemeCase, eventually, limit, raw_status, read_reply, unix_socket

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def read_until(stream, words, timeout=5):
    """Of a stream, up to these words."""
    text, end = b"", time.monotonic() + timeout
    while words not in text and time.monotonic() < end:
        text += stream.read(max(0.1, end - time.monotonic()))
    return text


def close_all(sockets):
    for sock in sockets:
        sock.close()


class LoadTest(ThemeCase):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
        super().setUpClass()

    def open(self, count):
        sockets = []
        self.addCleanup(close_all, sockets)
        for _ in range(count):
            sockets.append(unix_socket(str(self.daemon.socket), 10))
        return sockets

    def test_a_thousand_idle_connections(self):
        sockets = self.open(1000)
        for _ in range(20):
            with self.quick(0.5):
                self.assertEqual(200, self.c.get("/healthz").status)
        self.create()
        for sock in sockets[::100]:
            sock.sendall(GET)
            self.assertEqual(200, raw_status(read_reply(sock)))

    def test_a_thousand_connections_that_asked_once(self):
        sockets = self.open(1000)
        for sock in sockets:
            sock.sendall(GET)
        for sock in sockets:
            self.assertEqual(200, raw_status(read_reply(sock)))
        with self.quick(0.5):
            self.assertEqual(200, self.c.get("/healthz").status)

    def test_a_slow_client(self):
        sock = self.open(1)[0]
        for byte in GET[:-2]:
            sock.sendall(bytes([byte]))
            time.sleep(0.005)
        with self.quick(0.5):
            self.assertEqual(200, self.c.get("/healthz").status)
        sock.sendall(GET[-2:])
        self.assertEqual(200, raw_status(read_reply(sock)))

    def test_a_hundred_half_requests(self):
        for sock in self.open(100):
            sock.sendall(b"POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        with self.quick(0.5):
            self.assertEqual(200, self.c.get("/healthz").status)

    def test_a_client_that_does_not_read_its_reply(self):
        for sock in self.open(50):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        with self.quick(0.5):
            self.assertEqual(200, self.c.get("/healthz").status)

    def test_clients_that_leave_during_wait(self):
        vm = self.create()["id"]
        head = f"POST /vms/{vm}/stop?wait=60 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        body = b'{"timeout_seconds": 2}'
        sockets = self.open(50)
        for sock in sockets:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self.await_vm(vm, lambda v: v["state"] == "stopping")
        close_all(sockets)
        self.await_vm(vm, lambda v: v["state"] == "stopped")
        self.assertEqual(200, self.c.get("/healthz").status)

    def test_a_client_that_leaves_in_the_middle_of_a_body(self):
        for sock in self.open(50):
            sock.sendall(b"POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"image\"")
            sock.close()
        self.assertEqual(200, self.c.get("/healthz").status)
        self.assertEqual([], self.c.items("/vms"))

    def test_streams_whose_clients_left_are_freed(self):
        vm = self.create(mode="echo")["id"]
        for _ in range(3):
            streams = [self.c.stream("/events") for _ in range(100)]
            for stream in streams:
                stream.close()
            # The daemon notices when it has something to send.
            self.c.patch(f"/vms/{vm}", {"labels": {"n": str(time.monotonic())}}, wait=5)
        self.c.stream("/events").close()

    def crowd(self, count, connect):
        """Clients that send a byte now and then, most of which are closed for it; who is closed comes again."""
        sockets = []
        self.addCleanup(close_all, sockets)
        for _ in range(count):
            sockets.append(connect())
            sockets[-1].setblocking(False)
            sockets[-1].send(b"G")
        return sockets

    def trickle(self, sockets):
        closed = 0
        for sock in sockets:
            try:
                sock.send(b"E")
            except OSError:
                closed += 1
        return closed

    def slowest(self, requests=20):
        took = []
        for _ in range(requests):
            begin = time.monotonic()
            self.assertEqual(200, self.c.get("/healthz").status)
            took.append(time.monotonic() - begin)
        return max(took)

    @limit(120)
    def test_five_thousand_slow_clients(self):
        """On the socket that is asked, of the same uid."""
        stream = self.c.stream("/events")
        self.addCleanup(stream.close)
        sockets = self.crowd(5000, lambda: unix_socket(str(self.daemon.socket), 10))
        self.assertEqual(200, self.c.get("/healthz").status)  # behind all that have come just now
        for _ in range(3):
            worst = self.slowest()
            self.assertLess(worst, 0.1)
            self.assertGreater(self.trickle(sockets), 3500, "those beyond the limit of a peer were closed")
        print(f"load: /healthz with 5000 slow clients: at most {worst * 1000:.1f} ms")
        eventually(lambda: "reason=max_connections_per_peer" in self.daemon.log_path.read_text(), "the log", 5)
        vm = self.create(desired_state="stopped", state="stopped")
        self.assertIn(vm["id"].encode(), read_until(stream, vm["id"].encode()), "a stream is no slow client")

    @limit(60)
    def test_many_clients_at_once(self):
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        faults = []

        def work():
            for _ in range(25):
                reply = self.c.get(f"/vms/{vm}")
                if reply.status != 200:
                    faults.append(reply)

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], faults)

    @limit(30)
    def test_descriptors_do_not_leak(self):
        def count():
            return len(os.listdir(f"/proc/{self.daemon.api_pid()}/fd")), len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

        self.forget(self.create()["id"])
        before = count()
        for _ in range(5):
            vm = self.create()["id"]
            self.c.get(f"/vms/{vm}/console")
            self.forget(vm)
        end = time.monotonic() + 5
        while time.monotonic() < end and any(now > then + 2 for now, then in zip(count(), before)):
            time.sleep(0.05)
        for now, then in zip(count(), before):
            self.assertLessEqual(now, then + 2)


class SlowTest(OwnDaemonCase):
    settings = {"http": {"head_timeout_s": 2, "body_timeout_s": 2}}
    POST = b"POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"

    def closed_after(self, start):
        """Seconds until a client that sends a byte four times a second is closed."""
        sock = unix_socket(str(self.daemon.socket), 10)
        self.addCleanup(sock.close)
        begin = time.monotonic()
        sock.sendall(start)
        sock.settimeout(0.25)
        while time.monotonic() < begin + 10:
            try:
                if sock.recv(1) == b"":
                    break
            except TimeoutError:
                try:
                    sock.send(b"x")
                except OSError:
                    break
            except OSError:
                break
        return time.monotonic() - begin

    def test_a_head_and_a_body_have_their_time(self):
        for start in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", self.POST):
            took = self.closed_after(start)
            self.assertTrue(1.9 < took < 4, (start, took))
        for reason in ("head_timeout", "body_timeout"):
            eventually(lambda: f"reason={reason}" in self.daemon.log_path.read_text(), "the log", 5)

    def test_who_waits_is_not_slow(self):
        vm = self.create(mode="echo")["id"]
        events, console = self.c.stream("/events"), self.c.stream(f"/vms/{vm}/console", follow="true")
        begin = time.monotonic()
        reply = self.c.post(f"/vms/{vm}/stop", {"timeout_seconds": 60}, wait=5)
        self.assertEqual(202, reply.status)
        self.assertGreater(time.monotonic() - begin, 4.9)
        self.act(vm, "kill")
        self.assertIn(b"vm.stopped", read_until(events, b"vm.stopped"))
        self.assertIn(b"tiny: up", read_until(console, b"tiny: up"))
        for stream in (events, console):
            stream.close()
