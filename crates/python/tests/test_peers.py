"""The examples that compare: they learn, and what they learn decides what they were shown."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy
import pytest
import torch

import atelier

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/peers"))

import d2sac  # noqa: E402
import ppo  # noqa: E402
import worlds  # noqa: E402

SMALL = replace(d2sac.Settings(), lanes=8, warm_up=80, batch=32)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Short episodes."""
    whole = worlds.scenario
    monkeypatch.setattr(worlds, "scenario", lambda world: whole(world).replace({"requests": 60}))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("world", worlds.WORLDS)
def test_worlds_with_actions_out_of_a_list_are_environments(world):
    # As CleanRL makes it; what is seen, done and earned is checked at each step.
    environment = gymnasium.make(f"worlds:{world}-v0")
    assert environment.action_space.n == 10 * len(worlds.STEPS)
    seen, _ = environment.reset(seed=1)
    environment.action_space.seed(1)
    over = False
    while not over:
        assert seen in environment.observation_space
        seen, reward, over, _, _ = environment.step(environment.action_space.sample())
        assert math.isfinite(reward)


def test_a_checkout_that_there_is_not_is_named(monkeypatch):
    for given in (None, "/no/such"):
        monkeypatch.setenv("EAT", given) if given else monkeypatch.delenv("EAT", raising=False)
        with pytest.raises(SystemExit, match=f"EAT is {given!r}: allowed is the folder of a checkout of https://e"):
            worlds.checkout("EAT", "https://example.org")


def test_every_entry_of_the_list_is_a_decision_of_its_own():
    decisions = worlds.decision(numpy.arange(10 * len(worlds.STEPS)))
    assert decisions[0].tolist() == [0, 9] and decisions[-1].tolist() == [9, 199]
    assert len({tuple(decision) for decision in decisions.tolist()}) == 10 * len(worlds.STEPS)


def test_what_is_learned_from_rises_with_what_is_earned():
    rewards = numpy.array([-1e9, -1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 64.0])
    felt = worlds.felt(rewards)
    assert (numpy.diff(felt) > 0).all() and felt[4] == -1.0 and felt[0] > -20


def test_the_chain_of_d2sac_denoises():
    torch.manual_seed(1)
    actor = d2sac.Actor(3, 5, d2sac.Settings())
    chances = actor(torch.zeros(7, 3))
    assert chances.shape == (7, 5)
    assert torch.allclose(chances.sum(dim=1), torch.ones(7)) and (chances > 0).all()
    # The last step of the chain adds no noise; the first begins with nearly nothing else.
    _, _, to_clean, to_x, deviation = actor.schedule[0]
    assert deviation == 0 and to_clean == pytest.approx(1) and to_x == 0
    of_clean = actor.schedule[-1][0]
    assert 0 < 1 / of_clean**2 < 0.01


def test_d2sac_learns_to_tell_a_good_action_from_a_bad_one():
    torch.manual_seed(1)
    learner = d2sac.Learner(2, 4, replace(d2sac.Settings(), hidden=32, actor_rate=3e-3, critic_rate=1e-2))
    states = torch.zeros(64, 2)
    for _ in range(400):
        actions = torch.randint(4, (64,))
        learner.learn(states, actions, (actions == 2).float(), states, torch.zeros(64))
    with torch.no_grad():
        assert learner.actor(states).mean(dim=0).argmax() == 2


@pytest.mark.parametrize("world", ["contended", "fleet"])
@pytest.mark.parametrize("learner", ["D2SAC", "PPO"])
def test_what_was_learned_is_a_policy(world, learner):
    if learner == "D2SAC":
        policy = d2sac.train(world, 400, settings=SMALL)
    else:
        policy = ppo.stable_baselines3(world, 8192)
    scenario = worlds.scenario(world)
    frame = atelier.evaluate(scenario, {"learned": policy}, instances=2).instances.pandas()
    assert frame.policy.tolist() == ["learned"] * 2 and numpy.isfinite(frame.reward).all()
