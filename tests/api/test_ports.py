"""Published ports: as elements with the tiny guest, and by packets with a real Linux guest that serves HTTP on port 80."""

import os
import socket
import threading
from pathlib import Path

from harness import BUILD, Daemon, OwnDaemonCase, ThemeCase, eventually, limit, read_reply

BUNDLE = Path(os.environ.get("SMARTVM_TEST_BUNDLE", BUILD / "image" / "debian-minimal"))
HOST = "198.51.100.2"  # the uplink's address, host.py


def elements(daemon, protocol="tcp"):
    """{host port: (address, guest port)} as nft shows them; None without the table."""
    for entry in daemon.netns.ruleset():
        found = entry.get("map")
        if found and (found["table"], found["name"]) == (daemon.mark, f"ports_{protocol}"):
            return {key: tuple(value["concat"]) for key, value in found.get("elem", [])}
    return None


def port(host_port, guest_port=80, protocol="tcp", host_ip="0.0.0.0", count=1):
    """As the resource shows it."""
    return {"host_ip": host_ip, "host_port": host_port, "guest_port": guest_port, "count": count, "protocol": protocol}


def at_addresses(daemon):
    """{(protocol, address, port): (guest's address, guest's port)} of ports at one address."""
    for entry in daemon.netns.ruleset():
        found = entry.get("map")
        if found and (found["table"], found["name"]) == (daemon.mark, "ports_at4"):
            return {tuple(key["concat"]): tuple(value["concat"]) for key, value in found.get("elem", [])}
    return None


