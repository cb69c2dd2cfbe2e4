"""Steps per second through the vector environment, with actions that were drawn before: the median of five runs.

    python crates/python/benches/steps.py [SCENARIO]
"""

import statistics
import sys
import time

import gymnasium

import atelier  # noqa: F401

LANES, CALLS, RUNS = 256, 2000, 5


def steps_per_second(environment):
    environment.reset(seed=1)
    environment.action_space.seed(1)
    actions = [environment.action_space.sample() for _ in range(50)]
    began = time.perf_counter()
    for call in range(CALLS):
        environment.step(actions[call % len(actions)])
    return LANES * CALLS / (time.perf_counter() - began)


def main():
    scenario = sys.argv[1] if len(sys.argv) > 1 else "scenarios/paper.toml"
    for observation in ("paper", "offers"):
        environment = gymnasium.make_vec(
            "atelier/Scheduling-v0", num_envs=LANES, scenario=scenario, observation=observation
        )
        runs = [steps_per_second(environment) for _ in range(RUNS)]
        low, middle, high = min(runs), statistics.median(runs), max(runs)
        print(f"{observation}: {middle / 1e6:.2f} million steps/s ({low / 1e6:.2f} to {high / 1e6:.2f}), {LANES} lanes")


main()
