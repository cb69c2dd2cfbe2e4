//! Figures for papers: each in the width of two columns, and each of its panels in that of one.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use super::Rows;
use crate::figures::{Format, Picture, pdf, svg};
use crate::results::{ResultsError, write};
use crate::study::Study;

/// Writes the figures of a study as SVG and PDF into `out/figures`, and returns links to them.
///
/// # Errors
/// [`ResultsError::Io`]
pub(super) fn write_figures(
    study: &Study,
    rows: &Rows,
    out: &Path,
) -> Result<String, ResultsError> {
    let panels = &study.file.panels;
    let name = in_file_names(&study.name);
    let mut taken = HashSet::from([name.clone()]);
    let figure = rows.figure(study, panels, Format::TWO_COLUMNS);
    let mut links = format!("For a paper, 7.16 in wide: {}", write_figure(&figure, &name, out)?);
    for (index, panel) in panels.iter().enumerate() {
        let figure = rows.figure(study, std::slice::from_ref(panel), Format::COLUMN);
        let mut name = format!("{name}-{}", in_file_names(&panel.name));
        if !taken.insert(name.clone()) {
            name = format!("{name}-{index}");
        }
        let files = write_figure(&figure, &name, out)?;
        let before = if index == 0 { "; 3.5 in wide: " } else { ", " };
        let _ = write!(links, "{before}{} {files}", svg::escape(&panel.name));
    }
    Ok(links + ".")
}

fn write_figure(figure: &Picture, name: &str, out: &Path) -> Result<String, ResultsError> {
    let file = |ending: &str| out.join("figures").join(format!("{name}.{ending}"));
    write(&file("svg"), svg::file(figure))?;
    write(&file("pdf"), pdf::file(figure))?;
    let link = |ending: &str, text: &str| format!("<a href=\"figures/{name}.{ending}\">{text}</a>");
    Ok(format!("{} {}", link("pdf", "PDF"), link("svg", "SVG")))
}

/// A name with what every file system and address takes.
fn in_file_names(name: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.chars().map(|c| if fine(c) { c } else { '-' }).collect()
}
