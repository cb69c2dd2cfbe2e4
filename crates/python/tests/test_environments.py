"""Environments: what others ask of them, and that they are the simulator to the last bit."""

import gymnasium
import numpy
import pytest
from gymnasium.utils.env_checker import check_env

import atelier

SEED = 7
WORLDS = [
    ("paper", "paper"),
    ("contended", "paper"),
    ("paper", "offers"),
    ("fleet-mixed", "offers"),
    ("noisy", "offers"),
    ("failures", "offers"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("world", "observation"), WORLDS)
def test_gymnasium_is_content(short, world, observation):
    environment = gymnasium.make("atelier/Scheduling-v0", scenario=short(world), observation=observation)
    check_env(environment.unwrapped)


@pytest.mark.parametrize(("world", "observation"), WORLDS)
def test_the_same_actions_earn_what_the_simulator_says(short, world, observation):
    print("seed", SEED)
    scenario = short(world)
    environment = gymnasium.make("atelier/Scheduling-v0", scenario=scenario, observation=observation).unwrapped
    environment.reset(seed=SEED)
    environment.action_space.seed(SEED)
    actions, rewards, over = [], [], False
    while not over:
        action = environment.action_space.sample()
        _, reward, over, _, _ = environment.step(action)
        actions.append(action)
        rewards.append(reward)

    # What the environment makes of an action that an offer does not allow is told, not hidden: so does this policy.
    class Again:
        def __init__(self, seed):
            self.actions = iter(actions)

        def decide(self, observation):
            offer, steps = next(self.actions)
            within = lambda j: min(max(int(steps) + 1, observation.offers[j].min_steps), observation.offers[j].max_steps)
            if offer >= len(observation.offers):
                finish = [o.time_to_finish(within(j)) for j, o in enumerate(observation.offers)]
                offer = finish.index(min(finish))
            return int(offer), within(offer)

    rows = atelier.simulate(scenario.instance(0, seed=SEED, training=True), Again).pandas()
    if world in ("noisy", "failures"):
        # Requests end in another order than they arrive in.
        assert sum(rewards) == pytest.approx(rows.reward.sum(), rel=1e-12)
    else:
        assert rewards == rows.reward.tolist()


@pytest.mark.parametrize(("world", "observation"), WORLDS)
def test_lanes_are_episodes_of_their_own(short, world, observation):
    scenario, lanes = short(world, 50), 5
    vector = gymnasium.make_vec(
        "atelier/Scheduling-v0", num_envs=lanes, scenario=scenario, observation=observation
    ).unwrapped
    alone = gymnasium.make("atelier/Scheduling-v0", scenario=scenario, observation=observation).unwrapped
    print("seed", SEED)
    seen, _ = vector.reset(seed=SEED)
    vector.action_space.seed(SEED)
    steps = []
    while not steps or not steps[-1][3].any():
        actions = vector.action_space.sample()
        before, (seen, rewards, over, _, _) = seen, vector.step(actions)
        steps.append((actions, before, rewards, over))
    for lane in range(lanes):
        seen, _ = alone.reset(seed=SEED, options={"episode": lane})
        for actions, before, rewards, over in steps:
            assert (seen == before[lane]).all()
            seen, reward, ended, _, _ = alone.step(actions[lane])
            assert (reward, ended) == (rewards[lane], over[lane])


def test_episodes_go_on_by_themselves(short):
    vector = atelier.SchedulingVectorEnv(short("paper", 10), 3)
    first, _ = vector.reset(seed=SEED)
    actions = numpy.zeros((3, 2), int)
    for _ in range(9):
        assert not vector.step(actions)[2].any()
    seen, _, over, truncated, information = vector.step(actions)
    assert over.all() and not truncated.any()
    assert information["_final_obs"].all() and information["final_obs"].shape == (3, 12)
    # Queues are empty and the requests are other ones.
    assert (seen[:, :10] == 0).all() and (seen[:, 10] != first[:, 10]).any()
    again, _ = vector.reset(seed=SEED)
    assert (again == first).all()


def test_unseeded_environments_differ(short):
    one, other = (atelier.SchedulingEnv(short("paper")).reset()[0] for _ in range(2))
    assert (one != other).any()


def test_policies_can_be_asked_in_an_environment(short):
    environment = atelier.SchedulingEnv(short("contended", 30), "offers")
    environment.reset(seed=SEED)
    myopic, rewards, over = atelier.Policy("myopic"), [], False
    while not over:
        offer, steps = myopic(environment.observe())
        _, reward, over, _, information = environment.step([offer, steps - 1])
        assert not information["replaced"]
        rewards.append(reward)
    assert environment.observe() is None
    rows = atelier.simulate(short("contended", 30).instance(0, seed=SEED, training=True), "myopic")
    assert rewards == rows.pandas().reward.tolist()


def test_wrong_input_is_one_line(short):
    environment = atelier.SchedulingEnv(short("paper", 2))
    environment.reset(seed=SEED)
    for action, part in [([10, 0], "allowed is [0 to 9, 0 to 199]"), ([0, 200], "lane 0 takes [0, 200]")]:
        with pytest.raises(ValueError, match="lane 0") as refused:
            environment.step(action)
        assert part in str(refused.value)
    environment.step([0, 0])
    environment.step([0, 0])
    with pytest.raises(ValueError, match="episodes are over"):
        environment.step([0, 0])
    with pytest.raises(ValueError, match='allowed is "offers"'):
        atelier.SchedulingEnv(short("noisy"))
    with pytest.raises(ValueError, match='allowed is "paper" or "offers"'):
        atelier.SchedulingEnv(short("paper"), "all")
    with pytest.raises(ValueError, match="nowhere.toml: No such file"):
        atelier.SchedulingEnv("nowhere.toml")
    with pytest.raises(ValueError, match="lanes is 0"):
        atelier.SchedulingVectorEnv(short("paper"), 0)


@pytest.mark.parametrize(("world", "observation"), WORLDS)
def test_a_row_of_an_observation_is_what_the_environment_shows(short, world, observation):
    print("seed", SEED)
    scenario = short(world, 50)
    environment = gymnasium.make("atelier/Scheduling-v0", scenario=scenario, observation=observation).unwrapped
    row, _ = environment.reset(seed=SEED)
    environment.action_space.seed(SEED)
    rows, decided, over = [], [], False
    while not over:
        action = environment.action_space.sample()
        rows.append(row.tolist())
        decided.append(action)
        row, _, over, _, _ = environment.step(action)

    class Again:
        def __init__(self, seed):
            self.shown, self.decided = iter(rows), iter(decided)

        def decide(self, seen):
            assert seen.row(observation).tolist() == next(self.shown)
            offer, steps = next(self.decided)
            return seen.nearest(int(offer), int(steps) + 1)

    instance = scenario.instance(0, seed=SEED, training=True)
    assert len(atelier.simulate(instance, Again)) == len(instance)
