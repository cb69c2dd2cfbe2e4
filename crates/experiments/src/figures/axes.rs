//! A panel with its axes, and labels at the ends of its curves.

use super::scale::Scale;
use super::style::Style;
use super::svg::{Anchor, Svg};

/// The rectangle of a panel, with the scales that fill it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axes {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Axes {
    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Positions of a horizontal scale.
    pub(crate) fn across(&self) -> [f64; 2] {
        [self.left, self.right()]
    }

    /// Positions of a vertical scale.
    pub(crate) fn upwards(&self) -> [f64; 2] {
        [self.bottom(), self.top]
    }

    /// What stands above the panel.
    pub(crate) fn heading(&self, svg: &mut Svg, text: &str) {
        svg.text("heading", [self.left, self.top - 12.0], Anchor::Start, text);
    }

    pub(crate) fn draw_x(&self, svg: &mut Svg, scale: &Scale, name: &str) {
        let bottom = self.bottom();
        for (value, label) in scale.ticks(46.0) {
            let x = scale.at(value);
            svg.line("grid", [x, self.top], [x, bottom]);
            svg.text("tick", [x, bottom + 19.0], Anchor::Middle, &label);
        }
        svg.line("axis", [self.left, bottom], [self.right(), bottom]);
        let name = with_kind(name, scale);
        svg.text("name", [self.left + self.width / 2.0, bottom + 37.0], Anchor::Middle, &name);
    }

    /// As [`Axes::draw_x`], with ticks at these values alone, each with its label.
    pub(crate) fn draw_x_at(
        &self,
        svg: &mut Svg,
        scale: &Scale,
        values: &[(f64, &str)],
        name: &str,
    ) {
        let bottom = self.bottom();
        let mut end = f64::NEG_INFINITY;
        for &(value, label) in values {
            let x = scale.at(value);
            svg.line("grid", [x, self.top], [x, bottom]);
            let half = super::svg::text_width(label, 11.0) / 2.0;
            if x - half >= end + 5.0 {
                svg.text("tick", [x, bottom + 19.0], Anchor::Middle, label);
                end = x + half;
            }
        }
        svg.line("axis", [self.left, bottom], [self.right(), bottom]);
        svg.text("name", [self.left + self.width / 2.0, bottom + 37.0], Anchor::Middle, name);
    }

    pub(crate) fn draw_y(&self, svg: &mut Svg, scale: &Scale, name: &str) {
        let mut widest: f64 = 0.0;
        for (value, label) in scale.ticks(34.0) {
            let y = scale.at(value);
            svg.line("grid", [self.left, y], [self.right(), y]);
            svg.text("tick", [self.left - 7.0, y + 4.0], Anchor::End, &label);
            widest = widest.max(super::svg::text_width(&label, 11.0));
        }
        svg.line("axis", [self.left, self.top], [self.left, self.bottom()]);
        let x = self.left - 16.0 - widest;
        svg.upward_text("name", [x, self.top + self.height / 2.0], &with_kind(name, scale));
    }

    /// Names what ends at these heights at the right edge, moved apart where they would overlap.
    pub(crate) fn labels(&self, svg: &mut Svg, ends: &[(f64, Style, String)]) {
        const GAP: f64 = 15.0;
        let mut ends: Vec<_> = ends.to_vec();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<_> = ends.iter().map(|end| end.0).collect();
        let heights = apart(&wanted, GAP, [self.top + 4.0, self.bottom() + 4.0]);
        for ((end, style, text), height) in ends.into_iter().zip(heights) {
            let (edge, x) = (self.right(), self.right() + 20.0);
            let leader = format!("leader {}", style.colour);
            svg.polyline(
                &leader,
                &[[edge + 1.0, end], [edge + 5.0, end], [x - 8.0, height], [x - 6.0, height]],
            );
            style.draw(svg, [x, height], 3.6, "");
            svg.text("key", [x + 8.0, height + 4.0], Anchor::Start, &text);
        }
    }
}

/// A scale that is not linear says so.
fn with_kind(name: &str, scale: &Scale) -> String {
    if scale.is_linear() { name.into() } else { format!("{name}, log beyond 1") }
}

/// Positions at least `gap` apart and as near as can be to the sorted wanted ones, kept inside if
/// there is room.
fn apart(wanted: &[f64], gap: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    // Neighbours that would overlap form a block, which is centred on what its members want.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for &position in wanted {
        blocks.push((position, 1));
        while let [.., (before, n), (last, m)] = blocks[..]
            && last - before < gap * (n + m) as f64 / 2.0
        {
            blocks.pop();
            let merged = (before * n as f64 + last * m as f64) / (n + m) as f64;
            let end = blocks.len() - 1;
            blocks[end] = (merged, n + m);
        }
    }
    let mut positions: Vec<f64> = Vec::new();
    for (centre, count) in blocks {
        let first = centre - gap * (count - 1) as f64 / 2.0;
        positions.extend((0..count).map(|index| first + gap * index as f64));
    }
    let mut least = low;
    for position in &mut positions {
        *position = position.max(least);
        least = *position + gap;
    }
    let mut most = high;
    for position in positions.iter_mut().rev() {
        *position = position.min(most);
        most = *position - gap;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduling::{Generator, Purpose};

    #[test]
    fn labels_that_fit_stay_where_they_are() {
        assert_eq!(apart(&[10.0, 40.0], 15.0, [0.0, 100.0]), [10.0, 40.0]);
        assert_eq!(apart(&[20.0, 20.0], 10.0, [0.0, 100.0]), [15.0, 25.0]);
        assert_eq!(apart(&[0.0, 0.0, 0.0], 10.0, [0.0, 100.0]), [0.0, 10.0, 20.0]);
        assert_eq!(apart(&[], 10.0, [0.0, 100.0]), [0.0; 0]);
    }

    #[test]
    fn labels_never_overlap() {
        for case in 0..500 {
            let mut generator = Generator::new(11, Purpose::Search, case);
            let mut wanted: Vec<f64> =
                (0..generator.below(13)).map(|_| generator.between(-20.0, 220.0)).collect();
            wanted.sort_by(f64::total_cmp);
            let positions = apart(&wanted, 15.0, [0.0, 200.0]);
            for pair in positions.windows(2) {
                assert!(pair[1] - pair[0] >= 15.0 - 1e-9, "seed 11, case {case}: {positions:?}");
            }
            for position in &positions {
                assert!((-1e-9..200.1).contains(position), "seed 11, case {case}: {positions:?}");
            }
        }
    }
}
