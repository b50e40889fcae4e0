"""
/network/wireguard: as a resource, and by packets through a real tunnel to a real peer (wireguard-go, in the namespace that is the outside). What
belongs into the tunnel is never seen on the plain uplink, whatever happens to the tunnel, its routes, the firewall or the daemon.
"""

import json
import os
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import frames as f
import hostile
import standin
from harness import OwnDaemonCase, ThemeCase, eventually, limit, run
from host import is_alive, kill
from test_events import stored
from wireguard import INTERNET, Peer, config_text, new_key, new_name

TABLE = 51820
PORT = 4242


def fields(private, peers, **extra):
    return {"interface": {"private_key": private, "addresses": ["10.77.0.2/24"]}, "peers": peers, **extra}


class TunnelCase:
    """For a test with self.daemon: what the host shows of the tunnel."""

    def put(self, body, status=200, **query):
        return self.ok(self.c.put("/network/wireguard", body, wait=10, **query), status)

    def remove(self):
        reply = self.c.delete("/network/wireguard", wait=10)
        self.assertIn(reply.status, (204, 404), repr(reply))

    def get(self):
        return self.c.json("/network/wireguard")

    def rules(self):
        rules = json.loads(self.daemon.netns.ip("-j", "rule"))
        return [(r["priority"], r.get("iif"), r["table"]) for r in rules if r["priority"] == 5100]

    def routes(self, table=TABLE):
        shown = self.daemon.netns.ip("-j", "route", "show", "table", str(table), check=False)
        return sorted((r.get("type", "unicast"), r["dst"], r.get("dev", "")) for r in json.loads(shown or "[]"))

    def uplinks(self):
        return sorted(self.daemon.netns.set_elements(self.daemon.mark, "uplink") or [])

    def sysctl(self, item):
        return self.daemon.netns.run("cat", f"/proc/sys/net/ipv4/conf/{item}").strip()

    def wireguard_pids(self):
        return [pid for pid in self.daemon.netns.pids() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"wireguard-go:")]

    def nothing_is_left(self):
        self.assertEqual([], self.rules())
        self.assertEqual([], self.routes())
        self.assertEqual(["up0"], self.uplinks())
        self.assertEqual([], self.wireguard_pids())
        self.assertEqual([self.daemon.bridge], [name for name in self.daemon.netns.links() if not name.startswith(self.daemon.tap_prefix)])


