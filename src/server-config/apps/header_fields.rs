//! The key `headers`: header fields of our HTTP requests.

use crate::texts::field_value;
use crate::{ConfigError, Secret};
use b2b_config::section::Section;

/// Header fields that every request sets itself, and the one that `token` sets.
const OURS: [&str; 4] = ["host", "authorization", "content-length", "transfer-encoding"];
/// Maximum header fields of one request.
const MOST: usize = 16;

/// Reads fields that can be sent, and are not among `ours`; no error shows a value.
pub(super) fn header_fields(
    section: &Section<'_>,
    ours: &[&str],
) -> Result<Vec<(String, Secret)>, ConfigError> {
    let pairs = section.pairs("headers")?;
    let wrong = |at, name: &str, why: &str| Err(section.bad("headers", at, name, why));
    if let Some((name, text)) = pairs.get(MOST) {
        return wrong(text.at, name, "too many header fields; the limit is 16");
    }
    let mut found = Vec::with_capacity(pairs.len());
    for (name, text) in pairs {
        // RFC 9110 §5.6.2.
        let token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
        if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
            return wrong(text.at, &name, "it is not a header field name");
        }
        let lower = name.to_ascii_lowercase();
        if OURS.contains(&lower.as_str()) || ours.contains(&lower.as_str()) {
            return wrong(text.at, &name, "b2b writes this field itself; use token for Authorization");
        }
        if let Err(why) = field_value(&text.text) {
            return wrong(text.at, &name, &why);
        }
        found.push((name, Secret::new(text.text)));
    }
    Ok(found)
}
