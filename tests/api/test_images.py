"""Images: import from inline manifests and files, digests, roots, the content-addressed store, removal."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import disks
from harness import OwnDaemonCase, ThemeCase, eventually, limit, run


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class ImagesTest(ThemeCase):
    def setUp(self):
        self.bundle = self.new_id()
        self.manifest = self.daemon.tiny_manifest(self.bundle)
        self.addCleanup(lambda: self.c.delete(f"/images/{self.bundle}", wait=10))

    def add(self, manifest=None, wait=20, **kw):
        return self.c.post("/images", {"manifest": manifest or self.manifest}, wait=wait, **kw)

    def failed(self, reply, code):
        """An import can be refused at once, or fail as a task: the code is the same."""
        if reply.status >= 400 and reply.json["resource"] is not None:
            image = self.ended(reply, code)
            self.assertEqual(("failed", code, reply.json["detail"]), (image["state"], image["error"]["code"], image["error"]["message"]))
            return image["error"]["message"]
        self.refused(reply, 400, code)
        return reply.json["detail"]

    def stored(self):
        return set(os.listdir(Path(self.daemon.config["state_dir"]) / "images" / "sha256"))

    def test_inline(self):
        image = self.ok(self.add(self.manifest | {"name": "Tiny", "boot_args": "quiet", "firecracker_version": "1.12.1"}), 201)
        self.assertEqual((self.bundle, "ready", "Tiny", "quiet"), tuple(image[k] for k in ("id", "state", "name", "boot_args")))
        self.assertEqual(("x86_64", "ext4", True), tuple(image[k] for k in ("arch", "rootfs_type", "rootfs_is_read_only")))
        for part in ("kernel", "rootfs"):
            source = self.manifest[part]["path"]
            self.assertEqual(sha256(source), image[part]["sha256"])
            self.assertEqual(os.path.getsize(source), image[part]["size_bytes"])
            self.assertEqual(source, image[part]["source_path"])
            self.assertIn(image[part]["sha256"], self.stored())
        self.assertEqual(image["progress"]["bytes_total"], image["progress"]["bytes_done"])
        self.assertGreater(image["progress"]["bytes_total"], 0)
        reply = self.c.get(f"/images/{self.bundle}")
        self.assertEqual(image, reply.json)

    def test_the_reply_names_the_resource(self):
        reply = self.add()
        self.assertEqual(f"/images/{self.bundle}", reply.headers["Location"])
        self.assertEqual(reply.etag, self.c.get(f"/images/{self.bundle}").etag)

    def test_camel_case_means_the_same(self):
        squashfs = self.daemon.images / "camel.squashfs"
        squashfs.write_bytes(disks.squashfs())
        camel = {
            "schemaVersion": 1, "bundleId": self.bundle, "rootfsIsReadOnly": True, "bootArgs": "a=b", "rootfsType": "squashfs",
            "kernel": {"path": self.manifest["kernel"]["path"], "fileName": "vmlinux", "sizeBytes": os.path.getsize(self.manifest["kernel"]["path"])},
            "rootfs": {"path": str(squashfs)},
        }
        image = self.ok(self.add(camel), 201)
        self.assertEqual(("ready", "a=b", "squashfs", "vmlinux"),
                         (image["state"], image["boot_args"], image["rootfs_type"], image["kernel"]["file_name"]))

    def test_a_field_in_both_spellings_is_refused(self):
        reply = self.add(self.manifest | {"bundleId": "other"})
        self.refused(reply, 400, "INVALID_MANIFEST")

    def test_by_path(self):
        path = self.daemon.images / f"{self.bundle}.json"
        path.write_text(json.dumps(self.manifest))
        reply = self.c.post("/images", {"manifest_path": str(path)}, wait=20)
        self.assertEqual((201, "ready"), (reply.status, reply.json.get("state")), repr(reply))
        self.assertEqual(f"/images/{self.bundle}", reply.headers["Location"])

    def test_manifest_paths_that_are_refused(self):
        images = self.daemon.images
        (images / "notjson.json").write_text("{")
        (images / "badfield.json").write_text(json.dumps(self.manifest | {"nothing": 1}))
        (images / "big.json").write_text(json.dumps(self.manifest) + " " * 70_000)
        outside = self.daemon.base / "outside.json"
        outside.write_text(json.dumps(self.manifest))
        link = images / "link.json"
        link.unlink(missing_ok=True)
        link.symlink_to(outside)
        for path, codes in (
            (images / "notjson.json", ("INVALID_MANIFEST", "INVALID_JSON")),
            (images / "badfield.json", ("INVALID_MANIFEST",)),
            (images / "big.json", ("INVALID_MANIFEST", "PAYLOAD_TOO_LARGE")),
            (images / "missing.json", ("INVALID_MANIFEST", "NOT_FOUND", "PATH_NOT_ALLOWED")),
            (outside, ("PATH_NOT_ALLOWED",)),
            (link, ("PATH_NOT_ALLOWED",)),
            (f"{images}/../outside.json", ("PATH_NOT_ALLOWED",)),
            ("/etc/passwd", ("PATH_NOT_ALLOWED",)),
            ("relative.json", ("PATH_NOT_ALLOWED", "INVALID_MANIFEST")),
            (images, ("PATH_NOT_ALLOWED", "INVALID_MANIFEST")),
            ("/proc/self/environ", ("PATH_NOT_ALLOWED",)),
        ):
            with self.subTest(str(path)):
                reply = self.c.post("/images", {"manifest_path": str(path)}, wait=10)
                self.assertIn(reply.status, (400, 404, 413), repr(reply))
                self.assertIn(reply.code, codes, repr(reply))
                self.assertNotIn("root:", reply.text)
        self.assertEqual(404, self.c.get(f"/images/{self.bundle}").status)

    def test_files_outside_the_roots(self):
        images, outside = self.daemon.images, self.daemon.base / "outside.img"
        outside.write_bytes(b"x" * 4096)
        link = images / "link.img"
        link.unlink(missing_ok=True)
        link.symlink_to(outside)
        directory_link = images / "dirlink"
        directory_link.unlink(missing_ok=True)
        directory_link.symlink_to(self.daemon.base)
        sibling = Path(str(images) + "-sibling")
        sibling.mkdir(exist_ok=True)
        (sibling / "a.img").write_bytes(b"x" * 4096)
        if not (images / "fifo").exists():
            os.mkfifo(images / "fifo")
        for path in (
            outside, link, f"{images}/../outside.img", directory_link / "outside.img", sibling / "a.img", "/etc/shadow", "rootfs.img",
            images, images / "fifo", "/dev/zero", "/proc/self/mem",
        ):
            with self.subTest(str(path)):
                reply = self.add(self.manifest | {"rootfs": {"path": str(path)}})
                self.failed(reply, "PATH_NOT_ALLOWED")
                self.c.delete(f"/images/{self.bundle}", wait=10)

    def test_a_symbolic_link_within_the_roots_is_followed(self):
        link = self.daemon.images / "inner.img"
        link.unlink(missing_ok=True)
        link.symlink_to("rootfs.img")
        self.assertEqual("ready", self.ok(self.add(self.manifest | {"rootfs": {"path": str(link)}}), 201)["state"])

    def test_a_wrong_digest(self):
        before = self.stored()
        rootfs = self.daemon.images / "digest.img"
        rootfs.write_bytes(disks.ext4(b"digest"))
        message = self.failed(self.add(self.manifest | {"rootfs": {"path": str(rootfs), "sha256": "0" * 64}}), "DIGEST_MISMATCH")
        self.assertIn(sha256(rootfs), message)
        self.assertNotIn(sha256(rootfs), self.stored() - before)

    def test_the_right_digest_and_size(self):
        files = {}
        for part in ("kernel", "rootfs"):
            path = self.manifest[part]["path"]
            files[part] = {"path": path, "sha256": sha256(path), "size_bytes": os.path.getsize(path), "file_name": "name-1.0+x"}
        image = self.ok(self.add(self.manifest | files), 201)
        self.assertEqual(("ready", "name-1.0+x"), (image["state"], image["rootfs"]["file_name"]))

    def test_a_wrong_size(self):
        path = self.manifest["rootfs"]["path"]
        self.failed(self.add(self.manifest | {"rootfs": {"path": path, "size_bytes": 5}}), "INVALID_MANIFEST")

    def test_a_kernel_that_is_none(self):
        path = self.daemon.images / "nokernel"
        for content in (b"", b"x" * 5000, b"\x7fELF" + b"\0" * 2000, b"\0" * 0x202 + b"HdrS" + b"\0" * 4000):
            with self.subTest(content[:8]):
                path.write_bytes(content)
                self.failed(self.add(self.manifest | {"kernel": {"path": str(path)}}), "INVALID_MANIFEST")
                self.c.delete(f"/images/{self.bundle}", wait=10)

    def refused_part(self, part, content, words, **manifest):
        """What is no such file fails the import, never becomes ready, and is told by its name, with the file's and the part's."""
        path = self.daemon.images / f"wrong-{part}"
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        stored = self.stored()
        message = self.failed(self.add(self.manifest | {part: {"path": str(path)}} | manifest), "INVALID_MANIFEST")
        self.assertTrue(message.startswith(f"{part}: "), message)
        self.assertIn(words, message)
        self.assertEqual([], [name for name in self.stored() - stored if name == sha256(path)])
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        return message

    def test_root_file_systems_that_are_none(self):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            archive.add("/etc/hostname", "hostname")
        mbr = bytearray(1 << 20)
        mbr[446 + 4] = 0x83
        mbr[510:512] = b"\x55\xaa"
        gpt = bytearray(mbr)
        gpt[512:520] = b"EFI PART"
        for content, words in (
            (tar.getvalue(), "is a tar archive, not an ext4 file system; make a file system"), (gzip.compress(tar.getvalue()), "is gzip data"),
            (lzma.compress(b"x" * 5000), "is XZ data"), (b"\x28\xb5\x2f\xfd" + bytes(5000), "is Zstandard data"), (bz2.compress(b"x"), "is bzip2 data"),
            (b"QFI\xfb\0\0\0\3" + bytes(70_000), "is a qcow2 disk image, not an ext4 file system; convert it by `qemu-img convert -O raw`"),
            (b"KDMV" + bytes(70_000), "is a VMDK disk image"), (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(5000), "is a VDI disk image"),
            (os.urandom(100_000), "is data of no kind that is known"), (b"", "is empty"), (bytes(200_000), "is nothing but zeroes"),
            (bytes(mbr), "is a disk with an MBR partition table"), (bytes(gpt), "is a disk with a GPT partition table"),
            (b"#!/bin/sh\n", "is a script"), (b"<!DOCTYPE html><p>404", "is an HTML page"), (b"not found\n", "is a text"),
            (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"), (self.daemon.images.joinpath("tiny.elf").read_bytes(), "is an ELF"),
            (bytes(65600) + b"_BHRfS_M" + bytes(5000), "is a Btrfs file system, not an ext4"), (b"XFSB" + bytes(5000), "is an XFS file system"),
        ):
            with self.subTest(words):
                self.refused_part("rootfs", content, words)

    def test_root_file_systems_that_are_cut_off_or_something_else(self):
        whole = self.daemon.images / "whole.ext4"
        run("mke2fs", "-q", "-F", "-t", "ext4", str(whole), "2M")
        content = whole.read_bytes()
        for version in ("ext2", "ext3", "ext4"):
            path = self.daemon.images / f"whole.{version}"
            run("mke2fs", "-q", "-F", "-t", version, str(path), "4M")
            self.assertEqual("ready", self.ok(self.add(self.manifest | {"rootfs": {"path": str(path)}}), 201)["state"])
            self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        self.refused_part("rootfs", content[:-1024], "is an ext4 file system that is cut off: it has 2097152 bytes, and the file 2096128")
        self.refused_part("rootfs", content[:1500], "is an ext4 file system that is cut off")
        self.refused_part("rootfs", content, 'rootfs_type says squashfs: set rootfs_type to "ext4"', rootfs_type="squashfs")
        self.refused_part("rootfs", disks.squashfs(), 'rootfs_type says ext4: set rootfs_type to "squashfs"')
        self.refused_part("rootfs", disks.squashfs(8192, used=8193), "is a squashfs file system that is cut off: it has 8193", rootfs_type="squashfs")
        self.refused_part("rootfs", disks.squashfs(major=3), "of version 3", rootfs_type="squashfs")
        self.assertIn("is a tar archive, not a squashfs", self.refused_part("rootfs", bytes(257) + b"ustar\0" + bytes(5000), "tar", rootfs_type="squashfs"))
        tree = self.daemon.base / "tree"
        tree.mkdir()
        (tree / "file").write_bytes(os.urandom(300_000))
        image = self.daemon.images / "real.squashfs"
        run("mksquashfs", str(tree), str(image), "-noappend", "-quiet", "-no-progress")
        made = self.ok(self.add(self.manifest | {"rootfs_type": "squashfs", "rootfs": {"path": str(image)}}), 201)
        self.assertEqual("ready", made["state"], made)
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        self.refused_part("rootfs", image.read_bytes()[:200_000], "cut off", rootfs_type="squashfs")

    def test_initrds(self):
        (self.daemon.base / "inittree").mkdir()
        (self.daemon.base / "inittree" / "init").write_bytes(b"#!/bin/sh\n" * 3000)
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"inittree\ninittree/init\n", cwd=self.daemon.base, stdout=subprocess.PIPE,
                                 check=True).stdout

        def packed(*argv):
            return subprocess.run(argv, input=archive, stdout=subprocess.PIPE, check=True).stdout

        good = {"plain": archive, "gzip": gzip.compress(archive), "xz": packed("xz", "--check=crc32"), "zstd": packed("zstd", "-q"),
                "lz4": packed("lz4", "-l", "-q"), "lzma": packed("xz", "--format=lzma"), "microcode": archive + gzip.compress(archive),
                "bootconfig": archive + b"a=1\0\0\0" + b"#BOOTCONFIG\n"}
        for name, content in good.items():
            with self.subTest(name):
                path = self.daemon.images / "initrd"
                path.write_bytes(content)
                image = self.ok(self.add(self.manifest | {"initrd": {"path": str(path)}}), 201)
                self.assertEqual(("ready", sha256(path)), (image["state"], image.get("initrd", {}).get("sha256")), image)
                self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        tar = bytes(257) + b"ustar\0" + bytes(5000)
        odc = subprocess.run(["cpio", "-o", "-H", "odc", "--quiet"], input=b"inittree\n", cwd=self.daemon.base, stdout=subprocess.PIPE, check=True).stdout
        for content, words in (
            (tar, "is a tar archive, not a cpio"), (gzip.compress(tar), "is gzip data with a tar archive packed in it"), (os.urandom(5000), "no kind that is known"),
            (lzma.compress(os.urandom(5000)), "is XZ data with data of no kind"), (b"", "is empty"), (bytes(5000), "nothing but zeroes"),
            (disks.ext4(), "is an ext4 file system"), (disks.squashfs(), "is a squashfs"), (odc, "is a cpio archive of the old format"),
            (packed("lz4", "-q"), "is LZ4 data, not"), (bz2.compress(archive), "is bzip2 data"), (b"QFI\xfb" + bytes(5000), "is a qcow2"),
            (gzip.compress(b""), "with nothing packed in it"), (archive[:20_000], "cut off"), (gzip.compress(archive[:20_000]), "cut off"),
            (gzip.compress(archive)[:-20], "cut off"), (good["xz"][:-40], "cut off"), (good["zstd"][:-9], "cut off"),
            (archive.replace(b"070701", b"070701" + b"zz", 1), "damaged"),
        ):
            with self.subTest(words):
                self.refused_part("initrd", content, words)

    def test_kernels_that_are_none(self):
        tiny = bytearray(self.daemon.images.joinpath("tiny.elf").read_bytes())

        def changed(at, *values):
            copy = bytearray(tiny)
            copy[at:at + len(values)] = bytes(values)
            return bytes(copy)

        source = self.daemon.base / "program.c"
        source.write_text("int main(void) { return 0; }\n")
        run("gcc", "-o", str(self.daemon.base / "program"), str(source))
        run("gcc", "-c", "-o", str(self.daemon.base / "program.o"), str(source))
        for content, words in (
            (b"#!/bin/sh\nexec true\n", "the kernel is a script, not an ELF or a bzImage"), (disks.ext4(), "is an ext4 file system"), (b"", "is empty"),
            (gzip.compress(bytes(tiny)), "is gzip data"), (changed(18, 183), "is an ELF for AArch64"), (changed(18, 243), "is an ELF for RISC-V"),
            (changed(4, 1), "a 32-bit ELF"), (changed(18, 3), "is an ELF for x86,"), (changed(4, 1)[:18] + b"\3" + changed(4, 1)[19:], "a 32-bit ELF"),
            (bytes(tiny[:len(tiny) // 8]), "cut off"), (bytes(tiny[:40]), "cut off"), ((self.daemon.base / "program").read_bytes(), "a program for Linux"),
            ((self.daemon.base / "program.o").read_bytes(), "object file"), (b"MZ" + bytes(5000), "is an EFI or Windows program"),
            (bytes(56) + b"ARM\x64" + bytes(5000), "is an ARM64 kernel"), (os.urandom(5000), "no kind that is known"),
        ):
            with self.subTest(words):
                self.refused_part("kernel", content, words)

    def test_a_directory(self):
        (self.daemon.images / "directory").mkdir(exist_ok=True)
        for part in ("kernel", "rootfs", "initrd"):
            self.assertIn("is not a regular file", self.failed(self.add(self.manifest | {part: {"path": str(self.daemon.images / "directory")}}), "PATH_NOT_ALLOWED"))
            self.c.delete(f"/images/{self.bundle}", wait=10)

    def test_a_quote_that_is_not_closed(self):
        self.refused(self.add(self.manifest | {"boot_args": 'a="b'}), 400, "INVALID_MANIFEST", "/manifest/boot_args")

    def test_a_missing_file(self):
        reply = self.add(self.manifest | {"rootfs": {"path": str(self.daemon.images / "missing.img")}})
        self.assertIn(reply.code, ("NOT_FOUND", "PATH_NOT_ALLOWED", "INVALID_MANIFEST"), repr(reply))

    def test_another_architecture_does_not_become_a_vm(self):
        reply = self.add(self.manifest | {"arch": "aarch64"})
        if reply.status != 201:
            return
        body = self.body(image=self.bundle)
        self.addCleanup(self.forget, body["id"])
        reply = self.c.post("/vms", body, wait=10)
        self.assertIn(reply.status, (400, 409), repr(reply))

    def test_a_duplicate(self):
        self.ok(self.add(), 201)
        self.refused(self.add(), 409, "ALREADY_EXISTS")
        self.refused(self.add(self.manifest | {"boot_args": "other"}), 409, "ALREADY_EXISTS")

    def test_the_same_idempotency_key(self):
        headers = {"Idempotency-Key": self.bundle}
        first, second = self.add(headers=headers), self.add(headers=headers)
        self.assertEqual(201, first.status)
        self.assertEqual((first.status, first.headers["Location"], first.json["id"]), (second.status, second.headers["Location"], second.json["id"]))
        self.refused(self.add(self.manifest | {"name": "b"}, headers=headers), 422, "IDEMPOTENCY_KEY_REUSED")

    def test_a_failed_import_can_be_removed_and_tried_again(self):
        rootfs = self.daemon.images / "again.img"
        rootfs.write_bytes(disks.ext4(b"first"))
        wrong = self.manifest | {"rootfs": {"path": str(rootfs), "sha256": hashlib.sha256(disks.ext4(b"second")).hexdigest()}}
        self.failed(self.add(wrong), "DIGEST_MISMATCH")
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        rootfs.write_bytes(disks.ext4(b"second"))
        self.assertEqual("ready", self.ok(self.add(wrong), 201)["state"])

    def test_a_vm_of_an_image_that_failed(self):
        rootfs = self.daemon.images / "failed.img"
        rootfs.write_bytes(b"first")
        self.add(self.manifest | {"rootfs": {"path": str(rootfs), "sha256": "0" * 64}})
        if self.c.get(f"/images/{self.bundle}").status == 200:
            failure = self.c.json(f"/images/{self.bundle}")["error"]["message"]
            reply = self.c.post("/vms", self.body(image=self.bundle))
            self.refused(reply, 409, "IMAGE_NOT_READY")
            self.assertIn(failure, reply.json["detail"])

    def test_equal_files_are_stored_once(self):
        other = self.bundle + "-b"
        copy = self.daemon.images / "copy.img"
        content = disks.ext4(os.urandom(50_000))
        first = self.daemon.images / "first.img"
        first.write_bytes(content)
        copy.write_bytes(content)
        digest = sha256(first)
        self.ok(self.add(self.manifest | {"rootfs": {"path": str(first)}}), 201)
        self.ok(self.add(self.manifest | {"bundle_id": other, "rootfs": {"path": str(copy)}}), 201)
        self.assertIn(digest, self.stored())
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        self.assertIn(digest, self.stored(), "the other image still needs it")
        self.ok(self.c.delete(f"/images/{other}", wait=10), 204)
        eventually(lambda: digest not in self.stored(), "the removal of a file that no image needs")

    def test_removal(self):
        self.ok(self.add(), 201)
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        self.refused(self.c.get(f"/images/{self.bundle}"), 404, "NOT_FOUND")
        self.refused(self.c.delete(f"/images/{self.bundle}"), 404, "NOT_FOUND")
        self.assertEqual("ready", self.ok(self.add(), 201)["state"])

    def test_removal_without_waiting(self):
        self.ok(self.add(), 201)
        self.assertIn(self.c.delete(f"/images/{self.bundle}").status, (202, 204))
        eventually(lambda: self.c.get(f"/images/{self.bundle}").status == 404, "removal")

    def test_removal_while_in_use(self):
        self.ok(self.add(), 201)
        vm = self.create(image=self.bundle, desired_state="stopped", state="stopped")
        self.refused(self.c.delete(f"/images/{self.bundle}"), 409, "IN_USE")
        self.assertEqual("ready", self.c.json(f"/images/{self.bundle}")["state"])
        self.forget(vm["id"])
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)

    def test_if_match(self):
        etag = self.add().etag
        self.refused(self.c.delete(f"/images/{self.bundle}", headers={"If-Match": '"other"'}), 412, "PRECONDITION_FAILED")
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10, headers={"If-Match": etag}), 204)

    def test_paging(self):
        names = [f"{self.bundle}-{n}" for n in range(5)]
        for name in names:
            self.addCleanup(self.c.delete, f"/images/{name}", wait=10)
            self.ok(self.add(self.manifest | {"bundle_id": name}), 201)
        pages, cursor = [], None
        while True:
            page = self.c.json("/images", limit=2, **({"cursor": cursor} if cursor else {}))
            self.assertLessEqual(len(page["items"]), 2)
            pages += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        self.assertEqual(sorted(names + ["tiny"]), pages)

    def test_a_large_import_does_not_hold_the_request(self):
        path = self.daemon.images / "large.img"
        disks.sparse_ext4(path, 600 * 1024 * 1024)
        with self.quick(2):
            reply = self.add(self.manifest | {"rootfs": {"path": str(path)}}, wait=0)
        self.assertIn(reply.status, (201, 202))
        self.assertEqual("importing", reply.json["state"])
        seen = []

        def done():
            image = self.c.json(f"/images/{self.bundle}")
            seen.append(image["progress"]["bytes_done"])
            return image if image["state"] != "importing" else None

        self.refused(self.c.post("/vms", self.body(image=self.bundle)), 409, "IMAGE_NOT_READY")
        self.assertEqual("ready", eventually(done, "the import", 40)["state"])
        self.assertEqual(sorted(seen), seen)
        path.unlink()

    def test_a_large_import_can_be_called_off(self):
        path = self.daemon.images / "called-off.img"
        disks.sparse_ext4(path, 64 * 1024 * 1024 * 1024)  # to read all of it would take minutes
        self.addCleanup(path.unlink)
        self.assertIn(self.add(self.manifest | {"rootfs": {"path": str(path)}}, wait=0).status, (201, 202))
        with self.quick(10):
            self.ok(self.c.delete(f"/images/{self.bundle}", wait=20), 204)
        self.assertEqual([], os.listdir(Path(self.daemon.config["state_dir"]) / "images" / "tmp"))

    def test_a_file_that_changes_while_it_is_read(self):
        path = self.daemon.images / "changing.img"
        disks.sparse_ext4(path, 400 * 1024 * 1024)
        self.addCleanup(path.unlink)
        done = threading.Event()

        def write():
            with open(path, "r+b") as file:
                while not done.wait(0.005):
                    os.pwrite(file.fileno(), b"x", 300 * 1024 * 1024)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            image = self.ended(self.add(self.manifest | {"rootfs": {"path": str(path)}}, wait=40), "INVALID_MANIFEST")
        finally:
            done.set()
            writer.join()
        self.assertIn("changed while it was read", image["error"]["message"])
        self.ok(self.c.delete(f"/images/{self.bundle}", wait=10), 204)
        self.ok(self.add(self.manifest | {"rootfs": {"path": str(path)}}, wait=40), 201)


class ImageLimitsTest(OwnDaemonCase):
    settings = {"images": {"max_file_bytes": 100_000}}

    def test_a_file_over_the_limit(self):
        path = self.daemon.images / "big.img"
        path.write_bytes(b"x" * 100_001)
        manifest = self.daemon.tiny_manifest("big") | {"rootfs": {"path": str(path)}}
        reply = self.c.post("/images", {"manifest": manifest}, wait=10)
        code = reply.json.get("code") or reply.json["error"]["code"]
        self.assertEqual("PAYLOAD_TOO_LARGE", code, repr(reply))

    @limit(40)
    def test_an_import_goes_on_after_the_daemon_was_killed(self):
        self.daemon.config["images"]["max_file_bytes"] = 2**34
        self.daemon.restart()
        path = self.daemon.images / "large.img"
        disks.sparse_ext4(path, 900 * 1024 * 1024)
        manifest = self.daemon.tiny_manifest("large") | {"rootfs": {"path": str(path)}}
        self.assertIn(self.c.post("/images", {"manifest": manifest}).status, (201, 202))
        self.daemon.kill9()
        self.daemon.start()

        def done():
            state = self.c.json("/images/large")["state"]
            return state if state != "importing" else None

        self.assertEqual("ready", eventually(done, "the import", 30))
        self.assertEqual([], os.listdir(Path(self.daemon.config["state_dir"]) / "images" / "tmp"))
        run("rm", str(path))
