//! Servers that fail jobs, hang, or go on with what nobody waits for.

use super::*;

fn refused(reason: &str) -> Failure {
    Failure { class: FailureClass::Refused, reason: reason.into() }
}

fn not_now(retry_after: Option<f64>) -> Failure {
    let class = FailureClass::NotNow { retry_after: retry_after.map(Seconds::of) };
    Failure { class, reason: "loading".into() }
}

fn running(s: &Scheduler, n: u64) -> Option<usize> {
    match s.standing(id(n)) {
        Some(Standing::Running { server }) => Some(server),
        _ => None,
    }
}

/// Fails the run of request `n` and says where it runs then.
fn fail(s: &mut Scheduler, now: f64, n: u64, failure: &Failure) -> Option<usize> {
    let server = running(s, n).expect("it runs");
    s.failed(at(now), run_of(s, server), failure);
    running(s, n)
}

#[test]
fn servers_that_have_not_been_tried_come_first() {
    let mut s = up(&[50.0, 50.0, 50.0], fixed(30));
    accept(&mut s, 0, 0.0, 30.0);
    assert_eq!(fail(&mut s, 0.1, 0, &refused("404")), Some(1));
    assert_eq!(fail(&mut s, 0.2, 0, &refused("422")), Some(2));
    s.completed(at(0.3), run_of(&s, 2));
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Completed)]);
}

#[test]
fn a_job_that_every_server_refuses_fails_at_once_with_all_reasons() {
    let mut s = up(&[50.0, 50.0], fixed(30));
    accept(&mut s, 0, 0.0, 30.0);
    assert_eq!(fail(&mut s, 0.1, 0, &refused("a: 404")), Some(1));
    assert_eq!(fail(&mut s, 0.2, 0, &refused("b: 422")), None);
    let reason = "a: 404; b: 422".to_string();
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Failed { reason })]);
}

#[test]
fn the_only_server_is_asked_again_after_a_pause_that_grows() {
    let mut s = scheduler(&[50.0], fixed(30), Limits { attempts: 4, ..LIMITS });
    s.server_up(at(0.0), 0);
    accept(&mut s, 0, 0.0, 30.0);
    let mut now = 0.0;
    for pause in [0.5, 1.0, 2.0] {
        assert_eq!(fail(&mut s, now, 0, &counted("500")), None);
        assert_eq!(s.next_wakeup(), Some(at(now + pause)));
        s.tick(at(now + pause - 0.01));
        assert_eq!(running(&s, 0), None, "it pauses");
        now += pause;
        s.tick(at(now));
        assert_eq!(running(&s, 0), Some(0));
    }
    assert_eq!(fail(&mut s, now, 0, &counted("500")), None);
    let reason = "500".to_string();
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Failed { reason })]);
}

#[test]
fn not_now_costs_no_attempts_and_keeps_everybody_away_until_then() {
    let mut s = up(&[50.0], fixed(30));
    accept(&mut s, 0, 0.0, 30.0);
    accept(&mut s, 1, 0.0, 30.0);
    let mut now = 0.0;
    for _ in 0..2 * LIMITS.attempts {
        assert_eq!(fail(&mut s, now, 0, &not_now(Some(20.0))), None);
        assert_eq!(running(&s, 1), None, "the other one is not sent there either");
        assert_eq!(s.servers()[0].rest.left(at(now)), Some(Seconds::of(20.0)));
        now += 20.0;
        s.tick(at(now));
        assert_eq!(running(&s, 0), Some(0), "in order of acceptance, one at a time");
        assert_eq!(s.standing(id(1)), Some(Standing::Unplaced));
    }
    s.completed(at(now), run_of(&s, 0));
    assert_eq!(running(&s, 1), Some(0));
    assert_eq!(s.servers()[0].rest.failures, 0);
}

#[test]
fn a_request_that_waits_for_a_server_expires_all_the_same() {
    let mut s = up(&[50.0], fixed(30));
    accept(&mut s, 0, 0.0, 10.0); // expires at 110
    assert_eq!(fail(&mut s, 0.0, 0, &not_now(Some(500.0))), None);
    s.tick(at(109.9));
    assert_eq!(s.live(), 1);
    assert_eq!(s.next_wakeup(), Some(at(110.0)));
    s.tick(at(110.0));
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Expired)]);
}

#[test]
fn a_server_that_fails_every_job_does_not_attract_everybody() {
    let mut s = up(&[50.0, 10.0], fixed(30));
    let mut asked = 0;
    for n in 0..10 {
        accept(&mut s, n, 0.0, 90.0);
        while let Some(run) = s.servers()[0].occupancy.run().map(|run| run.id) {
            asked += 1;
            s.failed(at(0.0), run, &counted("500"));
        }
    }
    assert_eq!(asked, 3);
    assert_eq!(s.servers()[1].queue_length(), 9);
    assert!(s.servers()[0].available(), "it is healthy");
    // When it has rested one request tries it out, the one with no place to lose.
    let until = s.servers()[0].rest.until.unwrap();
    s.tick(until);
    assert_eq!(run_of(&s, 0).request, id(9));
    s.completed(until, run_of(&s, 0));
    assert_eq!(s.servers()[0].rest.until, None);
    assert!(s.servers()[0].queue_length() > 1, "it is used again");
}

