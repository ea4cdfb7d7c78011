//! The treatment of packets between two legs, from the last descriptions of each.

use std::rc::Rc;

use super::super::{NegotiateError, encoded};
use super::OneWay;
use super::formats::{codec, events, is_noise, is_speech, same};
use b2b_media::codec::{Codec, Law};
use b2b_media::forward::{ExtensionMap, PayloadMap};
use b2b_media::relay::{Recode, Way};
use b2b_media::remote::{MOST_EVENTS, MOST_FORMATS, SendFormat, Voice};
use b2b_media::transcode::{Events, Plan};
use b2b_sdp::{AudioMedia, Format};

/// Packet time for a remote party that requests none, in ms (RFC 3551 §4.2).
const PTIME_MS: u32 = 20;

/// Longer packet times, in ms, are not meant seriously.
const LONGEST_PTIME_MS: u32 = 1_000;

/// One leg: the last description sent to it, and the last one received from it.
pub(super) struct Leg {
    pub told: Rc<AudioMedia>,
    pub own: Rc<AudioMedia>,
    /// The party sends digits as tones.
    pub tones: bool,
    /// The packet time configured for the party.
    pub ptime_ms: Option<u32>,
    /// Payload types of events in earlier descriptions.
    pub events: super::events::EventNumbers,
}

impl Leg {
    /// All payload types under which the party may send events, with their clock rates.
    fn sends_events(&self) -> impl Iterator<Item = (u8, u32)> {
        let told = self.told.formats.iter().filter(|format| format.is_telephone_event());
        told.map(|format| (format.payload_type, format.clock_rate)).chain(self.events.into_iter().flatten())
    }
}

/// The treatment of packets from one leg to another; with comfort noise of our own if the source's cannot be passed on.
///
/// # Errors
/// [`NegotiateError::NoCommonCodec`]: none of them can be carried.
pub(super) fn way(from: &Leg, to: &Leg) -> Result<OneWay, NegotiateError> {
    let mut one = sound(from, to)?;
    let agreed = |format: &&Format| from.own.formats.iter().any(|own| same(own, format));
    let noise = from.told.formats.iter().filter(|format| is_noise(format)).find(agreed);
    let numbers = &mut one.way.payload_types;
    if let Some(noise) = noise.filter(|noise| numbers.get(noise.payload_type).is_none()) {
        numbers.up(noise.payload_type);
        one.way.noise = Some(noise.payload_type);
    }
    Ok(one)
}

/// The treatment of audio packets from one leg to another. A leg is expected to send the formats in both of its descriptions, though it may send any that it
/// was offered.
///
/// # Errors
/// [`NegotiateError::NoCommonCodec`]: none of them can be carried.
fn sound(from: &Leg, to: &Leg) -> Result<OneWay, NegotiateError> {
    let agreed = |format: &Format| from.own.formats.iter().any(|own| same(own, format));
    let place = |format: &Format| to.own.formats.iter().find(|there| same(there, format));
    let told = from.told.formats.iter();
    let speech = told.clone().filter(|format| is_speech(format) && agreed(format));
    let passes = speech.clone().find(|format| place(format).is_some());
    // Tones are removed from decodable audio for a party that takes events.
    let takes_events = |audio: &AudioMedia| audio.formats.iter().any(Format::is_telephone_event);
    let cuts = from.tones
        && takes_events(&to.told)
        && takes_events(&to.own)
        && speech.clone().any(|format| codec(format).is_some())
        && target(to, passes).is_some();
    let relayed = passes.filter(|_| !cuts);
    // Formats that the other leg does not have. Beside a relayed format they are those that we have added to
    // an offer ourselves.
    let alien: Vec<(&Format, Codec)> = speech
        .filter(|format| cuts || place(format).is_none())
        .filter_map(|format| Some((format, codec(format)?)))
        .take(MOST_FORMATS)
        .collect();
    let target = target(to, passes);
    let mut way = Way::new(PayloadMap::EMPTY, PTIME_MS);
    way.extensions = extensions(from, to);
    let speaks = told.clone().filter(|format| is_speech(format));
    speaks.for_each(|format| way.clocks.set(format.payload_type, format.clock_rate));

    if let Some(format) = relayed {
        way.clock_rate = format.clock_rate;
        way.payload_types = relay(from, to);
        if let Some((_, target)) = target.filter(|_| !alien.is_empty()) {
            alien.iter().for_each(|(format, _)| way.payload_types.up(format.payload_type));
            way.transcode = Some(plan(&alien, target));
        }
        return Ok(OneWay { way, encoding: format.encoding.clone(), transcoded: None });
    }
    let (Some((first, decoded)), Some((there, target))) = (alien.first().copied(), target) else {
        return Err(NegotiateError::NoCommonCodec);
    };
    way.clock_rate = first.clock_rate;
    match (Law::of(decoded), Law::of(target.codec)) {
        // A packet keeps its kind and its length.
        (Some(_), Some(to_law)) if alien.len() == 1 && !cuts && to.ptime_ms.is_none() => {
            way.payload_types = relay(from, to);
            way.payload_types.forward(first.payload_type, there.payload_type);
            way.recode = Some(Recode { payload_type: first.payload_type, to: to_law });
        }
        _ => {
            let mut plan = Plan { cuts_tones: cuts, ..plan(&alien, target) };
            alien.iter().for_each(|(format, _)| way.payload_types.up(format.payload_type));
            for (n, (payload_type, clock_rate)) in from.sends_events().enumerate() {
                way.payload_types.telephone_event(payload_type);
                if let Some(there) = events(&to.own.formats, target.codec.clock_rate()) {
                    let to = (there.payload_type, there.clock_rate);
                    let events = plan.events.get_or_insert(Events { from: [None; MOST_EVENTS], to });
                    if let Some(place) = events.from.get_mut(n) {
                        *place = Some((payload_type, clock_rate));
                    }
                }
            }
            way.transcode = Some(plan);
        }
    }
    let transcoded = Some(there.encoding.clone());
    Ok(OneWay { way, encoding: first.encoding.clone(), transcoded })
}

