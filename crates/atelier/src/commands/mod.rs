pub(crate) mod evaluate;
pub(crate) mod instance;
pub(crate) mod simulate;
pub(crate) mod train;
pub(crate) mod train_universal;
pub(crate) mod tune;
