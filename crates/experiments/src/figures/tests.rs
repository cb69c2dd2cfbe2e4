//! What holds of every figure, whatever the rows: labels apart, all inside, nothing hidden.

use std::path::Path;

use scheduling::{Generator, Purpose};

use super::picture::{Form, Shape};
use super::*;
use crate::results::{CurveRow, InstanceRow, RequestRow};
use crate::study::{Effort, FigureKind, Point};

const FORMATS: [Format; 3] = [Format::PAGE, Format::TWO_COLUMNS, Format::COLUMN];

fn studies() -> Vec<Study> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studies"));
    Study::load_folder(folder, Effort::Quick).unwrap()
}

/// Policies of a study with their training seeds.
fn policies(study: &Study, panel: &str) -> Vec<(String, Vec<Option<u64>>)> {
    let mut all = vec![("clairvoyant".to_owned(), vec![None])];
    all.extend(study.file.policies.iter().map(|name| (study.file.shown(name), vec![None])));
    for learned in &study.file.learned {
        if learned.panels.as_ref().is_none_or(|panels| panels.iter().any(|name| name == panel)) {
            all.push((learned.name.clone(), learned.seeds.iter().map(|s| Some(*s)).collect()));
        }
    }
    all
}

/// Levels of policies: some level with the best, some a little below, some hopeless.
fn level(generator: &mut Generator, best: f64) -> f64 {
    match generator.below(5) {
        0 | 1 => best,
        2 | 3 => best - generator.between(0.0, 12.0),
        _ => best - 10f64.powf(generator.between(1.0, 5.5)),
    }
}

fn instance_rows(study: &Study, generator: &mut Generator) -> Vec<InstanceRow> {
    let mut rows = Vec::new();
    for (file, panel) in study.file.panels.iter().zip(&study.panels) {
        for Point { x, .. } in &panel.points {
            let best = generator.between(30.0, 64.0);
            for (policy, seeds) in policies(study, &file.name) {
                let own = level(generator, best);
                let stray = generator.between(0.0, 1.0);
                for training_seed in seeds {
                    let shift = training_seed.map_or(0.0, |_| 3.0 * generator.between(-stray, 0.0));
                    for instance in 0..study.file.instances.unwrap_or(6).min(6) {
                        let reward = own + shift + stray * generator.between(-1.0, 1.0);
                        let tardiness = (60.0 - reward).max(0.0);
                        rows.push(InstanceRow {
                            training_seed,
                            quality: reward.clamp(30.0, 65.0),
                            tardiness,
                            penalty: tardiness,
                            late_fraction: 0.5,
                            tardiness_p99: tardiness,
                            tardiness_worst: tardiness,
                            ..InstanceRow::of(&file.name, *x, &policy, instance, reward)
                        });
                    }
                }
            }
        }
    }
    rows
}

fn curve_rows(study: &Study, generator: &mut Generator) -> Vec<CurveRow> {
    let mut rows = Vec::new();
    for panel in &study.file.panels {
        for learned in study.file.learned.iter().take(1) {
            for &training_seed in &learned.seeds {
                let start = -10f64.powf(generator.between(1.0, 5.0));
                let end = generator.between(30.0, 64.0);
                for episode in 1..=300 {
                    let share = (-f64::from(episode) / 40.0).exp();
                    rows.push(CurveRow {
                        version: "v".into(),
                        generator: "g".into(),
                        scenario: "s".into(),
                        panel: panel.name.clone(),
                        policy: learned.name.clone(),
                        training_seed,
                        episode: u64::from(episode as u32),
                        reward: end + share * (start - end) + generator.between(-1.0, 1.0),
                    });
                }
            }
        }
    }
    rows
}

fn request_rows(study: &Study, generator: &mut Generator) -> Vec<RequestRow> {
    let mut rows = Vec::new();
    for panel in &study.file.panels {
        for (policy, seeds) in policies(study, &panel.name) {
            let spread = 10f64.powf(generator.between(-1.0, 4.0));
            for training_seed in seeds {
                for request in 0..60 {
                    let late = generator.between(-1.0, 1.0).max(0.0);
                    rows.push(RequestRow {
                        version: "v".into(),
                        generator: "g".into(),
                        scenario: "s".into(),
                        seed: 1,
                        panel: panel.name.clone(),
                        policy: policy.clone(),
                        training_seed,
                        instance: 0,
                        request,
                        server: 0,
                        steps: 1,
                        tardiness: spread * late,
                        quality: generator.between(30.0, 65.0),
                        reward: 0.0,
                    });
                }
            }
        }
    }
    rows
}

/// Draws a study's figure, or one panel of it, from rows that a seed decides.
fn drawn(study: &Study, case: u64, format: Format) -> Picture {
    let generator = &mut Generator::new(7, Purpose::Search, case);
    let panels = &study.file.panels;
    let panels = if format == Format::COLUMN {
        let index = case as usize % panels.len();
        &panels[index..=index]
    } else {
        &panels[..]
    };
    let drawing = Drawing { study, panels, format, title: "t" };
    let rows = instance_rows(study, generator);
    match study.file.figure {
        FigureKind::LearningCurve => learning_curve(&drawing, &rows, &curve_rows(study, generator)),
        FigureKind::Instances => instances(&drawing, &rows),
        FigureKind::Distribution => distribution(&drawing, &request_rows(study, generator)),
        FigureKind::Sweep => sweep(&drawing, &rows),
        FigureKind::Gain => gain(&drawing, &rows),
    }
}