class ResourceTest(ThemeCase, TunnelCase):
    def setUp(self):
        super().setUp()
        self.name = new_name("wd")
        self.private, self.public = new_key()
        self.addCleanup(self.remove)

    def peer(self, **extra):
        return {"public_key": new_key()[1], "allowed_ips": ["0.0.0.0/0"], "endpoint": "198.51.100.1:51820", **extra}

    def body(self, *peers, **extra):
        return fields(self.private, list(peers) or [self.peer()], interface_name=self.name, **extra)

    def test_from_nothing_and_back(self):
        self.refused(self.c.get("/network/wireguard"), 404, "NOT_FOUND")
        self.refused(self.c.delete("/network/wireguard"), 404, "NOT_FOUND")
        made = self.put(self.body())
        self.assertEqual(("managed", "up", self.name, self.public, "userspace"),
                         tuple(made[key] for key in ("mode", "state", "interface_name", "public_key", "backend")))
        self.assertEqual([(5100, self.daemon.bridge, str(TABLE))], self.rules())
        subnet = self.daemon.config["network"]["subnet"]
        self.assertEqual(sorted([("unicast", "default", self.name), ("unreachable", "default", ""), ("unicast", subnet, self.daemon.bridge)]),
                         self.routes())
        self.assertEqual([self.name], self.uplinks())
        self.assertEqual(("1", "2"), (self.sysctl(f"{self.name}/forwarding"), self.sysctl(f"{self.name}/rp_filter")))
        self.assertEqual(self.name, self.c.json("/network")["uplink"])
        self.assertEqual(1, len(self.wireguard_pids()))
        self.assertEqual({"items": [], "total": 0}, self.c.json("/drift"))
        self.remove()
        self.nothing_is_left()
        self.refused(self.c.get("/network/wireguard"), 404, "NOT_FOUND")
        self.assertEqual("up0", self.c.json("/network")["uplink"])

    def test_what_a_text_says(self):
        preshared = new_key()[0]
        public = new_key()[1]
        text = (f"# a comment\n[interface]\nprivatekey={self.private} ; another\nAddress = 10.77.0.2/24, 10.78.0.2\nListenPort = 51999\nFwMark = 0x7\n"
                f"MTU = 1380\nDNS = 9.9.9.9\nTable = off\n\n[PEER]\nPublicKey = {public}\nPresharedKey = {preshared}\n"
                "AllowedIPs = 10.0.0.0/8, 192.0.2.77/24\nEndpoint = 198.51.100.1:51820\nPersistentKeepalive = 25\n")
        made = self.put({"config": text, "interface_name": self.name})
        self.assertEqual({"addresses": ["10.77.0.2/24", "10.78.0.2/32"], "listen_port": 51999, "fwmark": 7, "mtu": 1380}, made["interface"])
        found = self.get()["peers"]
        self.assertEqual([{"public_key": public, "has_preshared_key": True, "endpoint": "198.51.100.1:51820",
                           "allowed_ips": ["10.0.0.0/8", "192.0.2.0/24"], "persistent_keepalive": 25, "current_endpoint": "198.51.100.1:51820",
                           "last_handshake_at": None, "handshake_age_s": None, "received_bytes": 0, "sent_bytes": found[0]["sent_bytes"]}], found)
        self.assertEqual(3, len(made["warnings"]), made["warnings"])
        shown = self.daemon.netns.run("wg", "show", self.name, "dump").splitlines()
        self.assertEqual([self.private, self.public, "51999", "0x7"], shown[0].split("\t"))
        self.assertEqual([public, preshared, "198.51.100.1:51820", "10.0.0.0/8,192.0.2.0/24"], shown[1].split("\t")[:4])
        link = json.loads(self.daemon.netns.ip("-j", "address", "show", self.name))[0]
        self.assertEqual(1380, link["mtu"])
        self.assertEqual([("10.77.0.2", 24), ("10.78.0.2", 32)], sorted((a["local"], a["prefixlen"]) for a in link["addr_info"] if a["family"] == "inet"))

    def text(self, interface, peer):
        return {"config": f"[Interface]\nPrivateKey = {self.private}\n{interface}\n[Peer]\nPublicKey = {new_key()[1]}\n{peer}\n", "interface_name": self.name}

    def of_ipv6(self):
        netns = self.daemon.netns
        addresses = [a for a in json.loads(netns.ip("-j", "-6", "address", "show", self.name))[0]["addr_info"] if a["scope"] != "link"]
        return (addresses, netns.ip("-6", "route", "show", "table", str(TABLE), check=False).split(),
                [r for r in json.loads(netns.ip("-j", "-6", "rule")) if r["priority"] == 5100])

    @limit(120)
    def test_texts_of_providers(self):
        """Dual-stack ones, where guests have no IPv6: it is left out, and named; nothing of it reaches the host."""
        endpoint = "Endpoint = 198.51.100.1:51820"
        texts = {
            "mullvad": self.text("Address = 10.66.1.2/32,fc00:bbbb:bbbb:bb01::3:101/128\nDNS = 10.64.0.1", f"AllowedIPs = 0.0.0.0/0,::0/0\n{endpoint}"),
            "proton": self.text("# NetShield = 0\nAddress = 10.2.0.2/32, 2a07:b944::2:2/128\nDNS = 10.2.0.1, 2a07:b944::2:1", f"# NL#1\nAllowedIPs = 0.0.0.0/0, ::/0\n{endpoint}"
                                "\nPersistentKeepalive = 25"),
            "airvpn": self.text("Address = 10.128.0.2/32,fd7d:76ee:e68f:a993::2/128\nMTU = 1320\nDNS = 10.128.0.1, fd7d:76ee:e68f:a993::1",
                                f"PresharedKey = {new_key()[0]}\n{endpoint}\nAllowedIPs = 0.0.0.0/0,::/0\nPersistentKeepalive = 15"),
            "warp": self.text("Address = 172.16.0.2/32\nAddress = 172.16.0.2/32\nAddress = 2606:4700:110:8a1a::2/128\nMTU = 1280\nDNS = 1.1.1.1",
                              "AllowedIPs = 0.0.0.0/0\nAllowedIPs = ::/0\nEndpoint = [2001:db8::a29f:c001]:2408"),
            "empty": self.text("Address = 10.2.0.2/32\nPostUp =\nPreDown = # nothing\nDNS =\nMTU =\nTable =\nSaveConfig = false\nListenPort = 0\nFwMark = off",
                               f"AllowedIPs = 0.0.0.0/0\n{endpoint}\nPersistentKeepalive = off"),
        }
        texts["windows"] = {**texts["proton"], "config": "\ufeff" + texts["proton"]["config"].replace("\n", "\r\n")}
        for name, text in texts.items():
            with self.subTest(name):
                made = self.put(text)
                self.assertEqual((("up", ["0.0.0.0/0"], 1)), (made["state"], made["peers"][0]["allowed_ips"], len(made["interface"]["addresses"])))
                self.assertNotIn("left_out", made)
                self.assertEqual(([], [], []), self.of_ipv6())
                left_out = [w for w in made["warnings"] if "IPv6 is left out" in w]
                if name == "empty":
                    self.assertEqual([], made["warnings"])
                else:
                    self.assertRegex(left_out[0], r"Address (fc00:bbbb|2a07:b944|fd7d:76ee|2606:4700)[0-9a-f:]+/128, AllowedIPs ::/0$")
                self.assertEqual(made["warnings"], self.get()["warnings"])
                shown = self.daemon.netns.run("wg", "show", self.name, "allowed-ips").split("\t")[1].strip()
                self.assertEqual("0.0.0.0/0", shown)
        made = self.put(self.body(self.peer(allowed_ips=["fd00::/8", "10.0.0.0/8"])))
        self.assertIn("AllowedIPs fd00::/8", made["warnings"][0])

    def test_nothing_is_left(self):
        for pointer, body in (
            ("/config", self.text("Address = 2a07::2/128", "AllowedIPs = 0.0.0.0/0")), ("/config", self.text("Address = 10.0.0.2", "AllowedIPs = ::/0")),
            ("/interface/addresses", fields(self.private, [self.peer()]) | {"interface": {"private_key": self.private, "addresses": ["2a07::2/128"]}}),
            ("/peers/1/allowed_ips", self.body(self.peer(), self.peer(allowed_ips=["::/0", "fd00::/8"]))),
        ):
            problem = self.refused(self.c.put("/network/wireguard", body), 400, "INVALID_WIREGUARD_CONFIG", pointer)
            self.assertIn("left", problem["detail"])
            self.assertIn("IPv6", problem["detail"])

    def test_all_faults_of_a_text_at_once(self):
        secret = new_key()[0]
        text = (f"[Interface]\nPrivateKey = {self.private}x\nAddress = nonsense, 10.0.0.2/24\nPostUp = id\nJc = 4\nJmin = 40\nMTU = 1\n{secret}\nWhatever = 1\n"
                f"[Peer]\nPublicKey = {secret}x\nEndpoint = here\n[Peer]\nAllowedIPs = 10.0.0.0/33\n")
        problem = self.refused(self.c.put("/network/wireguard", {"config": text}), 400, "INVALID_WIREGUARD_CONFIG")
        found = [entry["detail"] for entry in problem["errors"]]
        self.assertEqual({"/config"}, {entry["pointer"] for entry in problem["errors"]})
        for wanted in ("line 2: PrivateKey:", "line 3: Address:", "line 4: PostUp: is refused", "line 5: Jc: is a key of AmneziaWG", "line 6: Jmin: is a key of AmneziaWG",
                       "line 7: MTU:", "line 8: the key of this line is not known", "line 9: Whatever: is no key", "line 11: PublicKey:", "line 12: Endpoint:",
                       "line 13: every peer needs a public key", "line 14: AllowedIPs:"):
            self.assertEqual(1, len([detail for detail in found if detail.startswith(wanted)]), (wanted, found))
        self.assertEqual(12, len(found), found)
        self.assertNotIn(secret[:20], json.dumps(problem))
        self.assertNotIn(self.private[:20], json.dumps(problem))
        bad = {"interface": {"private_key": "!" * 44, "addresses": ["nonsense"]}, "peers": [{"public_key": "?" * 44, "endpoint": "here"}]}
        self.refused(self.c.put("/network/wireguard", bad), 400, "INVALID_WIREGUARD_CONFIG",
                     ["/interface/private_key", "/interface/addresses", "/peers/0/public_key", "/peers/0/endpoint"])
        text = f"[Interface]\nPrivateKey = {self.private}\nAddress = 10.0.0.2\n" + "Nothing = 1\n" * 40
        self.assertEqual(32, len(self.refused(self.c.put("/network/wireguard", {"config": text}), 400, "INVALID_WIREGUARD_CONFIG")["errors"]))

    def test_only_what_differs_is_sent(self):
        first, second, third = self.peer(allowed_ips=["10.1.0.0/16"]), self.peer(allowed_ips=["10.2.0.0/16"]), self.peer(allowed_ips=["10.3.0.0/16"])
        self.put(self.body(first, second))
        pid = self.wireguard_pids()
        self.put(self.body(second, third))
        self.assertEqual(pid, self.wireguard_pids())
        self.assertEqual(sorted([second["public_key"], third["public_key"]]), sorted(p["public_key"] for p in self.get()["peers"]))
        events = [e["data"]["data"] for e in stored(self.c) if e["event"] == "wireguard.operation"]
        self.assertEqual("configure", events[-1]["operation"])
        self.assertIn("2 peers", events[-1]["found"])

    def test_one_etag_one_change(self):
        self.refused(self.c.put("/network/wireguard", self.body(), headers={"If-Match": "*"}), 412, "PRECONDITION_FAILED")
        reply = self.c.put("/network/wireguard", self.body(), wait=10)
        now = self.c.get("/network/wireguard")
        self.assertEqual(reply.json == now.json, reply.headers["ETag"] == now.headers["ETag"])  # what is observed may have changed since
        etag = now.headers["ETag"]
        self.ok(self.c.put("/network/wireguard", self.body(), wait=10, headers={"If-Match": etag}))
        self.refused(self.c.put("/network/wireguard", self.body(), headers={"If-Match": etag}), 412, "PRECONDITION_FAILED")
        self.refused(self.c.delete("/network/wireguard", headers={"If-Match": etag}), 412, "PRECONDITION_FAILED")
        self.assertEqual("up", self.get()["state"])

    def test_without_waiting(self):
        reply = self.c.put("/network/wireguard", self.body())
        self.assertEqual((202, "pending"), (reply.status, reply.json["state"]), repr(reply))
        eventually(lambda: self.get()["state"] == "up", "the tunnel")
        reply = self.c.delete("/network/wireguard")
        self.assertEqual((202, "deleting"), (reply.status, reply.json["state"]), repr(reply))
        eventually(lambda: self.c.get("/network/wireguard").status == 404, "its end")
        self.nothing_is_left()

    def test_another_table_and_another_name(self):
        self.put(self.body())
        other = new_name("wd")
        moved = fields(self.private, [self.peer()], interface_name=other, route_table=4711)
        self.put(moved)
        self.assertEqual([(5100, self.daemon.bridge, "4711")], self.rules())
        self.assertEqual([], self.routes())
        self.assertEqual([other], self.uplinks())
        self.assertEqual(1, len(self.wireguard_pids()))
        self.assertNotIn(self.name, self.daemon.netns.links())
        self.assertEqual(3, len(self.routes(4711)))

    def test_part_of_the_traffic(self):
        self.put(self.body(self.peer(allowed_ips=["10.1.0.0/16", "10.2.0.0/16"]), self.peer(allowed_ips=["10.3.0.0/16"]), route_all_vm_traffic=False))
        led = [r for r in self.routes() if r[2] != self.daemon.bridge]
        self.assertEqual(sorted([(kind, net, dev) for net in ("10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16")
                                 for kind, dev in (("unicast", self.name), ("unreachable", ""))]), led)
        self.assertEqual(sorted(["up0", self.name]), self.uplinks())
        self.assertEqual("up0", self.c.json("/network")["uplink"])

    def test_one_that_fails_open(self):
        self.put(self.body(fail_closed=False))
        self.assertEqual(sorted(["up0", self.name]), self.uplinks())
        self.assertEqual(["unicast", "unicast"], [kind for kind, _, _ in self.routes()])

    def test_refused_by_the_rules(self):
        good = self.body()

        def bad(pointer, **changes):
            reply = self.c.put("/network/wireguard", {**good, **changes})
            self.refused(reply, 400, "INVALID_WIREGUARD_CONFIG", pointer)
            self.assertNotIn(self.private.encode(), reply.body)

        bad("/route_table", route_table=254)
        bad("/route_table", route_table=0)
        bad("/route_table", route_table=2**32)
        bad("/interface_name", interface_name="a/b")
        bad("/interface_name", interface_name="x" * 16)
        bad("/interface_name", interface_name=self.daemon.bridge)
        bad("/interface_name", interface_name=self.daemon.tap_prefix + "9")
        bad("/interface/private_key", interface={"private_key": "!" * 44, "addresses": ["10.77.0.2/24"]})
        bad("/interface/private_key", interface={"private_key": self.private + "=", "addresses": ["10.77.0.2/24"]})
        bad("/interface/addresses", interface={"private_key": self.private, "addresses": []})
        bad("/interface/addresses", interface={"private_key": self.private, "addresses": ["10.77.0.300/24"]})
        bad("/interface/addresses", interface={"private_key": self.private, "addresses": [f"10.77.0.{i}/24" for i in range(1, 18)]})
        bad("/interface/mtu", interface={"private_key": self.private, "addresses": ["10.77.0.2/24"], "mtu": 575})
        bad("/interface/mtu", interface={"private_key": self.private, "addresses": ["10.77.0.2/24"], "mtu": 9001})
        bad("/peers", peers=[self.peer() for _ in range(65)])
        bad("/peers/0/allowed_ips", peers=[self.peer(allowed_ips=[f"10.{i // 256}.{i % 256}.0/24" for i in range(257)])])
        bad("/peers/0/allowed_ips", peers=[self.peer(allowed_ips=["::/0"])])
        bad("/peers/0/endpoint", peers=[self.peer(endpoint="198.51.100.1")])
        bad("/peers/0/persistent_keepalive", peers=[self.peer(persistent_keepalive=65536)])
        bad("", config="[Interface]")
        bad("", existing_interface="wg0")
        for line in ("PostUp = id", "PreDown = id", "SaveConfig = true", "Nonsense = 1"):
            reply = self.c.put("/network/wireguard", {"config": f"[Interface]\nPrivateKey = {self.private}\nAddress = 10.0.0.1/24\n{line}\n"})
            self.refused(reply, 400, "INVALID_WIREGUARD_CONFIG", "/config")
        self.refused(self.c.put("/network/wireguard", {"config": "x" * 65537}), 400, "INVALID_WIREGUARD_CONFIG", "/config")
        self.refused(self.c.put("/network/wireguard", {}), 400, "INVALID_WIREGUARD_CONFIG")
        self.refused(self.c.put("/network/wireguard", {**good, "extra": 1}), 400, "INVALID_WIREGUARD_CONFIG", "/extra")
        self.refused(self.c.put("/network/wireguard", {"config": "x" * (300 * 1024)}), 413, "PAYLOAD_TOO_LARGE")
        self.refused(self.c.request("PUT", "/network/wireguard", b"a=b", {"Content-Type": "text/plain"}), 415, "UNSUPPORTED_MEDIA_TYPE")
        self.refused(self.c.get("/network/wireguard"), 404, "NOT_FOUND")

    def test_what_the_host_has_already_is_refused(self):
        netns = self.daemon.netns
        netns.ip("route", "add", "192.0.2.0/24", "dev", "up0", "table", str(TABLE))
        self.addCleanup(netns.ip, "route", "flush", "table", str(TABLE), check=False)
        problem = self.refused(self.c.put("/network/wireguard", self.body()), 400, "INVALID_WIREGUARD_CONFIG")
        self.assertIn("192.0.2.0/24", problem["detail"])
        self.put(self.body(route_table=777))
        netns.ip("route", "flush", "table", str(TABLE))
        self.remove()
        netns.add_link(self.name, "10.200.0.1/30")
        self.addCleanup(netns.ip, "link", "del", self.name, check=False)
        problem = self.refused(self.c.put("/network/wireguard", self.body()), 400, "INVALID_WIREGUARD_CONFIG")
        self.assertIn(self.name, problem["detail"])
        self.assertIn(self.name, netns.links())

    def test_keys_are_nowhere(self):
        preshared = new_key()[0]
        self.put(self.body(self.peer(preshared_key=preshared)))
        secrets = [self.private.encode(), preshared.encode()]
        places = {"log": self.daemon.log_path.read_bytes(), "reply": self.c.get("/network/wireguard").body,
                  "events": json.dumps(stored(self.c)).encode(),
                  "command line": Path(f"/proc/{self.wireguard_pids()[0]}/cmdline").read_bytes(),
                  "environment": Path(f"/proc/{self.wireguard_pids()[0]}/environ").read_bytes()}
        state = Path(self.daemon.config["state_dir"])
        for path in state.rglob("*"):
            if path.is_file():
                places[str(path)] = path.read_bytes()
        for place, content in places.items():
            for secret in secrets:
                self.assertNotIn(secret, content, place)
        key = state / "seal.key"
        self.assertEqual((0o600, 0, 32), (key.stat().st_mode & 0o777, key.stat().st_uid, key.stat().st_size))

    def test_what_others_break_is_repaired(self):
        self.put(self.body())
        netns, wanted_routes, wanted_rules = self.daemon.netns, self.routes(), self.rules()

        def as_wanted():
            link = netns.links().get(self.name, {})
            return (self.routes() == wanted_routes and self.rules() == wanted_rules and self.uplinks() == [self.name] and link.get("up")
                    and link.get("alias") == f"{self.daemon.mark}:wireguard" and self.sysctl(f"{self.name}/rp_filter") == "2"
                    and self.sysctl(f"{self.name}/forwarding") == "1" and self.c.json("/drift")["items"] == [])

        damages = (
            ("close_routes", ("route", "del", "unreachable", "default", "table", str(TABLE), "metric", "900000")),
            ("open_routes", ("route", "del", "default", "dev", self.name, "table", str(TABLE))),
            ("close_routes", ("route", "flush", "table", str(TABLE))),
            ("add_rules", ("rule", "del", "priority", "5100")),
            ("remove_rules", ("rule", "add", "priority", "5100", "iif", self.daemon.bridge, "lookup", "4711", "protocol", "173")),
            ("set_link", ("link", "set", self.name, "down")),
            ("set_link", ("link", "set", self.name, "mtu", "1300")),
            ("set_link", ("address", "add", "10.9.9.9/32", "dev", self.name)),
            ("set_link", ("address", "flush", "dev", self.name)),
            ("restore_alias", ("link", "set", self.name, "alias", "somebody")),
            ("start", ("link", "del", self.name)),
        )
        for operation, damage in damages:
            before = int(stored(self.c)[-1]["id"])
            netns.ip(*damage)
            begin = time.monotonic()
            eventually(as_wanted, f"the repair after ip {' '.join(damage)}", 8)
            took = (time.monotonic() - begin) * 1000
            repaired = [e["data"]["data"]["operation"] for e in stored(self.c, before) if e["event"] == "wireguard.repaired"]
            self.assertIn(operation, repaired, damage)
            print(f"wireguard: ip {' '.join(damage)}: repaired after {took:.0f} ms")
        self.daemon.netns.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{self.name}/rp_filter")
        eventually(as_wanted, "rp_filter", 8)

    def reason(self, since):
        """Why the tunnel was started again, as the event tells."""
        def look():
            found = [e["data"]["data"]["found"] for e in stored(self.c, since) if e["event"] == "wireguard.repaired" and e["data"]["data"]["operation"] == "start"]
            return found[0] if found else None

        return eventually(look, "another process", 8)

    @limit(90)
    def test_why_a_process_ended_is_told(self):
        self.put(self.body())
        since = int(stored(self.c)[-1]["id"])
        kill(self.wireguard_pids()[0], 9)
        self.assertIn("wireguard-go ended with signal 9", self.reason(since))
        eventually(lambda: self.get()["state"] == "up", "the tunnel")
        self.daemon.restart()
        eventually(lambda: self.get()["state"] == "up" and self.wireguard_pids(), "the tunnel")
        time.sleep(0.5)
        since = int(stored(self.c)[-1]["id"])
        kill(self.wireguard_pids()[0], 6)  # a Go program tells of this one
        self.assertRegex(self.reason(since), r"wireguard-go has ended: SIGABRT: abort$")
        eventually(lambda: self.get()["state"] == "up", "the tunnel")

    @limit(90)
    def test_why_a_process_does_not_start_is_told(self):
        binary = self.daemon.base / "wireguard-go-that-fails"
        binary.write_text(f"#!/bin/sh\necho 'ERROR: (x) 2026/11/28 20:49:40 no widgets for {self.private}'\nexit 3\n")
        binary.chmod(0o755)
        self.daemon.config["network"]["wireguard_go"] = str(binary)
        self.daemon.restart()
        try:
            reply = self.c.put("/network/wireguard", self.body(), wait=10)
            eventually(lambda: self.get()["state"] == "failed", "the failure")
            message = [c for c in self.get()["conditions"] if c["type"] == "ready"][0]["message"]
            self.assertIn("ended with exit code 3: no widgets for (hidden)", message)
            self.assertNotIn(self.private[:20].encode(), reply.body)
            self.remove()
        finally:
            del self.daemon.config["network"]["wireguard_go"]
            self.daemon.restart()

    def test_a_process_that_dies_or_hangs(self):
        self.put(self.body())
        pid = self.wireguard_pids()[0]
        kill(pid, 9)
        eventually(lambda: self.wireguard_pids() not in ([], [pid]) and self.get()["state"] == "up" and len(self.routes()) == 3, "another process")
        self.assertFalse(is_alive(pid))
        pid = self.wireguard_pids()[0]
        kill(pid, 19)
        self.ok(self.c.post("/drift/repair", wait=30), 201, 202)
        eventually(lambda: self.wireguard_pids() not in ([], [pid]) and len(self.routes()) == 3, "another process", 20)
        self.assertFalse(is_alive(pid))

    def test_who_undoes_it_in_a_loop(self):
        self.put(self.body())
        for _ in range(30):
            self.daemon.netns.ip("rule", "del", "priority", "5100", check=False)
            time.sleep(0.05)
        self.assertTrue([e for e in stored(self.c) if e["event"] == "wireguard.contested"])
        eventually(lambda: self.get()["state"] == "failed", "the state that says so", 5)
        self.assertEqual([self.name], self.uplinks())
        self.assertEqual(["add_rules"], [item["operation"] for item in self.c.json("/drift")["items"]])
        self.ok(self.c.post("/drift/repair", wait=10), 201)
        eventually(lambda: self.rules() and self.get()["state"] == "up", "the repair that was asked for", 5)

    def test_endpoints_with_names(self):
        made = self.put(self.body(self.peer(endpoint="localhost:5000"), self.peer(endpoint="nosuch.invalid:5001", allowed_ips=["10.0.0.0/8"])))
        self.assertEqual("up", made["state"])
        self.assertEqual(["endpoint_unresolved"], [c["type"] for c in made["conditions"] if c["type"] != "ready"])
        self.assertIn("nosuch.invalid", made["conditions"][-1]["message"])
        found = {p["endpoint"]: p.get("current_endpoint") for p in self.get()["peers"]}
        self.assertIn(found["localhost:5000"], ("127.0.0.1:5000", "[::1]:5000"))
        self.assertIsNone(found["nosuch.invalid:5001"])


