//! Models that idle servers load before they are asked for.

use scheduling::{Loaded, Model};

use super::fleet::{drawn_with, fleet, free_at, host, submit};
use super::*;

/// The preloads among what is to be done.
fn preloads(s: &mut Scheduler) -> Vec<Preload> {
    let preload = |effect| match effect {
        Effect::Preload(preload) => Some(preload),
        _ => None,
    };
    s.take_effects().into_iter().filter_map(preload).collect()
}

/// Three servers with room for one model, which have the first loaded; half of the traffic asks for the
/// second.
fn known(preloading: Preloading) -> Scheduler {
    let mut s = fleet(["a", "b", "c"].map(|name| host(name, &[0, 1], 1, &[0])).into());
    s.set_preloading(preloading);
    for n in 0..Scheduler::<Box<dyn Policy>>::KNOWN {
        let now = n as f64;
        s.recall(&drawn_with(n, now, (n % 2) as u16).request);
    }
    assert_eq!(preloads(&mut s), []);
    s
}

const FIRST: u64 = 100;

#[test]
fn nothing_is_loaded_before_it_is_asked_for_unless_told() {
    let mut s = known(Preloading::Off);
    submit(&mut s, FIRST, 100.0, 0);
    assert_eq!(preloads(&mut s), []);
}

#[test]
fn an_idle_server_loads_what_the_traffic_wants_and_one_is_left_alone() {
    let mut s = known(Preloading::Idle);
    submit(&mut s, FIRST, 100.0, 0);
    let load = Seconds::of(9.0);
    assert_eq!(preloads(&mut s), [Preload { server: 1, model: Model(1), load }]);
    assert_eq!(free_at(&s, 100.0), [103.0, 109.0, 100.0]);
    assert_eq!(s.servers()[1].occupancy.run(), None);
    assert_eq!(s.servers()[1].occupancy.preload(), Some(Model(1)));
    // Who wants it waits for it, and loads nothing; on the idle server that would take until 114 s.
    submit(&mut s, FIRST + 1, 102.0, 1);
    assert_eq!(free_at(&s, 102.0), [103.0, 112.0, 102.0]);
    s.preloaded(at(109.0), 1, Ok(()));
    let run = s.servers()[1].occupancy.run().copied().expect("it runs");
    assert_eq!((run.start, run.load), (at(109.0), Seconds::ZERO));
    // A report of what is over changes nothing.
    s.preloaded(at(110.0), 1, Err(()));
    assert_eq!(s.servers()[1].occupancy.run(), Some(&run));
    assert_eq!(*s.servers()[1].loaded(), Loaded::new(vec![Model(1)]));
}

#[test]
fn two_models_asked_for_alike_are_not_exchanged_for_each_other() {
    let mut s = known(Preloading::Idle);
    submit(&mut s, FIRST, 100.0, 0);
    assert_eq!(preloads(&mut s).len(), 1);
    s.preloaded(at(109.0), 1, Ok(()));
    s.completed(at(109.0), RunId { request: id(FIRST), attempt: 1 });
    for n in 1..20 {
        let now = 100.0 + 20.0 * n as f64;
        submit(&mut s, FIRST + n, now, (n % 2) as u16);
        let running = |server: &ServerState| server.occupancy.run().map(|run| run.id);
        let run = s.servers().iter().find_map(running).expect("it runs");
        s.completed(at(now + 12.0), run);
        assert_eq!(preloads(&mut s), [], "after {n}");
    }
}

#[test]
fn after_a_preload_that_failed_nothing_is_taken_for_loaded_and_others_are_asked() {
    let mut s = known(Preloading::Idle);
    submit(&mut s, FIRST, 100.0, 0);
    let asked = |s: &mut Scheduler| -> Vec<usize> {
        preloads(s).iter().map(|preload| preload.server).collect()
    };
    assert_eq!(asked(&mut s), [1]);
    s.preloaded(at(101.0), 1, Err(()));
    assert!(s.servers()[1].loaded().is_empty());
    assert_eq!((asked(&mut s), free_at(&s, 101.0)), (vec![2], vec![103.0, 101.0, 110.0]));
    s.preloaded(at(102.0), 2, Err(()));
    s.completed(at(103.0), RunId { request: id(FIRST), attempt: 1 });
    // The only one that has not failed has the only copy of the other model.
    for (n, now, expected) in [(1, 110.0, vec![]), (2, 690.0, vec![]), (3, 710.0, vec![1])] {
        submit(&mut s, FIRST + n, now, 0);
        assert_eq!(asked(&mut s), expected, "at {now}");
        s.completed(at(now + 3.0), RunId { request: id(FIRST + n), attempt: 1 });
    }
    // One whose server went down has lost what it loaded.
    let mut s = known(Preloading::Idle);
    submit(&mut s, FIRST, 100.0, 0);
    s.server_down(at(101.0), 1);
    s.preloaded(at(109.0), 1, Ok(()));
    assert!(s.servers()[1].loaded().is_empty());
}
