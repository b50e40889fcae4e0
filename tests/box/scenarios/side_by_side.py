"""
Several VMs at once, under both VMMs. One guest is a Linux, under QEMU (main_job has one under Firecracker): with two of them at work at once, the emulated
virtualization hardly gets on.
"""

from case import BoxCase, together
from harness import limit

VMMS = ("firecracker", "qemu")


class SideBySide(BoxCase):
    @limit(400)
    def test_firecracker_and_qemu(self):
        self.import_image({"manifest_path": "/usr/share/box/debian-minimal/manifest.json"}, "debian-minimal")
        self.import_image({"manifest": self.tiny_manifest()}, "tiny")
        made = together(lambda: self.linux("linux", vmm="qemu"),
                        *(lambda vmm=vmm, n=n: self.tiny(f"tiny-{vmm}-{n}", vmm=vmm) for vmm in VMMS for n in range(3)))
        self.assertEqual({(vmm, vmm, "kvm") for vmm in VMMS}, {(vm["vmm"]["requested"], vm["vmm"]["driver"], vm["vmm"]["accelerator"]) for vm in made})
        self.assertEqual(len(made), len({vm["network_interfaces"][0]["ip"] for vm in made}))
        linux, *tiny = made
        for vm in tiny:
            self.await_console(vm["id"], b"tiny: up")
        self.guest_up(linux)
        self.answers(linux)
        stopped = self.act("linux", "stop", {"timeout_seconds": 60}, wait=90)
        self.assertEqual(("stopped", "graceful"), (stopped["state"], stopped["last_exit"]["tier"]))
        for vm in made:
            self.ok(self.c.delete(f"/vms/{vm['id']}", wait=60), 204)
        self.nothing_left()
