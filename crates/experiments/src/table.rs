//! An evaluation as a table that a person can read.

use comfy_table::{CellAlignment, Table, presets};
use simulation::Estimate;

use crate::evaluation::Evaluation;

/// One line per policy; behind the mean reward stands half the width of its 95 % interval.
pub fn table(evaluation: &Evaluation) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "policy",
        "reward",
        "quality",
        "tardiness",
        "late",
        "p99 tardiness",
        "worst tardiness",
    ]);
    for result in &evaluation.policies {
        let summary = &result.summary;
        table.add_row([
            result.policy.clone(),
            with_interval(summary.reward),
            format!("{:.2}", summary.quality.mean),
            seconds(summary.tardiness),
            format!("{:.1} %", 100.0 * summary.late_fraction.mean),
            seconds(summary.tardiness_p99),
            seconds(summary.tardiness_worst),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn with_interval(estimate: Estimate) -> String {
    match estimate.ci95 {
        Some([low, high]) => format!("{:.2} ± {:.2}", estimate.mean, (high - low) / 2.0),
        None => format!("{:.2}", estimate.mean),
    }
}

fn seconds(estimate: Estimate) -> String {
    format!("{:.2} s", estimate.mean)
}
