//! Descriptions that were read a moment ago. An offer, its answer and the join behind them
//! look at the same four texts a dozen times, and reading one costs as much as parsing
//! several SIP messages; kept read for the length of a call, they would take ten times the
//! room of their octets.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

use super::NegotiateError;
use crate::negotiate;
use b2b_sdp::{AudioMedia, SdpError, SessionDescription};

/// Those of one turn, and some to spare.
const KEPT: usize = 8;
/// Longer ones are rare, and would be memory for nothing.
const LONGEST: usize = 4_096;

type Read = (Box<[u8]>, Rc<ReadDescription>);

/// A description, and the line of it that was asked for.
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
    /// One that nobody has sent.
    pub fn made(description: SessionDescription) -> Rc<Self> {
        Rc::new(ReadDescription { description, audio: OnceCell::new() })
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

/// As [`negotiate::parse`]: the same octets always say the same.
pub fn read(body: &[u8]) -> Result<Rc<ReadDescription>, NegotiateError> {
    LAST.with_borrow_mut(|last| {
        if let Some((_, known)) = last.iter().find(|(octets, _)| **octets == *body) {
            return Ok(known.clone());
        }
        let description = ReadDescription::made(negotiate::parse(body)?);
        if body.len() <= LONGEST {
            last.truncate(KEPT - 1);
            last.push_front((body.into(), description.clone()));
        }
        Ok(description)
    })
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
}
