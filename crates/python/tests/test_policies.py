"""Policies: those with names, functions, classes, and files."""

import importlib.util
import pathlib

import pytest

import atelier

THRIFTY = pathlib.Path(__file__).parents[2] / "atelier/examples/thrifty.py"
WORLDS = ["paper", "contended", "fleet-mixed", "noisy", "failures"]


def rows(instance, policy):
    return atelier.simulate(instance, policy).pandas()


def function_in(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.decide


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["greedy", "myopic", "priced[base=0.1,slope=1]", "agent[universal]"])
def test_a_named_policy_is_a_function(short, world, name):
    instance, policy = short(world).instance(0), atelier.Policy(name)
    assert rows(instance, lambda observation: policy(observation)).equals(rows(instance, name))


@pytest.mark.parametrize("world", WORLDS)
def test_a_file_and_a_function_see_the_same(short, world, tmp_path):
    """Whatever a policy may look at is the same to the last bit on both ways."""
    file = tmp_path / "curious.py"
    file.write_text(
        """
import hashlib

seen = ""

def decide(observation):
    global seen
    request = observation.request
    facts = [observation.now, observation.time_to_due, observation.tardiness_weight, observation.mean_interval,
             request.arrival, request.due, request.penalty, request.model, request.size]
    for number, offer in enumerate(observation.offers):
        facts += [offer.backlog, offer.load, offer.overhead, offer.steps_per_second, offer.min_steps, offer.max_steps,
                  offer.sigma]
        middle = (offer.min_steps + offer.max_steps) // 2
        facts += [offer.service_time(middle), offer.time_to_finish(middle), observation.quality(middle),
                  observation.reward(number, middle)]
        facts += [offer.most_steps_within(seconds) for seconds in (0.0, 1.0, 3.7, offer.service_time(60), 1e6)]
    seen = hashlib.sha256((seen + repr(facts)).encode()).hexdigest()
    offer = int(seen, 16) % len(observation.offers)
    bounds = observation.offers[offer]
    return offer, bounds.min_steps + int(seen, 16) // 7 % (bounds.max_steps - bounds.min_steps + 1)
"""
    )
    instance = short(world).instance(0)
    assert rows(instance, f"file[{file}]").equals(rows(instance, function_in(file)))


def test_the_example_is_in_the_table_beside_the_others(scenarios):
    evaluation = atelier.evaluate(
        scenarios / "contended.toml", ["greedy", function_in(THRIFTY), f"file[{THRIFTY}]"], instances=2
    )
    greedy, function, file = evaluation.policies.pandas().itertuples()
    assert function.policy == "decide" and file.policy == f"file[{THRIFTY}]"
    assert function[2:] == file[2:] and function.reward != greedy.reward
    assert "file[" in repr(evaluation) and "┌" in repr(evaluation)


class Dice:
    """Draws what it does; as many objects as instances."""

    made = []

    def __init__(self, seed):
        import random

        self.random = random.Random(seed)
        self.made.append(seed)

    def decide(self, observation):
        return self.random.randrange(len(observation.offers)), self.random.randint(1, 200)


def test_classes_are_made_anew_for_each_instance_with_a_seed_of_its_own(short):
    evaluate = lambda: atelier.evaluate(short("paper"), [Dice], instances=6).to_json()
    first = evaluate()
    seeds = sorted(Dice.made)
    assert len(set(seeds)) == 6
    assert evaluate() == first and sorted(Dice.made[6:]) == seeds


