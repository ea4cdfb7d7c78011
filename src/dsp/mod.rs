//! Resampling, Fourier transforms, and the sound mark of test calls. `b2b-media` shows `resample` as its own; nothing
//! else is promised.
//!
//! - `resample`: any sampling rate to another, as a stream
//! - `fft`: transforms of real signals
//! - `mark`: tones that say which call is heard, and when it was said
//!
//! The first two stand in a crate of their own for the compiler's sake: rustfft is generic, and whoever makes a plan
//! compiles all of its butterflies, which are four tenths of what `media` would be.

#[doc(hidden)]
pub mod fft;
#[doc(hidden)]
pub mod mark;
pub mod resample;
