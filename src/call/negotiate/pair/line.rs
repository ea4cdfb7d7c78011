//! The audio line of a description, found and checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use super::Side;
use super::formats;
use super::read::{ReadDescription, read};
use crate::negotiate::NegotiateError;
use b2b_sdp::{AudioMedia, Format};
use b2b_sip::dialog::hop::is_one_host;

/// Host names of a session whose addresses are looked up, at most.
const MOST_HOSTS: usize = 4;

/// An audio line and its index.
pub(super) struct Line {
    pub description: Rc<ReadDescription>,
    pub index: usize,
    pub audio: Rc<AudioMedia>,
}

impl Line {
    /// The audio line of a party's offer that is used where no other party has a say: the first of
    /// [`Line::all_offered`].
    pub fn offered(body: &[u8], side: &Side) -> Result<Line, NegotiateError> {
        Line::all_offered(body, side).map(|mut lines| lines.swap_remove(0))
    }

    /// The audio lines of a party's offer that can be used, at least one, best first: of two (one plain, one
    /// with keys, as Skype for Business sends them) the one with keys if we prefer keys; then those with a
    /// codec of ours, which goes with every other party; then in their order.
    pub fn all_offered(body: &[u8], side: &Side) -> Result<Vec<Line>, NegotiateError> {
        let description = read(body)?;
        let (mut error, mut lines) = (None, Vec::new());
        for index in 0..description.lines().count() {
            let allowed = usable(&description, index, side).and_then(|audio| {
                is_reachable(&audio, side)?;
                let keys = side.crypto.choose(&audio)?.is_some() || !side.crypto.prefers_keys();
                Ok(((keys, audio.formats.iter().any(|format| formats::codec(format).is_some())), audio))
            });
            match allowed {
                Ok((rank, audio)) => {
                    lines.push((rank, Line { description: description.clone(), index, audio }));
                }
                Err(NegotiateError::NoAudio) => {}
                Err(why) => error = error.or(Some(why)),
            }
        }
        if lines.is_empty() {
            return Err(error.unwrap_or(NegotiateError::NoAudio));
        }
        lines.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The first of these lines with the formats of all: the party that gets them as an offer chooses the line
    /// by its codec (RFC 4317 §2.6).
    pub fn merged(lines: Vec<Line>) -> Result<Line, NegotiateError> {
        let mut lines = lines.into_iter();
        let mut line = lines.next().ok_or(NegotiateError::NoAudio)?;
        for other in lines {
            let known =
                |format: &&Format| line.audio.formats.iter().any(|known| formats::same(known, format));
            let more: Vec<Format> = other.audio.formats.iter().filter(|it| !known(it)).cloned().collect();
            Rc::make_mut(&mut line.audio).formats.extend(more);
        }
        Ok(line)
    }

    /// The line among those of an offer, at least one, that this answer to [`Line::merged`] has chosen.
    pub fn chosen(mut lines: Vec<Line>, answer: &AudioMedia) -> Line {
        let shares = |offered: &Line| {
            let mut speech = offered.audio.formats.iter().filter(|format| formats::is_speech(format));
            speech.any(|format| answer.formats.iter().any(|answered| formats::same(answered, format)))
        };
        lines.swap_remove(lines.iter().position(shares).unwrap_or(0))
    }

    /// The line of a party's answer to this offer of ours (RFC 3264 §6: same index).
    pub fn answered(body: &[u8], offer: &Line, side: &Side) -> Result<Line, NegotiateError> {
        let description = read(body)?;
        let index = index_of(&description, offer.index);
        let audio = usable(&description, index, side)?;
        if !side.has_other_family {
            is_reachable(&audio, side)?;
        }
        side.check_answer(&offer.audio, &audio)?;
        Ok(Line { description, index, audio: side.awaited(audio) })
    }

    /// The line of a party's description that was accepted before, with this index in ours.
    pub fn accepted(body: &[u8], index: usize, side: &Side) -> Option<Line> {
        let description = read(body).ok()?;
        let index = index_of(&description, index);
        let audio = side.awaited(description.audio(index).ok()?);
        Some(Line { description, index, audio })
    }

    /// The audio line of a description of ours; of another one's, the one that is most likely in use.
    pub fn known(body: &[u8]) -> Option<Line> {
        let description = read(body).ok()?;
        let index = description.audio_index()?;
        let audio = description.audio(index).ok()?;
        Some(Line { description, index, audio })
    }
}

/// The index of the line that answers ours: the same, unless the party has moved it.
fn index_of(description: &ReadDescription, ours: usize) -> usize {
    let is_in_use = |index: &usize| description.audio(*index).is_ok_and(|audio| !audio.is_refused());
    Some(ours).filter(is_in_use).or_else(|| description.audio_index().filter(is_in_use)).unwrap_or(ours)
}

fn usable(
    description: &ReadDescription,
    index: usize,
    side: &Side,
) -> Result<Rc<AudioMedia>, NegotiateError> {
    let audio = description.audio(index)?;
    if audio.is_refused() || !(audio.is_plain_rtp() || audio.is_secure_rtp()) {
        return Err(NegotiateError::NoAudio);
    }
    if audio.address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(NegotiateError::Address(format!("{} is not one host", audio.address)));
    }
    if !audio.formats.iter().any(|format| formats::is_speech(format) && side.may_take(format)) {
        return Err(NegotiateError::NoCommonCodec);
    }
    Ok(audio)
}

