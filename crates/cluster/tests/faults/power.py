"""Disks that lose what was not flushed, and disks that fill up.

A `Disk` is an ext4 file system in a file. `lose` shuts it down as the kernel's own tests of crashes do
(EXT4_IOC_SHUTDOWN without flushing the journal): from that moment nothing more reaches the file, and what was only in
memory is gone when it is mounted again. What the kernel has written of its own accord survives, as it would on a disk
without a cache of its own; the kernel is told to write as late as it can (`commit=`, and 30 s for data).
"""

import fcntl
import os
import shutil
import struct
import time

from network import shell

SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = struct.pack("I", 2)


class Disk:
    """A folder on a file system of its own; what is in the folder is taken over."""

    def __init__(self, image, folder, megabytes=1024):
        self.image, self.folder = image, folder
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        shell("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", image)
        kept = folder + ".kept"
        shutil.copytree(folder, kept, symlinks=True)
        self.mount()
        os.rmdir(os.path.join(folder, "lost+found"))
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(kept)
        shell("sync", "-f", folder)

    def mount(self):
        shell("mount", "-o", "loop,commit=300", self.image, self.folder)

    def lose(self):
        """The power fails now. All processes that write here have to be killed before `mount_again`."""
        handle = os.open(self.folder, os.O_RDONLY)
        fcntl.ioctl(handle, SHUTDOWN, WITHOUT_FLUSH)
        os.close(handle)

    def mount_again(self):
        self.unmount()
        self.mount()

    def unmount(self):
        unmount(self.folder)


class SmallDisk:
    """A folder in memory with room for little, which can be filled to the last byte."""

    def __init__(self, folder, megabytes=256):
        self.folder, self.size = folder, megabytes << 20
        self.filler = os.path.join(folder, "filler")
        os.makedirs(folder, exist_ok=True)
        shell("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder)

    def fill(self):
        with open(self.filler, "ab") as file:
            block = 1 << 20
            while block >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, block)
                except OSError:
                    block //= 2

    def empty(self):
        os.remove(self.filler)

    def unmount(self):
        unmount(self.folder)


def unmount(folder):
    """A killed process may hold its folder for a moment longer. Done if nothing is mounted there."""
    for attempt in range(50):
        if not os.path.ismount(folder):
            return
        try:
            shell("umount", folder)
        except RuntimeError:
            if attempt == 49:
                raise
            time.sleep(0.1)
