//! From addresses to a configuration: what answers there, what it draws with, and how fast it is.

mod draft;
mod recognise;
#[cfg(test)]
mod tests;
mod workflows;

pub use self::draft::{Draft, DraftFile};
pub use self::recognise::{Kind, Recognised, recognise};
pub use self::workflows::{NamedInput, WorkflowFile};

/// Where these programs listen unless told otherwise: ComfyUI, AUTOMATIC1111, sd-server, vLLM-Omni, SGLang.
pub const LOCAL: [&str; 5] = [
    "http://127.0.0.1:8188",
    "http://127.0.0.1:7860",
    "http://127.0.0.1:1234",
    "http://127.0.0.1:8000",
    "http://127.0.0.1:30000",
];
