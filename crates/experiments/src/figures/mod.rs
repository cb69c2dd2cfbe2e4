//! Figures, drawn from rows alone.

mod axes;
mod distribution;
mod focus;
mod font;
mod format;
mod learning_curve;
mod legend;
mod look;
mod picture;
mod scale;
mod strips;
mod style;
mod sweep;
mod trim;
mod weave;
pub(crate) mod workload;

pub(crate) mod gantt;
pub(crate) mod pdf;
pub(crate) mod svg;

pub(crate) use distribution::distribution;
pub(crate) use format::Format;
pub(crate) use learning_curve::{WINDOW, learning_curve};
pub(crate) use look::page_sheet;
pub(crate) use picture::Picture;
pub(crate) use scale::label;
pub(crate) use strips::{gain, instances};
pub(crate) use sweep::sweep;

use crate::study::{Panel, PanelFile, Study};

/// What is drawn, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing<'a> {
    pub(crate) study: &'a Study,
    /// Those of the study, or one of them.
    pub(crate) panels: &'a [PanelFile],
    pub(crate) format: Format,
    /// What the figure is called, for whoever cannot see it.
    pub(crate) title: &'a str,
}

impl<'a> Drawing<'a> {
    /// Where the instances of a panel come from, and what is swept.
    fn setting(&self, index: usize) -> &'a Panel {
        let all = &self.study.file.panels;
        let place = all.iter().position(|panel| panel.name == self.panels[index].name);
        &self.study.panels[place.expect("panels that are drawn are the study's")]
    }

    /// The heading of a panel, with its letter if there are several.
    fn heading(&self, index: usize) -> String {
        let title = &self.panels[index].title;
        match u8::try_from(index) {
            Ok(index @ 0..26) if self.panels.len() > 1 => {
                format!("({}) {title}", char::from(b'a' + index))
            }
            _ => title.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
