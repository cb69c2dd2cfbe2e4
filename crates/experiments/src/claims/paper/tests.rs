use super::*;
use simulation::Scenario;

fn row(
    panel: &str,
    x: Option<f64>,
    policy: &str,
    seed: Option<u64>,
    i: u64,
    r: f64,
) -> InstanceRow {
    InstanceRow {
        training_seed: seed,
        quality: r,
        tardiness: 60.0 - r,
        ..InstanceRow::of(panel, x, policy, i, r)
    }
}

/// Five instances of greedy at 50 and of an agent's two seeds at `agent` and one more.
fn rows(panel: &str, x: Option<f64>, agent: f64) -> Vec<InstanceRow> {
    let instances = || (0..5).map(|i| (i, 0.01 * i as f64));
    let rule = |name: &'static str, level: f64| {
        instances().map(move |(i, d)| row(panel, x, name, None, i, level + d))
    };
    let agent = [1, 2].into_iter().flat_map(|seed| {
        let shift = (seed - 1) as f64 * 0.1;
        instances().map(move |(i, d)| row(panel, x, "agent", Some(seed), i, agent + d + shift))
    });
    rule("greedy", 50.0).chain(rule("random", 30.0)).chain(agent).collect()
}

#[test]
fn the_gain_in_quality_is_judged_by_its_size_and_every_seed() {
    let check = |agent: f64, expect: Verdict| {
        let evidence = Evidence { instances: rows("paper", None, agent), ..Default::default() };
        assert_eq!(quality_gain(&evidence).unwrap().verdict, expect, "{agent}");
    };
    check(56.0, Verdict::Holds);
    check(60.0, Verdict::Depends);
    check(49.95, Verdict::DoesNotHold);
    check(45.0, Verdict::DoesNotHold);
}

#[test]
fn due_times_are_met_on_average_or_generally() {
    let check = |tardiness: f64, late: f64, expect: Verdict| {
        let mut instances = rows("paper", None, 60.0 - tardiness);
        for row in &mut instances {
            row.late_fraction = late;
        }
        let evidence = Evidence { instances, ..Default::default() };
        let claim = due_times(&evidence).unwrap();
        assert_eq!(claim.verdict, expect, "{tardiness} {late}");
        assert!(claim.measured.contains(&format!("{:.1} %", 100.0 * late)), "{}", claim.measured);
    };
    check(0.5, 0.05, Verdict::Holds);
    check(0.5, 0.31, Verdict::Depends);
    check(5.0, 0.05, Verdict::DoesNotHold);
}

#[test]
fn sensitive_requests_are_compared_with_the_others() {
    let scenario = Scenario::from_toml(include_str!("../../../../../scenarios/paper.toml"))
        .and_then(|scenario| scenario.with(|settings| settings.requests = 600))
        .unwrap();
    let setting = Setting::drawn(scenario);
    let instance = setting.evaluation(3, 0);
    // Servers 0 to 5 are the strong ones. `urgent` is what sensitive requests get, `other` the rest.
    let evidence = |urgent: (usize, u32), other: (usize, u32)| {
        let row = |(request, seed): (usize, u64)| {
            let quadratic =
                instance.requests()[request].penalty == scheduling::TardinessPenalty::Quadratic;
            let (server, steps) = if quadratic { urgent } else { other };
            RequestRow {
                version: "v".into(),
                generator: "g".into(),
                scenario: "s".into(),
                seed: 3,
                panel: "paper".into(),
                policy: "agent".into(),
                training_seed: Some(seed),
                instance: 0,
                request,
                server,
                steps,
                tardiness: 0.0,
                quality: 0.0,
                reward: 0.0,
            }
        };
        let rows = (1..=2).flat_map(|seed| (0..600).map(move |request| (request, seed)));
        let rows = rows.map(row).collect();
        let settings = vec![("paper".to_owned(), setting.clone())];
        Evidence { requests: Requests { rows, settings, seed: 3 }, ..Default::default() }
    };
    let check = |urgent, other, expect: [Verdict; 2]| {
        let claims = demanding(&evidence(urgent, other));
        assert_eq!(claims.iter().map(|claim| claim.verdict).collect::<Vec<_>>(), expect);
    };
    check((0, 90), (9, 110), [Verdict::Holds; 2]);
    check((9, 110), (0, 90), [Verdict::DoesNotHold; 2]);
    check((0, 90), (0, 90), [Verdict::DoesNotHold; 2]);
    let quick = Evidence { quick: true, ..evidence((0, 90), (9, 110)) };
    assert_eq!(demanding(&quick)[0].verdict, Verdict::NotDecided);
}

#[test]
fn missing_studies_give_no_claims() {
    assert_eq!(claims(&Evidence::default()), []);
}
