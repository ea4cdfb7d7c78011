//! In-band DTMF (ITU-T Q.23, Q.24).
//!
//! - `sequence`: parses `--dtmf-seq`
//! - `generator`: a repeated digit sequence as tones; `tone`: one digit
//! - `goertzel`: the power of one frequency
//! - `detector`: detects digits, also below speech; `line`: detects short digits, for calls; `cut`:
//!   removes them

mod cut;
mod detector;
#[cfg(test)]
mod detector_tests;
mod generator;
mod goertzel;
mod line;
#[cfg(test)]
mod line_tests;
mod sequence;
mod tone;

pub use cut::ToneCutter;
pub use detector::{Detector, Heard};
pub use generator::Generator;
pub use goertzel::goertzel;
pub use line::LineDetector;
pub use sequence::{Sequence, SequenceError};
pub use tone::Tone;

/// Frequencies of the keypad's rows, Hz (Q.23).
pub const ROW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// Frequencies of its columns, Hz.
pub const COLUMN_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The digits, by row and column.
pub const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The frequencies of a digit (row, column), Hz; `None` for any other character.
pub fn frequencies(digit: char) -> Option<(f64, f64)> {
    KEYPAD.iter().zip(ROW_HZ).find_map(|(row, row_hz)| {
        let column = row.iter().position(|&key| key == digit)?;
        Some((row_hz, COLUMN_HZ[column]))
    })
}
