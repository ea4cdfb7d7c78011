//! All payload types of `telephone-event` in a session: a payload type keeps its meaning for the whole
//! session (RFC 3264 §8.3.2), and a remote party may use one of an earlier description.

use super::super::{TELEPHONE_EVENT_PT, telephone_event};
use b2b_media::remote::MOST_EVENTS;
use b2b_sdp::{AudioMedia, Format};

/// Payload types and clock rates.
pub(super) type EventNumbers = [Option<(u8, u32)>; MOST_EVENTS];

/// The payload types of events sent to a leg, in order of their first use.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct ToldEvents(EventNumbers);

impl ToldEvents {
    /// Adds those of a description of ours.
    pub fn add(&mut self, told: &AudioMedia) {
        for number in numbers(told) {
            if !self.0.contains(&Some(number))
                && let Some(place) = self.0.iter_mut().find(|place| place.is_none())
            {
                *place = Some(number);
            }
        }
    }

    /// Earlier ones that the last description neither lists nor uses for another format.
    pub fn beside(&self, told: &AudioMedia) -> EventNumbers {
        self.0.map(|number| number.filter(|(payload_type, _)| told.format(*payload_type).is_none()))
    }

    /// Those of the last description, and the earlier ones.
    pub fn with(&self, told: &AudioMedia) -> impl Iterator<Item = (u8, u32)> {
        numbers(told).chain(self.beside(told).into_iter().flatten())
    }

    /// The payload types as formats.
    pub fn formats(&self) -> impl Iterator<Item = Format> {
        let format = |(payload_type, clock_rate)| Format { clock_rate, ..telephone_event(payload_type) };
        self.0.into_iter().flatten().map(format)
    }
}

fn numbers(told: &AudioMedia) -> impl Iterator<Item = (u8, u32)> {
    let events = told.formats.iter().filter(|format| format.is_telephone_event());
    events.map(|format| (format.payload_type, format.clock_rate))
}

/// The events of a party that sends some although neither description names them: they have the usual number, unless
/// that is another format's.
pub(super) fn unnamed(told: &AudioMedia, own: &AudioMedia, clock_rate: u32) -> Option<(u8, u32)> {
    let is_free = [told, own].iter().all(|it| it.format(TELEPHONE_EVENT_PT).is_none());
    is_free.then_some((TELEPHONE_EVENT_PT, clock_rate))
}
