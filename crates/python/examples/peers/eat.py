"""EAT's simulator, with its own formula of quality and its own reward, on arrivals of ours.

    EAT=CHECKOUT python crates/python/examples/peers/eat.py

CHECKOUT is one of https://github.com/zzf1955/EAT, of "EAT: QoS-Aware Edge-Collaborative AIGC Task Scheduling via
Attention-Guided Diffusion Reinforcement Learning". Its simulator runs as it stands; only when tasks arrive is ours. Four
equal nodes draw, one, two or four of them together on a task; whoever decides chooses a waiting task and its steps, or
waits. A picture is worth 1.2 at 5 steps and 2.8 at 30, and up to 10 if it is there within 25 s.
"""

import json
import random
import time

import gymnasium
import numpy
import torch
from torch import nn

import atelier
import eat_simulator
import worlds

CHECKOUT = worlds.checkout("EAT", "https://github.com/zzf1955/EAT")
#: As its authors have it: tasks of an episode, nodes, tasks that are seen, and the most steps of one.
TASKS, NODES, VISIBLE, MOST_STEPS = 32, 4, 10, 32
#: When an episode ends at the latest, in seconds. Theirs end after 1024; some of our arrivals take longer.
LIMIT = 10_000
#: How long a step is that starts nothing, in seconds.
TICK = 1.0
ARRIVALS = {"paper": {}, "bursty": {"arrivals.modulated.mean_interval_seconds": 15.0}}
GANGS = {"1, 2 or 4 nodes": [1, 2, 4], "1 node": [1]}

EAT = eat_simulator.load(CHECKOUT)


def simulation(gangs):
    """One of its simulations, in which tasks arrive when `begin` says."""

    class Simulation(EAT.AIGCEnv):
        def begin(self, arrivals, seed):
            self.reset(seed)
            self.task_queue.task_queue.clear()
            self.task_generator.reset()
            self.statistics = []
            self.coming = list(arrivals)
            self.task_num = len(self.coming)
            self.arrive(self.current_time)
            return self.get_obs()

        def update_time(self, working_time):
            self.cluster.working(working_time)
            self.current_time += working_time
            self.arrive(self.current_time)

        def arrive(self, now):
            while self.coming and self.coming[0] <= now:
                task = self.task_generator.get_new_task()
                task.arrival_time = self.coming.pop(0)
                self.task_queue.task_queue.append(task)

    # What its `make_env` sets.
    return Simulation(
        queue_len=VISIBLE,
        task_arrival_rate=0.0,
        node_num=NODES,
        cp=[30] * NODES,
        load_time=5,
        max_draw_steps=MOST_STEPS,
        co_num=gangs,
        w_t=250,
        w_q=10,
        w_tt=1,
        time_limite=LIMIT,
        state_dim=2,
        t=TICK,
    )


def arrivals(world, number, training=False):
    scenario = worlds.scenario(world).replace({"requests": TASKS} | ARRIVALS[world])
    return scenario.instance(number, training=training)


def times(instance):
    return instance.requests.pandas().arrival.tolist()


def quality(steps):
    """What a picture earns at 5 to 30 steps, by its formula."""
    return 10 * (0.16 * numpy.log(steps) / numpy.log(6) - 0.02)


def action(steps, task):
    """As its simulator reads it: to start something, the share of the most steps, and which task."""
    chosen = numpy.full(2 + VISIBLE, -1.0)
    chosen[[0, 1, 2 + task]] = 1.0, 2 * steps / MOST_STEPS - 1, 1.0
    return chosen


#: At −1 its simulator would not read the first number, and would start the first task.
WAIT = numpy.full(2 + VISIBLE, -0.9)


def play(simulation, instance, seed, act):
    """What a task earned, in the mean over all of them."""
    simulation.begin(times(instance), seed)
    earned, over = 0.0, False
    while not over:
        _, reward, done, cut, _ = simulation.step(act(simulation))
        earned, over = earned + reward, done or cut
    return earned / TASKS


# Its own deciders.


