//! Who carries the media of joined legs. Above these traits nobody knows whether it
//! is the embedded engine of this process or another machine.
//!
//! - `request`: what is asked for, and `answer`: what it comes to, as values; `json`: how those are written
//! - `backend`: what is written for each who carries media; [`MediaController`]: what callers have
//! - `embedded`: the embedded engine of this process; `trunk`: legs on different threads;
//!   `convert`: its words and ours
//! - `recordings`: which of its endpoints are recorded; `sounding`: what is played to a party,
//!   and collected of it; `rooms`: conferences; `joining`: endpoints and their joins
//! - `future`: answers that are mostly there at once
//! - `values`: what is asked for and what happens
//! - `verbs`: what applications ask for; `config`: what the engine is started with
//!
//! The far end's words are session descriptions, exactly as they came in its
//! messages; what comes back is to be sent exactly as it is. A controller keeps what
//! it has told each far end and what it was told: the caller only says which offer or
//! answer belongs to which endpoint.

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

use bytes::Bytes;

pub use answer::Answer;
pub use b2b_media::relay::{
    Drops, EndpointStats, Flow, MOST_SAMPLES, PacketTrace, Ports, QualitySample, RtcpStats, Snap, Sources,
    Totals, TraceStats, TracedPacket, TracedPackets, Way,
};
pub use b2b_media::transcode::TranscodeStats;
pub use backend::MediaBackend;
pub use config::{EmbeddedConfig, MediaAddresses};
pub use embedded::{EmbeddedController, StartError};
pub use future::MediaFuture;
pub use request::{MadeMut, Music, NameMut, Verb};
pub use sounding::{MusicClass, MusicSource, check_sound};
pub use values::{
    AddressFamily, Answering, AudioRules, Bound, Capabilities, Capability, Descriptions, DtmfMode,
    EndpointId, EndpointSpec, Hold, Joined, LocalDescription, MediaError, MediaEvent, NamedSources,
    OpusRules, PairPolicy, Route, Signalling, SrtpOffer, SrtpPolicy, SrtpRules, SrtpSuite,
};
pub use verbs::{
    AudioStream, CollectEnd, Collected, ConferenceId, ConferenceSpec, DigitPlan, Member, Part, Played,
    Prompt, Recorded, RecordingId, RecordingSpec, StreamCounters, StreamEnd, StreamEvent, StreamSpec,
};

