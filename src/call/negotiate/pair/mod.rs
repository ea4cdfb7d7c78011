//! Offer and answer across two joined legs: the offer of one becomes our offer to the other, and the answer
//! goes back (RFC 3264). Pure functions on [`Side`]s.
//!
//! - `formats`: payload types of two legs; `ways`: the treatment of packets between them
//! - `line`: the audio line of a description; `local`: our own offers and answers
//! - `own`: audio that begins and ends here
//! - `read`: a cache of parsed descriptions; `agreed`: what was settled
//! - `audio_rules`: a party's digits, packet time and codec parameters
//! - `hold`: a party that we put on hold; `crypto`: SRTP, which ends at each leg
//! - `direct`: descriptions for direct media, past b2b; `wishes`: a party's own directions
//! - `events`: all payload types used for events in a session
//!
//! Only the audio line of a description is passed on, and of that what a [`Way`] can carry: formats, packet
//! times, directions, agreed header extensions. Addresses, ports, origin, session name, keys and candidates
//! are ours on both legs. Other media lines are refused with port 0 towards the offerer, and not offered to
//! the other leg.
//!
//! The treatment of packets between two legs follows from the last descriptions sent to and received from
//! each, not from the direction of the exchange: [`join`] needs no memory of it.

mod agreed;
mod audio_rules;
#[cfg(test)]
mod audio_tests;
mod crypto;
#[cfg(test)]
mod crypto_tests;
mod direct;
mod events;
#[cfg(test)]
mod foreign_tests;
mod formats;
mod hold;
mod line;
mod local;
mod own;
mod read;
#[cfg(test)]
mod tests;
mod ways;
mod wishes;

pub use agreed::{address, agreed, direction_of, spoken};
pub use audio_rules::{AudioRules, DtmfMode, OpusRules};

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub use direct::{DirectError, back, direct};
pub use hold::Hold;
pub use line::takes_ipv4;
pub use local::{apply, local_answer, local_offer, repeat};
pub use own::OwnAudio;
pub use read::remark;

use super::NegotiateError;
use super::crypto::LocalCrypto;
use crate::bridge_fsm::Direction as MediaDirection;
use b2b_media::relay::Way;
use b2b_media::remote::{EventTypes, Remote};
use b2b_sdp::{AudioMedia, Direction, ExtMap, Format, Origin, SessionDescription};
use events::ToldEvents;
use line::Line;
use read::remember;
pub use wishes::Wishes;

/// What may be passed on; see `call::controller::PairPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PairPolicy {
    /// Encoding names that may be offered, in the order of the offer; empty: all, in the offerer's order.
    /// `telephone-event` and `CN` need not be listed.
    pub codecs: Vec<String>,
    /// Also offer the codecs that the controller can transcode to, after the offerer's own.
    pub transcode: bool,
    /// Which of those are added, best first; empty: all of them.
    pub additions: Vec<String>,
    /// Request this packet time instead of passing on the other side's.
    pub ptime_ms: Option<u32>,
    /// Whether `telephone-event` is passed on.
    pub telephone_event: bool,
    /// Whether unknown attributes of the audio line are passed on. Those with addresses, keys or topology
    /// never are.
    pub unknown_attributes: bool,
    /// URIs of the RTP header extensions that are passed on (RFC 8285).
    pub extensions: Vec<String>,
    /// Whether to offer RTCP multiplexing (RFC 5761); in offers to us it is always accepted.
    pub rtcp_mux: bool,
    /// Whether we put the party on hold.
    #[serde(default)]
    pub hold: Hold,
    /// The agreed codec has to be decodable: no others are offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decodes: bool,
    /// The rules for the party's audio.
    #[serde(default, skip_serializing_if = "AudioRules::is_default")]
    pub audio: AudioRules,
}

impl Default for PairPolicy {
    fn default() -> Self {
        PairPolicy {
            codecs: Vec::new(),
            transcode: true,
            additions: Vec::new(),
            ptime_ms: None,
            telephone_event: true,
            unknown_attributes: false,
            extensions: vec![super::ABS_CAPTURE_TIME.to_owned()],
            rtcp_mux: true,
            hold: Hold::No,
            decodes: false,
            audio: AudioRules::default(),
        }
    }
}

