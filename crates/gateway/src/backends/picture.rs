//! Pictures from outside: whole PNGs, or what becomes one, of the wanted size and of a bounded length, or refused.

use std::io::Cursor;

use bytes::Bytes;

use super::BackendError;

mod chunks;
mod received;

pub use received::received;

/// Most that metadata may take, in bytes: everything that is not needed to draw the picture.
///
/// ComfyUI and AUTOMATIC1111 write their parameters and workflows there, which take up to some
/// hundred kilobytes.
pub const METADATA: usize = 1024 * 1024;

/// Longest PNG of `width` × `height`, in bytes: sixteen bits for each of four channels, so badly
/// compressed that it grew, and all the metadata that is allowed.
pub fn longest(width: u32, height: u32) -> usize {
    // Interlaced, a picture has up to 15/8 as many rows, each with its filter byte.
    let raw = u64::from(width) * u64::from(height) * 8 + u64::from(height) * 2 + 16;
    let data = chunks::longest_data(raw);
    let chunks = chunks::most_data_chunks(raw) * chunks::OVERHEAD as u64;
    usize::try_from(data + chunks).unwrap_or(usize::MAX).saturating_add(METADATA + 4096)
}

/// Width and height of a picture of any form that is taken, if it is one.
pub(crate) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?.into_dimensions().ok()
}

/// The middle of a picture, as a PNG.
///
/// # Errors
/// [`BackendError`] if `bytes` are not a whole picture of the size `came`.
pub(crate) fn middle(
    bytes: Bytes,
    came: (u32, u32),
    (width, height): (u32, u32),
) -> Result<Bytes, BackendError> {
    let whole = received(bytes, came.0, came.1)?;
    let picture = image::load_from_memory_with_format(&whole, image::ImageFormat::Png);
    let picture = picture.map_err(|e| BackendError::WrongPicture(e.to_string().into()))?;
    let (left, top) = ((came.0 - width) / 2, (came.1 - height) / 2);
    Ok(encode(&picture.crop_imm(left, top, width, height).into_rgb8(), width, height).into())
}

/// Checks that `bytes` are a complete PNG of `width` × `height` and nothing else.
///
/// Every chunk up to the last is accounted for, metadata is bounded by [`METADATA`], and all rows
/// are decoded.
///
/// # Errors
/// [`BackendError::NotPng`], [`BackendError::WrongSize`] or [`BackendError::WrongPicture`] saying
/// what is wrong.
pub fn check(bytes: &[u8], width: u32, height: u32) -> Result<(), BackendError> {
    let wrong = |what: String| BackendError::WrongPicture(what.into());
    let most = longest(width, height);
    if bytes.len() > most {
        return Err(wrong(format!(
            "{} bytes came: a picture of {width}x{height} takes {most} at most",
            bytes.len()
        )));
    }
    let header = chunks::header(bytes)?;
    if (header.width, header.height) != (width, height) {
        let came = (header.width, header.height);
        return Err(BackendError::WrongSize { came, wanted: (width, height) });
    }
    chunks::account(bytes, header).map_err(wrong)?;
    decode(bytes).map_err(|error| wrong(format!("damaged PNG: {error}")))
}

/// Decodes all rows, one at a time, and checks what lies behind them.
fn decode(bytes: &[u8]) -> Result<(), png::DecodingError> {
    let mut options = png::DecodeOptions::default();
    options.set_skip_ancillary_crc_failures(false);
    // Texts and profiles may be compressed: nobody needs them here.
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    // For the decoder's own buffers; the dimensions have been checked.
    decoder.set_limits(png::Limits { bytes: 64 * 1024 * 1024 });
    let mut reader = decoder.read_info()?;
    while reader.next_row()?.is_some() {}
    reader.finish()
}

/// Encodes 8-bit RGB rows as a PNG.
///
/// # Panics
/// If there are not `3 · width · height` bytes.
pub fn encode(rgb: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().expect("memory does not fail");
    writer.write_image_data(rgb).expect("three bytes per pixel");
    writer.finish().expect("memory does not fail");
    bytes
}

#[cfg(test)]
mod tests;
