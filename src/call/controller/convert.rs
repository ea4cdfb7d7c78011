//! Conversions between the types of the embedded controller and those of its engine.

use super::{AddressFamily, EndpointId, MediaError, MediaEvent};
use crate::negotiate::pair::{DirectError, PairError};
use b2b_media::relay::{OpenError, RelayEvent, RelayId};

/// The id contains the location: 8 bits of thread, 24 of slot.
pub(super) fn endpoint_id(id: RelayId) -> EndpointId {
    EndpointId(u64::from(id.thread) << 56 | u64::from(id.slot) << 32 | u64::from(id.generation))
}

pub(super) fn relay_id(id: EndpointId) -> RelayId {
    let EndpointId(id) = id;
    RelayId { thread: (id >> 56) as u16, slot: (id >> 32) as u32 & 0xFF_FFFF, generation: id as u32 }
}

pub(super) fn refused(error: OpenError, family: AddressFamily) -> MediaError {
    match error {
        OpenError::Ports => MediaError::NoPorts,
        OpenError::Family => MediaError::Family(family),
        OpenError::Stopped => MediaError::Stopped,
    }
}

impl From<PairError> for MediaError {
    fn from(error: PairError) -> Self {
        match error {
            PairError::Negotiate(crate::negotiate::NegotiateError::NoCommonCodec) => {
                MediaError::NoCommonCodec
            }
            PairError::Negotiate(error) => MediaError::Description(error),
            PairError::NoOffer => MediaError::NoOffer,
            PairError::Undescribed => MediaError::Undescribed,
        }
    }
}

impl From<DirectError> for MediaError {
    fn from(error: DirectError) -> Self {
        MediaError::NotDirect(error.to_string())
    }
}

impl MediaError {
    /// The response that refuses the offer or the call concerned.
    pub fn status(&self) -> (u16, String) {
        let (status, phrase) = match self {
            MediaError::Description(error) => return error.status(),
            MediaError::NoCommonCodec => (488, "Not Acceptable Here"),
            MediaError::Family(_) => (488, "Incompatible Network Address Format"),
            MediaError::NoPorts | MediaError::Streams | MediaError::Stopped => (503, "No Media Resources"),
            MediaError::Unsupported(_)
            | MediaError::Prompt(_)
            | MediaError::File(_)
            | MediaError::Conference
            | MediaError::NoSuchEndpoint(_)
            | MediaError::Undescribed
            | MediaError::NotDirect(_)
            | MediaError::NoOffer => (500, "Server Internal Error"),
        };
        (status, phrase.to_owned())
    }

    /// The status for others where a party's answer to us cannot be used: the fault is neither theirs nor ours.
    pub fn status_of_answer(&self) -> u16 {
        match self {
            MediaError::Description(_) | MediaError::NoOffer => 488,
            other => other.status().0,
        }
    }
}

impl TryFrom<RelayEvent> for MediaEvent {
    /// An event of an endpoint with a source and a sink, which a controller never opens.
    type Error = RelayEvent;

    fn try_from(event: RelayEvent) -> Result<Self, RelayEvent> {
        Ok(match event {
            RelayEvent::Started { id, from } => MediaEvent::Started { endpoint: endpoint_id(id), from },
            RelayEvent::Timeout { id } => MediaEvent::Timeout { endpoint: endpoint_id(id) },
            RelayEvent::SourceChanged { id, from, to } => {
                MediaEvent::SourceChanged { endpoint: endpoint_id(id), from, to }
            }
            RelayEvent::SourceRefused { id, from } => {
                MediaEvent::SourceRefused { endpoint: endpoint_id(id), from }
            }
            RelayEvent::Replayed { id } => MediaEvent::Replayed { endpoint: endpoint_id(id) },
            RelayEvent::Withheld { id, to } => MediaEvent::Withheld { endpoint: endpoint_id(id), to },
            RelayEvent::Digit { id, digit, duration_ms, passed_on, by_tone } => {
                MediaEvent::Digit { endpoint: endpoint_id(id), digit, duration_ms, passed_on, by_tone }
            }
            RelayEvent::Speaking { room, id, on } => super::rooms::speaking(room, id, on),
            RelayEvent::Closed { id, stats } => MediaEvent::Closed { endpoint: endpoint_id(id), stats },
            RelayEvent::Lost { reason } => MediaEvent::Lost { reason },
            RelayEvent::SourceEnded { .. } | RelayEvent::Heard { .. } => return Err(event),
        })
    }
}
