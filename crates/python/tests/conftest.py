import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def scenarios():
    return ROOT / "scenarios"


@pytest.fixture
def short(scenarios):
    """A scenario with few requests, by the name of its file."""
    import atelier

    def cut(name, requests=200):
        text = (scenarios / f"{name}.toml").read_text()
        assert "requests = " in text
        lines = [f"requests = {requests}" if line.startswith("requests = ") else line for line in text.splitlines()]
        return atelier.Scenario.from_toml("\n".join(lines))

    return cut
