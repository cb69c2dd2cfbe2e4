//! A small SVG writer: shapes and text with classes, so that one style sheet decides the colours in
//! light, in dark and in print.

use std::fmt::{Display, Write as _};

/// A picture that grows from back to front; y points down, as in SVG.
#[derive(Clone, Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

/// The end of every picture.
pub(crate) const END: &str = "</svg>\n";

/// Which end of a text stands at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty picture; the title is what screen readers say.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.into(), body: String::new() }
    }

    pub(crate) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    pub(crate) fn polyline(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = list(points);
        self.push(format_args!(r#"<polyline class="{class}" points="{points}"/>"#));
    }

    pub(crate) fn polygon(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = list(points);
        self.push(format_args!(r#"<polygon class="{class}" points="{points}"/>"#));
    }

    pub(crate) fn circle(&mut self, class: &str, [x, y]: [f64; 2], radius: f64) {
        let [x, y, radius] = [x, y, radius].map(short);
        self.push(format_args!(r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"/>"#));
    }

    /// A rectangle; `tip` is shown while the pointer rests on it.
    pub(crate) fn rect(&mut self, class: &str, [x, y]: [f64; 2], [w, h]: [f64; 2], tip: &str) {
        let [x, y, w, h] = [x, y, w, h].map(short);
        let shape = format!(r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}""#);
        if tip.is_empty() {
            self.push(format_args!("{shape}/>"));
        } else {
            let tip = escape(tip);
            self.push(format_args!("{shape}><title>{tip}</title></rect>"));
        }
    }

    pub(crate) fn text(&mut self, class: &str, at: [f64; 2], anchor: Anchor, text: &str) {
        let ([x, y], anchor, text) = (at.map(short), anchor.name(), escape(text));
        self.push(format_args!(
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    /// Text that reads upwards, centred on its point.
    pub(crate) fn upward_text(&mut self, class: &str, at: [f64; 2], text: &str) {
        let ([x, y], text) = (at.map(short), escape(text));
        self.push(format_args!(
            r#"<text class="{class}" transform="translate({x} {y}) rotate(-90)" text-anchor="middle">{text}</text>"#
        ));
    }

    /// What follows, up to [`Svg::end`], is cut to the rectangle.
    pub(crate) fn clip(&mut self, [x, y]: [f64; 2], [w, h]: [f64; 2]) {
        // Names must differ within a page, and a page holds many pictures.
        let name = format!("c{:x}", self.body.len() + 65_536 * self.title.len());
        let [x, y, w, h] = [x, y, w, h].map(short);
        self.push(format_args!(
            r#"<clipPath id="{name}"><rect x="{x}" y="{y}" width="{w}" height="{h}"/></clipPath>"#
        ));
        self.push(format_args!(r#"<g clip-path="url(#{name})">"#));
    }

    /// Ends the last [`Svg::clip`].
    pub(crate) fn end(&mut self) {
        self.push(format_args!("</g>"));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("memory does not fail");
    }

    /// For a page that has [`super::sheet::SHEET`] itself; it scales down with the page.
    pub(crate) fn inline(&self) -> String {
        format!("{}{}{END}", self.start(""), self.body)
    }

    /// A file that opens on its own, at its own size.
    pub(crate) fn file(&self) -> String {
        format!("{}{}{END}", self.start_of_file(), self.body)
    }

    /// What stands in a file ahead of the shapes. A picture of very many shapes is written in parts:
    /// this, then what [`Svg::take_shapes`] gives again and again, then [`END`].
    pub(crate) fn start_of_file(&self) -> String {
        let size = format!(r#" width="{}" height="{}""#, self.width, self.height);
        let start = self.start(&format!(r#" xmlns="http://www.w3.org/2000/svg"{size}"#));
        let style = format!("<style>{}</style>\n", super::sheet::SHEET);
        start + &style + r#"<rect class="paper" width="100%" height="100%"/>"# + "\n"
    }

    /// The shapes since the last call.
    pub(crate) fn take_shapes(&mut self) -> String {
        std::mem::take(&mut self.body)
    }

    fn start(&self, attributes: &str) -> String {
        let Self { width, height, .. } = self;
        let title = escape(&self.title);
        format!(
            "<svg{attributes} class=\"figure\" role=\"img\" viewBox=\"0 0 {width} {height}\">\n\
             <title>{title}</title>\n"
        )
    }
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A coordinate with as many digits as can be seen.
fn short(value: f64) -> impl Display {
    // Adding 0 makes −0 a 0.
    (value * 10.0).round() / 10.0 + 0.0
}

fn list(points: &[[f64; 2]]) -> String {
    let pairs = points.iter().map(|&[x, y]| format!("{},{}", short(x), short(y)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About how wide a text is in the style sheet's sans-serif at this size.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '|' | '\'' | '.' | ',' | ':' | ';' => 0.29,
        'f' | 't' | 'r' | ' ' | '[' | ']' | '(' | ')' | '-' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '=' => 0.82,
        'A'..='Z' => 0.68,
        _ => 0.57,
    };
    size * text.chars().map(em).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_escaped_and_short() {
        let mut svg = Svg::new(100.0, 50.0, "a < b");
        svg.line("axis", [0.04, -0.04], [1.0 / 3.0, 2.0]);
        svg.text("label", [1.0, 2.0], Anchor::End, "τ & \"x\" <y>");
        let text = svg.inline();
        assert!(text.contains(r#"x1="0" y1="0" x2="0.3" y2="2""#), "{text}");
        assert!(text.contains("τ &amp; &quot;x&quot; &lt;y&gt;</text>"), "{text}");
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        assert!(svg.file().starts_with(r#"<svg xmlns="http://www.w3.org/2000/svg" width="100""#));
    }
}
