"""Writes gradients.json: the actor's loss and its gradient by JAX's automatic differentiation.

    pip install jax && python gradients.py
"""

import json

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

SERVERS, STEPS, ROWS = 3, 200, 6
SIZES = [SERVERS + 2, 7, 4, SERVERS + STEPS]
rng = np.random.default_rng(1)


def drawn(*shape):
    """Numbers that a float holds exactly."""
    return np.float32(rng.normal(size=shape)).astype(np.float64)


count = sum((n + 1) * m for n, m in zip(SIZES, SIZES[1:]))
parameters = np.float32(0.5 * drawn(count)).astype(np.float64)
inputs = drawn(ROWS, SIZES[0])
actions = np.stack([rng.integers(SERVERS, size=ROWS), rng.integers(STEPS, size=ROWS)], axis=1)
updates = drawn(ROWS, 2)


def loss(parameters):
    x, offset = inputs, 0
    for layer, (n, m) in enumerate(zip(SIZES, SIZES[1:])):
        w = parameters[offset : offset + n * m].reshape(n, m)
        b = parameters[offset + n * m : offset + (n + 1) * m]
        offset += (n + 1) * m
        x = x @ w + b
        if layer + 2 < len(SIZES):
            x = jnp.tanh(x)
    total = 0.0
    for z, action in ((x[:, :SERVERS], actions[:, 0]), (x[:, SERVERS:], actions[:, 1])):
        log_p = jax.nn.log_softmax(z)
        entropy = -(jnp.exp(log_p) * log_p).sum(axis=1)
        chosen = log_p[jnp.arange(ROWS), action]
        total -= (updates[:, 0] * chosen + updates[:, 1] * entropy).sum()
    return total


with open("gradients.json", "w") as file:
    json.dump(
        {
            "sizes": SIZES,
            "servers": SERVERS,
            "parameters": parameters.tolist(),
            "inputs": inputs.ravel().tolist(),
            "actions": actions.tolist(),
            "updates": updates.tolist(),
            "gradient": [round(float(g), 9) for g in jax.grad(loss)(jnp.asarray(parameters))],
        },
        file,
    )
    file.write("\n")
