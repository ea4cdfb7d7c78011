//! Bencode, the encoding of the `ng` protocol: integers, octets, lists, dictionaries.
//!
//! Implemented here because, of the crates, `serde_bencode` has been dormant since 2023, and neither it nor
//! `bt_bencode` limits the recursion depth that a datagram can cause.

use std::fmt;

/// Maximum nesting: deeper than any reply of rtpengine.
const DEEPEST: usize = 16;

/// A bencoded value. Octets need not be text.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Int(i64),
    Octets(Vec<u8>),
    List(Vec<Value>),
    /// Sorted by key.
    Dict(Vec<(Vec<u8>, Value)>),
}

/// Why octets are not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    #[error("it ends in the middle of a value")]
    Short,
    #[error("unexpected octet {0}")]
    Unexpected(usize),
    #[error("it is nested more than {DEEPEST} deep")]
    Deep,
    #[error("data follows the value")]
    Trailing,
}

impl Value {
    /// A dictionary; the keys may come in any order.
    pub fn dict<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
        let mut entries: Vec<(Vec<u8>, Value)> =
            entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Value::Dict(entries)
    }

    /// A list of strings.
    pub fn texts(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| Value::from(*text)).collect())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Dict(entries) => {
                entries.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The entry of a list at this place.
    pub fn at(&self, place: usize) -> Option<&Value> {
        match self {
            Value::List(values) => values.get(place),
            _ => None,
        }
    }

    /// The value as octets.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Value::Octets(octets) => Some(octets),
            _ => None,
        }
    }

    /// The value as text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.octets()?).ok()
    }

    /// The value as an integer.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Encodes the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Int(value) => out.extend_from_slice(format!("i{value}e").as_bytes()),
            Value::Octets(octets) => encode_octets(octets, out),
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.encode(out));
                out.push(b'e');
            }
            Value::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    encode_octets(key, out);
                    value.encode(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Decodes a value that takes up all octets.
    ///
    /// # Errors
    /// See [`BencodeError`].
    pub fn decode(octets: &[u8]) -> Result<Value, BencodeError> {
        let mut reader = Reader { octets, at: 0 };
        let value = reader.value(0)?;
        if reader.at == octets.len() { Ok(value) } else { Err(BencodeError::Trailing) }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Octets(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Octets(octets) => write!(f, "{:?}", String::from_utf8_lossy(octets)),
            Value::List(values) => f.debug_list().entries(values).finish(),
            Value::Dict(entries) => {
                let entries = entries.iter().map(|(key, value)| (String::from_utf8_lossy(key), value));
                f.debug_map().entries(entries).finish()
            }
        }
    }
}

fn encode_octets(octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{}:", octets.len()).as_bytes());
    out.extend_from_slice(octets);
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Result<u8, BencodeError> {
        self.octets.get(self.at).copied().ok_or(BencodeError::Short)
    }

    fn value(&mut self, depth: usize) -> Result<Value, BencodeError> {
        if depth > DEEPEST {
            return Err(BencodeError::Deep);
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                self.int(b'e').map(Value::Int)
            }
            b'l' => {
                self.at += 1;
                let mut values = Vec::new();
                while self.peek()? != b'e' {
                    values.push(self.value(depth + 1)?);
                }
                self.at += 1;
                Ok(Value::List(values))
            }
            b'd' => {
                self.at += 1;
                let mut entries = Vec::new();
                while self.peek()? != b'e' {
                    entries.push((self.string()?, self.value(depth + 1)?));
                }
                self.at += 1;
                Ok(Value::Dict(entries))
            }
            _ => self.string().map(Value::Octets),
        }
    }

    /// Reads a number, including the `end` after it.
    fn int(&mut self, end: u8) -> Result<i64, BencodeError> {
        let rest = self.octets.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(end, rest).ok_or(BencodeError::Short)?;
        let number = std::str::from_utf8(&rest[..length]).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or(BencodeError::Unexpected(self.at))?;
        self.at += length + 1;
        Ok(number)
    }

    fn string(&mut self) -> Result<Vec<u8>, BencodeError> {
        let begin = self.at;
        if !self.peek()?.is_ascii_digit() {
            return Err(BencodeError::Unexpected(begin));
        }
        let length = usize::try_from(self.int(b':')?).map_err(|_| BencodeError::Unexpected(begin))?;
        let end = self.at.checked_add(length).ok_or(BencodeError::Short)?;
        let octets = self.octets.get(self.at..end).ok_or(BencodeError::Short)?;
        self.at = end;
        Ok(octets.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let value = Value::dict([
            ("sdp", Value::Octets(vec![0xFF, b':', 0])),
            ("command", "offer".into()),
            ("flags", Value::texts(&["a", ""])),
            ("delay", Value::Int(-3)),
            ("none", Value::dict([])),
        ]);
        let mut octets = Vec::new();
        value.encode(&mut octets);
        assert!(octets.starts_with(b"d7:command5:offer5:delayi-3e5:flagsl1:a0:e4:nonede3:sdp3:"));
        assert_eq!(Value::decode(&octets), Ok(value));
        for end in 0..octets.len() {
            assert_eq!(Value::decode(&octets[..end]), Err(BencodeError::Short), "{end} octets");
        }
    }

    #[test]
    fn what_is_no_value_is_refused_and_never_runs_away() {
        for (octets, error) in [
            (&b""[..], BencodeError::Short),
            (b"x", BencodeError::Unexpected(0)),
            (b"i1x2e", BencodeError::Unexpected(1)),
            (b"ie", BencodeError::Unexpected(1)),
            (b"-1:a", BencodeError::Unexpected(0)),
            (b"99999999999999999999:a", BencodeError::Unexpected(0)),
            (b"9223372036854775807:a", BencodeError::Short),
            (b"di1e1:ae", BencodeError::Unexpected(1)),
            (b"i1ei2e", BencodeError::Trailing),
            (&[b'l'; 60_000], BencodeError::Deep),
        ] {
            assert_eq!(Value::decode(octets), Err(error), "{:?}", String::from_utf8_lossy(octets));
        }
    }
}
