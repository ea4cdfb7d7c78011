//! What becomes of packets between two legs, by what each was told and has said.

use super::super::NegotiateError;
use super::formats::{coding, events, is_speech, same};
use crate::media::forward::{ExtensionMap, PayloadMap};
use crate::media::relay::{Law, Recode, Way};
use crate::media::transcode::{Coding, Events, MOST_FORMATS, Plan, Target};
use crate::sdp::{AudioMedia, Format};

/// Packet time where the far end asks for none, ms (RFC 3551 §4.2).
const PTIME_MS: u32 = 20;

/// One leg: what we have told it last, and what it has said.
pub(super) struct Leg {
    pub told: AudioMedia,
    pub own: AudioMedia,
}

/// What becomes of packets from one leg to another, and the encodings in words, two of
/// them if they differ. What a leg sends is what both of its lists have, though it may send
/// all that it was told.
///
/// # Errors
/// [`NegotiateError::NoCommonCodec`]: none of them can be carried.
pub(super) fn way(from: &Leg, to: &Leg) -> Result<(Way, String, Option<String>), NegotiateError> {
    let agreed = |format: &Format| from.own.formats.iter().any(|own| same(own, format));
    let place = |format: &Format| to.own.formats.iter().find(|there| same(there, format));
    let told = from.told.formats.iter();
    let speech = told.clone().filter(|format| is_speech(format) && agreed(format));
    let relayed = speech.clone().find(|format| place(format).is_some());
    // Of these the other leg has none. Beside a format that is relayed they are what we
    // have added to an offer ourselves.
    let alien: Vec<(&Format, Coding)> = speech
        .filter(|format| place(format).is_none())
        .filter_map(|format| Some((format, coding(format)?)))
        .take(MOST_FORMATS)
        .collect();
    let target = target(to, relayed);
    let mut way = Way::new(PayloadMap::EMPTY, PTIME_MS);
    way.extensions = extensions(from, to);

    if let Some(format) = relayed {
        way.clock_rate = format.clock_rate;
        way.payload_types = relay(from, to);
        if let Some((_, target)) = target.filter(|_| !alien.is_empty()) {
            alien.iter().for_each(|(format, _)| way.payload_types.up(format.payload_type));
            way.transcode = Some(plan(&alien, target));
        }
        return Ok((way, format.encoding.clone(), None));
    }
    let (Some((first, decoded)), Some((there, target))) = (alien.first().copied(), target) else {
        return Err(NegotiateError::NoCommonCodec);
    };
    way.clock_rate = first.clock_rate;
    match (law(decoded), law(target.coding)) {
        // A packet stays what it is.
        (Some(_), Some(to_law)) if alien.len() == 1 => {
            way.payload_types = relay(from, to);
            way.payload_types.forward(first.payload_type, there.payload_type);
            way.recode = Some(Recode { payload_type: first.payload_type, to: to_law });
        }
        _ => {
            let mut plan = plan(&alien, target);
            alien.iter().for_each(|(format, _)| way.payload_types.up(format.payload_type));
            let sent = told.filter(|format| format.is_telephone_event());
            for (n, format) in sent.enumerate() {
                way.payload_types.telephone_event(format.payload_type);
                if let Some(there) = events(&to.own.formats, target.coding.clock_rate()) {
                    let to = (there.payload_type, there.clock_rate);
                    let events = plan.events.get_or_insert(Events { from: [None; 2], to });
                    if let Some(place) = events.from.get_mut(n) {
                        *place = Some((format.payload_type, format.clock_rate));
                    }
                }
            }
            way.transcode = Some(plan);
        }
    }
    Ok((way, first.encoding.clone(), Some(there.encoding.clone())))
}

/// What passes as it is; events go up as well.
fn relay(from: &Leg, to: &Leg) -> PayloadMap {
    let mut payload_types = PayloadMap::EMPTY;
    for format in &from.told.formats {
        if let Some(there) = to.own.formats.iter().find(|there| same(there, format)) {
            payload_types.forward(format.payload_type, there.payload_type);
        }
        if format.is_telephone_event() {
            payload_types.telephone_event(format.payload_type);
        }
    }
    payload_types
}

fn law(coding: Coding) -> Option<Law> {
    match coding {
        Coding::Pcmu => Some(Law::Mu),
        Coding::Pcma => Some(Law::A),
        Coding::G722 | Coding::Opus => None,
    }
}

fn plan(from: &[(&Format, Coding)], to: Target) -> Plan {
    let mut plan = Plan { from: [None; MOST_FORMATS], to, events: None };
    for (place, (format, coding)) in plan.from.iter_mut().zip(from) {
        *place = Some((format.payload_type, *coding));
    }
    plan
}

/// What is encoded for a leg: what is relayed to it anyway, else the first that it has.
fn target<'a>(to: &'a Leg, relayed: Option<&Format>) -> Option<(&'a Format, Target)> {
    let mut known = to.own.formats.iter().filter_map(|format| Some((format, coding(format)?)));
    let relayed = relayed.and_then(|relayed| known.clone().find(|(format, _)| same(format, relayed)));
    let (format, coding) = relayed.or_else(|| known.next())?;
    let wanted = to.own.ptime_ms.unwrap_or(PTIME_MS).min(to.own.maxptime_ms.unwrap_or(u32::MAX));
    let bitrate = parameter(format, "maxaveragebitrate").unwrap_or(Target::BITRATE);
    let target = Target {
        payload_type: format.payload_type,
        coding,
        ptime_ms: Target::ptime_ms(coding, wanted),
        fec: parameter(format, "useinbandfec") == Some(1),
        bitrate,
    };
    Some((format, target))
}

/// A number among the parameters of a format (RFC 7587 §6.1).
fn parameter(format: &Format, name: &str) -> Option<u32> {
    let parameters = format.fmtp.as_deref()?.split(';');
    let mut pairs = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.trim().parse().ok()
}

/// Extensions that both legs have agreed to, each by its own number.
fn extensions(from: &Leg, to: &Leg) -> ExtensionMap {
    let mut map = ExtensionMap::EMPTY;
    for extension in &from.told.extensions {
        let agreed = |leg: &Leg| {
            let told = leg.told.extension_id(&extension.uri)?;
            (leg.own.extension_id(&extension.uri) == Some(told)).then_some(told)
        };
        if let Some((from, to)) = agreed(from).zip(agreed(to)) {
            map.pass(from, to);
        }
    }
    map
}

#[cfg(test)]
#[path = "ways_tests.rs"]
mod tests;
