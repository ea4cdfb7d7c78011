//! Payload types of two legs: which formats are the same, and their numbers in offers; likewise for header
//! extensions.

use std::rc::Rc;

use super::super::{NegotiateError, TELEPHONE_EVENT_PT, telephone_event};
use super::events::ToldEvents;
use super::{AudioRules, PairPolicy, Side};
use b2b_media::codec::Codec;
use b2b_sdp::{AudioMedia, ExtMap, Format};

/// Payload type under which we offer `telephone-event` beside Opus.
const WIDE_EVENT_PT: u8 = 110;

/// Whether packets of one format are valid in the other. Names, clock rates and channels must agree; of the
/// parameters only those that change the payload layout.
pub(super) fn same(one: &Format, other: &Format) -> bool {
    one.same_encoding(other) && layout(one) == layout(other)
}

/// `octet-align` of AMR (RFC 4867 §8.1). Not `mode` of iLBC: an answer may name another one than its offer, and both
/// sides then use the longer frames (RFC 3952 §5).
fn layout(format: &Format) -> Option<&str> {
    let encoding = format.encoding.as_str();
    if !encoding.eq_ignore_ascii_case("AMR") && !encoding.eq_ignore_ascii_case("AMR-WB") {
        return None;
    }
    let parameters = format.fmtp.as_deref().unwrap_or_default().split(';');
    let mut pairs = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    Some(pairs.find(|(key, _)| key.eq_ignore_ascii_case("octet-align")).map_or("0", |(_, value)| value))
}

/// Whether the format is speech: neither events nor comfort noise.
pub(super) fn is_speech(format: &Format) -> bool {
    !format.is_telephone_event() && !format.encoding.eq_ignore_ascii_case("CN")
}

/// Whether the format is comfort noise (RFC 3389) at the clock rate that we generate.
pub(super) fn is_noise(format: &Format) -> bool {
    format.is("CN", 8_000)
}

/// The codec of a format, if we can decode and encode it.
pub(super) fn codec(format: &Format) -> Option<Codec> {
    let named =
        |codec: &Codec| format.is(codec.name(), codec.clock_rate()) && format.channels == codec.channels();
    Codec::ALL.into_iter().find(named)
}

/// These codecs of ours as formats for a party with these rules.
fn ours(codecs: &[Codec], rules: &AudioRules) -> impl Iterator<Item = Format> {
    codecs.iter().map(|codec| Format {
        channels: codec.channels(),
        fmtp: rules.fmtp(*codec),
        ..Format::new(codec.payload_type(), codec.name(), codec.clock_rate())
    })
}

/// The formats of a side whose audio ends here, with events; with Opus also events at its clock rate (RFC
/// 4733 §2.1).
pub(super) fn ours_with_events(side: &Side) -> Vec<Format> {
    let codecs = side.own.as_ref().map_or(&Codec::ALL[..], |own| &own.codecs);
    let narrow = telephone_event(TELEPHONE_EVENT_PT);
    let wide = Format { payload_type: WIDE_EVENT_PT, clock_rate: 48_000, ..narrow.clone() };
    let wide = codecs.contains(&Codec::Opus).then_some(wide);
    ours(codecs, &side.audio).chain([narrow]).chain(wide).collect()
}

/// Removes events whose clock rate no speech format has (RFC 4733 §2.1); if that leaves none, those at 8,000
/// Hz are kept.
pub(super) fn keep_events_beside(formats: &mut Vec<Format>) {
    let clocks: Vec<u32> = formats.iter().filter(|it| is_speech(it)).map(|it| it.clock_rate).collect();
    let is_beside = |it: &Format| clocks.contains(&it.clock_rate);
    let any = formats.iter().any(|it| it.is_telephone_event() && is_beside(it));
    formats.retain(|it| !it.is_telephone_event() || is_beside(it) || !any && it.clock_rate == 8_000);
}

