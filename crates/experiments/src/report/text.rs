//! What the page says about a study: the words of its file, with the numbers of this run.

use std::fmt::Write as _;

use crate::figures::svg::escape;
use crate::study::{FigureKind, Study};

/// The text with `{instances}`, `{requests}`, `{panels}` and, for a policy that is learned,
/// `{episodes of NAME}` replaced by the numbers of this run, which are others in a quick one.
pub(crate) fn filled(text: &str, study: &Study) -> String {
    let file = &study.file;
    let requests = study.panels.iter().map(|panel| panel.setting.requests(1));
    let [least, most] =
        requests.fold([u64::MAX, 0], |[least, most], count| [least.min(count), most.max(count)]);
    let requests = if least == most { most.to_string() } else { format!("{least} to {most}") };
    let mut text = text
        .replace("{instances}", &counts(study))
        .replace("{requests}", &requests)
        .replace("{panels}", &file.panels.len().to_string());
    for learned in &file.learned {
        let place = format!("{{episodes of {}}}", learned.name);
        text = text.replace(&place, &learned.episodes.to_string());
    }
    text
}

/// Text for HTML; what stands between back-ticks is code.
pub(crate) fn marked_up(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escape(part);
        let _ = if index % 2 == 0 {
            write!(html, "{part}")
        } else {
            write!(html, "<code>{part}</code>")
        };
    }
    html
}

/// Text without marks, for where there is no code.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// How many instances the points of a study have; where they are given, as many as there are.
fn counts(study: &Study) -> String {
    let asked = study.file.instances.unwrap_or(0);
    let counts = study.panels.iter().map(|panel| panel.setting.instances(asked));
    let [least, most] =
        counts.fold([u64::MAX, 0], |[least, most], count| [least.min(count), most.max(count)]);
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// How many instances each point of a study has, in words.
fn instances(study: &Study) -> String {
    match counts(study).as_str() {
        "1" => "one instance".to_owned(),
        counts => format!("{counts} instances"),
    }
}

/// How to read figures of this kind.
pub(crate) fn reading(study: &Study) -> String {
    let instances = instances(study);
    match study.file.figure {
        FigureKind::LearningCurve => format!(
            "Each point of a curve is the mean of the last {} episodes, or of as many as there are. \
             The levels of the others are means over {instances}, with bands for their 95 % \
             intervals. Below a dotted line the axis is logarithmic, so that the first episodes are \
             seen too. Lines that coincide take turns.",
            crate::figures::WINDOW
        ),
        FigureKind::Instances | FigureKind::Gain => format!(
            "Below the points of each policy stands their mean over {instances}, with its 95 % \
             interval; an arrow at the left edge tells of points that lie beyond it."
        ),
        FigureKind::Distribution => "Lines that coincide take turns.".to_owned(),
        FigureKind::Sweep => format!(
            "Each mean is over {instances}. Marks that would hide one another stand side by side, \
             and lines that coincide take turns."
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::study::Effort;

    fn studies(effort: Effort) -> Vec<Study> {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../studies"));
        Study::load_folder(folder, effort).unwrap()
    }

    #[test]
    fn the_committed_texts_hold_in_quick_runs_too() {
        for effort in [Effort::Full, Effort::Quick] {
            for study in studies(effort) {
                for text in [&study.file.title, &study.file.note] {
                    let filled = filled(text, &study);
                    assert!(!filled.contains(['{', '}']), "{}: {filled}", study.name);
                    // A number that a quick run changes has a place, and is not written out.
                    for count in ["50 instances", "20 instances", "third as many", "nine"] {
                        assert!(!text.contains(count), "{}: {text}", study.name);
                    }
                    assert_eq!(text.matches('`').count() % 2, 0, "{}: {text}", study.name);
                }
            }
        }
        let quick = studies(Effort::Quick);
        let second = quick.iter().find(|study| study.name == "2-instances").unwrap();
        assert!(filled(&second.file.title, second).contains("10 instances"));
    }

    #[test]
    fn back_ticks_become_code_and_nothing_else_becomes_markup() {
        assert_eq!(marked_up("a `b<c` & d"), "a <code>b&lt;c</code> &amp; d");
        assert_eq!(plain("a `b`"), "a b");
    }
}
