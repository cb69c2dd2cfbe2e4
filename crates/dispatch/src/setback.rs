//! What a request remembers of the servers that failed it.

use scheduling::{Seconds, Time};

use super::event::{Failure, FailureClass};

/// A server on which runs of a request failed.
#[derive(Clone, Debug)]
pub(super) struct Setback {
    pub(super) server: usize,
    pub(super) again: Again,
    times: u32,
    pub(super) reason: String,
}

/// When the server may be asked again for this request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Again {
    /// Not at all.
    Never,
    /// From here on, if no server is left that has not failed the request.
    From(Time),
}

/// The setbacks of one request, at most one per server.
#[derive(Clone, Debug, Default)]
pub(super) struct Setbacks(Vec<Setback>);

impl Setbacks {
    /// Takes note of a failure and says when the server may be asked again.
    pub(super) fn note(&mut self, now: Time, server: usize, failure: &Failure) -> Again {
        let times = self.on(server).map_or(0, |setback| setback.times) + 1;
        let again = match failure.class {
            FailureClass::Refused => Again::Never,
            FailureClass::Counted => Again::From(now + pause(times)),
            FailureClass::NotNow { retry_after } => {
                Again::From(now + longer(pause(times), retry_after))
            }
        };
        self.0.retain(|setback| setback.server != server);
        self.0.push(Setback { server, again, times, reason: failure.reason.clone() });
        again
    }

    /// Whether no server has failed the request.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The setback on a server.
    pub(super) fn on(&self, server: usize) -> Option<&Setback> {
        self.0.iter().find(|setback| setback.server == server)
    }

    /// Whether the server may not be asked again at all.
    pub(super) fn exclude(&self, server: usize) -> bool {
        self.on(server).is_some_and(|setback| setback.again == Again::Never)
    }

    /// Whether the server may be asked now.
    pub(super) fn allow(&self, now: Time, server: usize) -> bool {
        self.on(server).is_none_or(|setback| match setback.again {
            Again::Never => false,
            Again::From(time) => time <= now,
        })
    }

    /// What all these servers said, the latest last.
    pub(super) fn reasons(&self) -> String {
        const SHOWN: usize = 4;
        let more = self.0.len().saturating_sub(SHOWN);
        let shown: Vec<_> = self.0[more..].iter().map(|setback| setback.reason.as_str()).collect();
        let earlier = if more > 0 { format!("{more} servers before; ") } else { String::new() };
        format!("{earlier}{}", shown.join("; "))
    }
}

/// Half a second, twice as long after every further failure, up to a minute.
pub(super) fn pause(times: u32) -> Seconds {
    let doubled = 0.5 * f64::from(1_u32 << times.saturating_sub(1).min(16));
    Seconds::of(doubled.min(60.0))
}

/// The longer of a pause and what a server asks for, of which ten minutes are believed.
pub(super) fn longer(pause: Seconds, retry_after: Option<Seconds>) -> Seconds {
    let asked = retry_after.map_or(0.0, |span| span.seconds().min(600.0));
    Seconds::of(pause.seconds().max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses = [1, 2, 3, 7, 8, 9, 4_000_000_000].map(|times| pause(times).seconds());
        assert_eq!(pauses, [0.5, 1.0, 2.0, 32.0, 60.0, 60.0, 60.0]);
        for (asked, expected) in
            [(None, 0.5), (Some(0.1), 0.5), (Some(3.0), 3.0), (Some(1e9), 600.0)]
        {
            assert_eq!(longer(pause(1), asked.map(Seconds::of)).seconds(), expected, "{asked:?}");
        }
    }
}