class ExistingTest(ThemeCase, TunnelCase):
    """A tunnel that somebody else owns."""

    def setUp(self):
        super().setUp()
        self.name = new_name("we")
        self.process = None
        self.addCleanup(self.stop)
        self.addCleanup(self.remove)

    def begin(self):
        self.process = subprocess.Popen(self.daemon.netns.wrap("wireguard-go", "-f", self.name), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(f"/var/run/wireguard/{self.name}.sock"), "its socket")
        self.private, self.public = new_key()
        self.peer_key = new_key()[1]
        self.daemon.netns.run("wg", "set", self.name, "private-key", "/dev/stdin", "peer", self.peer_key, "allowed-ips", "0.0.0.0/0",
                              input=self.private + "\n")
        self.daemon.netns.ip("address", "add", "10.88.0.2/24", "dev", self.name)
        self.daemon.netns.ip("link", "set", self.name, "up")

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            Path(f"/var/run/wireguard/{self.name}.sock").unlink(missing_ok=True)

    def test_it_is_used_and_left_as_it_was(self):
        self.begin()
        before = self.daemon.netns.run("wg", "show", self.name, "dump")
        settings = self.sysctl(f"{self.name}/forwarding"), self.sysctl(f"{self.name}/rp_filter")
        made = self.put({"existing_interface": self.name})
        self.assertEqual(("existing", "up", self.name, None, "userspace"),
                         tuple(made[key] for key in ("mode", "state", "interface_name", "public_key", "backend")))
        self.assertEqual([(self.peer_key, None)], [(p["public_key"], p["last_handshake_at"]) for p in self.get()["peers"]])
        self.assertIn(("unicast", "default", self.name), self.routes())
        self.assertEqual([self.name], self.uplinks())
        self.assertEqual(("1", "2"), (self.sysctl(f"{self.name}/forwarding"), self.sysctl(f"{self.name}/rp_filter")))
        self.assertEqual([], self.wireguard_pids())
        self.remove()
        self.assertEqual(before, self.daemon.netns.run("wg", "show", self.name, "dump"))
        self.assertEqual(settings, (self.sysctl(f"{self.name}/forwarding"), self.sysctl(f"{self.name}/rp_filter")))
        self.assertIn(self.name, self.daemon.netns.links())
        self.assertEqual([], self.rules() + self.routes())

    def test_one_that_comes_later_and_goes(self):
        made = self.ended(self.c.put("/network/wireguard", {"existing_interface": self.name}, wait=10), "WIREGUARD_SETUP_FAILED")
        self.assertEqual("failed", made["state"])
        self.assertEqual("INTERFACE_MISSING", made["conditions"][0]["reason"])
        self.assertEqual([self.name], self.uplinks())
        self.assertEqual(["unicast", "unreachable"], [kind for kind, _, _ in self.routes()])
        self.begin()
        eventually(lambda: self.get()["state"] == "up" and ("unicast", "default", self.name) in self.routes(), "the tunnel that came", 5)
        self.stop()
        eventually(lambda: self.get()["state"] == "failed", "the tunnel that went", 5)
        self.assertEqual([self.name], self.uplinks())
        self.assertIn(("unreachable", "default", ""), self.routes())

    def test_ours_can_not_be_it(self):
        vm = self.create()
        self.refused(self.c.put("/network/wireguard", {"existing_interface": vm["network_interfaces"][0]["tap"]}), 400, "INVALID_WIREGUARD_CONFIG",
                     "/existing_interface")


