//! Offer and answer across two legs that are joined: what one offers becomes our offer to
//! the other, and back (RFC 3264). Pure functions on [`Side`]s.
//!
//! - `formats`: payload types of two legs; `ways`: what becomes of packets between them
//! - `line`: the audio line of a description; `local`: offers and answers of our own
//! - `own`: audio that begins and ends here
//! - `read`: descriptions that were read a moment ago; `agreed`: what was settled
//! - `audio_rules`: a party's digits, packet time and parameters of codecs
//! - `hold`: a party that we put on hold; `crypto`: SRTP, which ends at each leg
//! - `direct`: descriptions that lead media past b2b; `wishes`: directions that are a party's own
//! - `events`: every number that was an event in a session
//!
//! Of a description only the audio goes across, and of that what a [`Way`] can carry:
//! formats, packet times, directions, agreed header extensions. Addresses, ports, origin,
//! session name, keys and candidates are ours on both legs. Other media lines are refused
//! with port 0 towards whoever offers them, and not offered to the other leg.
//!
//! How packets go between two legs follows from what each was told and has said last, not
//! from who asked whom: [`join`] needs no memory of the exchange.

mod agreed;
mod audio_rules;
#[cfg(test)]
mod audio_tests;
mod crypto;
#[cfg(test)]
mod crypto_tests;
mod direct;
mod events;
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

pub use agreed::{agreed, direction_of, spoken};
pub use audio_rules::{AudioRules, DtmfMode, OpusRules};

use std::net::SocketAddr;
use std::rc::Rc;

pub use direct::{DirectError, back, direct};
pub use hold::Hold;
pub use local::{apply, local_answer, local_offer, repeat};
pub use own::OwnAudio;

use super::NegotiateError;
use super::crypto::LocalCrypto;
use crate::bridge_fsm::Direction as MediaDirection;
use b2b_media::relay::Way;
use b2b_media::remote::{EventTypes, Remote};
use b2b_sdp::{AudioMedia, Direction, ExtMap, Format, Origin, SessionDescription};
use events::ToldEvents;
use line::Line;
use read::{read, remember};
use wishes::Wishes;

/// What may go across; see `call::controller::PairPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PairPolicy {
    /// Encoding names that may be offered, in the order in which they are offered; empty:
    /// everything in the offerer's order. `telephone-event` and `CN` need not be named.
    pub codecs: Vec<String>,
    /// Also offer what the controller can transcode to, after the offerer's own codecs.
    pub transcode: bool,
    /// What of that is added, best first; empty: all of it.
    pub additions: Vec<String>,
    /// Ask for this packet time instead of passing on the other side's.
    pub ptime_ms: Option<u32>,
    /// `telephone-event` may pass.
    pub telephone_event: bool,
    /// Attributes of the audio line that we do not know pass. Those that carry addresses,
    /// keys or topology never do.
    pub unknown_attributes: bool,
    /// URIs of the RTP header extensions that may pass (RFC 8285).
    pub extensions: Vec<String>,
    /// Offer to multiplex RTCP (RFC 5761); what is offered to us is accepted anyway.
    pub rtcp_mux: bool,
    /// The party presses its keys as tones in its audio.
    pub tones: bool,
    /// Whether it is put on hold by us.
    #[serde(default)]
    pub hold: Hold,
    /// Whatever is agreed on has to be decoded: nothing else is offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decodes: bool,
    /// How the party's audio is to be.
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
            tones: false,
            hold: Hold::No,
            decodes: false,
            audio: AudioRules::default(),
        }
    }
}

/// One leg's part in offers and answers: what was settled last, and what waits. As octets:
/// read, descriptions take ten times the room, and a call may last for hours.
#[derive(Debug)]
pub struct Side {
    rtp: SocketAddr,
    session_id: u64,
    version: u64,
    /// What we told it last, and it told us.
    sent: Option<Box<[u8]>>,
    remote: Option<Box<[u8]>>,
    /// Which way media goes by that, as seen from here.
    direction: MediaDirection,
    /// Offers without an answer: ours to it, its to us.
    ours: Option<Box<[u8]>>,
    theirs: Option<Box<[u8]>>,
    unknown_attributes: bool,
    crypto: LocalCrypto,
    /// It presses keys as tones.
    tones: bool,
    /// It takes digits by INFO.
    takes_info: bool,
    audio: AudioRules,
    /// Where its audio begins and ends here.
    own: Option<Box<OwnAudio>>,
    /// Nothing is heard of it; and what an offer without an answer would make of that.
    on_hold: bool,
    holding: Option<bool>,
    wishes: Wishes,
    told_events: ToldEvents,
    /// It has made the last answer, not we.
    has_answered: bool,
}

