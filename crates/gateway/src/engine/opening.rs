//! The first seconds, at the start and with other servers: what comes in before any has answered waits for one.

use scheduling::{Seconds, Time};

use super::{Engine, Message};

/// Requests and quotes that wait for the first server.
pub(super) struct Opening {
    /// When it is over, whatever the servers do.
    until: Time,
    /// Most that may wait.
    most: usize,
    waiting: Vec<Message>,
    /// No server has answered yet.
    dark: bool,
}

impl Opening {
    /// Servers that are up answer their first probe within this time.
    const LONGEST: Seconds = Seconds::of(3.0);

    pub(super) fn new(now: Time, most: usize) -> Self {
        Self { until: now + Self::LONGEST, most, waiting: Vec::new(), dark: true }
    }

    /// It begins anew: all servers are others.
    pub(super) fn again(&mut self, now: Time) {
        (self.until, self.dark) = (now + Self::LONGEST, true);
    }

    /// So many may wait from now on.
    pub(super) fn holds(&mut self, most: usize) {
        self.most = most;
    }

    /// Keeps the message if it is worth waiting with it; otherwise it is given back.
    fn keep(&mut self, now: Time, message: Message) -> Option<Message> {
        let asks = matches!(message, Message::Submit { .. } | Message::Quote { .. });
        if asks && self.dark && now < self.until && self.waiting.len() < self.most {
            self.waiting.push(message);
            return None;
        }
        Some(message)
    }
}

impl Engine {
    /// Has the message wait if no server has answered yet; otherwise it is given back.
    pub(super) fn wait_for_a_server(&mut self, now: Time, message: Message) -> Option<Message> {
        self.opening.keep(now, message)
    }

    /// A server has answered, or nothing more is taken in: whatever waited goes on, in order.
    pub(super) fn end_opening(&mut self) {
        self.opening.dark = false;
        for message in std::mem::take(&mut self.opening.waiting) {
            self.message(message);
        }
    }

    /// Ends the opening when its time is over.
    pub(super) fn tick_opening(&mut self, now: Time) {
        if self.opening.dark && now >= self.opening.until {
            self.end_opening();
        }
    }
}