/// One leg's state of offer and answer: what was settled last, and what is pending. Kept as bytes: parsed
/// descriptions take ten times the memory, and a call may last for hours.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Side {
    rtp: SocketAddr,
    session_id: u64,
    version: u64,
    /// The last settled descriptions, sent and received.
    sent: Option<Box<[u8]>>,
    remote: Option<Box<[u8]>>,
    /// The resulting direction of media, as seen from here.
    direction: MediaDirection,
    /// Offers without an answer: sent and received.
    ours: Option<Box<[u8]>>,
    theirs: Option<Box<[u8]>>,
    unknown_attributes: bool,
    crypto: LocalCrypto,
    /// The party sends digits as tones.
    tones: bool,
    /// The party takes digits by INFO.
    takes_info: bool,
    audio: AudioRules,
    /// Set if its audio begins and ends here. Not written: its program would be in another process.
    #[serde(skip)]
    own: Option<Box<OwnAudio>>,
    /// The party is on hold; and the value that the pending offer would set.
    on_hold: bool,
    holding: Option<bool>,
    wishes: Wishes,
    told_events: ToldEvents,
    /// The last answer was the party's, not ours.
    has_answered: bool,
    /// There are media addresses of the family that the leg does not have.
    has_other_family: bool,
    /// Host names that it has given in place of its address, with what they stand for once that is found.
    hosts: Vec<(Box<str>, Option<IpAddr>)>,
    /// What was sent last is of an endpoint that is gone.
    #[serde(default)]
    has_moved: bool,
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
    #[error("there is no offer for this answer")]
    NoOffer,
    #[error("a leg has no session description yet")]
    Undescribed,
}

/// How two legs are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// From the first to the second.
    pub forward: OneWay,
    /// From the second to the first.
    pub backward: OneWay,
}

/// One direction between two legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneWay {
    /// What is done with each packet.
    pub way: Way,
    /// The encoding that comes in.
    pub encoding: String,
    /// The encoding that it is transcoded to.
    pub transcoded: Option<String>,
}

impl Side {
    /// A leg that is told to send to `rtp`. `session_id`, a random number, is in the `o=` line of all its
    /// descriptions.
    pub fn new(rtp: SocketAddr, session_id: u64) -> Self {
        Side {
            rtp,
            session_id: session_id >> 1,
            version: 1,
            sent: None,
            remote: None,
            direction: MediaDirection::SEND_RECV,
            ours: None,
            theirs: None,
            unknown_attributes: false,
            crypto: LocalCrypto::default(),
            tones: false,
            takes_info: false,
            audio: AudioRules::default(),
            own: None,
            on_hold: false,
            holding: None,
            wishes: Wishes::default(),
            told_events: ToldEvents::default(),
            has_answered: false,
            has_other_family: false,
            hosts: Vec::new(),
            has_moved: false,
        }
    }

    /// The audio line in use, as sent and as received. It has one index, which an offer with several lines
    /// does not show by itself.
    fn settled(&self) -> Option<ways::Leg> {
        let Line { index, audio: mut told, .. } = Line::known(self.sent.as_deref()?)?;
        let mut own = Line::accepted(self.remote.as_deref()?, index, self)?.audio;
        // A caller may have offered events although it is offered none: it gets none.
        if !self.audio.digits.has_events() {
            self.without_events(&mut Rc::make_mut(&mut own).formats);
        }
        formats::add_named(&mut told, &own, &self.told_events);
        let events = self.told_events.beside(&told);
        let tones = self.tones_of(&told, &own);
        let ptime_ms = self.audio.ptime_ms().or(self.own.as_ref().map(|own| own.ptime_ms));
        Some(ways::Leg { told, own, tones, events, ptime_ms })
    }

