"""Clients: a pool of threads that submit at a steady rate, look at what they have submitted, and cancel some of it.

A client that gets no answer, or is refused, repeats the same key at another node until it is acknowledged.
"""

import concurrent.futures
import http.client
import itertools
import json
import random
import threading
import time

KEY = "key-of-the-faults"
BODY = json.dumps({"prompt": "a blue ring", "max_steps": 20})
PATIENCE = 3.0


class Connection:
    """Kept open to one node; any failure closes it."""

    def __init__(self, address, patience=PATIENCE, port=8420):
        self.connection = http.client.HTTPConnection(address, port, timeout=patience)

    def ask(self, method, path, body=None, headers=()):
        """Status and body, or None without an answer."""
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **dict(headers)}
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return None


def end_of(view):
    """What may never change once it was seen."""
    result = view.get("result")
    if result is None:
        return None
    kept = ("server", "steps", "run_seconds", "attempts", "tardiness_seconds")
    return (view["state"], *(result.get(name) for name in kept))


class Client:
    """One thread's connections, one to each node."""

    def __init__(self, nodes, history, seed):
        self.connections = [Connection(address) for address in nodes.values()]
        self.history = history
        self.random = random.Random(seed)

    def submit(self, key, stopped):
        """Until it is acknowledged: the id, or None if the clients are to stop."""
        connection = self.random.choice(self.connections)
        while not stopped():
            answer = connection.ask("POST", "/v1/requests", BODY, [("idempotency-key", key)])
            if answer and answer[0] in (200, 202):
                id = json.loads(answer[1])["id"]
                self.history.acknowledge(key, id)
                return id
            if answer and answer[0] in (409, 429, 503):
                self.history.refuse()
            elif answer:
                self.history.strange.append(f"{answer[0]} {answer[1][:200]!r}")
            else:
                self.history.leave_unanswered()
            time.sleep(self.random.uniform(0.02, 0.2))
            connection = self.random.choice([other for other in self.connections if other is not connection] or
                                            [connection])
        return None

    def look(self, id):
        """At any node. True if the request has ended."""
        ended_before = self.history.has_ended(id)
        answer = self.random.choice(self.connections).ask("GET", f"/v1/requests/{id}")
        if answer and answer[0] == 200:
            end = end_of(json.loads(answer[1]))
            self.history.see(id, end, ended_before)
            return end is not None
        if answer and answer[0] == 404:
            self.history.miss(id)
        elif answer and answer[0] not in (429, 503):
            self.history.strange.append(f"{answer[0]} {answer[1][:200]!r}")
        return False

    def cancel(self, id):
        self.random.choice(self.connections).ask("DELETE", f"/v1/requests/{id}")

    def picture(self, id):
        """True if some node has it."""
        answers = (connection.ask("GET", f"/v1/requests/{id}/image") for connection in self.connections)
        return any(answer and answer[0] == 200 and answer[1].startswith(b"\x89PNG") for answer in answers)


class Load:
    """The pool. `stop` waits until every key that was sent is acknowledged, for `grace` seconds at most."""

    def __init__(self, nodes, history, rate, seed, threads=48):
        self.nodes, self.history, self.seed = nodes, history, seed
        self.pause = threads / rate
        self.keys = itertools.count(1)
        self.ending = threading.Event()
        self.ended = threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        history.begun = time.monotonic()
        self.work = [self.pool.submit(self.client, seed * 1000 + number) for number in range(threads)]

    def client(self, seed):
        client = Client(self.nodes, self.history, seed)
        known = []
        due = time.monotonic() + client.random.uniform(0, self.pause)
        while not self.ending.wait(max(0, due - time.monotonic())):
            due = max(time.monotonic(), due + self.pause)
            key = f"{self.seed}-{next(self.keys)}"
            id = client.submit(key, self.ended.is_set)
            if id is None:
                return
            known.append(id)
            chance = client.random.random()
            if chance < 0.05:
                client.cancel(id)
            elif chance < 0.1:
                # A client may always repeat a key.
                client.submit(key, self.ending.is_set)
            client.look(client.random.choice(known[-4:]))
            client.look(client.random.choice(known))

    def stop(self, grace):
        self.history.stopped = time.monotonic()
        self.ending.set()
        concurrent.futures.wait(self.work, grace)
        self.abandon()
        for done in self.work:
            done.result()

    def abandon(self):
        """Stop without waiting for answers that are still to come."""
        self.ending.set()
        self.ended.set()
        self.pool.shutdown()


def settle(nodes, history, seed, seconds, threads=12):
    """Look at all that was acknowledged until it has ended. The ids of completed pictures that no node has."""
    deadline = time.monotonic() + seconds
    ids = history.ids()

    def wait(part):
        client = Client(nodes, history, f"{seed}-{part}")
        for id in ids[part::threads]:
            while not client.look(id) and time.monotonic() < deadline:
                time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(wait, range(threads)))
    client = Client(nodes, history, seed)
    completed = [id for id in ids if any(end[0] == "completed" for end in history.ends.get(id, ()))]
    sample = client.random.sample(completed, min(len(completed), 100))
    return [id for id in sample if not client.picture(id)]
