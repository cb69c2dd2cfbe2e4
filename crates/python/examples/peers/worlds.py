"""The worlds, as learners of other libraries see them: numbers of one scale, and actions out of a list."""

import os
import sys
from pathlib import Path

import gymnasium
import numpy

import atelier

SCENARIOS = Path(__file__).resolve().parents[4] / "scenarios"

#: The worlds, each with the observations that it needs.
WORLDS = {"paper": "paper", "contended": "paper", "bursty": "paper", "fleet": "offers"}

#: Numbers of steps in the list of actions, for learners that choose out of one.
STEPS = range(10, 201, 10)


def checkout(name, address):
    """The folder that an environment variable names: somebody else's program, of which nothing is kept here."""
    given = os.environ.get(name)
    if given is None or not Path(given).is_dir():
        sys.exit(f"{name} is {given!r}: allowed is the folder of a checkout of {address}")
    return Path(given).resolve()


def scenario(world):
    return atelier.Scenario.load(SCENARIOS / f"{world}.toml")


def seen(row):
    """Seconds over many orders of magnitude, in logarithms."""
    return numpy.sign(row) * numpy.log1p(numpy.abs(row))


def felt(reward):
    """Rewards of one scale: from what no picture earns downwards in logarithms, as penalties may be millions."""
    scaled = (reward - 50.0) / 50.0
    return numpy.where(scaled < -1.0, -1.0 - numpy.log(numpy.maximum(-scaled, 1.0)), scaled)


def decision(action):
    """The server and the steps less one of the entry of the list."""
    server, steps = numpy.divmod(action, len(STEPS))
    return numpy.stack([server, numpy.asarray(STEPS)[steps] - 1], axis=-1)


class Learnable(gymnasium.Wrapper):
    """One episode at a time, with actions out of a list."""

    def __init__(self, environment):
        super().__init__(environment)
        self.observation_space = gymnasium.spaces.Box(-25.0, 25.0, environment.observation_space.shape)
        self.action_space = gymnasium.spaces.Discrete(environment.action_space.nvec[0] * len(STEPS))

    def reset(self, *, seed=None, options=None):
        row, information = self.env.reset(seed=seed, options=options)
        return seen(row), information

    def step(self, action):
        row, reward, over, cut, information = self.env.step(decision(action))
        return seen(row), float(felt(reward)), over, cut, information


def learnable(world):
    return Learnable(atelier.SchedulingEnv(scenario(world), WORLDS[world]))


for world in WORLDS:
    gymnasium.register(f"{world}-v0", lambda world=world: learnable(world))


class Trained:
    """What was trained on rows, as a policy: it chooses an action for each."""

    def __init__(self, world, choose):
        self.observation, self.choose = WORLDS[world], choose

    def decide(self, observation):
        server, steps = self.choose(seen(observation.row(self.observation)))
        return observation.nearest(int(server), int(steps) + 1)