class ElementsTest(ThemeCase):
    def localnet(self):
        return self.daemon.netns.run("cat", f"/proc/sys/net/ipv4/conf/{self.daemon.bridge}/route_localnet").strip()

    def test_they_live_with_the_vm(self):
        vm = self.create(ports=[port(8080), port(8080, 53, "udp")])
        address = vm["network_interfaces"][0]["ip"]
        self.assertEqual([port(8080), port(8080, 53, "udp")], vm["ports"])
        self.assertEqual({8080: (address, 80)}, elements(self.daemon))
        self.assertEqual({8080: (address, 53)}, elements(self.daemon, "udp"))
        self.assertEqual("1", self.localnet())
        self.act(vm["id"], "kill")
        self.assertEqual({}, elements(self.daemon))
        self.act(vm["id"], "start")
        self.assertEqual({8080: (address, 80)}, elements(self.daemon))
        self.forget(vm["id"])
        self.assertEqual(({}, {}), (elements(self.daemon), elements(self.daemon, "udp")))

    def test_patch_changes_a_running_vm_at_once(self):
        vm = self.create(ports=[port(8081), port(8082)])
        address = vm["network_interfaces"][0]["ip"]
        changed = self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8082, 81), port(8083)]}, wait=5))
        self.assertEqual([port(8082, 81), port(8083)], changed["ports"])
        self.assertEqual({8082: (address, 81), 8083: (address, 80)}, elements(self.daemon))
        self.assertEqual(vm["vmm"]["pid"], changed["vmm"]["pid"])
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": []}, wait=5))
        self.assertEqual({}, elements(self.daemon))

    def test_a_host_port_has_one_vm(self):
        first, second = self.create(ports=[port(8084)]), self.create()
        reply = self.c.patch(f"/vms/{second['id']}", {"ports": [port(8001), port(8084, 81)]})
        problem = self.refused(reply, 409, "IN_USE", "/ports/1/host_port")
        self.assertIn(first["id"], problem["detail"])
        self.refused(self.c.post("/vms", self.body(ports=[port(8084)])), 409, "IN_USE", "/ports/0/host_port")
        self.ok(self.c.patch(f"/vms/{second['id']}", {"ports": [port(8084, 81, "udp")]}, wait=5))

        # Freed by one and taken by the other at once: whoever comes to the firewall first, the other's ends there.
        self.ok(self.c.patch(f"/vms/{first['id']}", {"ports": []}), 200, 202)
        self.ok(self.c.patch(f"/vms/{second['id']}", {"ports": [port(8084, 82)]}, wait=5))
        address = second["network_interfaces"][0]["ip"]
        eventually(lambda: elements(self.daemon) == {8084: (address, 82)}, "the port at its new VM", 5)
        self.forget(second["id"])
        self.ok(self.c.patch(f"/vms/{first['id']}", {"ports": [port(8084)]}, wait=5))
        self.assertEqual({8084: (first["network_interfaces"][0]["ip"], 80)}, elements(self.daemon))

    def test_at_one_address(self):
        vm = self.create(ports=[port(8090, host_ip="127.0.0.1"), port(8090, 81, host_ip=HOST)])
        address = vm["network_interfaces"][0]["ip"]
        self.assertEqual([port(8090, host_ip="127.0.0.1"), port(8090, 81, host_ip=HOST)], vm["ports"])
        self.assertEqual({("tcp", "127.0.0.1", 8090): (address, 80), ("tcp", HOST, 8090): (address, 81)}, at_addresses(self.daemon))
        self.assertEqual({}, elements(self.daemon))
        body = self.body(ports=[port(8090)])
        self.assertIn(vm["id"], self.refused(self.c.post("/vms", body), 409, "IN_USE", "/ports/0/host_port")["detail"])
        changed = self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [{"host_port": 8090, "guest_port": 80}]}, wait=5))
        self.assertEqual([port(8090)], changed["ports"])
        self.assertEqual({8090: (address, 80)}, elements(self.daemon))
        self.assertEqual({}, at_addresses(self.daemon))

    def test_a_range(self):
        vm = self.create(ports=[port(8100, 9100, count=11)])
        address = vm["network_interfaces"][0]["ip"]
        self.assertEqual({8100 + n: (address, 9100 + n) for n in range(11)}, elements(self.daemon))
        self.refused(self.c.post("/vms", self.body(ports=[port(8110)])), 409, "IN_USE", "/ports/0/host_port")
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8100, 9100, count=2)]}, wait=5))
        self.assertEqual({8100: (address, 9100), 8101: (address, 9101)}, elements(self.daemon))

    def test_as_many_as_there_may_be(self):
        vm = self.create(ports=[port(10000, 20000, count=1000)])
        self.assertEqual(1000, len(elements(self.daemon)))
        self.act(vm["id"], "kill")
        self.assertEqual({}, elements(self.daemon))

    def test_chosen_by_the_daemon(self):
        first, second = self.create(ports=[port(0)]), self.create(ports=[port(0, 81), port(0, 82, count=3)])
        chosen = [entry["host_port"] for vm in (first, second) for entry in vm["ports"]]
        self.assertEqual([30000, 30001, 30002], chosen)
        self.assertEqual({30000, 30001, 30002, 30003, 30004}, set(elements(self.daemon)))
        again = self.ok(self.c.patch(f"/vms/{second['id']}", {"ports": [port(0, 81), port(0, 82, count=3)]}, wait=5))
        self.assertEqual((second["ports"], second["generation"]), (again["ports"], again["generation"]))
        self.daemon.restart()
        self.assertEqual(second["ports"], self.vm(second["id"])["ports"])

    def test_what_others_do_to_them_is_undone(self):
        vm = self.create(ports=[port(8085)])
        wanted = {8085: (vm["network_interfaces"][0]["ip"], 80)}
        mark, nft = self.daemon.mark, self.daemon.netns
        for damage in (
            ("flush", "ruleset"),
            ("delete", "element", "inet", mark, "ports_tcp", "{ 8085 }"),
            ("add", "element", "inet", mark, "ports_tcp", "{ 22 : 192.0.2.9 . 22 }"),
            ("delete", "table", "inet", mark),
        ):
            nft.run("nft", *damage)
            eventually(lambda: elements(self.daemon) == wanted, f"the ports after nft {' '.join(damage)}", 5)

    def test_a_restart_keeps_them(self):
        vm = self.create(ports=[port(8086)])
        gone = self.create(ports=[port(8087)])
        wanted = {8086: (vm["network_interfaces"][0]["ip"], 80)}
        self.daemon.kill9()
        self.assertIn(8086, elements(self.daemon))
        os.kill(gone["vmm"]["pid"], 9)
        self.daemon.start()
        eventually(lambda: elements(self.daemon) == wanted, "the ports of the VM that is left", 5)

    def test_a_listener_of_the_host_is_told_of(self):
        """One that begins to listen when the port is published already."""
        vm = self.create(ports=[port(8088)])
        self.assertEqual("published", self.condition(vm, "ports")["reason"])
        self.addCleanup(self.listen(8088).close)
        self.act(vm["id"], "reboot")
        condition = self.condition(self.vm(vm["id"]), "ports")
        self.assertEqual(("true", "shadows_listener"), (condition["status"], condition["reason"]))
        self.assertIn("tcp 8088", condition["message"])
        # It stays, and may be said again; a port that it did not have may not be taken.
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8088, 81)]}, wait=5))
        self.addCleanup(self.listen(8089).close)
        self.refused(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8088), port(8089)]}), 409, "IN_USE", ["/ports/1/host_port"])

    def test_a_port_that_somebody_listens_on(self):
        self.addCleanup(self.listen(8188).close)
        self.addCleanup(self.listen(8189, "udp").close)
        vm = self.create(desired_state="stopped", state="stopped")["id"]
        me = f"(pid {os.getpid()}) listens on the host's"
        for ports, words, index in (([port(8188)], f"{me} tcp port 8188 at 127.0.0.1", 0), ([port(8100), port(8180, count=10)], f"{me} tcp port 8188", 1),
                                    ([port(8189, protocol="udp")], f"{me} udp port 8189", 0), ([port(8188, host_ip="127.0.0.1")], f"{me} tcp port 8188", 0)):
            for query in ({}, {"dry_run": "true"}):
                with self.subTest(ports=ports, query=query):
                    for reply in (self.c.post("/vms", self.body(ports=ports), **query), self.c.patch(f"/vms/{vm}", {"ports": ports}, **query)):
                        problem = self.refused(reply, 409, "IN_USE", [f"/ports/{index}/host_port"])
                        self.assertIn(words, problem["detail"])
        self.assertEqual([], self.vm(vm)["ports"])
        self.create(ports=[port(8188, protocol="udp"), port(8189), port(8188, host_ip=HOST)])

    def test_chosen_are_none_of_those(self):
        self.addCleanup(self.listen(30001).close)
        self.addCleanup(self.listen(30003).close)
        vm = self.create(ports=[port(0), port(0, 81), port(0, 82, count=2), port(0, 83, "udp")])
        self.assertEqual([30000, 30002, 30004, 30000], [entry["host_port"] for entry in vm["ports"]])

    def listen(self, number, protocol="tcp"):
        made = []

        def work():
            import ctypes

            fd = os.open(f"/run/netns/{self.daemon.netns.name}", os.O_RDONLY)
            assert ctypes.CDLL(None).setns(fd, 0x40000000) == 0
            os.close(fd)
            if protocol == "tcp":
                made.append(socket.create_server(("127.0.0.1", number)))
            else:
                made.append(socket.socket(type=socket.SOCK_DGRAM))
                made[0].bind(("127.0.0.1", number))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]


