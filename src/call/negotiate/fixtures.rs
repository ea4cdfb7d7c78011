//! Fixtures for the tests of this module: our side, and descriptions with given media lines.

use super::NegotiateError;
use super::pair::{OwnAudio, PairError, PairPolicy, Side};
use b2b_media::codec::Codec;
use b2b_media::local::MediaParams;

/// Our side with these codecs.
pub(super) fn local(codecs: &[Codec]) -> Side {
    let own = OwnAudio { codecs: codecs.to_vec(), ptime_ms: 20, attributes: Vec::new() };
    Side::new("127.0.0.1:20000".parse().expect("address"), 84).with_own(own)
}

fn policy() -> PairPolicy {
    PairPolicy { transcode: false, ..PairPolicy::default() }
}

pub(super) fn make_offer(side: &mut Side) -> String {
    text(&side.own_offer(&policy()).expect("an offer"))
}

pub(super) fn make_answer(
    side: &mut Side,
    offer: impl AsRef<[u8]>,
) -> Result<(String, MediaParams), NegotiateError> {
    side.own_answer(offer.as_ref(), &policy()).map(|(answer, params)| (text(&answer), params))
}

/// The result of this answer to our offer.
pub(super) fn apply_answer(side: &mut Side, answer: impl AsRef<[u8]>) -> Result<MediaParams, NegotiateError> {
    side.own_settled(answer.as_ref()).map_err(|error| match error {
        PairError::Negotiate(error) => error,
        error => panic!("{error}"),
    })
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).expect("utf-8")
}

/// A description with these media lines after an ordinary session part.
pub(super) fn description(lines: &str) -> String {
    format!("v=0\r\no=a 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n{lines}")
}

/// The codecs that the remote party may send.
pub(super) fn says(params: &MediaParams) -> Vec<(u8, Codec)> {
    params.remote.voice.says.into_iter().flatten().collect()
}

/// The payload types and clock rates under which the remote party may send events.
pub(super) fn events(params: &MediaParams) -> Vec<(u8, u32)> {
    params.remote.telephone_events.iter().collect()
}
