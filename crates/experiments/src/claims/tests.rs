use super::*;

fn row(
    panel: &str,
    x: Option<f64>,
    policy: &str,
    seed: Option<u64>,
    i: u64,
    r: f64,
) -> InstanceRow {
    InstanceRow {
        version: "v".into(),
        generator: "g".into(),
        scenario: "s".into(),
        seed: 1,
        panel: panel.into(),
        x,
        policy: policy.into(),
        training_seed: seed,
        instance: i,
        reward: r,
        quality: r,
        tardiness: 60.0 - r,
        penalty: 0.0,
        late_fraction: 0.0,
        tardiness_p99: 0.0,
        tardiness_worst: 0.0,
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

fn verdict(claim: Option<Claim>) -> Verdict {
    claim.unwrap().verdict
}

#[test]
fn the_gain_in_quality_is_judged_by_its_size_and_every_seed() {
    let check = |agent: f64, expect: Verdict| {
        let evidence = Evidence { instances: rows("paper", None, agent), ..Default::default() };
        assert_eq!(verdict(quality_gain(&evidence)), expect, "{agent}");
    };
    check(56.0, Verdict::Reproduced);
    check(60.0, Verdict::Depends);
    check(49.95, Verdict::NotReproduced);
    check(45.0, Verdict::NotReproduced);
}

#[test]
fn ahead_everywhere_means_at_every_point_and_seed() {
    let check = |paper: [f64; 2], contended: f64, expect: Verdict| {
        let all = [
            rows("paper", Some(1.0), paper[0]),
            rows("paper", Some(2.0), paper[1]),
            rows("contended", Some(1.0), contended),
        ]
        .concat();
        assert_eq!(verdict(ahead_everywhere(&all, "x", &["agent"])), expect);
    };
    check([56.0, 57.0], 55.0, Verdict::Reproduced);
    check([56.0, 57.0], 45.0, Verdict::Depends);
    check([56.0, 45.0], 45.0, Verdict::NotReproduced);
}

#[test]
fn tardiness_and_strength_follow_the_sweep() {
    let at = |values: [f64; 3]| {
        let sweep = values.into_iter().zip([1.0, 2.0, 3.0]);
        sweep.flat_map(|(agent, x)| rows("paper", Some(x), agent)).collect::<Vec<_>>()
    };
    // The higher the reward of these rows, the lower their tardiness.
    assert_eq!(verdict(tardiness_falls(&at([51.0, 52.0, 53.0]))), Verdict::Reproduced);
    assert_eq!(verdict(tardiness_falls(&at([53.0, 52.0, 51.0]))), Verdict::NotReproduced);
    assert_eq!(verdict(stronger_is_better(&at([51.0, 52.0, 53.0]))), Verdict::Reproduced);
    assert_eq!(verdict(stronger_is_better(&at([51.0, 53.0, 52.0]))), Verdict::NotReproduced);
}

#[test]
fn missing_studies_give_no_claims() {
    assert_eq!(claims(&Evidence::default()), []);
    assert_eq!(beyond(&Evidence::default()), []);
}