class Guest:
    """A guest that sends datagrams with numbers to INTERNET, and sees what comes back."""

    def __init__(self, case, vm):
        interface = vm["network_interfaces"][0]
        self.mac, self.ip = hostile.mac_bytes(interface["mac"]), socket.inet_aton(interface["ip"])
        self.gateway_mac = hostile.mac_bytes(case.daemon.netns.links()[case.daemon.bridge]["mac"])
        self.wire = standin.Wire(case.daemon.run_dir / "vm" / vm["id"])
        self.answer = hostile.answer_arp(self.wire, self.mac, self.ip)
        self.seen = []
        self.sent = 0
        self.receiver = standin.Receiver(self.wire, self.take)
        case.addCleanup(self.close)

    def take(self, frame):
        self.answer(frame)
        if frame[12:14] == b"\x08\0":
            self.seen.append(frame[14:])

    def packet(self, payload, protocol=f.UDP, dst=INTERNET):
        self.wire.send(f.ether(self.gateway_mac, self.mac, f.ETH_IP, f.ipv4(self.ip, socket.inet_aton(dst), protocol, payload)))

    def send(self):
        self.sent += 1
        self.packet(f.udp(PORT, PORT, b"GUESTDATA" + struct.pack("!Q", self.sent)))

    def syn(self, port, size=1460):
        head = struct.pack("!HHIIBBHHH", PORT, port, 1, 0, 6 << 4, 2, 65535, 0, 0) + struct.pack("!BBH", 2, 4, size)
        pseudo = self.ip + socket.inet_aton(INTERNET) + struct.pack("!BBH", 0, f.TCP, len(head))
        self.packet(head[:16] + struct.pack("!H", f.checksum(pseudo + head)) + head[18:], f.TCP)

    def close(self):
        self.receiver.stop()
        self.wire.close()


