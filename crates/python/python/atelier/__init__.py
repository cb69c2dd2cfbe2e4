"""Scheduling of text-to-image requests: which server runs each of them, and how many denoising steps it gets.

Environments for reinforcement learning::

    import atelier, gymnasium
    environment = gymnasium.make("atelier/Scheduling-v0", scenario="scenarios/paper.toml")

Policies, by name or as functions, on instances that all of them share::

    def first(observation):
        offers = observation.offers
        offer = min(range(len(offers)), key=lambda j: offers[j].backlog)
        return offer, 30

    atelier.evaluate("scenarios/contended.toml", ["greedy", "agent[universal]", first])
"""

import gymnasium

from ._core import Instance, Observation, Offer, Policy, Request, Scenario, __version__
from .evaluation import Bound, Evaluation, Tuned, bound, evaluate, simulate, tune
from .frame import Frame
from .single import SchedulingEnv
from .vector import SchedulingVectorEnv

__all__ = [
    "Bound",
    "Evaluation",
    "Frame",
    "Instance",
    "Observation",
    "Offer",
    "Policy",
    "Request",
    "Scenario",
    "SchedulingEnv",
    "SchedulingVectorEnv",
    "Tuned",
    "__version__",
    "bound",
    "evaluate",
    "simulate",
    "tune",
]

gymnasium.register(
    id="atelier/Scheduling-v0",
    entry_point="atelier.single:SchedulingEnv",
    vector_entry_point="atelier.vector:SchedulingVectorEnv",
)