/// What is asked of who carries media: [`MediaBackend::request`] with a [`Verb`] for each, whose answer is read
/// here, and what else a backend has. Who implements that has all of this.
///
/// How a call uses it:
/// - A's INVITE with an offer: `open_endpoint` for both, `pair_offer(A, B)`; B's
///   180 to 200 with a description: `pair_answer(B, A)`, and `bridge(A, B)` as soon as
///   media may flow. Forks: one endpoint a branch; losers are released.
/// - INVITE without an offer: B is invited without one too, then `pair_offer(B, A)`
///   for our 200 and `pair_answer(A, B)` for the ACK to B; or `local_offer(B)`.
/// - Re-INVITE, UPDATE, hold: `pair_offer`, `pair_answer` again, in either direction.
///   If the other side refuses: `withdraw_offer`; everything stays as it was.
/// - Hold that b2b answers itself: `local_answer`.
/// - Transfer of A from B to C: `local_offer(C, Some(A))`, C's answer to
///   `apply_remote(C)`, `unbridge(A, B)`, `bridge(A, C)`. If [`Joined`] says that this
///   needs a transcoder and A could do better: `local_offer(A, Some(C))` in a
///   re-INVITE, `apply_remote(A)`, `bridge(A, C)` again.
pub trait MediaController: MediaBackend {
    /// A place where one party's media will arrive.
    ///
    /// # Errors
    /// `NoPorts`, `Family`, `Stopped`.
    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        self.request(Verb::Allocate { endpoint: None, spec: Box::new(spec) }).read(Answer::allocated)
    }

    /// The party's last message came from this host: media may, too, from its next description
    /// on. What [`EndpointSpec::signalling`] says first stays.
    fn signalled_from(&self, endpoint: EndpointId, host: std::net::IpAddr) {
        self.request(Verb::SignalledFrom { endpoint, host }).unread();
    }

    /// Ends an endpoint, and its part in a bridge. `Closed` follows, with the last
    /// counters. A second call does nothing.
    fn release_endpoint(&self, endpoint: EndpointId) {
        self.request(Verb::Release { endpoint }).unread();
    }

    /// `offer` is what `from`'s party offers; gives what to offer to `to`'s party in
    /// its place. Nothing changes for the media yet.
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

    /// `answer` is what `from`'s party answers to the last offer that it was sent by
    /// `pair_offer(to, from)`; gives the answer to `to`'s party. May be called again
    /// with a later answer (183, then 200), and with answers of other branches: as long
    /// as they come to the same, `to` is answered with the same octets. Endpoints that
    /// are bridged follow at once.
    ///
    /// # Errors
    /// `Description`: end `from`'s leg.
    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.request(Verb::PairAnswer { from, to, answer }).read(Answer::description)
    }

    /// An offer of ours to this party: of what `like`'s party can do, where one is
    /// given and has said so, else of every codec that we have and `policy` allows.
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

    /// The party's answer to what `local_offer` offered.
    ///
    /// # Errors
    /// `Description`: end the leg.
    fn apply_remote(&self, endpoint: EndpointId, answer: Bytes) -> MediaFuture<()> {
        self.request(Verb::ApplyRemote { endpoint, answer }).read(Answer::done)
    }

    /// Our own answer to the party's offer, as the joined or the last joined party would
    /// give it: for hold and resume that go no further than to b2b.
    ///
    /// # Errors
    /// `Description`: refuse the offer with [`MediaError::status`].
    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.request(Verb::LocalAnswer { endpoint, offer, policy: policy.clone() }).read(Answer::description)
    }

    /// What the party was told last, as an offer that changes nothing: a refresh (RFC 4028
    /// §7.4, RFC 3264 §8). Its answer goes to `apply_remote`.
    ///
    /// # Errors
    /// `Undescribed`.
    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        self.request(Verb::RepeatOffer { endpoint }).read(Answer::description)
    }

    /// An offer to `to`'s party to exchange media with `from`'s party itself: what `from`'s
    /// party has said last, with its address. `heard` is where its RTP comes from. The
    /// answer goes to `apply_remote`; endpoints stay joined, for what still comes by here.
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

    /// An offer that takes the party's media back to its endpoint. The answer goes to
    /// `apply_remote`.
    ///
    /// # Errors
    /// `Undescribed`, `Unsupported`.
    fn return_offer(&self, endpoint: EndpointId, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.request(Verb::ReturnOffer { endpoint, policy: policy.clone() }).read(Answer::description)
    }

    /// Sends a digit to the party as RFC 4733 events, in the middle of whatever it gets, if
    /// it takes them; else, or while it is held, the digit is lost without a word.
    fn send_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        self.request(Verb::SendDigit { endpoint, digit, duration_ms }).unread();
    }

    /// The offer that waits for an answer of this party's, or that this party made, is
    /// refused: what was agreed before stands. Without one it does nothing.
    fn withdraw_offer(&self, endpoint: EndpointId) {
        self.request(Verb::WithdrawOffer { endpoint }).unread();
    }

    /// Joins two endpoints: what one receives goes to the other. Both must have
    /// described themselves; whichever was joined to something else is so no more. Again for
    /// the same two: works out anew how.
    ///
    /// # Errors
    /// `NoCommonCodec`, `Undescribed`.
    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        self.request(Verb::Bridge { a, b }).read(Answer::joined)
    }

    /// Parts two endpoints; what they receive goes nowhere. Does nothing if they are
    /// not joined.
    fn unbridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<()> {
        self.request(Verb::Unbridge { a, b }).read(Answer::done)
    }

    /// An endpoint's counters now.
    ///
    /// # Errors
    /// `NoSuchEndpoint`: `Closed` has brought or will bring the last ones.
    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        self.request(Verb::Stats { endpoint }).read(Answer::stats)
    }

    // ---- what applications ask for

    /// Plays this to the party, in the place of whatever else it gets, joined or not; ready
    /// at its end. What was played before is stopped.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Prompt`.
    fn play_prompt(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.request(Verb::Play { endpoint, prompt: prompt.clone() }).read(Answer::played)
    }

    /// Ends what [`MediaController::play_prompt`] or
    /// [`MediaController::play_and_collect`] plays.
    fn stop_prompt(&self, endpoint: EndpointId) {
        self.request(Verb::StopPrompt { endpoint }).unread();
    }

    /// Collects digits: of RFC 4733, of the signalling, and tones where
    /// [`MediaController::hear_tones`] is on. One that was under way is stopped.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn collect_dtmf(&self, endpoint: EndpointId, plan: &DigitPlan) -> MediaFuture<Collected> {
        self.request(Verb::Collect { endpoint, prompt: None, plan: plan.clone() }).read(Answer::collected)
    }

    /// Plays a prompt, and collects digits from its beginning.
    ///
    /// # Errors
    /// As both.
    fn play_and_collect(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        let prompt = Some(prompt.clone());
        self.request(Verb::Collect { endpoint, prompt, plan: plan.clone() }).read(Answer::collected)
    }

    /// Ends a collection.
    fn stop_collecting(&self, endpoint: EndpointId) {
        self.request(Verb::StopCollecting { endpoint }).unread();
    }

    /// A digit of the party's that came by signalling (INFO): for its collection.
    fn feed_digit(&self, endpoint: EndpointId, digit: char) {
        self.request(Verb::FeedDigit { endpoint, digit }).unread();
    }

    /// Whether DTMF tones in the party's audio are digits.
    fn hear_tones(&self, endpoint: EndpointId, on: bool) {
        self.request(Verb::HearTones { endpoint, on }).unread();
    }

    /// The party takes digits by INFO, and is sent those that come up: who is joined with it may
    /// send telephone events although it takes none. To be said before its description passes on.
    fn takes_info(&self, endpoint: EndpointId) {
        self.request(Verb::TakesInfo { endpoint }).unread();
    }

    /// Records a party, whatever it is joined to or hears meanwhile, until it is stopped or
    /// the endpoint is released; [`MediaEvent::Recorded`] follows in any case.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `File`.
    fn start_recording(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let spec = spec.clone();
        self.request(Verb::Record { recording: None, endpoint, spec }).read(Answer::recording)
    }

    /// Nothing is recorded until it goes on; the file has no gap for it.
    fn pause_recording(&self, recording: RecordingId, paused: bool) {
        self.request(Verb::PauseRecording { recording, paused }).unread();
    }

    /// A recording goes on with another endpoint, in the same file: that of the party which
    /// takes the recorded one's place, or, with `other_side`, of the one that the recorded
    /// party spoke with, whose words stay on the right. To be called before the old endpoint is
    /// released.
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
            // It is on its way: only what is known here can refuse it.
            Err(_) => Ok(()),
        }
    }

    /// Ends a recording; ready when its file is complete.
    ///
    /// # Errors
    /// `Unsupported`, `File`.
    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.request(Verb::StopRecording { recording }).read(Answer::recorded)
    }

    /// Ready when a recording is over and its file complete, whoever ends it: its limits, the
    /// endpoint's end, an error, a stop. One that is over already: at once.
    ///
    /// # Errors
    /// `Unsupported`, `File`.
    fn wait_for_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.request(Verb::WaitForRecording { recording }).read(Answer::recorded)
    }

    /// A room for more than two.
    ///
    /// # Errors
    /// `Unsupported`.
    fn create_conference(&self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        self.request(Verb::CreateConference { conference: None, spec: *spec }).read(Answer::conference)
    }

    /// Ends a room; who is in it is alone then.
    fn end_conference(&self, conference: ConferenceId) {
        self.request(Verb::EndConference { conference }).unread();
    }

    /// Lets a party into a room, or changes how it is there.
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

    /// Takes a party out of a room.
    fn remove_from_conference(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.request(Verb::RemoveFromConference { conference, endpoint }).unread();
    }

    /// Plays this to all who are in a room, mixed with what they say; ready at its end.
    ///
    /// # Errors
    /// `Unsupported`, `Prompt`, `Conference`.
    fn play_to_conference(&self, conference: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        let prompt = prompt.clone();
        self.request(Verb::PlayToConference { conference, prompt }).read(Answer::played)
    }

    /// Records what is said in a room, as one channel.
    ///
    /// # Errors
    /// `Unsupported`, `File`, `Conference`.
    fn record_conference(&self, conference: ConferenceId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let verb = Verb::RecordConference { recording: None, conference, spec: spec.clone() };
        self.request(verb).read(Answer::recording)
    }

    /// Plays music of a class to a party until it is stopped, in the place of what it would
    /// get by its bridge.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`, `Prompt`: there is no such class.
    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<()> {
        let class = Music::Named(class.to_owned());
        self.request(Verb::StartMoh { endpoint, class }).read(Answer::done)
    }

    /// Ends the music.
    fn stop_moh(&self, endpoint: EndpointId) {
        self.request(Verb::StopMoh { endpoint }).unread();
    }

    /// Whether a party hears itself, until it is joined with another one; a prompt or music
    /// comes before that.
    ///
    /// # Errors
    /// `Unsupported`, `NoSuchEndpoint`.
    fn echo(&self, endpoint: EndpointId, on: bool) -> MediaFuture<()> {
        self.request(Verb::Echo { endpoint, on }).read(Answer::done)
    }
}

impl<T: MediaBackend> MediaController for T {}
