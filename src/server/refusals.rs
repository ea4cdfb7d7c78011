//! Log lines for refusals: their format and their rate limit. No I/O, no clock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use b2b_base::util::lines::is_unsafe;
use b2b_base::util::unheard;
use b2b_sip::known::network;
use b2b_sip::msg::phrase;

/// Period of the rate limit: in it, a source has this many lines of a kind; all sources together have [`ALL`].
const WINDOW: Duration = Duration::from_secs(60);
const EACH: u32 = 5;
const ALL: u32 = 100;
/// Maximum sources and kinds tracked; others share a window.
const MOST: usize = 1_024;
/// Maximum characters of text that a party has sent.
const LONG: usize = 80;

/// The kind of a line: method and status.
pub type Kind = (&'static str, u16);

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Refusals {
    each: HashMap<(Option<IpAddr>, Kind), Window>,
    all: Window,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    since: Option<SystemTime>,
    lines: u32,
    left_out: u64,
}

impl Window {
    fn is_over(&self, now: SystemTime) -> bool {
        // A clock that was set back starts a new window.
        self.since.is_none_or(|since| now.duration_since(since).map_or(true, |it| it >= WINDOW))
    }

    /// Whether there is room for another line.
    fn has_room(&mut self, now: SystemTime, most: u32) -> bool {
        if self.is_over(now) {
            (self.since, self.lines) = (Some(now), 0);
        }
        self.lines < most
    }
}

impl Refusals {
    /// Whether a line may be written; if so, how many were left out before it.
    pub fn line(&mut self, now: SystemTime, source: Option<IpAddr>, kind: Kind) -> Option<u64> {
        let mut key = (source.map(network), kind);
        if self.each.len() >= MOST && !self.each.contains_key(&key) {
            self.each.retain(|_, it| !it.is_over(now));
            if self.each.len() >= MOST {
                key = (None, ("", 0));
            }
        }
        let all = self.all.has_room(now, ALL);
        let it = self.each.entry(key).or_default();
        if !it.has_room(now, EACH) || !all {
            it.left_out += 1;
            return None;
        }
        it.lines += 1;
        self.all.lines += 1;
        Some(std::mem::take(&mut it.left_out))
    }

    /// Whether lines about this source are currently being left out.
    pub fn is_flood(&self, now: SystemTime, source: Option<IpAddr>) -> bool {
        let source = source.map(network);
        self.each.iter().any(|((from, _), it)| *from == source && it.left_out > 0 && !it.is_over(now))
    }
}

/// A refusal to log.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The refused operation, in our words: `call 7`, `REGISTER`.
    pub what: &'a str,
    /// The requester, as far as known; empty if unknown.
    pub who: &'a str,
    pub source: Option<SocketAddr>,
    /// The number called, or the address registered.
    pub to: &'a str,
    pub status: u16,
    /// Our words, or a party's in quotes: [`sentence`], [`said`].
    pub why: &'a str,
    /// Number of lines left out before this one.
    pub left_out: u64,
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.what)?;
        if !self.who.is_empty() {
            write!(f, " {}", quoted(self.who))?;
        }
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if !self.to.is_empty() {
            write!(f, " to {}", quoted(self.to))?;
        }
        write!(f, " refused with {}: {}", self.status, self.why)?;
        match self.left_out {
            0 => Ok(()),
            more => write!(f, " ({more} such lines before it were left out)"),
        }
    }
}

/// Text that a party has sent, as one word or in quotes, so that it cannot be taken for our own words.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "+-._*#@:/!?=;[]".contains(c);
    if !text.is_empty() && text.len() <= LONG && text.chars().all(is_plain) {
        return text.into();
    }
    cut(text, LONG)
}

/// A sentence of ours that may contain a party's words: quoted if it has quotes itself.
pub fn sentence(text: &str) -> Cow<'_, str> {
    let longest = 3 * LONG;
    match text.len() <= longest && !text.contains(|c: char| is_unsafe(c) || c == '"') {
        true => text.into(),
        false => cut(text, longest),
    }
}

