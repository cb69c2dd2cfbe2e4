"""One table: learners of other libraries beside our own, on the same instances, with the time that they learned.

    CLEANRL=CHECKOUT python crates/python/examples/peers/compare.py [WORLD]…

What has been measured is kept in `peers.jsonl` where the command was given, and is not measured again. Several worlds
can be measured at once, by several commands in one folder. Times are those of processors, one thread each but for
Algorithm 1, so that other work on the machine hardly matters.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import atelier
import d2sac
import ppo
import worlds

KEPT = Path("peers.jsonl")
INSTANCES = 50


def named(name):
    return lambda world: atelier.Policy(name)


def tuned(world):
    return atelier.tune(worlds.scenario(world)).policy


def algorithm1(world):
    """Where the paper's state says all: not in a fleet."""
    if worlds.WORLDS[world] != "paper":
        return None
    command = [os.environ.get("ATELIER", "atelier"), "train", "--scenario", worlds.SCENARIOS / f"{world}.toml"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "--seed", "1", "--out", folder], check=True, stdout=subprocess.DEVNULL)
        return atelier.Policy(f"agent[{folder}]")


LEARNERS = {
    "`random`": named("random"),
    "`greedy`": named("greedy"),
    "`myopic`": named("myopic"),
    "`priced`, tuned there": tuned,
    "Algorithm 1": algorithm1,
    "D2SAC": lambda world: d2sac.train(world, 300_000),
    "PPO, Stable-Baselines3": lambda world: ppo.stable_baselines3(world, 3_000_000),
    "PPO, CleanRL": lambda world: ppo.cleanrl(world, 4_000_000),
    "`agent[universal]`": named("agent[universal]"),
}


def processors():
    """Seconds of processors so far, of this command and of those that it has run."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(learner, world):
    began = processors()
    policy = LEARNERS[learner](world)
    seconds = processors() - began
    if policy is None:
        return None
    evaluation = atelier.evaluate(worlds.scenario(world), {learner: policy}, instances=INSTANCES)
    (row,) = evaluation.policies.arrow().to_pylist()
    return {"learner": learner, "world": world, "seconds": seconds} | row


def kept():
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return {(cell["learner"], cell["world"]): cell for cell in map(json.loads, lines)}


def table(cells):
    print("| | " + " | ".join(worlds.WORLDS) + " |")
    print("|---" * (1 + len(worlds.WORLDS)) + "|")
    for learner in LEARNERS:
        shown = []
        for world in worlds.WORLDS:
            cell = cells.get((learner, world))
            if cell is None:
                shown.append("—")
                continue
            half = (cell["reward_high"] - cell["reward_low"]) / 2
            trained = f", {cell['seconds'] / 60:.1f} min" if cell["seconds"] > 1 else ""
            digits = 2 if abs(cell["reward"]) < 1000 else 0
            shown.append(f"{cell['reward']:,.{digits}f} ± {half:,.{digits}f}{trained}".replace("-", "−"))
        print(f"| {learner} | " + " | ".join(shown) + " |")


def main():
    torch.set_num_threads(1)
    for world in sys.argv[1:] or worlds.WORLDS:
        for learner in LEARNERS:
            if (learner, world) in kept():
                continue
            cell = measure(learner, world)
            if cell is not None:
                with KEPT.open("a") as file:
                    file.write(json.dumps(cell) + "\n")
                print(f"{world}, {learner}: {cell['reward']:.2f}", file=sys.stderr)
    table(kept())


if __name__ == "__main__":
    main()
