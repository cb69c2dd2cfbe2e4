"""D2SAC on the vector environment: a soft actor-critic whose actor is a diffusion model.

    python crates/python/examples/peers/d2sac.py [WORLD [REQUESTS]]

After H. Du, Z. Li, D. Niyato et al., "Diffusion-based Reinforcement Learning for Edge-enabled AI-Generated Content Services", IEEE
Transactions on Mobile Computing, 2024. Its authors schedule pictures too: their actions are servers, ours are servers
and steps out of a list.
"""

import copy
import sys
from dataclasses import dataclass

import numpy
import torch
from torch import nn
from torch.nn import functional

import atelier
import worlds


@dataclass(frozen=True)
class Settings:
    """As in its authors' program; lanes, the memory and a batch half as large are ours."""

    lanes: int = 32
    #: Chosen at random, before anything is learned.
    warm_up: int = 20_000
    memory: int = 400_000
    batch: int = 256
    #: Steps of denoising.
    chain: int = 5
    #: Chains whose mean is decided by once it has learned. A single one is one chance in ten another action.
    votes: int = 16
    hidden: int = 256
    actor_rate: float = 1e-4
    critic_rate: float = 1e-3
    decay: float = 1e-4
    #: α, of the entropy.
    temperature: float = 0.05
    #: τ, with which targets follow.
    following: float = 0.005
    #: γ
    discount: float = 0.95


class Actor(nn.Module):
    """From noise, in a few steps of denoising, to the probabilities of actions."""

    def __init__(self, width, actions, settings):
        super().__init__()
        self.actions, self.chain = actions, settings.chain
        self.time = nn.Sequential(nn.Linear(16, 32), nn.Mish(), nn.Linear(32, 16))
        self.noise = mlp(width + actions + 16, settings.hidden, actions)
        # The variance-preserving schedule: β_t = 1 − exp(−β_min / T − (2t − 1)(β_max − β_min) / (2T²)).
        t, steps = torch.arange(1, self.chain + 1, dtype=torch.float64), self.chain
        beta = 1 - torch.exp(-0.1 / steps - (2 * t - 1) * 9.9 / (2 * steps**2))
        kept = torch.cumprod(1 - beta, 0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
        # The mean of q(x_{t−1} | x_t, x_0), and its deviation.
        self.schedule = [
            tuple(float(number) for number in numbers)
            for numbers in zip(
                (1 / kept).sqrt(),
                (1 / kept - 1).sqrt(),
                beta * before.sqrt() / (1 - kept),
                (1 - before) * (1 - beta).sqrt() / (1 - kept),
                (beta * (1 - before) / (1 - kept)).sqrt(),
                strict=True,
            )
        ]
        frequencies = torch.exp(torch.arange(8) * -(numpy.log(10_000) / 7))
        angles = torch.arange(self.chain)[:, None] * frequencies
        self.register_buffer("embedded", torch.cat([angles.sin(), angles.cos()], dim=1))

    def forward(self, states):
        x = torch.randn(len(states), self.actions)
        for step in reversed(range(self.chain)):
            of_clean, of_noise, to_clean, to_x, deviation = self.schedule[step]
            time = self.time(self.embedded[step]).expand(len(states), -1)
            noise = torch.tanh(self.noise(torch.cat([x, time, states], dim=1)))
            clean = of_clean * x - of_noise * noise
            x = to_clean * clean + to_x * x
            if step > 0:
                x = x + deviation * torch.randn_like(x)
        return functional.softmax(x, dim=-1)


class Critic(nn.Module):
    """Two opinions of what each action is worth, of which the lower counts."""

    def __init__(self, width, actions, settings):
        super().__init__()
        self.first, self.second = (mlp(width, settings.hidden, actions) for _ in range(2))

    def forward(self, states):
        return self.first(states), self.second(states)

    def least(self, states):
        return torch.minimum(*self(states))


def mlp(inputs, hidden, outputs):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Mish(), nn.Linear(hidden, hidden), nn.Mish(), nn.Linear(hidden, outputs)
    )


