//! Pages that belong to no single type.

pub mod threads;
pub mod troubleshooting;