/// The payload types that are relayed unchanged; events are reported as well.
fn relay(from: &Leg, to: &Leg) -> PayloadMap {
    let mut payload_types = PayloadMap::EMPTY;
    for format in &from.told.formats {
        if let Some(there) = to.own.formats.iter().find(|there| same(there, format)) {
            payload_types.forward(format.payload_type, there.payload_type);
        }
    }
    for (payload_type, clock_rate) in from.sends_events() {
        if let Some(there) = to.own.telephone_event(clock_rate) {
            payload_types.forward(payload_type, there.payload_type);
        }
        payload_types.telephone_event(payload_type);
    }
    payload_types
}

fn plan(from: &[(&Format, Codec)], to: SendFormat) -> Plan {
    let mut plan = Plan { from: [None; MOST_FORMATS], to, events: None, cuts_tones: false };
    for (place, (format, codec)) in plan.from.iter_mut().zip(from) {
        *place = Some((format.payload_type, *codec));
    }
    plan
}

/// The format that we encode for a leg: the one relayed to it, otherwise its first one.
fn target<'a>(to: &'a Leg, relayed: Option<&Format>) -> Option<(&'a Format, SendFormat)> {
    let mut known = to.own.formats.iter().filter_map(|format| Some((format, codec(format)?)));
    let relayed = relayed.and_then(|relayed| known.clone().find(|(format, _)| same(format, relayed)));
    let (format, codec) = relayed.or_else(|| known.next())?;
    Some((format, spoken(to, format, codec)))
}

fn spoken(to: &Leg, format: &Format, codec: Codec) -> SendFormat {
    encoded(format, codec, ptime_for(&to.own, to.ptime_ms))
}

/// The packet time for the party that sent this description: its own value takes precedence over the
/// configured one (RFC 3264 §5.1), and no packet exceeds its maximum (RFC 8866 §6.4).
pub(super) fn ptime_for(said: &AudioMedia, configured: Option<u32>) -> u32 {
    let possible = |ms: &u32| (1..=LONGEST_PTIME_MS).contains(ms);
    let wanted = said.ptime_ms.filter(possible).or(configured).unwrap_or(PTIME_MS);
    wanted.min(said.maxptime_ms.unwrap_or(u32::MAX))
}

/// The formats to and from a leg, whatever it is joined to. It gets the first one in both of its
/// descriptions, otherwise the first one of its own, all of which it must accept.
pub(super) fn voice(leg: &Leg) -> Voice {
    let own = leg.own.formats.iter().filter_map(|format| Some((format, codec(format)?)));
    let told = |format: &Format| leg.told.formats.iter().any(|told| same(told, format));
    let gets = own.clone().find(|(format, _)| told(format)).or_else(|| own.clone().next());
    // Not all of a long list has a place: what both have named comes first.
    let (agreed, rest): (Vec<_>, Vec<_>) =
        leg.told.formats.iter().partition(|format| leg.own.formats.iter().any(|own| same(own, format)));
    let says = agreed.into_iter().chain(rest);
    let says = says.filter_map(|format| Some((format.payload_type, codec(format)?)));
    Voice::new(gets.map(|(format, codec)| spoken(leg, format, codec)), says)
}

/// The extensions that both legs have agreed to, each under its own identifier.
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
mod tests;
