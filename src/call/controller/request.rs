//! The requests to a media backend as values: within this process and, in JSON, between a b2bua and a media
//! server.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{named, octets};
#[cfg(doc)]
use super::{Answer, MediaError, MediaEvent};
use super::{
    Capability, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, EndpointSpec, Member, MusicClass,
    MusicSource, PairPolicy, Part, Prompt, RecordingId, RecordingSpec,
};

/// A request. Without a word on its answer it is [`Answer::Done`].
///
/// An object that a verb creates (an endpoint, a recording, a room) gets the id in the verb, if there is one,
/// as on the way to a media server. Otherwise the answer contains the id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Allocates an endpoint, where one party's media will arrive: [`Answer::Allocated`].
    ///
    /// Refused with `NoPorts`, `Family`, `Stopped`.
    Allocate {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        endpoint: Option<EndpointId>,
        /// The parameters of the endpoint.
        spec: Box<EndpointSpec>,
    },
    /// The party's last message came from this host: its next description may name it as a source of media.
    /// The host in [`EndpointSpec::signalling`] stays allowed.
    SignalledFrom {
        /// The endpoint of the party.
        endpoint: EndpointId,
        /// The source of the party's last message.
        host: IpAddr,
    },
    /// The address of a host name that the party has given ([`MediaEvent::HostNamed`]). It counts for the name
    /// in all descriptions of the endpoint, and is judged as any address.
    HostFound {
        /// The endpoint of the party.
        endpoint: EndpointId,
        /// The name, as in [`MediaEvent::HostNamed`].
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// Releases an endpoint and removes it from its bridge. [`MediaEvent::Closed`] follows, with the final
    /// counters. A second time it has no effect.
    Release {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Processes the offer of `from`'s party: [`Answer::Description`], the offer for `to`'s party. The media does
    /// not change yet.
    ///
    /// Refused with `Description`: refuse `from`'s offer with [`MediaError::status`].
    PairOffer {
        /// The endpoint whose party made the offer.
        from: EndpointId,
        /// The endpoint whose party gets the resulting offer.
        to: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        offer: Bytes,
        /// What may be offered to `to`'s party.
        policy: PairPolicy,
    },
    /// Processes the answer of `from`'s party to the last offer that [`Verb::PairOffer`] made for it:
    /// [`Answer::Description`], the answer to `to`'s party. May be sent again with a later answer (183, then 200)
    /// and with answers of other branches: as long as they lead to the same result, `to` is answered with the
    /// same octets. Bridged endpoints follow at once.
    ///
    /// Refused with `Description`: end `from`'s leg.
    PairAnswer {
        /// The endpoint whose party answers.
        from: EndpointId,
        /// The endpoint whose party gets the resulting answer.
        to: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// Creates our own offer to this party: with the codecs of `like`'s party, where one is given and has
    /// described itself, otherwise with every codec that we have and `policy` allows: [`Answer::Description`].
    ///
    /// Refused with `Description`: `policy` leaves nothing to offer.
    LocalOffer {
        /// The endpoint.
        endpoint: EndpointId,
        /// The endpoint whose codecs are offered; `None` for all that `policy` allows.
        like: Option<EndpointId>,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// Processes the party's answer to an offer of our own.
    ///
    /// Refused with `Description`: end the leg.
    ApplyRemote {
        /// The endpoint.
        endpoint: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// Creates our own answer to the party's offer, as the party it is or was last joined with would give it,
    /// for hold and resume that are not passed on: [`Answer::Description`].
    ///
    /// Refused with `Description`: refuse the offer with [`MediaError::status`].
    LocalAnswer {
        /// The endpoint.
        endpoint: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        offer: Bytes,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// Repeats the last description sent to the party as an offer that changes nothing, a refresh (RFC 4028
    /// §7.4, RFC 3264 §8): [`Answer::Description`]. Its answer goes to [`Verb::ApplyRemote`].
    ///
    /// Refused with `Undescribed`.
    RepeatOffer {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Creates an offer to `to`'s party to exchange media directly with `from`'s party, the last description of
    /// `from`'s party with its address: [`Answer::Description`]. The answer goes to [`Verb::ApplyRemote`]; the
    /// endpoints stay joined, for packets that still arrive here.
    ///
    /// Refused with `NotDirect`, `Unsupported`.
    DirectOffer {
        /// The endpoint whose party's address is offered.
        from: EndpointId,
        /// The endpoint whose party gets the offer.
        to: EndpointId,
        /// The source of the RTP of `from`'s party.
        heard: SocketAddr,
        /// What may be offered to `to`'s party.
        policy: PairPolicy,
    },
    /// Creates an offer that moves the party's media to its endpoint, back from another party or from an endpoint that is
    /// gone: [`Answer::Description`]. The answer goes to [`Verb::ApplyRemote`].
    ///
    /// Refused with `NoAudio`, `Unsupported`.
    ReturnOffer {
        /// The endpoint.
        endpoint: EndpointId,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// Sends a digit to the party as RFC 4733 events, interleaved with its current media, if the party accepts
    /// them; otherwise, or while the party is on hold, the digit is silently dropped.
    SendDigit {
        /// The endpoint.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
        /// The duration in ms.
        duration_ms: u32,
    },
    /// The pending offer to this party, or by it, was refused: the previous session stays in effect. Has no
    /// effect without a pending offer.
    WithdrawOffer {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Joins two endpoints, media received from one goes to the other: [`Answer::Joined`]. Both must have
    /// described themselves; earlier joins of either are removed. Sent again for the same two, it renegotiates
    /// how they are joined.
    ///
    /// Refused with `NoCommonCodec`, `Undescribed`.
    Bridge {
        /// One endpoint.
        a: EndpointId,
        /// The other endpoint.
        b: EndpointId,
    },
    /// Separates two endpoints; what they receive is dropped. Has no effect if they are not joined.
    Unbridge {
        /// One endpoint.
        a: EndpointId,
        /// The other endpoint.
        b: EndpointId,
    },
    /// The current counters of an endpoint: [`Answer::Stats`].
    ///
    /// Refused with `NoSuchEndpoint`: the final counters are in its [`MediaEvent::Closed`].
    Stats {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Plays a prompt to the party instead of its other media, joined or not: [`Answer::Played`] when it ends. A
    /// prompt in progress is stopped.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`, `Prompt`.
    Play {
        /// The endpoint.
        endpoint: EndpointId,
        /// The prompt.
        prompt: Prompt,
    },
    /// Stops the prompt of [`Verb::Play`] or [`Verb::Collect`].
    StopPrompt {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Collects digits, from the start of the prompt if there is one: RFC 4733 events, digits in the signalling,
    /// and tones where they are digits: [`Answer::Collected`]. A collection in progress is stopped.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`, `Prompt`.
    Collect {
        /// The endpoint.
        endpoint: EndpointId,
        /// The prompt to play meanwhile; `None` for none.
        prompt: Option<Prompt>,
        /// When the collection is complete.
        plan: DigitPlan,
    },
    /// Stops a collection.
    StopCollecting {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Adds a digit of the party from the signalling (INFO) to its collection: [`Answer::Done`] if it counts, else
    /// [`Answer::Repeated`]. A digit that comes as an event or a tone, too, counts once.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`.
    FeedDigit {
        /// The endpoint.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
    },
    /// Turns the detection of DTMF tones in the party's audio on or off.
    HearTones {
        /// The endpoint.
        endpoint: EndpointId,
        /// Whether tones are detected as digits; `None`: as [`EndpointSpec::audio`] says.
        on: Option<bool>,
    },
    /// The party accepts digits by INFO, and is sent those that arrive: the party joined with it may send
    /// telephone events although this one accepts none. To be sent before its description is passed on.
    TakesInfo {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Records a party, whatever it is joined to or hears, until the recording is stopped or the endpoint
    /// released: [`Answer::Recording`]. [`MediaEvent::Recorded`] follows in any case.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`, `File`.
    Record {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// The endpoint.
        endpoint: EndpointId,
        /// The parameters of the recording.
        spec: RecordingSpec,
    },
    /// Pauses or resumes a recording; a pause leaves no gap in the file.
    PauseRecording {
        /// The recording.
        recording: RecordingId,
        /// True to pause, false to resume.
        paused: bool,
    },
    /// Continues a recording with another endpoint, in the same file: the endpoint of the party that replaces the
    /// recorded one, or, with `other_side`, that of the party on the other side, whose audio stays on the right
    /// channel. To be sent before the old endpoint is released.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`.
    FollowRecording {
        /// The recording.
        recording: RecordingId,
        /// The endpoint with which it continues.
        endpoint: EndpointId,
        /// Whether that is the party on the other side of the recorded one.
        other_side: bool,
    },
    /// Stops a recording: [`Answer::Recorded`] when its file is complete.
    ///
    /// Refused with `Unsupported`, `File`.
    StopRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// Waits for the end of a recording, however it ends (a limit, the end of the endpoint, an error, a stop):
    /// [`Answer::Recorded`] when its file is complete, at once if it has ended already.
    ///
    /// Refused with `Unsupported`, `File`.
    WaitForRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// Creates a conference room: [`Answer::Conference`].
    ///
    /// Refused with `Unsupported`.
    CreateConference {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        conference: Option<ConferenceId>,
        /// The parameters of the room.
        spec: ConferenceSpec,
    },
    /// Ends a room; its members stay up without it.
    EndConference {
        /// The room.
        conference: ConferenceId,
    },
    /// Adds a party to a room, or changes its membership.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`, `Conference`.
    AddToConference {
        /// The room.
        conference: ConferenceId,
        /// The endpoint.
        endpoint: EndpointId,
        /// The kind of membership.
        member: Member,
    },
    /// Removes a party from a room.
    RemoveFromConference {
        /// The room.
        conference: ConferenceId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Plays a prompt to all members of a room, mixed with their audio: [`Answer::Played`] when it ends.
    ///
    /// Refused with `Unsupported`, `Prompt`, `Conference`.
    PlayToConference {
        /// The room.
        conference: ConferenceId,
        /// The prompt.
        prompt: Prompt,
    },
    /// Records the mix of a room, as one channel: [`Answer::Recording`].
    ///
    /// Refused with `Unsupported`, `File`, `Conference`.
    RecordConference {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// The room.
        conference: ConferenceId,
        /// The parameters of the recording.
        spec: RecordingSpec,
    },
    /// Plays a class of music on hold to a party until it is stopped, instead of the media of its bridge.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`, `Prompt`: the class does not exist.
    StartMoh {
        /// The endpoint.
        endpoint: EndpointId,
        /// The class of music.
        class: Music,
    },
    /// Stops the music on hold.
    StopMoh {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Turns echo on or off: the party hears itself until it is joined with another party; a prompt or music takes
    /// precedence.
    ///
    /// Refused with `Unsupported`, `NoSuchEndpoint`.
    Echo {
        /// The endpoint.
        endpoint: EndpointId,
        /// Whether the party hears itself.
        on: bool,
    },
}

/// The music on hold to play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Music {
    /// A class that the media backend was started with.
    Named(String),
    /// A class given in full, which the backend need not know.
    Class(MusicClass),
}

/// A reference to an existing object in a verb, by its id.
#[derive(Debug, PartialEq, Eq)]
pub enum NameMut<'a> {
    /// An endpoint.
    Endpoint(&'a mut EndpointId),
    /// A recording.
    Recording(&'a mut RecordingId),
    /// A room.
    Conference(&'a mut ConferenceId),
}

/// A reference to the id of an object that a verb creates.
#[derive(Debug, PartialEq, Eq)]
pub enum MadeMut<'a> {
    /// An endpoint, and the endpoint that it is to be allocated near.
    Endpoint(&'a mut Option<EndpointId>, Option<EndpointId>),
    /// A recording.
    Recording(&'a mut Option<RecordingId>),
    /// A room.
    Conference(&'a mut Option<ConferenceId>),
}

impl Verb {
    /// The capability that a controller needs for it.
    pub fn capability(&self) -> Capability {
        match self {
            Verb::Allocate { .. }
            | Verb::SignalledFrom { .. }
            | Verb::HostFound { .. }
            | Verb::Release { .. }
            | Verb::LocalOffer { .. }
            | Verb::ApplyRemote { .. }
            | Verb::LocalAnswer { .. }
            | Verb::RepeatOffer { .. }
            | Verb::ReturnOffer { .. }
            | Verb::WithdrawOffer { .. } => Capability::Endpoints,
            Verb::PairOffer { .. } | Verb::PairAnswer { .. } => Capability::Pairs,
            Verb::DirectOffer { .. } => Capability::DirectMedia,
            Verb::SendDigit { .. } | Verb::TakesInfo { .. } => Capability::DigitEvents,
            Verb::Bridge { .. } | Verb::Unbridge { .. } => Capability::Bridges,
            Verb::Stats { .. } => Capability::Statistics,
            Verb::Play { .. } | Verb::StopPrompt { .. } => Capability::Prompts,
            Verb::Collect { .. }
            | Verb::StopCollecting { .. }
            | Verb::FeedDigit { .. }
            | Verb::HearTones { .. } => Capability::DigitCollection,
            Verb::Record { .. }
            | Verb::PauseRecording { .. }
            | Verb::FollowRecording { .. }
            | Verb::StopRecording { .. }
            | Verb::WaitForRecording { .. } => Capability::Recording,
            Verb::CreateConference { .. }
            | Verb::EndConference { .. }
            | Verb::AddToConference { .. }
            | Verb::RemoveFromConference { .. }
            | Verb::PlayToConference { .. }
            | Verb::RecordConference { .. } => Capability::Conferences,
            Verb::StartMoh { .. } | Verb::StopMoh { .. } => Capability::MusicOnHold,
            Verb::Echo { .. } => Capability::Echo,
        }
    }

    /// Whether it only ends or sets something, so that its answer says nothing new: it need not be awaited.
    pub(crate) fn needs_no_answer(&self) -> bool {
        matches!(
            self,
            Verb::StopPrompt { .. }
                | Verb::StopCollecting { .. }
                | Verb::StopMoh { .. }
                | Verb::HearTones { .. }
                | Verb::SendDigit { .. }
                | Verb::PauseRecording { .. }
                | Verb::EndConference { .. }
                | Verb::RemoveFromConference { .. }
        )
    }

    /// Gives it the endpoint of the leg that it is for.
    pub(crate) fn set_endpoint(&mut self, of_leg: EndpointId) {
        for name in self.names_mut().into_iter().flatten() {
            if let NameMut::Endpoint(endpoint) = name
                && *endpoint == EndpointId::OF_LEG
            {
                *endpoint = of_leg;
            }
        }
    }

    /// The prompt that it plays to a party.
    pub fn prompt(&self) -> Option<&Prompt> {
        match self {
            Verb::Play { prompt, .. } | Verb::Collect { prompt: Some(prompt), .. } => Some(prompt),
            _ => None,
        }
    }

    /// The existing objects that it refers to, to translate their ids. The verb is carried out where the
    /// first one is. An object that it creates, and one that this is to be near, are not included.
    pub fn names_mut(&mut self) -> [Option<NameMut<'_>>; 2] {
        use NameMut::{Conference, Endpoint, Recording};
        match self {
            Verb::Allocate { .. } | Verb::CreateConference { .. } => [None, None],
            Verb::SignalledFrom { endpoint, .. }
            | Verb::HostFound { endpoint, .. }
            | Verb::Release { endpoint }
            | Verb::ApplyRemote { endpoint, .. }
            | Verb::LocalAnswer { endpoint, .. }
            | Verb::RepeatOffer { endpoint }
            | Verb::ReturnOffer { endpoint, .. }
            | Verb::SendDigit { endpoint, .. }
            | Verb::WithdrawOffer { endpoint }
            | Verb::Stats { endpoint }
            | Verb::Play { endpoint, .. }
            | Verb::StopPrompt { endpoint }
            | Verb::Collect { endpoint, .. }
            | Verb::StopCollecting { endpoint }
            | Verb::FeedDigit { endpoint, .. }
            | Verb::HearTones { endpoint, .. }
            | Verb::TakesInfo { endpoint }
            | Verb::Record { endpoint, .. }
            | Verb::StartMoh { endpoint, .. }
            | Verb::StopMoh { endpoint }
            | Verb::Echo { endpoint, .. } => [Some(Endpoint(endpoint)), None],
            Verb::LocalOffer { endpoint, like, .. } => {
                [Some(Endpoint(endpoint)), like.as_mut().map(Endpoint)]
            }
            Verb::PairOffer { from: a, to: b, .. }
            | Verb::PairAnswer { from: a, to: b, .. }
            | Verb::DirectOffer { from: a, to: b, .. }
            | Verb::Bridge { a, b }
            | Verb::Unbridge { a, b } => [Some(Endpoint(a)), Some(Endpoint(b))],
            Verb::PauseRecording { recording, .. }
            | Verb::StopRecording { recording }
            | Verb::WaitForRecording { recording } => [Some(Recording(recording)), None],
            Verb::FollowRecording { recording, endpoint, .. } => {
                [Some(Recording(recording)), Some(Endpoint(endpoint))]
            }
            Verb::EndConference { conference }
            | Verb::PlayToConference { conference, .. }
            | Verb::RecordConference { conference, .. } => [Some(Conference(conference)), None],
            Verb::AddToConference { conference, endpoint, .. }
            | Verb::RemoveFromConference { conference, endpoint } => {
                [Some(Endpoint(endpoint)), Some(Conference(conference))]
            }
        }
    }

    /// The id of the object that it creates, to be assigned.
    pub fn makes(&mut self) -> Option<MadeMut<'_>> {
        match self {
            Verb::Allocate { endpoint, spec } => Some(MadeMut::Endpoint(endpoint, spec.near)),
            Verb::Record { recording, .. } | Verb::RecordConference { recording, .. } => {
                Some(MadeMut::Recording(recording))
            }
            Verb::CreateConference { conference, .. } => Some(MadeMut::Conference(conference)),
            _ => None,
        }
    }

    /// Whether carrying it out may change the [`Descriptions`](super::Descriptions) of its endpoints.
    pub fn describes(&self) -> bool {
        matches!(
            self,
            Verb::PairOffer { .. }
                | Verb::PairAnswer { .. }
                | Verb::LocalOffer { .. }
                | Verb::ApplyRemote { .. }
                | Verb::LocalAnswer { .. }
                | Verb::DirectOffer { .. }
                | Verb::ReturnOffer { .. }
        )
    }

    /// Whether every file path in it can be encoded in JSON.
    pub fn can_be_written(&self) -> bool {
        let said = |prompt: &Prompt| {
            prompt.parts.iter().all(|part| match part {
                Part::File(path) => path.to_str().is_some(),
                Part::Tone { .. } | Part::Silence(_) => true,
            })
        };
        match self {
            Verb::Play { prompt, .. }
            | Verb::PlayToConference { prompt, .. }
            | Verb::Collect { prompt: Some(prompt), .. } => said(prompt),
            Verb::Record { spec, .. } | Verb::RecordConference { spec, .. } => spec.path.to_str().is_some(),
            Verb::StartMoh { class: Music::Class(class), .. } => match &class.source {
                MusicSource::Folder(path) | MusicSource::File(path) => path.to_str().is_some(),
                MusicSource::Tone { .. } => true,
            },
            _ => true,
        }
    }
}
