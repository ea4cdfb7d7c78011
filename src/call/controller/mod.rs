//! The control of the media of joined legs. Code above these traits does not depend on whether the media is
//! carried by the embedded engine of this process or by a media server.
//!
//! - `request`: the requests, and `answer`: their results, as values; `json`: their encoding
//! - `backend`: what every media backend implements; [`MediaController`]: what callers use
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

use bytes::Bytes;

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

/// The requests to a media backend: each sends a [`Verb`] by [`MediaBackend::request`] and reads its answer.
/// Every [`MediaBackend`] implements this trait.
///
/// How a call uses it:
/// - A's INVITE with an offer: `open_endpoint` for both, `pair_offer(A, B)`; B's
///   180 to 200 with a description: `pair_answer(B, A)`, and `bridge(A, B)` as soon as
///   media may flow. Forks: one endpoint per branch; those of lost branches are released.
/// - INVITE without an offer: B gets an INVITE without one, too, then `pair_offer(B, A)`
///   for our 200 and `pair_answer(A, B)` for the ACK to B; or `local_offer(B)`.
/// - Re-INVITE, UPDATE, hold: `pair_offer`, `pair_answer` again, in either direction.
///   If the other side refuses: `withdraw_offer`; everything stays as it was.
/// - Hold that b2b answers itself: `local_answer`.
/// - Transfer of A from B to C: `local_offer(C, Some(A))`, C's answer to
///   `apply_remote(C)`, `unbridge(A, B)`, `bridge(A, C)`. If [`Joined`] says that this
///   needs a transcoder that a new offer to A could avoid: `local_offer(A, Some(C))` in a
///   re-INVITE, `apply_remote(A)`, `bridge(A, C)` again.
pub trait MediaController: MediaBackend {
    /// Starts a verb whose answer is of no interest; a refusal is logged.
    fn tell(&self, verb: Verb) {
        self.request(verb).unread();
    }