class RangeTest(OwnDaemonCase):
    """What may be published at all."""

    settings = {"network": {"published_ports": {"address": HOST, "first": 2000, "last": 2999}}}

    def test_a_range_and_an_address(self):
        for wrong, member in ((port(1999, host_ip=HOST), "host_port"), (port(3000, host_ip=HOST), "host_port"), (port(2990, host_ip=HOST, count=11), "host_port"),
                              (port(2000), "host_ip"), (port(2000, host_ip="127.0.0.1"), "host_ip")):
            with self.subTest(wrong):
                self.refused(self.c.post("/vms", self.body(ports=[wrong])), 400, "INVALID_CONFIG", [f"/ports/0/{member}"])
        vm = self.create(ports=[{"host_port": 2999, "guest_port": 80}, {"host_port": 0, "guest_port": 81}])
        self.assertEqual([port(2999, host_ip=HOST), port(2000, 81, host_ip=HOST)], vm["ports"])
        address = vm["network_interfaces"][0]["ip"]
        self.assertEqual({("tcp", HOST, 2999): (address, 80), ("tcp", HOST, 2000): (address, 81)}, at_addresses(self.daemon))

    def test_what_was_published_before_stays(self):
        vm = self.create(ports=[{"host_port": 2000, "guest_port": 80}])["id"]
        self.daemon.stop()
        self.daemon.config["network"]["published_ports"] = {"address": None, "first": 2500, "last": 2999}
        self.daemon.start()
        self.assertEqual([port(2000, host_ip=HOST)], self.vm(vm)["ports"])
        self.ok(self.c.patch(f"/vms/{vm}", {"labels": {"a": "b"}}, wait=5))
        self.act(vm, "reboot")
        self.assertEqual("published", self.condition(self.vm(vm), "ports")["reason"])
        self.refused(self.c.patch(f"/vms/{vm}", {"ports": [port(2000, host_ip=HOST)]}), 400, "INVALID_CONFIG", ["/ports/0/host_port"])


