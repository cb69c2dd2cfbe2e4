//! What streams, buckets and subjects of a cell are called.

use dispatch::RequestId;

/// The names of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    cell: String,
}

impl Names {
    pub(crate) fn of(cell: &str) -> Self {
        Self { cell: cell.into() }
    }

    pub(crate) fn cell(&self) -> &str {
        &self.cell
    }

    /// Stream of the log.
    pub(crate) fn log(&self) -> String {
        format!("LOG_{}", self.cell)
    }

    /// Stream of pictures, each in parts.
    pub(crate) fn pictures(&self) -> String {
        format!("PICS_{}", self.cell)
    }

    /// Bucket with the name of whoever leads, for as long as it says so.
    pub(crate) fn lease(&self) -> String {
        format!("LEASE_{}", self.cell)
    }

    /// Bucket of what operators have set, and of the secret of links.
    pub(crate) fn settings(&self) -> String {
        format!("SET_{}", self.cell)
    }

    /// Bucket of snapshots.
    pub(crate) fn snapshots(&self) -> String {
        format!("SNAP_{}", self.cell)
    }

    fn at(&self, rest: &str) -> String {
        format!("at.{}.{rest}", self.cell)
    }

    /// Where messages of the log are appended.
    pub(crate) fn append(&self) -> String {
        self.at("log")
    }

    /// Where the brokers tell those that they have taken.
    pub(crate) fn appended(&self) -> String {
        self.at("logged")
    }

    /// Where whoever leads is asked.
    pub(crate) fn calls(&self) -> String {
        self.at("rpc")
    }

    /// Where whoever leads says that it is there.
    pub(crate) fn pulse(&self) -> String {
        self.at("pulse")
    }

    /// Where nodes are asked how they are.
    pub(crate) fn roll_call(&self) -> String {
        self.at("roll")
    }

    /// Where changes of a request are told.
    pub(crate) fn changes(&self, id: RequestId) -> String {
        self.at(&format!("ev.{id}"))
    }

    /// Where changes of all requests are told.
    pub(crate) fn all_changes(&self) -> String {
        self.at("ev.*")
    }

    /// The request that a change is of.
    pub(crate) fn changed(subject: &str) -> Option<RequestId> {
        let (_, id) = subject.rsplit_once('.')?;
        uuid::Uuid::parse_str(id).ok().map(RequestId)
    }

    /// A part of a picture.
    pub(crate) fn picture(&self, name: &str, part: u64) -> String {
        self.at(&format!("pic.{name}.{part}"))
    }

    /// Parts of all pictures.
    pub(crate) fn all_pictures(&self) -> String {
        self.at("pic.>")
    }

    /// Where the agent of a server is asked.
    pub(crate) fn ask(&self, server: &str) -> String {
        self.at(&format!("down.{server}.ask"))
    }

    /// Where it hears that what it has is kept elsewhere.
    pub(crate) fn confirm(&self, server: &str) -> String {
        self.at(&format!("down.{server}.confirm"))
    }

    /// Where it says how runs go on.
    pub(crate) fn said(&self, server: &str) -> String {
        self.at(&format!("up.{server}.said"))
    }

    /// Where it hands in pictures, in parts.
    pub(crate) fn painted(&self, server: &str) -> String {
        self.at(&format!("up.{server}.painted"))
    }

    /// All that agents say.
    pub(crate) fn all_said(&self) -> String {
        self.at("up.*.*")
    }

    /// The server that a message of its agent is about, and the last word of the subject.
    pub(crate) fn sayer(subject: &str) -> Option<(&str, &str)> {
        let (rest, kind) = subject.rsplit_once('.')?;
        let (_, server) = rest.rsplit_once('.')?;
        Some((server, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let names = Names::of("gpu");
        assert_eq!(Names::sayer(&names.said("s-1")), Some(("s-1", "said")));
        assert_eq!(Names::sayer(&names.painted("b")), Some(("b", "painted")));
        let id = RequestId(uuid::Uuid::from_u128(7));
        assert_eq!(Names::changed(&names.changes(id)), Some(id));
        assert_eq!(Names::changed("at.gpu.ev.x"), None);
    }
}
