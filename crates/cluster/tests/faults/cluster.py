"""Three hosts with a broker and a node each, and three with an agent each; and one process alone for comparison."""

import hashlib
import json
import os
import re
import subprocess
import threading
import time
import tomllib

from clients import KEY, Client, Connection
from checker import History, read_journal
from processes import Process

NODES = {f"n{number}": f"10.87.0.{number}" for number in (1, 2, 3)}
AGENTS = {f"a{number}": f"10.87.0.{10 + number}" for number in (1, 2, 3)}
# Four servers at each agent: slow enough that something always runs, fast enough for 60 requests/s.
SERVERS = {name: [f"{name}-{letter}" for letter in "wxyz"] for name in AGENTS}
STEPS_PER_SECOND = 250.0
CELL = "faults"
SETTINGS = f"""
[defaults]
width = 16
height = 16
due_in_seconds = 5.0
[limits]
waiting = 2000
expires_after_seconds = 600.0
[[key]]
name = "clients"
sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"
requests_per_minute = 1000000
operator = true
"""


def servers(names, kind):
    speed = f"steps_per_second = {STEPS_PER_SECOND}"
    return "".join(f'[[server]]\nname = "{name}"\n{speed}\nbackend = {{ kind = "{kind}" }}\n' for name in names)


def rewrite(path, top, tables):
    """Replace top-level keys and whole tables of a TOML file, and keep the rest of it."""
    replaced = tomllib.loads(tables).keys()
    with open(path) as file:
        text = file.read()
    head, *sections = re.split(r"(?m)^(?=\[)", text)
    head = "".join(line for line in head.splitlines(True) if line.split("=")[0].strip() not in top)
    kept = [section for section in sections if re.match(r"\[+([\w-]+)", section)[1] not in replaced]
    with open(path, "w") as file:
        file.writelines(f"{name} = {json.dumps(value)}\n" for name, value in top.items())
        file.write("".join([head, *kept, tables]))


def wait_for(what, condition, seconds=60):
    """The first true value of the condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError(f"{what}: not within {seconds} s")


class Alone:
    """One process with painters of its own, without brokers: what is to hold there holds in a cluster as well."""

    brokers, agents = {}, {}
    addresses = {"n1": NODES["n1"]}
    servers = 12

    def __init__(self, network, options, folder, seed):
        self.network, self.atelier, self.broker = network, options.atelier, options.nats_server
        # What `atelier cluster init` makes; disks and logs are beside it.
        self.place, self.folder, self.seed = folder, os.path.join(folder, "cell"), seed
        self.logs = os.path.join(folder, "logs")
        os.makedirs(self.logs)
        self.history = History()
        # Mounted in its folders, by node; whatever has `unmount`.
        self.disks = {}
        self.watching = True
        self.watched = {}
        self.nodes = {name: self.process(name, name, name, self.atelier, "serve", "--config", "atelier.toml")
                      for name in self.addresses}

    def process(self, name, host, folder, *command):
        log = os.path.join(self.logs, f"{name}.log")
        return Process(name, self.network.command(host, command), os.path.join(self.folder, folder), log)

    def prepare(self):
        """Hosts and files; nothing runs yet."""
        self.network.add("n1", NODES["n1"])
        os.makedirs(os.path.join(self.folder, "n1"))
        path = os.path.join(self.folder, "n1", "atelier.toml")
        with open(path, "w") as file:
            file.write('journal = "atelier.db"\n')
        names = [name for each in SERVERS.values() for name in each]
        rewrite(path, {"listen": "0.0.0.0:8420", "policy": "myopic"}, SETTINGS + servers(names, "demo"))

    def start(self):
        """All processes, until a request has been completed."""
        for node in self.nodes.values():
            node.start()
        for name in self.nodes:
            self.wait_ready(name)
            threading.Thread(target=self.watch, args=[name], daemon=True).start()
        client = Client(self.addresses, History(), self.seed)
        id = client.submit(f"first-{self.seed}", lambda: False)
        wait_for("the first picture", lambda: client.look(id))

    def wait_ready(self, name):
        def ready():
            if not self.nodes[name].alive:
                raise RuntimeError(f"{name} has ended: see {self.nodes[name].log}")
            answer = Connection(self.addresses[name], 1.0).ask("GET", "/readyz")
            return answer and answer[0] == 200
        wait_for(f"{name} is ready", ready)

    def recover(self):
        """Wait until all is as it was before the fault; nothing may have ended by itself."""
        for agent in self.agents.values():
            if not agent.alive:
                raise RuntimeError(f"{agent.name} has ended: see {agent.log}")
        for name in self.nodes:
            self.wait_ready(name)
        self.leader()

    def watch(self, name):
        """Keep up who says it leads, and in which epoch."""
        connection = Connection(self.addresses[name], 0.5)
        before = None
        while self.watching:
            answer = connection.ask("GET", "/metrics")
            found = answer and re.search(rb"^atelier_cluster_leader(?:{\S*})? 1$", answer[1], re.M)
            epoch = found and re.search(rb"^atelier_cluster_epoch(?:{\S*})? (\S+)$", answer[1], re.M)
            self.watched[name] = int(float(epoch[1])) if epoch else None
            # Said twice: one answer may fall between the old epoch and the new.
            if epoch and self.watched[name] == before:
                self.history.leaders.add((before, name))
            before = self.watched[name]
            time.sleep(0.1)

    def leader(self):
        """The node that leads."""
        return "n1"

    def log_leader(self):
        """The host of the broker that leads the log."""
        raise NotImplementedError("there is no log")

    def journals(self):
        return {name: read_journal(os.path.join(self.folder, name, "atelier.db")) for name in self.addresses}

    def statuses(self):
        """What each node's own command says, None where there is no such command."""
        return {}

    def stop(self):
        self.watching = False
        for process in [*self.agents.values(), *self.nodes.values(), *self.brokers.values()]:
            process.kill()
        for disk in self.disks.values():
            disk.unmount()
        self.network.close()


