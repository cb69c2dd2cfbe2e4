//! From the results of a plan to the rows of its studies.

use std::collections::HashMap;
use std::path::Path;

use scheduling::{Generator, Row};
use simulation::Metrics;

use crate::plan::{Plan, Source, Unit};
use crate::results::{
    Cache, CurveRow, InstanceRow, RequestRow, ResultsError, VERSION, to_csv, write,
};
use crate::schedule::CLAIRVOYANT;
use crate::study::FigureKind;

/// Collects the results of every study into one file for each.
pub(crate) fn write_rows(plan: &Plan, out: &Path, cache: &Cache) -> Result<(), ResultsError> {
    for (index, study) in plan.studies.iter().enumerate() {
        let units = || plan.units.iter().filter(move |unit| unit.study == index);
        let file = |what: &str| out.join("rows").join(format!("{}{what}.csv", study.name));
        if study.file.figure == FigureKind::Distribution {
            let mut rows: Vec<RequestRow> = Vec::new();
            for unit in units() {
                rows.extend(cache.result::<RequestRow>(&unit.key)?.into_iter().map(|row| {
                    RequestRow {
                        panel: unit.panel.clone(),
                        policy: unit.policy.clone(),
                        training_seed: unit.training_seed,
                        ..row
                    }
                }));
            }
            write(&file(""), to_csv(&rows))?;
        } else {
            let mut rows: Vec<InstanceRow> = Vec::new();
            for unit in units() {
                // The same result may stand in several studies, under their own names.
                rows.extend(cache.result::<InstanceRow>(&unit.key)?.into_iter().map(|row| {
                    InstanceRow {
                        panel: unit.panel.clone(),
                        x: unit.x,
                        policy: unit.policy.clone(),
                        training_seed: unit.training_seed,
                        ..row
                    }
                }));
            }
            raise_clairvoyant(&mut rows);
            write(&file(""), to_csv(&rows))?;
        }
        if study.file.figure == FigureKind::LearningCurve {
            let rows: Vec<CurveRow> =
                units().flat_map(|unit| curve_rows(plan, unit, out)).collect();
            write(&file("-curves"), to_csv(&rows))?;
        }
    }
    Ok(())
}

/// What a policy has reached was possible: where it earns more than the search has found, the clairvoyant
/// has its figures.
fn raise_clairvoyant(rows: &mut [InstanceRow]) {
    let key = |row: &InstanceRow| (row.panel.clone(), row.x.map(f64::to_bits), row.instance);
    let mut best = HashMap::new();
    for row in &*rows {
        let best = best.entry(key(row)).or_insert_with(|| row.clone());
        if row.reward > best.reward {
            *best = row.clone();
        }
    }
    for row in rows.iter_mut().filter(|row| row.policy == CLAIRVOYANT) {
        let (policy, training_seed) = (row.policy.clone(), row.training_seed);
        *row = InstanceRow { policy, training_seed, ..best[&key(row)].clone() };
    }
}

fn curve_rows(plan: &Plan, unit: &Unit, out: &Path) -> Vec<CurveRow> {
    let Source::Trained(index) = unit.source else { return Vec::new() };
    let training = &plan.trainings[index];
    let points = training.checkpoint(out).map(|checkpoint| checkpoint.curve).unwrap_or_default();
    let row = |point: &agent::CurvePoint| CurveRow {
        version: VERSION.into(),
        generator: Generator::VERSION.into(),
        scenario: training.setting.source().name(),
        panel: unit.panel.clone(),
        policy: unit.policy.clone(),
        training_seed: training.seed,
        episode: point.episode,
        reward: point.reward,
    };
    points.iter().map(row).collect()
}

pub(crate) fn instance_row(unit: &Unit, instance: u64, metrics: &Metrics) -> InstanceRow {
    InstanceRow {
        version: VERSION.into(),
        generator: Generator::VERSION.into(),
        scenario: unit.setting.name_of(instance).into(),
        seed: unit.seed,
        panel: unit.panel.clone(),
        x: unit.x,
        policy: unit.policy.clone(),
        training_seed: unit.training_seed,
        instance,
        reward: metrics.reward,
        quality: metrics.quality,
        tardiness: metrics.tardiness,
        penalty: metrics.penalty,
        late_fraction: metrics.late_fraction,
        tardiness_p99: metrics.tardiness_p99,
        tardiness_worst: metrics.tardiness_worst,
    }
}

pub(crate) fn request_row(unit: &Unit, instance: u64, row: &Row) -> RequestRow {
    RequestRow {
        version: VERSION.into(),
        generator: Generator::VERSION.into(),
        scenario: unit.setting.name_of(instance).into(),
        seed: unit.seed,
        panel: unit.panel.clone(),
        policy: unit.policy.clone(),
        training_seed: unit.training_seed,
        instance,
        request: row.request,
        server: row.server,
        steps: row.steps,
        tardiness: row.tardiness,
        quality: row.quality,
        reward: row.reward,
    }
}
