//! A timeline for readers: a ladder for people, JSON for programs.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Body, Kind, LegId, NO_LEG, Record, Timeline, Utterance, Way};
use crate::CallId;
use crate::event::rfc3339;
use b2b_sip::msg::phrase;

/// The width of an arrow between a party and b2b, in columns.
const LANE: usize = 32;

/// A view of a timeline. `Display` is a ladder, `Serialize` the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = CallTimeline))]
pub struct TimelineView<'a> {
    pub call: CallId,
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub began: SystemTime,
    /// The first one is leg A.
    pub legs: Vec<LegView<'a>>,
    pub records: Vec<RecordView<'a>>,
    /// The number of records left out, and after how many records.
    pub left_out: u32,
    pub left_out_after: usize,
}

/// A leg in a timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = TimelineLeg))]
pub struct LegView<'a> {
    pub leg: LegId,
    pub name: &'a str,
}

/// A record in a timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = TimelineRecord))]
pub struct RecordView<'a> {
    /// The time since the beginning of the call.
    pub at_ms: f64,
    /// `None`: the call, or a leg without a name.
    pub leg: Option<LegId>,
    #[serde(flatten)]
    pub what: What<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub note: &'a str,
    /// How often it happened, if more than once.
    #[serde(skip_serializing_if = "is_one")]
    pub times: u16,
}

fn is_one(times: &u16) -> bool {
    *times == 1
}

/// The subject of a record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = RecordKind))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What<'a> {
    Signal {
        way: Way,
        method: &'a str,
        status: Option<u16>,
        body: Body,
    },
    Media {
        fact: &'a str,
    },
    Decision {
        what: &'a str,
    },
    State {
        state: &'a str,
    },
    /// What a voice agent said in one go; `leg` is the party.
    Utterance(Utterance),
}

impl Timeline {
    /// The timeline for readers.
    pub fn view(&self) -> TimelineView<'_> {
        let text = |id| self.texts.get(id);
        let mut utterances = self.utterances.iter();
        let mut utterance = || utterances.next().copied().unwrap_or(Utterance::begun(0, None));
        let record = |record: &Record| RecordView {
            at_ms: record.at_us as f64 / 1_000.0,
            leg: self.legs.get(usize::from(record.leg)).map(|(leg, _)| *leg),
            what: match record.kind {
                Kind::Signal { way, body, method, status } => {
                    What::Signal { way, method: text(method), status: (status != 0).then_some(status), body }
                }
                Kind::Media(fact) => What::Media { fact: text(fact) },
                Kind::Decision(what) => What::Decision { what: text(what) },
                Kind::State(state) => What::State { state: text(state) },
                Kind::Utterance => What::Utterance(utterance()),
            },
            times: record.times,
            note: match (record.leg, text(record.note)) {
                (leg, "") if usize::from(leg) >= self.legs.len() && leg != NO_LEG => "another leg",
                (_, note) => note,
            },
        };
        TimelineView {
            call: self.call,
            began: self.began,
            legs: self.legs.iter().map(|(leg, name)| LegView { leg: *leg, name: text(*name) }).collect(),
            records: self.head.iter().chain(&self.tail).map(record).collect(),
            left_out: self.left_out,
            left_out_after: self.head.len(),
        }
    }
}

/// A ladder: leg A on the left, b2b in the middle, every other leg on the right.
impl Display for TimelineView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "call {}, {}", self.call.0, humantime::format_rfc3339_millis(self.began))?;
        for leg in &self.legs {
            writeln!(f, "  leg {}: {}", leg.leg.0, leg.name)?;
        }
        let first = self.legs.first().map(|leg| leg.leg);
        let left = first.map_or("A".to_owned(), |leg| format!("leg {}", leg.0));
        writeln!(f, "\n{:>12}  {left:<w$}{:<w$}others", "seconds", "b2b", w = LANE + 1)?;
        for (at, record) in self.records.iter().enumerate() {
            if at == self.left_out_after && self.left_out > 0 {
                writeln!(f, "{:>12}  {} records left out", "…", self.left_out)?;
            }
            write!(f, "{:>12.3}  ", Duration::from_micros((record.at_ms * 1_000.0) as u64).as_secs_f64())?;
            match record.what {
                What::Signal { way, method, status, body } => {
                    let label = label(method, status, body);
                    self.arrow(f, record, first, way, &label)?;
                }
                What::Media { fact } => self.remark(f, record, '~', fact)?,
                What::Decision { what } => self.remark(f, record, '*', what)?,
                What::State { state } => self.remark(f, record, '=', state)?,
                What::Utterance(it) => self.remark(f, record, '"', &format!("agent speaks: {it}"))?,
            }
        }
        Ok(())
    }
}

impl TimelineView<'_> {
    fn arrow(
        &self,
        f: &mut fmt::Formatter<'_>,
        record: &RecordView<'_>,
        first: Option<LegId>,
        way: Way,
        label: &str,
    ) -> fmt::Result {
        let is_left = record.leg.is_some() && record.leg == first;
        let to_right = is_left == (way == Way::In);
        let label = if label.chars().count() > LANE - 6 {
            label.chars().take(LANE - 6).collect()
        } else {
            label.to_owned()
        };
        let arrow = match to_right {
            true => format!("{:-<w$}>", format!("-- {label} "), w = LANE - 1),
            false => format!("<{:-<w$}", format!("-- {label} "), w = LANE - 1),
        };
        match is_left {
            true => write!(f, "|{arrow}|{:w$}|", "", w = LANE)?,
            false => write!(f, "|{:w$}|{arrow}|", "", w = LANE)?,
        }
        if let (false, Some(leg)) = (is_left, record.leg) {
            write!(f, " leg {}", leg.0)?;
        }
        match record.note {
            "" => writeln!(f),
            note => writeln!(f, " {note}"),
        }
    }

    fn remark(
        &self,
        f: &mut fmt::Formatter<'_>,
        record: &RecordView<'_>,
        mark: char,
        text: &str,
    ) -> fmt::Result {
        write!(f, "|{:w$}{mark} ", "", w = LANE)?;
        if let Some(leg) = record.leg {
            write!(f, "leg {} ", leg.0)?;
        }
        match record.note {
            "" => write!(f, "{text}")?,
            note => write!(f, "{text}: {note}")?,
        }
        match record.times {
            1 => writeln!(f),
            times => writeln!(f, " ({times} times)"),
        }
    }
}

/// `INVITE (offer)`, `180 Ringing`, `200 OK (BYE)`.
fn label(method: &str, status: Option<u16>, body: Body) -> String {
    let body = match body {
        Body::None => "",
        Body::Offer => "offer",
        Body::Answer => "answer",
        Body::Other => "body",
    };
    let (text, extra) = match status {
        None => (method.to_owned(), [body, ""]),
        Some(status) => {
            let of = if method == "INVITE" { "" } else { method };
            (format!("{status} {}", phrase(status)), [of, body])
        }
    };
    let extra: Vec<&str> = extra.into_iter().filter(|word| !word.is_empty()).collect();
    if extra.is_empty() { text } else { format!("{text} ({})", extra.join(", ")) }
}
