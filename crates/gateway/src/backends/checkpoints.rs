//! What a backend calls the models that it hosts.

use std::collections::BTreeMap;

use crate::journal::Spec;

/// The backend's name of each hosted model. Empty where it is not asked for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoints(BTreeMap<String, String>);

impl Checkpoints {
    /// Pairs of a model's name and the backend's name of it.
    pub(crate) fn new(names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    /// What the backend calls the model of a picture, if it is to be asked for one.
    pub(crate) fn of(&self, spec: &Spec) -> Option<&str> {
        self.0.get(spec.model.as_deref()?).map(String::as_str)
    }

    /// Whether there is nothing to choose from.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The model that the backend means. Web UIs add the file's extension and a hash in brackets.
    pub(crate) fn model(&self, told: &str) -> Option<&str> {
        let means = |checkpoint: &str| {
            told.strip_prefix(checkpoint).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(" [") || rest.starts_with('.')
            })
        };
        // The longest that fits: `xl` must not be taken for `xl.turbo`.
        let fitting = self.0.iter().filter(|(_, checkpoint)| means(checkpoint));
        let longest = fitting.max_by_key(|(_, checkpoint)| checkpoint.len());
        longest.map(|(model, _)| model.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_known_with_extension_and_hash() {
        let names = [("sdxl", "sd_xl_base"), ("turbo", "sd_xl_base.turbo"), ("sd15", "v1-5")];
        let names = names.map(|(model, checkpoint)| (model.to_string(), checkpoint.to_string()));
        let checkpoints = Checkpoints::new(names);
        for (told, model) in [
            ("sd_xl_base", Some("sdxl")),
            ("sd_xl_base.safetensors [31e35c80fc]", Some("sdxl")),
            ("sd_xl_base [31e35c80fc]", Some("sdxl")),
            ("sd_xl_base.turbo.safetensors", Some("turbo")),
            ("sd_xl_base_2", None),
            ("v1", None),
            ("", None),
        ] {
            assert_eq!(checkpoints.model(told), model, "{told:?}");
        }
    }
}
