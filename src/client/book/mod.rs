//! Topics that concern no single type.

pub mod threads;
pub mod troubleshooting;
