//! Any sampling rate to 8 kHz.

/// How to resample (`--resampler`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Band-limited: a windowed sinc applied in the frequency domain.
    #[default]
    Sinc,
    /// Straight lines between samples: cheap, and it aliases.
    Linear,
}
