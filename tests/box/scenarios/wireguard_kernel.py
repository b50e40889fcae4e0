"""
WireGuard in the kernel, which machines for tests often lack: a peer in the namespace `world`, managed mode and existing mode, and a tunnel that goes.
What reaches the plain uplink of the world from guests is counted there by nftables, and the counting is shown to work.
"""

from case import BoxCase
from harness import eventually, limit

PING = "ping -c 1 -w {seconds} 203.0.113.9 > /dev/null && echo yes-$((1 + 1)) || echo no-$((1 + 1))"


class WireguardKernel(BoxCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # 203.0.113.9 answers by whichever way it is asked, so that a leak would work, and be seen.
        cls.box.sh("""set -e
            cd /run
            wg genkey > world.key; wg genkey > host.key
            wg pubkey < world.key > world.pub; wg pubkey < host.key > host.pub
            ip -n world link add wg0 type wireguard
            ip netns exec world wg set wg0 private-key /run/world.key listen-port 51820 peer $(cat host.pub) allowed-ips 10.77.0.2/32
            ip -n world address add 10.77.0.1/24 dev wg0
            ip -n world address add 203.0.113.9/32 dev lo
            ip -n world link set wg0 up
            ip netns exec world nft -f - << 'END'
            table inet seen {
                chain input {
                    type filter hook prerouting priority -300;
                    iifname up1 ip protocol icmp icmp type echo-request counter comment "plain"
                    iifname wg0 ip protocol icmp icmp type echo-request counter comment "tunnel"
                }
            }
END
            """)

    @classmethod
    def tearDownClass(cls):
        cls.box.sh("ip netns exec world nft delete table inet seen; ip -n world link delete wg0; ip -n world address delete 203.0.113.9/32 dev lo", check=False)

    def seen(self):
        """Echo requests that came to the world: (beside the tunnel, through it)."""
        rules = [e["rule"] for e in self.box.json("ip netns exec world nft -j list table inet seen")["nftables"] if "rule" in e]
        found = {rule["comment"]: next(e["counter"]["packets"] for e in rule["expr"] if "counter" in e) for rule in rules}
        return found["plain"], found["tunnel"]

    def ping(self, vm, wanted, seconds=10):
        start = self.c.get(f"/vms/{vm['id']}/console").headers["X-Console-End"]
        self.ok(self.c.post(f"/vms/{vm['id']}/console", PING.format(seconds=seconds).encode() + b"\n", headers={"Content-Type": "text/plain"}), 204)
        answer = eventually(lambda: next((w for w in (b"yes-2", b"no-2") if w in self.c.get(f"/vms/{vm['id']}/console", offset=start).body), None), "a ping", 60, 0.3)
        self.assertEqual(wanted, answer.decode().partition("-")[0], f"(plain, tunnel) {self.seen()}")

    def keys(self):
        return self.box.sh("cat /run/host.key /run/world.pub").split()

    @limit(500)
    def test_managed_then_existing(self):
        vm = self.linux("wired")
        self.guest_up(vm)
        self.ping(vm, "yes")
        self.assertEqual((1, 0), self.seen(), "the counters do not count")

        private, public = self.keys()
        config = f"""
            [Interface]
            PrivateKey = {private}
            Address = 10.77.0.2/24
            [Peer]
            PublicKey = {public}
            Endpoint = 198.51.100.1:51820
            AllowedIPs = 0.0.0.0/0
            PersistentKeepalive = 5
            """
        tunnel = self.ok(self.c.put("/network/wireguard", {"config": config}, wait=60), 200, 201)
        self.assertEqual(("up", "kernel", "svwg0"), (tunnel["state"], tunnel["backend"], tunnel["interface_name"]))
        self.assertEqual("wireguard", self.box.json("ip -j -d link show svwg0")[0]["linkinfo"]["info_kind"])
        self.ping(vm, "yes")
        plain, through = self.seen()
        self.assertEqual((1, True), (plain, through >= 1))
        peer = self.c.json("/network/wireguard")["peers"][0]
        self.assertLess(peer["handshake_age_s"], 120)
        self.assertGreater(peer["sent_bytes"], 100)
        self.assertEqual("198.51.100.1:51820", peer["current_endpoint"])
        # The host itself goes by its own way.
        self.box.sh("ping -c 1 -W 10 203.0.113.9")
        self.assertEqual(plain + 1, self.seen()[0])
        plain += 1

        # A peer more: the one that is there keeps its session. The other end's view tells.
        handshake = self.box.sh("ip netns exec world wg show wg0 latest-handshakes")
        other = self.box.sh("wg genkey | wg pubkey").strip()
        self.ok(self.c.put("/network/wireguard", {"config": config + f"[Peer]\nPublicKey = {other}\nAllowedIPs = 192.168.77.0/24\n"}, wait=60))
        self.assertEqual(2, len(self.box.sh("wg show svwg0 peers").split()))
        self.ping(vm, "yes")
        self.assertEqual(handshake, self.box.sh("ip netns exec world wg show wg0 latest-handshakes"))

        # The tunnel is lost, again and again, while the guest goes on sending.
        self.type(vm, "(ping 203.0.113.9 > /dev/null &) ; echo flood-$((1 + 1))", "flood-2")
        for damage in ("ip link delete svwg0", "ip link set svwg0 down", "ip route flush table 51820", "ip rule delete priority 5100",
                       "nft flush ruleset", "wg set svwg0 peer $(wg show svwg0 peers | head -n 1) remove"):
            before = self.seen()[1]
            self.box.sh(damage)
            if damage.startswith("wg set"):  # of that the kernel does not tell anybody
                self.ok(self.c.post("/drift/repair", wait=60), 201)
            eventually(lambda: self.seen()[1] > before + 1, f"packets through the tunnel after: {damage}", 60, 0.3)
            self.assertEqual(plain, self.seen()[0], f"packets beside the tunnel after: {damage}")
        # And its other end is gone for good.
        self.box.sh("ip -n world link set wg0 down")
        before = self.seen()[1]
        self.box.sh("sleep 3")
        self.assertEqual((plain, before), self.seen())
        self.box.sh("ip -n world link set wg0 up")
        eventually(lambda: self.seen()[1] > before, "packets through the tunnel", 60, 0.3)

        self.ok(self.c.delete("/network/wireguard", wait=60), 204)
        eventually(lambda: self.seen()[0] > plain, "packets by the plain uplink, since there is no tunnel any more", 60, 0.3)
        self.assertNotIn("svwg0", self.box.sh("ip link"))
        self.assertNotIn("5100:", self.box.sh("ip rule"))

        self.existing(vm, private, public)
        self.act("wired", "kill", wait=60)

    def existing(self, vm, private, public):
        """A tunnel of somebody else's."""
        self.box.sh(f"""set -e
            ip link add mine type wireguard
            wg set mine private-key /run/host.key peer {public} endpoint 198.51.100.1:51820 allowed-ips 0.0.0.0/0
            ip address add 10.77.0.2/24 dev mine
            ip link set mine up""")
        self.ok(self.c.put("/network/wireguard", {"existing_interface": "mine"}, wait=60), 200, 201)
        plain, through = self.seen()
        eventually(lambda: self.seen()[1] > through + 1, "packets through the tunnel", 60, 0.3)
        plain = self.seen()[0]
        self.box.sh("ip link delete mine; sleep 2")
        self.assertEqual(plain, self.seen()[0])
        self.ok(self.c.delete("/network/wireguard", wait=60), 204)
        eventually(lambda: self.seen()[0] > plain, "packets by the plain uplink", 60, 0.3)