class PacketTest(OwnDaemonCase, TunnelCase):
    settings = standin.SETTINGS

    def setUp(self):
        super().setUp()
        self.peer = Peer(self.daemon.netns)
        self.addCleanup(self.peer.stop)
        self.private, self.public = new_key()
        self.peer.allow(self.public)
        self.name = new_name("wd")
        self.guest = Guest(self, self.create(vm="inside"))
        self.inside, self.outside, self.plain = [], 0, []
        self.watch = hostile.Watch([hostile.in_netns(self.daemon.netns.world, hostile.packet_socket)], lambda address: address[0], self.see)
        self.addCleanup(self.watch.stop)

    def see(self, link, data):
        if link == self.peer.name:
            self.inside.append(data)
        elif link == "up1":
            self.outside += 1
            if b"GUESTDATA" in data or socket.inet_aton(INTERNET) in data[26:34] or self.guest.ip in data[26:34]:
                self.plain.append(data)

    def arrived(self):
        return sum(b"GUESTDATA" in data for data in self.inside)

    def bring_up(self, **extra):
        return self.put({"config": config_text(self.private, self.peer), "interface_name": self.name, **extra})

    def flows(self, timeout=15):
        """What the guest sends arrives at the far end of the tunnel."""
        before = self.arrived()

        def arrives():
            self.guest.send()
            return self.arrived() > before

        eventually(arrives, "the guest's packets at the far end", timeout, every=0.05)

    @limit(120)
    def test_through_the_tunnel(self):
        """Out, back, with a segment size that fits; and the host reaches the guest all the time."""
        self.bring_up()
        self.flows()
        self.assertEqual({socket.inet_aton("10.77.0.2")}, {data[12:16] for data in self.inside if data[28:37] == b"GUESTDATA"})
        self.guest.syn(80)
        eventually(lambda: [p for p in self.inside if p[9] == 6], "the guest's TCP")
        syn = [p for p in self.inside if p[9] == 6][0]
        self.assertEqual(1420 - 40, struct.unpack("!H", syn[42:44])[0])

        def refusals():
            return [p for p in self.guest.seen if p[9] == 6 and p[12:16] == socket.inet_aton(INTERNET)]

        eventually(refusals, "the answer to it, through the tunnel")
        status = self.get()["peers"][0]
        self.assertLess(status["handshake_age_s"], 60)
        self.assertGreater(status["received_bytes"], 0)
        self.assertGreater(status["sent_bytes"], 0)
        self.assertEqual("198.51.100.1:51820", status["current_endpoint"])
        before = len(self.guest.seen)
        self.daemon.netns.run("ping", "-c", "1", "-W", "1", socket.inet_ntoa(self.guest.ip), check=False)
        eventually(lambda: [p for p in self.guest.seen[before:] if p[9] == 1], "the host's echo request at the guest")
        self.assertEqual([], self.plain)

    @limit(200)
    def test_nothing_leaves_beside_it(self):
        self.bring_up()
        self.flows()
        netns, stop = self.daemon.netns, threading.Event()

        def fire():
            while not stop.is_set():
                self.guest.send()
                time.sleep(0.001)

        thread = threading.Thread(target=fire)
        thread.start()
        try:
            for what, break_it in self.damages(netns):
                sent, before = self.guest.sent, self.arrived()
                break_it()
                eventually(lambda: self.arrived() > before + 20, f"packets in the tunnel after: {what}", 40)
                print(f"wireguard: {what}: {self.guest.sent - sent} packets sent, {self.arrived() - before} came through, {len(self.plain)} beside")
                self.assertEqual([], self.plain[:3], what)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(0, self.watch.lost)
        self.assertGreater(self.arrived(), 500)

    def damages(self, netns):
        def killed():
            kill(self.wireguard_pids()[0], 9)

        def daemon_killed():
            self.daemon.kill9()
            netns.ip("link", "set", self.name, "down")  # and nobody is there to see it
            time.sleep(0.5)
            self.daemon.start()

        def peer_gone():
            self.peer.stop()
            time.sleep(1)
            self.peer.start()

        def flush_all():
            netns.ip("route", "flush", "table", str(TABLE))
            netns.ip("rule", "del", "priority", "5100", check=False)

        def uplink_moved():
            netns.ip("route", "del", "default")
            time.sleep(0.2)
            netns.ip("route", "add", "default", "via", "198.51.100.1")

        yield "the tunnel's process killed", killed
        yield "its route deleted", lambda: netns.ip("route", "del", "default", "dev", self.name, "table", str(TABLE))
        yield "its table flushed", lambda: netns.ip("route", "flush", "table", str(TABLE))
        yield "the rule deleted", lambda: netns.ip("rule", "del", "priority", "5100")
        yield "table and rule gone", flush_all
        yield "the tunnel down", lambda: netns.ip("link", "set", self.name, "down")
        yield "the tunnel deleted", lambda: netns.ip("link", "del", self.name)
        yield "the firewall's ruleset flushed", lambda: netns.run("nft", "flush", "ruleset")
        yield "the firewall's uplinks changed", lambda: netns.run("nft", "add", "element", "inet", self.daemon.mark, "uplink", "{ up0 }")
        yield "the peer gone for a while", peer_gone
        yield "the default route moved", uplink_moved
        yield "the daemon killed, and the tunnel down meanwhile", daemon_killed
        yield "another configuration, of the same keys", lambda: self.bring_up(route_table=4000)

    @limit(120)
    def test_a_restart_adopts_it(self):
        self.bring_up()
        self.flows()
        pid, handshake = self.wireguard_pids(), self.peer.latest_handshake(self.public)
        for end in (self.daemon.kill9, self.daemon.stop):
            end()
            self.assertEqual(pid, self.wireguard_pids())
            self.flows(2)  # nobody is needed for that
            self.daemon.start()
            self.assertEqual("up", self.get()["state"])
        self.assertEqual(pid, self.wireguard_pids())
        self.assertEqual(handshake, self.peer.latest_handshake(self.public))
        self.assertEqual([], self.plain)

    @limit(120)
    def test_a_change_of_peers_keeps_the_others(self):
        self.bring_up()
        self.flows()
        handshake = self.peer.latest_handshake(self.public)
        another = f"\n[Peer]\nPublicKey = {new_key()[1]}\nAllowedIPs = 10.99.0.0/16\n"
        for more in (another, "", another):
            self.put({"config": config_text(self.private, self.peer, more=more), "interface_name": self.name})
            before = self.arrived()
            for _ in range(5):
                self.guest.send()
            eventually(lambda: self.arrived() >= before + 5, "every packet right after the change", 1)
        self.assertEqual(handshake, self.peer.latest_handshake(self.public))

    @limit(120)
    def test_without_it_guests_leave_as_before(self):
        self.bring_up()
        self.flows()
        self.remove()
        self.guest.send()
        eventually(lambda: [p for p in self.plain if b"GUESTDATA" in p], "the guest's packets at the plain uplink")
        self.bring_up(fail_closed=False)
        self.flows()

    @limit(120)
    def test_answers_of_published_ports_stay_inside(self):
        """With a port published, what answers a client outside does not leave beside the tunnel either."""
        self.ok(self.c.patch("/vms/inside", {"ports": [{"host_port": 8080, "guest_port": 80}]}, wait=5))
        self.bring_up()
        self.flows()
        self.daemon.netns.ip("rule", "del", "priority", "5100")
        try:
            self.daemon.netns.connect("198.51.100.2", 8080, timeout=1, world=True).close()
        except OSError:
            pass
        eventually(lambda: self.rules(), "the rule")
        self.assertEqual([], [p for p in self.plain if p[26:30] == self.guest.ip])