class Cluster(Alone):
    """Three brokers, three nodes, three agents."""

    addresses = NODES

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.brokers = {name: self.process(f"broker-{name}", name, name, self.broker, "-c", "nats.conf")
                        for name in NODES}
        self.agents = {name: self.process(name, name, f"agents/{name}", self.atelier, "agent", "--config", "agent.toml")
                       for name in AGENTS}

    def command(self, *arguments):
        """`atelier cluster …`, here at the bridge: its exit code, and what it said goes to the logs."""
        done = subprocess.run([self.atelier, "cluster", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        with open(os.path.join(self.logs, "cluster.log"), "a") as log:
            log.write(f"--- {' '.join(arguments)}: {done.returncode}\n{done.stdout}")
        return done.returncode

    def must(self, *arguments):
        if self.command(*arguments):
            raise RuntimeError(f"atelier cluster {' '.join(arguments)} failed: see {self.logs}/cluster.log")

    def prepare(self):
        for host, address in {**NODES, **AGENTS}.items():
            self.network.add(host, address)
        nodes = [word for name, address in NODES.items() for word in ("--node", f"{name}={address}")]
        self.must("init", self.folder, "--cell", CELL, *nodes)
        for name, names in SERVERS.items():
            self.must("add-agent", self.folder, name, *[word for server in names for word in ("--server", server)])
            rewrite(os.path.join(self.folder, "agents", name, "agent.toml"), {}, servers(names, "demo"))
        everyone = [name for names in SERVERS.values() for name in names]
        for name in NODES:
            rewrite(os.path.join(self.folder, name, "atelier.toml"), {"listen": "0.0.0.0:8420", "policy": "myopic"},
                    SETTINGS + servers(everyone, "agent"))

    def start(self):
        for broker in self.brokers.values():
            broker.start()
        self.wait_brokers()
        wait_for("the streams are made", lambda: self.command("init", self.folder) == 0)
        for agent in self.agents.values():
            agent.start()
        super().start()
        wait_for("a node leads", self.leader)

    def monitor(self, name, path):
        """What a broker's monitor says, asked at its own host; None without an answer."""
        def ask():
            for address in (NODES[name], "127.0.0.1"):
                answer = Connection(address, 0.5, 8222).ask("GET", path)
                if answer:
                    return json.loads(answer[1])
            return None
        return self.network.inside(name, ask)

    def wait_brokers(self):
        """Until all have caught up with each other."""
        def healthy():
            for broker in self.brokers.values():
                if not broker.alive:
                    raise RuntimeError(f"{broker.name} has ended: see {broker.log}")
            return all((self.monitor(name, "/healthz") or {}).get("status") == "ok" for name in self.brokers)
        wait_for("all brokers are well", healthy, 120)

    def recover(self):
        self.wait_brokers()
        super().recover()

    def leader(self):
        """Waited for: during a failover there is none."""
        def find():
            leading = {name: epoch for name, epoch in list(self.watched.items()) if epoch is not None}
            return max(leading, key=leading.get, default=None)
        return wait_for("a node leads", find)

    def log_leader(self):
        def find():
            for asked in NODES:
                seen = self.monitor(asked, "/jsz?accounts=1&streams=1") or {}
                for account in seen.get("account_details") or []:
                    for stream in account.get("stream_detail") or []:
                        if stream["name"] == f"LOG_{CELL}" and stream.get("cluster", {}).get("leader"):
                            return self.host_of(stream["cluster"]["leader"])
            return None
        return wait_for("a broker leads the log", find)

    def host_of(self, server):
        """Brokers know each other by the names in their configurations."""
        names = {(self.monitor(name, "/varz") or {}).get("server_name"): name for name in NODES}
        return names.get(server)

    def statuses(self):
        found = {}
        for name in NODES:
            command = [self.atelier, "cluster", "status", "--config", "atelier.toml", "--json"]
            try:
                done = subprocess.run(self.network.command(name, command), cwd=os.path.join(self.folder, name),
                                      capture_output=True, text=True, timeout=30)
                found[name] = json.loads(done.stdout) if done.returncode == 0 else None
            except (ValueError, subprocess.TimeoutExpired):
                found[name] = None
        return found