def test_an_exception_is_raised_where_the_evaluation_was_called(short):
    def failing(observation):
        if observation.now > 100:
            raise KeyError("what I forgot")
        return 0, 30

    for run in (
        lambda: atelier.evaluate(short("paper"), ["greedy", failing], instances=3),
        lambda: atelier.simulate(short("paper").instance(), failing),
    ):
        with pytest.raises(KeyError, match="what I forgot"):
            run()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((10, 30), "policy wrong: offer 10 is taken: allowed is 0 to 9"),
        ((-1, 30), "policy wrong: offer -1 is taken: allowed is 0 to 9"),
        ((0, 0), "policy wrong: 0 steps are taken of offer 0: allowed is 1 to 200"),
        ((0, 201), "policy wrong: 201 steps are taken of offer 0: allowed is 1 to 200"),
    ],
)
def test_decisions_that_there_are_not_are_refused(short, answer, problem, tmp_path):
    def wrong(observation):
        return answer

    with pytest.raises(ValueError) as refused:
        atelier.simulate(short("paper").instance(), wrong)
    assert str(refused.value) == problem
    file = tmp_path / "wrong.py"
    file.write_text(f"def decide(observation):\n    return {answer}\n")
    with pytest.raises(ValueError) as refused:
        atelier.simulate(short("paper").instance(), f"file[{file}]")
    assert str(refused.value) == problem.replace("wrong", f"file[{file}]")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\n", "AttributeError: it has neither a function decide(observation) nor a class Policy"),
        ("def decide(observation)\n    return 0, 1\n", "line 1: SyntaxError: expected ':'"),
        ("import nothing_of_that_name\n", "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def decide(observation):\n    return 1 / 0, 1\n", "line 2: ZeroDivisionError: division by zero"),
        ("def decide(observation):\n    return 0.5, 1\n", "TypeError: 'float' object cannot be interpreted as an integer"),
        ("def decide(observation):\n    import os\n    os._exit(3)\n", "its process has ended"),
        ("class Policy:\n    def __init__(self):\n        pass\n", "takes 1 positional argument but 2 were given"),
    ],
)
def test_files_that_fail_say_where(short, text, problem, tmp_path):
    file = tmp_path / "failing.py"
    file.write_text(text)
    with pytest.raises(ValueError) as refused:
        atelier.simulate(short("paper").instance(), f"file[{file}]")
    message = str(refused.value)
    assert message.startswith(f"policy file[{file}]: ") and message.endswith(problem) and "\n" not in message


def test_files_may_print_and_have_a_class_and_neighbours(short, tmp_path):
    (tmp_path / "helper.py").write_text("STEPS = 17\n")
    file = tmp_path / "talking.py"
    file.write_text(
        """
import random
from helper import STEPS

class Policy:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def decide(self, observation):
        print("what a policy prints is for people")
        return self.random.randrange(len(observation.offers)), STEPS
"""
    )
    evaluate = lambda: atelier.evaluate(short("paper", 20), [f"file[{file}]"], instances=4).to_json()
    assert evaluate() == evaluate()


def test_wrong_names_are_refused():
    for name, part in [("best", "no such policy"), ("file[]", "a file with a policy"), ("file[no.py]", "No such file")]:
        with pytest.raises(ValueError, match="policy") as refused:
            atelier.Policy(name)
        assert part in str(refused.value)


def test_a_named_policy_goes_on_through_an_episode_and_begins_anew_with_the_next(short):
    environment = atelier.SchedulingEnv(short("contended", 30), "offers")
    policy = atelier.Policy("random", seed=7)

    def episode():
        environment.reset(seed=3)
        decisions, over = [], False
        while not over:
            decisions.append(policy(environment.observe()))
            offer, steps = decisions[-1]
            _, _, over, _, _ = environment.step([offer, steps - 1])
        return decisions

    first = episode()
    assert len(set(first)) > 5, "numbers are drawn one after another"
    assert episode() == first


def test_a_shared_policy_decides_each_instance_by_itself(short):
    scenario = short("contended", 100)
    policy = atelier.Policy("random", seed=7)
    shared = lambda observation: policy(observation)
    together = atelier.evaluate(scenario, {"shared": shared}, instances=6).instances.pandas().reward.tolist()
    apart = [atelier.simulate(scenario.instance(number), shared).pandas().reward.mean() for number in range(6)]
    assert together == pytest.approx(apart, rel=1e-12)


def test_what_a_row_or_an_action_cannot_be_is_said(short):
    def refused(observation):
        with pytest.raises(ValueError, match='observation is "rows": allowed is "paper" or "offers"'):
            observation.row("rows")
        with pytest.raises(ValueError, match="steps"):
            observation.nearest(0, 201)
        assert observation.nearest(99, 200)[1] <= 200
        return 0, observation.offers[0].min_steps

    atelier.simulate(short("contended", 2).instance(), refused)