class NobodyMakesItTest(OwnDaemonCase, TunnelCase):
    """Neither the kernel nor a program."""

    settings = {"network": {"wireguard_go": "/nowhere/wireguard-go"}}

    def test_it_fails_closed_and_says_what_is_missing(self):
        self.addCleanup(self.remove)
        reply = self.c.put("/network/wireguard", fields(new_key()[0], [], interface_name=new_name("wd")), wait=10)
        if reply.status == 200 and reply.json["backend"] == "kernel":
            self.skipTest("this kernel has WireGuard")
        made = self.ended(reply, "WIREGUARD_SETUP_FAILED")
        self.assertEqual(("failed", None), (made["state"], made["backend"]))
        ready = self.condition(made, "ready")
        self.assertEqual(("false", "WIREGUARD_SETUP_FAILED"), (ready["status"], ready["reason"]))
        for words in ("no WireGuard", "network.wireguard_go", "/nowhere/wireguard-go"):
            self.assertIn(words, ready["message"])
        eventually(lambda: "up0" not in self.uplinks(), "the uplink to be closed", 5)
        self.assertIn(("unreachable", "default", ""), [(kind, to, "" if link == "lo" else link) for kind, to, link in self.routes()])
        self.assertEqual(1, len(self.rules()))
        self.ok(self.c.delete("/network/wireguard", wait=10), 204)
        self.nothing_is_left()


