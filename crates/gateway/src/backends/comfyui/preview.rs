//! Previews as ComfyUI sends them over its WebSocket, where its `--preview-method` lets it.

use bytes::Bytes;
use serde::Deserialize;

use crate::backends::Preview;

/// The form of the picture, and the picture. It goes to whoever handed the prompt in, and does not name it.
const PLAIN: u32 = 1;
/// Length of a JSON text, that text, and the picture.
const WITH_METADATA: u32 = 4;

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    prompt_id: Option<String>,
}

/// The preview in a binary message, if it is one of this prompt.
pub(super) fn preview(message: &[u8], prompt: &str) -> Option<Preview> {
    let (event, rest) = number(message)?;
    let (number, rest) = number(rest)?;
    let picture = match event {
        // What its form is the picture says itself.
        PLAIN => rest,
        WITH_METADATA => {
            let (metadata, picture) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            let metadata: Metadata = serde_json::from_slice(metadata).ok()?;
            if metadata.prompt_id.is_some_and(|id| id != prompt) {
                return None;
            }
            picture
        }
        _ => return None,
    };
    if picture.len() > Preview::MOST {
        return None;
    }
    Preview::of(Bytes::copy_from_slice(picture))
}

/// Four bytes, the highest first, and what follows.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*first), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0...";
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n...";

    fn message(numbers: [u32; 2], parts: &[&[u8]]) -> Vec<u8> {
        let numbers = numbers.map(u32::to_be_bytes).concat();
        [&numbers[..], &parts.concat()].concat()
    }

    #[test]
    fn both_forms_of_messages_are_read() {
        let ours = br#"{"prompt_id": "p", "image_type": "image/png"}"#;
        let another = br#"{"prompt_id": "q"}"#;
        let length = |json: &[u8]| json.len() as u32;
        for (name, message, expected) in [
            ("plain JPEG", message([1, 1], &[JPEG]), Some(JPEG)),
            ("plain PNG", message([1, 2], &[PNG]), Some(PNG)),
            ("metadata", message([4, length(ours)], &[ours, PNG]), Some(PNG)),
            ("metadata without a prompt", message([4, 2], &[b"{}", JPEG]), Some(JPEG)),
            ("another prompt", message([4, length(another)], &[another, PNG]), None),
            ("metadata that is no JSON", message([4, 2], &[b"{]", PNG]), None),
            ("metadata that ends too late", message([4, u32::MAX], &[ours, PNG]), None),
            ("metadata and no picture", message([4, length(ours)], &[ours]), None),
            ("text", message([3, 1], &[PNG]), None),
            ("no picture", message([1, 1], &[b"<svg>"]), None),
            ("too long", message([1, 1], &[JPEG, &vec![0; Preview::MOST]]), None),
            ("cut off", vec![0, 0, 0, 1, 0, 0], None),
            ("nothing", Vec::new(), None),
        ] {
            let read = preview(&message, "p");
            assert_eq!(read.as_ref().map(|preview| &preview.bytes()[..]), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            event in 0u32..6, number in any::<u32>(), small in 0u32..40,
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            preview(&rest, "p");
            preview(&message([event, number], &[&rest]), "p");
            preview(&message([event, small], &[&rest]), "p");
        }
    }
}