    /// The remote side for the media engine: addresses, directions and formats.
    pub fn remote(&self) -> Option<Remote> {
        // Its keys are of an endpoint that is gone, and are never used again.
        if self.has_moved {
            return None;
        }
        let leg = self.settled()?;
        let voice = ways::voice(&leg);
        let ways::Leg { told: sent, own: audio, .. } = leg;
        let rtcp_mux = sent.rtcp_mux && audio.rtcp_mux;
        let rate = audio.formats.iter().find(|format| formats::is_speech(format))?.clock_rate;
        let takes = formats::shared_events(&sent, &audio, rate);
        let unnamed = events::unnamed(&sent, &audio, rate).filter(|_| self.audio.digits.has_events());
        let mut telephone_events = EventTypes::new(self.told_events.with(&sent));
        if telephone_events == EventTypes::EMPTY {
            telephone_events = EventTypes::new(unnamed);
        }
        Some(Remote {
            rtp: audio.rtp(),
            awaited: audio.host.is_some(),
            rtcp: audio.named_rtcp(),
            rtcp_mux,
            receives: !audio.is_hold(),
            sends: audio.direction.has_send() && sent.direction.has_recv() && sent.rtp() == self.rtp,
            telephone_events,
            takes_event: takes.map(|format| (format.payload_type, format.clock_rate)),
            takes_tones: takes.is_none() && self.audio.digits.has_tones(),
            voice,
            signalling: [None; 2],
        })
    }

    /// Sets the address that the party is told to send to.
    pub fn set_rtp(&mut self, rtp: SocketAddr) {
        self.rtp = rtp;
    }

    /// The address that the party is told to send to.
    pub fn rtp(&self) -> SocketAddr {
        self.rtp
    }

    /// Whether the body equals the last one received, byte by byte.
    pub fn repeats(&self, body: &[u8]) -> bool {
        self.sent.is_some() && !self.has_moved && self.remote.as_deref() == Some(body)
    }

    /// Withdraws the pending offers.
    pub fn withdraw(&mut self) {
        // The next one differs from one that nothing here knows any more (RFC 3264 §8).
        self.version += u64::from(self.ours.take().is_some() && self.sent.is_none());
        self.theirs = None;
        self.holding = None;
    }

    /// Whether the party is on hold, or will be with its answer.
    fn is_put_on_hold(&self) -> bool {
        self.holding.unwrap_or(self.on_hold)
    }

    /// The last lines sent and received, and that of an offer received.
    fn known_lines(&self) -> impl Iterator<Item = Line> {
        let theirs = self.theirs.as_deref().and_then(|offer| Line::offered(offer, self).ok());
        [self.sent.as_deref().and_then(Line::known), self.said_line(), theirs].into_iter().flatten()
    }

    /// All payload types that have a meaning towards this leg.
    fn known_formats(&self) -> Vec<Format> {
        let lines = self.known_lines();
        lines.flat_map(|line| line.audio.formats.clone()).chain(self.told_events.formats()).collect()
    }

    /// All header extensions that have a meaning towards this leg.
    fn known_extensions(&self) -> Vec<ExtMap> {
        self.known_lines().flat_map(|line| line.audio.extensions.clone()).collect()
    }

    /// Writes a description. If it equals the last one, it is repeated byte by byte; otherwise it gets the
    /// next version (RFC 3264 §8). `audio` is its line in use, at `index`.
    fn write(
        &mut self,
        index: usize,
        audio: &AudioMedia,
        build: impl Fn(&Origin) -> SessionDescription,
    ) -> Box<[u8]> {
        let origin = |version| Origin { session_id: self.session_id, version, address: self.rtp.ip() };
        let mut description = build(&origin(self.version));
        let mut bytes = description.to_bytes();
        if self.ours.as_deref().or(self.sent.as_deref()).is_some_and(|last| last != bytes) {
            self.version += 1;
            description = build(&origin(self.version));
            bytes = description.to_bytes();
        }
        remember(&bytes, description, index, audio);
        bytes.into()
    }

    /// The party knows this description.
    fn has_sent(&mut self, description: Box<[u8]>) {
        (self.sent, self.has_moved) = (Some(description), false);
    }

