//! A cache of parsed descriptions. An offer, its answer and the join that follows use the same four texts a
//! dozen times, and parsing one costs as much as parsing several SIP messages; kept parsed for the duration
//! of a call, they would take ten times the memory of their bytes.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use super::NegotiateError;
use crate::negotiate;
use b2b_sdp::{AudioMedia, SdpError, SessionDescription, Skipped};

/// The descriptions of one turn, and some to spare.
const KEPT: usize = 8;
/// Longer descriptions are rare, and would waste memory.
const LONGEST: usize = 4_096;

type Read = (Box<[u8]>, Rc<ReadDescription>);

/// A parsed description, and the audio line that was last asked for.
#[derive(Debug)]
pub struct ReadDescription {
    description: SessionDescription,
    audio: OnceCell<(usize, Rc<AudioMedia>)>,
}

impl Deref for ReadDescription {
    type Target = SessionDescription;

    fn deref(&self) -> &SessionDescription {
        &self.description
    }
}

impl ReadDescription {
    /// A description that was not received.
    pub fn made(description: SessionDescription) -> Rc<Self> {
        Rc::new(ReadDescription { description, audio: OnceCell::new() })
    }

    /// A description that we write, with its audio line.
    fn written(description: SessionDescription, index: usize, audio: &AudioMedia) -> Rc<Self> {
        // Attributes that are passed on unparsed are not part of a parsed line.
        let audio = if audio.others.is_empty() { Some((index, Rc::new(audio.clone()))) } else { None };
        Rc::new(ReadDescription { description, audio: audio.map_or_else(OnceCell::new, OnceCell::from) })
    }

    /// As [`SessionDescription::audio`]: nearly always it is the same line.
    pub fn audio(&self, index: usize) -> Result<Rc<AudioMedia>, SdpError> {
        match self.audio.get() {
            Some((known, audio)) if *known == index => Ok(audio.clone()),
            _ => {
                let audio = Rc::new(self.description.audio(index)?);
                // The first one stays.
                let _ = self.audio.set((index, audio.clone()));
                Ok(audio)
            }
        }
    }
}

thread_local! {
    static LAST: RefCell<VecDeque<Read>> = const { RefCell::new(VecDeque::new()) };
}

/// As [`negotiate::parse`], cached: equal bytes have equal results.
pub fn read(body: &[u8]) -> Result<Rc<ReadDescription>, NegotiateError> {
    LAST.with_borrow_mut(|last| {
        if let Some((_, known)) = last.iter().find(|(octets, _)| **octets == *body) {
            return Ok(known.clone());
        }
        let description = ReadDescription::made(negotiate::parse(body)?);
        keep(last, body, &description);
        Ok(description)
    })
}

/// Adds a description of ours, `body` in bytes, and its audio line to the cache: the next reader, on the
/// answer to it, finds it parsed.
pub fn remember(body: &[u8], description: SessionDescription, index: usize, audio: &AudioMedia) {
    let description = ReadDescription::written(description, index, audio);
    debug_assert_eq!(
        negotiate::parse(body).ok().and_then(|it| it.audio(index).ok()).as_ref(),
        description.audio(index).ok().as_deref(),
        "it reads as it was written"
    );
    LAST.with_borrow_mut(|last| keep(last, body, &description));
}

/// What an observer of a received description has to know: the lines that are not used since they cannot be
/// read, and a host name in place of an address.
pub fn remark(body: &[u8]) -> Option<String> {
    let description = read(body).ok()?;
    let audio = description.audio(description.audio_index()?).ok();
    let host = audio.and_then(|audio| Some(format!("RTP of {} is awaited", audio.host.as_deref()?)));
    let skipped: Vec<String> = description.skipped().iter().map(Skipped::to_string).collect();
    match (skipped.is_empty(), host) {
        (true, host) => host,
        (false, None) => Some(format!("not read: {}", skipped.join(", "))),
        (false, Some(host)) => Some(format!("{host}; not read: {}", skipped.join(", "))),
    }
}

fn keep(last: &mut VecDeque<Read>, body: &[u8], description: &Rc<ReadDescription>) {
    if body.len() <= LONGEST {
        last.truncate(KEPT - 1);
        last.push_front((body.into(), description.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_octets_are_read_once_and_others_anew() {
        let text = |port: usize| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
            )
        };
        let first = read(text(4_000).as_bytes()).unwrap();
        assert!(Rc::ptr_eq(&first, &read(text(4_000).as_bytes()).unwrap()));
        for port in 0..KEPT {
            let other = read(text(5_000 + port).as_bytes()).unwrap();
            assert_eq!(other.lines().next().unwrap().port as usize, 5_000 + port);
        }
        let again = read(text(4_000).as_bytes()).unwrap();
        assert!(!Rc::ptr_eq(&first, &again) && **first == **again);
        assert!(read(b"nothing").is_err() && read(b"nothing").is_err());
        LAST.with_borrow(|last| assert_eq!(last.len(), KEPT));
    }
    #[test]
    fn what_we_write_is_read_already_and_as_if_it_were_parsed() {
        let audio = AudioMedia::new("192.0.2.1:4000".parse().unwrap(), vec![b2b_sdp::Format::pcma()]);
        let origin = b2b_sdp::Origin { session_id: 1, version: 1, address: audio.address };
        let description = SessionDescription::offer(&origin, &audio);
        let body = description.to_bytes();
        remember(&body, description, 0, &audio);
        let kept = LAST.with_borrow(|last| last[0].1.clone());
        let known = read(&body).unwrap();
        assert!(Rc::ptr_eq(&known, &kept));
        assert_eq!(known.description, negotiate::parse(&body).unwrap());
        assert_eq!(*known.audio(0).unwrap(), negotiate::parse(&body).unwrap().audio(0).unwrap());
    }
}
