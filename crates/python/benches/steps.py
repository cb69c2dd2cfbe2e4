"""Steps per second through the vector environment, with actions that were drawn before: the median of five runs.

    python crates/python/benches/steps.py [SCENARIO]

With EAT, a checkout of https://github.com/zzf1955/EAT, its simulator is timed in turns with ours, one environment at a
time, as its authors run it.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import gymnasium

import atelier  # noqa: F401

LANES, CALLS, RUNS = 256, 2000, 5


def ours(scenario, observation):
    environment = gymnasium.make_vec(
        "atelier/Scheduling-v0", num_envs=LANES, scenario=scenario, observation=observation
    )
    environment.reset(seed=1)
    environment.action_space.seed(1)
    actions = [environment.action_space.sample() for _ in range(50)]

    def run():
        for call in range(CALLS):
            environment.step(actions[call % len(actions)])
        return LANES * CALLS

    return run


def theirs(checkout):
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples/peers"))
    import eat_simulator

    environment, _, _ = eat_simulator.load(checkout).make_env(0, 0, node_num=4, queue_len=10, task_arrival_rate=0.05, co_num=[1, 2, 4], t=1)
    environment.reset()
    environment.action_space.seed(1)
    actions = [environment.action_space.sample() for _ in range(50)]

    def run():
        for call in range(CALLS):
            _, _, done, truncated, _ = environment.step(actions[call % len(actions)])
            if done or truncated:
                environment.reset()
        return CALLS

    return run


def main():
    scenario = sys.argv[1] if len(sys.argv) > 1 else "scenarios/paper.toml"
    timed = {observation: ours(scenario, observation) for observation in ("paper", "offers")}
    if "EAT" in os.environ:
        timed["EAT"] = theirs(os.environ["EAT"])
    rates = {name: [] for name in timed}
    for _ in range(RUNS):
        for name, run in timed.items():
            began = time.perf_counter()
            steps = run()
            rates[name].append(steps / (time.perf_counter() - began))
    for name, runs in rates.items():
        print(f"{name:8}{statistics.median(runs):12,.0f} steps/s ({min(runs):,.0f} to {max(runs):,.0f})")
    if "EAT" in rates:
        ratios = [ours / theirs for ours, theirs in zip(rates["paper"], rates["EAT"], strict=True)]
        print(f"paper / EAT: {statistics.median(ratios):,.0f}")


main()
