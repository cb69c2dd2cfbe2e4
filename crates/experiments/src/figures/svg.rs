//! Pictures as SVG: within a page that has the style sheet, or as files of their own.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::font::SERIF;
use super::format::Medium;
use super::look;
use super::picture::{Anchor, Form, Picture, Point, Shape, Turn};

/// The end of every picture.
pub(crate) const END: &str = "</svg>\n";

/// For a page that has [`look::page_sheet`] itself; it scales down with the page.
pub(crate) fn inline(picture: &Picture) -> String {
    format!("{}{}{END}", start(picture, ""), shapes(&picture.shapes))
}

/// A file that opens on its own, at its own size, with the letters that it needs.
pub(crate) fn file(picture: &Picture) -> String {
    format!("{}{}{END}", start_of_file(picture), shapes(&picture.shapes))
}

/// What stands in a file ahead of the shapes. A picture of very many shapes is written in parts:
/// this, then [`shapes`] again and again, then [`END`].
pub(crate) fn start_of_file(picture: &Picture) -> String {
    let (width, height) = (picture.format.width, picture.height);
    let (size, sheet) = match picture.format.medium {
        Medium::Page => (format!(r#"width="{width}" height="{height}""#), look::page_sheet()),
        Medium::Print => {
            let font = STANDARD.encode(SERIF);
            (
                format!(r#"width="{}in" height="{}in""#, width / 96.0, height / 96.0),
                format!(
                    "\n@font-face {{ font-family: Tinos; src: \
                     url(data:font/ttf;base64,{font}) format('truetype'); }}{}",
                    look::print_sheet()
                ),
            )
        }
    };
    let start = start(picture, &format!(r#" xmlns="http://www.w3.org/2000/svg" {size}"#));
    format!(
        "{start}<style>{sheet}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    )
}

fn start(picture: &Picture, attributes: &str) -> String {
    let (width, height) = (short(picture.format.width), short(picture.height));
    let title = escape(&picture.title);
    format!(
        "<svg{attributes} class=\"figure\" role=\"img\" viewBox=\"0 0 {width} {height}\">\n\
         <title>{title}</title>\n"
    )
}

/// The elements of shapes, a line each.
pub(crate) fn shapes(shapes: &[Shape]) -> String {
    let mut body = String::new();
    for shape in shapes {
        element(&mut body, shape);
    }
    body
}

fn element(body: &mut String, Shape { class, form, tip }: &Shape) {
    let _ = match form {
        Form::Polyline(points) => match points[..] {
            [[x1, y1], [x2, y2]] => {
                let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
                write!(body, r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}""#)
            }
            _ => write!(body, r#"<polyline class="{class}" points="{}""#, list(points)),
        },
        Form::Polygon(points) => {
            write!(body, r#"<polygon class="{class}" points="{}""#, list(points))
        }
        Form::Circle { centre: [x, y], radius } => {
            let [x, y, radius] = [*x, *y, *radius].map(short);
            write!(body, r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}""#)
        }
        Form::Rect { corner: [x, y], size: [w, h] } => {
            let [x, y, w, h] = [*x, *y, *w, *h].map(short);
            write!(body, r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}""#)
        }
        Form::Text { at: [x, y], anchor, turn, text } => {
            let ([x, y], text) = ([*x, *y].map(short), escape(text));
            let place = match turn {
                Turn::Rightwards => format!(r#"x="{x}" y="{y}""#),
                Turn::Upwards => format!(r#"transform="translate({x} {y}) rotate(-90)""#),
            };
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => r#" text-anchor="middle""#,
                Anchor::End => r#" text-anchor="end""#,
            };
            let _ = writeln!(body, r#"<text class="{class}" {place}{anchor}>{text}</text>"#);
            return;
        }
    };
    let _ = if tip.is_empty() {
        writeln!(body, "/>")
    } else {
        let name = match form {
            Form::Polyline(points) if points.len() == 2 => "line",
            Form::Polyline(_) => "polyline",
            Form::Polygon(_) => "polygon",
            Form::Circle { .. } => "circle",
            Form::Rect { .. } | Form::Text { .. } => "rect",
        };
        writeln!(body, "><title>{}</title></{name}>", escape(tip))
    };
}

/// A coordinate with as many digits as can be seen.
fn short(value: f64) -> impl Display {
    // Adding 0 makes −0 a 0.
    (value * 10.0).round() / 10.0 + 0.0
}

fn list(points: &[Point]) -> String {
    let pairs = points.iter().map(|&[x, y]| format!("{},{}", short(x), short(y)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::*;

    #[test]
    fn elements_are_escaped_and_short() {
        let mut picture = Picture::new(Format::PAGE, "a < b");
        picture.line("axis", [0.04, -0.04], [1.0 / 3.0, 2.0]);
        picture.text("key", [1.0, 2.0], Anchor::End, "τ & \"x\" <y>");
        picture.telling_rect("lane", [0.0, 0.0], [1.0, 1.0], "1 < 2");
        let text = inline(&picture);
        assert!(text.contains(r#"x1="0" y1="0" x2="0.3" y2="2"/>"#), "{text}");
        assert!(text.contains("τ &amp; &quot;x&quot; &lt;y&gt;</text>"), "{text}");
        assert!(text.contains("<title>a &lt; b</title>"), "{text}");
        assert!(text.contains("><title>1 &lt; 2</title></rect>"), "{text}");
    }

    #[test]
    fn files_have_their_size_and_those_for_print_their_letters() {
        let file = |format| file(&Picture { height: 96.0, ..Picture::new(format, "t") });
        let (page, print) = (file(Format::PAGE), file(Format::COLUMN));
        assert!(page.starts_with(r#"<svg xmlns="http://www.w3.org/2000/svg" width="860""#));
        assert!(print.contains(r#"width="3.5in" height="1in""#) && print.contains("@font-face"));
        assert!(!print.contains("var(") && page.contains("var("));
    }
}
