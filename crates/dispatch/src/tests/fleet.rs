//! Models: what is loaded, and what will be at the end of each queue.

use scheduling::{HostedModel, Hosting, Loaded, Model, QualityCurve, StepBounds};

use super::*;

/// A server of 10 steps per second with room for `resident` models, each of which takes 9 s to load.
pub(super) fn host(name: &str, models: &[u16], resident: usize, loaded: &[u16]) -> ServerSpec {
    let mut spec = spec(name, 10.0);
    let hosted = |&model: &u16| HostedModel {
        model: Model(model),
        step_rate: spec.server.step_rate,
        overhead: Seconds::ZERO,
        load: Seconds::of(9.0),
        bounds: StepBounds::ALL,
    };
    let models = models.iter().map(hosted).collect();
    let loaded = Loaded::new(loaded.iter().copied().map(Model).collect());
    spec.server.hosting = Some(Hosting { resident, models, loaded });
    spec
}

pub(super) fn fleet(specs: Vec<ServerSpec>) -> Scheduler {
    let servers = specs.len();
    let mut s = Scheduler::new(specs, Objective::default(), fixed(30), LIMITS);
    (0..servers).for_each(|j| s.server_up(Time::ZERO, j));
    s.take_effects();
    s
}

pub(super) fn drawn_with(n: u64, now: f64, model: u16) -> Order {
    let mut order = order(n, now, 60.0);
    order.request.model = Model(model);
    order
}

pub(super) fn submit(s: &mut Scheduler, n: u64, now: f64, model: u16) {
    s.submit(at(now), drawn_with(n, now, model)).unwrap();
    s.recorded(at(now), id(n));
}

/// When each server is predicted to be free, in whole seconds.
pub(super) fn free_at(s: &Scheduler, now: f64) -> Vec<f64> {
    s.servers().iter().map(|server| server.free_at(at(now)).seconds().round()).collect()
}

#[test]
fn a_run_loads_the_model_that_is_not_there_and_drives_out_the_least_recently_used() {
    // Each run draws for 3 s.
    for (resident, runs, expected) in [
        (1, &[0, 0, 1, 1, 0][..], 15.0 + 2.0 * 9.0),
        (1, &[0, 1, 0, 1], 12.0 + 3.0 * 9.0),
        (2, &[0, 1, 0, 1], 12.0 + 9.0),
        (2, &[0, 1, 2, 0], 12.0 + 3.0 * 9.0),
        (2, &[1, 0, 2, 0], 12.0 + 2.0 * 9.0),
    ] {
        let mut s = fleet(vec![host("a", &[0, 1, 2], resident, &[0])]);
        (0..).zip(runs).for_each(|(n, &model)| submit(&mut s, n, 0.0, model));
        assert_eq!(free_at(&s, 0.0), [expected], "room for {resident}, {runs:?}");
    }
}

#[test]
fn only_servers_that_host_the_model_are_asked() {
    let mut s = fleet(vec![host("a", &[0], 1, &[0]), host("b", &[0, 1], 1, &[0])]);
    for (n, model, server) in [(0, 1, 1), (1, 1, 1), (2, 0, 0)] {
        let quote = s.quote(at(0.0), &drawn_with(n, 0.0, model)).unwrap();
        assert_eq!(quote.decision.server, server, "request {n}");
        submit(&mut s, n, 0.0, model);
    }
    s.server_down(at(1.0), 1);
    assert_eq!(s.quote(at(1.0), &drawn_with(9, 1.0, 1)), Err(Rejection::NoServer));
    assert_eq!(s.standing(id(0)), Some(Standing::Unplaced), "nobody else has the model");
}

#[test]
fn who_waits_behind_what_is_cancelled_loads_what_it_would_have_loaded() {
    let mut s = fleet(vec![host("a", &[0, 1], 1, &[0])]);
    [0, 1, 1, 0].into_iter().zip(0..).for_each(|(model, n)| submit(&mut s, n, 0.0, model));
    assert_eq!(free_at(&s, 0.0), [12.0 + 9.0 + 9.0]);
    s.cancel(at(1.0), id(1));
    assert_eq!(free_at(&s, 1.0), [9.0 + 9.0 + 9.0], "the next one loads it");
    s.cancel(at(1.0), id(2));
    assert_eq!(free_at(&s, 1.0), [6.0], "nobody loads it");
}

#[test]
fn a_server_that_was_down_has_nothing_loaded() {
    let mut s = fleet(vec![host("a", &[0, 1], 2, &[0, 1])]);
    s.server_down(at(1.0), 0);
    s.server_up(at(2.0), 0);
    assert!(s.servers()[0].loaded().is_empty());
    submit(&mut s, 0, 2.0, 1);
    assert_eq!(free_at(&s, 2.0), [2.0 + 9.0 + 3.0]);
    let Some(run) = s.servers()[0].occupancy.run() else { panic!("it runs") };
    assert_eq!((run.load, run.service), (Seconds::of(9.0), Seconds::of(12.0)));
    assert_eq!(**s.servers()[0].loaded(), [Model(1)]);
}

#[test]
fn what_a_server_says_it_has_loaded_is_believed_while_nothing_runs_there() {
    let models = |of: &[u16]| of.iter().copied().map(Model).collect::<Vec<_>>();
    for (resident, told, expected) in
        [(1, &[1][..], &[1][..]), (2, &[2], &[1, 2]), (2, &[0], &[1, 0]), (2, &[], &[])]
    {
        let mut s = fleet(vec![host("a", &[0, 1, 2], resident, &[0, 1][..resident])]);
        s.server_loaded(0, &models(told));
        assert_eq!(**s.servers()[0].loaded(), models(expected), "room for {resident}, {told:?}");
    }
    let mut s = fleet(vec![host("a", &[0, 1], 1, &[0])]);
    submit(&mut s, 0, 0.0, 1);
    s.server_loaded(0, &models(&[0]));
    assert_eq!(**s.servers()[0].loaded(), models(&[1]), "the run loads it");
}

#[test]
fn each_model_has_its_speed_its_load_and_its_objective() {
    let mut s = fleet(vec![host("a", &[0, 1], 1, &[0])]);
    let slow = Speed { overhead: Seconds::of(1.0), rate: StepRate::new(5.0).unwrap() };
    s.server_speed(at(0.0), 0, Model(1), slow);
    s.server_load(at(0.0), 0, Model(1), Seconds::of(4.0));
    submit(&mut s, 0, 0.0, 0);
    assert_eq!(free_at(&s, 0.0), [3.0]);
    submit(&mut s, 1, 0.0, 1);
    assert_eq!(free_at(&s, 0.0), [3.0 + 4.0 + 1.0 + 6.0]);
    let points = [(1, 0.0), (4, 7.0)].map(|(steps, quality)| (Steps::new(steps).unwrap(), quality));
    let finished = Objective::new(QualityCurve::Table(points.to_vec()), 1.0).unwrap();
    s.set_objectives(vec![Objective::default(), finished]);
    s.completed(at(3.0), RunId { request: id(0), attempt: 1 });
    s.completed(at(14.0), RunId { request: id(1), attempt: 1 });
    let ended = |effect: Effect| match effect {
        Effect::Ended(end) => end.quality,
        _ => None,
    };
    let qualities: Vec<_> = s.take_effects().into_iter().filter_map(ended).collect();
    assert_eq!(qualities, [Objective::default().quality(Steps::new(30).unwrap()), 7.0]);
}
