//! The parties that have forwarded a call: Diversion (RFC 5806), History-Info (RFC 7044), and their mapping
//! to each other (RFC 7544).

use std::sync::Arc;

use b2b_sip::msg::number::Ours;
use b2b_sip::msg::{Name, NameAddr, Request};
use serde::{Deserialize, Deserializer};

/// The reasons for a diversion (RFC 5806 §4), each with its cause (RFC 4458 §6).
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

/// Maximum number of diversions of one call that are read and written: more indicate a loop.
pub const MOST: usize = 8;

/// A known reason of RFC 5806 §4. An alias, since `serde` would borrow a `&str`.
pub type ReasonWord = &'static str;

/// A diversion of a call by one party.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Diversion {
    /// The number that was called.
    pub number: String,
    /// The reason (RFC 5806 §4).
    #[serde(deserialize_with = "known_word")]
    pub reason: ReasonWord,
}

/// A redirection (3xx) of a call: from there on it is a call of the redirecting party.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Diverted {
    /// The redirecting user: the call counts as one of theirs.
    pub user: Option<Arc<str>>,
    /// The number that was called, as shown to others.
    pub number: String,
    /// The reason, as in RFC 5806.
    #[serde(deserialize_with = "known_word")]
    pub reason: ReasonWord,
    /// The route of the redirected call.
    pub route: Option<String>,
    /// The redirection before this one.
    pub before: Option<Arc<Diverted>>,
}

impl Diverted {
    /// This redirection and the earlier ones, latest first.
    pub fn all(&self) -> impl Iterator<Item = &Diverted> {
        std::iter::successors(Some(self), |it| it.before.as_deref())
    }
}

/// The known reason with this name.
pub fn reason(word: &str) -> Option<&'static str> {
    let word = word.split(',').next().unwrap_or_default().trim().trim_matches('"');
    REASONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(known, _)| *known)
}

/// Deserializes a reason.
pub(crate) fn known_word<'de, D: Deserializer<'de>>(word: D) -> Result<&'static str, D::Error> {
    Ok(reason(&String::deserialize(word)?).unwrap_or_default())
}

/// The reason for a cause (RFC 4458 §6).
fn reason_of(cause: u16) -> &'static str {
    match cause {
        487 => "deflection",
        404 => "unknown",
        cause => REASONS.iter().find(|(_, it)| *it == cause).map_or("unknown", |(word, _)| word),
    }
}

/// The reason after this status of the earlier targets; `None`: there were none.
pub fn after(status: Option<u16>) -> &'static str {
    match status {
        None => "unconditional",
        Some(486 | 600) => "user-busy",
        Some(408 | 480 | 487) => "no-answer",
        Some(_) => "unavailable",
    }
}

/// The cause for a reason.
fn cause_of(reason: &str) -> u16 {
    REASONS.iter().find(|(word, _)| *word == reason).map_or(404, |(_, cause)| *cause)
}

/// The diversions in an INVITE, latest first, without private ones. Diversion takes precedence; History-Info
/// is read only without it.
pub fn read(request: &Request, ours: &dyn Ours) -> Vec<Diversion> {
    let mut found = diversions(request, ours);
    if found.is_empty() {
        found = history(request, ours);
    }
    found.truncate(MOST);
    found
}

fn diversions(request: &Request, ours: &dyn Ours) -> Vec<Diversion> {
    let values = request.headers(Name::Diversion).filter_map(NameAddr::parse);
    let shown = |it: &NameAddr<'_>| {
        it.params.value("privacy").is_none_or(|privacy| privacy.eq_ignore_ascii_case(b"off"))
    };
    let read = |it: NameAddr<'_>| {
        let word = String::from_utf8_lossy(it.params.value("reason").unwrap_or_default()).into_owned();
        Some(Diversion { number: it.uri.number(ours)?, reason: reason(&word).unwrap_or("unknown") })
    };
    values.filter(shown).filter_map(read).collect()
}

/// An entry followed by one with a cause is a party that forwarded the call (RFC 7544 §3).
fn history(request: &Request, ours: &dyn Ours) -> Vec<Diversion> {
    let entries: Vec<_> = request.headers(Name::HistoryInfo).filter_map(NameAddr::parse).collect();
    let private = |it: &NameAddr<'_>| {
        let fields = it.uri.headers.unwrap_or_default().split(|byte| *byte == b'&');
        fields.into_iter().any(|field| field.len() > 8 && field[..8].eq_ignore_ascii_case(b"privacy="))
    };
    let pairs = entries.iter().zip(entries.iter().skip(1));
    let forwarded = pairs.filter_map(|(from, to)| {
        let cause: u16 = std::str::from_utf8(to.uri.params.value("cause")?).ok()?.parse().ok()?;
        let number = from.uri.number(ours).filter(|_| !private(from))?;
        Some(Diversion { number, reason: reason_of(cause) })
    });
    let mut forwarded: Vec<_> = forwarded.collect();
    forwarded.reverse();
    forwarded
}

/// A Diversion value; `uri`: that of the forwarding party.
pub fn written(uri: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { "unknown" } else { reason };
    format!("<{uri}>;reason={reason}")
}

/// The History-Info values for the forwarding parties (their URIs and reasons, latest first) and the current
/// target, without parameters.
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