/// Why an answer means nothing.
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
    /// From the first to the second, with the encoding, and the one it becomes.
    pub forward: (Way, String, Option<String>),
    /// From the second to the first.
    pub backward: (Way, String, Option<String>),
}

impl Side {
    /// A leg that is told to send to `rtp`. `session_id` stands in the `o=` line of all its
    /// descriptions, at random.
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
        }
    }

    /// The line that is in use, as we told it and as it was said: they have one place, which
    /// an offer with several lines does not show by itself.
    fn settled(&self) -> Option<ways::Leg> {
        let Line { index, audio: told, .. } = Line::known(self.sent.as_deref()?)?;
        let mut own = read(self.remote.as_deref()?).ok()?.audio(index).ok()?;
        // Who calls may have offered events that it was not told of: it gets none.
        if !self.audio.digits.has_events() {
            self.without_events(&mut Rc::make_mut(&mut own).formats);
        }
        let events = self.told_events.beside(&told);
        let tones = self.tones_of(&told, &own);
        let ptime_ms = self.audio.ptime_ms().or(self.own.as_ref().map(|own| own.ptime_ms));
        Some(ways::Leg { told, own, tones, events, ptime_ms })
    }

    /// What the far end said last, for the media machine: the addresses, directions.
    pub fn remote(&self) -> Option<Remote> {
        let leg = self.settled()?;
        let voice = ways::voice(&leg);
        let ways::Leg { told: sent, own: audio, .. } = leg;
        let rtcp_mux = sent.rtcp_mux && audio.rtcp_mux;
        let rate = audio.formats.iter().find(|format| formats::is_speech(format))?.clock_rate;
        let takes = formats::shared_events(&sent, &audio, rate);
        Some(Remote {
            rtp: audio.rtp(),
            rtcp: audio.named_rtcp(),
            rtcp_mux,
            receives: !audio.is_hold(),
            sends: audio.direction.has_send() && sent.direction.has_recv() && sent.rtp() == self.rtp,
            telephone_events: EventTypes::new(self.told_events.with(&sent)),
            takes_event: takes.map(|format| (format.payload_type, format.clock_rate)),
            takes_tones: takes.is_none() && self.audio.digits.has_tones(),
            voice,
            signalling: [None; 2],
        })
    }

    /// The party is told to send here from now on.
    pub fn set_rtp(&mut self, rtp: SocketAddr) {
        self.rtp = rtp;
    }

    /// Where it is told to send.
    pub fn rtp(&self) -> SocketAddr {
        self.rtp
    }

    /// Whether it says, to the octet, what it has said last.
    pub fn repeats(&self, body: &[u8]) -> bool {
        self.sent.is_some() && self.remote.as_deref() == Some(body)
    }

    /// An offer of ours, or of theirs, came to nothing.
    pub fn withdraw(&mut self) {
        self.ours = None;
        self.theirs = None;
        self.holding = None;
    }

    /// Whether it is on hold, or will be with its answer.
    fn is_put_on_hold(&self) -> bool {
        self.holding.unwrap_or(self.on_hold)
    }

    /// Every number that has a meaning towards this leg.
    fn known_formats(&self) -> Vec<Format> {
        let bodies = [&self.sent, &self.remote, &self.theirs];
        let lines = bodies.into_iter().filter_map(|body| Line::known(body.as_deref()?));
        lines.flat_map(|line| line.audio.formats.clone()).chain(self.told_events.formats()).collect()
    }

    /// The same of header extensions.
    fn known_extensions(&self) -> Vec<ExtMap> {
        let bodies = [&self.sent, &self.remote, &self.theirs];
        let lines = bodies.into_iter().filter_map(|body| Line::known(body.as_deref()?));
        lines.flat_map(|line| line.audio.extensions.clone()).collect()
    }

    /// Writes a description. One that says what the last one said is the last one, to the
    /// octet; another one has the next version (RFC 3264 §8).
    /// `audio` is the line of it that is in use, at `index`.
    fn write(
        &mut self,
        (index, audio): (usize, &AudioMedia),
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

    /// Writes an offer of this line, in the places of the last description.
    fn offer(&mut self, audio: &AudioMedia) -> Box<[u8]> {
        self.told_events.add(audio);
        let ours = audio.rtp() == self.rtp;
        let audio = self.encrypt_offer(audio);
        // Whoever gets it past us is told what the other party can do.
        let audio = &*if ours { self.audio.with_feedback(audio) } else { audio };
        let last = self.sent.as_deref().and_then(Line::known);
        let index = last.as_ref().map_or(0, |last| last.index);
        let bytes = self.write((index, audio), |origin| match &last {
            Some(last) => SessionDescription::reoffer(origin, &last.description, last.index, audio),
            None => SessionDescription::offer(origin, audio),
        });
        self.ours = Some(bytes.clone());
        bytes
    }
}

