"""What others break of the host's network: found by the kernel's news, repaired, told; and nothing foreign is touched."""

import datetime
import json
import os
import statistics
import subprocess
import threading
import time
from pathlib import Path

from harness import Daemon, OwnDaemonCase, ThemeCase, eventually, limit, parse_events

FOREIGN = """
table inet foreign {
    set s {
        type ipv4_addr
        elements = { 203.0.113.1 }
    }
    chain forward {
        type filter hook forward priority 10; policy accept;
        ip saddr @s counter drop
    }
}
"""
REPAIR_MS = 1000  # more is a failure; what is typical is printed, and has its goal of 100 ms in tests/bench
VOLATILE = ("handle", "hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "id", "no", "designated_port")


def stored(client, after=0):
    with client.stream("/events", {"Last-Event-ID": str(after)}, follow="false") as stream:
        return parse_events(stream.read_all().decode())


def last_id(client):
    events = stored(client)
    return int(events[-1]["id"]) if events else 0


def at_ms(event):
    return datetime.datetime.fromisoformat(event["data"]["at"].replace("Z", "+00:00")).timestamp() * 1000


def without_volatile(value):
    if isinstance(value, dict):
        return {k: without_volatile(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        items = [without_volatile(v) for v in value]
        return sorted(items, key=str) if all(isinstance(v, (dict, str)) and "rule" not in v for v in items) else items
    return value


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DriftWords:
    def drift(self):
        return self.ok(self.c.get("/drift"))

    def await_no_drift(self, timeout=10):
        return eventually(lambda: not self.drift()["items"], "no drift", timeout)

    def repairs_since(self, after, kind="network.repaired"):
        return [e for e in stored(self.c, after) if e["event"] == kind]

    def await_repair(self, after, operation, timeout=10):
        def found():
            return [e for e in self.repairs_since(after) if e["data"]["data"]["operation"] == operation]

        return eventually(found, f"a repair {operation}", timeout)[0]

    def ours(self):
        """Everything of the daemon's on the host that drift is about, as iproute2 and nft show it."""
        netns, mark = self.daemon.netns, self.daemon.mark
        tables = [json.loads(netns.run("nft", "-s", "-j", "list", "table", f, mark))["nftables"][1:] for f in ("inet", "bridge")]
        links = [entry for entry in json.loads(netns.ip("-j", "-d", "address", "show"))
                 if entry["ifname"].startswith(self.daemon.tap_prefix) or entry["ifname"] == self.daemon.bridge]
        for entry in links:
            for name in ("ifindex", "link_index", "inet6_addr_gen_mode", "operstate", "flags", "addr_info", "promiscuity"):
                entry.pop(name, None) if name not in ("flags", "addr_info") else None
            entry["flags"] = [flag for flag in entry["flags"] if flag in ("UP", "NOARP")]
            entry["addr_info"] = [(a["local"], a["prefixlen"]) for a in entry["addr_info"] if a["family"] == "inet"]
        entries = netns.run("bridge", "fdb", "show", "br", self.daemon.bridge, check=False).splitlines()
        static = sorted(line for line in entries if "static" in line)
        settings = [netns.run("cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding").strip() for link in ("up0", self.daemon.bridge)]
        tables.append([netns.run("tc", "filter", "show", "dev", self.daemon.bridge, side, check=False) for side in ("ingress", "egress")])
        tables.append(sorted(line for line in netns.ip("rule", "show").splitlines() if "proto 173" in line))
        return without_volatile({"tables": tables, "links": links, "fdb": static, "forwarding": settings})


# name: (commands, operation, words that must be in what was found)
NFT = {
    "ruleset flushed": ("nft flush ruleset", "apply_firewall", "table inet {mark} is gone"),
    "table deleted": ("nft delete table bridge {mark}", "apply_firewall", "table bridge {mark} is gone"),
    "table dormant": ("nft add table inet {mark} {{ flags dormant \\; }}", "apply_firewall", "dormant"),
    "chain flushed": ("nft flush chain inet {mark} forward", "apply_firewall", "rule "),
    "rule added": ("nft insert rule inet {mark} forward accept", "apply_firewall", "rule "),
    "policy changed": ("nft add chain inet {mark} input {{ policy drop \\; }}", "apply_firewall", "chain input"),
    "element deleted": ("nft delete element bridge {mark} guest4 {{ {tap} . {mac} . {ip} }}", "add_guests", "VM {vm}"),
    "MAC element deleted": ("nft delete element bridge {mark} guest_mac {{ {tap} . {mac} }}", "add_guests", "VM {vm} ({tap} in set guest_mac)"),
    "set flushed": ("nft flush set bridge {mark} guest4", "add_guests", "missing"),
    "element added": ("nft add element bridge {mark} guest4 {{ {tap} . {mac} . 10.9.9.9 }}", "remove_guests", "10.9.9.9"),
    "uplink deleted": ("nft delete element inet {mark} uplink {{ up0 }}", "replace_uplink", "nothing"),
    "uplink added": ("nft add element inet {mark} uplink {{ lo }}", "replace_uplink", "lo"),
}
LINK = {
    "bridge deleted": ("ip link del {bridge}", "ensure_bridge", "it is gone"),
    "bridge down": ("ip link set {bridge} down", "ensure_bridge", "it is down"),
    "bridge address deleted": ("ip address del {gateway}/24 dev {bridge}", "ensure_bridge", "is gone"),
    "bridge address added": ("ip address add 203.0.113.77/24 dev {bridge}", "ensure_bridge", "203.0.113.77/24"),
    "bridge MAC": ("ip link set {bridge} address 02:00:00:00:00:99", "ensure_bridge", "another MAC"),
    "bridge spanning tree": ("ip link set {bridge} type bridge stp_state 1", "ensure_bridge", "spanning tree"),
    "bridge alias": ("ip link set {bridge} alias somebody", "restore_alias", "its alias is 'somebody'"),
    "TAP down": ("ip link set {tap} down", "repair_tap", "it is down"),
    "TAP off the bridge": ("ip link set {tap} nomaster", "repair_tap", "not a port"),
    "TAP not isolated": ("ip link set {tap} type bridge_slave isolated off", "repair_tap", "not isolated"),
    "TAP learns": ("ip link set {tap} type bridge_slave learning on", "repair_tap", "learns"),
    "TAP flooded": ("ip link set {tap} type bridge_slave flood on", "repair_tap", "flooded"),
    "TAP hairpin": ("ip link set {tap} type bridge_slave hairpin on", "repair_tap", "hairpin"),
    "TAP ARP": ("ip link set {tap} arp on", "repair_tap", "ARP"),
    "TAP alias": ("ip link set {tap} alias {mark}:nobody", "repair_tap", "its alias is"),
    "TAP alias taken off": ("ip link set {tap} alias ''", "repair_tap", "its alias is ''"),
    "guest's MAC forgotten": ("bridge fdb del {mac} dev {tap} master", "repair_tap", "MAC"),
    "reverse path filter off": ("sysctl -qw net.ipv4.conf.{bridge}.rp_filter=0", "tune_bridge", "rp_filter"),
    "gate: filters deleted": ("tc qdisc del dev {bridge} clsact", "set_gate", "smartvm_in is gone"),
    "gate: filter deleted": ("tc filter del dev {bridge} egress pref 1", "set_gate", "smartvm_out is gone"),
    "gate: filter replaced": ("tc filter del dev {bridge} ingress pref 1; tc filter add dev {bridge} ingress pref 1 protocol ip u32 match u32 0 0 flowid 1:1",
                              "set_gate", "smartvm_in is"),
    "gate: rule deleted": ("ip rule del pref 64 iif {bridge}", "set_gate", "from the bridge is gone"),
    "gate: reverse rule deleted": ("ip rule del pref 64 iif lo", "set_gate", "to the host is gone"),
    "forwarding off on the bridge": ("sysctl -qw net.ipv4.conf.{bridge}.forwarding=0", "forward_bridge", "off on the bridge"),
    "forwarding off on the uplink": ("sysctl -qw net.ipv4.conf.up0.forwarding=0", "forward_uplink", "up0"),
    "forwarding off everywhere": ("sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.ip_forward=0", "forward_bridge", "off on the bridge"),
}


class KindsTest(DriftWords, ThemeCase):
    """One kind after the other, on one daemon with two VMs; foreign things stand beside."""

    def foreign(self):
        netns = self.daemon.netns
        return [
            netns.run("nft", "-a", "list", "table", "inet", "foreign", check=False),
            netns.ip("-d", "link", "show", "dev", "fx0"),
            netns.ip("address", "show", "dev", "fbr"),
            netns.run("bridge", "-d", "link", "show", "dev", "fx0"),
            sorted(netns.ip("rule", "show").splitlines()),
            netns.ip("route", "show", "table", "777"),
        ]

    def make_foreign(self):
        netns = self.daemon.netns
        if "foreign" not in netns.run("nft", "list", "tables"):
            netns.run("nft", "-f", "-", input=FOREIGN)
        if "fbr" in netns.links():
            return
        netns.ip("link", "add", "fbr", "type", "bridge")
        netns.ip("tuntap", "add", "dev", "fx0", "mode", "tap")
        netns.ip("link", "set", "fx0", "alias", "smartvmx:other")
        netns.ip("link", "set", "fx0", "master", "fbr")
        netns.ip("address", "add", "203.0.113.200/28", "dev", "fbr")
        netns.ip("rule", "add", "pref", "12345", "iif", "fbr", "lookup", "777")
        netns.ip("route", "add", "blackhole", "203.0.113.128/25", "table", "777")

    def words(self, vm):
        interface = vm["network_interfaces"][0]
        return {"mark": self.daemon.mark, "bridge": self.daemon.bridge, "tap": interface["tap"], "mac": interface["mac"],
                "ip": interface["ip"], "gateway": interface["gateway"], "vm": vm["id"]}

    def break_and_await(self, command, operation, found, words):
        # Ten repairs of one kind in a row would be a fight, and that is another test's matter.
        self.ok(self.c.post("/drift/repair", wait=10), 201)
        before = self.ours()
        after = last_id(self.c)
        foreign = self.foreign()
        begin_ms = time.time() * 1000
        self.daemon.netns.run("sh", "-c", command.format(**words))
        event = self.await_repair(after, operation)
        took_ms = at_ms(event) - begin_ms
        self.assertIn(found.format(**words), event["data"]["data"]["found"])
        self.await_no_drift()
        eventually(lambda: self.ours() == before, f"everything as before: {command}", 5) if self.ours() != before else None
        if "flush ruleset" in command:
            self.make_foreign()
        else:
            self.assertEqual(foreign, self.foreign())
        self.assertLess(took_ms, REPAIR_MS)
        return took_ms, event

    def run_kinds(self, kinds):
        self.make_foreign()
        vm, bystander = self.create(), self.create()
        words = self.words(vm)
        self.assertEqual({"items": [], "total": 0}, self.drift())
        times = {}
        for name, (command, operation, found) in kinds.items():
            with self.subTest(name):
                times[name], event = self.break_and_await(command, operation, found, words)
                if operation == "repair_tap" or name == "element deleted":
                    self.assertEqual(f"/vms/{vm['id']}", event["data"]["resource"])
                else:
                    self.assertIn(event["data"]["resource"], ("/network", f"/vms/{vm['id']}"))
        for name, took in times.items():
            print(f"drift {name}: {took:.0f} ms")
        if times:
            print(f"drift median {statistics.median(times.values()):.0f} ms, worst {max(times.values()):.0f} ms")
        for before in (vm, bystander):
            now = self.vm(before["id"])
            self.assertEqual(("running", before["vmm"]["pid"]), (now["state"], now["vmm"]["pid"]))

    @limit(120)
    def test_firewall(self):
        self.run_kinds(NFT)

    @limit(180)
    def test_links_and_settings(self):
        self.run_kinds(LINK)

    def test_a_removed_tap_is_told(self):
        vm = self.create()
        after = last_id(self.c)
        tap = vm["network_interfaces"][0]["tap"]
        self.daemon.netns.ip("link", "del", tap)
        event = eventually(lambda: self.repairs_since(after, "network.damaged"), "the event")[0]
        self.assertEqual(f"/vms/{vm['id']}", event["data"]["resource"])
        items = [item for item in self.drift()["items"] if item["resource"] == f"/vms/{vm['id']}"]
        self.assertEqual(["none"], [item["operation"] for item in items])
        repair = self.ok(self.c.post("/drift/repair", wait=15), 201)
        self.assertEqual(("done", ["none"]), (repair["state"], [item["operation"] for item in repair["remaining"]]))
        self.act(vm["id"], "reboot", {"timeout_seconds": 0})
        self.await_no_drift()
        self.assertEqual(1, len(self.repairs_since(after, "network.damaged")))

    def test_starts_and_stops_are_no_drift(self):
        after = last_id(self.c)
        for _ in range(5):
            vms = [self.create()["id"] for _ in range(3)]
            self.assertEqual([], self.drift()["items"])
            for vm in vms:
                self.act(vm, "kill")
                self.act(vm, "start")
                self.forget(vm)
        self.assertEqual([], [e["data"] for e in self.repairs_since(after)])

    def test_a_repair_of_nothing(self):
        reply = self.c.post("/drift/repair", wait=15)
        repair = self.ok(reply, 201)
        self.assertEqual(("done", [], []), (repair["state"], repair["repaired"], repair["remaining"]))
        self.assertEqual(f"/drift/repairs/{repair['id']}", reply.headers["Location"])
        self.assertEqual(repair, self.c.json(f"/drift/repairs/{repair['id']}"))
        self.refused(self.c.get("/drift/repairs/999999"), 404, "NOT_FOUND")
        self.refused(self.c.get("/drift/repairs/x"), 400, "INVALID_REQUEST")
        self.refused(self.c.get("/drift", depth=1), 400, "INVALID_REQUEST")

    def test_a_repair_with_a_key_is_made_once(self):
        first = self.c.post("/drift/repair", headers={"Idempotency-Key": self.id()})
        again = self.c.post("/drift/repair", headers={"Idempotency-Key": self.id()})
        self.assertEqual(self.ok(first, 201)["id"], self.ok(again, 201)["id"])


class Undoer:
    """Undoes in a loop, as fast as a shell can."""

    def __init__(self, netns, command):
        script = f"while :; do {command}; done > /dev/null 2>&1"
        self.process = subprocess.Popen(netns.wrap("sh", "-c", script), start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, 9)
        self.process.wait()


class ContestedTest(DriftWords, OwnDaemonCase):
    SECONDS = 6
    # 10 at once, then after 1 and 2 s; one more for what was under way.
    REPAIRS_MAX = 13

    def contest(self, command, operation):
        after = last_id(self.c)
        begin_s = cpu_s(self.daemon.pid)
        with Undoer(self.daemon.netns, command):
            time.sleep(self.SECONDS)
            used = (cpu_s(self.daemon.pid) - begin_s) / self.SECONDS
            held = eventually(lambda: [i for i in self.drift()["items"] if i["waits_ms"] > 0], "a repair that waits", 10)
            repairs = [e for e in self.repairs_since(after) if e["data"]["data"]["operation"] == operation]
            contested = self.repairs_since(after, "network.contested")
            network = self.c.json("/network")
            links = self.daemon.netns.links()
            self.assertTrue(self.repairs_since(after, "network.cut_off"))
        print(f"drift contested {operation}: {len(repairs)} repairs and {100 * used:.1f} % of a processor in {self.SECONDS} s")
        self.assertLessEqual(len(repairs), self.REPAIRS_MAX)
        self.assertGreaterEqual(len(repairs), 10)
        self.assertEqual(1, len(contested), contested)
        self.assertEqual(operation, held[0]["operation"])
        self.assertLess(used, 0.35)
        return network, links

    @limit(90)
    def test_a_table_that_somebody_deletes(self):
        self.create()
        network, links = self.contest(f"nft delete table inet {self.daemon.mark}", "apply_firewall")
        self.assertFalse(links[self.daemon.bridge]["up"], "while the firewall is open, guests are cut off")
        self.assertIn("cut off", network["conditions"][0]["message"])
        conditions = {c["type"]: c for c in network["conditions"]}
        self.assertEqual(("false", "true"), (conditions["ready"]["status"], conditions["contested"]["status"]))
        self.assertIn("undoes", conditions["contested"]["message"])
        # The undoer is gone: asking repairs at once, although the back-off had seconds to go.
        repair = self.ok(self.c.post("/drift/repair", wait=15), 201)
        self.assertEqual(("done", [], "apply_firewall"),
                         (repair["state"], repair["remaining"], repair["repaired"][0]["operation"]))
        self.await_no_drift(2)
        self.assertTrue(all(link["up"] for link in self.daemon.netns.links().values()))
        eventually(lambda: [c["type"] for c in self.c.json("/network")["conditions"]] == ["ready"], "the condition", 5)
        self.create()

    @limit(90)
    def test_a_flag_that_somebody_clears(self):
        vm = self.create()
        tap = vm["network_interfaces"][0]["tap"]
        bystander = self.create()["network_interfaces"][0]["tap"]
        _, links = self.contest(f"ip link set {tap} type bridge_slave isolated off", "repair_tap")
        self.assertEqual((False, True), (links[tap]["up"], links[bystander]["up"]))
        repair = self.ok(self.c.post("/drift/repair", wait=15), 201)
        self.assertEqual(("done", []), (repair["state"], repair["remaining"]))
        self.await_no_drift(2)
        self.assertTrue(all(link["up"] for link in self.daemon.netns.links().values()))
        eventually(lambda: self.condition(self.vm(vm["id"]), "network")["status"] == "true", "the condition", 5)

    @limit(90)
    def test_without_anybody_asking_it_is_repaired_when_its_time_has_come(self):
        self.contest(f"nft delete table bridge {self.daemon.mark}", "apply_firewall")
        self.await_no_drift(40)
        eventually(lambda: "contested" not in [c["type"] for c in self.c.json("/network")["conditions"]], "quiet", 60, every=0.5)


class SweepTest(DriftWords, OwnDaemonCase):
    """The kernel does not tell of every setting: the floor is a look at everything now and then."""

    settings = {"network": {"sweep_s": 1}}

    def test_a_setting_that_nobody_tells_of(self):
        after = last_id(self.c)
        self.daemon.netns.run("sysctl", "-qw", f"net.ipv4.conf.{self.daemon.bridge}.send_redirects=1")
        self.assertIn("send_redirects", self.await_repair(after, "tune_bridge", 5)["data"]["data"]["found"])
        self.await_no_drift()

    def test_sweeps_repair_nothing_that_is_right(self):
        self.create()
        after = last_id(self.c)
        time.sleep(2.5)
        self.assertEqual([], stored(self.c, after))


class OwnDoingsTest(DriftWords, OwnDaemonCase):
    """What the daemon itself changes is never taken for somebody's damage, however much of it is under way while the network is looked at."""

    settings = {"network": {"ipv6_subnet": "fd00:5a:2::/64"}}
    THREADS, ROUNDS = 4, 8

    def live(self, number):
        for round_ in range(self.ROUNDS):
            vm = f"v{number}-{round_}"
            firewall = {"egress": {"rules": [{"action": "deny", "to": "198.18.0.0/15"}]}}
            ports = [{"host_port": 9000 + number, "guest_port": 80, "protocol": "tcp"}]
            self.ok(self.c.post("/vms", self.body(vm, firewall=firewall, ports=ports), wait=15), 201)
            self.ok(self.c.patch(f"/vms/{vm}", {"ports": []}, wait=15))
            self.ok(self.c.put(f"/vms/{vm}/firewall", {}, wait=15))
            self.ok(self.c.post(f"/vms/{vm}/kill", wait=15), 200)
            self.ok(self.c.delete(f"/vms/{vm}", wait=15), 204)

    @limit(120)
    def test_they_are_no_drift(self):
        errors = []

        def run(number):
            try:
                self.live(number)
            except Exception as e:  # noqa: BLE001: told below
                errors.append(e)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(self.THREADS)]
        for thread in threads:
            thread.start()
        changes = 0
        while any(thread.is_alive() for thread in threads):
            # Each of these makes the network be looked at: by what somebody else does, and by what a client asks for.
            self.daemon.netns.run("nft", f"add table inet other{changes % 2}; delete table inet other{changes % 2}")
            self.ok(self.c.put("/firewall", {"egress": {"rules": [{"action": "deny", "to": f"203.0.113.{changes % 250}"}]}}, wait=15))
            changes += 1
        self.assertEqual([], errors)
        self.assertGreater(changes, 5)
        found = [event["data"] for event in stored(self.c) if event["event"] in ("network.repaired", "vm.repaired", "wireguard.repaired", "network.contested")]
        self.assertEqual([], found)
        self.assertEqual([], self.drift()["items"])


class RestartTest(DriftWords, OwnDaemonCase):
    @limit(90)
    def test_what_was_broken_while_the_daemon_was_away(self):
        vm = self.create()
        before = self.ours()
        self.daemon.kill9()
        netns, tap = self.daemon.netns, vm["network_interfaces"][0]["tap"]
        netns.run("nft", "flush", "ruleset")
        netns.ip("link", "set", tap, "type", "bridge_slave", "isolated", "off")
        netns.run("sysctl", "-qw", f"net.ipv4.conf.{self.daemon.bridge}.forwarding=0")
        self.daemon.start()
        self.await_no_drift()
        self.assertEqual(before, self.ours())
        self.assertEqual(vm["vmm"]["pid"], self.vm(vm["id"])["vmm"]["pid"])

    @limit(90)
    def test_a_repair_that_was_asked_for_before_a_crash(self):
        repair = self.ok(self.c.post("/drift/repair"), 201)
        self.daemon.kill9()
        self.daemon.start()
        eventually(lambda: self.c.json(f"/drift/repairs/{repair['id']}")["state"] == "done", "the repair", 15)


class ManyTest(DriftWords, OwnDaemonCase):
    settings = {"network": {"subnet": "10.200.0.0/22"}}

    @limit(180)
    def test_a_flush_with_100_vms(self):
        names = [f"v{n}" for n in range(100)]
        for name in names:
            self.addCleanup(self.forget, name)
            self.assertIn(self.c.post("/vms", self.body(name)).status, (201, 202))
        eventually(lambda: len(self.c.items("/vms", state="running")) == 100, "100 VMs", 90, every=0.2)
        self.await_no_drift()
        before = self.ours()
        times = []
        for _ in range(5):
            after = last_id(self.c)
            begin_ms = time.time() * 1000
            self.daemon.netns.run("nft", "flush", "ruleset")
            times.append(at_ms(self.await_repair(after, "apply_firewall")) - begin_ms)
        self.assertEqual(before, self.ours())
        print(f"drift_flush_100: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms (with sanitizers, nft's own time included)")
        begin_ms = time.time() * 1000
        after = last_id(self.c)
        self.daemon.netns.ip("link", "del", self.daemon.bridge)
        eventually(lambda: len([e for e in self.repairs_since(after) if e["data"]["data"]["operation"] == "repair_tap"]) == 100,
                   "100 TAPs in the bridge", 30)
        last = max(at_ms(e) for e in self.repairs_since(after))
        print(f"drift bridge with 100 TAPs: {last - begin_ms:.0f} ms")
        self.await_no_drift()
        self.assertEqual(before, self.ours())