#[test]
fn one_owners_impossible_jobs_take_no_server_from_others() {
    let limits = Limits { attempts: 1, ..LIMITS };
    let mut s = scheduler(&[50.0], fixed(30), limits);
    s.server_up(at(0.0), 0);
    for n in [0, 2, 4] {
        accept(&mut s, n, 0.0, 30.0); // ann's
        assert_eq!(fail(&mut s, 0.0, n, &counted("out of memory")), None);
    }
    accept(&mut s, 6, 0.0, 30.0);
    assert_eq!(s.standing(id(6)), Some(Standing::Unplaced), "ann's next one waits");
    accept(&mut s, 1, 0.0, 30.0);
    assert_eq!(running(&s, 1), Some(0), "bob's runs");
    s.completed(at(0.1), run_of(&s, 0));
    assert_eq!(running(&s, 6), Some(0), "which shows that the server works");
}

#[test]
fn a_hanging_server_loses_its_run_at_once() {
    let mut s = up(&[50.0, 10.0], fixed(30));
    accept(&mut s, 0, 0.0, 30.0);
    let run = run_of(&s, 0);
    s.take_effects();
    s.server_down(at(0.2), 0);
    assert_eq!(running(&s, 0), Some(1));
    assert_eq!(run_of(&s, 1), RunId { attempt: 2, ..run });
    assert!(s.take_effects().iter().any(|e| matches!(e, Effect::Abort(r) if r.id == run)));
    // Back again, but the old run has not reported yet.
    s.server_up(at(0.3), 0);
    assert_eq!(run_of(&s, 0), run);
    s.completed(at(0.4), run);
    assert_eq!((s.live(), ends(&s.take_effects())), (1, vec![]), "too late");
}

#[test]
fn what_runs_on_the_only_server_waits_for_it() {
    let mut s = up(&[50.0], fixed(30));
    accept(&mut s, 0, 0.0, 30.0);
    let run = run_of(&s, 0);
    s.server_down(at(0.2), 0);
    assert_eq!(s.standing(id(0)), Some(Standing::Unplaced));
    s.failed(at(0.3), run, &counted("cancelled"));
    s.server_up(at(5.0), 0);
    assert_eq!(running(&s, 0), Some(0));
}

#[test]
fn a_cancelled_run_that_goes_on_unseen_still_counts() {
    let mut s = up(&[10.0, 5.0], fixed(50)); // 5 s and 10 s
    accept(&mut s, 0, 0.0, 30.0);
    assert!(s.cancel(at(1.0), id(0)));
    assert_eq!(s.backlog(at(1.0), 0), Seconds::of(4.0));
    let quote = s.quote(at(1.0), &order(1, 1.0, 30.0)).unwrap();
    assert_eq!((quote.decision.server, quote.execution.start), (0, at(5.0)));
    accept(&mut s, 1, 1.0, 30.0);
    accept(&mut s, 3, 1.0, 30.0);
    assert_eq!(running(&s, 3), Some(1), "11 s there, 15 s behind the others");
    // Where the backend does stop, the time is used at once.
    s.failed(at(1.5), run_of(&s, 0), &counted("cancelled"));
    assert_eq!(running(&s, 1), Some(0));
}

#[test]
fn a_server_that_is_free_early_takes_what_waits_elsewhere() {
    let mut s = up(&[10.0, 10.0], fixed(50));
    for n in 0..4 {
        accept(&mut s, n, 0.0, 60.0);
    }
    s.take_effects();
    s.cancel(at(1.0), id(2)); // behind request 0
    s.completed(at(2.0), run_of(&s, 0));
    assert_eq!(running(&s, 3), Some(0));
    let moved = s.take_effects();
    assert!(moved.iter().any(|e| matches!(e, Effect::Decided(d) if d.cause == Cause::ServerFree)));
}

#[test]
fn jobs_of_others_on_a_server_count_as_its_backlog() {
    let mut s = up(&[10.0, 10.0], Box::new(Greedy { ties: Ties::Lowest }));
    s.server_held(at(0.0), 0, 2); // 2 × 30 steps
    assert_eq!(
        (s.backlog(at(1.0), 0), s.backlog(at(1.0), 1)),
        (Seconds::of(5.0), Seconds::of(0.0))
    );
    accept(&mut s, 0, 1.0, 4.0);
    assert_eq!(s.standing(id(0)), Some(Standing::Running { server: 1 }));
    accept(&mut s, 1, 1.0, 30.0); // on either it has to wait
    s.server_held(at(2.0), 1, 7); // ours is one of them: nothing is known
    let busy = [0, 1].map(|server| s.backlog(at(2.0), server).seconds());
    assert!(busy[1] <= 31.0, "{busy:?}");
    s.server_held(at(2.0), 0, 0);
    assert!(s.servers()[0].occupancy.run().is_some() || s.backlog(at(2.0), 0) == Seconds::ZERO);
}