/// Whether the party's address is one that is sent to from an address of this family, or unknown.
fn is_of_family(audio: &AudioMedia, ipv4: bool) -> bool {
    audio.address.is_unspecified() || audio.address.is_ipv4() == ipv4
}

fn is_reachable(audio: &AudioMedia, side: &Side) -> Result<(), NegotiateError> {
    if is_of_family(audio, side.rtp.is_ipv4()) {
        return Ok(());
    }
    let (theirs, ours) = (audio.address, side.rtp.ip());
    Err(NegotiateError::Address(format!("{theirs} is not of the family of {ours}")))
}

/// Whether IPv4 media suits an offer: that family which its signalling has (`usual`), unless all of its audio
/// lines in use have the other one (RFC 6157 §3.1).
pub fn takes_ipv4(offer: &[u8], usual: bool) -> bool {
    let Ok(description) = read(offer) else { return usual };
    let lines = (0..description.lines().count()).filter_map(|index| description.audio(index).ok());
    let mut in_use = lines.filter(|audio| !audio.is_refused()).peekable();
    let is_of_other = in_use.peek().is_some() && !in_use.any(|audio| is_of_family(&audio, usual));
    usual != is_of_other
}

impl Side {
    /// There are media addresses of both families: an answer may name one of the family that the leg does not
    /// have.
    pub fn with_other_family(mut self, has: bool) -> Self {
        self.has_other_family = has;
        self
    }

    /// The last line received.
    pub(super) fn said_line(&self) -> Option<Line> {
        let index = self.sent.as_deref().and_then(Line::known).map_or(0, |sent| sent.index);
        Line::accepted(self.remote.as_deref()?, index, self)
    }

    /// The host name of the last description received, if nobody was asked for its address in this session.
    pub fn unasked_host(&mut self) -> Option<String> {
        let host = self.said_line()?.audio.host.clone()?;
        let is_known = self.hosts.iter().any(|(known, _)| known.eq_ignore_ascii_case(&host));
        if is_known || self.hosts.len() == MOST_HOSTS || host.parse::<IpAddr>().is_ok() {
            return None;
        }
        self.hosts.push((host.as_str().into(), None));
        Some(host)
    }

    /// Sets the address of a host name for the session.
    pub fn host_found(&mut self, host: &str, address: IpAddr) {
        let is_usable =
            address.is_ipv4() == self.rtp.is_ipv4() && is_one_host((address, self.rtp.port()).into());
        let asked = self.hosts.iter_mut().find(|(known, _)| **known == *host);
        if let Some((_, known)) = asked.filter(|_| is_usable) {
            *known = Some(address);
        }
    }

    /// The line; RTP is awaited from a party whose address is of the other family, or the address of its host
    /// name is used.
    fn awaited(&self, mut audio: Rc<AudioMedia>) -> Rc<AudioMedia> {
        let is_named = |host: &str| self.hosts.iter().find(|(known, _)| known.eq_ignore_ascii_case(host));
        if let Some((_, Some(address))) = audio.host.as_deref().and_then(is_named) {
            let audio = Rc::make_mut(&mut audio);
            (audio.address, audio.host) = (*address, None);
        } else if !is_of_family(&audio, self.rtp.is_ipv4()) {
            let audio = Rc::make_mut(&mut audio);
            audio.host = Some(audio.address.to_string());
            audio.address = match self.rtp {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
        }
        audio
    }
}