/// Adds the codecs that we can transcode to, as the policy permits, best first.
pub(super) fn add_ours(
    wanted: &mut Vec<Format>,
    offered: &[Format],
    policy: &PairPolicy,
    rules: &AudioRules,
) {
    let named = |names: &[String], format: &Format| {
        names.iter().position(|name| name.eq_ignore_ascii_case(&format.encoding))
    };
    let allowed = |names: &[String], format: &Format| names.is_empty() || named(names, format).is_some();
    let mut missing: Vec<Format> = ours(&Codec::ALL, rules)
        .filter(|ours| allowed(&policy.codecs, ours) && allowed(&policy.additions, ours))
        .filter(|ours| !wanted.iter().any(|format| same(format, ours)))
        .collect();
    missing.sort_by_key(|format| named(&policy.additions, format));
    wanted.extend(missing);
    add_events(wanted, offered);
}

/// Offers `telephone-event` at 8,000 Hz if the offerer has it at another clock rate and we have added codecs
/// of 8,000 Hz. No other clock rate is added: PBXs renumber a second `telephone-event` that was not asked
/// for, and digits get lost between the two numbers.
fn add_events(wanted: &mut Vec<Format>, offered: &[Format]) {
    let Some(like) = offered.iter().find(|format| format.is_telephone_event()) else { return };
    let clock_rate = telephone_event(TELEPHONE_EVENT_PT).clock_rate;
    let is_added = |format: &&Format| {
        is_speech(format)
            && format.clock_rate == clock_rate
            && !offered.iter().any(|offered| same(offered, format))
    };
    let has_events = |format: &Format| format.is_telephone_event() && format.clock_rate == clock_rate;
    if wanted.iter().any(|format| is_added(&format)) && !wanted.iter().any(has_events) {
        wanted.push(Format { payload_type: TELEPHONE_EVENT_PT, clock_rate, ..like.clone() });
    }
}

/// Offers events if there are none, in addition to what is offered already.
pub(super) fn offer_events(offered: &mut Vec<Format>, known: &[Format]) {
    if !offered.iter().any(Format::is_telephone_event) {
        offered.push(telephone_event(TELEPHONE_EVENT_PT));
        *offered = number(std::mem::take(offered), known, Numbers::Known);
    }
}

/// Adds events to an answer that has none, if the offer has some.
pub(super) fn answer_events(answered: &mut Vec<Format>, offered: &[Format]) {
    let clock_rate = answered.first().map_or(8_000, |format| format.clock_rate);
    if !answered.iter().any(Format::is_telephone_event) {
        answered.extend(events(offered, clock_rate).cloned());
    }
}

/// The events for a codec of a description, at its clock rate if possible.
pub(super) fn events(formats: &[Format], clock_rate: u32) -> Option<&Format> {
    let mut events = formats.iter().filter(|format| format.is_telephone_event());
    events.clone().find(|format| format.clock_rate == clock_rate).or_else(|| events.next())
}

/// The events that both descriptions of a leg have, as it takes them: at this clock rate, otherwise at 8,000
/// Hz.
pub(super) fn shared_events<'a>(
    told: &AudioMedia,
    own: &'a AudioMedia,
    clock_rate: u32,
) -> Option<&'a Format> {
    [clock_rate, 8_000].into_iter().find_map(|rate| told.telephone_event(rate).and(own.telephone_event(rate)))
}

/// Adds the payload types that a party names for formats that it was told under others: many send under them
/// (against RFC 3264 §6.1). One with another meaning towards this leg is left out.
pub(super) fn add_named(told: &mut Rc<AudioMedia>, own: &AudioMedia, events: &ToldEvents) {
    let is_taken = |number: u8| {
        told.format(number).is_some() || events.formats().any(|format| format.payload_type == number)
    };
    let is_told = |format: &Format| told.formats.iter().any(|told| same(told, format));
    let named: Vec<Format> =
        own.formats.iter().filter(|it| !is_taken(it.payload_type) && is_told(it)).cloned().collect();
    if !named.is_empty() {
        Rc::make_mut(told).formats.extend(named);
    }
}

