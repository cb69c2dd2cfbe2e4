"""Data frames, instances, and what was possible."""

import pickle

import pandas
import polars
import pyarrow
import pytest

import atelier


def test_tables_are_taken_without_a_copy(short):
    rows = atelier.simulate(short("fleet-mixed").instance(), "myopic")
    address = lambda table: table.column("reward").chunk(0).buffers()[1].address
    assert address(pyarrow.table(rows)) == address(rows.arrow()) == address(polars.DataFrame(rows).to_arrow())
    assert len(rows) == 200 and {"request", "server", "steps", "reward", "model", "load"} <= set(rows.columns)
    assert rows.pandas().equals(pandas.DataFrame(rows.polars().to_dict(as_series=False)).astype(rows.pandas().dtypes))


def test_instances_and_scenarios_are_objects(scenarios, tmp_path):
    scenario = atelier.Scenario.load(scenarios / "fleet-mixed.toml")
    instance = scenario.instance(3, seed=5)
    file = tmp_path / "i.json"
    file.write_text(instance.to_json())
    again = atelier.Instance.load(file)
    assert again.to_json() == instance.to_json() and len(again) == scenario.requests
    requests = instance.requests.pandas()
    assert len(requests) == len(instance) and requests.arrival.is_monotonic_increasing
    assert len(polars.DataFrame(instance.servers)) == scenario.servers
    assert atelier.Scenario.from_toml(scenario.to_toml()).instance(3, seed=5).to_json() == instance.to_json()
    for kept in (scenario, instance):
        copied = pickle.loads(pickle.dumps(kept))
        assert type(copied) is type(kept) and repr(copied) == repr(kept)
    assert pickle.loads(pickle.dumps(instance)).to_json() == instance.to_json()
    assert scenario.instance(3, seed=5, training=True).to_json() != instance.to_json()


def test_scenarios_are_changed_field_by_field(scenarios):
    contended = atelier.Scenario.load(scenarios / "contended.toml")
    changed = contended.replace({"requests": 30, "due.slack_seconds": [2, 3.5], "cluster.servers.0.count": 1})
    assert (changed.requests, contended.requests) == (30, 2000) and changed.servers < contended.servers
    requests = changed.instance().requests
    slack = pandas.DataFrame.from_arrow(requests).eval("due - arrival")
    assert len(slack) == 30 and slack.between(2, 3.5).all()
    for fields, part in [({"requests": 0}, "requests = 0"), ({"colour": 1}, "colour"), ({"requests": None}, "TOML")]:
        with pytest.raises(ValueError) as refused:
            contended.replace(fields)
        assert part in str(refused.value) and "\n" not in str(refused.value)


def test_instances_are_evaluated_as_they_are(short):
    scenario = short("contended")
    ours = atelier.evaluate([scenario.instance(k) for k in range(4)], ["greedy", "myopic"]).instances.pandas()
    theirs = atelier.evaluate(scenario, ["greedy", "myopic"], instances=4).instances.pandas()
    assert ours.equals(theirs)


def test_nobody_earns_more_than_the_bound(short):
    instance = short("contended", 60).instance()
    bound = atelier.bound(instance, seconds=2)
    assert bound.reward <= bound.upper_bound
    assert bound.rows.pandas().reward.mean() == pytest.approx(bound.reward)
    for name in ("greedy", "myopic", "agent[universal]"):
        assert atelier.simulate(instance, name).pandas().reward.mean() <= bound.reward + 1e-9


def test_prices_are_tuned(short):
    tuned = atelier.tune(short("contended"), instances=2)
    assert tuned.policy.name.startswith("priced[") and tuned.reward > 40


def test_policies_stand_against_what_was_possible(short):
    policies = atelier.evaluate(short("contended", 60), ["greedy", "myopic"], instances=2, clairvoyant=3).policies
    greedy, myopic = policies.pandas().itertuples()
    assert greedy.share_of_possible == 0.0 and myopic.regret >= 0.0


def test_wrong_input_is_one_line(short):
    noisy = short("noisy")
    for run, part in [
        (lambda: atelier.evaluate(noisy, []), "no policy is given"),
        (lambda: atelier.evaluate([], ["greedy"]), "no instance is given"),
        (lambda: atelier.evaluate(noisy, ["greedy"], instances=0), "instances is 0: allowed is 1 to 100000"),
        (lambda: atelier.bound(noisy.instance()), "allowed is an instance with exact service times"),
        (lambda: atelier.bound(short("paper").instance(), seconds=-1), "allowed"),
        (lambda: atelier.Scenario.from_toml("requests = 1"), "missing field"),
        (lambda: atelier.Instance.from_json("{}"), "missing field"),
    ]:
        with pytest.raises(ValueError) as refused:
            run()
        assert part in str(refused.value)
