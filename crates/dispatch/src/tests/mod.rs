mod fleet;
mod preload;
mod properties;
mod reconfigure;
mod sharing;
mod trouble;

use scheduling::policies::{Fixed, Greedy, Myopic, Ties};
use scheduling::{
    Decision, Observation, Request, Seconds, Server, Size, StepRate, Steps, TardinessPenalty,
};

use super::*;

fn at(seconds: f64) -> Time {
    Time::new(seconds).unwrap()
}

fn id(n: u64) -> RequestId {
    RequestId(uuid::Uuid::from_u128(u128::from(n) + 1))
}

fn order(n: u64, now: f64, slack: f64) -> Order {
    let penalty = TardinessPenalty::ALL[n as usize % 3];
    Order {
        id: id(n),
        owner: ["ann", "bob"][n as usize % 2].into(),
        request: Request::new(at(now), at(now + slack), penalty),
        pixels: 512 * 512,
        expires: at(now + slack + 100.0),
    }
}

fn spec(name: &str, rate: f64) -> ServerSpec {
    let Speed { overhead, rate } = speed(rate);
    ServerSpec { server: Server::new(name, rate, overhead), max_pixels: 1024 * 1024 }
}

fn speed(rate: f64) -> Speed {
    Speed { overhead: Seconds::ZERO, rate: StepRate::new(rate).unwrap() }
}

const LIMITS: Limits = Limits { waiting: 12, attempts: 2, horizon: None };

fn scheduler(rates: &[f64], policy: Box<dyn Policy>, limits: Limits) -> Scheduler {
    let specs = rates.iter().enumerate().map(|(i, &rate)| spec(&format!("s{i}"), rate));
    Scheduler::new(specs.collect(), Objective::default(), policy, limits)
}

fn fixed(steps: u32) -> Box<dyn Policy> {
    Box::new(Fixed { steps: Steps::new(steps).unwrap() })
}

fn up(rates: &[f64], policy: Box<dyn Policy>) -> Scheduler {
    let mut s = scheduler(rates, policy, LIMITS);
    (0..rates.len()).for_each(|j| s.server_up(Time::ZERO, j));
    s
}

fn accept(s: &mut Scheduler, n: u64, now: f64, slack: f64) {
    s.submit(at(now), order(n, now, slack)).unwrap();
    s.recorded(at(now), id(n));
}

fn run_of(s: &Scheduler, server: usize) -> RunId {
    s.servers()[server].occupancy.run().unwrap().id
}

fn counted(reason: &str) -> Failure {
    Failure { class: FailureClass::Counted, reason: reason.into() }
}

