use super::*;
use crate::study::Effort;
use std::fs;

/// A study of two panels along requests, with these claims.
fn study(claims: &str) -> Study {
    let folder = tempfile::tempdir().unwrap();
    let scenario = include_str!("../../../../../scenarios/paper.toml");
    fs::write(folder.path().join("s.toml"), scenario).unwrap();
    let text = format!(
        r#"
title = "t"
figure = "sweep"
instances = 5
seed = 1
policies = ["greedy", "random"]
[[learned]]
name = "agent"
trained_in = "panel"
seeds = [1, 2]
episodes = 1
[[panels]]
name = "a"
title = "a"
scenario = "s.toml"
sweep = {{ requests = [10, 20, 30] }}
[[panels]]
name = "b"
title = "b"
scenario = "s.toml"
sweep = {{ requests = [10, 20, 30] }}
{claims}
"#
    );
    let file = folder.path().join("study.toml");
    fs::write(&file, text).unwrap();
    Study::load(&file, Effort::Full).unwrap()
}

/// Levels of the policies at the three points, the same in both panels unless told.
struct Made {
    greedy: [f64; 3],
    agent: [f64; 3],
    agent_in_b: [f64; 3],
    instances: u64,
}

/// Greedy differs by ten from instance to instance, so that only paired differences tell the two apart. The
/// agent's two seeds lie 0.2 apart, around its level.
fn rows(made: &Made) -> Vec<InstanceRow> {
    let mut rows = Vec::new();
    for (panel, agent) in [("a", made.agent), ("b", made.agent_in_b)] {
        for (place, x) in [10.0, 20.0, 30.0].into_iter().enumerate() {
            let mut push = |policy: &str, training_seed, level: f64| {
                rows.extend((0..made.instances).map(|instance| {
                    let reward = level + 10.0 * instance as f64;
                    InstanceRow {
                        training_seed,
                        quality: 1000.0 - reward,
                        tardiness: 2.0,
                        late_fraction: 0.25,
                        ..InstanceRow::of(panel, Some(x), policy, instance, reward)
                    }
                }));
            };
            push("greedy", None, made.greedy[place]);
            push("random", None, 0.0);
            push("agent", Some(1), agent[place] - 0.1);
            push("agent", Some(2), agent[place] + 0.1);
        }
    }
    rows
}

const AHEAD: Made = Made {
    greedy: [50.0, 50.0, 50.0],
    agent: [51.0, 52.0, 53.0],
    agent_in_b: [51.0, 52.0, 53.0],
    instances: 5,
};

fn check(made: &Made, claim: &str, expect: Verdict) -> Claim {
    let study = study(&format!("[[claims]]\n{claim}"));
    let [claim] = &judge(&study, &rows(made))[..] else { panic!("one claim") };
    assert_eq!(claim.verdict, expect, "{claim:?}");
    claim.clone()
}

#[test]
fn paired_differences_decide_where_levels_cannot() {
    let claim = check(&AHEAD, "claim = \"agent > greedy\"", Verdict::Holds);
    let least = "a, 10: +1.00 [+1.00, +1.00; seeds +0.90 to +1.10]";
    assert_eq!(claim.measured, format!("at 6 of 6 places, least {least}"));
    assert_eq!((claim.places.len(), &claim.places[0]), (6, &format!("{least}, on 10 of 10")));
    check(&AHEAD, "claim = \"greedy < agent\"", Verdict::Holds);
    check(&AHEAD, "claim = \"agent < greedy\"", Verdict::DoesNotHold);
    // One place of many is enough.
    let behind = Made { agent_in_b: [51.0, 52.0, 45.0], ..AHEAD };
    check(&behind, "claim = \"agent > greedy\"", Verdict::DoesNotHold);
    check(&behind, "claim = \"agent > greedy\"\npanel = \"a\"", Verdict::Holds);
    check(&behind, "claim = \"agent > greedy\"\nat = 20", Verdict::Holds);
    // The seeds lie on both sides.
    let level = Made { agent: [50.0; 3], agent_in_b: [50.0; 3], ..AHEAD };
    check(&level, "claim = \"agent > greedy\"", Verdict::NotDecided);
    // Whoever is named first, the trained one's seeds count.
    check(&level, "claim = \"greedy > agent\"", Verdict::NotDecided);
}

