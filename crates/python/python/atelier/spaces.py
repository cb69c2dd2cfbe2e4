"""What is observed and done in environments."""

from typing import Literal, Protocol, cast

import gymnasium
import numpy
from gymnasium import spaces
from numpy.typing import NDArray

Kind = Literal["paper", "offers"]

#: Numbers of steps that there are.
STEPS = 200


def observed(width: int) -> gymnasium.Space[NDArray[numpy.float32]]:
    """A row of numbers: no time is longer than 1e9 seconds, and the due time may have passed."""
    return cast(gymnasium.Space[NDArray[numpy.float32]], spaces.Box(-1e9, 1e9, (width,), numpy.float32))


def actions(servers: int) -> spaces.MultiDiscrete:
    """The paper's two branches: a server (or offer), and a number of steps less one."""
    return spaces.MultiDiscrete([servers, STEPS])


class Seeded(Protocol):
    """What Gymnasium's environments have in common here."""

    _seeded: bool

    @property
    def np_random_seed(self) -> int | None: ...


def seed(environment: Seeded, given: int | None) -> int | None:
    """The seed of the episodes that begin: the given one; at first, if none is, one that nobody chose."""
    if given is None and environment._seeded:
        return None
    environment._seeded = True
    return int(environment.np_random_seed or 0) % 2**63
