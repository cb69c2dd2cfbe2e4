//! The forms in which a picture is handed out. The journal keeps PNGs.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, ImageReader};
use serde::Deserialize;

/// A form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// As it is kept.
    #[default]
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, never without loss.
    Webp,
}

impl Format {
    pub(crate) const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::Webp];

    /// Its name, which is also the ending of its files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// Its media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// A form and how much may be lost for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) format: Format,
    /// From 0, the worst, to 100. PNGs lose nothing.
    pub(crate) quality: u8,
}

impl Encoding {
    /// As it is kept.
    pub(crate) const KEPT: Self = Self { format: Format::Png, quality: 100 };

    /// A PNG in this form.
    ///
    /// # Errors
    /// A message, if it is none.
    pub(crate) fn of(self, png: Vec<u8>) -> Result<Vec<u8>, String> {
        if self.format == Format::Png {
            return Ok(png);
        }
        let decoded = ImageReader::with_format(Cursor::new(png), ImageFormat::Png).decode();
        let picture = decoded.map_err(|error| error.to_string())?.into_rgb8();
        match self.format {
            Format::Webp => {
                let (width, height) = picture.dimensions();
                let encoder = webp::Encoder::from_rgb(&picture, width, height);
                let encoded = encoder.encode_simple(false, self.quality.into());
                encoded.map(|bytes| bytes.to_vec()).map_err(|error| format!("WebP: {error:?}"))
            }
            Format::Jpeg | Format::Png => {
                let mut encoded = Vec::new();
                let encoder = JpegEncoder::new_with_quality(&mut encoded, self.quality.max(1));
                let done = DynamicImage::from(picture).write_with_encoder(encoder);
                done.map(|()| encoded).map_err(|error| error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::picture;

    #[test]
    fn pictures_keep_their_size_and_nearly_their_colours() {
        let (width, height) = (40, 24);
        let red: Vec<u8> = [200, 30, 60].repeat((width * height) as usize);
        let png = picture::encode(&red, width, height);
        for (format, read) in [(Format::Jpeg, ImageFormat::Jpeg), (Format::Webp, ImageFormat::WebP)]
        {
            let encoded = Encoding { format, quality: 90 }.of(png.clone()).unwrap();
            assert_eq!(image::guess_format(&encoded).unwrap(), read);
            let decoded = image::load_from_memory_with_format(&encoded, read).unwrap().into_rgb8();
            assert_eq!(decoded.dimensions(), (width, height));
            let far = decoded.iter().zip(&red).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(far < 16, "{format:?}: {far}");
        }
        assert_eq!(Encoding::KEPT.of(png.clone()).unwrap(), png);
    }

    #[test]
    fn less_quality_takes_fewer_bytes() {
        let mut noise = 1_u32;
        let speckled: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(3 * 64 * 64)
        .collect();
        let png = picture::encode(&speckled, 64, 64);
        for format in [Format::Jpeg, Format::Webp] {
            let length = |quality| Encoding { format, quality }.of(png.clone()).unwrap().len();
            assert!(length(0) < length(50) && length(50) < length(100), "{format:?}");
        }
        let error = Encoding { format: Format::Jpeg, quality: 90 }.of(b"nothing".to_vec());
        assert!(error.is_err());
    }
}