def published(name):
    """One of the networks that its authors published, decided by as `SACPolicy` does when it is evaluated."""
    from diffusion import Diffusion
    from diffusion.model import MLP, AttentionMLP

    file = CHECKOUT / "EAT Simu" / "res_policy" / "2_0.05_0.05_4_10_[1, 2, 4]" / f"{name}_policy.pth"
    weights = torch.load(file, map_location="cpu", weights_only=True)
    of = lambda part: {key.removeprefix(part): it for key, it in weights.items() if key.startswith(part)}
    width, hidden = 3 * (VISIBLE + NODES), 256
    if name == "sac":
        body = nn.Sequential(nn.Linear(width, hidden), nn.Mish(), nn.Linear(hidden, hidden), nn.Mish())
        body.load_state_dict(of("actor.preprocess.model.model."))
        features = lambda seen: body(seen.reshape(1, -1))
    else:
        model = {"dsac": MLP, "adsac": AttentionMLP}[name](width, hidden, [hidden, hidden])
        body = Diffusion(width, hidden, model, max_action=1.0, n_timesteps=10)
        body.load_state_dict(of("actor.preprocess."))
        features = lambda seen: body(seen[None])[0]
    mean = nn.Linear(hidden, 2 + VISIBLE)
    mean.load_state_dict(of("actor.mu.model.0."))

    def act(simulation):
        with torch.no_grad():
            seen = torch.as_tensor(simulation.get_obs(), dtype=torch.float32)
            return torch.tanh(torch.tanh(mean(features(seen))))[0].numpy()

    return act


def its_agent(name):
    if name == "greedy":
        from _agent.greedy_agent import GreedyAgent as Agent
    else:
        from _agent.random_agent import RandomAgent as Agent
    return Agent(2 + VISIBLE, -1, 1).act


# Ours.


def priced(price):
    """The most that a task can earn, less a price for the time that it takes from the others."""
    steps = numpy.arange(5, 31)
    second = {1: 0.315, 2: 0.15625, 4: 0.14}

    def act(simulation):
        queue, now = simulation.task_queue.task_queue[:VISIBLE], simulation.current_time
        free = len(simulation.cluster.get_avaliable_node_ids())
        ready = [len(group) for group in simulation.cluster.get_avaliable_group()]
        best, chosen = -numpy.inf, WAIT
        for place, task in enumerate(queue):
            nodes = task.co_num
            if nodes > free:
                continue
            duration = second[nodes] * steps + (0 if nodes in ready else 32 if nodes == 4 else 24)
            others = [now - other.arrival_time for other in queue if other is not task]
            waited = numpy.mean(others) if others else 0.0
            earned = quality(steps) + numpy.minimum(250 / (waited + duration + now - task.arrival_time), 10)
            worth = earned - price * nodes * duration
            if worth.max() > best:
                best, chosen = worth.max(), action(steps[worth.argmax()], place)
        return chosen

    return act


def tuned(world, gangs):
    """The best price on training arrivals."""
    simulated = simulation(gangs)
    earned = lambda price: numpy.mean(
        [play(simulated, arrivals(world, number, training=True), number, priced(price)) for number in range(10)]
    )
    return priced(max([0.0, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1], key=earned))


#: Its nodes as servers. Within 25 s a picture earns 10 of time, then 250 over what it took: nearly 10 − √(t − 25).
AS_OURS = """
name = "EAT"
requests = 32
tardiness_weight = 1.0
arrivals = { poisson = { mean_interval_seconds = 15.0 } }
due = { slack_seconds = [25.0, 25.0] }
penalties = { square_root = 1.0 }
models = { number = 1, popularity = { weights = [1.0] }, load_seconds = 24.0, resident = 1 }
[quality]
table = [TABLE]
[cluster]
drawn = { once = { seed = 1 } }
[[cluster.servers]]
count = 4
steps_per_second = [3.1746031746, 3.1746031746]
""".replace("TABLE", ", ".join(f"[{s}, {quality(s)}]" for s in range(5, 31)))


