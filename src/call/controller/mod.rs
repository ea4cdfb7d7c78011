//! The control of the media of joined legs. Code above these traits does not depend on whether the media is
//! carried by the embedded engine of this process or by a media server.
//!
//! - `request`: the requests, and `answer`: their results, as values; `json`: their encoding
//! - `backend`: what every media backend implements; [`MediaController`]: what callers use beside its verbs
//! - `embedded`: the embedded engine of this process; `trunk`: joins of legs on different threads; `convert`:
//!   conversions between its types and ours
//! - `recordings`: its recordings per endpoint; `sounding`: prompts, music and digit collection; `rooms`:
//!   conferences; `joining`: endpoints and their joins
//! - `future`: answers that are usually ready at once
//! - `values`: specifications, events and errors
//! - `verbs`: what applications ask for; `config`: the configuration of the engine
//!
//! Session descriptions of the far end are passed in exactly as they were received, and those that come out
//! are to be sent unchanged. A controller stores the descriptions that it has exchanged with each far end:
//! the caller only says which offer or answer belongs to which endpoint.

mod answer;
mod backend;
mod config;
mod convert;
mod embedded;
mod future;
mod joining;
pub(crate) mod json;
mod recordings;
mod request;
mod rooms;
mod sounding;
mod trunk;
mod values;
mod verbs;
mod written;

pub use answer::Answer;
pub use b2b_media::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusTuning};
pub use b2b_media::relay::{
    Drops, EndpointStats, Flow, MOST_SAMPLES, PacketTrace, Ports, QualitySample, RtcpStats, Snap, Sources,
    Totals, TraceStats, TracedPacket, TracedPackets, Way,
};
pub use b2b_media::remote::Remote;
pub use b2b_media::transcode::TranscodeStats;
pub use backend::MediaBackend;
pub use config::{EmbeddedConfig, MediaAddresses};
pub use embedded::{EmbeddedController, StartError};
pub use future::MediaFuture;
pub use request::{MadeMut, Music, NameMut, Verb};
pub use sounding::{MusicClass, MusicSource, check_sound, check_sounds};
pub use values::{
    AddressFamily, Answering, AudioRules, Bound, Capabilities, Capability, Descriptions, DtmfMode,
    EndpointId, EndpointSpec, Hold, Joined, LocalDescription, MediaError, MediaEvent, NamedSources,
    OpusRules, OwnHosts, PairPolicy, Route, Signalling, SrtpOffer, SrtpPolicy, SrtpRules, SrtpSuite, Wishes,
};
pub use verbs::{
    AudioStream, Coding, CollectEnd, Collected, ConferenceId, ConferenceSpec, DigitPlan, Interrupted, Levels,
    Member, Mono, Part, Played, Prompt, Recorded, RecordingId, RecordingSpec, StreamCounters, StreamEnd,
    StreamEvent, StreamSpec, Turn,
};
pub use written::{EndpointNotRestored, EndpointNotWritten};

/// The requests to a media backend that callers make beside [`MediaBackend::request`]. Every [`MediaBackend`]
/// implements this trait.
///
/// How a call uses verbs:
/// - A's INVITE with an offer: [`MediaBackend::open_endpoint`] for both, [`Verb::PairOffer`] from A to B; B's
///   180 to 200 with a description: [`Verb::PairAnswer`] from B to A, and [`Verb::Bridge`] as soon as media may
///   flow. Forks: one endpoint per branch; those of lost branches are released.
/// - INVITE without an offer: B gets an INVITE without one, too, then `PairOffer` from B to A for our 200 and
///   `PairAnswer` from A to B for the ACK to B; or [`Verb::LocalOffer`] to B.
/// - Re-INVITE, UPDATE, hold: `PairOffer`, `PairAnswer` again, in either direction. If the other side refuses:
///   [`Verb::WithdrawOffer`]; everything stays as it was.
/// - Hold that b2b answers itself: [`Verb::LocalAnswer`].
/// - Transfer of A from B to C: `LocalOffer` to C like A, C's answer to [`Verb::ApplyRemote`],
///   [`Verb::Unbridge`] of A and B, `Bridge` of A and C. If [`Joined`] says that this needs a transcoder that a
///   new offer to A could avoid: `LocalOffer` to A like C in a re-INVITE, `ApplyRemote` at A, `Bridge` of A and
///   C again.
pub trait MediaController: MediaBackend {
    /// Starts a verb whose answer is of no interest; a refusal is logged.
    fn tell(&self, verb: Verb) {
        self.request(verb).unread();
    }

    /// [`Verb::Allocate`], with an id of the backend.
    ///
    /// # Errors
    /// Those of the verb.
    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        self.request(Verb::Allocate { endpoint: None, spec: Box::new(spec) }).read(Answer::allocated)
    }

    /// [`Verb::HostFound`].
    fn host_found(&self, endpoint: EndpointId, host: String, address: std::net::IpAddr) {
        self.tell(Verb::HostFound { endpoint, host, address });
    }

    /// [`Verb::Release`].
    fn release_endpoint(&self, endpoint: EndpointId) {
        self.tell(Verb::Release { endpoint });
    }

    /// [`Verb::Stats`].
    ///
    /// # Errors
    /// Those of the verb.
    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        self.request(Verb::Stats { endpoint }).read(Answer::stats)
    }

    /// [`Verb::FollowRecording`].
    ///
    /// # Errors
    /// Those of the verb that are known locally.
    fn follow_recording(
        &self,
        recording: RecordingId,
        endpoint: EndpointId,
        other_side: bool,
    ) -> Result<(), MediaError> {
        match self.request(Verb::FollowRecording { recording, endpoint, other_side }).now() {
            Ok(followed) => followed.map(drop),
            // The request is in progress: only an error known locally can refuse it.
            Err(_) => Ok(()),
        }
    }
}

impl<T: MediaBackend> MediaController for T {}
