//! media
pub mod codec;
pub mod dtmf;
pub mod resample;
