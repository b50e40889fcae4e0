"""A full disk, and a full tmpfs: requests are refused in words, what runs goes on, and with room again all is as before."""

from case import BoxCase, TINY
from harness import limit


class Full(BoxCase):
    @limit(200)
    def test_a_full_disk(self):
        runs = self.tiny("goes-on")
        self.box.sh("sync; dd if=/dev/zero of=/var/fill bs=1M 2> /dev/null; dd if=/dev/zero of=/var/fill2 bs=4k 2> /dev/null; true")
        self.addCleanup(self.box.sh, "rm -f /var/fill /var/fill2")
        refused = acknowledged = 0
        for n in range(400):
            reply = self.c.post("/vms", self.body(f"full-{n}", desired_state="stopped", labels={"filler": "x" * 200}))
            if reply.status >= 300:
                self.assertIn("full", self.refused(reply, 503, "DATABASE")["detail"])
                refused += 1
                if refused == 3:
                    break
            else:
                acknowledged += 1
        self.assertEqual(3, refused, f"{acknowledged} acknowledged")
        self.assertEqual(runs["vmm"]["pid"], self.vm("goes-on")["vmm"]["pid"])
        self.assertEqual(200, self.c.get("/healthz").status)
        self.assertEqual(acknowledged, len([vm for vm in self.c.items("/vms") if vm["id"].startswith("full-")]))

        self.box.sh("rm -f /var/fill /var/fill2")
        self.ok(self.c.post("/vms", self.body("after", desired_state="stopped")), 201)
        for vm in self.c.items("/vms"):
            self.ok(self.c.delete(f"/vms/{vm['id']}", wait=60), 204)
        self.assertEqual("ok", self.box.sh("sqlite3 /var/lib/smartvm/db/smartvm.db 'PRAGMA integrity_check'").strip())
        self.nothing_left()

    @limit(120)
    def test_a_full_tmpfs(self):
        self.import_image({"manifest": {**TINY, "bundle_id": "writable", "rootfs_is_read_only": False}}, "writable")
        self.box.sh("mount -o remount,size=16k /dev/shm")
        self.addCleanup(self.box.sh, "mount -o remount,size=50% /dev/shm")
        self.addCleanup(self.forget, "squeezed")
        problem = self.refused(self.c.post("/vms", self.body("squeezed", image="writable"), wait=60), 507, "INSUFFICIENT_STORAGE")
        self.assertEqual(("failed", "INSUFFICIENT_STORAGE"), (problem["resource"]["state"], problem["resource"]["error"]["code"]))
        self.assertEqual([], [name for name in self.leftovers() if name != "squeezed"])  # its console stays to be read
        self.box.sh("mount -o remount,size=50% /dev/shm")
        self.assertEqual("running", self.act("squeezed", "start", wait=60)["state"])
        self.ok(self.c.delete("/vms/squeezed", wait=60), 204)
        self.nothing_left()
