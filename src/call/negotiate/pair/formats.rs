//! Payload types of two legs: which formats are the same, under which numbers they are
//! offered, and what becomes of packets between them.

use super::super::NegotiateError;
use crate::media::codec::Codec;
use crate::media::forward::PayloadMap;
use crate::media::relay::{Law, Recode, Way};
use crate::sdp::{AudioMedia, Format};

/// Whether packets of one are packets of the other. Names, clock rates and channels must
/// agree; of the parameters only those that change how a payload is laid out.
pub(super) fn same(one: &Format, other: &Format) -> bool {
    one.same_encoding(other) && layout(one) == layout(other)
}

/// `octet-align` of AMR (RFC 4867 §8.1), `mode` of iLBC (RFC 3952 §5).
fn layout(format: &Format) -> Option<&str> {
    let encoding = format.encoding.as_str();
    let (name, default) = if encoding.eq_ignore_ascii_case("AMR") || encoding.eq_ignore_ascii_case("AMR-WB") {
        ("octet-align", "0")
    } else if encoding.eq_ignore_ascii_case("iLBC") {
        ("mode", "30")
    } else {
        return None;
    };
    let parameters = format.fmtp.as_deref().unwrap_or_default().split(';');
    let mut pairs = parameters.filter_map(|parameter| parameter.trim().split_once('='));
    Some(pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or(default, |(_, value)| value))
}

/// Whether this is speech: neither events nor comfort noise.
pub(super) fn is_speech(format: &Format) -> bool {
    !format.is_telephone_event() && !format.encoding.eq_ignore_ascii_case("CN")
}

/// The codec of a format that we can decode and encode.
pub(super) fn codec(format: &Format) -> Option<Codec> {
    let codec = format.encoding.parse::<Codec>().ok()?;
    (codec.clock_rate() == format.clock_rate && format.channels == 1).then_some(codec)
}

/// What we can transcode to.
pub(super) fn ours() -> impl Iterator<Item = Format> {
    Codec::ALL.into_iter().map(|codec| Format::new(codec.payload_type(), codec.name(), codec.clock_rate()))
}

/// Gives each format a number towards a leg: the one that it has there already, since a
/// number never changes its meaning within a session (RFC 3264 §8.3.2), else its own, else
/// a free dynamic one. Formats for which there is none are left out.
pub(super) fn number(wanted: Vec<Format>, known: &[Format]) -> Vec<Format> {
    let mut numbered: Vec<Format> = Vec::with_capacity(wanted.len());
    for format in wanted {
        let free = |payload_type: u8, numbered: &[Format]| {
            !numbered.iter().any(|taken| taken.payload_type == payload_type)
                && !known.iter().any(|known| known.payload_type == payload_type && !same(known, &format))
        };
        let before = known.iter().find(|known| same(known, &format)).map(|known| known.payload_type);
        let candidates = before.into_iter().chain([format.payload_type]).chain(96..=127);
        let found = candidates.into_iter().find(|payload_type| free(*payload_type, &numbered));
        numbered.extend(found.map(|payload_type| Format { payload_type, ..format.clone() }));
    }
    numbered
}

/// What becomes of packets from a leg that was `told` what we take and says of itself that
/// it has `own`, towards a leg that takes what `to` lists; and the encodings in words, two
/// of them if they differ. What a leg sends is what both lists have, though it may send
/// all that it was told.
///
/// # Errors
/// [`NegotiateError::NoCommonCodec`]: none of them can be carried.
pub(super) fn way(
    told: &AudioMedia,
    own: &AudioMedia,
    to: &AudioMedia,
) -> Result<(Way, String, Option<String>), NegotiateError> {
    let agreed = |format: &Format| own.formats.iter().any(|own| same(own, format));
    let mut payload_types = PayloadMap::EMPTY;
    let mut relayed: Option<&Format> = None;
    for format in &told.formats {
        let there = to.formats.iter().find(|there| same(there, format));
        if let Some(there) = there {
            payload_types.forward(format.payload_type, there.payload_type);
            if is_speech(format) && agreed(format) {
                relayed = relayed.or(Some(format));
            }
        }
        if format.is_telephone_event() {
            payload_types.telephone_event(format.payload_type);
        }
    }
    if let Some(format) = relayed {
        let way = Way { payload_types, clock_rate: format.clock_rate, recode: None };
        return Ok((way, format.encoding.clone(), None));
    }
    let decoded = told.formats.iter().find(|format| agreed(format) && codec(format).is_some());
    let encoded = to.formats.iter().find_map(|format| Some((format, codec(format)?)));
    let (from, (to, to_codec)) = decoded.zip(encoded).ok_or(NegotiateError::NoCommonCodec)?;
    payload_types.forward(from.payload_type, to.payload_type);
    let law = match to_codec {
        Codec::Pcmu => Law::Mu,
        Codec::Pcma => Law::A,
    };
    let recode = Some(Recode { payload_type: from.payload_type, to: law });
    let way = Way { payload_types, clock_rate: from.clock_rate, recode };
    Ok((way, from.encoding.clone(), Some(to.encoding.clone())))
}
