"""The judge: from what clients saw and what the journals say, which promises were broken.

It knows nothing of processes and networks, so that `test_checker.py` can feed it made-up histories.
"""

import sqlite3
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field


class History:
    """What clients saw, in the order in which they saw it; filled from many threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        self.stopped = None
        # (moment, key, id) of each answer that accepts.
        self.acknowledged = []
        # All different ends that were seen of an id, in order.
        self.ends = defaultdict(list)
        # Acknowledged ids of which the latest final look said "no such request".
        self.unknown = set()
        # Answers behind what was known before: 404 for an acknowledged id, live after an end was seen.
        self.behind = 0
        # Answers that no client can do anything with.
        self.strange = []
        # (epoch, node) of all that said they lead.
        self.leaders = set()
        self.refused = 0
        self.unanswered = 0

    def acknowledge(self, key, id):
        with self.lock:
            self.acknowledged.append((time.monotonic(), key, id))

    def has_ended(self, id):
        with self.lock:
            return bool(self.ends[id])

    def see(self, id, end, ended_before=False):
        """A request was looked at: its end, or None while it is live. Had an end been seen before it was asked for?"""
        with self.lock:
            self.unknown.discard(id)
            if end is None:
                self.behind += ended_before
            elif end not in self.ends[id]:
                self.ends[id].append(end)

    def miss(self, id):
        """There is no such request, a node said."""
        with self.lock:
            self.behind += 1
            self.unknown.add(id)

    def refuse(self):
        with self.lock:
            self.refused += 1

    def leave_unanswered(self):
        with self.lock:
            self.unanswered += 1

    def ids(self):
        with self.lock:
            return sorted({id for _, _, id in self.acknowledged})


@dataclass
class Journal:
    """One node's view: keys, ends and runs, by id; and how far it has followed the log, with the hash there."""

    keys: dict = field(default_factory=dict)
    ends: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    log: tuple = None


def read_journal(path):
    """The view as it is on the disk now. Times are left out: each node may count them from its own origin."""
    journal = Journal()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        connection.execute("BEGIN")
        names = {}
        for position, id, owner, key in connection.execute("SELECT position, id, owner, idempotency_key FROM requests"):
            names[position] = str(uuid.UUID(bytes=id)) if len(id) == 16 else id.decode()
            journal.keys[names[position]] = (owner, key)
        columns = "request, outcome, reason, server, steps, attempts, round(tardiness, 6)"
        for position, *end in connection.execute(f"SELECT {columns} FROM ends"):
            journal.ends[names[position]] = tuple(end)
        for position, runs in connection.execute("SELECT request, count(*) FROM runs GROUP BY request"):
            journal.runs[names[position]] = runs
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchone():
            journal.log = connection.execute("SELECT sequence, hex(hash) FROM log").fetchone()
    finally:
        connection.close()
    return journal


def differences(journals):
    """One line for each pair of journals that do not say the same."""
    lines = []
    names = sorted(journals)
    for one, other in zip(names, names[1:]):
        for what in ("keys", "ends", "runs"):
            left, right = getattr(journals[one], what), getattr(journals[other], what)
            unlike = [id for id in left.keys() | right.keys() if left.get(id) != right.get(id)]
            if unlike:
                example = min(unlike)
                lines.append(f"{one} and {other} differ in the {what} of {len(unlike)} requests, such as {example}: "
                             f"{left.get(example)} and {right.get(example)}")
        left, right = journals[one].log, journals[other].log
        if left and right and left != right and left[0] == right[0]:
            lines.append(f"{one} and {other} have followed two logs: at {left[0]} they have {left[1]} and {right[1]}")
    return lines


def longest_gap(moments, begun, stopped):
    """The longest time between two acknowledgements, the edges included."""
    moments = [begun, *sorted(moments), stopped]
    return max(after - before for before, after in zip(moments, moments[1:]))


def outcomes(ends):
    return {end[0] for end in ends}


@dataclass
class Verdict:
    acknowledged: int = 0
    completed: int = 0
    lost: int = 0
    ended_twice: int = 0
    accepted_twice: int = 0
    gap: float = 0.0
    repaints: int = 0
    differing: int = 0
    broken: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    @property
    def unfenced(self):
        """What only two leaders at once bring about."""
        return self.ended_twice + self.accepted_twice + self.differing > 0