    /// Allocates an endpoint, where one party's media will arrive.
    ///
    /// # Errors
    /// `NoPorts`, `Family`, `Stopped`.
    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        self.request(Verb::Allocate { endpoint: None, spec: Box::new(spec) }).read(Answer::allocated)
    }

    /// The party's last message came from this host: its next description may name it as a source of media.
    /// The host in [`EndpointSpec::signalling`] stays allowed.
    fn signalled_from(&self, endpoint: EndpointId, host: std::net::IpAddr) {
        self.request(Verb::SignalledFrom { endpoint, host }).unread();
    }

    /// The address of a host name that the party has given ([`MediaEvent::HostNamed`]). It counts for the name
    /// in all descriptions of the endpoint, and is judged as any address.
    fn host_found(&self, endpoint: EndpointId, host: String, address: std::net::IpAddr) {
        self.request(Verb::HostFound { endpoint, host, address }).unread();
    }

    /// Releases an endpoint and removes it from its bridge. `Closed` follows, with the final counters. A
    /// second call has no effect.
    fn release_endpoint(&self, endpoint: EndpointId) {
        self.request(Verb::Release { endpoint }).unread();
    }

    /// Processes the offer of `from`'s party; returns the offer for `to`'s party. The media does not change
    /// yet.
    ///
    /// # Errors
    /// `Description`: refuse `from`'s offer with [`MediaError::status`].
    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.request(Verb::PairOffer { from, to, offer, policy: policy.clone() }).read(Answer::description)
    }

    /// Processes the answer of `from`'s party to the last offer that `pair_offer(to, from)` made for it;
    /// returns the answer to `to`'s party. May be called again with a later answer (183, then 200) and with
    /// answers of other branches: as long as they lead to the same result, `to` is answered with the same
    /// octets. Bridged endpoints follow at once.
    ///
    /// # Errors
    /// `Description`: end `from`'s leg.
    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.request(Verb::PairAnswer { from, to, answer }).read(Answer::description)
    }

    /// Creates our own offer to this party: with the codecs of `like`'s party, where one is given and has
    /// described itself, otherwise with every codec that we have and `policy` allows.
    ///
    /// # Errors
    /// `Description`: `policy` leaves nothing to offer.
    fn local_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.request(Verb::LocalOffer { endpoint, like, policy: policy.clone() }).read(Answer::description)
    }

    /// Processes the party's answer to an offer of `local_offer`.
    ///
    /// # Errors
    /// `Description`: end the leg.
    fn apply_remote(&self, endpoint: EndpointId, answer: Bytes) -> MediaFuture<()> {
        self.request(Verb::ApplyRemote { endpoint, answer }).read(Answer::done)
    }

    /// Creates our own answer to the party's offer, as the party it is or was last joined with would give it:
    /// for hold and resume that are not passed on.
    ///
    /// # Errors
    /// `Description`: refuse the offer with [`MediaError::status`].
    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.request(Verb::LocalAnswer { endpoint, offer, policy: policy.clone() }).read(Answer::description)
    }

    /// Repeats the last description sent to the party as an offer that changes nothing: a refresh (RFC 4028
    /// §7.4, RFC 3264 §8). Its answer goes to `apply_remote`.
    ///
    /// # Errors
    /// `Undescribed`.
    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        self.request(Verb::RepeatOffer { endpoint }).read(Answer::description)
    }

    /// Creates an offer to `to`'s party to exchange media directly with `from`'s party: the last description
    /// of `from`'s party, with its address. `heard` is the source of its RTP. The answer goes to
    /// `apply_remote`; the endpoints stay joined, for packets that still arrive here.
    ///
    /// # Errors
    /// `NotDirect`, `Unsupported`.
    fn direct_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        heard: std::net::SocketAddr,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.request(Verb::DirectOffer { from, to, heard, policy: policy.clone() }).read(Answer::description)
    }

    /// Creates an offer that moves the party's media back to its endpoint. The answer goes to `apply_remote`.
    ///
    /// # Errors
    /// `Undescribed`, `Unsupported`.
    fn return_offer(&self, endpoint: EndpointId, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.request(Verb::ReturnOffer { endpoint, policy: policy.clone() }).read(Answer::description)
    }

    /// Sends a digit to the party as RFC 4733 events, interleaved with its current media, if the party
    /// accepts them; otherwise, or while the party is on hold, the digit is silently dropped.
    fn send_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        self.request(Verb::SendDigit { endpoint, digit, duration_ms }).unread();
    }

    /// The pending offer to this party, or by it, was refused: the previous session stays in effect. Has no
    /// effect without a pending offer.
    fn withdraw_offer(&self, endpoint: EndpointId) {
        self.request(Verb::WithdrawOffer { endpoint }).unread();
    }

    /// Joins two endpoints: media received from one goes to the other. Both must have described themselves;
    /// earlier joins of either are removed. Called again for the same two, it renegotiates how they are
    /// joined.
    ///
    /// # Errors
    /// `NoCommonCodec`, `Undescribed`.
    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        self.request(Verb::Bridge { a, b }).read(Answer::joined)
    }

    /// Separates two endpoints; what they receive is dropped. Has no effect if they are not joined.
    fn unbridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<()> {
        self.request(Verb::Unbridge { a, b }).read(Answer::done)
    }

    /// The current counters of an endpoint.
    ///
    /// # Errors
    /// `NoSuchEndpoint`: the final counters are in its `Closed` event.
    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        self.request(Verb::Stats { endpoint }).read(Answer::stats)
    }

    // ---- requests of applications

    /// Plays this to the party instead of its other media, joined or not; ready when it ends. A prompt in
    /// progress is stopped.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Prompt`.
    fn play_prompt(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.request(Verb::Play { endpoint, prompt: prompt.clone() }).read(Answer::played)
    }

    /// Stops the prompt of [`MediaController::play_prompt`] or [`MediaController::play_and_collect`].
    fn stop_prompt(&self, endpoint: EndpointId) {
        self.request(Verb::StopPrompt { endpoint }).unread();
    }

    /// Collects digits: RFC 4733 events, digits in the signalling, and tones where
    /// they are digits. A collection in progress is stopped.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn collect_dtmf(&self, endpoint: EndpointId, plan: &DigitPlan) -> MediaFuture<Collected> {
        self.request(Verb::Collect { endpoint, prompt: None, plan: plan.clone() }).read(Answer::collected)
    }

    /// Plays a prompt and collects digits from the start of the prompt.
    ///
    /// # Errors
    /// Those of [`MediaController::play_prompt`] and [`MediaController::collect_dtmf`].
    fn play_and_collect(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        let prompt = Some(prompt.clone());
        self.request(Verb::Collect { endpoint, prompt, plan: plan.clone() }).read(Answer::collected)
    }

    /// Stops a collection.
    fn stop_collecting(&self, endpoint: EndpointId) {
        self.request(Verb::StopCollecting { endpoint }).unread();
    }

    /// Adds a digit of the party from the signalling (INFO) to its collection, and answers whether it counts: a
    /// digit that comes as an event or a tone, too, counts once.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn feed_digit(&self, endpoint: EndpointId, digit: char) -> MediaFuture<bool> {
        self.request(Verb::FeedDigit { endpoint, digit }).read(Answer::counts)
    }

    /// The party accepts digits by INFO, and is sent those that arrive: the party joined with it may send
    /// telephone events although this one accepts none. To be called before its description is passed on.
    fn takes_info(&self, endpoint: EndpointId) {
        self.request(Verb::TakesInfo { endpoint }).unread();
    }

    /// Records a party, whatever it is joined to or hears, until the recording is stopped or the endpoint
    /// released; [`MediaEvent::Recorded`] follows in any case.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `File`.
    fn start_recording(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let spec = spec.clone();
        self.request(Verb::Record { recording: None, endpoint, spec }).read(Answer::recording)
    }

    /// Pauses or resumes a recording; a pause leaves no gap in the file.
    fn pause_recording(&self, recording: RecordingId, paused: bool) {
        self.request(Verb::PauseRecording { recording, paused }).unread();
    }

    /// Continues a recording with another endpoint, in the same file: the endpoint of the party that replaces
    /// the recorded one, or, with `other_side`, that of the party on the other side, whose audio stays on the
    /// right channel. To be called before the old endpoint is released.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
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

    /// Stops a recording; ready when its file is complete.
    ///
    /// # Errors
    /// `Unsupported`, `File`.
    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.request(Verb::StopRecording { recording }).read(Answer::recorded)
    }

    /// Ready when a recording has ended and its file is complete, however it ends: a limit, the end of the
    /// endpoint, an error, a stop. Ready at once if it has ended already.
    ///
    /// # Errors
    /// `Unsupported`, `File`.
    fn wait_for_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.request(Verb::WaitForRecording { recording }).read(Answer::recorded)
    }

    /// Creates a conference room.
    ///
    /// # Errors
    /// `Unsupported`.
    fn create_conference(&self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        self.request(Verb::CreateConference { conference: None, spec: *spec }).read(Answer::conference)
    }

    /// Ends a room; its members stay up without it.
    fn end_conference(&self, conference: ConferenceId) {
        self.request(Verb::EndConference { conference }).unread();
    }

    /// Adds a party to a room, or changes its membership.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Conference`.
    fn add_to_conference(
        &self,
        conference: ConferenceId,
        endpoint: EndpointId,
        member: Member,
    ) -> MediaFuture<()> {
        self.request(Verb::AddToConference { conference, endpoint, member }).read(Answer::done)
    }

    /// Removes a party from a room.
    fn remove_from_conference(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.request(Verb::RemoveFromConference { conference, endpoint }).unread();
    }

    /// Plays this to all members of a room, mixed with their audio; ready when it ends.
    ///
    /// # Errors
    /// `Unsupported`, `Prompt`, `Conference`.
    fn play_to_conference(&self, conference: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        let prompt = prompt.clone();
        self.request(Verb::PlayToConference { conference, prompt }).read(Answer::played)
    }

    /// Records the mix of a room, as one channel.
    ///
    /// # Errors
    /// `Unsupported`, `File`, `Conference`.
    fn record_conference(&self, conference: ConferenceId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let verb = Verb::RecordConference { recording: None, conference, spec: spec.clone() };
        self.request(verb).read(Answer::recording)
    }

    /// Plays a class of music on hold to a party until it is stopped, instead of the media of its bridge.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Prompt`: the class does not exist.
    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<()> {
        let class = Music::Named(class.to_owned());
        self.request(Verb::StartMoh { endpoint, class }).read(Answer::done)
    }

    /// Stops the music on hold.
    fn stop_moh(&self, endpoint: EndpointId) {
        self.request(Verb::StopMoh { endpoint }).unread();
    }

    /// Turns echo on or off: the party hears itself until it is joined with another party; a prompt or music
    /// takes precedence.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn echo(&self, endpoint: EndpointId, on: bool) -> MediaFuture<()> {
        self.request(Verb::Echo { endpoint, on }).read(Answer::done)
    }
}

impl<T: MediaBackend> MediaController for T {}
