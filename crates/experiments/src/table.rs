//! An evaluation as a table that a person can read.

use comfy_table::{CellAlignment, Table, presets};
use simulation::Estimate;

use crate::evaluation::Evaluation;

/// One line per policy; behind the mean reward stands half the width of its 95 % interval.
pub fn table(evaluation: &Evaluation) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header = vec![
        "policy",
        "reward",
        "quality",
        "tardiness",
        "late",
        "p99 tardiness",
        "worst tardiness",
    ];
    if evaluation.clairvoyant.is_some() {
        header.extend(["regret", "of possible"]);
    }
    let columns = header.len();
    table.set_header(header);
    for result in &evaluation.policies {
        let summary = &result.summary;
        let mut row = vec![
            result.policy.clone(),
            with_interval(summary.reward),
            format!("{:.2}", summary.quality.mean),
            seconds(summary.tardiness),
            format!("{:.1} %", 100.0 * summary.late_fraction.mean),
            seconds(summary.tardiness_p99),
            seconds(summary.tardiness_worst),
        ];
        if let Some(against) = &result.against {
            row.push(format!("{:.2}", against.regret.mean));
            row.push(format!("{:.1} %", 100.0 * against.share_of_possible.mean));
        }
        table.add_row(row);
    }
    if let Some(clairvoyant) = &evaluation.clairvoyant {
        for (name, estimate) in
            [("clairvoyant", clairvoyant.reward), ("upper bound", clairvoyant.upper_bound)]
        {
            let mut row = vec![String::new(); columns];
            row[0] = name.into();
            row[1] = with_interval(estimate);
            table.add_row(row);
        }
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
