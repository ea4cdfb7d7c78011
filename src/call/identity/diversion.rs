//! Who has forwarded a call: Diversion (RFC 5806), History-Info (RFC 7044), and what each is to
//! the other (RFC 7544).

use b2b_sip::msg::{Name, NameAddr, Request};
use serde::{Deserialize, Deserializer};

use super::number_of;

/// Why a call is diverted, in the words of RFC 5806 §4, and the cause of RFC 4458 §6 for each.
const REASONS: [(&str, u16); 11] = [
    ("unconditional", 302),
    ("no-answer", 408),
    ("user-busy", 486),
    ("unavailable", 503),
    ("time-of-day", 404),
    ("do-not-disturb", 404),
    ("deflection", 480),
    ("follow-me", 404),
    ("out-of-service", 404),
    ("away", 404),
    ("unknown", 404),
];

/// Diversions that are read of one call, and written: more is a loop.
pub const MOST: usize = 8;

/// A word of RFC 5806 §4, one of those that are known. A name of its own, since `serde` would borrow a `&str`.
pub type ReasonWord = &'static str;

/// Somebody has forwarded a call.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Diversion {
    /// The number that was called.
    pub number: String,
    /// A word of RFC 5806 §4.
    #[serde(deserialize_with = "known_word")]
    pub reason: ReasonWord,
}

/// A known word for why a call is diverted.
pub fn reason(word: &str) -> Option<&'static str> {
    let word = word.split(',').next().unwrap_or_default().trim().trim_matches('"');
    REASONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(known, _)| *known)
}

/// A word that was written down.
pub(crate) fn known_word<'de, D: Deserializer<'de>>(word: D) -> Result<&'static str, D::Error> {
    Ok(reason(&String::deserialize(word)?).unwrap_or_default())
}

/// The word for a cause (RFC 4458 §6).
fn reason_of(cause: u16) -> &'static str {
    match cause {
        487 => "deflection",
        404 => "unknown",
        cause => REASONS.iter().find(|(_, it)| *it == cause).map_or("unknown", |(word, _)| word),
    }
}

/// The word for what came of those who were called before; none: nobody was.
pub fn after(status: Option<u16>) -> &'static str {
    match status {
        None => "unconditional",
        Some(486 | 600) => "user-busy",
        Some(408 | 480 | 487) => "no-answer",
        Some(_) => "unavailable",
    }
}

/// The cause for a word.
fn cause_of(reason: &str) -> u16 {
    REASONS.iter().find(|(word, _)| *word == reason).map_or(404, |(_, cause)| *cause)
}

/// What an INVITE says of who has forwarded it, the last one first; who wants to stay unknown is left
/// out. Diversion counts, and History-Info where there is none.
pub fn read(request: &Request) -> Vec<Diversion> {
    let mut found = diversions(request);
    if found.is_empty() {
        found = history(request);
    }
    found.truncate(MOST);
    found
}

fn diversions(request: &Request) -> Vec<Diversion> {
    let values = request.headers(Name::Diversion).filter_map(NameAddr::parse);
    let shown = |it: &NameAddr<'_>| {
        it.params.value("privacy").is_none_or(|privacy| privacy.eq_ignore_ascii_case(b"off"))
    };
    let read = |it: NameAddr<'_>| {
        let word = String::from_utf8_lossy(it.params.value("reason").unwrap_or_default()).into_owned();
        Some(Diversion { number: number_of(&it.uri)?, reason: reason(&word).unwrap_or("unknown") })
    };
    values.filter(shown).filter_map(read).collect()
}

/// An entry that leads to one with a cause is who has forwarded the call (RFC 7544 §3).
fn history(request: &Request) -> Vec<Diversion> {
    let entries: Vec<_> = request.headers(Name::HistoryInfo).filter_map(NameAddr::parse).collect();
    let private = |it: &NameAddr<'_>| {
        let fields = it.uri.headers.unwrap_or_default().split(|byte| *byte == b'&');
        fields.into_iter().any(|field| field.len() > 8 && field[..8].eq_ignore_ascii_case(b"privacy="))
    };
    let pairs = entries.iter().zip(entries.iter().skip(1));
    let forwarded = pairs.filter_map(|(from, to)| {
        let cause: u16 = std::str::from_utf8(to.uri.params.value("cause")?).ok()?.parse().ok()?;
        let number = number_of(&from.uri).filter(|_| !private(from))?;
        Some(Diversion { number, reason: reason_of(cause) })
    });
    let mut forwarded: Vec<_> = forwarded.collect();
    forwarded.reverse();
    forwarded
}

/// A value of Diversion; `uri`: of who has forwarded the call.
pub fn written(uri: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { "unknown" } else { reason };
    format!("<{uri}>;reason={reason}")
}

/// The values of History-Info for those who have forwarded a call (their URIs and reasons, the last one
/// first), and the URI that it goes to now, without parameters.
pub fn as_history(forwarded: &[(String, &str)], target: &str) -> Vec<String> {
    let mut index = "1".to_owned();
    let mut values = Vec::with_capacity(forwarded.len() + 1);
    let mut cause: Option<u16> = None;
    let targets = forwarded.iter().rev().map(|(uri, reason)| (uri.as_str(), Some(*reason)));
    for (uri, reason) in targets.chain([(target, None)]) {
        values.push(match cause {
            None => format!("<{uri}>;index={index}"),
            Some(cause) => {
                let before = index.clone();
                index.push_str(".1");
                format!("<{uri};cause={cause}>;index={index};mp={before}")
            }
        });
        cause = reason.map(cause_of);
    }
    values
}
