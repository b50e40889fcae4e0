"""Firewall policies and address sets as resources. That they hold is shown by packets in tests/host and test_hostile.py."""

import re
import time

from harness import OwnDaemonCase, ThemeCase, eventually, limit

ALLOW_WEB = {"action": "allow", "to": ["203.0.113.0/24"], "protocol": "tcp", "ports": [80, "8000-8999"], "comment": "the web"}
DENY_ALL = {"default_action": "deny", "rules": []}


class FirewallTest(ThemeCase):
    def tearDown(self):
        for vm in self.c.items("/vms"):
            self.forget(vm["id"])
        self.ok(self.c.put("/firewall", {}, wait=5))
        for entry in self.c.items("/firewall/sets"):
            self.ok(self.c.delete(f"/firewall/sets/{entry['name']}"), 204)

    def applied(self, reply):
        body = self.ok(reply)
        self.assertEqual("true", self.condition(body, "applied")["status"], reply)
        self.assertEqual(body["generation"], body["observed_generation"])
        return body

    def test_the_default_policy(self):
        policy = self.ok(self.c.get("/firewall"))
        self.assertEqual({"default_action": "allow", "rules": []}, policy["egress"])
        self.assertEqual({"default_action": "deny", "rules": []}, policy["ingress"])
        self.assertIsNone(policy["confirm_until"])

    def test_put_replaces_and_patch_changes_a_direction(self):
        put = self.applied(self.c.put("/firewall", {"egress": {"default_action": "deny", "rules": [ALLOW_WEB]}}, wait=5))
        self.assertEqual([ALLOW_WEB], put["egress"]["rules"])
        patched = self.applied(self.c.patch("/firewall", {"ingress": {"default_action": "allow"}}, wait=5))
        self.assertEqual([ALLOW_WEB], patched["egress"]["rules"])
        self.assertEqual("allow", patched["ingress"]["default_action"])
        self.assertEqual("allow", self.applied(self.c.patch("/firewall", {"egress": None}, wait=5))["egress"]["default_action"])
        self.assertEqual("deny", self.applied(self.c.put("/firewall", {}, wait=5))["ingress"]["default_action"])

    def test_what_a_get_says_can_be_put(self):
        self.ok(self.c.put("/firewall", {"egress": {"default_action": "deny", "rules": [ALLOW_WEB]}}, wait=5))
        policy = self.c.json("/firewall")
        again = self.ok(self.c.put("/firewall", {"egress": policy["egress"], "ingress": policy["ingress"]}, wait=5))
        self.assertEqual(policy["egress"], again["egress"])

    def test_refused_policies(self):
        def rules(*rules, direction="egress"):
            return {direction: {"rules": list(rules)}}

        for body, pointer in (
            (rules({}), "/egress/rules/0/action"),
            (rules({"action": "drop"}), "/egress/rules/0/action"),
            (rules({"action": "deny"}, {"action": "deny", "to": "10.1.2.3/8"}), "/egress/rules/1/to"),
            (rules({"action": "deny", "to": "010.0.0.1"}), "/egress/rules/0/to"),
            (rules({"action": "deny", "to": []}), "/egress/rules/0/to"),
            (rules({"action": "deny", "protocol": "sctp"}), "/egress/rules/0/protocol"),
            (rules({"action": "deny", "ports": 80}), "/egress/rules/0/ports"),
            (rules({"action": "deny", "protocol": "icmp", "ports": 80}), "/egress/rules/0/ports"),
            (rules({"action": "deny", "protocol": "tcp", "ports": 0}), "/egress/rules/0/ports"),
            (rules({"action": "deny", "protocol": "tcp", "ports": 65536}), "/egress/rules/0/ports"),
            (rules({"action": "deny", "protocol": "tcp", "ports": []}), "/egress/rules/0/ports"),
            (rules({"action": "deny", "protocol": "tcp", "ports": ["90-80"]}), "/egress/rules/0/ports/0"),
            (rules({"action": "deny", "from": "10.0.0.0/8"}), "/egress/rules/0/from"),
            (rules({"action": "deny", "to": "10.0.0.0/8"}, direction="ingress"), "/ingress/rules/0/to"),
            (rules({"action": "deny", "extra": 1}), "/egress/rules/0/extra"),
            (rules(*[{"action": "deny"}] * 257), "/egress/rules"),
            (rules({"action": "deny", "to": ["10.0.0.1"] * 257}), "/egress/rules/0/to"),
            (rules({"action": "deny", "comment": "x" * 256}), "/egress/rules/0/comment"),
            ({"egress": {"default_action": "drop"}}, "/egress/default_action"),
            ({"forward": {}}, "/forward"),
        ):
            with self.subTest(str(body)[:80]):
                before = self.c.get("/firewall").etag
                reply = self.c.put("/firewall", body)
                self.refused(reply, 400, "INVALID_FIREWALL_CONFIG", pointer)
                self.assertEqual(before, self.c.get("/firewall").etag)

    def test_host_bits_name_the_network_that_was_meant(self):
        reply = self.c.put("/firewall", {"egress": {"rules": [{"action": "deny", "to": "10.1.2.3/8"}]}})
        self.assertIn("10.0.0.0/8", reply.body.decode())

    def test_a_policy_of_a_vm(self):
        vm = self.create()["id"]
        path = f"/vms/{vm}/firewall"
        self.assertFalse(self.c.json(path)["own"])
        own = self.applied(self.c.put(path, {"egress": {"default_action": "deny", "rules": [ALLOW_WEB]}}, wait=5))
        self.assertTrue(own["own"])
        self.assertEqual(["host", "vm"], [stage["source"] for stage in own["effective"]])
        self.assertEqual([ALLOW_WEB], own["effective"][1]["egress"]["rules"])
        gone = self.applied(self.c.delete(path, wait=5))
        self.assertFalse(gone["own"])
        self.assertEqual(["host"], [stage["source"] for stage in gone["effective"]])
        self.refused(self.c.get("/vms/nobody/firewall"), 404, "NOT_FOUND")
        self.refused(self.c.put("/vms/nobody/firewall", {}), 404, "NOT_FOUND")
        self.refused(self.c.patch("/vms/nobody/firewall", {"egress": None}), 404, "NOT_FOUND")
        self.refused(self.c.delete("/vms/nobody/firewall"), 404, "NOT_FOUND")

    def test_a_vm_is_made_with_its_policy(self):
        vm = self.create(firewall={"egress": DENY_ALL})["id"]
        self.assertTrue(self.c.json(f"/vms/{vm}/firewall")["own"])
        eventually(lambda: self.condition(self.c.json(f"/vms/{vm}/firewall"), "applied")["status"] == "true", "its application", 5)
        self.refused(self.c.post("/vms", self.body(firewall={"egress": {"rules": [{"action": "x"}]}})), 400, "INVALID_CONFIG")
        self.refused(self.c.post("/vms", self.body(firewall={"egress": {"rules": [{"action": "deny", "to": "10.0.0.1/8"}]}})), 400, "INVALID_FIREWALL_CONFIG", "/firewall/egress/rules/0/to")

    def test_if_match(self):
        old = self.c.get("/firewall").etag
        self.ok(self.c.put("/firewall", {"egress": DENY_ALL}, headers={"If-Match": old}, wait=5))
        self.refused(self.c.put("/firewall", {}, headers={"If-Match": old}), 412, "PRECONDITION_FAILED")
        self.refused(self.c.patch("/firewall", {"egress": None}, headers={"If-Match": old}), 412, "PRECONDITION_FAILED")
        self.assertEqual("deny", self.c.json("/firewall")["egress"]["default_action"])

    def test_address_sets(self):
        path = "/firewall/sets/caches"
        self.refused(self.c.get(path), 404, "NOT_FOUND")
        made = self.applied(self.c.put(path, {"addresses": ["2001:db8::1", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.1", "192.0.2.1/32"]}, wait=5))
        self.assertEqual(["10.0.0.0/8", "192.0.2.1/32", "2001:db8::1/128"], made["addresses"])
        rule = {"action": "allow", "to": "@caches"}
        self.applied(self.c.put("/firewall", {"egress": {"default_action": "deny", "rules": [rule]}}, wait=5))
        self.refused(self.c.delete(path), 409, "IN_USE")
        self.applied(self.c.put(path, {"addresses": []}, wait=5))
        self.ok(self.c.put("/firewall", {}, wait=5))
        self.refused(self.c.delete(path, headers={"If-Match": '"x"'}), 412, "PRECONDITION_FAILED")
        self.ok(self.c.delete(path), 204)
        self.refused(self.c.delete(path), 404, "NOT_FOUND")

    def test_address_sets_that_are_refused(self):
        for addresses in (["10.0.0.1/8"], ["x"], ["300.1.1.1"], [""], "10.0.0.1"):
            self.refused(self.c.put("/firewall/sets/a", {"addresses": addresses}), 400, "INVALID_FIREWALL_CONFIG")
        self.refused(self.c.put("/firewall/sets/A", {"addresses": []}), 400, "INVALID_REQUEST")
        self.refused(self.c.put("/firewall/sets/" + "a" * 33, {"addresses": []}), 400, "INVALID_REQUEST")
        self.refused(self.c.put("/firewall/sets/a", {"addresses": ["10.0.0.1"] * 10001}), 400, "INVALID_FIREWALL_CONFIG")
        self.refused(self.c.put("/firewall/sets/a", {"addresses": []}, headers={"If-Match": '"set-1"'}), 412, "PRECONDITION_FAILED")
        self.refused(self.c.put("/firewall", {"egress": {"rules": [{"action": "deny", "to": "@nobody"}]}}), 400, "INVALID_FIREWALL_CONFIG")

    def test_paging_of_sets(self):
        for name in ("a", "b", "c"):
            self.ok(self.c.put(f"/firewall/sets/{name}", {"addresses": []}, wait=5))
        first = self.c.json("/firewall/sets", limit=2)
        self.assertEqual(["a", "b"], [entry["name"] for entry in first["items"]])
        self.assertEqual(["c"], [entry["name"] for entry in self.c.json("/firewall/sets", limit=2, cursor=first["next_cursor"])["items"]])
        self.refused(self.c.get("/firewall/sets", limit=0), 400, "INVALID_REQUEST")

    def test_a_confirmed_change_stays(self):
        self.refused(self.c.post("/firewall/confirm"), 409, "INVALID_STATE")
        changed = self.ok(self.c.put("/firewall", {"egress": DENY_ALL}, confirm_within=2, wait=5))
        self.assertIsNotNone(changed["confirm_until"])
        self.assertEqual({"confirmed": 1}, self.ok(self.c.post("/firewall/confirm")))
        time.sleep(2.5)
        self.assertEqual("deny", self.c.json("/firewall")["egress"]["default_action"])
        self.assertIsNone(self.c.json("/firewall")["confirm_until"])
        for bad in (0, 3601, "x"):
            self.refused(self.c.put("/firewall", {}, confirm_within=bad), 400, "INVALID_REQUEST")

    def test_an_unconfirmed_change_goes_back(self):
        self.ok(self.c.put("/firewall", {"ingress": {"default_action": "allow"}}, wait=5))
        self.ok(self.c.put("/firewall", {"egress": DENY_ALL}, confirm_within=1, wait=5))
        self.ok(self.c.put("/firewall/sets/new", {"addresses": ["10.0.0.1"]}, confirm_within=1, wait=5))

        def is_back():
            policy = self.c.json("/firewall")
            return policy["egress"]["default_action"] == "allow" and policy["ingress"]["default_action"] == "allow"

        eventually(is_back, "the policy from before", 4)
        eventually(lambda: self.c.json("/firewall/sets/new")["addresses"] == [], "the set of nothing", 4)
        eventually(lambda: self.condition(self.c.json("/firewall"), "applied")["status"] == "true", "its application", 4)

    def test_a_vm_that_starts_brings_the_sets_of_its_policy(self):
        self.ok(self.c.put("/firewall/sets/caches", {"addresses": ["192.0.2.0/24", "2001:db8::/32"]}, wait=5))
        rules = [{"action": "deny", "to": "@caches"}, {"action": "deny", "to": ["198.51.100.9", "@caches"], "protocol": "tcp", "ports": 443}]
        vm = self.create(firewall={"egress": {"rules": rules}})

        def mentions():
            listing = self.daemon.netns.run("nft", "list", "table", "inet", self.daemon.mark)
            chains = re.findall(r"chain vm_\d+_egress \{(.*?)\n\t\}", listing, re.S)
            return [(chain.count("@addr4_caches"), chain.count("@addr6_caches")) for chain in chains]

        self.assertEqual([(2, 2)], mentions())
        self.act(vm["id"], "kill")
        self.assertEqual([], mentions())
        self.act(vm["id"], "start")
        self.assertEqual([(2, 2)], mentions())
        self.assertTrue(self.daemon.netns.set_elements(self.daemon.mark, "addr4_caches"))
        eventually(lambda: self.condition(self.c.json(f"/vms/{vm['id']}/firewall"), "applied")["status"] == "true", "the policy in force", 5)
        self.assertEqual([], self.c.json("/drift")["items"])

    def test_trace(self):
        vm = self.create(firewall={"egress": {"default_action": "deny", "rules": [ALLOW_WEB, {"action": "allow", "protocol": "icmp"}]}})
        peer = self.create()

        def trace(remote, protocol="tcp", port=80, direction="egress", **kw):
            body = {"vm": vm["id"], "direction": direction, "remote": remote, "protocol": protocol, **kw}
            return self.ok(self.c.post("/firewall/trace", body | ({"port": port} if port else {})))

        web = trace("203.0.113.9", port=8500)
        self.assertEqual(("allow", "vm_policy", 0), (web["verdict"], web["stage"], web["rule"]))
        self.assertIn("the web", web["why"])
        self.assertEqual(("deny", "vm_policy", None), tuple(trace("203.0.113.9", port=81)[k] for k in ("verdict", "stage", "rule")))
        self.assertEqual(("allow", 1), tuple(trace("192.0.2.1", "icmp", None)[k] for k in ("verdict", "rule")))
        self.assertEqual(("deny", "closed"), tuple(trace("169.254.169.254")[k] for k in ("verdict", "stage")))
        self.assertEqual(("deny", "host"), tuple(trace(vm["network_interfaces"][0]["gateway"])[k] for k in ("verdict", "stage")))
        self.assertEqual("allow", trace(vm["network_interfaces"][0]["gateway"], "icmp", None)["verdict"])
        self.assertEqual(("deny", "host_policy"), tuple(trace("192.0.2.1", direction="ingress")[k] for k in ("verdict", "stage")))
        self.assertEqual("isolation", trace("2001:db8::1")["stage"])
        ping = trace(peer["network_interfaces"][0]["ip"], "icmp", None)
        self.assertEqual(("deny", "host_policy", peer["id"]), (ping["verdict"], ping["stage"], ping["peer_vm"]))
        for bad in ({"vm": vm["id"]}, {"vm": vm["id"], "address": "10.0.0.1", "direction": "egress", "remote": "1.1.1.1", "protocol": "icmp"},
                    {"vm": vm["id"], "direction": "egress", "remote": "x1", "protocol": "icmp"}, {"vm": vm["id"], "direction": "egress", "remote": "1.1.1.1", "protocol": "tcp"},
                    {"vm": vm["id"], "direction": "egress", "remote": "1.1.1.1", "protocol": "icmp", "port": 1}):
            self.refused(self.c.post("/firewall/trace", bad), 400, "INVALID_REQUEST")
        reply = self.c.post("/firewall/trace", {"direction": "egress", "remote": "x1", "protocol": "tcp"})
        self.assertEqual(["/remote", "", "/port"], [fault["pointer"] for fault in reply.json["errors"]])  # all at once
        self.refused(self.c.post("/firewall/trace", {"vm": "nobody", "direction": "egress", "remote": "1.1.1.1", "protocol": "icmp"}), 404, "NOT_FOUND")


class FirewallRestartTest(OwnDaemonCase):
    @limit(40)
    def test_an_unconfirmed_change_goes_back_although_the_daemon_died(self):
        self.ok(self.c.put("/firewall", {"egress": DENY_ALL}, confirm_within=1, wait=5))
        self.daemon.kill9()
        time.sleep(1.2)
        self.daemon.start()
        eventually(lambda: self.c.json("/firewall")["egress"]["default_action"] == "allow", "the policy from before", 5)

    def test_policies_survive_a_restart(self):
        vm = self.create(firewall={"egress": DENY_ALL})["id"]
        self.ok(self.c.put("/firewall", {"ingress": {"default_action": "allow"}}, wait=5))
        self.daemon.restart()
        self.assertEqual("deny", self.c.json(f"/vms/{vm}/firewall")["egress"]["default_action"])
        self.assertEqual("allow", self.c.json("/firewall")["ingress"]["default_action"])