    /// Writes an offer of this line, with the line positions of the last description.
    fn offer(&mut self, audio: &AudioMedia) -> Box<[u8]> {
        self.told_events.add(audio);
        let ours = audio.rtp() == self.rtp;
        let audio = self.encrypt_offer(audio);
        // For direct media the description has the other party's capabilities.
        let audio = &*if ours { self.audio.with_feedback(audio) } else { audio };
        let last = self.sent.as_deref().and_then(Line::known);
        let index = last.as_ref().map_or(0, |last| last.index);
        let bytes = self.write(index, audio, |origin| match &last {
            Some(last) => SessionDescription::reoffer(origin, &last.description, last.index, audio),
            None => SessionDescription::offer(origin, audio),
        });
        self.ours = Some(bytes.clone());
        bytes
    }
}

/// `from` has made an offer: returns the offer for `to`.
///
/// # Errors
/// Nothing in the offer can be passed on: refuse it.
pub fn offer(
    from: &mut Side,
    to: &mut Side,
    body: &[u8],
    policy: &PairPolicy,
) -> Result<Box<[u8]>, NegotiateError> {
    let line = Line::merged(Line::all_offered(body, from)?)?;
    let mut audio = across(&line, Wishes::of(&line.audio), formats::Numbers::Known, to, policy)?;
    if from.turns_digits() && to.audio.digits.has_events() && policy.telephone_event {
        // Its tones become events, or events become INFO for it.
        formats::offer_events(&mut audio.formats, &to.known_formats());
    }
    from.theirs = Some(body.into());
    to.holding = Some(policy.hold.is_on());
    for side in [from, &mut *to] {
        side.unknown_attributes = policy.unknown_attributes;
    }
    Ok(to.offer(&audio))
}

/// `from` has answered the offer of [`offer`]: returns the answer for `to`. May be called again for a later
/// answer, or for another leg's; the last one counts.
///
/// # Errors
/// The answer cannot be used, or there was no offer.
pub fn answer(from: &mut Side, to: &mut Side, body: &[u8]) -> Result<Box<[u8]>, PairError> {
    let offered =
        from.ours.as_deref().or(from.sent.as_deref()).and_then(Line::known).ok_or(PairError::NoOffer)?;
    let line = Line::answered(body, &offered, from)?;
    let offer = to.theirs.as_deref().or(to.remote.as_deref()).ok_or(PairError::NoOffer)?;
    let offer = Line::chosen(Line::all_offered(offer, to)?, &line.audio);
    let mut audio =
        AudioMedia::new(to.rtp, formats::shared(&offer.audio, &line.audio, &offered.audio, &to.audio)?);
    if from.turns_digits() {
        formats::answer_events(&mut audio.formats, &offer.audio.formats);
    }
    to.without_events(&mut audio.formats);
    to.audio.add_noise(&mut audio.formats, Some(&offer.audio));
    audio.protocol.clone_from(&offer.audio.protocol);
    // A party on hold does not send because we asked for it: that does not concern the other party.
    audio.direction = direction(
        (line.audio.direction.has_send() || from.is_put_on_hold()) && receives(&offer.audio),
        receives(&line.audio) && offer.audio.direction.has_send() && !to.on_hold,
    );
    audio.ptime_ms = to.audio.ptime_ms().or(line.audio.ptime_ms);
    audio.maxptime_ms = line.audio.maxptime_ms;
    audio.rtcp_mux = offer.audio.rtcp_mux;
    let agreed = |extension: &&ExtMap| {
        let id = line.audio.extension_id(&extension.uri);
        id.is_some() && offered.audio.extension_id(&extension.uri) == id
    };
    audio.extensions = offer.audio.extensions.iter().filter(agreed).cloned().collect();
    if to.unknown_attributes {
        audio.others = line.description.other_attributes(line.index);
    }
    to.encrypt_answer(&offer.audio, &mut audio)?;
    to.told_events.add(&audio);
    let bytes = to.write(offer.index, &audio, |origin| {
        SessionDescription::answer(origin, &offer.description, offer.index, &audio)
    });
    settle_answer(from, &offered.audio, &line.audio, body);
    if let Some(theirs) = to.theirs.take() {
        to.has_said(theirs, &offer.audio);
        to.wishes = Wishes::of(&offer.audio);
        to.has_answered = false;
    }
    to.ours = None;
    to.has_sent(bytes.clone());
    to.settle_crypto();
    Ok(bytes)
}

