"""What is closed to guests by default, what the configuration opens, and what the resource says of dropped packets."""

import ipaddress

from harness import OwnDaemonCase, ThemeCase, eventually


def covers(elements, address):
    """Does an interval set, as `nft -j` shows it, hold this address?"""
    wanted = ipaddress.ip_address(address)
    for element in elements or []:
        if isinstance(element, dict) and "prefix" in element:
            network = ipaddress.ip_network(f"{element['prefix']['addr']}/{element['prefix']['len']}")
            found = wanted in network
        elif isinstance(element, dict) and "range" in element:
            first, last = (ipaddress.ip_address(end) for end in element["range"])
            found = first.version == wanted.version and first <= wanted <= last
        else:
            found = ipaddress.ip_address(element) == wanted
        if found:
            return True
    return False


class IsolationTest(ThemeCase):
    def closed(self, address):
        return covers(self.daemon.netns.set_elements(self.daemon.mark, "closed6" if ":" in address else "closed4"), address)

    def count(self, family, name, *key):
        """Makes the kernel's counter of this key say 7, as packets would."""
        words = " . ".join(key)
        self.daemon.netns.run("nft", "add", "element", family, self.daemon.mark, name, f"{{ {words} counter packets 7 bytes 700 }}")

    def test_what_is_closed(self):
        for address in ("127.0.0.1", "169.254.169.254", "224.0.0.251", "255.255.255.255", "0.0.0.0", "198.51.100.1", "198.51.100.3",
                        "::1", "fe80::1", "ff02::1", "::ffff:127.0.0.1"):
            self.assertTrue(self.closed(address), address)
        for address in ("192.0.2.1", "198.51.100.4", "8.8.8.8", "223.255.255.255", "1.0.0.0", "2001:db8::1"):
            self.assertFalse(self.closed(address), address)

    def test_the_hosts_networks_are_followed(self):
        netns = self.daemon.netns
        netns.add_link("lan7", "203.0.113.1/25")
        self.addCleanup(netns.ip, "link", "del", "lan7", check=False)
        eventually(lambda: self.closed("203.0.113.126"), "the network that the host is connected to now", 5)
        self.assertFalse(self.closed("203.0.113.128"))
        netns.ip("route", "add", "100.64.0.0/24", "via", "203.0.113.2")
        netns.ip("route", "add", "100.64.1.0/24", "dev", "lan7")
        eventually(lambda: self.closed("100.64.1.9"), "an address that is on a link", 5)
        self.assertFalse(self.closed("100.64.0.9"))
        netns.ip("link", "del", "lan7")
        eventually(lambda: not self.closed("203.0.113.126") and not self.closed("100.64.1.9"), "the networks that are gone", 5)

    def test_the_sets_changed_by_hand_come_back(self):
        self.daemon.netns.run("nft", "flush", "set", "inet", self.daemon.mark, "closed4")
        eventually(lambda: self.closed("169.254.169.254"), "the closed networks", 5)
        self.daemon.netns.run("nft", "add", "element", "inet", self.daemon.mark, "open_ports", "{ tcp . 22 }")
        eventually(lambda: not self.daemon.netns.set_elements(self.daemon.mark, "open_ports"), "the closed port", 5)

    def test_the_bridge_is_tuned(self):
        wanted = {"ipv4/conf/{}/proxy_arp_pvlan": "1", "ipv4/conf/{}/rp_filter": "1", "ipv4/conf/{}/send_redirects": "0",
                  "ipv4/conf/{}/accept_source_route": "0", "ipv4/neigh/{}/proxy_delay": "0", "ipv6/conf/{}/accept_ra": "0"}
        path = "/proc/sys/net/" + "ipv4/conf/{}/rp_filter".format(self.daemon.bridge)
        for item, value in wanted.items():
            self.assertEqual(value, self.daemon.netns.run("cat", "/proc/sys/net/" + item.format(self.daemon.bridge)).strip(), item)
        self.daemon.netns.run("sh", "-c", f"echo 0 > {path}")
        eventually(lambda: self.daemon.netns.run("cat", path).strip() == "1", "the parameter", 5)

    def test_dropped_packets_are_counted_by_interface_and_reason(self):
        vm = self.create(network_interfaces=[{"iface_id": "eth0"}, {"iface_id": "eth1"}])
        first, second = vm["network_interfaces"]
        found = self.c.json(f"/vms/{vm['id']}/network")["network_interfaces"]
        self.assertEqual([("eth0", first["tap"]), ("eth1", second["tap"])], [(i["iface_id"], i["tap"]) for i in found])
        self.assertEqual({0}, {count for i in found for count in i["dropped"].values()})
        self.count("bridge", "drops", first["tap"], "0x00000003")
        self.count("bridge", "drops", second["tap"], "0x00000001")
        self.count("inet", "drops4", first["ip"], "0x00000024")
        found = self.c.json(f"/vms/{vm['id']}/network")["network_interfaces"]
        self.assertEqual([{"source_mac": 7, "host_port": 7}, {"vlan": 7}],
                         [{reason: n for reason, n in i["dropped"].items() if n} for i in found])
        self.act(vm["id"], "kill")
        self.assertEqual([], self.daemon.netns.set_elements(self.daemon.mark, "drops") or [])
        started = self.act(vm["id"], "start")
        found = self.c.json(f"/vms/{started['id']}/network")["network_interfaces"]
        self.assertEqual({0}, {count for i in found for count in i["dropped"].values()})

    def test_a_vm_without_interfaces(self):
        vm = self.create(network_interfaces=[])
        self.assertEqual([], self.c.json(f"/vms/{vm['id']}/network")["network_interfaces"])

    def test_refused(self):
        vm = self.create()
        self.refused(self.c.get("/vms/nosuch/network"), 404, "NOT_FOUND")
        self.refused(self.c.get(f"/vms/{vm['id']}/network", limit=1), 400, "INVALID_REQUEST")
        self.refused(self.c.post(f"/vms/{vm['id']}/network", {}), 405, "METHOD_NOT_ALLOWED")


