//! What only the configuration tells of a request: the size that its pixels are, and which model the
//! name of its model is.

use scheduling::{Model, Request, Size};

use crate::config::Config;
use crate::journal::Accepted;

/// The reference size and the models.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    reference_pixels: u32,
    models: Vec<Box<str>>,
}

impl Catalogue {
    pub(crate) fn new(config: &Config) -> Self {
        let names = config.models.iter().map(|model| model.name.get_ref().as_str().into());
        Self { reference_pixels: config.reference_pixels(), models: names.collect() }
    }

    /// The size of a picture.
    pub(crate) fn size(&self, pixels: u32) -> Size {
        Size::of_picture(pixels, self.reference_pixels)
    }

    /// The model of a name. One that is not there any more is one that no server hosts: its requests
    /// wait until it is back or they expire.
    fn model(&self, name: Option<&str>) -> Model {
        name.map_or(Model(0), |name| self.named(name).unwrap_or(Model(u16::MAX)))
    }

    /// A request as the scheduler must know it.
    pub(crate) fn request(&self, accepted: &Accepted) -> Request {
        let Accepted { order, spec, .. } = accepted;
        let model = self.model(spec.model.as_deref());
        Request { size: self.size(order.pixels), model, ..order.request }
    }

    /// The name of a model; none where there is only one.
    pub(crate) fn name(&self, model: Model) -> Option<&str> {
        self.models.get(model.index()).map(|name| &**name)
    }

    /// The model of a name, if it is there.
    pub(crate) fn named(&self, name: &str) -> Option<Model> {
        let position = self.models.iter().position(|model| **model == *name)?;
        Some(Model(position as u16))
    }

    /// Models by these names, without those that are not there.
    pub(crate) fn known(&self, names: &[String]) -> Vec<Model> {
        names.iter().filter_map(|name| self.named(name)).collect()
    }
}
