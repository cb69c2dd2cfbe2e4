"""Many episodes side by side, in one call: `gymnasium.make_vec("atelier/Scheduling-v0", num_envs=256, scenario=…)`."""

from typing import Any

import gymnasium
import numpy
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from . import _core, spaces
from .evaluation import Source

Rows = NDArray[numpy.float32]


class SchedulingVectorEnv(VectorEnv[Rows, NDArray[numpy.int64], NDArray[Any]]):
    """:class:`atelier.SchedulingEnv` in many lanes: one call decides a request in each of them.

    All episodes of the paper's state end together. The step that ends them returns the first observation of the next
    ones, and the last of the old as `final_obs`.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        scenario: Source,
        num_envs: int = 1,
        observation: spaces.Kind = "paper",
        render_mode: None = None,
    ) -> None:
        self.num_envs = num_envs
        self.render_mode = render_mode
        self._core = _core.Environment(scenario, lanes=num_envs, observation=observation)
        self.single_observation_space = spaces.observed(self._core.width)
        self.single_action_space = spaces.actions(self._core.servers)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Rows, dict[str, Any]]:
        """Begins the next episodes; with a seed, the first ones under that seed. `options` may name an `episode`."""
        super().reset(seed=seed)
        first = (options or {}).get("episode", 0 if seed is not None else None)
        return self._core.reset(seed=spaces.seed(self, seed), first=first), {}

    def step(
        self, actions: NDArray[numpy.int64]
    ) -> tuple[Rows, NDArray[numpy.float64], NDArray[numpy.bool_], NDArray[numpy.bool_], dict[str, Any]]:
        """Decides a request in each lane."""
        seen, rewards, over, replaced = self._core.step(numpy.asarray(actions, numpy.int64))
        information: dict[str, Any] = {}
        if replaced.any():
            information["replaced"] = replaced
        if over.any():
            information |= {"final_obs": seen, "_final_obs": over}
            seen = self._core.renew()
        return seen, rewards, over, numpy.zeros_like(over), information