class OpenedTest(OwnDaemonCase):
    settings = {"network": {
        "allow_host_networks": ["198.51.100.0/30", "169.254.169.254/32"],
        "open_host_ports": [{"protocol": "tcp", "port": 8080}, {"protocol": "udp", "port": 53}],
        "max_flows_per_vm": 100,
    }}

    def test_what_the_configuration_opens(self):
        netns = self.daemon.netns
        closed = netns.set_elements(self.daemon.mark, "closed4")
        for address in ("198.51.100.1", "169.254.169.254"):
            self.assertFalse(covers(closed, address), address)
        for address in ("169.254.169.253", "169.254.169.255", "127.0.0.1", "224.0.0.1"):
            self.assertTrue(covers(closed, address), address)
        ports = {tuple(element["concat"]) for element in netns.set_elements(self.daemon.mark, "open_ports")}
        self.assertEqual({("tcp", 8080), ("udp", 53)}, ports)
        self.assertIn("ct count 100 }", netns.run("nft", "list", "chain", "inet", self.daemon.mark, "admitted"))

    def test_interfaces_share_the_flows_of_their_vm(self):
        """Whether the VM brings its elements or the tables are made new with them."""
        netns, mark = self.daemon.netns, self.daemon.mark
        one = self.create()["network_interfaces"]
        three = self.create(network_interfaces=[{"iface_id": f"eth{i}"} for i in range(3)])["network_interfaces"]
        wanted = {"share1": {one[0]["mac"]}, "share2": set(), "share4": {i["mac"] for i in three}, "share8": set()}
        for _ in range(2):
            self.assertEqual(wanted, {name: set(netns.set_elements(mark, name) or []) for name in wanted})
            netns.run("nft", "flush", "ruleset")
            eventually(lambda: netns.set_elements(mark, "share4"), "the tables", 5)
        netns.run("nft", "delete", "element", "inet", mark, "share1", f"{{ {one[0]['mac']} }}")
        eventually(lambda: netns.set_elements(mark, "share1"), "the element", 5)

    def test_no_vm_may_fill_the_table(self):
        self.daemon.stop()
        self.daemon.config["network"]["max_flows_per_vm"] = 1000000
        self.daemon.start()
        table = int(open("/proc/sys/net/netfilter/nf_conntrack_max").read())
        self.assertIn(f"ct count {table // 4} }}", self.daemon.netns.run("nft", "list", "chain", "inet", self.daemon.mark, "admitted"))

    def test_a_trace_to_an_open_port(self):
        vm = self.create()
        for port, verdict in ((8080, "allow"), (8081, "deny")):
            body = {"vm": vm["id"], "direction": "egress", "remote": vm["network_interfaces"][0]["gateway"], "protocol": "tcp", "port": port}
            trace = self.ok(self.c.post("/firewall/trace", body))
            self.assertEqual((verdict, "host"), (trace["verdict"], trace["stage"]), trace)
