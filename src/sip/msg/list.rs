//! Comma-separated lists in header fields (RFC 3261 §7.3.1).

use super::chars;

/// Whether a list of tokens contains this one. What begins with its first letter is looked at, since most
/// tokens do not.
pub(super) fn lists(list: &[u8], token: &[u8]) -> bool {
    let Some(first) = token.first() else { return false };
    let mut starts = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), list);
    starts.any(|at| {
        let is_edge = |octet: Option<&u8>| octet.is_none_or(|octet| *octet == b',');
        let (before, rest) = list.split_at(at);
        rest.split_at_checked(token.len()).is_some_and(|(word, after)| {
            word.eq_ignore_ascii_case(token)
                && is_edge(chars::trim_start(after).first())
                && is_edge(chars::trim_end(before).last())
        })
    })
}

/// The elements of a list outside the header fields of a message.
pub fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    Elements { rest: Some(list), list: true }
}

/// The elements of a comma-separated list. Commas in quoted strings and in angle brackets do
/// not separate.
pub(super) struct Elements<'a> {
    pub rest: Option<&'a [u8]>,
    pub list: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if !self.list {
            return self.rest.take();
        }
        loop {
            let rest = self.rest?;
            let comma = element_len(rest);
            let element = chars::trim(&rest[..comma]);
            self.rest = rest.get(comma + 1..);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

fn element_len(list: &[u8]) -> usize {
    if memchr::memchr(b',', list).is_none() {
        return list.len();
    }
    let mut at = 0;
    while let Some(found) = list.get(at..).and_then(|rest| memchr::memchr3(b',', b'"', b'<', rest)) {
        let found = at + found;
        let skipped = match list[found] {
            b',' => return found,
            b'"' => chars::quoted_string_len(&list[found..]),
            _ => memchr::memchr(b'>', &list[found..]).map(|end| end + 1),
        };
        // An unclosed quote or bracket stays in the element; its parser rejects it.
        let Some(skipped) = skipped else { break };
        at = found + skipped;
    }
    list.len()
}
