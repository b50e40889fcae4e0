"""The daemon itself: health, version, its description, the host; and HTTP as such."""

import json
import socket
import subprocess

import yaml

from harness import BINARY, Case, Daemon, ThemeCase, eventually, limit, raw_status, read_reply, unix_socket
from spec import ROOT


class ServiceTest(ThemeCase):
    tiny = False

    def test_health_and_readiness(self):
        self.assertEqual({"status": "ok"}, self.c.json("/healthz"))
        self.assertEqual({"status": "ok"}, self.c.json("/readyz"))

    def test_version_is_that_of_the_program(self):
        version = self.c.json("/version")["version"]
        self.assertIn(version, subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=10).stdout)

    def test_openapi_yaml_is_the_file_of_the_repository(self):
        reply = self.c.get("/openapi.yaml")
        self.assertEqual((ROOT / "openapi.yaml").read_text(), reply.text)

    def test_openapi_json_says_the_same(self):
        document = json.loads(json.dumps(yaml.safe_load((ROOT / "openapi.yaml").read_text())))
        self.assertEqual(document, self.c.json("/openapi.json"))

    @limit(40)
    def test_host_was_probed(self):
        def probed():
            host = self.c.json("/host")
            return host if host["kvm"]["usable"] is not None else None

        host = eventually(probed, "the probe of KVM", 30)
        self.assertEqual(open("/proc/sys/kernel/random/boot_id").read().strip(), host["boot_id"])
        self.assertEqual(open("/proc/sys/kernel/osrelease").read().strip(), host["kernel"])
        self.assertTrue(host["kvm"]["reason"])
        vmms = {entry["name"]: entry for entry in host["vmms"]}
        self.assertEqual({"firecracker", "qemu"}, set(vmms))
        for entry in vmms.values():
            self.assertTrue(entry["available"], entry)
            self.assertRegex(entry["version"], r"^\d+\.\d+")
        self.assertTrue(host["auto"]["reason"])
        expected = ("firecracker", "kvm") if host["kvm"]["usable"] else ("qemu", "tcg")
        self.assertEqual(expected, (host["auto"]["driver"], host["auto"]["accelerator"]))

    def test_unknown_path_is_404(self):
        for path in ("/", "/nothing", "/vms/a/nothing", "/images/a/b", "/vms/", "//vms", "/vms/a/start/b", "/VMS"):
            with self.subTest(path):
                self.refused(self.c.get(path), 404, "NOT_FOUND")

    def test_unknown_method_is_405_with_allow(self):
        for method, path, allowed in (
            ("DELETE", "/vms", {"GET", "POST"}),
            ("PUT", "/vms/a", {"GET", "PATCH", "DELETE"}),
            ("GET", "/vms/a/start", {"POST"}),
            ("POST", "/healthz", {"GET"}),
            ("PATCH", "/images/a", {"GET", "DELETE"}),
            ("POST", "/network", {"GET", "PATCH"}),
        ):
            with self.subTest(method + path):
                reply = self.c.request(method, path)
                self.refused(reply, 405, "METHOD_NOT_ALLOWED")
                names = {name.strip() for name in reply.headers["Allow"].split(",")}
                self.assertEqual(allowed, names - {"HEAD", "OPTIONS"})

    def test_head_is_get_without_a_body(self):
        get, head = self.c.get("/version"), self.c.request("HEAD", "/version")
        self.assertEqual((200, b""), (head.status, head.body))
        self.assertEqual(get.headers["Content-Length"], head.headers["Content-Length"])

    def test_request_id_is_in_the_problem_and_ids_differ(self):
        ids = {self.c.get("/nothing").json["request_id"] for _ in range(5)}
        self.assertEqual(5, len(ids))
        reply = self.c.get("/nothing", headers={"X-Request-Id": "client-4711"})
        self.assertEqual("client-4711", reply.json["request_id"])

    def test_a_request_id_that_is_no_plain_token_is_not_taken(self):
        for bad in ('a"b', "x" * 200, "a b", "<script>"):
            reply = self.c.get("/nothing", headers={"X-Request-Id": bad})
            self.assertEqual(404, reply.status)
            self.assertNotEqual(bad, reply.json["request_id"])

    def test_the_socket_is_only_for_the_user_and_the_group(self):
        self.assertEqual(0o660, self.daemon.socket.stat().st_mode & 0o777)

    def test_the_api_process_has_no_privileges(self):
        status = open(f"/proc/{self.daemon.api_pid()}/status").read()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual({"65534"}, set(fields["Uid"].split()))
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(0, int(fields[capabilities], 16), capabilities)
        self.assertEqual("1", fields["NoNewPrivs"].strip())
        self.assertEqual("2", fields["Seccomp"].strip())


