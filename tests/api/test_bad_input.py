"""Input that is wrong: a clear error, and nothing changes."""

import json

from harness import ThemeCase, raw_status

JSON = {"Content-Type": "application/json"}


class BadInputTest(ThemeCase):
    def setUp(self):
        self.before = self.c.items("/vms"), self.c.items("/images"), self.c.items("/network/leases")

    def tearDown(self):
        self.assertEqual(self.before, (self.c.items("/vms"), self.c.items("/images"), self.c.items("/network/leases")))

    def post(self, body, path="/vms"):
        return self.c.post(path, body, headers=JSON if isinstance(body, (bytes, str)) else None)

    def test_broken_json(self):
        for text in (
            " ", "{", "}", "{]", '{"image"}', '{"image":}', '{"image": "a",}', '{"image": "a"} x', "{'image': 'a'}",
            "// comment\n{}", '{"image": NaN}', '{"image": Infinity}', '{"image": 01}', '{"image": +1}', '{"image": .5}',
            '{"image": "a\tb"}', '{"image": "\\x41"}', '{"image": "\\ud800"}', '{"image": "a', "nul", "\ufeff{}",
        ):
            with self.subTest(text):
                self.refused(self.post(text), 400, "INVALID_JSON")

    def test_no_body(self):
        self.refused(self.post(""), 400, "INVALID_CONFIG", "")

    def test_json_of_another_kind(self):
        for text in ("[]", "null", "1", '"a"', "true", '[{"image": "tiny"}]'):
            with self.subTest(text):
                self.refused(self.post(text), 400, "INVALID_CONFIG", "")

    def test_duplicate_keys(self):
        self.refused(self.post('{"image": "tiny", "image": "tiny"}'), 400, "INVALID_JSON")
        self.refused(self.post('{"image": "tiny", "labels": {"a": "1", "a": "2"}}'), 400, "INVALID_JSON")
        self.refused(self.post('{"image": "tiny", "\\u0069mage": "tiny"}'), 400, "INVALID_JSON")

    def test_nul_and_invalid_utf8(self):
        self.assertEqual(400, self.post('{"image": "ti\\u0000ny"}').status)
        self.assertEqual(400, self.post('{"image": "tiny", "labels": {"a": "x\\u0000y"}}').status)
        self.assertEqual(400, self.post('{"image": "tiny", "la\\u0000bels": {}}').status)
        for data in (b'{"image": "\xff\xfe"}', b'{"image": "\xc0\xaf"}', b'{"image": "\xed\xa0\x80"}', b'{"image": "\xf4\x90\x80\x80"}',
                     b'{"image": "a\x00b"}', b"\x00", b'{"image": "tiny", "labels": {"a": "\xe2\x82"}}'):
            with self.subTest(data):
                self.refused(self.post(data), 400, "INVALID_JSON")

    def test_deep_nesting(self):
        for deep in (40, 1000, 100_000):
            with self.subTest(deep):
                self.refused(self.post('{"labels": ' + "[" * deep + "]" * deep + "}"), 400, "INVALID_JSON")
                self.assertEqual(400, self.post('{"a":' * min(deep, 30_000)).status)

    def test_wrong_types(self):
        for field, value in (
            ("id", 1), ("id", ["a"]), ("image", None), ("image", 1), ("desired_state", True), ("machine_config", []),
            ("machine_config", 1), ("network_interfaces", {}), ("boot_args", ["a"]), ("vmm", 3), ("labels", []),
            ("labels", "a=b"), ("autostart", "true"), ("autostart", 1),
        ):
            with self.subTest(f"{field}={value}"):
                self.refused(self.post(self.body(**{field: value})), 400, "INVALID_CONFIG", f"/{field}")

    def test_wrong_types_deeper(self):
        for field, value, pointer in (
            ("machine_config", {"vcpu_count": "1"}, "/machine_config/vcpu_count"),
            ("machine_config", {"vcpu_count": 1.5}, "/machine_config/vcpu_count"),
            ("machine_config", {"mem_size_mib": True}, "/machine_config/mem_size_mib"),
            ("network_interfaces", ["eth0"], "/network_interfaces/0"),
            ("network_interfaces", [{"iface_id": 0}], "/network_interfaces/0/iface_id"),
            ("network_interfaces", [{}], "/network_interfaces/0/iface_id"),
            ("labels", {"a": 1}, "/labels/a"),
            ("labels", {"a": None}, "/labels/a"),
        ):
            with self.subTest(pointer + str(value)):
                errors = self.refused(self.post(self.body(**{field: value})), 400, "INVALID_CONFIG")["errors"]
                self.assertTrue(any(e["pointer"] in (pointer, pointer.rpartition("/")[0]) for e in errors), errors)

    def test_numbers_out_of_range(self):
        for name, value in (
            ("vcpu_count", 0), ("vcpu_count", -1), ("vcpu_count", 33), ("vcpu_count", 3), ("vcpu_count", 2**31), ("vcpu_count", 2**64 - 1),
            ("mem_size_mib", 0), ("mem_size_mib", -5), ("mem_size_mib", 1048577), ("mem_size_mib", 2**63 - 1),
        ):
            with self.subTest(f"{name}={value}"):
                reply = self.post(self.body(machine_config={name: value}))
                self.assertEqual(400, reply.status, repr(reply))
                self.assertIn(reply.code, ("INVALID_CONFIG", "INVALID_JSON"))
        for text in ("1e400", "1" * 400, "-1e999", "123456789012345678901234567890"):
            with self.subTest(text[:20]):
                reply = self.post('{"image": "tiny", "machine_config": {"mem_size_mib": %s}}' % text)
                self.assertEqual(400, reply.status, repr(reply))

    def test_unknown_fields(self):
        for body, pointer in (
            (self.body(nothing=1), "/nothing"),
            (self.body(machine_config={"cpu": 1}), "/machine_config/cpu"),
            (self.body(network_interfaces=[{"iface_id": "eth0", "ip": "1.2.3.4"}]), "/network_interfaces/0/ip"),
            (self.body(**{"a/b~c": 1}), "/a~1b~0c"),
        ):
            with self.subTest(pointer):
                self.refused(self.post(body), 400, "INVALID_CONFIG", pointer)

    def test_all_errors_of_a_body_come_at_once(self):
        body = {"id": "UPPER", "desired_state": "flying", "nothing": 1, "machine_config": {"vcpu_count": 99}, "labels": {"-": "a"}}
        reply = self.post(body)
        self.refused(reply, 400, "INVALID_CONFIG", ["/id", "/desired_state", "/nothing", "/machine_config/vcpu_count"])
        self.assertTrue(any("image" in e["pointer"] + e["detail"] for e in reply.json["errors"]), repr(reply))

    def test_the_number_of_errors_is_bounded(self):
        reply = self.post({"image": "tiny", **{f"unknown{n}": n for n in range(500)}})
        self.refused(reply, 400, "INVALID_CONFIG")
        self.assertLessEqual(len(reply.json["errors"]), 33)

    def test_ids(self):
        for bad in ("", "A", "a_b", "-a", "a.b", "..", "../a", "a/b", "a b", "ä", "a\n", "a" * 64, "a\u0000", "%2e%2e"):
            with self.subTest(bad):
                reply = self.post(self.body() | {"id": bad})
                self.assertEqual(400, reply.status, repr(reply))

    def test_ids_in_paths(self):
        for bad in ("..", "%2e%2e", "%2e%2e%2fetc", "a%2fb", "A", "a_b", "a" * 64, "%20", "-a", "a%0a", "%c3%a4"):
            for method, path in (("GET", "/vms/{}"), ("DELETE", "/vms/{}"), ("POST", "/vms/{}/start"), ("GET", "/vms/{}/console")):
                with self.subTest(method + path.format(bad)):
                    reply = self.c.request(method, path.format(bad))
                    self.assertIn(reply.status, (400, 404), repr(reply))
        for bad in ("..", "%2e%2e", ".hidden", "a%2fb", "a" * 129, "%00"):
            with self.subTest(bad):
                self.assertIn(self.c.get(f"/images/{bad}").status, (400, 404))
                self.assertIn(self.c.delete(f"/images/{bad}").status, (400, 404))

    def test_dots_between_slashes_lead_nowhere(self):
        for target in ("/vms/../healthz", "/./healthz", "/vms/./a", "/images/../vms", "/%2e%2e/healthz"):
            with self.subTest(target):
                data = self.c.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                self.assertIn(raw_status(data), (400, 404))

    def test_over_long_names_and_too_many_of_them(self):
        for field, value in (
            ("boot_args", "a" * 1025), ("boot_args", "line\nbreak"), ("boot_args", "ümlaut"), ("image", "a" * 129),
            ("labels", {"k" * 64: "v"}), ("labels", {"k": "v" * 256}), ("labels", {f"k{n}": "" for n in range(65)}), ("labels", {"": "v"}),
            ("network_interfaces", [{"iface_id": f"eth{n}"} for n in range(9)]),
            ("network_interfaces", [{"iface_id": "e" * 33}]), ("network_interfaces", [{"iface_id": "ETH0"}]),
            ("network_interfaces", [{"iface_id": ""}]), ("network_interfaces", [{"iface_id": "../x"}]),
        ):
            with self.subTest(f"{field}={str(value)[:30]}"):
                self.refused(self.post(self.body(**{field: value})), 400, "INVALID_CONFIG")

    def test_an_interface_given_twice(self):
        two = [{"iface_id": "eth0"}, {"iface_id": "eth0"}]
        reply = self.post(self.body(network_interfaces=two))
        self.refused(reply, 400, "INVALID_CONFIG")
        self.assertTrue(reply.json["errors"][0]["pointer"].startswith("/network_interfaces"), repr(reply))

    def test_unknown_choices(self):
        self.refused(self.post(self.body(vmm="xen")), 400, "INVALID_CONFIG", "/vmm")
        self.refused(self.post(self.body(desired_state="Running")), 400, "INVALID_CONFIG", "/desired_state")

    def test_query_parameters(self):
        for path, name in (
            ("/vms?limit=0", "limit"), ("/vms?limit=1001", "limit"), ("/vms?limit=-1", "limit"), ("/vms?limit=a", "limit"),
            ("/vms?limit=", "limit"), ("/vms?limit=1.5", "limit"), ("/vms?limit=%201", "limit"), ("/vms?limit=1&limit=2", "limit"),
            ("/vms?limit=99999999999999999999", "limit"), ("/vms?nothing=1", "nothing"), ("/vms?state=flying", "state"),
            ("/vms?cursor=", "cursor"), ("/vms?cursor=%2F", "cursor"), ("/vms?cursor=" + "a" * 129, "cursor"), ("/vms?label=", "label"),
            ("/vms?wait=1", "wait"), ("/images?state=ready", "state"), ("/network/leases?limit=0", "limit"), ("/healthz?a=b", "a"),
            ("/events?follow=maybe", "follow"), ("/vms/a/console?offset=-1", "offset"), ("/vms/a/console?follow=1", "follow"),
        ):
            with self.subTest(path[:60]):
                reply = self.c.get(path)
                self.refused(reply, 400, "INVALID_REQUEST", name)
                self.assertEqual("query", reply.json["errors"][0]["in"])

    def test_too_many_query_parameters(self):
        self.assertEqual(400, self.c.get("/vms?" + "&".join(["label=a"] * 40)).status)

    def test_a_bad_wait(self):
        for wait in ("-1", "301", "a", "1.5", ""):
            with self.subTest(wait):
                self.refused(self.c.post("/vms", self.body(), wait=wait), 400, "INVALID_REQUEST", "wait")

    def test_a_cursor_that_no_list_gave(self):
        for cursor in ("zzzz", "....", "-", "AAAA"):
            with self.subTest(cursor):
                for path in ("/vms", "/images", "/network/leases"):
                    self.assertIn(self.c.get(path, cursor=cursor).status, (200, 400))

    def test_headers(self):
        reply = self.c.post("/vms", self.body(), headers={"Idempotency-Key": "k" * 256})
        self.refused(reply, 400, "INVALID_REQUEST", "Idempotency-Key")
        self.assertEqual("header", reply.json["errors"][0]["in"])
        reply = self.c.post("/vms", self.body(), headers={"Idempotency-Key": "with space"})
        self.refused(reply, 400, "INVALID_REQUEST", "Idempotency-Key")
        reply = self.c.get("/events", headers={"Last-Event-ID": "abc"})
        self.refused(reply, 400, "INVALID_REQUEST", "Last-Event-ID")

    def test_an_image_that_is_gone(self):
        self.refused(self.post(self.body(image="not-there")), 409, "IMAGE_NOT_FOUND")
        self.c.post("/images", {"manifest": self.daemon.tiny_manifest("short-lived")}, wait=15)
        self.ok(self.c.delete("/images/short-lived", wait=10), 204)
        self.refused(self.post(self.body(image="short-lived")), 409, "IMAGE_NOT_FOUND")

    def test_more_memory_than_the_host_has(self):
        reply = self.post(self.body(machine_config={"mem_size_mib": 1048576}))
        self.refused(reply, 409, "INSUFFICIENT_MEMORY")

    def test_empty_bodies_where_one_is_needed(self):
        for method, path in (("POST", "/vms"), ("POST", "/images"), ("PATCH", "/vms/a")):
            with self.subTest(path):
                reply = self.c.request(method, path)
                self.assertIn(reply.status, (400, 404, 415), repr(reply))

    def test_a_body_where_none_belongs(self):
        reply = self.c.post("/vms/a/start", {"force": True})
        self.assertIn(reply.status, (400, 404, 415), repr(reply))

    def test_manifest_fields(self):
        good = self.daemon.tiny_manifest("bad")
        for change, pointer in (
            ({"schema_version": 2}, "/manifest/schema_version"),
            ({"bundle_id": "../x"}, "/manifest/bundle_id"),
            ({"bundle_id": "a/b"}, "/manifest/bundle_id"),
            ({"bundle_id": ".."}, "/manifest/bundle_id"),
            ({"bundle_id": "a" * 129}, "/manifest/bundle_id"),
            ({"arch": "vax"}, "/manifest/arch"),
            ({"rootfs_type": "ntfs"}, "/manifest/rootfs_type"),
            ({"rootfs_is_read_only": "yes"}, "/manifest/rootfs_is_read_only"),
            ({"nothing": 1}, "/manifest/nothing"),
            ({"boot_args": "a\nb"}, "/manifest/boot_args"),
            ({"kernel": {"path": good["kernel"]["path"], "sha256": "abc"}}, "/manifest/kernel/sha256"),
            ({"kernel": {"path": good["kernel"]["path"], "size_bytes": 0}}, "/manifest/kernel/size_bytes"),
            ({"kernel": {"path": good["kernel"]["path"], "file_name": "../x"}}, "/manifest/kernel/file_name"),
            ({"kernel": {"path": good["kernel"]["path"], "mode": "0777"}}, "/manifest/kernel/mode"),
            ({"kernel": {}}, "/manifest/kernel"),
            ({"rootfs": {"path": ""}}, "/manifest/rootfs/path"),
            ({"rootfs": "a"}, "/manifest/rootfs"),
        ):
            with self.subTest(json.dumps(change)[:80]):
                reply = self.post({"manifest": good | change}, "/images")
                self.refused(reply, 400, "INVALID_MANIFEST")
                pointers = [entry["pointer"] for entry in reply.json["errors"]]
                self.assertTrue(any(p.startswith(pointer) for p in pointers), pointers)

    def test_manifest_as_a_whole(self):
        for body in ({}, {"manifest": {}}, {"manifest": []}, {"manifest": None}, {"manifest_path": 1}, {"manifest_path": ""},
                     {"manifest": self.daemon.tiny_manifest("x"), "manifest_path": "/a"}, {"url": "http://x"}):
            with self.subTest(json.dumps(body)[:60]):
                self.refused(self.post(body, "/images"), 400, "INVALID_MANIFEST")
