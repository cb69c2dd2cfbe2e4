//! Pictures in the other forms that servers send: made PNGs of before anybody relies on them.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageError, ImageFormat, ImageReader, Limits};

use super::{check, encode, longest};
use crate::backends::BackendError;

/// A picture of `width` × `height` as it came, if it is a whole PNG; one that came as JPEG or WebP, as a PNG.
///
/// # Errors
/// [`BackendError`] saying what is wrong.
pub fn received(bytes: Bytes, width: u32, height: u32) -> Result<Bytes, BackendError> {
    let wrong = |what: String| BackendError::WrongPicture(what.as_str().into());
    let format = image::guess_format(&bytes).ok();
    let Some(format @ (ImageFormat::Jpeg | ImageFormat::WebP)) = format else {
        check(&bytes, width, height)?;
        return Ok(bytes);
    };
    let most = longest(width, height);
    if bytes.len() > most {
        let length = bytes.len();
        let what =
            format!("{length} bytes came: a picture of {width}x{height} takes {most} at most");
        return Err(wrong(what));
    }
    let name = if format == ImageFormat::Jpeg { "JPEG" } else { "WebP" };
    let damaged = |error: ImageError| wrong(format!("damaged {name}: {error}"));
    // Decoders paint grey what is missing of a JPEG.
    if format == ImageFormat::Jpeg && !bytes.ends_with(&[0xff, 0xd9]) {
        return Err(wrong("damaged JPEG: its end is missing".into()));
    }
    let reader = || ImageReader::with_format(Cursor::new(&*bytes), format);
    let came = reader().into_dimensions().map_err(damaged)?;
    if came != (width, height) {
        return Err(BackendError::WrongSize { came, wanted: (width, height) });
    }
    let mut reader = reader();
    let mut limits = Limits::default();
    limits.max_alloc = Some(64 * 1024 * 1024 + 16 * u64::from(width) * u64::from(height));
    reader.limits(limits);
    let picture = reader.decode().map_err(damaged)?.into_rgb8();
    Ok(encode(&picture, width, height).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{DynamicImage, RgbImage};

    fn in_form(format: ImageFormat) -> Vec<u8> {
        let picture = DynamicImage::from(RgbImage::from_pixel(16, 24, image::Rgb([200, 30, 60])));
        let mut bytes = Vec::new();
        match format {
            ImageFormat::Jpeg => {
                picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 95)).unwrap();
            }
            _ => picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap(),
        }
        bytes
    }

    #[test]
    fn other_forms_become_pngs_of_the_same_size() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let bytes = in_form(format);
            let png = received(bytes.clone().into(), 16, 24).unwrap();
            check(&png, 16, 24).unwrap();
            let decoded = image::load_from_memory_with_format(&png, ImageFormat::Png).unwrap();
            let [red, green, blue] = decoded.into_rgb8().get_pixel(8, 8).0;
            assert!(red > 180 && green < 60 && blue < 90, "{format:?}: {red} {green} {blue}");
            let wrong = received(bytes.clone().into(), 24, 16).unwrap_err();
            assert!(matches!(wrong, BackendError::WrongSize { .. }), "{format:?}: {wrong}");
            let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
            received(half, 16, 24).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b"\xff\xd8\xff\xe0nothing"[..], b"RIFF\x10\0\0\0WEBPVP8 ", b"GIF89a", b""] {
            received(Bytes::from_static(bytes), 16, 24).unwrap_err();
        }
    }
}