def judge(history, journals, gap_limit, repaint_limit):
    """Count, and say in one line each which rules were broken."""
    verdict = Verdict()
    keys, ids = defaultdict(set), set()
    for _, key, id in history.acknowledged:
        keys[key].add(id)
        ids.add(id)
    ends = {id: set(seen) for id, seen in history.ends.items()}
    written = defaultdict(set)
    for journal in journals.values():
        for id, (_, key) in journal.keys.items():
            if key is not None:
                keys[key].add(id)
        for id, end in journal.ends.items():
            written[id].add(end)

    def rule(count, text, examples=()):
        if count:
            shown = ", ".join(str(example) for example in sorted(examples)[:3])
            verdict.broken.append(f"{text}: {count}" + (f", such as {shown}" if shown else ""))
        return count

    verdict.acknowledged = len(ids)
    verdict.completed = sum("completed" in outcomes(ends.get(id, ())) for id in ids)
    rule(not ids, "nothing was acknowledged")
    lost = {id for id in ids if id in history.unknown or not ends.get(id)}
    lost |= {id for id in ids for journal in journals.values() if id not in journal.ends}
    verdict.lost = rule(len(lost), "acknowledged and lost, or never ended", lost)
    twice = {id for id in ends.keys() | written.keys() if len(ends.get(id, ())) > 1 or len(written.get(id, ())) > 1}
    twice |= {id for id in ends.keys() & written.keys() if outcomes(ends[id]) - outcomes(written[id])}
    verdict.ended_twice = rule(len(twice), "ended twice", twice)
    doubled = {key for key, accepted in keys.items() if len(accepted) > 1}
    verdict.accepted_twice = rule(len(doubled), "accepted twice under one key", doubled)
    lines = differences(journals)
    verdict.differing = len(lines)
    verdict.broken += lines
    if history.acknowledged:
        verdict.gap = longest_gap([at for at, _, _ in history.acknowledged], history.begun, history.stopped)
        if verdict.gap > gap_limit:
            verdict.broken.append(f"no acknowledgement for {verdict.gap:.1f} s; allowed are {gap_limit:.0f} s")
    runs = [max(journal.runs.get(id, 0) for journal in journals.values())
            for id in set().union(*(journal.ends for journal in journals.values()))
            if "completed" in outcomes(written[id])] if journals else []
    verdict.repaints = sum(max(count - 1, 0) for count in runs)
    if verdict.repaints > repaint_limit:
        verdict.broken.append(f"{verdict.repaints} repaints; allowed are {repaint_limit}")
    rule(len(history.strange), "answers that no client can do anything with", history.strange)
    nodes = defaultdict(set)
    for epoch, node in history.leaders:
        nodes[epoch].add(node)
    shared = {epoch for epoch, names in nodes.items() if len(names) > 1}
    rule(len(shared), "two nodes led in one epoch", shared)
    if history.behind:
        verdict.notes.append(f"{history.behind} answers were behind what a client knew")
    others = sorted(end[0] for seen in ends.values() for end in seen if end[0] in ("failed", "expired"))
    if others:
        verdict.notes.append(f"{others.count('failed')} failed, {others.count('expired')} expired")
    return verdict


def judge_statuses(verdict, statuses):
    """What each node's own `cluster status --json` says once all is mended: who leads, and what is still wrong."""
    silent = sorted(name for name, status in statuses.items() if not status)
    if silent:
        verdict.notes.append(f"not checked: there is no `cluster status --json` of {', '.join(silent)}")
    told = {name: status for name, status in statuses.items() if status}
    leaders = {name: sorted(node["name"] for node in status["nodes"] if node["leads"]) for name, status in told.items()}
    for name, leading in leaders.items():
        if len(leading) > 1:
            verdict.broken.append(f"{' and '.join(leading)} lead at once, {name} says")
    if len(set(map(tuple, leaders.values()))) > 1:
        verdict.notes.append(f"the nodes do not agree who leads: {leaders}")
    wrong = set()
    for status in told.values():
        wrong.update(status["problems"])
        wrong.update(each["problem"] for each in status["brokers"] + status["servers"] if each["problem"])
    verdict.notes += [f"still wrong, `cluster status` says: {problem}" for problem in sorted(wrong)]
