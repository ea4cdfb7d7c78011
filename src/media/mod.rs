//! media
pub mod codec;
