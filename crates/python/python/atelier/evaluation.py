"""What policies are worth, and what was possible."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Protocol, TypeAlias

from . import _core
from ._core import Instance, Observation, Policy, Scenario
from .frame import Frame

#: A scenario or its file, an instance or its file, or several instances.
Source: TypeAlias = Scenario | Instance | str | PathLike[str] | list[Instance]


class Decider(Protocol):
    """Something that decides."""

    def decide(self, observation: Observation, /) -> tuple[int, int]: ...


#: A name, a named policy, a function of an observation, something with such a method called `decide`, or a class of
#: such things: of that there is a new one for each instance, made with a seed.
PolicyLike: TypeAlias = str | Policy | Callable[[Observation], tuple[int, int]] | Decider | Callable[[int], Decider]


class Evaluation:
    """Policies on common instances. Printed, it is the table of the command `evaluate`."""

    def __init__(self, core: _core.Evaluation) -> None:
        self._core = core

    @property
    def policies(self) -> Frame:
        """One row for each policy: means over instances, with the ends of their 95 % intervals."""
        return Frame(self._core.policies)

    @property
    def instances(self) -> Frame:
        """One row for each policy and instance."""
        return Frame(self._core.instances)

    def to_json(self) -> str:
        """As the command `evaluate --json` writes it."""
        return self._core.to_json()

    def __repr__(self) -> str:
        return repr(self._core)


def evaluate(
    source: Source,
    policies: Iterable[PolicyLike] | Mapping[str, PolicyLike],
    *,
    instances: int = 50,
    seed: int = 1,
    clairvoyant: int | None = None,
) -> Evaluation:
    """Lets policies decide the same instances: so many of a scenario, or all that are given.

    Functions are called what their `__name__` says, or what a mapping calls them. With `clairvoyant`, so many rounds
    of search for what was possible. An exception of a policy ends the evaluation and is raised here.
    """
    named: list[tuple[str | None, PolicyLike]]
    named = list(policies.items()) if isinstance(policies, Mapping) else [(None, policy) for policy in policies]
    return Evaluation(_core.evaluate(source, named, instances=instances, seed=seed, clairvoyant=clairvoyant))


def simulate(instance: Instance, policy: PolicyLike, *, seed: int = 1) -> Frame:
    """What a policy makes of an instance: one row for each request, in order of arrival."""
    return Frame(_core.simulate(instance, policy, seed=seed))


@dataclass(frozen=True)
class Tuned:
    """Prices of server time that were fitted."""

    #: The policy with these prices.
    policy: Policy
    #: What it earned per request on the training instances.
    reward: float
    #: What 99 of 100 requests were no later than there, in seconds.
    tardiness_p99: float


def tune(source: Source, *, instances: int = 8, seed: int = 1, p99_below: float | None = None) -> Tuned:
    """Fits the prices of `priced` to training instances, for the largest reward.

    With `p99_below`, for the largest one at which 99 of 100 requests are no later than so many seconds.
    """
    name, reward, tardiness = _core.tune(source, instances=instances, seed=seed, p99_below=p99_below)
    return Tuned(Policy(name), reward, tardiness)


@dataclass(frozen=True)
class Bound:
    """What was possible on an instance, per request."""

    #: Proven: no schedule earns more.
    upper_bound: float
    #: What the best schedule earns that was found.
    reward: float
    #: That schedule.
    rows: Frame


def bound(instance: Instance, *, seconds: float | None = None, seed: int = 1) -> Bound:
    """What any schedule can earn that knows all arrivals, and one that comes close. Ends after so many seconds."""
    found = _core.bound(instance, seconds=seconds, seed=seed)
    return Bound(found.upper_bound, found.reward, Frame(found.rows))
