"""The vector environment as Stable-Baselines3 has them: `PPO("MlpPolicy", VecSchedulingEnv(scenario, 64))`."""

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from . import spaces
from .evaluation import Source
from .vector import Rows, SchedulingVectorEnv


class VecSchedulingEnv(VecEnv):
    """Many episodes side by side. What an episode earned is told as a `Monitor` does: the mean over its requests."""

    def __init__(self, scenario: Source, n_envs: int = 1, observation: spaces.Kind = "paper") -> None:
        self.environment = SchedulingVectorEnv(scenario, n_envs, observation)
        super().__init__(
            n_envs, self.environment.single_observation_space, self.environment.single_action_space
        )
        self._earned = numpy.zeros(n_envs)
        self._steps = numpy.zeros(n_envs, numpy.int64)

    def reset(self) -> Rows:
        """Begins the next episodes, under the seed that was set before."""
        (seed,) = {self._seeds[0]}
        self._reset_seeds()
        self._earned[:], self._steps[:] = 0.0, 0
        return self.environment.reset(seed=seed)[0]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keeps the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Decides a request in each lane."""
        seen, rewards, over, _, information = self.environment.step(self._actions)
        self._earned += rewards
        self._steps += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane in numpy.flatnonzero(over):
            steps = int(self._steps[lane])
            episode = {"r": float(self._earned[lane]) / steps, "l": steps, "t": 0.0}
            last = information["final_obs"][lane]
            infos[lane] = {"terminal_observation": last, "TimeLimit.truncated": False, "episode": episode}
            self._earned[lane], self._steps[lane] = 0.0, 0
        return seen, rewards.astype(numpy.float32), over, infos

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The same for all lanes."""
        return [getattr(self.environment, attr_name)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets it for all lanes at once."""
        setattr(self.environment, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Calls it once, for all lanes."""
        return [getattr(self.environment, method_name)(*args, **kwargs)] * len(self._indices(indices))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No lane is."""
        return [False] * len(self._indices(indices))

    def _indices(self, indices: VecEnvIndices) -> Sequence[int]:
        chosen: Iterable[int] = self._get_indices(indices)
        return list(chosen)
