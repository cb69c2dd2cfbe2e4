//! What policies look like: the same colour and the same mark in every figure.
//!
//! Colours are those of Okabe and Ito, which remain apart for all kinds of colour vision; marks
//! differ as well, so that nothing hangs on colour alone.

use super::look::POLICY_INKS;
use super::picture::Picture;

/// The look of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Class of the colour in the style sheet.
    pub(crate) colour: &'static str,
    pub(crate) mark: Mark,
}

/// The shape of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Cross,
    Circle,
    Disc,
    Diamond,
    Square,
    Triangle,
    FilledTriangle,
    FilledDiamond,
    Plus,
}

const MARKS: [Mark; 9] = [
    Mark::FilledDiamond,
    Mark::Square,
    Mark::FilledTriangle,
    Mark::Circle,
    Mark::Disc,
    Mark::Triangle,
    Mark::Diamond,
    Mark::Plus,
    Mark::Cross,
];

/// The looks of the policies of a study, no two alike as long as there are looks left.
#[derive(Clone, Debug)]
pub(crate) struct Palette(Vec<(String, Style)>);

impl Palette {
    /// Each policy gets the look of its family, or another one where that is taken.
    pub(crate) fn of(policies: &[&str]) -> Self {
        let mut taken: Vec<(String, Style)> = Vec::new();
        for policy in policies {
            let wanted = Style::of(policy);
            let marks = MARKS.iter().map(|&mark| Style { mark, ..wanted });
            let others = POLICY_INKS.iter().flat_map(|&colour| {
                MARKS.iter().map(move |&mark| Style { colour: class(colour), mark })
            });
            let mut free = std::iter::once(wanted).chain(marks).chain(others);
            let style = free.find(|style| taken.iter().all(|(_, other)| other != style));
            taken.push(((*policy).to_owned(), style.unwrap_or(wanted)));
        }
        Self(taken)
    }

    /// The look of a policy.
    pub(crate) fn style(&self, policy: &str) -> Style {
        let own = self.0.iter().find(|(name, _)| name == policy);
        own.map_or_else(|| Style::of(policy), |(_, style)| *style)
    }

    /// The policies, in their order.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, Style)> {
        self.0.iter().map(|(name, style)| (name.as_str(), *style))
    }
}

/// The class of a policy's colour.
fn class(ink: &str) -> &'static str {
    match ink {
        "grey" => "p-grey",
        "orange" => "p-orange",
        "vermillion" => "p-vermillion",
        "purple" => "p-purple",
        "green" => "p-green",
        "blue" => "p-blue",
        "sky" => "p-sky",
        "olive" => "p-olive",
        _ => "p-ink",
    }
}

impl Style {
    /// The look of a policy's family. Names that nobody thought of share the last one.
    fn of(policy: &str) -> Self {
        let (family, variant) = match policy.find(['[', ',']) {
            Some(end) => (&policy[..end], &policy[end..]),
            None => (policy, ""),
        };
        let (colour, mark) = match (family, variant) {
            ("random", _) => ("p-grey", Mark::Cross),
            ("greedy", "[ties=fastest]") => ("p-vermillion", Mark::Diamond),
            ("greedy", _) => ("p-orange", Mark::Square),
            ("fixed", _) => ("p-purple", Mark::Plus),
            ("myopic", _) => ("p-green", Mark::Triangle),
            ("agent", "") => ("p-blue", Mark::Disc),
            // An agent trained elsewhere than the others.
            ("agent", variant) if variant.starts_with(',') => ("p-blue", Mark::Circle),
            ("agent", _) => ("p-sky", Mark::FilledDiamond),
            ("clairvoyant", _) => ("p-ink", Mark::Plus),
            ("priced", _) => ("p-ink", Mark::FilledTriangle),
            _ => ("p-olive", Mark::FilledDiamond),
        };
        Self { colour, mark }
    }

    /// Draws the mark; `extra` are further classes.
    pub(crate) fn draw(self, picture: &mut Picture, [x, y]: [f64; 2], radius: f64, extra: &str) {
        let colour = self.colour;
        let hollow = format!("mark hollow {colour} {extra}");
        let filled = format!("mark filled {colour} {extra}");
        let r = radius;
        let diamond = [[x, y - 1.25 * r], [x + 1.25 * r, y], [x, y + 1.25 * r], [x - 1.25 * r, y]];
        let triangle = [[x, y - 1.15 * r], [x + 1.1 * r, y + 0.8 * r], [x - 1.1 * r, y + 0.8 * r]];
        match self.mark {
            Mark::Disc => picture.circle(&filled, [x, y], r),
            Mark::Circle => picture.circle(&hollow, [x, y], r),
            Mark::Diamond => picture.polygon(&hollow, &diamond),
            Mark::FilledDiamond => picture.polygon(&filled, &diamond),
            Mark::Triangle => picture.polygon(&hollow, &triangle),
            Mark::FilledTriangle => picture.polygon(&filled, &triangle),
            Mark::Square => {
                let r = 0.9 * r;
                picture.rect(&hollow, [x - r, y - r], [2.0 * r, 2.0 * r]);
            }
            Mark::Cross => {
                picture.line(&hollow, [x - r, y - r], [x + r, y + r]);
                picture.line(&hollow, [x - r, y + r], [x + r, y - r]);
            }
            Mark::Plus => {
                picture.line(&hollow, [x - 1.2 * r, y], [x + 1.2 * r, y]);
                picture.line(&hollow, [x, y - 1.2 * r], [x, y + 1.2 * r]);
            }
        }
    }

    /// Class of a curve: variants of the agent, and what was possible, are dashed.
    pub(crate) fn curve(self) -> String {
        let dash = match (self.mark, self.colour) {
            (Mark::Circle, _) | (Mark::Plus, "p-ink") => " dashed",
            _ => "",
        };
        format!("curve {}{dash}", self.colour)
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::page_sheet;
    use super::*;

    #[test]
    fn policies_that_meet_in_a_figure_look_different() {
        let names = [
            "random",
            "greedy",
            "greedy[ties=fastest]",
            "fixed[steps=30]",
            "myopic",
            "agent",
            "agent, trained there",
            "agent[models/universal]",
            "priced, tuned",
            "clairvoyant",
            "something else",
        ];
        let different = |names: &[&str]| {
            let palette = Palette::of(names);
            for (index, name) in names.iter().enumerate() {
                for other in &names[..index] {
                    assert_ne!(palette.style(name), palette.style(other), "{name} and {other}");
                }
            }
        };
        different(&names);
        let alike: Vec<String> = (0..40).map(|n| format!("priced, tuned on {n}")).collect();
        different(&alike.iter().map(String::as_str).collect::<Vec<_>>());
        for name in names {
            assert_eq!(Palette::of(&names).style(name), Style::of(name), "{name}");
        }
        assert_eq!(Style::of("random[steps=60]"), Style::of("random"));
    }

    #[test]
    fn every_colour_is_in_the_sheet() {
        let sheet = page_sheet();
        for colour in POLICY_INKS.map(class) {
            assert!(sheet.contains(&format!(".{colour} {{")), "{colour}");
            assert!(sheet.contains(&format!(".{colour}.filled {{")), "{colour}");
        }
    }
}
