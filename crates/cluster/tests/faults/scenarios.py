"""What is broken: each scenario is one round of faults, repeated until its time is over."""

import os
import time
from dataclasses import dataclass
from typing import Callable

from cluster import Alone, Cluster
from power import Disk, SmallDisk


@dataclass
class Scenario:
    name: str
    # The longest time without an acknowledgement that is allowed.
    gap: float
    # Breaks things and mends them, given the cluster and a generator; returns the number of faults.
    round: Callable
    kind: type = Cluster
    # What is mounted in the cluster's folders before anything runs.
    disks: Callable = lambda cluster: {}


def kill_leader(cluster, random):
    name = cluster.leader()
    cluster.nodes[name].kill()
    time.sleep(random.uniform(1, 4) if cluster.brokers else 1)
    cluster.nodes[name].start()
    cluster.wait_ready(name)
    return 1


def freeze_leader(cluster, random):
    node = cluster.nodes[cluster.leader()]
    node.freeze()
    time.sleep(4)
    node.thaw()
    return 1


def hand_over(cluster, random):
    """As an operator restarts a node."""
    name = cluster.leader()
    if not cluster.nodes[name].terminate():
        raise RuntimeError(f"{name} did not end within 20 s of SIGTERM")
    cluster.nodes[name].start()
    cluster.wait_ready(name)
    return 1


def kill_log_leader(cluster, random):
    broker = cluster.brokers[cluster.log_leader()]
    broker.kill()
    time.sleep(random.uniform(1, 8))
    broker.start()
    return 1


def lame_duck(cluster, random):
    broker = cluster.brokers[cluster.log_leader()]
    broker.lame_duck()
    broker.wait(45)
    broker.kill()
    broker.start()
    return 1


def kill_all_brokers(cluster, random):
    for broker in cluster.brokers.values():
        broker.kill()
    time.sleep(1)
    for broker in cluster.brokers.values():
        broker.start()
    return 1


def cut(cluster, host, seconds):
    cluster.network.cut(host)
    time.sleep(seconds)
    cluster.network.heal(host)


def cut_leader(cluster, random):
    cut(cluster, cluster.leader(), 12)
    return 1


def cut_log_leader(cluster, random):
    cut(cluster, cluster.log_leader(), 12)
    return 1


def small_disks(cluster):
    return {name: SmallDisk(os.path.join(cluster.folder, name, "jetstream")) for name in cluster.brokers}


def fill_disk(cluster, random):
    """A broker whose disk was full stays without JetStream until it is restarted."""
    name = cluster.log_leader()
    cluster.disks[name].fill()
    time.sleep(15)
    cluster.disks[name].empty()
    cluster.brokers[name].kill()
    cluster.brokers[name].start()
    return 1


def any_agent(cluster, random):
    return random.choice(sorted(cluster.agents))


def kill_agent(cluster, random):
    agent = cluster.agents[any_agent(cluster, random)]
    agent.kill()
    time.sleep(random.uniform(0.5, 5))
    agent.start()
    return 1


def freeze_agent(cluster, random):
    agent = cluster.agents[any_agent(cluster, random)]
    agent.freeze()
    time.sleep(random.uniform(2, 10))
    agent.thaw()
    return 1


def cut_agent(cluster, random):
    cut(cluster, any_agent(cluster, random), random.uniform(2, 12))
    return 1


def disks_of_hosts(cluster):
    """Broker and node of a host on one disk: both lose what they had not flushed."""
    return {name: Disk(os.path.join(cluster.place, f"{name}.disk"), os.path.join(cluster.folder, name))
            for name in cluster.nodes}


def disks_of_brokers(cluster):
    disks = {}
    for name in cluster.brokers:
        folder = os.path.join(cluster.folder, name, "jetstream")
        os.makedirs(folder, exist_ok=True)
        disks[name] = Disk(os.path.join(cluster.place, f"{name}.disk"), folder)
    return disks


def lose_power(cluster, processes):
    """Nobody speaks any more once the first has fallen silent; then the disks stop, and all comes up from them."""
    for process in processes:
        process.freeze()
    for disk in cluster.disks.values():
        disk.lose()
    for process in processes:
        process.kill()
    for disk in cluster.disks.values():
        disk.mount_again()


def lose_power_of_brokers(cluster, random):
    lose_power(cluster, cluster.brokers.values())
    for broker in cluster.brokers.values():
        broker.start()
    return 1


def lose_power_of_hosts(cluster, random):
    lose_power(cluster, [*cluster.brokers.values(), *cluster.nodes.values()])
    for broker in cluster.brokers.values():
        broker.start()
    cluster.wait_brokers()
    for node in cluster.nodes.values():
        node.start()
    for name in cluster.nodes:
        cluster.wait_ready(name)
    return 1


def lose_power_alone(cluster, random):
    lose_power(cluster, cluster.nodes.values())
    cluster.nodes["n1"].start()
    cluster.wait_ready("n1")
    return 1


SCENARIOS = {scenario.name: scenario for scenario in [
    Scenario("alone", 5, kill_leader, Alone),
    Scenario("alone-power", 5, lose_power_alone, Alone, disks_of_hosts),
    Scenario("kill-leader", 5, kill_leader),
    Scenario("freeze-leader", 5, freeze_leader),
    Scenario("hand-over", 1, hand_over),
    Scenario("kill-log-leader", 15, kill_log_leader),
    Scenario("lame-duck", 15, lame_duck),
    Scenario("kill-all-brokers", 15, kill_all_brokers),
    Scenario("cut-leader", 15, cut_leader),
    Scenario("cut-log-leader", 15, cut_log_leader),
    Scenario("disk-full", 15, fill_disk, disks=small_disks),
    Scenario("kill-agent", 5, kill_agent),
    Scenario("freeze-agent", 5, freeze_agent),
    Scenario("cut-agent", 5, cut_agent),
    Scenario("power-brokers", 30, lose_power_of_brokers, disks=disks_of_brokers),
    Scenario("power-hosts", 30, lose_power_of_hosts, disks=disks_of_hosts),
]}