/// Holds every figure in every format against the check.
fn check(check: impl Fn(&Picture, &str)) {
    for study in studies() {
        for case in 0..3 {
            for format in FORMATS {
                let place = format!("seed 7, case {case}, {}, {format:?}", study.name);
                check(&drawn(&study, case, format), &place);
            }
        }
    }
}

#[test]
fn labels_are_apart_and_data_stays_between_the_axes() {
    check(|picture, place| {
        labels_are_apart(picture, place);
        data_stays_between_the_axes(picture, place);
    });
}

fn labels_are_apart(picture: &Picture, place: &str) {
    let texts: Vec<_> = (picture.shapes.iter())
        .filter_map(|shape| match &shape.form {
            Form::Text { text, .. } => Some((text, shape.bounds(picture.format))),
            _ => None,
        })
        .collect();
    assert!(texts.len() > 10, "{place}");
    for (index, (text, [from, to])) in texts.iter().enumerate() {
        let inside = from[0] >= -0.5
            && from[1] >= -0.5
            && to[0] <= picture.format.width + 0.5
            && to[1] <= picture.height + 0.5;
        assert!(inside, "{place}: {text:?} at {from:?} to {to:?} of {}", picture.height);
        for (other, [start, end]) in &texts[..index] {
            let apart = to[0] <= start[0] + 0.5
                || end[0] <= from[0] + 0.5
                || to[1] <= start[1] + 0.5
                || end[1] <= from[1] + 0.5;
            assert!(apart, "{place}: {text:?} and {other:?} at {from:?} and {start:?}");
        }
    }
}

fn data_stays_between_the_axes(picture: &Picture, place: &str) {
    let has = |shape: &Shape, class: &str| shape.class.split(' ').any(|own| own == class);
    let long = |shape: &&Shape, axis: usize| {
        let [from, to] = shape.bounds(picture.format);
        has(shape, "axis") && to[axis] - from[axis] > 20.0
    };
    let level: Vec<_> = picture.shapes.iter().filter(|shape| long(shape, 0)).collect();
    let upright: Vec<_> = picture.shapes.iter().filter(|shape| long(shape, 1)).collect();
    let mut count = 0;
    for shape in &picture.shapes {
        let data = ["curve", "level", "band", "interval", "mean", "dot"];
        if has(shape, "sample") || !data.iter().any(|class| has(shape, class)) {
            continue;
        }
        count += 1;
        let [from, to] = shape.bounds(picture.format);
        // A mark may reach over the edge by its own size.
        let slack = if has(shape, "dot") { 3.5 } else { 0.6 };
        let above = |axis: &&&Shape| {
            let [start, end] = axis.bounds(picture.format);
            from[0] >= start[0] - slack && to[0] <= end[0] + slack && to[1] <= start[1] + slack
        };
        let beside = |axis: &&&Shape| {
            let [start, end] = axis.bounds(picture.format);
            from[1] >= start[1] - slack && to[1] <= end[1] + slack
        };
        assert!(level.iter().any(|axis| above(&axis)), "{place}: {shape:?}");
        assert!(
            upright.is_empty() || upright.iter().any(|axis| beside(&axis)),
            "{place}: {shape:?}"
        );
    }
    assert!(count > 10, "{place}");
}

#[test]
fn no_mean_covers_a_point() {
    for study in studies() {
        if !matches!(study.file.figure, FigureKind::Instances | FigureKind::Gain) {
            continue;
        }
        for format in FORMATS {
            let picture = drawn(&study, 3, format);
            let of = |class: &str| {
                let has = move |shape: &&Shape| shape.class.split(' ').any(|own| own == class);
                let shapes = picture.shapes.iter().filter(has);
                shapes.map(|shape| shape.bounds(format)).collect::<Vec<_>>()
            };
            for [from, to] in of("mean").into_iter().chain(of("interval")) {
                for [start, end] in of("dot") {
                    assert!(to[1] <= start[1] || end[1] <= from[1], "{} {format:?}", study.name);
                }
            }
        }
    }
}

#[test]
fn every_policy_of_a_sweep_is_in_one_legend_and_its_values_are_told() {
    let study = studies().into_iter().find(|study| study.name == "4-arrivals").unwrap();
    for format in FORMATS {
        let picture = drawn(&study, 5, format);
        for policy in &study.file.policies {
            let named = |shape: &&Shape| match &shape.form {
                Form::Text { text, .. } => *text == policy.to_string(),
                _ => false,
            };
            assert_eq!(picture.shapes.iter().filter(named).count(), 1, "{policy}");
        }
    }
}

#[test]
fn pdf_is_the_same_each_time_and_has_its_letters() {
    let study = &studies()[0];
    let picture = drawn(study, 1, Format::COLUMN);
    let file = pdf::file(&picture);
    assert_eq!(file, pdf::file(&picture));
    assert!(file.starts_with(b"%PDF-1."));
    let holds = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    // 3.5 inches are 252 points.
    assert!(holds(b"/MediaBox [0 0 252 ") && holds(b"/FontFile2") && holds(b"/ToUnicode"));
}