class Memory:
    """The transitions of late, the oldest of which give way."""

    def __init__(self, size, width):
        self.states = torch.zeros(size, width)
        self.nexts = torch.zeros(size, width)
        self.actions = torch.zeros(size, dtype=torch.int64)
        self.rewards = torch.zeros(size)
        self.going_on = torch.zeros(size)
        self.written = 0

    def keep(self, states, actions, rewards, nexts, going_on):
        rows = (self.written + numpy.arange(len(actions))) % len(self.actions)
        for kept, new in (
            (self.states, states),
            (self.actions, actions),
            (self.rewards, rewards),
            (self.nexts, nexts),
            (self.going_on, going_on),
        ):
            kept[rows] = torch.as_tensor(new, dtype=kept.dtype)
        self.written += len(actions)

    def sample(self, size):
        rows = torch.randint(min(self.written, len(self.actions)), (size,))
        return self.states[rows], self.actions[rows], self.rewards[rows], self.nexts[rows], self.going_on[rows]


class Learner:
    def __init__(self, width, actions, settings):
        self.settings = settings
        self.actor, self.critic = Actor(width, actions, settings), Critic(width, actions, settings)
        self.targets = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.of_actor = torch.optim.Adam(
            self.actor.parameters(), settings.actor_rate, weight_decay=settings.decay
        )
        self.of_critic = torch.optim.Adam(
            self.critic.parameters(), settings.critic_rate, weight_decay=settings.decay
        )

    def learn(self, states, actions, rewards, nexts, going_on):
        with torch.no_grad():
            actor, critic = self.targets
            worth = (actor(nexts) * critic.least(nexts)).sum(dim=1)
            target = (rewards + self.settings.discount * going_on * worth)[:, None]
        first, second = (opinion.gather(1, actions[:, None]) for opinion in self.critic(states))
        improve(self.of_critic, functional.mse_loss(first, target) + functional.mse_loss(second, target))

        chances = self.actor(states)
        with torch.no_grad():
            worth = self.critic.least(states)
        entropy = -(chances * chances.clamp_min(1e-12).log()).sum(dim=1)
        improve(self.of_actor, -(self.settings.temperature * entropy + (chances * worth).sum(dim=1)).mean())

        for target, followed in zip(self.targets, (self.actor, self.critic), strict=True):
            for mine, its in zip(target.parameters(), followed.parameters(), strict=True):
                mine.data.lerp_(its.data, self.settings.following)


def improve(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train(world, requests, seed=1, settings=Settings()):
    """A policy that has learned from so many requests: one update for each call of the environment."""
    torch.manual_seed(seed)
    environment = atelier.SchedulingVectorEnv(worlds.scenario(world), settings.lanes, worlds.WORLDS[world])
    width = environment.single_observation_space.shape[0]
    actions = int(environment.single_action_space.nvec[0]) * len(worlds.STEPS)
    learner, memory = Learner(width, actions, settings), Memory(settings.memory, width)
    states = worlds.seen(environment.reset(seed=seed)[0])
    while memory.written < requests:
        if memory.written < settings.warm_up:
            chosen = torch.randint(actions, (settings.lanes,))
        else:
            with torch.no_grad():
                chosen = torch.multinomial(learner.actor(torch.from_numpy(states)), 1)[:, 0]
        row, rewards, over, _, information = environment.step(worlds.decision(chosen.numpy()))
        nexts = worlds.seen(row)
        # Where an episode ends, the row is already of the next one.
        last = numpy.where(over[:, None], worlds.seen(information["final_obs"]), nexts) if over.any() else nexts
        memory.keep(states, chosen, worlds.felt(rewards), last, ~over)
        states = nexts
        if memory.written >= settings.warm_up:
            learner.learn(*memory.sample(settings.batch))

    def choose(row):
        with torch.no_grad():
            chances = learner.actor(torch.from_numpy(row).expand(settings.votes, -1))
            return worlds.decision(int(chances.mean(dim=0).argmax()))

    return worlds.Trained(world, choose)


if __name__ == "__main__":
    torch.set_num_threads(1)
    world = sys.argv[1] if len(sys.argv) > 1 else "contended"
    policy = train(world, int(sys.argv[2]) if len(sys.argv) > 2 else 200_000)
    print(atelier.evaluate(worlds.scenario(world), {"greedy": "greedy", "D2SAC": policy}, instances=10))