def ours(policy):
    """What a policy of ours decides for these arrivals, in its simulator. It decides for single nodes."""
    as_ours = atelier.Scenario.from_toml(AS_OURS)

    def deciding(instance):
        given, there = json.loads(instance.to_json()), json.loads(as_ours.instance().to_json())
        for mine, its in zip(there["requests"], given["requests"], strict=True):
            mine["arrival"], mine["due"] = its["arrival"], its["arrival"] + 25.0
        rows = atelier.simulate(atelier.Instance.from_json(json.dumps(there)), policy).pandas()
        waiting = sorted(zip(rows.start, rows.arrival, rows.steps, strict=True))

        def act(simulation):
            queue = simulation.task_queue.task_queue[:VISIBLE]
            places = {task.arrival_time: place for place, task in enumerate(queue)}
            due = [task for task in waiting if task[0] <= simulation.current_time and task[1] in places]
            if not due or not simulation.cluster.get_avaliable_node_ids():
                return WAIT
            waiting.remove(due[0])
            _, arrival, steps = due[0]
            return action(min(steps, MOST_STEPS), places[arrival])

        return act

    return deciding


class Learnable(gymnasium.Env):
    """Its simulator for learners: one training episode after another."""

    def __init__(self, world, gangs):
        self.simulation, self.world, self.episode = simulation(gangs), world, -1
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2 + VISIBLE,), numpy.float32)
        self.observation_space = gymnasium.spaces.Box(-25.0, 25.0, (3 * (VISIBLE + NODES),), numpy.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.simulation.begin(times(arrivals(self.world, self.episode, training=True)), self.episode)
        return self.seen(), {}

    def step(self, chosen):
        _, reward, done, cut, _ = self.simulation.step(chosen.astype(numpy.float64))
        return self.seen(), reward, done, cut, {}

    def seen(self):
        seen = self.simulation.get_obs().copy()
        # How long a task waits, not when it came.
        waiting = seen[:VISIBLE, 2] > 0
        seen[:VISIBLE, 0] = numpy.where(waiting, self.simulation.current_time - seen[:VISIBLE, 0], 0.0)
        return worlds.seen(seen.ravel()).astype(numpy.float32)


def ppo(world, gangs, steps=200_000):
    """Stable-Baselines3's PPO, with its own settings, trained in its simulator."""
    from stable_baselines3 import PPO

    environment = Learnable(world, gangs)
    learner = PPO("MlpPolicy", environment, seed=1, device="cpu").learn(steps)

    def act(simulation):
        environment.simulation = simulation
        return learner.predict(environment.seen(), deterministic=True)[0].astype(numpy.float64)

    return act


#: Who decides, made for arrivals of a world and gangs of nodes. Policies of ours have names, and single nodes only.
DECIDERS = {
    "random, its": lambda world, gangs: its_agent("random"),
    "greedy, its": lambda world, gangs: its_agent("greedy"),
    "SAC, published": lambda world, gangs: published("sac"),
    "diffusion SAC, published": lambda world, gangs: published("dsac"),
    "EAT, published": lambda world, gangs: published("adsac"),
    "PPO, trained there": ppo,
    "a price for node time, tuned there": tuned,
    "`myopic`": "myopic",
    "`agent[universal]`": "agent[universal]",
}


def measure(decider, world, gangs, instances):
    """What a task earned in each instance, and the processor time of training."""
    began = time.process_time()
    act = ours(decider) if isinstance(decider, str) else decider(world, gangs)
    trained = time.process_time() - began
    random.seed(1)
    numpy.random.seed(1)
    torch.manual_seed(1)
    earned = []
    for number in range(instances):
        instance = arrivals(world, number)
        decide = act(instance) if isinstance(decider, str) else act
        earned.append(play(simulation(gangs), instance, number, decide))
    return numpy.array(earned), trained


def main(instances=50):
    torch.set_num_threads(1)
    places = [(world, called) for world in ARRIVALS for called in GANGS]
    print("| reward per task | " + " | ".join(f"{world}, {called}" for world, called in places) + " |")
    print("|---" * (1 + len(places)) + "|")
    for name, decider in DECIDERS.items():
        cells = []
        for world, called in places:
            if isinstance(decider, str) and called != "1 node":
                cells.append("—")
                continue
            earned, trained = measure(decider, world, GANGS[called], instances)
            half = 1.96 * earned.std(ddof=1) / instances**0.5
            cells.append(f"{earned.mean():.2f} ± {half:.2f}" + (f", {trained / 60:.1f} min" if trained > 6 else ""))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
