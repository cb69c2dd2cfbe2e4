"""Stable-Baselines3, unchanged."""

import numpy
import pytest

import atelier

sb3 = pytest.importorskip("stable_baselines3")


@pytest.mark.parametrize(("world", "observation"), [("paper", "paper"), ("failures", "offers")])
def test_its_checker_is_content(short, world, observation):
    from stable_baselines3.common.env_checker import check_env

    check_env(atelier.SchedulingEnv(short(world), observation))


@pytest.mark.parametrize(("world", "observation"), [("contended", "paper"), ("failures", "offers")])
def test_ppo_trains_through_the_vector_environment(short, world, observation):
    from atelier.stable_baselines3 import VecSchedulingEnv

    environment = VecSchedulingEnv(short(world, 40), 16, observation)
    ppo = sb3.PPO("MlpPolicy", environment, n_steps=64, batch_size=256, n_epochs=2, seed=3, device="cpu")
    before = [weights.detach().numpy().copy() for weights in ppo.policy.parameters()]
    ppo.learn(4 * 64 * 16)
    after = [weights.detach().numpy() for weights in ppo.policy.parameters()]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    # Episodes were told, and earned what requests can.
    assert len(ppo.ep_info_buffer) > 0
    assert all(numpy.isfinite(episode["r"]) and episode["l"] >= 40 for episode in ppo.ep_info_buffer)


def test_what_ppo_learned_is_a_policy(short):
    from atelier.stable_baselines3 import VecSchedulingEnv

    environment = VecSchedulingEnv(short("contended", 40), 4)
    ppo = sb3.PPO("MlpPolicy", environment, n_steps=16, batch_size=64, seed=3, device="cpu").learn(64)

    def learned(observation):
        urgency = {"linear": 5.0, "quadratic": 25.0, "square_root": 5.0**0.5}[observation.request.penalty]
        state = [offer.backlog for offer in observation.offers] + [observation.time_to_due, urgency]
        (server, steps), _ = ppo.predict(numpy.array(state, numpy.float32), deterministic=True)
        return int(server), int(steps) + 1

    assert "learned" in repr(atelier.evaluate(short("contended", 40), [learned], instances=1))
