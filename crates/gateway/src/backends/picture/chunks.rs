//! The chunks of a PNG, walked from the signature to the end without decoding anything.

use std::io::{self, Read as _};

use flate2::read::ZlibDecoder;

use super::METADATA;
use crate::backends::BackendError;

/// Bytes of a chunk beside its data: length, type, checksum.
pub(super) const OVERHEAD: usize = 12;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Most chunks of metadata.
const MOST: usize = 256;
/// Most bytes that compressed metadata may unpack to: whoever looks at the picture unpacks it.
const UNPACKED: u64 = 4 * METADATA as u64;

/// Longest image data that `raw` bytes of rows compress to. What cannot be compressed is stored,
/// with five bytes a block, or takes up to nine bits a byte if the encoder did not notice.
pub(super) const fn longest_data(raw: u64) -> u64 {
    raw + raw / 8 + 64 * 1024
}

/// Most chunks that image data may come in: encoders write some kilobytes into each.
pub(super) const fn most_data_chunks(raw: u64) -> u64 {
    256 + longest_data(raw) / 1024
}

/// What `IHDR` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    bits_per_pixel: u64,
    interlaced: bool,
}

impl Header {
    /// Bytes of all rows with their filter bytes, before compression; at least as many.
    fn raw(self) -> u64 {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let rows = height * (1 + (width * self.bits_per_pixel).div_ceil(8));
        // The rows of the seven passes are padded to bytes, and more of them have filter bytes.
        if self.interlaced { rows + 2 * height + width + 16 } else { rows }
    }
}

/// Reads signature and `IHDR`.
pub(super) fn header(bytes: &[u8]) -> Result<Header, BackendError> {
    let Some(rest) = bytes.strip_prefix(SIGNATURE) else {
        return Err(BackendError::NotPng { came: format_of(bytes) });
    };
    let wrong = |what: &str| BackendError::WrongPicture(what.into());
    let (Chunk { kind, data }, _) =
        split(rest).map_err(|e| BackendError::WrongPicture(e.into()))?;
    if &kind != b"IHDR" {
        return Err(wrong("damaged PNG: it does not begin with IHDR"));
    }
    let Ok([w0, w1, w2, w3, h0, h1, h2, h3, depth, color, 0, 0, interlace @ 0..=1]) =
        <[u8; 13]>::try_from(data)
    else {
        return Err(wrong("damaged PNG: IHDR is not understood"));
    };
    let channels = match color {
        0 | 3 => 1,
        2 => 3,
        4 => 2,
        6 => 4,
        _ => return Err(wrong("damaged PNG: no such colour type")),
    };
    Ok(Header {
        width: u32::from_be_bytes([w0, w1, w2, w3]),
        height: u32::from_be_bytes([h0, h1, h2, h3]),
        bits_per_pixel: u64::from(depth.min(16)) * channels,
        interlaced: interlace == 1,
    })
}

/// What else it may be.
fn format_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => "a JPEG",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "a WebP picture",
        [b'G', b'I', b'F', b'8', ..] => "a GIF",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => {
            "an AVIF picture"
        }
        [] => "nothing",
        _ => "something else",
    }
}

/// Accounts for every byte: each chunk is needed to draw the picture or is metadata within its
/// bounds, and the last one is `IEND`, with nothing behind it.
pub(super) fn account(bytes: &[u8], header: Header) -> Result<(), String> {
    let longest_data = longest_data(header.raw());
    let most_data_chunks = most_data_chunks(header.raw());
    let (mut data_length, mut data_chunks) = (0, 0);
    let (mut metadata, mut chunks, mut unpacked) = (0, 0, 0);
    let mut rest = &bytes[SIGNATURE.len()..];
    let mut before = *b"    ";
    loop {
        let (Chunk { kind, data }, behind) = split(rest)?;
        match &kind {
            b"IHDR" if before == *b"    " => {}
            b"IDAT" if data_chunks > 0 && before != *b"IDAT" => {
                return Err("its image data is torn apart by other chunks".into());
            }
            b"IDAT" => {
                data_length += data.len() as u64;
                data_chunks += 1;
                if data_length > longest_data || data_chunks > most_data_chunks {
                    return Err(format!(
                        "its image data has more than {longest_data} bytes or {most_data_chunks} \
                         chunks, which is the most for its rows"
                    ));
                }
            }
            b"PLTE" if data.len() <= 3 * 256 && data_chunks == 0 => {}
            b"IEND" if !data.is_empty() => return Err("IEND is not empty".into()),
            b"IEND" if data_chunks == 0 => return Err("there is no image data".into()),
            b"IEND" if behind.is_empty() => return Ok(()),
            b"IEND" => return Err(format!("{} bytes lie behind its end", behind.len())),
            b"acTL" | b"fcTL" | b"fdAT" => return Err("it is animated".into()),
            // Only critical chunks have a capital there: without knowing them nobody can draw it.
            [b'A'..=b'Z', ..] => {
                return Err(format!("chunk {} has no place there", shown(kind)));
            }
            _ => {
                unpacked += unpack(kind, data, UNPACKED - unpacked)?;
                metadata += data.len() + OVERHEAD;
                chunks += 1;
                if metadata > METADATA || chunks > MOST {
                    return Err(format!(
                        "its metadata has more than {METADATA} bytes or {MOST} chunks, which is \
                         the most (chunk {})",
                        shown(kind)
                    ));
                }
            }
        }
        before = kind;
        rest = behind;
    }
}

/// Length to which a chunk of metadata unpacks, if it is compressed.
fn unpack(kind: [u8; 4], data: &[u8], most: u64) -> Result<u64, String> {
    let Some(packed) = packed(kind, data) else { return Ok(0) };
    let damaged = |e| format!("damaged PNG: chunk {} cannot be unpacked: {e}", shown(kind));
    let mut unpacked = ZlibDecoder::new(packed).take(most + 1);
    let length = io::copy(&mut unpacked, &mut io::sink()).map_err(damaged)?;
    if length > most {
        return Err(format!("chunk {} unpacks to more than is allowed, {UNPACKED}", shown(kind)));
    }
    Ok(length)
}

/// The compressed part of a chunk. What lacks its parts is not compressed either.
fn packed(kind: [u8; 4], data: &[u8]) -> Option<&[u8]> {
    let behind_zero = |data: &'_ [u8]| data.iter().position(|&byte| byte == 0).map(|at| at + 1);
    let named = data.get(behind_zero(data)?..)?;
    match (&kind, named) {
        // The method of compression, of which there is one.
        (b"zTXt" | b"iCCP", [0, packed @ ..]) => Some(packed),
        // Language and translated keyword.
        (b"iTXt", [1, 0, rest @ ..]) => {
            let rest = rest.get(behind_zero(rest)?..)?;
            rest.get(behind_zero(rest)?..)
        }
        _ => None,
    }
}

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
}

/// The first chunk and what follows; checksums are the decoder's business.
fn split(bytes: &[u8]) -> Result<(Chunk<'_>, &[u8]), String> {
    let cut = || "damaged PNG: it is cut off".to_string();
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let (kind, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    if !kind.iter().all(u8::is_ascii_alphabetic) {
        return Err("damaged PNG: a chunk has no type".into());
    }
    let length = u32::from_be_bytes(*length) as usize;
    let (data, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    let (_checksum, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    Ok((Chunk { kind: *kind, data }, rest))
}

fn shown(kind: [u8; 4]) -> String {
    kind.iter().map(|&byte| char::from(byte)).collect()
}
