//! Work that has to wait, and who waits.

pub(crate) mod applications;
pub(crate) mod host_names;
pub(crate) mod sleepers;
pub(crate) mod slots;
pub(crate) mod tasks;
pub(crate) mod watchers;
