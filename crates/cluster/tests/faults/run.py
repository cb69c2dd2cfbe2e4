#!/usr/bin/env -S python3 -B
"""Real nodes, agents and brokers on hosts of their own: things are broken, and no promise may be.

    sudo ./run.py --atelier target/release/atelier --nats-server nats-server [--scenario kill-leader …]

Exits with 1 if a rule was broken. With --expect-broken SECONDS, for a program built without its fence, it exits with
1 unless the judge finds within that time what only two leaders at once bring about.
"""

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from checker import Verdict, differences, judge, judge_statuses
from clients import Load, settle
from network import Network, isolate
from scenarios import SCENARIOS

FAILURES = (OSError, RuntimeError, subprocess.SubprocessError)
COLUMNS = "{:<18}{:>8}{:>13}{:>11}{:>6}{:>13}{:>16}{:>13}{:>10}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atelier", required=True, type=os.path.realpath)
    parser.add_argument("--nats-server", required=True, type=os.path.realpath)
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--duration", type=float, default=30, help="seconds of faults in each scenario (default 30)")
    parser.add_argument("--rate", type=float, default=60, help="requests/s over all nodes (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--expect-broken", type=float, metavar="SECONDS")
    parser.add_argument("--keep", action="store_true", help="keep logs and journals even if all is well")
    options = parser.parse_args()
    fenceless = ["freeze-leader", "cut-leader"]
    options.scenario = options.scenario or (fenceless if options.expect_broken else list(SCENARIOS))
    return options


def report_progress(cluster, finished):
    """A line every ten seconds."""
    history, begun = cluster.history, time.monotonic()
    while not finished.wait(10):
        watched = sorted(cluster.watched.items())
        leads = [f"{name} leads in epoch {epoch}" for name, epoch in watched if epoch is not None]
        said = [f"{len(history.acknowledged)} acknowledged", f"{history.refused} refused",
                f"{history.unanswered} unanswered", *leads]
        print(f"    {time.monotonic() - begun:3.0f} s: {', '.join(said)}", flush=True)


def settled_journals(cluster):
    """The journals once they are equally far and agree, or as they are after 20 s."""
    deadline = time.monotonic() + 20
    while True:
        journals = cluster.journals()
        level = len({journal.log for journal in journals.values()}) == 1
        if level and not differences(journals) or time.monotonic() > deadline:
            return journals
        time.sleep(0.5)


def break_things(scenario, cluster, generator, duration, enough):
    """Rounds of faults, with calm between them; the number of faults."""
    faults = 0
    deadline = time.monotonic() + duration
    while True:
        time.sleep(generator.uniform(2, 5))
        faults += scenario.round(cluster, generator)
        cluster.recover()
        if time.monotonic() > deadline or enough():
            time.sleep(2)
            return faults


def play(scenario, options, folder, seed, enough=lambda: False):
    """One scenario on a cluster of its own."""
    cluster = scenario.kind(Network(), options, folder, seed)
    finished = threading.Event()
    load, failure, faults = None, None, 0
    try:
        cluster.prepare()
        cluster.disks = scenario.disks(cluster)
        cluster.start()
        load = Load(cluster.addresses, cluster.history, options.rate, seed)
        threading.Thread(target=report_progress, args=[cluster, finished], daemon=True).start()
        try:
            faults = break_things(scenario, cluster, random.Random(seed), options.duration, enough)
        except FAILURES as error:
            failure = f"the scenario came to no end: {error}"
        load.stop(10 if failure else 30)
        without = settle(cluster.addresses, cluster.history, seed, 20 if failure else 120)
        # Faults of a scenario that was cut short were not counted.
        repaints = math.inf if failure else faults * cluster.servers
        verdict = judge(cluster.history, settled_journals(cluster), scenario.gap, repaints)
        judge_statuses(verdict, cluster.statuses())
        if failure:
            verdict.broken.insert(0, failure)
        if without:
            verdict.broken.append(f"completed, but no node has the picture: {len(without)}, such as {without[0]}")
        return verdict
    finally:
        finished.set()
        if load:
            load.abandon()
        cluster.stop()


def show(name, seconds, verdict):
    print(COLUMNS.format(name, f"{seconds:.0f}", verdict.acknowledged, verdict.completed, verdict.lost,
                         verdict.ended_twice, verdict.accepted_twice, f"{verdict.gap:.2f} s", verdict.repaints))
    for line in verdict.broken:
        print(f"    BROKEN: {line}")
    for line in verdict.notes:
        print(f"    note: {line}")
    sys.stdout.flush()


def run(options, folder):
    """Play what is asked for; true if all is as it should be."""
    print(f"seed {options.seed}, {options.duration:.0f} s of faults, {options.rate:.0f} requests/s, in {folder}")
    print(COLUMNS.format("scenario", "seconds", "acknowledged", "completed", "lost", "ended twice", "accepted twice",
                         "longest gap", "repaints"), flush=True)
    begun, well, number = time.monotonic(), True, 0
    while True:
        name = options.scenario[number % len(options.scenario)]
        seed = options.seed * 1000 + number
        place = os.path.join(folder, f"{number:02}-{name}")
        os.makedirs(place)
        started = time.monotonic()

        def over():
            return bool(options.expect_broken) and time.monotonic() - begun > options.expect_broken

        try:
            verdict = play(SCENARIOS[name], options, place, seed, over)
        except FAILURES as error:
            verdict = Verdict(broken=[f"it could not be played: {error}"])
        show(name, time.monotonic() - started, verdict)
        well &= not verdict.broken
        number += 1
        if options.expect_broken:
            if verdict.unfenced:
                print("The judge found what has to be found without a fence.")
                return True
            if over():
                print("Nothing was ended or accepted twice: the judge is blind, or the fence is there.")
                return False
        elif number == len(options.scenario):
            return well


def main():
    options = arguments()
    isolate()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = tempfile.mkdtemp(prefix="atelier-faults-")
    well = False
    try:
        well = run(options, folder)
    except KeyboardInterrupt:
        print("Interrupted.")
    finally:
        if well and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"Logs and journals are in {folder}", flush=True)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
