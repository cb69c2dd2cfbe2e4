//! What policies look like: the same colour and the same mark in every figure.
//!
//! Colours are those of Okabe and Ito, which remain apart for all kinds of colour vision; marks
//! differ as well, so that nothing hangs on colour alone.

use super::svg::Svg;

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

impl Style {
    /// The look of the policy of this name. Names that nobody thought of share the last one.
    pub(crate) fn of(policy: &str) -> Self {
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
    pub(crate) fn draw(self, svg: &mut Svg, [x, y]: [f64; 2], radius: f64, extra: &str) {
        let colour = self.colour;
        let hollow = format!("mark hollow {colour} {extra}");
        let filled = format!("mark filled {colour} {extra}");
        let r = radius;
        let diamond = [[x, y - 1.25 * r], [x + 1.25 * r, y], [x, y + 1.25 * r], [x - 1.25 * r, y]];
        let triangle = [[x, y - 1.15 * r], [x + 1.1 * r, y + 0.8 * r], [x - 1.1 * r, y + 0.8 * r]];
        match self.mark {
            Mark::Disc => svg.circle(&filled, [x, y], r),
            Mark::Circle => svg.circle(&hollow, [x, y], r),
            Mark::Diamond => svg.polygon(&hollow, &diamond),
            Mark::FilledDiamond => svg.polygon(&filled, &diamond),
            Mark::Triangle => svg.polygon(&hollow, &triangle),
            Mark::FilledTriangle => svg.polygon(&filled, &triangle),
            Mark::Square => {
                let r = 0.9 * r;
                svg.rect(&hollow, [x - r, y - r], [2.0 * r, 2.0 * r], "");
            }
            Mark::Cross => {
                svg.line(&hollow, [x - r, y - r], [x + r, y + r]);
                svg.line(&hollow, [x - r, y + r], [x + r, y - r]);
            }
            Mark::Plus => {
                svg.line(&hollow, [x - 1.2 * r, y], [x + 1.2 * r, y]);
                svg.line(&hollow, [x, y - 1.2 * r], [x, y + 1.2 * r]);
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
    use super::super::sheet::SHEET;
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
        for (index, name) in names.iter().enumerate() {
            for other in &names[..index] {
                assert_ne!(Style::of(name), Style::of(other), "{name} and {other}");
            }
        }
        assert_eq!(Style::of("random[steps=60]"), Style::of("random"));
    }

    #[test]
    fn every_colour_is_in_the_sheet() {
        for name in ["random", "greedy", "fixed", "myopic", "agent", "agent[x]", "priced", "new"] {
            let colour = Style::of(name).colour;
            assert!(SHEET.contains(&format!(".{colour} {{")), "{colour}");
            assert!(SHEET.contains(&format!(".{colour}.filled")), "{colour}");
        }
    }
}