class DaemonsOwnTest(OwnDaemonCase):
    settings = {"listen": []}

    def setUp(self):
        self.daemon = Daemon(self.settings)
        self.daemon.config["listen"] = [str(self.daemon.socket), "127.0.0.1:18099"]
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        self.daemon.add_tiny()
        self.c = self.daemon.client

    def test_it_is_not_taken_away_from_itself(self):
        for host_ip in ("0.0.0.0", "127.0.0.1"):
            problem = self.refused(self.c.post("/vms", self.body(ports=[port(18099, host_ip=host_ip)])), 409, "IN_USE", "/ports/0/host_port")
            self.assertIn("smartvmd itself listens on the host's tcp port 18099 at 127.0.0.1", problem["detail"])
        self.create(ports=[port(18099, host_ip=HOST)])


class FlowsTest(ThemeCase):
    """Where the kernel sends datagrams of one and the same socket, by the flows that it tracks."""

    def flow_goal(self, number):
        """The guest that the flow to this port of the host leads to."""
        table = self.daemon.netns.run("cat", "/proc/net/nf_conntrack").splitlines()
        found = [line.split() for line in table if f"dport={number} " in line]
        return [[word for word in line if word.startswith("src=")][1][4:] for line in found]

    def test_a_flow_ends_with_its_port(self):
        if "nf_conntrack" not in self.daemon.netns.run("ls", "/proc/net"):
            self.skipTest("this kernel has no /proc/net/nf_conntrack")
        first, second = self.create(ports=[port(9053, 53, "udp"), port(9054, 53, "udp"), port(9055, 55, "udp")]), self.create()
        addresses = [vm["network_interfaces"][0]["ip"] for vm in (first, second)]
        for number in (9053, 9054, 9055):
            self.send(number)
            self.assertEqual([addresses[0]], self.flow_goal(number))
        self.ok(self.c.patch(f"/vms/{first['id']}", {"ports": [port(9055, 55, "udp")]}, wait=5))
        self.assertEqual([[], [], [addresses[0]]], [self.flow_goal(n) for n in (9053, 9054, 9055)])
        self.ok(self.c.patch(f"/vms/{second['id']}", {"ports": [port(9053, 53, "udp")]}, wait=5))
        self.send(9053)
        self.assertEqual([addresses[1]], self.flow_goal(9053))
        self.act(first["id"], "kill")
        self.assertEqual([], self.flow_goal(9055))

    def send(self, number):
        """Always from the same port."""
        script = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 40000)); s.sendto(b'x', ('{HOST}', {number}))"
        self.daemon.netns.run("/usr/bin/python3", "-c", script)


