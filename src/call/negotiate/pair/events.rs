//! Every number that was `telephone-event` in a session: a number keeps its meaning as long as the
//! session lasts (RFC 3264 §8.3.2), and a far end may use one of an earlier description.

use super::super::telephone_event;
use b2b_media::remote::MOST_EVENTS;
use b2b_sdp::{AudioMedia, Format};

/// Payload types and clock rates.
pub(super) type EventNumbers = [Option<(u8, u32)>; MOST_EVENTS];

/// The numbers that a leg was told for events, the first ones first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToldEvents(EventNumbers);

impl ToldEvents {
    /// Takes those of a description of ours.
    pub fn add(&mut self, told: &AudioMedia) {
        for number in numbers(told) {
            if !self.0.contains(&Some(number))
                && let Some(place) = self.0.iter_mut().find(|place| place.is_none())
            {
                *place = Some(number);
            }
        }
    }

    /// Those of before that the last description does not name, nor uses for something else.
    pub fn beside(&self, told: &AudioMedia) -> EventNumbers {
        self.0.map(|number| number.filter(|(payload_type, _)| told.format(*payload_type).is_none()))
    }

    /// Those of the last description, and those of before.
    pub fn with(&self, told: &AudioMedia) -> impl Iterator<Item = (u8, u32)> {
        numbers(told).chain(self.beside(told).into_iter().flatten())
    }

    /// As formats.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let format = |(payload_type, clock_rate)| Format { clock_rate, ..telephone_event(payload_type) };
        self.0.into_iter().flatten().map(format)
    }
}

fn numbers(told: &AudioMedia) -> impl Iterator<Item = (u8, u32)> {
    let events = told.formats.iter().filter(|format| format.is_telephone_event());
    events.map(|format| (format.payload_type, format.clock_rate))
}
