"""
What the daemon is asked while it is broken. An action prepares the world with a healthy daemon, makes one request that may fail in any way, and knows
what must hold in the end: what was acknowledged has happened, and asking once more, when the fault is gone, reaches what was wanted.
"""

import json
import os
import socket


class Action:
    name = ""
    first_state = "running"  # of the VM `subject`; None: there is none
    wanted = "running"       # its state in the end; None: it is gone
    wait = 3                 # seconds; None where the request knows no ?wait=

    def prepare(self, world):
        if self.first_state is not None:
            world.create("subject", self.first_state)

    def request(self, world):
        """(method, path, body) of the one request."""
        raise NotImplementedError

    def settled(self, world):
        """What must hold before that."""

    def again(self, world):
        """Asks once more for the same; whatever the first request has done, this must succeed."""
        raise NotImplementedError

    def check(self, world, acknowledged):
        found = world.vm("subject")
        if self.wanted is None:
            assert found is None, f"the VM is still there: {found}"
        else:
            assert found is not None and found["state"] == self.wanted, f"not {self.wanted}: {found}"


class VmCreate(Action):
    name, first_state = "vm_create", None

    def request(self, world):
        return "POST", "/vms", world.body("subject")

    def settled(self, world):
        vm = world.vm("subject")
        assert vm is None or vm["state"] != "stopped" or vm["last_exit"] is not None, f"a start that failed does not say so: {vm}"

    def again(self, world):
        if world.vm("subject") is None:
            world.ok(world.client.post("/vms", world.body("subject"), wait=15), 201)
        elif world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        assert not acknowledged or world.was_there, "the create was acknowledged, and the VM was lost"


class VmAction(Action):
    action = ""

    def request(self, world):
        return "POST", f"/vms/subject/{self.action}", None

    def again(self, world):
        if world.vm("subject")["state"] != self.wanted:
            self.force(world)

    def force(self, world):
        world.ok(world.client.post(f"/vms/subject/{self.action}", wait=15), 200)


class VmStart(VmAction):
    name, action, first_state = "vm_start", "start", "stopped"