/// A party's response: in quotes, if its words are its own.
pub fn said(status: u16, reason: &str) -> String {
    let text = unheard::in_words(status, reason);
    match reason.is_empty() || reason == phrase(status) || !text.starts_with(|c: char| c.is_ascii_digit()) {
        true => text,
        false => cut(&text, 3 * LONG).into_owned(),
    }
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let begins: String = text.chars().take(most).collect();
    let more = if begins.len() < text.len() { "…" } else { "" };
    format!("{begins:?}{more}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn words_of_a_party_that_has_refused_are_in_quotes() {
        assert_eq!(said(486, "Busy Here"), "486 Busy Here");
        assert_eq!(said(503, unheard::UNREACHABLE), unheard::UNREACHABLE);
        assert_eq!(said(486, "over after 9 s, 1001"), "\"486 over after 9 s, 1001\"");
        assert_eq!(said(603, "a\u{202e}b\x1b"), "\"603 a\\u{202e}b\\u{1b}\"");
        assert_eq!(sentence("blocked\u{2028}"), "\"blocked\\u{2028}\"");
    }

    fn ip(last: u32) -> Option<IpAddr> {
        Some(IpAddr::from(std::net::Ipv4Addr::from_bits(0xC000_0200 + last)))
    }

    #[test]
    fn a_source_has_a_few_lines_of_a_kind_in_a_while_and_what_is_left_out_is_counted() {
        let mut lines = Refusals::default();
        let said = (0..100).filter_map(|_| lines.line(at(0), ip(1), ("INVITE", 403))).count();
        assert_eq!(said, EACH as usize);
        assert!(lines.is_flood(at(1), ip(1)) && !lines.is_flood(at(1), ip(2)));
        assert_eq!(lines.line(at(1), ip(1), ("INVITE", 404)), Some(0), "another kind");
        assert_eq!(lines.line(at(1), ip(2), ("INVITE", 403)), Some(0), "another source");
        assert!(!lines.is_flood(at(60), ip(1)));
        assert_eq!(lines.line(at(60), ip(1), ("INVITE", 403)), Some(95));
        assert_eq!(lines.line(at(0), ip(1), ("INVITE", 403)), Some(0), "a clock that was put back");
    }

    #[test]
    fn many_sources_have_so_many_lines_together_and_so_much_room() {
        let mut lines = Refusals::default();
        let mut flood = |second: u64| {
            (0..10_000).filter_map(|n| lines.line(at(second), ip(n), ("REGISTER", 403))).count()
        };
        assert_eq!((flood(0), flood(60)), (ALL as usize, ALL as usize));
        assert!(lines.each.len() <= MOST + 1);
    }

    #[test]
    fn what_a_party_has_sent_stands_in_quotes_or_is_one_word() {
        let liar = Refusal {
            what: "call 7",
            who: "x\" from 192.0.2.1:5060 (REGISTER)",
            source: Some("192.0.2.9:5060".parse().unwrap()),
            to: "1\n2",
            status: 403,
            why: &sentence("192.0.2.3 is banned for 9 s, the last one \"x\""),
            left_out: 2,
        };
        assert_eq!(
            liar.to_string(),
            "call 7: \"x\\\" from 192.0.2.1:5060 (REGISTER)\" from 192.0.2.9:5060 to \"1\\n2\" refused with 403: \
             \"192.0.2.3 is banned for 9 s, the last one \\\"x\\\"\" (2 such lines before it were left out)"
        );
        let plain = Refusal {
            who: "user/1001",
            to: "9123",
            why: "blocked: 9123 is refused: 403",
            left_out: 0,
            ..liar
        };
        assert_eq!(
            plain.to_string(),
            "call 7: user/1001 from 192.0.2.9:5060 to 9123 refused with 403: blocked: 9123 is refused: 403"
        );
        assert_eq!(quoted(&"1".repeat(500)).chars().count(), LONG + 3);
    }
}
