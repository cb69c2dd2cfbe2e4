//! Progress bars on standard error: with speed and time left, and silent when it is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `length` items, with room for a message.
pub(crate) fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix} {wide_bar} {pos}/{len}  {msg}  {elapsed} gone, {eta} left",
    )
    .expect("the template is right");
    ProgressBar::new(length).with_style(style).with_prefix(what)
}

/// A bar over work whose unit says nothing to a person: only the share that is done.
pub(crate) fn share(work: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent} %  {elapsed} gone, {eta} left")
        .expect("the template is right");
    ProgressBar::new(work).with_style(style)
}
