//! Pictures from outside: whole PNGs of the wanted size, or refused.

use std::io::Cursor;

use super::BackendError;

/// Checks that `bytes` are a complete PNG of `width` × `height`, by decoding all of it.
///
/// # Errors
/// [`BackendError::WrongPicture`] saying what is wrong.
pub fn check(bytes: &[u8], width: u32, height: u32) -> Result<(), BackendError> {
    let wrong = |what: String| BackendError::WrongPicture(what);
    // Decoded size plus the decoder's own buffers; the dimensions are checked before decoding.
    let limits = png::Limits { bytes: 64 * 1024 * 1024 };
    let decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    let mut reader = decoder.read_info().map_err(|e| wrong(format!("not a PNG: {e}")))?;
    let info = reader.info();
    if (info.width, info.height) != (width, height) {
        let (w, h) = (info.width, info.height);
        return Err(wrong(format!("{w}x{h} came, {width}x{height} was asked for")));
    }
    while reader.next_row().map_err(|e| wrong(format!("damaged PNG: {e}")))?.is_some() {}
    Ok(())
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noise(width: u32, height: u32) -> Vec<u8> {
        let pixels = (0..3 * width * height).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        encode(&pixels.collect::<Vec<_>>(), width, height)
    }

    #[test]
    fn whole_pictures_of_the_right_size_pass() {
        check(&noise(24, 16), 24, 16).unwrap();
        let error = check(&noise(24, 16), 16, 24).unwrap_err().to_string();
        assert_eq!(error, "wrong picture: 24x16 came, 16x24 was asked for");
    }

    #[test]
    fn a_picture_cut_anywhere_is_refused() {
        let whole = noise(24, 16);
        // The last chunk, IEND, carries nothing: 12 bytes.
        for length in 0..whole.len() - 12 {
            assert!(check(&whole[..length], 24, 16).is_err(), "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(check(&bytes, 8, 8).is_err());
        }

        #[test]
        fn damage_never_panics(place in 0..800usize, value in any::<u8>()) {
            let mut bytes = noise(16, 16);
            let place = place % bytes.len();
            bytes[place] = value;
            let _ = check(&bytes, 16, 16);
        }
    }
}
