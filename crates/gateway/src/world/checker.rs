//! What must hold in every world. It knows the gateway by its answers alone, and shares no code with
//! it: plain text, numbers and bytes go in, broken rules come out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[cfg(test)]
mod tests;

/// What it has seen, and what was wrong with it.
#[derive(Default)]
pub(super) struct Checker {
    /// Seconds that gateways have run.
    uptime: f64,
    /// Broken rules, the first first.
    pub(super) broken: Vec<String>,
    submissions: Vec<Submission>,
    by_prompt: BTreeMap<String, Vec<usize>>,
    /// What the disk has synced, by identifier.
    synced: BTreeSet<String>,
    /// Requests whose end the disk has synced.
    ends_synced: BTreeSet<String>,
    /// Uptime at which an end was first to be written, whatever came of that.
    ends_written: BTreeMap<String, f64>,
    /// What the disk has had since a kill although it had reported an error.
    resurrected: BTreeSet<String>,
    /// What the disk has although it has reported an error, in this life.
    doubtful: BTreeSet<String>,
    /// Questions so far.
    questions: u64,
    known: BTreeMap<String, Known>,
    /// Identifiers that were seen with a prompt.
    prompts: BTreeMap<String, BTreeSet<String>>,
    /// What keys name.
    keys: BTreeMap<String, String>,
    /// Whole pictures that servers gave, by request.
    given: BTreeMap<String, BTreeSet<Vec<u8>>>,
    calls: BTreeMap<u64, Call>,
    calls_so_far: u64,
    /// Runs begun in this life.
    begun: BTreeSet<(String, u32)>,
    /// Calls that must be given up before time goes on.
    doubled: BTreeSet<u64>,
    /// Seconds for which pictures are kept, and requests are remembered after that.
    keep: f64,
    remember: f64,
}

struct Submission {
    owner: usize,
    prompt: String,
    key: Option<String>,
    refused: bool,
}

/// A request that was answered.
struct Known {
    owner: usize,
    prompt: String,
    /// Number of the first submission that may have made it.
    submission: usize,
    /// How it ended, as it was told first, and questions so far by then.
    end: Option<(Value, u64)>,
    /// Its picture, as it was answered first.
    picture: Option<Vec<u8>>,
    /// Questions so far when it was not found any more.
    forgotten: Option<u64>,
}

struct Call {
    server: usize,
    request: String,
    given_up: bool,
}

/// Requests, each with its owner.
pub(super) type Owned = Vec<(usize, String)>;

/// Whose run a server is asked for.
pub(super) struct Begun<'a> {
    pub(super) server: usize,
    pub(super) request: &'a str,
    pub(super) attempt: u32,
    /// Whether the server still has a job of which it said that it is stopping.
    pub(super) stopping: bool,
    /// Whether it is asked for one that was begun in an earlier life.
    pub(super) again: bool,
}

impl Checker {
    pub(super) fn new(keep: f64, remember: f64) -> Self {
        Self { keep, remember, ..Self::default() }
    }

    /// Something is asked: the number is to be given with the answer. What was told before must be
    /// in it.
    pub(super) fn asks(&mut self) -> u64 {
        self.questions += 1;
        self.questions
    }

