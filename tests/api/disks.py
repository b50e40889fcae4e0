"""Files that are to look like root file systems, or like something else, to who looks at them."""

import struct

SUPERBLOCK = 1024


def ext4(filler=b"\0", size=64 * 1024):
    """The beginning of an ext4 file system of `size` bytes, else filled: as much of it as is looked at when it is imported."""
    content = bytearray((filler * (size // len(filler) + 1))[:size])
    content[SUPERBLOCK:2 * SUPERBLOCK] = superblock(size // 1024)
    return bytes(content)


def superblock(blocks, inodes=16, log_block_size=0, incompat=0, blocks_hi=0):
    block = bytearray(1024)
    struct.pack_into("<II", block, 0x0, inodes, blocks & 0xffffffff)
    struct.pack_into("<I", block, 0x18, log_block_size)
    struct.pack_into("<H", block, 0x38, 0xef53)
    struct.pack_into("<I", block, 0x60, incompat)
    struct.pack_into("<I", block, 0x150, blocks_hi)
    return bytes(block)


def sparse_ext4(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(SUPERBLOCK)
        file.write(superblock(size // 1024, incompat=0x80, blocks_hi=size // 1024 >> 32))
    return path


def squashfs(size=8192, used=None, major=4):
    """The superblock of a squashfs, and zeroes."""
    head = struct.pack("<4sIIIIHHHHHHQQ", b"hsqs", 1, 0, 131072, 0, 1, 17, 0, 1, major, 0, 0, size if used is None else used)
    return head + bytes(size - len(head))