class VmStartMoved(VmStart):
    """The subnet was changed since the VM got its address: its start gives it another one."""

    name = "vm_start_moved"
    subnet = "10.222.0.0/24"

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.patch("/network", {"subnet": self.subnet}, wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        address = world.vm("subject")["network_interfaces"][0]["ip"]
        assert address.startswith("10.222.0."), address
        world.check_host()
        world.ok(world.client.delete("/vms/subject", wait=15), 204)
        world.ok(world.client.patch("/network", {"subnet": None}, wait=15), 200)


class VmStop(VmAction):
    name, action, wanted = "vm_stop", "stop", "stopped"


class VmKill(VmAction):
    name, action, wanted = "vm_kill", "kill", "stopped"


class VmPause(VmAction):
    name, action, wanted = "vm_pause", "pause", "paused"

    def force(self, world):
        if world.vm("subject")["state"] in ("failed", "stopped"):
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        super().force(world)


class VmResume(VmAction):
    name, action, first_state = "vm_resume", "resume", "paused"

    def force(self, world):
        action = "start" if world.vm("subject")["state"] in ("failed", "stopped") else "resume"
        world.ok(world.client.post(f"/vms/subject/{action}", wait=15), 200)


class VmReboot(VmAction):
    """An answer that says that it is done comes from another process."""

    name, action = "vm_reboot", "reboot"

    def prepare(self, world):
        super().prepare(world)
        self.before = world.vm("subject")["vmm"]["pid"]

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        if acknowledged and world.reply.status == 200:
            assert world.reply.json["vmm"]["pid"] != self.before, f"the reboot was said to be done before it was: {world.reply!r}"

    def force(self, world):
        world.ok(world.client.post("/vms/subject/start", wait=15), 200)


class VmDelete(Action):
    name, wanted = "vm_delete", None

    def request(self, world):
        return "DELETE", "/vms/subject", None

    def again(self, world):
        world.ok(world.client.delete("/vms/subject", wait=15), 204, 404)


class VmDeleteStopped(VmDelete):
    name, first_state = "vm_delete_stopped", "stopped"


class ImageImport(Action):
    name, first_state = "image_import", None

    # An archive of nothing (cpio, newc).
    INITRD = b"070701" + b"%08x" * 13 % (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0) + b"TRAILER!!!" + bytes(4)

    def request(self, world):
        initrd = world.daemon.images / "nothing.cpio"
        initrd.write_bytes(self.INITRD)
        return "POST", "/images", {"manifest": {**world.daemon.tiny_manifest("imported", read_only=False), "initrd": {"path": str(initrd)}}}

    def again(self, world):
        reply = world.client.get("/images/imported")
        if reply.status == 200 and reply.json["state"] != "ready":
            world.ok(world.client.delete("/images/imported", wait=15), 204)
            reply = world.client.get("/images/imported")
        if reply.status == 404:
            world.ok(world.client.post("/images", self.request(world)[2], wait=15), 201)

    def check(self, world, acknowledged):
        assert world.client.json("/images/imported")["state"] == "ready"
        world.ok(world.client.delete("/images/imported", wait=15), 204)


class ImageDelete(Action):
    name, first_state = "image_delete", None

    def prepare(self, world):
        # Of other bytes than every other image, so that its files go with it.
        world.add_image("doomed")

    def request(self, world):
        return "DELETE", "/images/doomed", None

    def again(self, world):
        world.ok(world.client.delete("/images/doomed", wait=15), 204, 404)

    def check(self, world, acknowledged):
        assert world.client.get("/images/doomed").status == 404


class GuestEnds(Action):
    """A guest that ends by itself."""

    name, first_state, wanted = "guest_ends", None, "stopped"

    def request(self, world):
        return "POST", "/vms", {**world.body("subject"), "boot_args": "tiny=reset"}

    def again(self, world):
        if world.vm("subject") is None:
            world.ok(world.client.post("/vms", self.request(world)[2], wait=15), 201)
        elif world.vm("subject")["state"] == "failed":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.await_vm_state("subject", "stopped")


class HostAction(Action):
    """Something happens on the host, and the daemon has to follow: request() does it, and is not a request."""

    def request(self, world):
        return lambda: self.disturb(world)

    def disturb(self, world):
        raise NotImplementedError

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)

    def check(self, world, acknowledged):
        world.await_vm_state("subject", "running")
        world.await_network()


class Restarts(HostAction):
    """A VM ends, and is started again."""

    def again(self, world):
        """After a pause, so that it may well be `starting`."""
        if world.vm("subject")["state"] in ("stopped", "failed"):
            super().again(world)