class NamedPeerTest(OwnDaemonCase, TunnelCase):
    """A peer whose name leads elsewhere after a while. Names are read from a file of hosts that only the daemon sees."""

    settings = {"network": {"wireguard_lookup_s": 5}}
    PLACES = ("192.0.2.51", "192.0.2.52")

    def setUp(self):
        super().setUp()
        self.hosts = self.daemon.base / "hosts"
        self.daemon.stop()
        self.name_leads_to(self.PLACES[0])
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        self.daemon.before = ["unshare", "-m", "sh", "-c", script, str(self.hosts)]
        self.daemon.start()
        self.private, self.public = new_key()
        self.moving, self.staying = Peer(self.daemon.netns), Peer(self.daemon.netns, port=51821)
        for peer in (self.moving, self.staying):
            self.addCleanup(peer.stop)
            peer.allow(self.public)
        self.staying.wg("peer", self.public, "persistent-keepalive", "1")

    def name_leads_to(self, address):
        """In place, since the mount is of this very file."""
        with self.hosts.open("w") as file:
            file.write(f"127.0.0.1 localhost\n{address} moving.example\n")

    def lives_at(self, address):
        for place in self.PLACES:
            change = "replace" if place == address else "del"
            run("ip", "-n", self.daemon.netns.world, "address", change, f"{place}/32", "dev", "lo", check=False)

    def peer_of(self, peer):
        return next(p for p in self.get()["peers"] if p["public_key"] == peer.public)

    @limit(120)
    def test_it_is_followed_and_the_others_stay(self):
        self.lives_at(self.PLACES[0])
        text = config_text(self.private, self.staying, allowed="10.98.0.0/16", more="PersistentKeepalive = 1\n")
        text += f"\n[Peer]\nPublicKey = {self.moving.public}\nEndpoint = moving.example:51820\nAllowedIPs = 0.0.0.0/0\nPersistentKeepalive = 1\n"
        name = new_name("wd")
        self.put({"config": text, "interface_name": name})
        for peer in (self.moving, self.staying):
            eventually(lambda: peer.latest_handshake(self.public), "a handshake", 15)
        self.assertEqual("192.0.2.51:51820", self.peer_of(self.moving)["current_endpoint"])
        process, stayed = self.wireguard_pids(), self.staying.latest_handshake(self.public)

        # What makes WireGuard look for a peer that does not answer is something to send: keepalives are not.
        traffic = subprocess.Popen(self.daemon.netns.wrap("ping", "-q", "-i", "0.5", "-I", name, INTERNET), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (traffic.kill(), traffic.wait()))

        # It ends there, and comes again elsewhere without its sessions: nothing that it says leads there, only the name does.
        self.moving.stop()
        self.lives_at(self.PLACES[1])
        self.moving.start()
        self.assertEqual("192.0.2.51:51820", self.peer_of(self.moving)["current_endpoint"])
        self.name_leads_to(self.PLACES[1])
        eventually(lambda: self.peer_of(self.moving)["current_endpoint"] == "192.0.2.52:51820", "the endpoint to follow its name", 25)
        eventually(lambda: self.moving.latest_handshake(self.public), "a handshake at the other place", 30)

        received = self.peer_of(self.staying)["received_bytes"]
        self.assertEqual(stayed, self.staying.latest_handshake(self.public))
        self.assertEqual("198.51.100.1:51821", self.peer_of(self.staying)["current_endpoint"])
        self.assertEqual(process, self.wireguard_pids())
        self.assertEqual([], [c["type"] for c in self.get()["conditions"] if c["type"] != "ready"])
        eventually(lambda: self.peer_of(self.staying)["received_bytes"] > received, "more from the peer that stayed", 5)


