"""Policies of one's own on the command line: in a file, from another crate, and as a shadow in the gateway.

ATELIER is the binary, ATELIER_OWN the example own_policy; `.ci/python` builds both.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.request

import pytest

import atelier

ATELIER, OWN = os.environ.get("ATELIER"), os.environ.get("ATELIER_OWN")
THRIFTY = pathlib.Path(__file__).parents[2] / "atelier/examples/thrifty.py"

pytestmark = pytest.mark.skipif(not (ATELIER and OWN), reason="ATELIER and ATELIER_OWN name no programs")


def figures(program, policy, scenario, out):
    arguments = ["evaluate", "--scenario", scenario, "--instances", "4", "--policy", policy, "--json", out]
    told = subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout
    (of,) = json.loads(out.read_text())["policies"]
    assert of["policy"] == policy and policy in told
    return [of[figure] for figure in ("reward", "quality", "tardiness", "late_fraction")]


def test_a_file_and_a_crate_say_the_same_as_the_package(scenarios, tmp_path):
    scenario, out = scenarios / "contended.toml", tmp_path / "out.json"
    file = figures(ATELIER, f"file[{THRIFTY}]", scenario, out)
    crate = figures(OWN, "thrifty", scenario, out)
    package = json.loads(atelier.evaluate(scenario, [f"file[{THRIFTY}]"], instances=4).to_json())["policies"][0]
    assert file == crate == [package[figure] for figure in ("reward", "quality", "tardiness", "late_fraction")]


@pytest.mark.parametrize(
    ("program", "policy", "problem"),
    [
        (ATELIER, "thrifty", 'policy "thrifty": there is no such policy; valid are random,'),
        (OWN, "thrift", "file[POLICY.py], thrifty[price=P]"),
        (OWN, "thrifty[price=-1]", "error: policy thrifty[price=-1]: allowed is price=P with P 0 to 1e6"),
        (ATELIER, "file[nowhere.py]", "nowhere.py: No such file or directory"),
    ],
)
def test_wrong_names_are_refused_before_anything_runs(scenarios, program, policy, problem):
    arguments = ["evaluate", "--scenario", scenarios / "paper.toml", "--policy", policy]
    refused = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and problem in refused.stderr and not refused.stdout


class Gateway:
    """One with a built-in painter, and a shadow policy in a file."""

    def __init__(self, folder, policy, shadow):
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.address = "127.0.0.1:{}".format(found.getsockname()[1])
        config = folder / "atelier.toml"
        config.write_text(
            f'listen = "{self.address}"\njournal = "{folder}/journal.db"\npolicy = "{policy}"\n'
            f'shadow_policy = "{shadow}"\n[[server]]\nname = "a"\nsteps_per_second = 200.0\n'
            'backend = { kind = "demo" }\n'
        )
        self.errors = (folder / "errors").open("w+")
        self.process = subprocess.Popen([ATELIER, "serve", "--config", config], stderr=self.errors)

    def __enter__(self):
        for _ in range(200):
            if self.process.poll() is not None:
                break
            try:
                self.ask("/v1/servers")
                break
            except OSError:
                time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, body=None):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"http://{self.address}{path}", data, {"content-type": "application/json", "prefer": "wait=20"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def paint(self):
        return self.ask("/v1/requests", {"prompt": "a circle", "due_in_seconds": 3, "penalty": "linear"})

    def log(self):
        self.errors.seek(0)
        return self.errors.read()


def test_a_file_is_a_shadow_in_the_gateway(tmp_path):
    file = tmp_path / "twelve.py"
    file.write_text("def decide(observation):\n    return 0, 12\n")
    with Gateway(tmp_path, "myopic", f"file[{file}]") as gateway:
        painted = gateway.paint()
        assert painted["decision"]["shadow"]["steps"] == 12 and painted["decision"]["steps"] != 12


def test_a_shadow_that_hangs_costs_one_request_a_tenth_of_a_second(tmp_path):
    file = tmp_path / "slow.py"
    file.write_text("import time\n\ndef decide(observation):\n    time.sleep(600)\n")
    with Gateway(tmp_path, "myopic", f"file[{file}]") as gateway:
        for _ in range(3):
            assert "shadow" not in gateway.paint()["decision"]
        assert len(re.findall("can decide no longer", gateway.log())) == 1
        assert "no answer came within 0.1 s" in gateway.log()


def test_a_file_does_not_decide_in_the_gateway(tmp_path):
    with Gateway(tmp_path, f"file[{THRIFTY}]", "myopic") as gateway:
        assert gateway.process.wait(20) == 2
        assert "allowed as shadow_policy only" in gateway.log()
