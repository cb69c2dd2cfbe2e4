pub(crate) mod bound;
pub(crate) mod evaluate;
pub(crate) mod instance;
pub(crate) mod reproduce;
pub(crate) mod simulate;
pub(crate) mod train;