class Ipv6Test(OwnDaemonCase, TunnelCase):
    settings = {"network": {"ipv6_subnet": "fd00:77::/64"}}

    def test_both_versions_are_led_and_closed(self):
        self.addCleanup(self.remove)
        name = new_name("wd")
        private, _ = new_key()
        body = {"interface": {"private_key": private, "addresses": ["10.77.0.2/24", "fd77::2/64"]}, "interface_name": name,
                "peers": [{"public_key": new_key()[1], "allowed_ips": ["0.0.0.0/0", "::/0"]}]}
        self.put(body)

        def routes6():
            shown = json.loads(self.daemon.netns.ip("-6", "-j", "route", "show", "table", str(TABLE)) or "[]")
            return sorted((r.get("type", "unicast"), r["dst"], r["dev"] if r.get("type", "unicast") == "unicast" else "") for r in shown)

        wanted = sorted([("unicast", "default", name), ("unreachable", "default", ""), ("unicast", "fd00:77::/64", self.daemon.bridge)])
        self.assertEqual(wanted, routes6())
        self.assertIn("lookup 51820", self.daemon.netns.ip("-6", "rule"))
        self.daemon.netns.ip("-6", "route", "flush", "table", str(TABLE))
        eventually(lambda: routes6() == wanted, "the routes", 5)
        self.daemon.netns.ip("-6", "rule", "del", "priority", "5100")
        eventually(lambda: "lookup 51820" in self.daemon.netns.ip("-6", "rule"), "the rule", 5)
        body["interface"]["addresses"] = ["10.77.0.2/24"]  # then IPv6 does not leave at all
        self.put(body)
        self.assertEqual([r for r in wanted if r[2] != name], routes6())