/// Which payload type a format gets towards a leg, if there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// The one that it has there already.
    Known,
    /// The one that it comes with: for packets that are not changed on the way.
    Own,
}

/// Assigns a payload type to each format towards a leg: the one that it has there already, otherwise its own,
/// otherwise a free dynamic one; with [`Numbers::Own`] its own comes first. A payload type never changes its
/// meaning within a session (RFC 3264 §8.3.2), though a format may have several. Formats for which none is
/// free are left out.
pub(super) fn number(wanted: Vec<Format>, known: &[Format], numbers: Numbers) -> Vec<Format> {
    let mut numbered: Vec<Format> = Vec::with_capacity(wanted.len());
    for format in wanted {
        let free = |payload_type: u8, numbered: &[Format]| {
            !numbered.iter().any(|taken| taken.payload_type == payload_type)
                && !known.iter().any(|known| known.payload_type == payload_type && !same(known, &format))
        };
        let before = known.iter().find(|known| same(known, &format)).map(|known| known.payload_type);
        let own = (numbers == Numbers::Own).then_some(format.payload_type);
        let candidates = own.into_iter().chain(before).chain([format.payload_type]).chain(96..=127);
        let found = candidates.into_iter().find(|payload_type| free(*payload_type, &numbered));
        numbered.extend(found.map(|payload_type| Format { payload_type, ..format.clone() }));
    }
    numbered
}

/// Assigns an identifier to each extension towards a leg: the one that it has there already, otherwise its
/// own, otherwise a free one of the one-byte form (RFC 8285 §4.2).
pub(super) fn number_extensions<'a>(
    wanted: impl Iterator<Item = &'a ExtMap>,
    known: &[ExtMap],
) -> Vec<ExtMap> {
    let mut numbered: Vec<ExtMap> = Vec::new();
    for extension in wanted {
        let free = |id: u8, numbered: &[ExtMap]| {
            !numbered.iter().any(|taken| taken.id == id)
                && !known.iter().any(|known| known.id == id && known.uri != extension.uri)
        };
        let before = known.iter().find(|known| known.uri == extension.uri).map(|known| known.id);
        let mut candidates = before.into_iter().chain([extension.id]).chain(1..=14);
        let found = candidates.find(|id| (1..=14).contains(id) && free(*id, &numbered));
        numbered.extend(found.map(|id| ExtMap { id, ..extension.clone() }));
    }
    numbered
}

/// The formats of an answer: those offered and answered by the other leg, in that leg's order and under the
/// offerer's payload types; otherwise one that we can transcode, with the offerer's rules.
pub(super) fn shared(
    offer: &AudioMedia,
    answer: &AudioMedia,
    asked: &AudioMedia,
    rules: &AudioRules,
) -> Result<Vec<Format>, NegotiateError> {
    let was_asked = |format: &&Format| asked.formats.iter().any(|asked| same(asked, format));
    let both = |speech: bool| {
        let answered = answer.formats.iter().filter(was_asked);
        let answered = answered.filter(move |format| is_speech(format) == speech);
        answered.filter_map(|answered| {
            let offered = offer.formats.iter().find(|format| same(format, answered))?;
            Some(Format { payload_type: offered.payload_type, ..answered.clone() })
        })
    };
    let mut formats: Vec<Format> = both(true).collect();
    if formats.is_empty() {
        let transcodable =
            |format: &Format| Some(Format { fmtp: rules.fmtp(codec(format)?), ..format.clone() });
        let answered = answer.formats.iter().filter(was_asked).find_map(transcodable);
        let ours = answered.and(offer.formats.iter().find_map(transcodable));
        let ours = ours.ok_or(NegotiateError::NoCommonCodec)?;
        // Comfort noise is not passed on; the clock rate of events changes with the audio.
        let answered = answer.formats.iter().any(|format| format.is_telephone_event() && was_asked(&format));
        let events = events(&offer.formats, ours.clock_rate).filter(|_| answered).cloned();
        return Ok([ours].into_iter().chain(events).collect());
    }
    formats.extend(both(false).collect::<Vec<_>>());
    Ok(formats)
}
