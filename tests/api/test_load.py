"""Many clients, slow clients, clients that leave."""

import os
import resource
import socket
import threading
import time

from harness import ThemeCase, limit, raw_status, read_reply, unix_socket

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def close_all(sockets):
    for sock in sockets:
        sock.close()


class LoadTest(ThemeCase):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
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
