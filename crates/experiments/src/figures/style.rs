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

/// The one style sheet of all figures: light, dark, and light again in print.
pub(crate) const SHEET: &str = "
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1a1a1a; --muted: #5c5c5c; --grid: #e4e4e4; --line: #8c8c8c;
  --grey: #7a7a7a; --orange: #d98c00; --vermillion: #d55e00; --purple: #b8578f; --green: #00855f;
  --blue: #0072b2; --sky: #3fa3dd; --olive: #857a00;
  --on-time: #9cc3e0; --late-1: #f5c26b; --late-2: #e07b24; --late-3: #a1260d; --bar-ink: #111111; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #16181c; --ink: #ececec; --muted: #a8a8a8; --grid: #30343a; --line: #70757d;
  --grey: #a0a0a0; --orange: #f0aa28; --vermillion: #f0713c; --purple: #df8cbd; --green: #22bd8f;
  --blue: #4aa5ea; --sky: #8fd0f7; --olive: #d1c53c;
  --on-time: #6d9fc4; --late-1: #e0a940; --late-2: #e87a2a; --late-3: #b8321a; --bar-ink: #0b0b0b; } }
svg.figure { font-family: system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; font-size: 12px;
  fill: var(--ink); }
.figure .paper { fill: var(--paper); }
.figure .axis { stroke: var(--line); stroke-width: 1; fill: none; }
.figure .grid { stroke: var(--grid); stroke-width: 1; }
.figure .zero { stroke: var(--line); stroke-width: 1; stroke-dasharray: 2 3; }
.figure .tick { fill: var(--muted); font-size: 11px; font-variant-numeric: tabular-nums; }
.figure .name { fill: var(--muted); font-size: 12px; }
.figure .heading { font-weight: 600; font-size: 13px; }
.figure .key { font-size: 11.5px; }
.figure .note { fill: var(--muted); font-size: 11px; }
.figure .inside { font-size: 9px; fill: var(--bar-ink); } .figure .on-dark { fill: #ffffff; }
.figure .lane { fill: var(--grid); opacity: .45; }
.figure .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.figure .level { fill: none; stroke-width: 1.4; stroke-dasharray: 5 3; }
.figure .dashed { stroke-dasharray: 6 3; }
.figure .band { stroke: none; opacity: .2; }
.figure .leader { fill: none; stroke-width: .8; opacity: .6; }
.figure .interval { stroke-width: 1.2; }
.figure .mean { stroke: var(--ink); stroke-width: 2.2; }
.figure .mark { stroke-width: 1.4; }
.figure .hollow { fill: var(--paper); }
.figure .dot { fill-opacity: .35; stroke-opacity: .6; stroke-width: 1; }
.figure .hollow.dot { fill: none; }
.figure .filled.dot { stroke: none; }
.figure .on-time { fill: var(--on-time); } .figure .late-1 { fill: var(--late-1); }
.figure .late-2 { fill: var(--late-2); } .figure .late-3 { fill: var(--late-3); }
.figure .p-grey { stroke: var(--grey); } .figure .p-grey.filled, .figure .p-grey.band { fill: var(--grey); }
.figure .p-orange { stroke: var(--orange); } .figure .p-orange.filled, .figure .p-orange.band { fill: var(--orange); }
.figure .p-vermillion { stroke: var(--vermillion); } .figure .p-vermillion.filled, .figure .p-vermillion.band { fill: var(--vermillion); }
.figure .p-purple { stroke: var(--purple); } .figure .p-purple.filled, .figure .p-purple.band { fill: var(--purple); }
.figure .p-green { stroke: var(--green); } .figure .p-green.filled, .figure .p-green.band { fill: var(--green); }
.figure .p-blue { stroke: var(--blue); } .figure .p-blue.filled, .figure .p-blue.band { fill: var(--blue); }
.figure .p-sky { stroke: var(--sky); } .figure .p-sky.filled, .figure .p-sky.band { fill: var(--sky); }
.figure .p-olive { stroke: var(--olive); } .figure .p-olive.filled, .figure .p-olive.band { fill: var(--olive); }
.figure .p-ink { stroke: var(--ink); } .figure .p-ink.filled, .figure .p-ink.band { fill: var(--ink); }
.figure .band { stroke: none; }
";

#[cfg(test)]
mod tests {
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
