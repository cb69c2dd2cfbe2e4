//! The same submission many times at once, over a journal that is slow and fails: what is answered
//! as accepted is in the journal, whatever happened in between.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use scheduling::{Generator, Purpose};

use super::*;
use crate::journal::{Archive as _, Fate, Filter, Journal, JournalError, Reader, Record, Sqlite};

/// What the next commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commit {
    Done,
    Slow,
    /// Nothing reaches the disk.
    Refused,
    /// Everything reaches the disk, and an error is reported all the same.
    Doubtful,
}

type Script = Arc<Mutex<VecDeque<Commit>>>;

struct Flaky {
    journal: Sqlite,
    script: Script,
}

impl Journal for Flaky {
    fn append(&mut self, batch: &[Record]) -> Result<Vec<Fate>, JournalError> {
        let commit = self.script.lock().unwrap().pop_front().unwrap_or(Commit::Done);
        let error = || Err(JournalError("input/output error".into()));
        match commit {
            Commit::Done => self.journal.append(batch),
            Commit::Slow => {
                std::thread::sleep(Duration::from_millis(2));
                self.journal.append(batch)
            }
            Commit::Refused => error(),
            Commit::Doubtful => self.journal.append(batch).and_then(|_| error()),
        }
    }
}

async fn start_flaky(script: Script) -> Test {
    let wrap = move |world: &mut World| {
        world.journal = Box::new(move |journal| Ok(Box::new(Flaky { journal, script })));
    };
    start_with(tempfile::tempdir().unwrap(), "", wrap).await
}

async fn submit(t: &Test, key: Option<&str>, prompt: &str) -> Answer {
    let key = key.map(|key| ("idempotency-key", key));
    let body = json!({ "prompt": prompt, "max_steps": 1 });
    t.send(Method::POST, "/v1/requests", key.as_slice(), &body).await
}

#[tokio::test(start_paused = true)]
async fn a_second_submission_waits_for_the_disk_like_the_first_and_shares_its_fate() {
    for commit in [Commit::Slow, Commit::Refused, Commit::Doubtful] {
        let script = Script::default();
        let t = start_flaky(script.clone()).await;
        script.lock().unwrap().push_back(commit);
        let same = [("k", "x"), ("k", "x"), ("k", "x"), ("k", "another")];
        let answers = join_all(same.map(|(key, prompt)| submit(&t, Some(key), prompt))).await;
        let mut statuses: Vec<_> = answers.iter().map(|a| a.status).collect();
        if commit == Commit::Slow {
            // Whichever came first was accepted; its like are told so, others that they differ.
            let expected =
                if statuses[3] == 202 { [422, 422, 422, 202] } else { [200, 200, 202, 422] };
            statuses[..3].sort_unstable();
            assert_eq!(statuses, expected);
            continue;
        }
        assert_eq!(statuses, [503; 4], "{commit:?}");
        for answer in answers {
            assert_eq!(answer.json()["reason"], "journal_unavailable", "{commit:?}");
        }
        let list = t.get("/v1/requests").await.json();
        assert_eq!(list["requests"], json!([]), "{commit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_answered_as_accepted_is_missing() {
    let seed = std::env::var("ATELIER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut g = Generator::new(seed, Purpose::Search, 0);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..25 {
        let script = Script::default();
        let t = start_flaky(script.clone()).await;
        let mut known = HashMap::<String, String>::new();
        let mut seen = HashSet::new();
        for _ in 0..4 {
            let kinds = [Commit::Done, Commit::Slow, Commit::Refused, Commit::Doubtful];
            let commits = (0..g.below(5)).map(|_| kinds[g.below(4)]);
            script.lock().unwrap().extend(commits.collect::<Vec<_>>());
            let sent: Vec<_> = (0..=g.below(6))
                .map(|_| {
                    let key = [None, Some("k1"), Some("k2"), Some("k3")][g.below(4)];
                    (key, ["x", "y"][g.below(2)])
                })
                .collect();
            let submitted = join_all(sent.iter().map(|(key, prompt)| submit(&t, *key, prompt)));
            let (answers, list) = tokio::join!(submitted, t.get("/v1/requests"));
            for ((key, _), answer) in sent.iter().zip(answers) {
                let told = answer.json();
                match (answer.status, told["reason"].as_str()) {
                    (200 | 202, _) => {
                        accepted += 1;
                        let id = told["id"].as_str().unwrap().to_string();
                        seen.insert(id.clone());
                        let Some(key) = key else { continue };
                        let before = known.insert((*key).into(), id.clone());
                        assert!(before.is_none_or(|before| before == id), "one key, two requests");
                    }
                    (503, Some("journal_unavailable")) => refused += 1,
                    (422, Some("idempotency_key_reused"))
                    | (409, Some("idempotency_key_in_use")) => {}
                    other => panic!("{other:?}: {told}"),
                }
            }
            // What a list shows is acknowledged as well.
            let list = list.json();
            let listed = list["requests"].as_array().into_iter().flatten();
            seen.extend(listed.map(|view| view["id"].as_str().unwrap().to_string()));
            tokio::time::sleep(Duration::from_millis(g.below(300) as u64)).await;
        }
        // The disk is sound again, and what is owed gets written.
        script.lock().unwrap().clear();
        t.ready().await;
        let reader = Reader::open(&t.folder.path().join("journal.db")).unwrap();
        let page = reader.list(&Filter { limit: 1000, ..Filter::default() }).unwrap();
        let written: HashSet<_> =
            page.entries.iter().map(|e| e.accepted.order.id.to_string()).collect();
        assert_eq!(written, seen, "round {round}");
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 50 && refused > 50, "{accepted} accepted, {refused} refused");
}
