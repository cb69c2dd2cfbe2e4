"""One episode at a time: `gymnasium.make("atelier/Scheduling-v0", scenario=…)`."""

from typing import Any

import gymnasium
import numpy
from numpy.typing import NDArray

from . import _core, spaces
from .evaluation import Source

Row = NDArray[numpy.float32]


class SchedulingEnv(gymnasium.Env[Row, NDArray[numpy.int64]]):
    """The Markov decision process of a scenario: each step decides one request.

    An action is a server and a number of steps less one. The reward is r_t of eq. (5); where runs stray or servers
    fail, it is what the requests earned that ended since the step before. An episode ends with its last request.

    Observations are the `paper`'s state, or the `offers` of the servers, which scenarios with models, sizes, noise or
    failures need: then an action is the position of an offer.
    """

    metadata = {"render_modes": []}

    def __init__(self, scenario: Source, observation: spaces.Kind = "paper", render_mode: None = None) -> None:
        self.render_mode = render_mode
        self._core = _core.Environment(scenario, lanes=1, observation=observation)
        self.observation_space = spaces.observed(self._core.width)
        self.action_space = spaces.actions(self._core.servers)
        self._seeded = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Row, dict[str, Any]]:
        """Begins the next episode; with a seed, the first one under that seed. `options` may name an `episode`."""
        super().reset(seed=seed)
        first = (options or {}).get("episode", 0 if seed is not None else None)
        return self._core.reset(seed=spaces.seed(self, seed), first=first)[0], {}

    def step(self, action: NDArray[numpy.int64]) -> tuple[Row, float, bool, bool, dict[str, Any]]:
        """Decides the request that arrived last."""
        seen, rewards, over, replaced = self._core.step(numpy.asarray(action, numpy.int64).reshape(1, 2))
        return seen[0], float(rewards[0]), bool(over[0]), False, {"replaced": bool(replaced[0])}

    def observe(self) -> _core.Observation | None:
        """What a policy would see now, so that `atelier.Policy` can be asked; with observations of offers only."""
        return self._core.observation(0)
