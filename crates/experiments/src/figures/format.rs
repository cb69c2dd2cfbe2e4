//! What a figure is made for: its width, its letters.

use super::font::Font;
use super::look;

/// The room that a figure has, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Format {
    /// In CSS pixels, of which 96 make an inch.
    pub(crate) width: f64,
    pub(crate) medium: Medium,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// In a browser: sans-serif, light or dark.
    Page,
    /// In a paper: letters like Times of 8 and 9 points, dark on white.
    Print,
}

impl Format {
    /// In the report.
    pub(crate) const PAGE: Self = Self { width: 860.0, medium: Medium::Page };
    /// A column of an IEEE paper, 3.5 inches.
    pub(crate) const COLUMN: Self = Self { width: 336.0, medium: Medium::Print };
    /// Both of its columns, 7.16 inches.
    pub(crate) const TWO_COLUMNS: Self = Self { width: 687.36, medium: Medium::Print };

    /// Whether two panels find room side by side.
    pub(crate) fn is_wide(self) -> bool {
        self.width >= 600.0
    }

    /// The height of a panel that is so high on the page.
    pub(crate) fn height(self, on_page: f64) -> f64 {
        match self.medium {
            Medium::Page => on_page,
            Medium::Print => 0.72 * on_page,
        }
    }

    /// How wide a text is in a class: exactly in print, and about so in a browser, whose font is
    /// not known.
    pub(crate) fn text_width(self, class: &str, text: &str) -> f64 {
        let size = look::text_size(class, self.medium);
        match self.medium {
            Medium::Page => {
                let weight = if look::is_bold(class) { 1.1 } else { 1.0 };
                weight * size * text.chars().map(em).sum::<f64>()
            }
            Medium::Print => size * text.chars().map(|c| Font::serif().advance(c)).sum::<f64>(),
        }
    }
}

/// The width of a character in a wide sans-serif, in ems.
fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '|' | '\'' | '.' | ',' | ':' | ';' | ' ' => 0.32,
        'f' | 't' | 'r' | '[' | ']' | '(' | ')' | '-' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' | '=' => 0.93,
        '\u{2009}' => 0.2,
        'A'..='Z' => 0.7,
        _ => 0.62,
    }
}
