"""PPO, twice: Stable-Baselines3's, and CleanRL's single file, as its authors wrote it.

    CLEANRL=CHECKOUT python crates/python/examples/peers/ppo.py [WORLD [REQUESTS]]

CHECKOUT is one of https://github.com/vwxyzjn/cleanrl. Its `ppo.py` is run as it stands.
"""

import contextlib
import io
import os
import runpy
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnvWrapper

import atelier
import worlds
from atelier.stable_baselines3 import VecSchedulingEnv


class Learnable(VecEnvWrapper):
    """Numbers of one scale, in all lanes at once."""

    def reset(self):
        return worlds.seen(self.venv.reset())

    def step_wait(self):
        rows, rewards, over, information = self.venv.step_wait()
        for lane in numpy.flatnonzero(over):
            information[lane]["terminal_observation"] = worlds.seen(information[lane]["terminal_observation"])
        return worlds.seen(rows), worlds.felt(rewards), over, information


def stable_baselines3(world, requests, seed=1):
    """With the paper's two branches. Settings are the library's own, but for rollouts and batches."""
    lanes = VecSchedulingEnv(worlds.scenario(world), 64, worlds.WORLDS[world])
    learner = PPO("MlpPolicy", Learnable(lanes), n_steps=128, batch_size=512, seed=seed, device="cpu")
    learner.learn(requests)
    return worlds.Trained(world, lambda row: learner.predict(row, deterministic=True)[0])


def cleanrl(world, requests, seed=1):
    """With actions out of a list."""
    program = worlds.checkout("CLEANRL", "https://github.com/vwxyzjn/cleanrl") / "cleanrl" / "ppo.py"
    here, arguments = Path.cwd(), sys.argv
    sys.argv = [
        str(program),
        *("--env-id", f"worlds:{world}-v0"),
        *("--total-timesteps", str(requests)),
        *("--num-envs", "16"),
        *("--seed", str(seed)),
        "--no-cuda",
    ]
    # It writes its curves where it stands, and says a thousand times how fast it is.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            agent = runpy.run_path(str(program), run_name="__main__")["agent"]
        finally:
            os.chdir(here)
            sys.argv = arguments

    def choose(row):
        with torch.no_grad():
            return worlds.decision(int(agent.actor(torch.from_numpy(row)).argmax()))

    return worlds.Trained(world, choose)


if __name__ == "__main__":
    torch.set_num_threads(1)
    world = sys.argv[1] if len(sys.argv) > 1 else "contended"
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    policies = {"greedy": "greedy", "PPO (Stable-Baselines3)": stable_baselines3(world, requests)}
    if "CLEANRL" in os.environ:
        policies["PPO (CleanRL)"] = cleanrl(world, requests)
    print(atelier.evaluate(worlds.scenario(world), policies, instances=10))