#[test]
fn a_margin_is_absolute_or_in_per_cent() {
    let claim = |by: &str| format!("claim = \"agent > greedy\"\nat = 30\npanel = \"a\"\nby = {by}");
    check(&AHEAD, &claim("2.5"), Verdict::Holds);
    check(&AHEAD, &claim("3"), Verdict::NotDecided);
    check(&AHEAD, &claim("4"), Verdict::DoesNotHold);
    // Greedy's mean is 70.
    let found = check(&AHEAD, &claim("\"4 %\""), Verdict::Holds);
    assert!(found.measured.starts_with("30: +4.29 % ["), "{found:?}");
    check(&AHEAD, &claim("\"5 %\""), Verdict::DoesNotHold);
    check(&AHEAD, "claim = \"greedy > agent\"\nby = -4", Verdict::Holds);
}

#[test]
fn other_figures_and_numbers_can_be_compared() {
    check(&AHEAD, "claim = \"agent < greedy\"\nfigure = \"quality\"", Verdict::Holds);
    let found = check(&AHEAD, "claim = \"agent < 2.5\"\nfigure = \"tardiness\"", Verdict::Holds);
    assert!(found.measured.contains("2.00 s [2.00, 2.00"), "{found:?}");
    check(&AHEAD, "claim = \"agent > 2.5\"\nfigure = \"tardiness\"", Verdict::DoesNotHold);
    check(&AHEAD, "claim = \"agent > 0.2\"\nfigure = \"late_fraction\"", Verdict::Holds);
    check(&AHEAD, "claim = \"0.3 > agent\"\nfigure = \"late_fraction\"", Verdict::Holds);
}

#[test]
fn trends_are_judged_end_to_end_and_step_by_step() {
    let found = check(&AHEAD, "claim = \"agent rises\"\npanel = \"a\"", Verdict::Holds);
    assert!(found.measured.starts_with("71.00 → 72.00 → 73.00: +2.00 ["), "{found:?}");
    check(&AHEAD, "claim = \"agent falls\"", Verdict::DoesNotHold);
    check(&AHEAD, "claim = \"agent rises\"\nby = 3", Verdict::DoesNotHold);
    check(&AHEAD, "claim = \"greedy rises\"", Verdict::DoesNotHold);
    let back = Made { agent: [51.0, 54.0, 53.0], agent_in_b: [51.0, 54.0, 53.0], ..AHEAD };
    check(&back, "claim = \"agent rises\"", Verdict::DoesNotHold);
    // What they have in common does not count.
    let both = Made { greedy: [50.0, 40.0, 30.0], ..AHEAD };
    check(&both, "claim = \"greedy falls\"", Verdict::Holds);
    check(&both, "claim = \"agent - greedy rises\"", Verdict::Holds);
    let shrinks = Made { greedy: [40.0, 45.0, 53.0], ..AHEAD };
    let found = check(&shrinks, "claim = \"agent - greedy falls\"", Verdict::Holds);
    assert!(found.measured.contains("11.00 → 7.00 → 0.00: −11.00"), "{found:?}");
}

#[test]
fn a_single_instance_decides_nothing() {
    let one = Made { instances: 1, ..AHEAD };
    check(&one, "claim = \"agent > greedy\"", Verdict::NotDecided);
    check(&one, "claim = \"agent rises\"", Verdict::NotDecided);
}

#[test]
fn words_of_the_study_stand_for_the_claim() {
    let claim = check(&AHEAD, "claim = \"agent > greedy\"\nby = 0.5", Verdict::Holds);
    assert_eq!(claim.statement, "reward: agent > greedy by 0.5");
    let claim = "claim = \"agent > greedy\"\nsays = \"It is ahead\"\npaper = \"Fig. 4\"";
    let claim = check(&AHEAD, claim, Verdict::Holds);
    assert_eq!((&*claim.statement, claim.paper.as_deref()), ("It is ahead", Some("Fig. 4")));
}