class HttpTest(ThemeCase):
    """What is wrong below the level of the description."""

    tiny = False

    def raw(self, text, **kw):
        return self.c.raw(text if isinstance(text, bytes) else text.encode("latin-1"), **kw)

    def tearDown(self):
        self.assertEqual(200, self.c.get("/healthz").status)

    def test_broken_requests_are_400_or_a_closed_connection(self):
        host = "Host: x\r\n"
        for request in (
            "GARBAGE\r\n\r\n",
            "\x00\x01\x02\x03\r\n\r\n",
            "GET\r\n\r\n",
            "GET /healthz HTTP/9.9\r\n" + host + "\r\n",
            "GET /healthz\r\n\r\n",
            "GET http://[::1 HTTP/1.1\r\n" + host + "\r\n",
            f"GET /healthz HTTP/1.1\r\n{host}no colon here\r\n\r\n",
            f"POST /vms HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n",
            f"POST /vms HTTP/1.1\r\n{host}Content-Length: 99999999999999999999999\r\n\r\n",
            f"POST /vms HTTP/1.1\r\n{host}Content-Length: abc\r\n\r\n",
            f"POST /vms HTTP/1.1\r\n{host}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{{}}\r\n0\r\n\r\n",
        ):
            with self.subTest(request[:40]):
                status = raw_status(self.raw(request, timeout=3))
                self.assertIn(status, (None, 400, 404, 413, 505))

    def test_a_broken_target_is_400_with_a_problem(self):
        for target in ("/vms/%", "/vms/%4", "/vms/%zz", "/vms/a%00b", "/vms/%ff%fe", "/vms?limit=%zz", "/vms?label=%00"):
            with self.subTest(target):
                reply = self.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertEqual(400, raw_status(reply), reply)
                self.assertIn(b"application/problem+json", reply)

    def test_an_over_long_target_is_414(self):
        self.refused(self.c.get("/vms/" + "a" * 4200), 414, "URI_TOO_LONG")
        self.refused(self.c.get("/vms", label="a" * 4200), 414, "URI_TOO_LONG")
        self.assertIn(self.c.get("/vms/" + "a" * 3000).status, (400, 404))

    def test_too_large_headers_are_431(self):
        self.assertEqual(200, self.c.get("/healthz", headers={"X-Filler": "a" * 8000}).status)
        self.refused(self.c.get("/healthz", headers={"X-Filler": "a" * 17000}), 431, "HEADERS_TOO_LARGE")
        many = {f"X-Filler-{n}": "a" for n in range(80)}
        self.refused(self.c.get("/healthz", headers=many), 431, "HEADERS_TOO_LARGE")

    def test_gigantic_headers_end_the_connection(self):
        status = raw_status(self.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000_000 + b"\r\n\r\n"))
        self.assertIn(status, (None, 400, 431))

    def test_an_over_long_body_is_413(self):
        json_type = {"Content-Type": "application/json"}
        body = b'{"id": "' + b"a" * (300 * 1024) + b'"}'
        self.refused(self.c.post("/vms", body, headers=json_type), 413, "PAYLOAD_TOO_LARGE")
        self.refused(self.c.post("/images", body, headers=json_type), 413, "PAYLOAD_TOO_LARGE")
        self.refused(self.c.patch("/vms/a", body, headers=json_type), 413, "PAYLOAD_TOO_LARGE")

    def test_an_over_long_chunked_body_is_413(self):
        head = "POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        self.assertEqual(413, raw_status(self.raw(head.encode() + chunk * 6 + b"0\r\n\r\n")))

    def test_a_body_announced_as_gigantic_is_413_before_it_comes(self):
        head = "POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000000000\r\n\r\n"
        with self.quick(3):
            self.assertEqual(413, raw_status(self.raw(head)))

    def test_other_media_types_are_415(self):
        for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data", ""):
            with self.subTest(media_type):
                reply = self.c.post("/vms", b'{"image": "a"}', headers={"Content-Type": media_type})
                self.refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE")
        reply = self.c.post("/vms", b'{"image": "a"}', headers={"Content-Type": "application/json; charset=latin-1"})
        self.refused(reply, 415, "UNSUPPORTED_MEDIA_TYPE")

    def test_the_media_type_may_be_written_in_other_ways(self):
        for media_type in ("application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'):
            with self.subTest(media_type):
                reply = self.c.post("/vms", b'{"image": "not-there"}', headers={"Content-Type": media_type})
                self.refused(reply, 409, "IMAGE_NOT_FOUND")

    def test_several_requests_on_one_connection(self):
        with unix_socket(str(self.daemon.socket)) as sock:
            for _ in range(20):
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(200, raw_status(read_reply(sock)))

    def test_a_chunked_body_is_read(self):
        text = b'{"image": "not-there"}'
        head = "POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(text[i : i + 5]), text[i : i + 5]) for i in range(0, len(text), 5))
        reply = self.raw(head.encode() + chunks + b"0\r\n\r\n")
        self.assertEqual(409, raw_status(reply))
        self.assertIn(b"IMAGE_NOT_FOUND", reply)

    def test_expect_100_continue(self):
        with unix_socket(str(self.daemon.socket), 5) as sock:
            body = b'{"image": "not-there"}'
            head = "POST /vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            self.assertIn(b"100", sock.recv(4096))
            sock.sendall(body)
            self.assertEqual(409, raw_status(read_reply(sock)))


class ConfigTest(Case):
    """The command line and the file, without a daemon that stays."""

    def check(self, *args, text=None):
        path = self.enterContext(_temporary_file(text)) if text is not None else None
        argv = [str(BINARY), "--check-config", *(["--config", path] if path else []), *args]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20)

    def accepted(self, *args, text="{}"):
        result = self.check(*args, text=text)
        self.assertEqual(0, result.returncode, result.stderr)

    def rejected(self, *args, text="{}", word):
        result = self.check(*args, text=text)
        self.assertNotEqual(0, result.returncode, f"accepted: {args} {text}")
        self.assertNotIn("Sanitizer", result.stderr)
        self.assertIn(word, result.stderr)

    def test_help_names_the_options(self):
        text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=10).stdout
        for option in ("--config", "--set", "--check-config", "--version", "--stop-vms"):
            self.assertIn(option, text)

    def test_accepted(self):
        self.accepted()
        self.accepted(text="# nothing but defaults\n")
        self.accepted(text="state_dir: /srv/a\nnetwork:\n  subnet: 10.9.0.0/24\n")
        self.accepted("--set", "network.subnet=10.9.0.0/24", "--set", 'images.allowed_roots=["/srv/img"]')
        self.accepted("--set", "network.uplink=null", "--set", "listen=['127.0.0.1:8080', /run/x.sock]")

    def test_rejected(self):
        for args, word in (
            (["network.subnet=10.9.0.1/24"], "10.9.0.0/24"),
            (["network.subnet=10.9.0.0/31"], "subnet"),
            (["network.subnet=fd00::/64"], "subnet"),
            (["network.bridge=sixteen-bytes-xx"], "bridge"),
            (["network.bridge=a/b"], "bridge"),
            (["network.nothing=1"], "nothing"),
            (["nothing=1"], "nothing"),
            (["vmm.workers=0"], "workers"),
            (["vmm.workers=many"], "workers"),
            (["vmm.workers"], "vmm.workers"),
            (["listen=['0.0.0.0:80']"], "listen"),
            (["listen=['192.0.2.1:80']"], "listen"),
            (["listen=['127.0.0.1:99999']"], "listen"),
            (["state_dir=relative"], "state_dir"),
            (["log.level=loud"], "level"),
            (["images.allowed_roots=[relative]"], "allowed_roots"),
            (["run_dir=/" + "x" * 40], "run_dir"),
        ):
            with self.subTest(args[0]):
                self.rejected("--set", *args, word=word)

    def test_files_that_are_no_configuration(self):
        for text, word in (
            ("- a\n- b\n", ""),
            ("state_dir: [\n", ""),
            ("a: &a [*a]\n", ""),
            ("state_dir: /a\nstate_dir: /b\n", "state_dir"),
            ("network: {subnett: 10.0.0.0/24}\n", "subnett"),
            ("x" * 300_000, ""),
        ):
            with self.subTest(text[:20]):
                self.rejected(text=text, word=word)
        result = subprocess.run([BINARY, "--check-config", "--config", "/nonexistent"], capture_output=True, text=True, timeout=10)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("/nonexistent", result.stderr)

    def test_unknown_options_are_refused(self):
        result = subprocess.run([BINARY, "--nothing"], capture_output=True, text=True, timeout=10)
        self.assertNotEqual(0, result.returncode)


class ListenTest(Case):
    def test_a_plain_loopback_listener_when_asked_for(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        daemon.config["listen"] = [str(daemon.socket), "127.0.0.1:18080"]
        daemon.start()
        # A name that leads to the loopback address is how a web page would reach it.
        for host, status in (("127.0.0.1:18080", 200), ("localhost:18080", 200), ("localhost", 200), ("evil.example", 400), ("10.0.0.1", 400)):
            with self.subTest(host), daemon.netns.connect("127.0.0.1", 18080) as sock:
                sock.settimeout(5)
                sock.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.assertEqual(status, raw_status(read_reply(sock)))

    def test_readiness_is_told_to_the_service_manager(self):
        daemon = Daemon()
        self.addCleanup(daemon.close)
        path = str(daemon.base / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            sock.settimeout(15)
            daemon.start(env={"NOTIFY_SOCKET": path})
            self.assertIn(b"READY=1", sock.recv(4096))


def _temporary_file(text):
    import contextlib
    import tempfile

    @contextlib.contextmanager
    def make():
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(text)
            file.flush()
            yield file.name

    return make()


