//! Another configuration: servers that stay, leave and come, and models with other numbers.

use scheduling::Model;

use super::fleet::{drawn_with, fleet, host, submit};
use super::*;

fn reconfigure(s: &mut Scheduler, now: f64, servers: Vec<Fate>, renamed: &[Option<u16>]) {
    let model = |model: Model| renamed.get(model.index()).copied().flatten().map(Model);
    let requests: HashMap<_, _> =
        s.live.iter().map(|(id, live)| (*id, live.order.request)).collect();
    let request = |id| {
        let before: Request = requests[&id];
        Request { model: model(before.model).unwrap_or(Model::UNKNOWN), ..before }
    };
    let new = Reconfiguration {
        servers,
        objective: Objective::default(),
        objectives: Vec::new(),
        policy: fixed(30),
        shadow: None,
        limits: LIMITS,
        request: &request,
        model: &model,
        arrivals: &[],
    };
    s.reconfigure(at(now), new);
}

#[test]
fn what_runs_is_left_alone_and_what_waits_is_decided_again() {
    let mut s = up(&[10.0, 10.0], fixed(30));
    for n in 0..4 {
        accept(&mut s, n, 0.0, 30.0);
    }
    let (leaving, staying) = (run_of(&s, 0), run_of(&s, 1));
    s.take_effects();
    let fates = vec![Fate::Leaves, Fate::Stays(spec("s1", 5.0)), Fate::Comes(spec("s2", 20.0))];
    reconfigure(&mut s, 1.0, fates, &[Some(0)]);
    assert_eq!((run_of(&s, 0), run_of(&s, 1)), (leaving, staying));
    let effects = s.take_effects();
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Abort(_))), "{effects:?}");
    let causes = effects.iter().filter(|effect| {
        matches!(effect, Effect::Decided(d) if d.cause == Cause::Reconfigured && d.quote.decision.server == 1)
    });
    assert_eq!(causes.count(), 2, "nobody knows yet whether the new one answers: {effects:?}");
    s.server_up(at(1.5), 2);
    assert!(s.servers()[2].occupancy.run().is_some());
    assert!(!s.servers()[0].has_left());
    s.completed(at(3.0), leaving);
    assert!(s.servers()[0].has_left());
    assert_eq!(ends(&s.take_effects()), [(leaving.request, Outcome::Completed)]);
    // Its place is taken by another one, which is not believed to answer before it does.
    let stays = |rate| Fate::Stays(spec("s", rate));
    reconfigure(
        &mut s,
        4.0,
        vec![Fate::Comes(spec("s3", 1.0)), stays(5.0), stays(20.0)],
        &[Some(0)],
    );
    assert_eq!(s.servers()[0].health, Health::Unhealthy);
    assert!(!s.servers()[0].has_left());
}

#[test]
fn models_keep_what_is_loaded_under_other_numbers() {
    let mut s = fleet(vec![host("a", &[0, 1], 1, &[1])]);
    submit(&mut s, 0, 0.0, 1); // nothing to load
    submit(&mut s, 1, 0.0, 1);
    submit(&mut s, 2, 0.0, 0); // to be there no more
    // The second is the first now.
    let again = Fate::Stays(host("a", &[0], 1, &[]));
    reconfigure(&mut s, 1.0, vec![again], &[None, Some(0)]);
    assert_eq!(s.servers()[0].loaded().to_vec(), [Model(0)]);
    assert_eq!(s.backlog(at(1.0), 0), Seconds::of(2.0 + 3.0), "nothing is loaded again");
    assert_eq!(s.standing(id(2)), Some(Standing::Unplaced), "no server hosts its model");
    assert!(s.submit(at(1.0), drawn_with(3, 1.0, 1)).is_err());
    reconfigure(&mut s, 2.0, vec![Fate::Stays(host("a", &[0, 1], 1, &[]))], &[Some(0)]);
    assert_eq!(s.live(), 3, "nothing is lost");
}
