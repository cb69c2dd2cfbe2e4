"""Processes of the cluster: started at their host, killed, frozen, thawed; what they say goes to a file."""

import os
import signal
import subprocess
import time


class Process:
    """One program that can be started again and again."""

    def __init__(self, name, command, folder, log):
        self.name, self.command, self.folder, self.log = name, command, folder, log
        self.running = None

    def start(self):
        with open(self.log, "a") as log:
            log.write(f"--- started {time.strftime('%H:%M:%S')}: {' '.join(self.command)}\n")
            log.flush()
            self.running = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)

    @property
    def alive(self):
        return self.running is not None and self.running.poll() is None

    def signal(self, number):
        if self.alive:
            os.kill(self.running.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def lame_duck(self):
        """A NATS server's own way out: it hands on what it leads, then its clients, then ends."""
        self.signal(signal.SIGUSR2)

    def terminate(self, seconds=20):
        """Ask it to end; killed if it has not after so long. True if it went by itself."""
        self.signal(signal.SIGTERM)
        by_itself = self.wait(seconds)
        self.kill()
        return by_itself

    def wait(self, seconds=None):
        """True if it has ended."""
        try:
            if self.running is not None:
                self.running.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False