/// `from` has made an offer: what to offer to `to` instead.
///
/// # Errors
/// There is nothing in it that can go across: refuse it.
pub fn offer(
    from: &mut Side,
    to: &mut Side,
    body: &[u8],
    policy: &PairPolicy,
) -> Result<Box<[u8]>, NegotiateError> {
    let line = Line::offered(body, from)?;
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

/// `from` has answered what [`offer`] offered to it: the answer to `to`. Again with a later
/// answer, or with another leg's: the last one counts.
///
/// # Errors
/// The answer is of no use, or there was no offer.
pub fn answer(from: &mut Side, to: &mut Side, body: &[u8]) -> Result<Box<[u8]>, PairError> {
    let offered =
        from.ours.as_deref().or(from.sent.as_deref()).and_then(Line::known).ok_or(PairError::NoOffer)?;
    let line = Line::answered(body, &offered, from)?;
    let offer = to.theirs.as_deref().or(to.remote.as_deref()).ok_or(PairError::NoOffer)?;
    let offer = Line::offered(offer, to)?;
    let mut audio =
        AudioMedia::new(to.rtp, formats::shared(&offer.audio, &line.audio, &offered.audio, &to.audio)?);
    if from.turns_digits() {
        formats::answer_events(&mut audio.formats, &offer.audio.formats);
    }
    to.without_events(&mut audio.formats);
    to.audio.add_noise(&mut audio.formats, Some(&offer.audio));
    audio.protocol.clone_from(&offer.audio.protocol);
    // Who is on hold does not send because we want it so: that is no business of the other one's.
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
    let bytes = to.write((offer.index, &audio), |origin| {
        SessionDescription::answer(origin, &offer.description, offer.index, &audio)
    });
    settle_answer(from, &offered.audio, &line.audio, body);
    if let Some(theirs) = to.theirs.take() {
        to.has_said(theirs, &offer.audio);
        to.wishes = Wishes::of(&offer.audio);
        to.has_answered = false;
    }
    to.ours = None;
    to.sent = Some(bytes.clone());
    to.settle_crypto();
    Ok(bytes)
}

fn settle_answer(side: &mut Side, offered: &AudioMedia, answered: &AudioMedia, body: &[u8]) {
    side.wishes = side.wishes.answered(offered, answered);
    side.has_answered = true;
    if let Some(ours) = side.ours.take() {
        side.sent = Some(ours);
    }
    if let Some(on_hold) = side.holding.take() {
        side.on_hold = on_hold;
    }
    side.theirs = None;
    side.has_said(body.into(), answered);
    side.settle_crypto();
}

/// What becomes of packets between two legs, by what each was told and has said.
///
/// # Errors
/// A leg has not described itself; nothing can be carried.
pub fn join(a: &Side, b: &Side) -> Result<Join, PairError> {
    let described = |side: &Side| side.settled().ok_or(PairError::Undescribed);
    let on_hold = (a.on_hold, b.on_hold);
    let (a, b) = (described(a)?, described(b)?);
    let mut join = Join { forward: ways::way(&a, &b)?, backward: ways::way(&b, &a)? };
    for (way, on_hold) in [(&mut join.forward.0, on_hold.0), (&mut join.backward.0, on_hold.1)] {
        if on_hold {
            // It may send all the same.
            way.hold();
        }
    }
    Ok(join)
}

/// What a line comes to as an offer to another leg, of a party that wants this.
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
    // Events last, in their order: they are no choice.
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

/// Whether the describing party wants to receive: by its direction, and by an address that
/// is one (RFC 3264 §8.4).
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
