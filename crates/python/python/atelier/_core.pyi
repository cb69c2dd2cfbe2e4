from collections.abc import Sequence
from os import PathLike
from typing import Any, final

import numpy
from numpy.typing import NDArray

from .evaluation import PolicyLike, Source
from .frame import Frame, Table

__all__ = [
    "Bound",
    "Environment",
    "Evaluation",
    "Instance",
    "Observation",
    "Offer",
    "Policy",
    "Request",
    "Scenario",
    "__version__",
    "bound",
    "evaluate",
    "simulate",
    "tune",
]

__version__: str

@final
class Scenario:
    """How instances are drawn."""

    @staticmethod
    def load(path: str | PathLike[str]) -> Scenario:
        """Reads a file (TOML)."""
    @staticmethod
    def from_toml(text: str) -> Scenario:
        """Reads what would stand in a file."""
    def to_toml(self) -> str:
        """What would stand in a file."""
    def replace(self, fields: dict[str, Any]) -> Scenario:
        """The same with other values of these fields, named by their paths: `due.slack_seconds`, `requests`."""
    def instance(self, number: int = 0, *, seed: int = 1, training: bool = False) -> Instance:
        """The instance of this number under a seed: to be judged by, or one of those to learn from."""
    @property
    def name(self) -> str:
        """Name of the scenario."""
    @property
    def servers(self) -> int:
        """J: servers of each instance."""
    @property
    def requests(self) -> int:
        """I: requests of each instance."""

@final
class Instance:
    """What is given: servers, requests, and what decisions are judged by."""

    @staticmethod
    def load(path: str | PathLike[str]) -> Instance:
        """Reads a file (JSON)."""
    @staticmethod
    def from_json(text: str) -> Instance:
        """Reads what would stand in a file."""
    def to_json(self) -> str:
        """What would stand in a file."""
    @property
    def requests(self) -> Frame:
        """One row for each request, in order of arrival."""
    @property
    def servers(self) -> Frame:
        """One row for each server."""
    def __len__(self) -> int: ...

@final
class Offer:
    """What one server offers one request. All times are in seconds."""

    @property
    def backlog(self) -> float:
        """m_j: time until the server will be free."""
    @property
    def load(self) -> float:
        """Time to load the model of the request."""
    @property
    def overhead(self) -> float:
        """Time of a run that does not depend on its steps."""
    @property
    def steps_per_second(self) -> float:
        """c_j with the model of the request and at its size."""
    @property
    def min_steps(self) -> int:
        """Fewest steps that may be chosen."""
    @property
    def max_steps(self) -> int:
        """Most steps that may be chosen."""
    @property
    def sigma(self) -> float:
        """How far runs stray from their predictions: the deviation of the logarithm."""
    def service_time(self, steps: int) -> float:
        """p_ij = load + overhead + steps / rate: eq. (1)."""
    def time_to_finish(self, steps: int) -> float:
        """Time from now until a run of so many steps would be finished."""
    def most_steps_within(self, seconds: float) -> int | None:
        """The most steps whose service time is within so many seconds, whatever the bounds; None if one is too many."""

@final
class Request:
    """The request to be decided."""

    @property
    def arrival(self) -> float: ...
    @property
    def due(self) -> float: ...
    @property
    def penalty(self) -> str:
        """`linear`, `quadratic` or `square_root`."""
    @property
    def model(self) -> str | None:
        """Name of its model; None where there is but one."""
    @property
    def size(self) -> float:
        """Relative to the reference size."""

@final
class Observation:
    """All that a policy may know."""

    @property
    def now(self) -> float:
        """The present, in seconds."""
    @property
    def request(self) -> Request: ...
    @property
    def offers(self) -> list[Offer]:
        """What the servers offer that can run the request; a policy answers with a position in this list."""
    @property
    def time_to_due(self) -> float:
        """Seconds from now to the due time; negative once it has passed."""
    @property
    def tardiness_weight(self) -> float:
        """w of eq. (5)."""
    @property
    def mean_interval(self) -> float | None:
        """Mean seconds between arrivals so far; None before the second."""
    def quality(self, steps: int) -> float:
        """Q(s)"""
    def reward(self, offer: int, steps: int) -> float:
        """r_t of eq. (5) for this offer with so many steps; its expectation where runs stray."""
    def row(self, observation: str = "paper") -> NDArray[numpy.float32]:
        """As the environment shows it, so that what was trained there can decide here."""
    def nearest(self, offer: int, steps: int) -> tuple[int, int]:
        """What the environment makes of an action: the nearest decision that there is."""

@final
class Policy:
    """A policy that has a name, such as `greedy` or `agent[models/paper]`, as a function of an observation."""

    def __new__(cls, name: str, *, seed: int = 1) -> Policy: ...
    @property
    def name(self) -> str:
        """Its name."""
    def __call__(self, observation: Observation) -> tuple[int, int]:
        """What it decides: the position of an offer, and steps. For each episode it begins anew."""

@final
class Evaluation:
    @property
    def policies(self) -> Table: ...
    @property
    def instances(self) -> Table: ...
    def to_json(self) -> str: ...

@final
class Bound:
    upper_bound: float
    reward: float
    rows: Table

@final
class Environment:
    servers: int
    requests: int
    width: int
    lanes_count: int
    def __new__(
        cls, source: Source, *, lanes: int = 1, observation: str = "paper", seed: int = 1
    ) -> Environment: ...
    def reset(self, *, seed: int | None = None, first: int | None = None) -> NDArray[numpy.float32]: ...
    def renew(self) -> NDArray[numpy.float32]: ...
    def step(
        self, actions: NDArray[numpy.int64]
    ) -> tuple[NDArray[numpy.float32], NDArray[numpy.float64], NDArray[numpy.bool_], NDArray[numpy.bool_]]: ...
    def observation(self, lane: int) -> Observation | None: ...

def evaluate(
    source: Source,
    policies: list[tuple[str | None, PolicyLike]],
    *,
    instances: int = 50,
    seed: int = 1,
    clairvoyant: int | None = None,
) -> Evaluation: ...
def simulate(instance: Instance, policy: PolicyLike, *, seed: int = 1) -> Table: ...
def tune(
    source: Source, *, instances: int = 8, seed: int = 1, p99_below: float | None = None
) -> tuple[str, float, float]: ...
def bound(instance: Instance, *, seconds: float | None = None, seed: int = 1) -> Any: ...
