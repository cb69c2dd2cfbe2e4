"""What runs a policy that stands in a file of its own: one line of JSON in, one out.

    python3 -c BRIDGE POLICY.py

The file has a function `decide(observation)`, or a class `Policy` with that method. Of the class there is a new one
for each instance, as `Policy(seed)`. Both return the index of an offer and a number of steps.
"""

import importlib.util
import json
import operator
import os
import random
import sys
import traceback


class Offer:
    """What one server offers one request. All times are in seconds."""

    __slots__ = ("backlog", "load", "overhead", "steps_per_second", "min_steps", "max_steps", "sigma")

    def __init__(self, backlog, load, overhead, steps_per_second, min_steps, max_steps, sigma):
        self.backlog = backlog
        self.load = load
        self.overhead = overhead
        self.steps_per_second = steps_per_second
        self.min_steps = min_steps
        self.max_steps = max_steps
        self.sigma = sigma

    def service_time(self, steps):
        return self.load + self.overhead + steps / self.steps_per_second

    def time_to_finish(self, steps):
        return self.backlog + self.service_time(steps)

    def most_steps_within(self, seconds):
        near = int(min(max((seconds - (self.load + self.overhead)) * self.steps_per_second, 1.0), 200.0))
        for steps in (min(near + 1, 200), near, max(near - 1, 1)):
            if self.service_time(steps) <= seconds:
                return steps
        return None


class Request:
    """The request to be decided."""

    __slots__ = ("arrival", "due", "penalty", "model", "size")

    def __init__(self, arrival, due, penalty, model, size):
        self.arrival = arrival
        self.due = due
        self.penalty = penalty
        self.model = model
        self.size = size


class Observation:
    """All that a policy may know."""

    __slots__ = ("now", "request", "offers", "mean_interval", "_objective", "_asked")

    def __init__(self, now, request, offers, mean_interval, objective, asked):
        self.now = now
        self.request = Request(*request)
        self.offers = [Offer(*offer) for offer in offers]
        self.mean_interval = mean_interval
        self._objective = objective
        self._asked = asked

    @property
    def time_to_due(self):
        return self.request.due - self.now

    @property
    def tardiness_weight(self):
        return self._objective["tardiness_weight"]

    def quality(self, steps):
        return self._objective["qualities"][operator.index(steps) - 1]

    def reward(self, offer, steps):
        return self._asked({"reward": [operator.index(offer), operator.index(steps)]})


def main():
    # What a policy prints is for people; the answers go another way.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(answer):
        answers.write(json.dumps(answer))
        answers.write("\n")
        answers.flush()

    def asked(question):
        tell(question)
        return json.loads(sys.stdin.readline())

    file = sys.argv[1]
    make, decide, objective = None, None, None
    try:
        make = makers(file)
        tell("ready")
    except BaseException as error:
        return tell({"error": told(error, file)})
    for line in sys.stdin:
        kind, value = json.loads(line)
        if kind == "objective":
            objective = value
            continue
        try:
            if kind == "new":
                random.seed(value)
                decide = make(value)
                tell("ready")
            else:
                offer, steps = decide(Observation(*value, objective, asked))
                tell({"decision": [operator.index(offer), operator.index(steps)]})
        except BaseException as error:
            tell({"error": told(error, file)})


def makers(file):
    """What makes the function that decides, from a seed."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(file)))
    spec = importlib.util.spec_from_file_location("policy", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["policy"] = module
    spec.loader.exec_module(module)
    if hasattr(module, "Policy"):
        return lambda seed: module.Policy(seed).decide
    if hasattr(module, "decide"):
        return lambda seed: module.decide
    raise AttributeError("it has neither a function decide(observation) nor a class Policy")


def told(error, file):
    """An exception in one line, with the place in the policy's file."""
    where = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == os.path.abspath(file)]
    if isinstance(error, SyntaxError) and error.lineno:
        where = [error.lineno]
    place = f"line {where[-1]}: " if where else ""
    return place + "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]


main()
