//! A histogram as text, for load.json: base64 of the compressed V2 format, which the HdrHistogram tools read
//! too.

use std::collections::BTreeMap;
use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

/// Why a histogram cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// Not base64.
    #[error("not base64: {0}")]
    Text(#[from] base64::DecodeError),
    /// Not a histogram.
    #[error("not a histogram: {0}")]
    Form(#[from] hdrhistogram::serialization::DeserializeError),
}

/// A histogram as text; empty if it has no values.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut octets = Vec::new();
    // it writes into memory, and no value exceeds the format
    let written = V2DeflateSerializer::new().serialize(histogram, &mut octets);
    match written {
        Ok(_) if !histogram.is_empty() => STANDARD.encode(octets),
        _ => String::new(),
    }
}

/// The values and their counts.
///
/// # Errors
/// The text was not written by [`text`].
pub fn counts(text: &str) -> Result<Vec<(u64, u64)>, HistogramError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let octets = STANDARD.decode(text)?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut Cursor::new(octets))?;
    Ok(histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect())
}

/// A histogram of small numbers.
pub fn of(counts: &BTreeMap<u32, u64>) -> Histogram<u64> {
    // the number of digits is valid
    let mut histogram = Histogram::new(3).unwrap_or_else(|error| unreachable!("{error}"));
    for (value, count) in counts {
        // the range grows with the largest value
        let _ = histogram.record_n(u64::from(*value), *count);
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let counts_of = BTreeMap::from([(105, 3), (440, 17)]);
        assert_eq!(counts(&text(&of(&counts_of))).unwrap(), [(105, 3), (440, 17)]);
        assert_eq!(counts(&text(&of(&BTreeMap::new()))).unwrap(), []);
        assert!(matches!(counts("§"), Err(HistogramError::Text(_))));
        assert!(matches!(counts("AAAA"), Err(HistogramError::Form(_))));
    }
}
