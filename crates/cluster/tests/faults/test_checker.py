"""The judge finds each broken rule in a made-up history, and nothing in a good one.

    python3 -B -m unittest test_checker
"""

import os
import pathlib
import sqlite3
import tempfile
import unittest
import uuid

from checker import History, Journal, judge, judge_statuses, longest_gap, read_journal

DONE = ("completed", "a1-w", 20, 0.5, 1, 0.0)
WRITTEN = ("completed", None, "a1-w", 20, 1, 0.0)
SCHEMA = pathlib.Path(__file__).parent / "../../../gateway/src/journal/schema.sql"


def good():
    """Three requests, all seen to end, and three journals that know of them."""
    history = History()
    history.begun, history.stopped = 0.0, 4.0
    history.acknowledged = [(float(number), f"key-{number}", f"id-{number}") for number in (1, 2, 3)]
    for _, _, id in history.acknowledged:
        history.see(id, None)
        history.see(id, DONE)
    history.leaders = {(5, "n1"), (9, "n2")}
    journals = {name: Journal({id: ("clients", key) for _, key, id in history.acknowledged},
                              {id: WRITTEN for _, _, id in history.acknowledged},
                              {id: 1 for _, _, id in history.acknowledged}) for name in ("n1", "n2", "n3")}
    return history, journals


class Judge(unittest.TestCase):
    def setUp(self):
        self.history, self.journals = good()

    def judge(self, gap=5, repaints=0):
        return judge(self.history, self.journals, gap, repaints)

    def everywhere(self, part, id, value):
        for journal in self.journals.values():
            getattr(journal, part)[id] = value

    def breaks(self, verdict, *texts):
        """These rules, in this order, and no other."""
        self.assertEqual(len(verdict.broken), len(texts), verdict.broken)
        for line, text in zip(verdict.broken, texts):
            self.assertIn(text, line)

    def test_a_good_history(self):
        verdict = self.judge()
        self.breaks(verdict)
        self.assertEqual((verdict.acknowledged, verdict.completed, verdict.gap), (3, 3, 1.0))
        self.assertEqual(verdict.notes, [])
        self.assertFalse(verdict.unfenced)

    def test_requests_that_nobody_was_told_of_are_no_fault(self):
        self.everywhere("keys", "id-9", ("clients", "key-9"))
        self.breaks(self.judge())

    def test_nothing_acknowledged(self):
        self.breaks(judge(History(), {}, 5, 0), "nothing was acknowledged")

    def test_lost_in_the_last_look(self):
        self.history.miss("id-2")
        verdict = self.judge()
        self.breaks(verdict, "lost")
        self.assertEqual(verdict.lost, 1)

    def test_missed_and_found_again(self):
        self.history.miss("id-2")
        self.history.see("id-2", DONE)
        verdict = self.judge()
        self.breaks(verdict)
        self.assertIn("behind", verdict.notes[0])

    def test_never_seen_to_end(self):
        del self.history.ends["id-1"]
        self.breaks(self.judge(), "lost")

    def test_lost_in_one_journal(self):
        for part in ("keys", "ends", "runs"):
            del getattr(self.journals["n3"], part)["id-3"]
        verdict = self.judge()
        self.breaks(verdict, "lost", "differ in the keys", "differ in the ends", "differ in the runs")
        self.assertTrue(verdict.unfenced)

    def test_lost_in_all_journals(self):
        for journal in self.journals.values():
            del journal.keys["id-3"], journal.ends["id-3"], journal.runs["id-3"]
        self.breaks(self.judge(), "lost")

    def test_an_end_that_changes(self):
        self.history.see("id-1", ("completed", "a2-x", 20, 0.5, 2, 0.0))
        verdict = self.judge()
        self.breaks(verdict, "ended twice")
        self.assertEqual(verdict.ended_twice, 1)
        self.assertTrue(verdict.unfenced)

    def test_another_end_was_written_than_was_seen(self):
        self.everywhere("ends", "id-1", ("cancelled", None, None, None, 0, 0.0))
        self.breaks(self.judge(), "ended twice")

    def test_two_journals_with_two_ends(self):
        self.journals["n2"].ends["id-1"] = ("completed", None, "a2-x", 20, 1, 0.0)
        self.breaks(self.judge(), "ended twice", "n1 and n2 differ", "n2 and n3 differ")

    def test_two_logs(self):
        self.journals["n1"].log = (7, "AB")
        self.journals["n2"].log = (6, "EE")
        self.breaks(self.judge())
        self.journals["n2"].log = (7, "CD")
        self.breaks(self.judge(), "n1 and n2 have followed two logs")

    def test_one_key_two_ids_seen(self):
        self.history.acknowledged.append((3.5, "key-1", "id-2"))
        verdict = self.judge()
        self.breaks(verdict, "accepted twice")
        self.assertEqual(verdict.accepted_twice, 1)
        self.assertTrue(verdict.unfenced)

    def test_one_key_two_ids_written(self):
        self.everywhere("keys", "id-9", ("clients", "key-1"))
        self.breaks(self.judge(), "accepted twice")

    def test_too_long_a_gap(self):
        self.history.acknowledged[0] = (0.5, "key-1", "id-1")
        self.breaks(self.judge(gap=1), "no acknowledgement for 1.5 s")

    def test_the_edges_are_gaps(self):
        self.assertEqual(longest_gap([2.0, 1.0], 0.5, 4.5), 2.5)
        self.assertEqual(longest_gap([2.0, 1.0], -3.0, 2.5), 4.0)

    def test_repaints(self):
        self.everywhere("runs", "id-1", 3)
        self.assertEqual(self.judge(repaints=2).repaints, 2)
        self.breaks(self.judge(repaints=2))
        self.breaks(self.judge(repaints=1), "2 repaints")

    def test_runs_of_what_was_cancelled_are_no_repaints(self):
        self.everywhere("runs", "id-1", 3)
        self.everywhere("ends", "id-1", ("cancelled", None, None, None, 0, 0.0))
        self.history.ends["id-1"] = [("cancelled", None, None, None, 0, 0.0)]
        self.breaks(self.judge())

    def test_two_leaders_in_one_epoch(self):
        self.history.leaders.add((9, "n3"))
        self.breaks(self.judge(), "two nodes led")

    def test_answers_that_nobody_understands(self):
        self.history.strange.append("500 b''")
        self.breaks(self.judge(), "no client can do anything with")

    def test_failures_are_noted(self):
        self.history.ends["id-1"] = [("failed", None, None, None, 3, 0.0)]
        self.everywhere("ends", "id-1", ("failed", "server", None, None, 3, 0.0))
        verdict = self.judge()
        self.breaks(verdict)
        self.assertEqual(verdict.notes, ["1 failed, 0 expired"])

    def test_live_after_an_end_is_behind(self):
        self.history.see("id-1", None, ended_before=True)
        self.history.see("id-1", None, ended_before=False)
        self.assertEqual(self.judge().notes, ["1 answers were behind what a client knew"])

    def test_statuses(self):
        def status(*leading, problems=(), problem=None):
            return {"nodes": [{"name": name, "leads": name in leading} for name in ("n1", "n2", "n3")],
                    "problems": list(problems), "brokers": [{"problem": problem}], "servers": [{"problem": None}]}

        well = status("n1")
        for other, broken, notes in [
            (well, "", ""),
            (None, "", "not checked"),
            (status("n1", "n2"), "lead at once", "agree"),
            (status("n2"), "", "agree"),
            (status("n1", problems=["far behind"]), "", "far behind"),
            (status("n1", problem="disk full"), "", "disk full"),
        ]:
            verdict = self.judge()
            judge_statuses(verdict, {"n1": well, "n2": other})
            self.breaks(verdict, *filter(None, [broken]))
            self.assertEqual(len(verdict.notes), bool(notes))
            self.assertIn(notes, "".join(verdict.notes))
        judge_statuses(self.judge(), {})


