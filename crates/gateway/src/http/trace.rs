//! W3C trace context: requests are followed from the caller's trace into the log.

use std::fmt;

/// A trace and our part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    id: u128,
    span: u64,
    flags: u8,
}

impl Trace {
    /// A span of the caller's trace, or of a new one if `traceparent` is none or not valid.
    pub(crate) fn following(traceparent: Option<&str>) -> Self {
        let random = uuid::Uuid::new_v4().as_u128();
        let span = (random >> 64) as u64 | 1;
        match traceparent.and_then(parse) {
            Some((id, flags)) => Self { id, span, flags },
            None => Self { id: uuid::Uuid::new_v4().as_u128(), span, flags: 0 },
        }
    }

    /// Bits that nobody chose.
    pub(crate) fn random(&self) -> u64 {
        self.span
    }

    /// The trace in hexadecimal.
    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.id)
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither identifier zero. Later versions may say more
/// behind that.
fn parse(text: &str) -> Option<(u128, u8)> {
    let parts: Vec<_> = text.splitn(5, '-').collect();
    let lower = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let [version, trace, span, flags, more @ ..] = &parts[..] else { return None };
    let known = lower(version, 2) && *version != "ff" && (more.is_empty() || *version != "00");
    let sound = known && lower(trace, 32) && lower(span, 16) && lower(flags, 2);
    let trace = u128::from_str_radix(trace, 16).ok()?;
    let span = u64::from_str_radix(span, 16).ok()?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (sound && trace != 0 && span != 0).then_some((trace, flags))
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_parents_are_followed_and_others_ignored() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::following(Some(parent));
        assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(trace.to_string().ends_with("-01"));
        assert!(!trace.to_string().contains("00f067aa0ba902b7"), "our own span");
        for wrong in [
            "",
            "00-0-0-00",
            &parent.to_uppercase(),
            &parent.replace("00f067aa0ba902b7", "0000000000000000"),
            &parent.replacen("00", "ff", 1),
            &format!("{parent}-more"),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        let later = format!("{}-more", parent.replacen("00", "01", 1));
        assert_eq!(parse(&later), parse(parent));
    }
}
