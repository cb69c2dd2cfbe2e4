//! Answers of servers to fuzz the adapters with.

use serde::de::DeserializeOwned;
use serde_json::Map;

use super::client::understand;
use super::{BackendError, automatic1111, comfyui, openai, sdcpp};

/// Reads an answer as an adapter does; the first byte says which one of which adapter.
pub fn answer(bytes: &[u8]) {
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BackendError> {
        understand(bytes)
    }
    let Some((kind, bytes)) = bytes.split_first() else { return };
    // What comes of it does not matter here: the tests beside the adapters say what must.
    let _ = match kind % 8 {
        0 => read(bytes).and_then(|answer: automatic1111::Generated| answer.picture()).map(drop),
        1 => read::<automatic1111::TaskProgress>(bytes).map(|progress| {
            drop(progress.preview());
            assert!(progress.share().is_none_or(|share| (0.0..=1.0).contains(&share)));
        }),
        2 => read(bytes).and_then(|answer: openai::Images| answer.picture()).map(drop),
        3 => read::<sdcpp::Submitted>(bytes).and_then(|job| sdcpp::job_path(&job.id)).map(drop),
        4 => read::<sdcpp::JobState>(bytes).and_then(|job| job.outcome().transpose()).map(drop),
        5 => read::<comfyui::Queue>(bytes).map(drop),
        6 => read::<Map<_, _>>(bytes).and_then(|history| {
            let past = comfyui::Past::find(history, "p")?;
            past.map(|past| past.places(None)).transpose().map(drop)
        }),
        _ => {
            let _ = std::str::from_utf8(bytes).map(|text| {
                comfyui::Workflow::new(text, &[(comfyui::Input::Seed, "3.seed")], None)
            });
            Ok(())
        }
    };
}
