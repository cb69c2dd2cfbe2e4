//! The letters of figures in print, which go into their files.

use std::collections::HashMap;
use std::sync::OnceLock;

use ttf_parser::{Face, FaceParsingError, GlyphId};

/// Latin, Greek and signs of Tinos, whose letters are as wide as those of Times New Roman. Its
/// licence stands beside it.
pub(crate) const SERIF: &[u8] = include_bytes!("../../fonts/Tinos-subset.ttf");

/// A font that has been read.
#[derive(Debug)]
pub(crate) struct Font {
    /// By character: the glyph, and its width in ems.
    glyphs: HashMap<char, (u16, f64)>,
    /// The width of each glyph, in ems.
    pub(crate) advances: Vec<f64>,
}

impl Font {
    /// The one font of figures in print.
    pub(crate) fn serif() -> &'static Self {
        static FONT: OnceLock<Font> = OnceLock::new();
        FONT.get_or_init(|| Self::read(SERIF).expect("the committed font can be read"))
    }

    fn read(data: &[u8]) -> Result<Self, FaceParsingError> {
        let face = Face::parse(data, 0)?;
        let units = f64::from(face.units_per_em());
        let advance =
            |glyph: u16| f64::from(face.glyph_hor_advance(GlyphId(glyph)).unwrap_or(0)) / units;
        let characters = ('\0'..='\u{ffff}').filter_map(|c| Some((c, face.glyph_index(c)?.0)));
        Ok(Self {
            glyphs: characters.map(|(c, glyph)| (c, (glyph, advance(glyph)))).collect(),
            advances: (0..face.number_of_glyphs()).map(advance).collect(),
        })
    }

    /// The glyph of a character; 0, an empty box, where the font has none.
    pub(crate) fn glyph(&self, c: char) -> u16 {
        self.glyphs.get(&c).map_or(0, |(glyph, _)| *glyph)
    }

    /// The width of a character, in ems.
    pub(crate) fn advance(&self, c: char) -> f64 {
        self.glyphs.get(&c).map_or(self.advances[0], |(_, advance)| *advance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_figures_say_is_in_the_font() {
        let font = Font::serif();
        for c in ('!'..='~').chain("±−×→←↑↓…’“”–τλσ≤≥\u{2009}äéß".chars())
        {
            assert_ne!(font.glyph(c), 0, "{c}");
        }
        // As in Times New Roman.
        assert_eq!((font.advance('0'), font.advance('m')), (0.5, 1593.0 / 2048.0));
        assert_eq!(font.glyph('\u{4e00}'), 0);
    }
}
