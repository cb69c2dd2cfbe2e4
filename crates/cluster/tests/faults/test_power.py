"""A power failure takes what was not flushed, and only that: three real brokers keep all they acknowledged if they sync
always, and lose much of it as they come. If the second part fails, the scenarios of lost power show nothing.

    sudo NATS_SERVER=nats-server python3 -B -m unittest test_power
"""

import contextlib
import json
import os
import socket
import tempfile
import time
import unittest
import uuid

from network import Network, isolate, shell
from power import Disk, SmallDisk
from processes import Process

HOSTS = {f"n{number}": f"10.87.0.{number}" for number in (1, 2, 3)}
STREAM = {"name": "LOG", "subjects": ["log"], "num_replicas": 3, "storage": "file"}


def setUpModule():
    if os.geteuid() or not os.environ.get("NATS_SERVER"):
        raise unittest.SkipTest("needs root and NATS_SERVER")
    isolate()


class Connection:
    """As much of NATS's protocol as it takes to ask and be answered."""

    def __init__(self, address):
        self.socket = socket.create_connection((address, 4222), timeout=5)
        self.file = self.socket.makefile("rb")
        self.inbox = f"answer.{uuid.uuid4().hex}"
        self.socket.sendall(f'CONNECT {{"verbose":false}}\r\nSUB {self.inbox} 1\r\n'.encode())

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, subject, body):
        self.socket.sendall(f"PUB {subject} {self.inbox} {len(body)}\r\n".encode() + body + b"\r\n")
        while line := self.file.readline():
            word, *rest = line.split()
            if word == b"PING":
                self.socket.sendall(b"PONG\r\n")
            elif word == b"MSG":
                return json.loads(self.file.read(int(rest[-1]) + 2))
        raise ConnectionError("closed")


def ask(subject, value, seconds=30):
    """The state of the stream, once it is told."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with contextlib.closing(Connection(HOSTS["n1"])) as connection:
                answer = connection.ask(subject, json.dumps(value).encode())
            if "state" in answer:
                return answer["state"]
        except OSError as error:
            answer = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{subject}: {answer}")
        time.sleep(0.2)


class Brokers:
    def __init__(self, folder, sync):
        self.network = Network()
        self.disks, self.processes = [], []
        for name, address in HOSTS.items():
            self.network.add(name, address)
            place = os.path.join(folder, name)
            os.makedirs(place)
            with open(os.path.join(place, "nats.conf"), "w") as file:
                file.write(f"server_name: {name}\nlisten: {address}:4222\njetstream {{ store_dir: jetstream {sync} }}\n"
                           f"cluster {{ name: test, listen: {address}:6222, routes: "
                           f"{json.dumps([f'nats://{other}:6222' for other in HOSTS.values()])} }}\n")
            self.disks.append(Disk(place + ".disk", place))
            command = self.network.command(name, [os.path.realpath(os.environ["NATS_SERVER"]), "-c", "nats.conf"])
            self.processes.append(Process(name, command, place, place + ".log"))

    def start(self):
        for process in self.processes:
            process.start()

    def lose_power(self):
        for process in self.processes:
            process.freeze()
        for disk in self.disks:
            disk.lose()
        for process in self.processes:
            process.kill()
        for disk in self.disks:
            disk.mount_again()

    def close(self):
        for process in self.processes:
            process.kill()
        for disk in self.disks:
            disk.unmount()
        self.network.close()


class Power(unittest.TestCase):
    def acknowledged_and_kept(self, sync):
        """Messages appended one after the other for three seconds, and those that are there after the power failed."""
        with tempfile.TemporaryDirectory() as folder:
            brokers = Brokers(folder, sync)
            try:
                brokers.start()
                ask("$JS.API.STREAM.CREATE.LOG", STREAM)
                for disk in brokers.disks:
                    shell("sync", "-f", disk.folder)
                end = time.monotonic() + 3
                with contextlib.closing(Connection(HOSTS["n1"])) as connection:
                    while time.monotonic() < end:
                        acknowledged = connection.ask("log", b"x" * 600)["seq"]
                brokers.lose_power()
                brokers.start()
                try:
                    kept = ask("$JS.API.STREAM.INFO.LOG", {})["messages"]
                except TimeoutError:
                    # The stream itself was lost.
                    kept = 0
                return acknowledged, kept
            finally:
                brokers.close()

    def test_what_was_synced_is_kept(self):
        acknowledged, kept = self.acknowledged_and_kept(", sync_interval: always")
        print(f"always: {acknowledged} acknowledged, {kept} kept")
        self.assertGreater(acknowledged, 100)
        self.assertGreaterEqual(kept, acknowledged)

    def test_what_was_not_synced_is_lost(self):
        acknowledged, kept = self.acknowledged_and_kept("")
        print(f"default: {acknowledged} acknowledged, {kept} kept")
        self.assertLess(kept, acknowledged)

    def test_a_small_disk_can_be_filled(self):
        with tempfile.TemporaryDirectory() as folder:
            disk = SmallDisk(folder, 1)
            try:
                disk.fill()
                with self.assertRaises(OSError):
                    with open(os.path.join(folder, "more"), "wb") as file:
                        file.write(b"x" * 10000)
                disk.empty()
                with open(os.path.join(folder, "more"), "wb") as file:
                    file.write(b"x" * 10000)
            finally:
                disk.unmount()


if __name__ == "__main__":
    unittest.main()
