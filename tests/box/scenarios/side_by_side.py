"""Several VMs at once, under both VMMs: Linux guests, and tiny ones beside them."""

from case import BoxCase, together
from harness import limit

VMMS = ("firecracker", "qemu")


class SideBySide(BoxCase):
    @limit(400)
    def test_firecracker_and_qemu(self):
        self.import_image({"manifest_path": "/usr/share/box/debian-minimal/manifest.json"}, "debian-minimal")
        self.import_image({"manifest": self.tiny_manifest()}, "tiny")
        made = together(*(lambda vmm=vmm: self.linux(f"linux-{vmm}", vmm=vmm) for vmm in VMMS),
                        *(lambda vmm=vmm, n=n: self.tiny(f"tiny-{vmm}-{n}", vmm=vmm) for vmm in VMMS for n in range(3)))
        self.assertEqual({(vmm, vmm, "kvm") for vmm in VMMS}, {(vm["vmm"]["requested"], vm["vmm"]["driver"], vm["vmm"]["accelerator"]) for vm in made})
        self.assertEqual(len(made), len({vm["network_interfaces"][0]["ip"] for vm in made}))
        linux = made[: len(VMMS)]
        for vm in linux:
            self.guest_up(vm)
            self.answers(vm)
        for vm in made[len(VMMS) :]:
            self.await_console(vm["id"], b"tiny: up")
        for one, other in (linux, reversed(linux)):
            self.type(one, f"ping -c 1 -w 2 {other['network_interfaces'][0]['ip']} > /dev/null || echo apart-$((1 + 1))", "apart-2")
        stopped = together(*(lambda vm=vm: self.act(vm["id"], "stop", {"timeout_seconds": 60}, wait=90) for vm in linux))
        self.assertEqual({("stopped", "graceful")}, {(vm["state"], vm["last_exit"]["tier"]) for vm in stopped})
        for vm in made:
            self.ok(self.c.delete(f"/vms/{vm['id']}", wait=60), 204)
        self.nothing_left()
