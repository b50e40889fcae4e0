"""
The stand-in Firecracker (tests/guest/standin.c) as tests use it: the daemon's settings for it, its orders and faults,
and the frames of its guest. tests/guest/README.md says what it can do.
"""

import os
import select
import socket
import threading
import time

from daemon import BUILD, UNJAILED

STANDIN = BUILD / "tests" / "guest" / "standin"
SETTINGS = {"vmm": {"firecracker": str(STANDIN), **UNJAILED}}
VNET_HEADER = bytes(12)


def connect(path, timeout=5.0):
    """A SOCK_SEQPACKET connection; the path may be longer than a socket address holds."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout)
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


def order(run_dir, text):
    """To the stand-in whose runtime directory this is: its answer. See obey() in standin_guest.c."""
    with connect(f"{run_dir}/standin.ctl") as sock:
        sock.send(text.encode())
        return sock.recv(1024).decode()


def fault(kind, **settings):
    """The text of a fault, for an order or the boot argument `standin.fault=`."""
    return ",".join([kind, *(f"{key}={str(value).replace(' ', '_')}" for key, value in settings.items())])


class Wire:
    """The guest's end of one interface: frames without their virtio header, unless that is asked for."""

    def __init__(self, run_dir, iface_id="eth0"):
        self.sock = connect(f"{run_dir}/{iface_id}.frames", timeout=20)

    def send(self, frame, header=VNET_HEADER):
        self.sock.send(header + frame)

    def receive(self, timeout=2.0):
        """The next frame, or None."""
        if not select.select([self.sock], [], [], timeout)[0]:
            return None
        message = self.sock.recv(70000)
        return message[12:] if message else None

    def close(self):
        self.sock.close()


class Receiver(threading.Thread):
    """Hands every frame of a wire to `take` until it is stopped, so that the stand-in never has to wait."""

    def __init__(self, wire, take):
        super().__init__(daemon=True)
        self.wire, self.take, self.on, self.frames = wire, take, True, 0
        self.start()

    def run(self):
        while self.on:
            try:
                frame = self.wire.receive(0.1)
            except OSError:
                return
            if frame is None:
                time.sleep(0)
                continue
            self.frames += 1
            self.take(frame)

    def stop(self):
        self.on = False
        self.join()
