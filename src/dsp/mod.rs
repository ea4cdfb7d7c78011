//! Resampling, Fourier transforms, and the sound mark of test calls. `b2b-media` re-exports
//! `resample`; nothing else has a stability guarantee.
//!
//! - `resample`: any sampling rate to another, as a stream
//! - `fft`: transforms of real signals
//! - `mark`: tones that identify a call, and when they were sent
//!
//! The first two are in a separate crate to save compile time: rustfft is generic, and every crate
//! that makes a plan compiles all of its butterflies, which would be four tenths of `media`.

#[doc(hidden)]
pub mod fft;
#[doc(hidden)]
pub mod mark;
pub mod resample;