class GuestReboots(Restarts):
    """A guest that reboots: the daemon boots it again, with the drive that it had."""

    name = "guest_reboots"

    def prepare(self, world):
        world.create("subject", "running", boot_args="tiny=ctrlaltdel:reboot")
        self.before = world.vm("subject")["vmm"]["pid"]
        world.await_that(lambda: b"waiting" in world.client.get("/vms/subject/console").body, "a guest that listens")

    def disturb(self, world):
        from host import is_alive  # its directory is known by now: world.py

        path = f"/proc/{self.before}/root/api.sock"
        body = '{"action_type": "SendCtrlAltDel"}'
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            sock.sendall(f"PUT /actions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            sock.recv(4096)
        world.await_that(lambda: not is_alive(self.before), "the end of the VMM")

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        vm = world.vm("subject")
        assert vm["vmm"]["pid"] != self.before, vm
        assert vm["restart_count"] != 1 or vm["last_exit"]["reason"] == "guest_reboot", vm["last_exit"]


class VmmDies(Restarts):
    """A VMM is killed by somebody, and its VM is to be started again then."""

    name = "vmm_dies"

    def prepare(self, world):
        world.create("subject", "running", restart_policy="on-failure")
        self.before = world.vm("subject")["vmm"]["pid"]

    def disturb(self, world):
        os.kill(self.before, 9)

    def settled(self, world):
        """Until its end is noted, it rests as before."""
        world.await_pid_other_than(self.before)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        vm = world.vm("subject")
        assert vm["vmm"]["pid"] != self.before and vm["restart_count"] > 0, vm


class NetworkUp(HostAction):
    """Everything of the network is gone, and the daemon comes up."""

    name = "network_up"

    def disturb(self, world):
        world.stop()
        world.daemon.netns.ip("link", "delete", world.daemon.bridge, check=False)
        world.daemon.netns.run("nft", "flush", "ruleset")
        world.daemon.spawn()


class Orphans(HostAction):
    """A TAP and an element that belong to no VM are there when the daemon comes up."""

    name = "orphans"

    def disturb(self, world):
        world.stop()
        daemon, tap = world.daemon, world.daemon.tap_prefix + "99"
        daemon.netns.ip("tuntap", "add", tap, "mode", "tap", check=False)
        daemon.netns.ip("link", "set", tap, "alias", f"{daemon.mark}:gone", check=False)
        daemon.netns.run("nft", "add", "element", "bridge", daemon.mark, "guest4", f"{{ {tap} . 02:00:00:00:00:99 . 10.100.0.99 }}", check=False)
        daemon.spawn()


class Drift(HostAction):
    """Somebody changes what is ours while the daemon runs."""

    name = "drift"

    def prepare(self, world):
        world.create("subject", "running", ports=Ports.body["ports"], firewall=PolicyChange.policy)

    def disturb(self, world):
        daemon = world.daemon
        netns = daemon.netns
        netns.run("nft", "flush", "set", "bridge", daemon.mark, "guest4", check=False)
        netns.run("nft", "flush", "map", "inet", daemon.mark, "ports_tcp", check=False)
        for chain in ("host_egress", *(e["chain"]["name"] for e in netns.ruleset() if e.get("chain", {}).get("name", "").startswith("vm_"))):
            netns.run("nft", "flush", "chain", "inet", daemon.mark, chain, check=False)
        netns.run("sysctl", "-qw", f"net.ipv4.conf.{daemon.bridge}.route_localnet=0", check=False)
        netns.run("tc", "qdisc", "del", "dev", daemon.bridge, "clsact", check=False)
        netns.ip("rule", "del", "pref", "64", "iif", "lo", check=False)
        netns.ip("-6", "address", "flush", "dev", daemon.bridge, "scope", "global", check=False)
        netns.run("sysctl", "-qw", f"net.ipv6.conf.{daemon.bridge}.force_forwarding=0", check=False)
        netns.run("sysctl", "-qw", f"net.ipv6.conf.{daemon.bridge}.forwarding=0", check=False)
        netns.ip("link", "set", daemon.bridge, "down")
        netns.run("sysctl", "-qw", f"net.ipv4.conf.{daemon.bridge}.forwarding=0")


class MarkTaken(HostAction):
    """
    Somebody takes our mark off the bridge. A daemon that saw it knows the link by its number and gives the mark back; one that was not there, or died in
    between, finds a foreign bridge, leaves it alone and says so, until it is gone.
    """

    name = "mark_taken"

    def disturb(self, world):
        world.daemon.netns.ip("link", "set", world.daemon.bridge, "alias", "mine")

    def again(self, world):
        world.pause(0.3)
        if world.daemon.netns.links().get(world.daemon.bridge, {}).get("alias") == "mine":
            world.daemon.netns.ip("link", "delete", world.daemon.bridge)
        world.await_bridge()
        super().again(world)


class UplinkMoves(HostAction):
    """The default route goes to another interface, and back."""

    name = "uplink_moves"

    def disturb(self, world):
        netns = world.daemon.netns
        if "up2" not in netns.links():
            netns.add_link("up2", "203.0.113.2/24")
        netns.ip("route", "replace", "default", "via", "203.0.113.1")
        world.pause(0.3)
        netns.ip("route", "replace", "default", "via", "198.51.100.1")


class PolicyChange(Action):
    """A policy of the VM, named set and all; in the end it is in force."""

    name = "policy_change"
    policy = {"egress": {"default_action": "deny", "rules": [{"action": "allow", "to": "203.0.113.0/24", "protocol": "tcp", "ports": [443]}]}}

    def request(self, world):
        return "PUT", "/vms/subject/firewall", self.policy

    def again(self, world):
        world.ok(world.client.put("/vms/subject/firewall", self.policy, wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_applied("/vms/subject/firewall")
        chains = [entry["chain"]["name"] for entry in world.daemon.netns.ruleset() if "chain" in entry]
        assert [name for name in chains if name.startswith("vm_") and name.endswith("_egress")], chains


class PolicyPatch(PolicyChange):
    """One direction of a policy that is in force."""

    name = "policy_patch"

    def prepare(self, world):
        world.create("subject", "running", firewall=self.policy)

    def request(self, world):
        return "PATCH", "/vms/subject/firewall", {"ingress": {"default_action": "allow"}}

    def again(self, world):
        world.ok(world.client.patch("/vms/subject/firewall", self.request(world)[2], wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        policy = world.client.json("/vms/subject/firewall")
        assert (policy["egress"]["default_action"], policy["ingress"]["default_action"]) == ("deny", "allow"), policy


class PolicyRemove(PolicyPatch):
    """The VM's own policy goes, and its chains with it."""

    name = "policy_remove"

    def request(self, world):
        return "DELETE", "/vms/subject/firewall", None

    def again(self, world):
        world.ok(world.client.delete("/vms/subject/firewall", wait=15), 200)

    def check(self, world, acknowledged):
        Action.check(self, world, acknowledged)
        world.await_applied("/vms/subject/firewall")
        chains = [entry["chain"]["name"] for entry in world.daemon.netns.ruleset() if "chain" in entry]
        assert not [name for name in chains if name.startswith("vm_")], chains


class PolicyDrift(HostAction):
    """Somebody empties the chains of a policy, and nothing else."""

    name = "policy_drift"

    def prepare(self, world):
        world.create("subject", "running", firewall=PolicyChange.policy)
        world.await_applied("/vms/subject/firewall")  # until then nobody judges

    def rules(self, world):
        return [e["rule"]["chain"] for e in world.daemon.netns.ruleset() if e.get("rule", {}).get("chain", "").startswith("vm_")]

    def disturb(self, world):
        self.before = self.rules(world)
        for chain in set(self.before):
            world.daemon.netns.run("nft", "flush", "chain", "inet", world.daemon.mark, chain, check=False)
        world.pause(0.3)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_that(lambda: sorted(self.rules(world)) == sorted(self.before), "the rules of the policy")


class HostPolicy(Action):
    """The host-wide policy, with one VM that runs."""

    name = "host_policy"
    wanted_action = "deny"

    def request(self, world):
        return "PUT", "/firewall", {"egress": {"default_action": "deny"}}

    def again(self, world):
        world.ok(world.client.put("/firewall", self.request(world)[2], wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_applied("/firewall")
        policy = world.client.json("/firewall")
        assert policy["egress"]["default_action"] == self.wanted_action and policy["confirm_until"] is None, policy
        rules = [json.dumps(e["rule"]["expr"]) for e in world.daemon.netns.ruleset() if e.get("rule", {}).get("chain") == "host_egress"]
        assert ('"drop"' in rules[-1]) == (self.wanted_action == "deny"), rules


class HostPolicyPatch(HostPolicy):
    name = "host_policy_patch"

    def request(self, world):
        return "PATCH", "/firewall", {"egress": {"default_action": "deny"}}

    def again(self, world):
        world.ok(world.client.patch("/firewall", self.request(world)[2], wait=15), 200)


class HostPolicyConfirm(HostPolicy):
    """A change that waits for its confirmation gets it, and stays."""

    name, wait = "host_policy_confirm", None

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/firewall", {"egress": {"default_action": "deny"}}, wait=15, confirm_within=300), 200)

    def request(self, world):
        return "POST", "/firewall/confirm", None

    def again(self, world):
        world.ok(world.client.post("/firewall/confirm"), 200, 409)  # 409: nothing waits any more


class HostPolicyRollBack(HostPolicy, HostAction):
    """Nobody confirms a change: it goes back, whatever dies meanwhile."""

    name = "host_policy_roll_back"
    wanted_action = "allow"

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/firewall", {"egress": {"default_action": "deny"}}, wait=15, confirm_within=1), 200)

    request = HostAction.request

    def disturb(self, world):
        world.pause(1.3)

    def again(self, world):
        HostAction.again(self, world)
        world.await_that(lambda: world.client.json("/firewall")["confirm_until"] is None, "the policy from before")


class AddressSet(Action):
    """Another content of a set that a policy names."""

    name = "address_set"
    addresses = ["192.0.2.0/24", "203.0.113.7/32"]

    def prepare(self, world):
        world.ok(world.client.put("/firewall/sets/some", {"addresses": ["198.51.100.0/24"]}, wait=15), 200)
        world.create("subject", "running", firewall={"egress": {"rules": [{"action": "deny", "to": "@some"}]}})

    def request(self, world):
        return "PUT", "/firewall/sets/some", {"addresses": self.addresses}

    def again(self, world):
        world.ok(world.client.put("/firewall/sets/some", {"addresses": self.addresses}, wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_applied("/firewall/sets/some")
        assert world.client.json("/firewall/sets/some")["addresses"] == self.addresses
        elements = [json.dumps(e["set"].get("elem", [])) for e in world.daemon.netns.ruleset() if "some" in e.get("set", {}).get("name", "")]
        assert any("192.0.2.0" in text and "198.51.100.0" not in text for text in elements), elements


class AddressSetDelete(Action):
    """A set that no policy names."""

    name, wait = "address_set_delete", None

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/firewall/sets/some", {"addresses": ["198.51.100.0/24"]}, wait=15), 200)

    def request(self, world):
        return "DELETE", "/firewall/sets/some", None

    def again(self, world):
        world.ok(world.client.delete("/firewall/sets/some"), 204, 404)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        assert world.client.get("/firewall/sets/some").status == 404
        world.await_that(lambda: not [e for e in world.daemon.netns.ruleset() if "some" in e.get("set", {}).get("name", "")], "the end of the set")


class EventsTrim(VmAction):
    """A stop whose events push the oldest ones out of the store."""

    name, action, wanted = "events_trim", "kill", "stopped"

    def prepare(self, world):
        super().prepare(world)
        world.skip_events()

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.last_event = None  # the numbers that follow are known, the events before are gone
        assert world.events()[0]["event"] == "events.lost", world.events()[:2]


class Ports(Action):
    """A port of the host is published, and freed with the VM."""

    name = "ports"
    body = {"ports": [{"host_port": 8080, "guest_port": 80, "protocol": "tcp"}]}

    def request(self, world):
        return "PATCH", "/vms/subject", self.body

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.ok(world.client.patch("/vms/subject", self.body, wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_network()
        assert world.daemon.netns.set_elements(world.daemon.mark, "ports_tcp") is not None or "8080" in world.daemon.netns.run("nft", "list", "ruleset")


class Resize(Action):
    """A VM that runs becomes smaller, and gets limits: those at once, the other with its next boot, and what it had stays reserved until then."""

    name = "vm_resize"
    body = {"machine_config": {"mem_size_mib": 24}, "limits": {"cpu_percent": 50, "cpu_weight": 7, "io": {"write_bytes_per_s": 1 << 20}}}

    def request(self, world):
        return "PATCH", "/vms/subject", self.body

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.ok(world.client.patch("/vms/subject", self.body, wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        found = world.vm("subject")
        assert (found["machine_config"]["mem_size_mib"], found["limits"]["cpu_percent"], found["limits"]["cpu_weight"]) == (24, 50, 7), found
        world.check_host()
        world.ok(world.client.post("/vms/subject/reboot", wait=15), 200)  # and what is reserved now is looked at like all of the host


class NetworkPatch(Action):
    name = "network_patch"

    def request(self, world):
        return "PATCH", "/network", {"masquerade": False, "lease_quarantine_s": 1}

    def again(self, world):
        world.ok(world.client.patch("/network", {"masquerade": False, "lease_quarantine_s": 0}, wait=15), 200)
        world.ok(world.client.patch("/network", {"masquerade": None, "lease_quarantine_s": None}, wait=15), 200)

    def check(self, world, acknowledged):
        world.await_vm_state("subject", "running")
        world.await_network()


class WireguardUp(Action):
    """A managed tunnel; whatever fails, nothing is left beside the one that is wanted."""

    name = "wireguard_up"

    @staticmethod
    def tunnel(letter="f"):
        """Sockets of tunnels have the same names in every namespace, and several processes do this."""
        return f"w{letter}{os.getpid()}"

    @classmethod
    def body(cls, **extra):
        return {"interface": {"private_key": "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "addresses": ["10.77.0.2/24"]},
                "peers": [{"public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "allowed_ips": ["0.0.0.0/0"], "endpoint": "198.51.100.1:51820"}],
                "interface_name": cls.tunnel(), **extra}

    def request(self, world):
        return "PUT", "/network/wireguard", self.body()

    def settled(self, world):
        """A tunnel needs the network, whose own work may have failed, too."""
        world.await_network()

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.ok(world.client.put("/network/wireguard", self.body(), wait=15), 200)

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_tunnel(self.tunnel())


class WireguardDown(WireguardUp):
    name = "wireguard_down"

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/network/wireguard", self.body(), wait=15), 200)

    def request(self, world):
        return "DELETE", "/network/wireguard", None

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.ok(world.client.delete("/network/wireguard", wait=15), 204, 404)

    def check(self, world, acknowledged):
        Action.check(self, world, acknowledged)
        world.await_no_tunnel()


class WireguardMoves(WireguardUp):
    """Another tunnel and another table: what was before goes."""

    name = "wireguard_moves"

    def moved(self):
        return self.body(interface_name=self.tunnel("g"), route_table=4711)

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/network/wireguard", self.body(), wait=15), 200)

    def request(self, world):
        return "PUT", "/network/wireguard", self.moved()

    def again(self, world):
        if world.vm("subject")["state"] != "running":
            world.ok(world.client.post("/vms/subject/start", wait=15), 200)
        world.ok(world.client.put("/network/wireguard", self.moved(), wait=15), 200)

    def check(self, world, acknowledged):
        Action.check(self, world, acknowledged)
        world.await_tunnel(self.tunnel("g"), 4711)


class WireguardDrift(HostAction):
    """Somebody changes the tunnel, its table and its rule."""

    name = "wireguard_drift"

    def prepare(self, world):
        super().prepare(world)
        world.ok(world.client.put("/network/wireguard", WireguardUp.body(), wait=15), 200)

    def disturb(self, world):
        ip, tunnel = world.daemon.netns.ip, WireguardUp.tunnel()
        ip("link", "set", tunnel, "alias", "mine", check=False)
        ip("address", "flush", "dev", tunnel, check=False)
        ip("route", "flush", "table", "51820", check=False)
        ip("rule", "del", "priority", "5100", check=False)
        world.pause(0.2)
        ip("link", "del", tunnel, check=False)
        world.pause(0.8)  # a fault in the repair shall strike before it is looked whether the daemon runs

    def check(self, world, acknowledged):
        super().check(world, acknowledged)
        world.await_tunnel(WireguardUp.tunnel())


class Repair(HostAction):
    """A repair that is asked for."""

    name = "repair"

    def disturb(self, world):
        world.daemon.netns.run("nft", "delete", "table", "inet", world.daemon.mark, check=False)
        try:
            world.client.post("/drift/repair", wait=3, timeout=8)
        except Exception:  # noqa: BLE001: it may die
            pass


ACTIONS = [kind() for kind in (VmCreate, VmStart, VmStartMoved, VmStop, VmKill, VmPause, VmResume, VmReboot, VmDelete, VmDeleteStopped, Resize,
                               GuestEnds, GuestReboots, VmmDies, ImageImport, ImageDelete, NetworkUp, Orphans, Drift, MarkTaken, UplinkMoves, PolicyChange, PolicyPatch, PolicyRemove, PolicyDrift,
                               HostPolicy, HostPolicyPatch, HostPolicyConfirm, HostPolicyRollBack, AddressSet, AddressSetDelete, EventsTrim, Ports, NetworkPatch, Repair,
                               WireguardUp, WireguardDown, WireguardMoves, WireguardDrift)]
