//! An evaluation as a table that a person can read.

use comfy_table::{CellAlignment, Table, presets};
use simulation::Estimate;

use crate::claims::Claim;
use crate::evaluation::{Evaluation, PolicyResult};
use crate::planning::{Needed, Prospect};
use crate::statistics::out_of_proportion;

/// One line per policy; behind the mean reward stands half the width of its 95 % interval.
pub fn table(evaluation: &Evaluation) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let figures =
        ["policy", "reward", "quality", "tardiness", "late", "p99 tardiness", "worst tardiness"];
    let mut header: Vec<String> = figures.map(Into::into).into();
    let scales = evaluation.policies.first().map_or(&[][..], |policy| &policy.on_time);
    header.extend(scales.iter().map(|on_time| format!("on time, due × {}", on_time.due_scale)));
    if evaluation.clairvoyant.is_some() {
        header.extend(["regret", "of possible"].map(Into::into));
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
        let percent = |share: Estimate| format!("{:.1} %", 100.0 * share.mean);
        row.extend(result.on_time.iter().map(|on_time| percent(on_time.share)));
        if let Some(against) = &result.against {
            row.push(format!("{:.2}", against.regret.mean));
            let share = 100.0 * against.share_of_possible.mean;
            let stated = out_of_proportion(share).map(str::to_owned);
            row.push(stated.unwrap_or_else(|| format!("{share:.1}")) + " %");
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

/// A line for each policy that met what it had never met in training; empty where none did.
pub fn strangers(evaluation: &Evaluation) -> Vec<String> {
    let strange = evaluation.policies.iter().filter(|result| result.unfamiliar > 0.0);
    let line = |result: &PolicyResult| {
        let (policy, share) = (&result.policy, 100.0 * result.unfamiliar);
        format!(
            "{share:.1} % of the decisions of {policy} were on what it has never met in training"
        )
    };
    strange.map(line).collect()
}

/// What came of the claims of studies: a line each, with the number that decides it.
pub fn claim_table(claims: &[Claim]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["claim", "measured", "verdict"]);
    for Claim { statement, brief, verdict, .. } in claims {
        table.add_row([statement, brief, verdict.text()]);
    }
    table.to_string()
}

/// What changes of the cluster are worth, a line each.
pub fn prospect_table(prospects: &[Prospect]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let figures =
        ["servers", "", "reward", "quality", "on time", "mean tardiness", "p99 tardiness"];
    let targeted = prospects.iter().any(|prospect| prospect.needed.is_some());
    table.set_header(figures.into_iter().chain(targeted.then_some("for the target")));
    for Prospect { change, servers, metrics, needed } in prospects {
        let needed = needed.as_ref().map_or(String::new(), |needed| match needed {
            Needed::Times { times, metrics: at } => {
                let on_time = 100.0 * (1.0 - at.late_fraction);
                let (reward, p99) = (at.reward, at.tardiness_p99);
                format!("{times} × (reward {reward:.2}, {on_time:.1} % on time, p99 {p99:.2} s)")
            }
            Needed::MoreThan { more_than: most } => format!("more than {most} ×"),
        });
        let cells = [
            change.clone(),
            servers.to_string(),
            format!("{:.2}", metrics.reward),
            format!("{:.2}", metrics.quality),
            format!("{:.1} %", 100.0 * (1.0 - metrics.late_fraction)),
            format!("{:.2} s", metrics.tardiness),
            format!("{:.2} s", metrics.tardiness_p99),
        ];
        table.add_row(cells.into_iter().chain(targeted.then_some(needed)));
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