fn settle_answer(side: &mut Side, offered: &AudioMedia, answered: &AudioMedia, body: &[u8]) {
    side.wishes = side.wishes.answered(offered, answered);
    side.has_answered = true;
    if let Some(ours) = side.ours.take() {
        side.has_sent(ours);
    }
    if let Some(on_hold) = side.holding.take() {
        side.on_hold = on_hold;
    }
    side.theirs = None;
    side.has_said(body.into(), answered);
    side.settle_crypto();
}

/// The treatment of packets between two legs, from the last descriptions of each.
///
/// # Errors
/// A leg has no description yet, or no format can be carried.
pub fn join(a: &Side, b: &Side) -> Result<Join, PairError> {
    let described = |side: &Side| side.settled().ok_or(PairError::Undescribed);
    let on_hold = (a.on_hold, b.on_hold);
    let (a, b) = (described(a)?, described(b)?);
    let mut join = Join { forward: ways::way(&a, &b)?, backward: ways::way(&b, &a)? };
    for (way, on_hold) in [(&mut join.forward.way, on_hold.0), (&mut join.backward.way, on_hold.1)] {
        if on_hold {
            // The party may send all the same.
            way.hold();
        }
    }
    Ok(join)
}

/// The line as an offer to another leg, for a party with these wishes.
fn across(
    line: &Line,
    wishes: Wishes,
    numbers: formats::Numbers,
    to: &Side,
    policy: &PairPolicy,
) -> Result<AudioMedia, NegotiateError> {
    let offered = &line.audio;
    let mut wanted: Vec<Format> = match policy.codecs.as_slice() {
        [] => offered.formats.clone(),
        codecs => {
            let named = codecs.iter().flat_map(|name| {
                offered.formats.iter().filter(|format| format.encoding.eq_ignore_ascii_case(name))
            });
            named
                .chain(offered.formats.iter().filter(|format| !formats::is_speech(format)))
                .cloned()
                .collect()
        }
    };
    if policy.transcode && offered.formats.iter().any(|format| formats::codec(format).is_some()) {
        formats::add_ours(&mut wanted, &offered.formats, policy, &to.audio);
    }
    // Events come last, in their own order: they are not alternatives.
    let (mut speech, mut rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(formats::is_speech);
    speech.retain(|format| !policy.decodes || formats::codec(format).is_some());
    rest.retain(|format| policy.telephone_event || !format.is_telephone_event());
    to.without_events(&mut rest);
    let mut wanted: Vec<Format> = speech.into_iter().chain(rest).collect();
    to.audio.add_noise(&mut wanted, None);
    let numbered = formats::number(wanted, &to.known_formats(), numbers);
    if !numbered.iter().any(formats::is_speech) {
        return Err(NegotiateError::NoCommonCodec);
    }
    let mut audio = AudioMedia::new(to.rtp, numbered);
    audio.direction = policy.hold.direction(direction(wishes.sends, wishes.receives));
    audio.ptime_ms = to.audio.ptime_ms().or(policy.ptime_ms).or(offered.ptime_ms);
    audio.maxptime_ms = offered.maxptime_ms;
    audio.rtcp_mux = policy.rtcp_mux;
    let passes = |extension: &&ExtMap| policy.extensions.contains(&extension.uri);
    audio.extensions =
        formats::number_extensions(offered.extensions.iter().filter(passes), &to.known_extensions());
    if policy.unknown_attributes {
        audio.others = line.description.other_attributes(line.index);
    }
    Ok(audio)
}

/// Whether the describing party receives, according to its direction and to its address (RFC 3264 §8.4).
fn receives(audio: &AudioMedia) -> bool {
    !audio.is_hold()
}

fn direction(send: bool, receive: bool) -> Direction {
    match (send, receive) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
