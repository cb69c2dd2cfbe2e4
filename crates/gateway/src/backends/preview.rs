//! What a picture looks like while it is painted. Only ever a convenience: what is no preview is dropped, and
//! harms no run.

use bytes::Bytes;

/// The beginning of a picture file, as far as tells its form, and so many bytes at most. What follows is not looked
/// at: whoever shows it takes it for the form that it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    bytes: Bytes,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Png,
    Jpeg,
    WebP,
}

impl Preview {
    /// Most bytes of one.
    pub const MOST: usize = 1024 * 1024;

    /// What begins as a PNG, JPEG or WebP and is not too long; none otherwise.
    pub fn of(bytes: Bytes) -> Option<Self> {
        let form = Form::of(&bytes)?;
        (bytes.len() <= Self::MOST).then_some(Self { bytes, form })
    }

    /// All of it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its form, as HTTP names it.
    pub fn content_type(&self) -> &'static str {
        match self.form {
            Form::Png => "image/png",
            Form::Jpeg => "image/jpeg",
            Form::WebP => "image/webp",
        }
    }
}

impl Form {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_picture_is_one() {
        for (bytes, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], Some("image/png")),
            (b"\x89PNG\r\n\x1a\nanything", Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x10\0\0\0WAVE", None),
            (b"\x89PNG\r\n\x1a", None),
            (b"\xff\xd8", None),
            (b"GIF89a", None),
            (b"<svg onload=alert(1)>", None),
            (b"", None),
        ] {
            let preview = Preview::of(Bytes::copy_from_slice(bytes));
            assert_eq!(preview.map(|preview| preview.content_type()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn no_more_than_a_megabyte_is_one() {
        let mut bytes = b"\xff\xd8\xff".to_vec();
        bytes.resize(Preview::MOST, 0);
        assert!(Preview::of(bytes.clone().into()).is_some());
        bytes.push(0);
        assert!(Preview::of(bytes.into()).is_none());
    }
}
