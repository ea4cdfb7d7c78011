//! The audio line of a description, found and checked.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::Side;
use super::formats;
use super::read::{ReadDescription, read};
use crate::negotiate::NegotiateError;
use b2b_sdp::AudioMedia;

/// An audio line and its index.
pub(super) struct Line {
    pub description: Rc<ReadDescription>,
    pub index: usize,
    pub audio: Rc<AudioMedia>,
}

impl Line {
    /// The audio line of a party's offer that is used: of two (one plain, one with keys, as Skype for
    /// Business sends them) the one with keys if we prefer keys, otherwise the first.
    pub fn offered(body: &[u8], side: &Side) -> Result<Line, NegotiateError> {
        let description = read(body)?;
        let (mut error, mut plain) = (NegotiateError::NoAudio, None);
        for index in 0..description.lines().count() {
            let allowed = usable(&description, index, side).and_then(|audio| {
                let chosen = side.crypto.choose(audio.is_secure_rtp(), &audio.crypto)?;
                Ok((audio, chosen.is_some()))
            });
            match allowed {
                Ok((audio, keys)) if keys || !side.crypto.prefers_keys() => {
                    return Ok(Line { description, index, audio });
                }
                Ok((audio, _)) => plain = plain.or(Some((index, audio))),
                Err(NegotiateError::NoAudio) => {}
                Err(why) => error = why,
            }
        }
        let (index, audio) = plain.ok_or(error)?;
        Ok(Line { description, index, audio })
    }

    /// The line of a party's answer to this offer of ours (RFC 3264 §6: same index).
    pub fn answered(body: &[u8], offer: &Line, side: &Side) -> Result<Line, NegotiateError> {
        let description = read(body)?;
        let audio = usable(&description, offer.index, side)?;
        side.check_answer(&offer.audio, &audio)?;
        Ok(Line { description, index: offer.index, audio })
    }

    /// The audio line of a description that was accepted or made before.
    pub fn known(body: &[u8]) -> Option<Line> {
        let description = read(body).ok()?;
        let index = description.audio_index()?;
        let audio = description.audio(index).ok()?;
        Some(Line { description, index, audio })
    }
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
    if audio.address.is_ipv4() != side.rtp.is_ipv4() && !audio.address.is_unspecified() {
        let (theirs, ours) = (audio.address, side.rtp.ip());
        return Err(NegotiateError::Address(format!("{theirs} is not of the leg's family ({ours})")));
    }
    if !audio.formats.iter().any(|format| formats::is_speech(format) && side.may_take(format)) {
        return Err(NegotiateError::NoCommonCodec);
    }
    Ok(audio)
}
