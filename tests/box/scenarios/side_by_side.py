"""Several VMs at once, under both VMMs."""

from case import BoxCase, together
from harness import limit

VMMS = ("firecracker", "qemu", "firecracker", "qemu")


class SideBySide(BoxCase):
    @limit(400)
    def test_firecracker_and_qemu(self):
        self.import_image({"manifest_path": "/usr/share/box/debian-minimal/manifest.json"}, "debian-minimal")
        vms = together(*(lambda n=n, vmm=vmm: self.linux(f"side-{n}", vmm=vmm) for n, vmm in enumerate(VMMS)))
        self.assertEqual([(vmm, "kvm") for vmm in VMMS], [(vm["vmm"]["driver"], vm["vmm"]["accelerator"]) for vm in vms])
        self.assertEqual(len(VMMS), len({vm["network_interfaces"][0]["ip"] for vm in vms}))
        for vm in vms:
            self.guest_up(vm)
            self.answers(vm)
        for one, other in ((0, 1), (1, 2), (2, 0)):
            address = vms[other]["network_interfaces"][0]["ip"]
            self.type(vms[one], f"ping -c 1 -w 2 {address} > /dev/null || echo apart-$(({other} + 10))", f"apart-{other + 10}")
        stopped = together(*(lambda vm=vm: self.act(vm["id"], "stop", {"timeout_seconds": 60}, wait=90) for vm in vms))
        self.assertEqual({("stopped", "graceful")}, {(vm["state"], vm["last_exit"]["tier"]) for vm in stopped})
        for vm in vms:
            self.ok(self.c.delete(f"/vms/{vm['id']}", wait=60), 204)
        self.nothing_left()