class PacketsTest(OwnDaemonCase):
    """One real guest through the whole story."""

    settings = {"images": {"allowed_roots": [str(BUNDLE.resolve())]}, "vmm": {"stop_timeout_s": 20}}

    def setUp(self):
        if not (BUNDLE / "manifest.json").exists():
            raise AssertionError(f"no bundle at {BUNDLE}: deploy/build-image.sh --output {BUNDLE}")
        self.daemon = self.start_daemon(self.settings, tiny=False)
        self.c = self.daemon.client
        reply = self.c.post("/images", {"manifest_path": str(BUNDLE / "manifest.json")}, wait=60)
        self.assertEqual((201, "ready"), (reply.status, reply.json.get("state")), repr(reply))
        self.image = reply.json["id"]

    def linux(self, **extra):
        body = {"image": self.image, "vmm": "auto", "machine_config": {"mem_size_mib": 256}, "boot_args": "", **extra}
        vm = self.create(wait=60, **body)
        self.await_console(vm["id"], b"smartvm-guest: up", 60)
        return vm

    def asks(self, address, number, world=False):
        try:
            with self.daemon.netns.connect(address, number, 2, world) as sock:
                sock.settimeout(5)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return read_reply(sock)
        except OSError:
            return None

    def reached(self, vm, address, number, world=False, timeout=20):
        answer = eventually(lambda: self.asks(address, number, world), f"an answer at {address}:{number}", timeout, 0.1)
        self.assertIn(vm["id"].encode(), answer)

    def everywhere(self, vm, number):
        self.reached(vm, HOST, number, world=True)
        for address in (HOST, self.c.json("/network")["gateway"], "127.0.0.1", "127.8.8.8"):
            self.reached(vm, address, number)

    def nowhere(self, number):
        self.assertIsNone(self.asks(HOST, number, world=True))
        self.assertIsNone(self.asks(HOST, number))
        self.assertIsNone(self.asks("127.0.0.1", number))

    @limit(180)
    def test_from_everywhere(self):
        vm = self.linux(ports=[port(8080)])
        self.everywhere(vm, 8080)
        self.nowhere(8081)

        self.daemon.netns.run("nft", "flush", "ruleset")
        self.everywhere(vm, 8080)
        self.daemon.restart()
        self.everywhere(vm, 8080)
        self.daemon.kill9()
        self.reached(vm, HOST, 8080, world=True)  # also while there is no daemon
        self.daemon.start()

        self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8081)]}, wait=5))
        self.nowhere(8080)
        self.everywhere(vm, 8081)

        # A guest does not come by the host's addresses to another one, and not to a port of the host's loopback.
        other = self.linux(ports=[port(8080)])
        self.everywhere(other, 8080)
        gateway = self.c.json("/network")["gateway"]
        script = "; ".join(
            f"busybox wget -q -T 2 -O - http://{address}:8081/ > /dev/null || echo shut-$((0{n}+1))"
            for n, address in enumerate((HOST, gateway, vm["network_interfaces"][0]["ip"]))
        )
        self.ok(self.c.post(f"/vms/{other['id']}/console", script.encode() + b"\n", headers={"Content-Type": "text/plain"}), 204)
        for n in range(3):
            self.await_console(other["id"], f"shut-{n + 1}".encode(), 20)

        # At one address of the host, and there only.
        self.ok(self.c.patch(f"/vms/{vm['id']}", {"ports": [port(8082, host_ip="127.0.0.1"), port(8083, host_ip=HOST)]}, wait=5))
        self.reached(vm, "127.0.0.1", 8082)
        self.assertIsNone(self.asks(HOST, 8082))
        self.assertIsNone(self.asks(HOST, 8082, world=True))
        self.reached(vm, HOST, 8083)
        self.reached(vm, HOST, 8083, world=True)
        self.assertIsNone(self.asks("127.0.0.1", 8083))

        self.forget(vm["id"])
        self.nowhere(8081)
        self.everywhere(other, 8080)
