//! What is trimmed at the end of a file. Its header or its pages say where the audio ends; if much more follows, they are
//! wrong, and all of it is audio: an MP3 whose length was guessed, or that another one was appended to, an Ogg file
//! whose pages count nothing.

use std::collections::VecDeque;

use symphonia::core::errors::Result;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

/// More than an encoder adds at the end, ticks of the track.
const LONGEST: u64 = 8_192;

/// Passes packets on, and withholds those that are trimmed at their end until it is known whether more follow.
#[derive(Default)]
pub(super) struct Tail {
    withheld: VecDeque<Packet>,
    /// What comes behind those.
    then: Option<Result<Option<Packet>>>,
    /// Nothing is trimmed.
    is_wrong: bool,
}

impl Tail {
    /// The next packet of any track; `None` at the end.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn next_packet(&mut self, reader: &mut dyn FormatReader) -> Result<Option<Packet>> {
        loop {
            if self.then.is_some() || self.is_wrong {
                if let Some(packet) = self.withheld.pop_front() {
                    return Ok(Some(packet));
                }
                if let Some(then) = self.then.take() {
                    return then;
                }
            }
            match reader.next_packet() {
                Ok(Some(mut packet)) if self.is_wrong => {
                    whole(&mut packet);
                    return Ok(Some(packet));
                }
                Ok(Some(packet)) if packet.trim_end == Duration::ZERO && self.withheld.is_empty() => {
                    return Ok(Some(packet));
                }
                Ok(Some(packet)) => {
                    let goes_on = packet.trim_end == Duration::ZERO;
                    self.withheld.push_back(packet);
                    let trimmed: u64 = self.withheld.iter().map(|packet| packet.trim_end.get()).sum();
                    if goes_on || trimmed > LONGEST {
                        self.is_wrong = true;
                        self.withheld.iter_mut().for_each(whole);
                    }
                }
                end => self.then = Some(end),
            }
        }
    }
}

fn whole(packet: &mut Packet) {
    packet.dur = packet.dur.saturating_add(packet.trim_end);
    packet.trim_end = Duration::ZERO;
}
