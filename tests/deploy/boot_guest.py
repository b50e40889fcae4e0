"""Boots the image in QEMU and checks what the guest promises: boot_guest.py IMAGE ENDING [network] [ext4]

Runs in a network namespace of its own, as root. ENDING is how the guest is ended: power-button, ctrl-alt-del, a command
for its shell (poweroff, reboot), or no-root, where the guest gives up by itself.
"""
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))

from host import tsc_khz  # noqa: E402

GUEST, GATEWAY, MASK = "172.30.0.2", "172.30.0.1", "255.255.255.0"
KEYS = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]


def answer_names():
    """A name server that knows one name: its own, and refuses all others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((GATEWAY, 53))
        while True:
            query, client = server.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            known = query[12:end - 4] == b"\5hello\4test\0"
            answer = b""
            if known and query[end - 4:end - 2] == b"\0\1":
                answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(GATEWAY)
            flags, answers = (0x8180 if known else 0x8183), (1 if answer else 0)
            server.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, answers, 0, 0) + query[12:end] + answer, client)


def serve_page():
    """On port 8081 a page; on 8082 nothing ever comes."""
    silent = socket.create_server((GATEWAY, 8082))  # noqa: F841: it listens as long as it is there
    page = socket.create_server((GATEWAY, 8081))
    while True:
        connection, _ = page.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nfrom-dns!\n")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Guest:
    def __init__(self, image, work, wants, root):
        self.qmp_path = f"{work}/qmp"
        drive, mode = f"{image}/rootfs", "ro"
        if "ext4" in wants:
            run("unsquashfs", "-q", "-n", "-d", f"{work}/tree", drive)
            drive, mode = f"{work}/ext4", "rw"
            run("mke2fs", "-q", "-t", "ext4", "-d", f"{work}/tree", drive, "16M")
        with open(f"{image}/manifest.json", encoding="utf-8") as manifest:
            image_args = json.load(manifest)["boot_args"]
        arguments = (f"console=ttyS0 reboot=t panic=-1 tsc_early_khz={tsc_khz()} {image_args} root={root} {mode}"
                     " smartvm.id=hello")
        devices = []
        if "network" in wants:
            self.make_network()
            arguments += f" ip={GUEST}::{GATEWAY}:{MASK}::eth0:off:{GATEWAY}"
            threading.Thread(target=answer_names, daemon=True).start()
            threading.Thread(target=serve_page, daemon=True).start()
            devices = ["-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no",
                       "-device", "virtio-net-device,netdev=n0"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "microvm,accel=tcg", "-cpu", "max", "-m", "256", "-smp", "1", "-no-reboot",
             "-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio", "-device", "i8042",
             "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
             "-kernel", f"{image}/vmlinux", "-initrd", f"{image}/initrd", "-append", arguments,
             "-drive", f"id=d0,if=none,format=raw,read-only={'on' if mode == 'ro' else 'off'},file={drive}",
             "-device", "virtio-blk-device,drive=d0", *devices],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.text = ""

    @staticmethod
    def make_network():
        for command in ("link add br0 type bridge", f"addr add {GATEWAY}/24 dev br0", "link set br0 up",
                        "tuntap add tap0 mode tap", "link set tap0 master br0 up"):
            run("ip", *command.split())

    def expect(self, pattern, seconds=60):
        """Waits until the console shows the pattern, and forgets what stands before its end."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                sys.exit(f"no {pattern!r} on the console, which has at its end:\n{self.text[-3000:]}")
            self.text += data.decode(errors="replace")
        self.text = self.text[found.end():]

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def qmp(self, command, **arguments):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.qmp_path)
            with connection.makefile("rw") as stream:
                for message in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    stream.readline()
                    stream.write(json.dumps(message) + "\n")
                    stream.flush()
                stream.readline()

    def end(self, how):
        if how == "power-button":
            self.qmp("system_powerdown")
        elif how == "ctrl-alt-del":
            self.qmp("send-key", keys=KEYS)
        else:
            self.type(how)
        self.expect("smartvm-guest: down")
        self.wait()

    def wait(self):
        status = self.process.wait(30)
        if status != 0:
            sys.exit(f"QEMU ended with status {status}")


def check_guest(guest, wants):
    address = GUEST if "network" in wants else "none"
    guest.expect(f"smartvm-guest: up id=hello ip={re.escape(address)}\r?\n")
    print(f"up after {time.monotonic() - guest.began:.2f} s")
    guest.expect("hello# ")
    guest.type("echo sum $((40 + 2)) on $(hostname)")
    guest.expect(r"echo sum \$\(\(40 \+ 2\)\) on")
    guest.expect("sum 42 on hello")
    guest.type("touch /file && echo was-written || echo was-refused")
    guest.expect("\nwas-written" if "ext4" in wants else "\nwas-refused")
    if "network" in wants:
        with urllib.request.urlopen(f"http://{GUEST}/", timeout=20) as reply:
            body = reply.read().decode()
        if "hello" not in body.splitlines():
            sys.exit(f"the guest answered {body!r}")
        run("ping", "-c1", "-W5", GUEST)
        guest.type(f"ping -c1 -W5 {GATEWAY}")
        guest.expect("1 packets received")
        for command, answer in (("wget -q -O - http://hello.test:8081/", "\nfrom-dns!"),
                                ("wget -T 5 -q -O - http://hello.test:8081/", "\nfrom-dns!"),
                                ("wget -qT5 -O - http://hello.test:8081/", "\nfrom-dns!"),
                                ("sh -c 'wget -T 5 -qO- http://hello.test:8081/'", "\nfrom-dns!"),
                                ("wget -T 5 http://unknown.test/", "bad address"),
                                ("wget -T 1 http://hello.test:8082/", "download timed out")):
            guest.type(command)
            guest.expect(answer)
            guest.expect("hello# ")


def main():
    image, ending, wants = sys.argv[1], sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as work:
        guest = Guest(image, work, wants, "/dev/nothing" if ending == "no-root" else "/dev/vda")
        try:
            if ending == "no-root":
                guest.expect("smartvm-guest: the root device /dev/nothing did not appear")
                guest.wait()
            else:
                check_guest(guest, wants)
                guest.end(ending)
        finally:
            guest.process.kill()
            guest.process.wait()


main()