fn ends(effects: &[Effect]) -> Vec<(RequestId, Outcome)> {
    (effects.iter())
        .filter_map(|e| match e {
            Effect::Ended(end) => Some((end.request, end.outcome.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn nothing_runs_before_it_is_recorded() {
    let mut s = up(&[10.0], fixed(30));
    s.submit(at(0.0), order(0, 0.0, 9.0)).unwrap();
    assert!(!s.take_effects().iter().any(|e| matches!(e, Effect::Start(_))));
    s.recorded(at(0.1), id(0));
    assert!(matches!(s.take_effects()[..], [Effect::Start(Run { start, .. })] if start == at(0.1)));
}

#[test]
fn what_moves_up_behind_a_head_that_moved_away_starts() {
    let mut s = up(&[10.0, 20.0], Box::new(Greedy { ties: Ties::Fastest }));
    accept(&mut s, 9, 0.0, 20.0); // server 1 until 10
    s.submit(at(0.0), order(0, 0.0, 8.0)).unwrap(); // server 0, not recorded yet
    s.submit(at(0.0), order(1, 0.0, 30.0)).unwrap(); // behind one of the two
    s.recorded(at(0.0), id(1));
    s.completed(at(1.0), run_of(&s, 1)); // earlier than predicted: server 1 takes what gains
    s.recorded(at(1.0), id(0));
    let running = [0, 1].map(|n| matches!(s.standing(id(n)), Some(Standing::Running { .. })));
    assert_eq!(running, [true, true]);
}

#[test]
fn a_request_the_journal_refused_leaves_no_trace() {
    let mut s = up(&[10.0], fixed(30));
    s.submit(at(0.0), order(0, 0.0, 9.0)).unwrap();
    s.submit(at(0.0), order(1, 0.0, 9.0)).unwrap();
    s.recorded(at(0.0), id(1));
    s.withdraw(at(0.0), id(0));
    assert_eq!(run_of(&s, 0).request, id(1), "the next one moves up");
    assert!(ends(&s.take_effects()).is_empty());
    assert_eq!(s.live(), 1);
    s.withdraw(at(0.0), id(1));
    assert_eq!(s.live(), 1, "what the journal has cannot be withdrawn");
}

#[test]
fn waiting_requests_move_when_their_server_goes_down_and_back_when_it_returns() {
    let mut s = up(&[10.0, 10.0], fixed(50));
    for n in 0..4 {
        accept(&mut s, n, 0.0, 30.0);
    }
    s.take_effects();
    s.server_down(at(1.0), 0);
    let moved = s.take_effects();
    let decided: Vec<_> = (moved.iter())
        .filter_map(|effect| match effect {
            Effect::Decided(d) => Some((d.request, d.cause, d.quote.decision.server)),
            _ => None,
        })
        .collect();
    assert_eq!(decided, [(id(0), Cause::Abandoned, 1), (id(2), Cause::ServerDown, 1)]);
    let run = run_of(&s, 0);
    assert!(moved.contains(&Effect::Abort(*s.servers()[0].occupancy.run().unwrap())));
    s.failed(at(1.0), run, &counted("cancelled"));
    assert_eq!(s.servers()[1].queue_length(), 3);
    s.server_up(at(2.0), 0);
    assert_eq!(s.servers()[1].queue_length() + s.servers()[0].queue_length(), 2);
    assert_eq!(run_of(&s, 0).request, id(0), "in order of acceptance");
}

#[test]
fn what_fails_is_tried_elsewhere_within_its_budget() {
    let mut s = up(&[10.0, 10.0], fixed(50));
    accept(&mut s, 0, 0.0, 30.0);
    let first = run_of(&s, 0);
    s.failed(at(1.0), first, &counted("status 500"));
    let second = run_of(&s, 1);
    assert_eq!(second.attempt, 2);
    s.failed(at(1.0), first, &counted("a late report of the first run changes nothing"));
    s.completed(at(1.0), first);
    assert_eq!(s.live(), 1);
    s.failed(at(2.0), second, &counted("cut off"));
    let reason = "cut off".to_string();
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Failed { reason })]);
}

#[test]
fn a_cancelled_run_keeps_its_server_until_it_stops() {
    let mut s = up(&[10.0], fixed(50));
    accept(&mut s, 0, 0.0, 30.0);
    accept(&mut s, 1, 0.0, 30.0);
    let run = run_of(&s, 0);
    assert!(s.cancel(at(1.0), id(0)));
    assert!(!s.cancel(at(1.0), id(0)), "it has ended");
    let effects = s.take_effects();
    assert!(effects.iter().any(|e| matches!(e, Effect::Abort(r) if r.id == run)));
    assert_eq!(ends(&effects), [(id(0), Outcome::Cancelled)]);
    assert_eq!(s.servers()[0].queue_length(), 1);
    s.completed(at(2.0), run);
    assert_eq!(run_of(&s, 0).request, id(1));
    assert!(ends(&s.take_effects()).is_empty(), "cancelled is cancelled");
}

#[test]
fn a_hanging_run_sends_those_behind_it_elsewhere() {
    let mut s = up(&[10.0, 5.0], Box::new(Greedy { ties: Ties::Fastest }));
    accept(&mut s, 0, 0.0, 4.0); // server 0 until 4
    accept(&mut s, 1, 0.0, 7.0); // server 1 until 7
    accept(&mut s, 2, 1.0, 9.0); // behind request 0
    assert_eq!(s.standing(id(2)), Some(Standing::Waiting { server: 0, ahead: 1 }));
    s.tick(at(6.9));
    assert!(matches!(s.standing(id(2)), Some(Standing::Waiting { server: 0, .. })));
    s.tick(at(7.0)); // 3 s overdue: expected to hang for 3 s more, until 10
    assert!(matches!(s.standing(id(2)), Some(Standing::Waiting { server: 1, .. })));
}

#[test]
fn progress_moves_the_predicted_finish() {
    let mut s = up(&[10.0], fixed(100));
    accept(&mut s, 0, 0.0, 30.0);
    assert_eq!(s.backlog(at(2.0), 0), Seconds::of(8.0));
    s.progressed(at(4.0), run_of(&s, 0), 0.2);
    assert_eq!(s.backlog(at(4.0), 0), Seconds::of(16.0));
}

#[test]
fn impossible_requests_are_refused_at_once() {
    let mut s = up(&[10.0], fixed(30));
    let mut large = order(0, 0.0, 9.0);
    large.pixels = 2048 * 2048;
    assert!(matches!(s.submit(at(0.0), large), Err(Rejection::TooLarge { .. })));
    s.server_down(at(0.0), 0);
    assert_eq!(s.submit(at(0.0), order(0, 0.0, 9.0)), Err(Rejection::NoServer));
    s.server_up(at(0.0), 0);
    s.administer(at(0.0), 0, Administration::Draining);
    assert_eq!(s.submit(at(0.0), order(0, 0.0, 9.0)), Err(Rejection::NoServer));
    s.set_gate(at(0.0), Gate::Closing);
    assert_eq!(s.submit(at(0.0), order(0, 0.0, 9.0)), Err(Rejection::Closing));
}

#[test]
fn steps_keep_to_the_requesters_bounds_and_larger_pictures_take_longer() {
    let mut s = up(&[10.0], fixed(30));
    let mut bounded = order(0, 0.0, 9.0);
    bounded.request.bounds.max = Steps::new(20).unwrap();
    bounded.request.size = Size::new(2.0).unwrap();
    let quote = s.quote(at(0.0), &bounded).unwrap();
    assert_eq!(quote.decision.steps.get(), 20);
    assert_eq!(quote.execution.finish, at(4.0));
    assert_eq!(s.live(), 0, "a quote changes nothing");
}

#[test]
fn a_policy_that_names_no_server_or_no_allowed_steps_does_not_cost_the_request() {
    struct Wrong(usize);
    impl Policy for Wrong {
        fn decide(&mut self, _: &Observation<'_>) -> Decision {
            Decision { server: self.0, steps: Steps::MAX }
        }
    }
    for server in [0, 7] {
        let mut s = up(&[10.0], Box::new(Wrong(server)));
        let mut bounded = order(0, 0.0, 9.0);
        bounded.request.bounds.max = Steps::new(20).unwrap();
        s.submit(at(0.0), bounded).unwrap();
        s.recorded(at(0.0), id(0));
        assert_eq!(s.servers()[0].occupancy.run().map(|run| run.steps.get()), Some(20));
    }
}

#[test]
fn bounds_are_part_of_the_maximum() {
    // Two hundred steps, late wherever they run: they go where they are finished first.
    let mut s = up(&[8.0, 16.0, 24.0], Box::new(Myopic));
    let mut large = order(0, 0.0, 4.0);
    large.request.bounds.min = Steps::MAX;
    for (n, server) in [(0, 2), (1, 1), (2, 2)] {
        let quote = s.quote(at(0.0), &large).unwrap();
        assert_eq!(quote.decision, Decision { server, steps: Steps::MAX }, "request {n}");
        s.submit(at(0.0), Order { id: id(n), ..large.clone() }).unwrap();
    }
}

#[test]
fn a_restored_run_is_looked_up_where_it_ran() {
    let mut s = scheduler(&[10.0], fixed(30), LIMITS);
    let run = Run {
        id: RunId { request: id(0), attempt: 1 },
        server: 0,
        steps: Steps::new(30).unwrap(),
        start: at(0.0),
        load: Seconds::ZERO,
        service: Seconds::of(3.0),
    };
    s.restore_running(at(5.0), order(0, 0.0, 9.0), run, 0);
    assert_eq!(s.take_effects(), [Effect::LookUp(run)]);
    s.restore(order(1, 0.0, 9.0), 0, 0);
    s.server_up(at(5.0), 0);
    s.completed(at(6.0), run.id);
    assert_eq!(ends(&s.take_effects()), [(id(0), Outcome::Completed)]);
    assert_eq!(s.standing(id(1)), Some(Standing::Running { server: 0 }));
}
