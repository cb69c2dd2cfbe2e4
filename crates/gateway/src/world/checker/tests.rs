//! Every rule can be broken.

use serde_json::json;

use super::*;

fn view(id: &str, prompt: &str, state: &str) -> Value {
    json!({ "id": id, "prompt": prompt, "state": state })
}

fn checker() -> Checker {
    Checker::new(100.0, 200.0)
}

/// One request, accepted and synced.
fn with_a_request() -> Checker {
    let mut c = checker();
    let submission = c.submits(0, "p", Some("k"));
    c.synced("a");
    c.accepted(submission, 9, &view("a", "p", "waiting"));
    assert_eq!(c.broken, [""; 0]);
    c
}

/// One that has completed, with a picture.
fn with_an_end() -> Checker {
    let mut c = with_a_request();
    let call = c.begins(&run(0, "a", 1));
    c.gives("a", b"picture");
    c.ends(call);
    c.end_written("a");
    c.end_synced("a");
    c.seen(9, &view("a", "p", "completed"));
    c.picture("a", b"picture");
    assert_eq!(c.broken, [""; 0]);
    c
}

fn run(server: usize, request: &str, attempt: u32) -> Begun<'_> {
    Begun { server, request, attempt, stopping: false, again: false }
}

/// What happens breaks this rule, or none.
fn check(mut c: Checker, act: &dyn Fn(&mut Checker), rule: &str) {
    act(&mut c);
    match rule {
        "" => assert_eq!(c.broken, [""; 0]),
        rule => assert!(c.broken.iter().any(|b| b.contains(rule)), "{rule}: {:?}", c.broken),
    }
}

#[test]
fn acknowledgements_hold() {
    let unsynced = |c: &mut Checker| c.seen(9, &view("a", "p", "waiting"));
    check(checker(), &unsynced, "before the disk had synced it");
    check(with_a_request(), &|c| c.missing("a"), "is not found");
    check(with_a_request(), &|c| c.seen(9, &view("a", "q", "waiting")), "was \"p\", and now \"q\"");
    let twice = |c: &mut Checker| {
        c.synced("b");
        c.seen(9, &view("b", "p", "waiting"));
    };
    check(with_a_request(), &twice, "2 requests of \"p\"");
    let refused = |c: &mut Checker| {
        let submission = c.submits(0, "q", None);
        c.refused(submission);
        c.synced("b");
        c.seen(9, &view("b", "q", "waiting"));
    };
    check(with_a_request(), &refused, "1 requests of \"q\"");
    let back = |c: &mut Checker| {
        let submission = c.submits(0, "q", None);
        c.refused(submission);
        c.resurrected("b");
        c.seen(9, &view("b", "q", "waiting"));
    };
    check(with_a_request(), &back, "");
    let in_doubt = |c: &mut Checker| {
        let submission = c.submits(0, "q", None);
        c.refused(submission);
        c.synced("b");
        c.doubtful("b");
    };
    let at_once = |c: &mut Checker| {
        in_doubt(c);
        c.seen(9, &view("b", "q", "waiting"));
    };
    check(with_a_request(), &at_once, "1 requests of \"q\"");
    let in_another_life = |c: &mut Checker| {
        in_doubt(c);
        c.life_ends();
        c.seen(9, &view("b", "q", "waiting"));
    };
    check(with_a_request(), &in_another_life, "");
    let again = |c: &mut Checker| {
        let submission = c.submits(0, "p", Some("k"));
        c.synced("b");
        c.accepted(submission, 9, &view("b", "p", "waiting"));
    };
    check(with_a_request(), &again, "key k named a, and now b");
}

#[test]
fn ends_and_pictures_stay_as_they_were_told() {
    check(with_a_request(), &|c| c.seen(9, &view("a", "p", "failed")), "told before it was synced");
    let unpainted = |c: &mut Checker| {
        c.end_synced("a");
        c.seen(9, &view("a", "p", "completed"));
    };
    check(with_a_request(), &unpainted, "no server gave a picture");
    check(with_an_end(), &|c| c.seen(9, &view("a", "p", "failed")), "and now as");
    check(with_an_end(), &|c| c.seen(9, &view("a", "p", "waiting")), "and now is waiting");
    check(with_an_end(), &|c| c.seen(0, &view("a", "p", "waiting")), "");
    check(with_a_request(), &Checker::all_must_have_ended, "never ended");
    check(with_an_end(), &Checker::all_must_have_ended, "");
    check(with_an_end(), &|c| c.picture("a", b"pictur"), "no server gave the picture");
    let another = |c: &mut Checker| {
        c.gives("a", b"another");
        c.picture("a", b"another");
    };
    check(with_an_end(), &another, "another picture");
    check(with_an_end(), &|c| c.no_picture("a"), "has no picture");
    check(with_an_end(), &|c| c.picture_gone("a"), "gone before its time");
    let later = |c: &mut Checker| {
        c.time_goes_on(300.0);
        c.picture_gone("a");
        c.missing("a");
    };
    check(with_an_end(), &later, "");
}

#[test]
fn runs_are_as_few_as_they_may_be() {
    let begins = |begun: Begun<'static>| {
        move |c: &mut Checker| {
            c.begins(&begun);
        }
    };
    check(with_a_request(), &begins(run(0, "b", 1)), "runs before the disk has synced it");
    check(with_an_end(), &begins(run(0, "a", 2)), "runs after its end was told");
    let stopping = Begun { stopping: true, ..run(0, "a", 1) };
    check(with_a_request(), &begins(stopping), "still stopping");
    let both = |c: &mut Checker| {
        c.synced("b");
        c.begins(&run(0, "a", 1));
        c.begins(&run(0, "b", 1));
    };
    check(with_a_request(), &both, "two runs at once");
    let same = |c: &mut Checker| {
        let call = c.begins(&run(0, "a", 1));
        c.ends(call);
        c.begins(&run(1, "a", 1));
    };
    check(with_a_request(), &same, "begun twice");
    let elsewhere = |c: &mut Checker| {
        c.begins(&run(0, "a", 1));
        c.begins(&run(1, "a", 2));
        c.time_goes_on(0.5);
    };
    check(with_a_request(), &elsewhere, "and still on server 0");
    let moved = |c: &mut Checker| {
        c.begins(&run(0, "a", 1));
        c.begins(&run(1, "a", 2));
        c.gives_up(0, "a");
        c.time_goes_on(0.5);
    };
    check(with_a_request(), &moved, "");
}
