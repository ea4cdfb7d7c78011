//! Our own offers, and answers to offers that are not passed on.

use super::read::ReadDescription;
use super::{
    AudioMedia, Format, Hold, Line, NegotiateError, Origin, PairError, PairPolicy, SessionDescription, Side,
    Wishes, across, direction, formats, receives, settle_answer,
};

/// Our offer to `to`: the media of `like`, otherwise all codecs that we have.
///
/// # Errors
/// The policy leaves nothing to offer.
pub fn local_offer(
    to: &mut Side,
    like: Option<&Side>,
    policy: &PairPolicy,
) -> Result<Box<[u8]>, NegotiateError> {
    let line = like.and_then(|like| Some((like.wishes, like.said_line()?)));
    let known = formats::Numbers::Known;
    let mut audio = match line {
        // An answer's direction only mirrors that of its offer (RFC 3264 §6.1): what is offered to another
        // party is the party's own wish.
        Some((wishes, line)) => across(&line, wishes, known, to, policy)?,
        None => {
            let own = AudioMedia::new(to.rtp, formats::ours_with_events(to));
            let description =
                SessionDescription::offer(&Origin { session_id: 0, version: 0, address: to.rtp.ip() }, &own);
            let line = Line { description: ReadDescription::made(description), index: 0, audio: own.into() };
            across(&line, Wishes::default(), known, to, policy)?
        }
    };
    let turns = like.is_some_and(Side::turns_digits) && to.audio.digits.has_events();
    if turns && policy.telephone_event {
        formats::offer_events(&mut audio.formats, &to.known_formats());
    }
    to.add_own(&mut audio, None);
    to.unknown_attributes = policy.unknown_attributes;
    to.holding = Some(policy.hold.is_on());
    Ok(to.offer(&audio))
}

/// Applies the answer to [`local_offer`].
///
/// # Errors
/// The answer cannot be used, or there was no offer.
pub fn apply(side: &mut Side, body: &[u8]) -> Result<(), PairError> {
    let offered =
        side.ours.as_deref().or(side.sent.as_deref()).and_then(Line::known).ok_or(PairError::NoOffer)?;
    let line = Line::answered(body, &offered, side)?;
    settle_answer(side, &offered.audio, &line.audio, body);
    Ok(())
}

/// Repeats the last description sent to the leg as an offer: [`apply`] takes its answer.
///
/// # Errors
/// No description has been sent yet.
pub fn repeat(side: &mut Side) -> Result<Box<[u8]>, PairError> {
    let offer = side.sent.clone().ok_or(PairError::Undescribed)?;
    side.ours = Some(offer.clone());
    Ok(offer)
}

/// Our answer to an offer that is not passed on: the formats agreed before, if still offered, otherwise all
/// codecs that we have.
///
/// # Errors
/// The offer has nothing for us: refuse it.
pub fn local_answer(side: &mut Side, body: &[u8], policy: &PairPolicy) -> Result<Box<[u8]>, NegotiateError> {
    if side.own.is_none() && side.repeats(body) && side.is_led_past() {
        side.withdraw();
        return side.sent.clone().ok_or(NegotiateError::NoAudio);
    }
    let offer = Line::offered(body, side)?;
    let before = side.sent.as_deref().and_then(Line::known).map(|line| line.audio);
    let ours = AudioMedia::new(side.rtp, formats::ours_with_events(side));
    // Format parameters describe the receiver: ours are as we declare them (RFC 7587 §7).
    let common = |known: &AudioMedia| {
        let of_ours = |format: &Format| {
            let ours = known.formats.iter().find(|known| formats::same(known, format))?;
            Some(Format { payload_type: format.payload_type, ..ours.clone() })
        };
        let mut both: Vec<Format> = offer.audio.formats.iter().filter_map(of_ours).collect();
        formats::keep_events_beside(&mut both);
        both.iter().any(formats::is_speech).then_some(both)
    };
    // The codec in use stays the first: the other leg uses it, and may have no other. Audio that ends here
    // may use any of our codecs at any time.
    let answered = if side.has_answered { side.said_line() } else { None };
    let in_use = answered.map(|line| line.audio).or_else(|| before.clone());
    let kept = before.as_deref().filter(|_| side.own.is_none()).and_then(common).map(|mut formats| {
        let used = in_use.iter().flat_map(|audio| &audio.formats);
        let place = |format: &Format| used.clone().position(|used| formats::same(used, format));
        formats.sort_by_cached_key(|format| place(format).unwrap_or(usize::MAX));
        formats
    });
    let mut formats = kept.or_else(|| common(&ours)).ok_or(NegotiateError::NoCommonCodec)?;
    side.without_events(&mut formats);
    side.audio.rewrite_fmtp(&mut formats);
    side.audio.add_noise(&mut formats, Some(&offer.audio));
    let mut audio = AudioMedia::new(side.rtp, formats);
    audio.protocol.clone_from(&offer.audio.protocol);
    let on_hold = policy.hold.is_on();
    let sends = receives(&offer.audio) && policy.hold != Hold::Silent;
    audio.direction = direction(sends, offer.audio.direction.has_send() && !on_hold);
    let before = before.and_then(|before| before.ptime_ms);
    audio.ptime_ms = side.audio.ptime_ms().or(policy.ptime_ms).or(before);
    audio.rtcp_mux = offer.audio.rtcp_mux;
    side.add_own(&mut audio, Some(&offer.audio));
    side.encrypt_answer(&offer.audio, &mut audio)?;
    side.told_events.add(&audio);
    let bytes = side.write(offer.index, &audio, |origin| {
        SessionDescription::answer(origin, &offer.description, offer.index, &audio)
    });
    side.withdraw();
    side.on_hold = on_hold;
    (side.wishes, side.has_answered) = (Wishes::of(&offer.audio), false);
    side.has_sent(bytes.clone());
    side.has_said(body.into(), &offer.audio);
    side.settle_crypto();
    Ok(bytes)
}