class Reading(unittest.TestCase):
    def test_a_journal_of_the_gateway(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "atelier.db")
            connection = sqlite3.connect(path)
            connection.executescript(SCHEMA.read_text())
            ids = [uuid.UUID(int=number) for number in (1, 2)]
            for position, id in enumerate(ids, 1):
                connection.execute(
                    "INSERT INTO requests (position, id, owner, arrival, due, expires, penalty, pixels, min_steps, "
                    "max_steps, spec, idempotency_key) "
                    "VALUES (?, ?, 'clients', 0, 5, 600, 'linear', 256, 1, 20, '{}', ?)",
                    (position, id.bytes, f"key-{position}"))
            connection.execute("INSERT INTO runs (request, attempt, server, steps, start, service) "
                               "VALUES (1, 1, 'a1-w', 20, 0, 1), (1, 2, 'a1-w', 20, 2, 1)")
            connection.execute("INSERT INTO ends (request, at, outcome, server, steps, attempts, tardiness, lived) "
                               "VALUES (1, 3, 'completed', 'a1-w', 20, 2, 0.25, 3)")
            connection.commit()
            connection.close()
            journal = read_journal(path)
        first, second = map(str, ids)
        self.assertEqual(journal.keys, {first: ("clients", "key-1"), second: ("clients", "key-2")})
        self.assertEqual(journal.ends, {first: ("completed", None, "a1-w", 20, 2, 0.25)})
        self.assertEqual(journal.runs, {first: 2})


if __name__ == "__main__":
    unittest.main()
