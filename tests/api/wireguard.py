"""The far end of a tunnel: a real wireguard-go in the namespace that is the outside, with an address of "the internet" behind it."""

import itertools
import os
import subprocess

from host import eventually, kill, run

_numbers = itertools.count(1)
INTERNET = "203.0.113.7"  # behind the tunnel, and nowhere else


def new_name(letter):
    """UAPI sockets have the same names in every namespace, so no two tunnels have one name."""
    return f"{letter}{next(_numbers)}p{os.getpid()}"[:15]


def new_key():
    private = run("wg", "genkey").strip()
    return private, run("wg", "pubkey", input=private + "\n").strip()


class Peer:
    """
    Listens at 198.51.100.1:`port` in `netns.world`; inside of the tunnel it is 10.77.0.1, with 203.0.113.7 behind it. `allow` adds who may come.
    """

    def __init__(self, netns, port=51820, mtu=1420):
        self.netns, self.port, self.name = netns, port, new_name("wp")
        self.private, self.public = new_key()
        self.process = None
        self.mtu = mtu
        self.allowed = {}
        self.start()

    def inside(self, *argv, **kw):
        return run("nsenter", f"--net=/run/netns/{self.netns.world}", "--", *argv, **kw)

    def start(self):
        self.process = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns.world}", "--", "wireguard-go", "-f", self.name],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: os.path.exists(f"/var/run/wireguard/{self.name}.sock"), "the peer's socket")
        self.wg("private-key", "/dev/stdin", "listen-port", str(self.port), input=self.private + "\n")
        ip = ["ip", "-n", self.netns.world]
        run(*ip, "address", "add", "10.77.0.1/24", "dev", self.name)
        run(*ip, "address", "replace", f"{INTERNET}/32", "dev", "lo")
        run(*ip, "link", "set", self.name, "mtu", str(self.mtu), "up")
        for public, address in self.allowed.items():
            self.allow(public, address)

    def wg(self, *settings, **kw):
        return self.inside("wg", "set", self.name, *settings, **kw)

    def allow(self, public, address="10.77.0.2", preshared=None):
        self.allowed[public] = address
        key = ("preshared-key", "/dev/stdin") if preshared else ()
        self.wg("peer", public, *key, "allowed-ips", f"{address}/32", input=(preshared or "") + "\n")

    def latest_handshake(self, public):
        for line in self.inside("wg", "show", self.name, "latest-handshakes").splitlines():
            key, at = line.split()
            if key == public:
                return int(at)
        return 0

    def stop(self):
        if self.process is not None:
            kill(self.process.pid, 9)
            self.process.wait()
            self.process = None
            try:
                os.unlink(f"/var/run/wireguard/{self.name}.sock")
            except FileNotFoundError:
                pass


def config_text(private, peer, address="10.77.0.2/24", allowed="0.0.0.0/0", more=""):
    return (f"[Interface]\nPrivateKey = {private}\nAddress = {address}\n\n"
            f"[Peer]\nPublicKey = {peer.public}\nEndpoint = 198.51.100.1:{peer.port}\nAllowedIPs = {allowed}\n{more}")
