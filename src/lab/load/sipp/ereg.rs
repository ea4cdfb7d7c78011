//! Searches of the last message.

use std::borrow::Cow;

use super::known::{Known, body_of};
use super::scenario::{Ereg, SearchIn};
use b2b_sip::msg::{Message, Name};

/// Searches for an expression, and stores the match.
///
/// # Errors
/// A match is missing although required, or the other way round.
pub fn search(ereg: &Ereg, known: &mut Known) -> Result<(), String> {
    let text = known.last.as_ref().and_then(|last| place(&ereg.search_in, last));
    let found = text.as_deref().and_then(|text| ereg.regex.captures(text));
    let is_there = found.is_some();
    for (n, variable) in ereg.assign_to.iter().enumerate() {
        let group = found.as_ref().and_then(|found| found.get(n)).map(|group| group.as_bytes().to_vec());
        if let Some(variable) = known.variables.get_mut(*variable) {
            *variable = group;
        }
    }
    match ereg.check {
        Some(wanted) if wanted != is_there => {
            let not = if wanted { "not " } else { "" };
            Err(format!("line {}: the expression {:?} is {not}there", ereg.line, ereg.regex.as_str()))
        }
        _ => Ok(()),
    }
}

/// The part of a message to search.
fn place<'a>(search_in: &SearchIn, message: &'a Message) -> Option<Cow<'a, [u8]>> {
    match search_in {
        SearchIn::Message => Some(Cow::Borrowed(message.as_bytes())),
        SearchIn::Body => Some(Cow::Owned(body_of(message).to_vec())),
        SearchIn::Header { name, occurrence, trimmed } => {
            let wanted = Name::parse(name.as_bytes());
            let mut fields = message.fields().zip(message.lines()).filter(|((name, _), _)| *name == wanted);
            let (_, line) = fields.nth(*occurrence)?;
            let at = memchr::memchr(b':', line)? + 1;
            let value = line.get(at..)?.trim_ascii_end();
            Some(Cow::Borrowed(if *trimmed { value.trim_ascii_start() } else { value }))
        }
    }
}