    fn expect(&mut self, holds: bool, rule: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(rule());
        }
    }

    /// A client submits this; the number is to be given with the answer.
    pub(super) fn submits(&mut self, owner: usize, prompt: &str, key: Option<&str>) -> usize {
        let number = self.submissions.len();
        self.by_prompt.entry(prompt.into()).or_default().push(number);
        let (prompt, key) = (prompt.into(), key.map(Into::into));
        self.submissions.push(Submission { owner, prompt, key, refused: false });
        number
    }

    /// Its submission was refused.
    pub(super) fn refused(&mut self, submission: usize) {
        self.submissions[submission].refused = true;
    }

    /// Its submission was accepted, or found accepted under its key.
    pub(super) fn accepted(&mut self, submission: usize, asked: u64, view: &Value) {
        let id = text(view, "id");
        let Submission { prompt, key, .. } = &self.submissions[submission];
        let (prompt, key) = (prompt.clone(), key.clone());
        let told = text(view, "prompt");
        self.expect(told == prompt, || format!("{prompt:?} was sent, {told:?} was accepted"));
        if let Some(key) = key {
            let before = self.keys.get(&key).filter(|before| !self.may_be_forgotten(before));
            let first = before.cloned().unwrap_or_else(|| id.clone());
            self.keys.insert(key.clone(), first.clone());
            self.expect(first == id, || format!("key {key} named {first}, and now {id}"));
        }
        self.seen(asked, view);
    }

    /// A request was shown to somebody who asked for it.
    pub(super) fn seen(&mut self, asked: u64, view: &Value) {
        self.shown(asked, view, true);
    }

    /// A request stood in a list. Lists are read off the disk, which may be a moment ahead of those
    /// who answer for a single request.
    pub(super) fn listed(&mut self, asked: u64, view: &Value) {
        self.shown(asked, view, false);
    }

    fn shown(&mut self, asked: u64, view: &Value, told: bool) {
        let (id, prompt, state) = (text(view, "id"), text(view, "prompt"), text(view, "state"));
        let synced = self.synced.contains(&id);
        self.expect(synced, || format!("{id} was acknowledged before the disk had synced it"));
        if let Some(known) = self.known.get(&id) {
            let before = known.prompt.clone();
            let forgotten = known.forgotten.is_some_and(|by| by < asked);
            self.expect(before == prompt, || format!("{id} was {before:?}, and now {prompt:?}"));
            self.expect(!forgotten, || format!("{id} was not found, and now it is"));
        } else {
            self.count(&id, &prompt);
            let submitted = self.by_prompt.get(&prompt).and_then(|by| by.first());
            let submission = submitted.copied().unwrap_or(usize::MAX);
            let owner = self.submissions.get(submission).map_or(0, |submitted| submitted.owner);
            let (end, picture, forgotten) = (None, None, None);
            let known = Known { owner, prompt, submission, end, picture, forgotten };
            self.known.insert(id.clone(), known);
        }
        let ended = matches!(&*state, "completed" | "failed" | "cancelled" | "expired");
        let now = ended.then(|| end(view));
        let known = self.known.get_mut(&id).expect("just put there");
        match (&known.end, now) {
            (None, None) => {}
            (Some((_, told)), None) if asked <= *told => {}
            (Some((before, _)), None) => {
                self.broken.push(format!("{id} had ended as {before}, and now is {state}"));
            }
            (Some((before, _)), Some(now)) if *before == now => {}
            (Some((before, _)), Some(now)) => {
                self.broken.push(format!("{id} had ended as {before}, and now as {now}"));
            }
            (None, Some(now)) => {
                if told {
                    known.end = Some((now, self.questions));
                }
                let synced = self.ends_synced.contains(&id);
                self.expect(synced, || format!("the end of {id} was told before it was synced"));
                let given = state != "completed" || self.given.contains_key(&id);
                self.expect(given, || format!("{id} completed, and no server gave a picture"));
            }
        }
    }

    /// One submission makes one request at most, and one that was refused makes none.
    fn count(&mut self, id: &str, prompt: &str) {
        let ids = self.prompts.entry(prompt.into()).or_default();
        ids.insert(id.into());
        let ids = ids.clone();
        let counts = |id: &&String| !self.resurrected.contains(*id) && !self.may_be_forgotten(id);
        let there = ids.iter().filter(counts).count();
        let submitted = self.by_prompt.get(prompt).into_iter().flatten();
        let open = submitted.map(|number| &self.submissions[*number]).filter(|s| !s.refused);
        let (keyed, plain): (Vec<_>, Vec<_>) = open.partition(|s| s.key.is_some());
        let keys: BTreeSet<_> = keyed.iter().map(|s| &s.key).collect();
        let most = plain.len() + keys.len();
        self.expect(there <= most, || {
            format!("{there} requests of {prompt:?} are there, and {most} could be")
        });
    }

    /// A request that was acknowledged was not found.
    pub(super) fn missing(&mut self, id: &str) {
        let may_be = self.may_be_forgotten(id);
        self.expect(may_be, || format!("{id} was acknowledged and is not found"));
        if let Some(known) = self.known.get_mut(id) {
            known.forgotten.get_or_insert(self.questions);
        }
    }

    fn may_be_forgotten(&self, id: &str) -> bool {
        self.ended_before(id, self.keep + self.remember)
    }

    /// The picture of a request was answered.
    pub(super) fn picture(&mut self, id: &str, bytes: &[u8]) {
        let given = self.given.get(id).is_some_and(|pictures| pictures.contains(bytes));
        self.expect(given, || format!("no server gave the picture that was answered for {id}"));
        let Some(known) = self.known.get_mut(id) else { return };
        let same = known.picture.get_or_insert_with(|| bytes.into()) == bytes;
        self.expect(same, || format!("{id} has another picture than before"));
    }

    /// There is no picture of a request any more.
    pub(super) fn picture_gone(&mut self, id: &str) {
        let long_ago = self.ended_before(id, self.keep);
        self.expect(long_ago, || format!("the picture of {id} is gone before its time"));
    }

    /// There never was a picture of a request.
    pub(super) fn no_picture(&mut self, id: &str) {
        let end = self.known.get(id).and_then(|known| known.end.as_ref());
        let completed = end.is_some_and(|(end, _)| end["state"] == "completed");
        self.expect(!completed, || format!("{id} completed and has no picture"));
    }

    /// Whether it ended so many seconds ago, and may have waited a while for the disk before.
    fn ended_before(&self, id: &str, seconds: f64) -> bool {
        const WAITED: f64 = 10.0;
        let written = self.ends_written.get(id).filter(|_| self.ends_synced.contains(id));
        written.is_some_and(|at| self.uptime - at + WAITED >= seconds)
    }

    /// The disk has synced the acceptance of a request.
    pub(super) fn synced(&mut self, id: &str) {
        self.synced.insert(id.into());
    }

    /// The disk has synced that a request was never accepted.
    pub(super) fn withdrawn(&mut self, id: &str) {
        self.synced.remove(id);
        self.doubtful.remove(id);
    }

    /// The disk has a request, and has reported an error.
    pub(super) fn doubtful(&mut self, id: &str) {
        self.doubtful.insert(id.into());
    }

    /// The end of a request is to be written.
    pub(super) fn end_written(&mut self, id: &str) {
        self.ends_written.entry(id.into()).or_insert(self.uptime);
    }

    /// The disk has synced the end of a request.
    pub(super) fn end_synced(&mut self, id: &str) {
        self.ends_synced.insert(id.into());
    }

    /// The disk has what it said it had not, since a kill.
    pub(super) fn resurrected(&mut self, id: &str) {
        self.resurrected.insert(id.into());
        self.synced.insert(id.into());
    }

    /// A server is asked for a run. Returns the number of the call.
    pub(super) fn begins(&mut self, begun: &Begun<'_>) -> u64 {
        let Begun { server, request, attempt, stopping, again } = *begun;
        let synced = self.synced.contains(request);
        self.expect(synced, || format!("{request} runs before the disk has synced it"));
        let told = self.known.get(request).is_some_and(|known| known.end.is_some());
        self.expect(!told, || format!("{request} runs after its end was told"));
        let busy = self.calls.values().any(|call| call.server == server);
        self.expect(!busy, || format!("server {server} is asked for two runs at once"));
        self.expect(!stopping, || format!("server {server} was still stopping its last run"));
        let new = self.begun.insert((request.into(), attempt));
        self.expect(new || again, || format!("run {request}/{attempt} was begun twice"));
        for (number, call) in &self.calls {
            if call.request == request && !call.given_up {
                self.doubled.insert(*number);
            }
        }
        self.calls_so_far += 1;
        let call = Call { server, request: request.into(), given_up: false };
        self.calls.insert(self.calls_so_far, call);
        self.calls_so_far
    }

    /// A server is asked to stop the run of this request.
    pub(super) fn gives_up(&mut self, server: usize, request: &str) {
        for (number, call) in &mut self.calls {
            if call.server == server && call.request == request {
                call.given_up = true;
                self.doubled.remove(number);
            }
        }
    }

    /// A call has ended, whoever ended it.
    pub(super) fn ends(&mut self, call: u64) {
        self.calls.remove(&call);
        self.doubled.remove(&call);
    }

    /// A server gave a whole picture.
    pub(super) fn gives(&mut self, request: &str, picture: &[u8]) {
        self.given.entry(request.into()).or_default().insert(picture.into());
    }

    /// A gateway has run for so many seconds more: what runs on two servers must have been given up
    /// on one of them.
    pub(super) fn time_goes_on(&mut self, seconds: f64) {
        self.uptime += seconds;
        for number in std::mem::take(&mut self.doubled) {
            let call = &self.calls[&number];
            let (request, server) = (call.request.clone(), call.server);
            self.broken.push(format!("{request} runs elsewhere, and still on server {server}"));
        }
    }

    /// The gateway was killed or has stopped: nobody makes its calls any more.
    pub(super) fn life_ends(&mut self) {
        // Nobody is left who knows that they are to be taken back.
        self.resurrected.append(&mut self.doubtful);
        self.calls.clear();
        self.doubled.clear();
        self.begun.clear();
    }

    /// Requests that were acknowledged, each with its owner and in the order of their submissions, as
    /// which of several answers of a moment comes first is no part of the world: those of which no end
    /// has been told, and the others.
    pub(super) fn acknowledged(&self) -> (Owned, Owned) {
        let mut there: Vec<_> =
            self.known.iter().filter(|(_, known)| known.forgotten.is_none()).collect();
        there.sort_by_key(|(_, known)| known.submission);
        let owned = there.into_iter().map(|(id, known)| (known.owner, id.clone()));
        owned.partition(|(_, id)| self.known[id].end.is_none())
    }

    /// The world has been at peace for long enough: everything must have ended.
    pub(super) fn all_must_have_ended(&mut self) {
        for (_, id) in self.acknowledged().0 {
            self.broken.push(format!("{id} was acknowledged and never ended"));
        }
    }

    /// How many ended in which way.
    pub(super) fn outcomes(&self) -> BTreeMap<String, usize> {
        let mut outcomes = BTreeMap::new();
        for (end, _) in self.known.values().filter_map(|known| known.end.as_ref()) {
            *outcomes.entry(text(end, "state")).or_default() += 1;
        }
        outcomes
    }
}

fn text(view: &Value, field: &str) -> String {
    view[field].as_str().unwrap_or_default().into()
}

/// What a view says of the end and must never change. Dates are read off the wall clock of the
/// moment, which may be set.
fn end(view: &Value) -> Value {
    let mut end = serde_json::json!({ "state": view["state"], "reason": view["reason"] });
    if let Some(result) = view["result"].as_object() {
        for (field, value) in result {
            if !field.ends_with("_at") {
                end[field] = value.clone();
            }
        }
    }
    end
}
