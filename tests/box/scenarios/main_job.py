"""The main job: a Linux guest under the real Firecracker with KVM, from the image to the end."""

import json

from case import BUNDLE, WAIT_S, BoxCase
from harness import limit


class MainJob(BoxCase):
    @limit(300)
    def test_a_life_under_firecracker(self):
        host = self.await_host(lambda: (h := self.c.json("/host"))["kvm"]["usable"] is not None and h, "the measured KVM")
        self.assertTrue(host["kvm"]["usable"], host["kvm"])
        self.assertEqual(("firecracker", "kvm"), (host["auto"]["driver"], host["auto"]["accelerator"]))

        image = self.ok(self.c.post("/images", {"manifest_path": BUNDLE}, wait=WAIT_S), 201)
        self.assertEqual("ready", image["state"])
        vm = self.linux("main")
        self.assertEqual(("auto", "firecracker", "kvm"), tuple(vm["vmm"][k] for k in ("requested", "driver", "accelerator")))
        self.assertIn("auto: KVM runs a guest", vm["vmm"]["reason"])
        command = self.box.sh(f"tr '\\0' ' ' < /proc/{vm['vmm']['pid']}/cmdline")
        self.assertRegex(command, r"^\S*firecracker --id main ")

        # In its jail, with limits that were in force before its first instruction, as everything is required that this host can.
        status = dict(line.split(":\t", 1) for line in self.box.sh(f"cat /proc/{vm['vmm']['pid']}/status").splitlines() if ":\t" in line)
        self.assertIs(True, vm["vmm"]["jailed"])
        self.assertEqual([str(vm["vmm"]["uid"])] * 4, status["Uid"].split())
        self.assertEqual(("0" * 16, "1", "2"), tuple(status[name].strip() for name in ("CapEff", "NoNewPrivs", "Seccomp")))
        self.assertIn("kernel", self.box.sh(f"ls /proc/{vm['vmm']['pid']}/root/").split())
        for part in (host["containment"]["limits"], *host["containment"]["jail"].values()):
            self.assertEqual({"in_force": True, "required": True, "reason": None}, part)

        # What the guest prints and what the daemon reports agree.
        self.guest_up(vm)
        address = vm["network_interfaces"][0]["ip"]
        self.await_console("main", f"smartvm-guest: up id=main ip={address}".encode())
        self.type(vm, "cat /sys/class/net/eth0/address | tr a-f A-F", vm["network_interfaces"][0]["mac"].upper())
        self.type(vm, "grep -c ^processor /proc/cpuinfo | sed s/^/cpus-/", f"cpus-{vm['machine_config']['vcpu_count']}")
        self.answers(vm)
        self.type(vm, "ping -c 1 -w 20 192.0.2.1 > /dev/null && echo out-$((1 + 1))", "out-2", 60)

        self.assertEqual("paused", self.act("main", "pause", wait=WAIT_S)["state"])
        self.assertEqual("", self.page(vm, 2))
        self.assertEqual("running", self.act("main", "resume", wait=WAIT_S)["state"])
        self.answers(vm)

        stopped = self.act("main", "stop", {"timeout_seconds": 60}, wait=90)
        self.assertEqual(("stopped", "graceful"), (stopped["state"], stopped["last_exit"]["tier"]), json.dumps(stopped))
        self.await_console("main", b"smartvm-guest: down")
        self.assertEqual("", self.page(vm, 1))
        self.ok(self.c.delete("/vms/main", wait=WAIT_S), 204)
        self.nothing_left()
