//! Searches of a message.

use std::borrow::Cow;

use super::known::{Known, body_of};
use super::scenario::{Ereg, SearchIn};
use super::variables::Value;
use b2b_sip::msg::{Message, Name};

/// Searches for an expression, and stores the match. `sent`: the message that the step has sent; otherwise the
/// last received one is searched.
///
/// # Errors
/// A match is missing although required, or the other way round.
pub fn search(ereg: &Ereg, known: &mut Known, sent: Option<&Message>) -> Result<(), String> {
    let text = match &ereg.search_in {
        SearchIn::Variable(at) => Some(Cow::Owned(known.variables.text(*at).to_vec())),
        search_in => sent.or(known.last.as_ref()).and_then(|message| place(search_in, message)),
    };
    let found = text.as_deref().and_then(|text| ereg.regex.captures(text));
    let is_there = found.is_some();
    // Without a match the variables stay as they are.
    let groups = found.iter().flat_map(|found| {
        let text = |n: usize| found.get(n).map(|group| Value::Text(group.as_bytes().to_vec()));
        ereg.assign_to.iter().enumerate().map(move |(n, variable)| (*variable, text(n)))
    });
    for (variable, group) in groups.collect::<Vec<_>>() {
        known.variables.set(variable, group);
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
        SearchIn::Header { name, occurrence, behind_colon, trimmed } => {
            let wanted = Name::parse(name.as_bytes());
            let mut fields = message.fields().zip(message.lines()).filter(|((name, _), _)| *name == wanted);
            let (_, line) = fields.nth(*occurrence)?;
            let at = memchr::memchr(b':', line)? + usize::from(*behind_colon);
            let value = line.get(at..)?.trim_ascii_end();
            Some(Cow::Borrowed(if *trimmed { value.trim_ascii_start() } else { value }))
        }
        SearchIn::Variable(_) => None,
    }
}
