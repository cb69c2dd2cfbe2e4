"""Hosts of a small network, each a network namespace on one bridge, that can be cut off and joined again.

Everything lives in namespaces of our own (`isolate`): processes, mounts and links are gone with the first process in
them, however that ends, so nothing is left behind on the machine.
"""

import ctypes
import os
import signal
import subprocess
import threading

NEWNS, NEWPID, NEWNET = 0x00020000, 0x20000000, 0x40000000
DIE_WITH_PARENT = 1
LIBC = ctypes.CDLL(None, use_errno=True)
OURS = "10.87.0.254"


def shell(*command):
    """Run a command; what it said is told only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


def isolate():
    """Go on as process 1 of new process, mount and network namespaces.

    The outer process passes SIGINT and SIGTERM on, and ends as process 1 does.
    """
    if LIBC.unshare(NEWNS | NEWPID | NEWNET):
        raise OSError(ctypes.get_errno(), "namespaces of our own need root (CAP_SYS_ADMIN)")
    child = os.fork()
    if child:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(child, number))
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    LIBC.prctl(DIE_WITH_PARENT, signal.SIGKILL)
    os.setsid()
    shell("mount", "--make-rprivate", "/")
    shell("mount", "-t", "proc", "proc", "/proc")
    os.makedirs("/run/netns", exist_ok=True)
    shell("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    shell("ip", "link", "set", "lo", "up")
    shell("ip", "link", "add", "switch", "type", "bridge")
    shell("ip", "address", "add", f"{OURS}/24", "dev", "switch")
    shell("ip", "link", "set", "switch", "up")


class Network:
    """The hosts; we ourselves sit at the bridge and reach all of them."""

    def __init__(self):
        self.hosts = []

    def add(self, host, address):
        """A host with its own stack and one cable to the bridge."""
        shell("ip", "netns", "add", host)
        shell("ip", "link", "add", f"to-{host}", "type", "veth", "peer", "name", "cable", "netns", host)
        shell("ip", "link", "set", f"to-{host}", "master", "switch", "up")
        for change in (["address", "add", f"{address}/24", "dev", "cable"], ["link", "set", "cable", "up"],
                       ["link", "set", "lo", "up"]):
            shell("ip", "-n", host, *change)
        self.hosts.append(host)

    def command(self, host, command):
        """The command, run at that host; its process is the command's own.

        `ip netns exec` would give it mounts of its own, which keep file systems alive that we unmount.
        """
        return ["nsenter", f"--net=/run/netns/{host}", "--", *command]

    def cut(self, host):
        """Pull the cable: packets vanish both ways, connections are not closed."""
        shell("ip", "link", "set", f"to-{host}", "down")

    def heal(self, host):
        shell("ip", "link", "set", f"to-{host}", "up")

    def inside(self, host, function):
        """What the function returns when it is called at that host; None if it fails there."""
        answer = []

        def call():
            with open(f"/run/netns/{host}") as namespace:
                if LIBC.setns(namespace.fileno(), NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns {host}")
            try:
                answer.append(function())
            except (OSError, ValueError):
                answer.append(None)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return answer[0]

    def close(self):
        for host in self.hosts:
            # The namespace itself is cleared away later, by the kernel.
            shell("ip", "link", "delete", f"to-{host}")
            shell("ip", "netns", "delete", host)
        self.hosts.clear()
