//! The requests to a media backend as values: within this process and, in JSON, between a b2bua and a media
//! server.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{named, octets};
use super::{
    Capability, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, EndpointSpec, Member, MusicClass,
    MusicSource, PairPolicy, Part, Prompt, RecordingId, RecordingSpec,
};

/// A request; see [`MediaController`](super::MediaController) for the meaning of each.
///
/// An object that a verb creates (an endpoint, a recording, a room) gets the id in the verb, if there is one,
/// as on the way to a media server. Otherwise the answer contains the id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// [`allocate_endpoint`](super::MediaController::allocate_endpoint).
    Allocate {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        endpoint: Option<EndpointId>,
        /// The parameters of the endpoint.
        spec: Box<EndpointSpec>,
    },
    /// [`signalled_from`](super::MediaController::signalled_from).
    SignalledFrom {
        /// The endpoint of the party.
        endpoint: EndpointId,
        /// The source of the party's last message.
        host: IpAddr,
    },
    /// [`host_found`](super::MediaController::host_found).
    HostFound {
        /// The endpoint of the party.
        endpoint: EndpointId,
        /// The name, as in [`MediaEvent::HostNamed`](super::MediaEvent::HostNamed).
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// [`release_endpoint`](super::MediaController::release_endpoint).
    Release {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`pair_offer`](super::MediaController::pair_offer).
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
    /// [`pair_answer`](super::MediaController::pair_answer).
    PairAnswer {
        /// The endpoint whose party answers.
        from: EndpointId,
        /// The endpoint whose party gets the resulting answer.
        to: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// [`local_offer`](super::MediaController::local_offer).
    LocalOffer {
        /// The endpoint.
        endpoint: EndpointId,
        /// The endpoint whose codecs are offered; `None` for all that `policy` allows.
        like: Option<EndpointId>,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`apply_remote`](super::MediaController::apply_remote).
    ApplyRemote {
        /// The endpoint.
        endpoint: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// [`local_answer`](super::MediaController::local_answer).
    LocalAnswer {
        /// The endpoint.
        endpoint: EndpointId,
        /// The session description.
        #[serde(with = "octets")]
        offer: Bytes,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`repeat_offer`](super::MediaController::repeat_offer).
    RepeatOffer {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`direct_offer`](super::MediaController::direct_offer).
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
    /// [`return_offer`](super::MediaController::return_offer).
    ReturnOffer {
        /// The endpoint.
        endpoint: EndpointId,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`send_digit`](super::MediaController::send_digit).
    SendDigit {
        /// The endpoint.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
        /// The duration in ms.
        duration_ms: u32,
    },
    /// [`withdraw_offer`](super::MediaController::withdraw_offer).
    WithdrawOffer {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`bridge`](super::MediaController::bridge).
    Bridge {
        /// One endpoint.
        a: EndpointId,
        /// The other endpoint.
        b: EndpointId,
    },
    /// [`unbridge`](super::MediaController::unbridge).
    Unbridge {
        /// One endpoint.
        a: EndpointId,
        /// The other endpoint.
        b: EndpointId,
    },
    /// [`stats`](super::MediaController::stats).
    Stats {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`play_prompt`](super::MediaController::play_prompt).
    Play {
        /// The endpoint.
        endpoint: EndpointId,
        /// The prompt.
        prompt: Prompt,
    },
    /// [`stop_prompt`](super::MediaController::stop_prompt).
    StopPrompt {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`collect_dtmf`](super::MediaController::collect_dtmf),
    /// [`play_and_collect`](super::MediaController::play_and_collect).
    Collect {
        /// The endpoint.
        endpoint: EndpointId,
        /// The prompt to play meanwhile; `None` for none.
        prompt: Option<Prompt>,
        /// When the collection is complete.
        plan: DigitPlan,
    },
    /// [`stop_collecting`](super::MediaController::stop_collecting).
    StopCollecting {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`feed_digit`](super::MediaController::feed_digit).
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
    /// [`takes_info`](super::MediaController::takes_info).
    TakesInfo {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`start_recording`](super::MediaController::start_recording).
    Record {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// The endpoint.
        endpoint: EndpointId,
        /// The parameters of the recording.
        spec: RecordingSpec,
    },
    /// [`pause_recording`](super::MediaController::pause_recording).
    PauseRecording {
        /// The recording.
        recording: RecordingId,
        /// True to pause, false to resume.
        paused: bool,
    },
    /// [`follow_recording`](super::MediaController::follow_recording).
    FollowRecording {
        /// The recording.
        recording: RecordingId,
        /// The endpoint with which it continues.
        endpoint: EndpointId,
        /// Whether that is the party on the other side of the recorded one.
        other_side: bool,
    },
    /// [`stop_recording`](super::MediaController::stop_recording).
    StopRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// [`wait_for_recording`](super::MediaController::wait_for_recording).
    WaitForRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// [`create_conference`](super::MediaController::create_conference).
    CreateConference {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        conference: Option<ConferenceId>,
        /// The parameters of the room.
        spec: ConferenceSpec,
    },
    /// [`end_conference`](super::MediaController::end_conference).
    EndConference {
        /// The room.
        conference: ConferenceId,
    },
    /// [`add_to_conference`](super::MediaController::add_to_conference).
    AddToConference {
        /// The room.
        conference: ConferenceId,
        /// The endpoint.
        endpoint: EndpointId,
        /// The kind of membership.
        member: Member,
    },
    /// [`remove_from_conference`](super::MediaController::remove_from_conference).
    RemoveFromConference {
        /// The room.
        conference: ConferenceId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`play_to_conference`](super::MediaController::play_to_conference).
    PlayToConference {
        /// The room.
        conference: ConferenceId,
        /// The prompt.
        prompt: Prompt,
    },
    /// [`record_conference`](super::MediaController::record_conference).
    RecordConference {
        /// The id to use; `None`: the answer contains one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// The room.
        conference: ConferenceId,
        /// The parameters of the recording.
        spec: RecordingSpec,
    },
    /// [`start_moh`](super::MediaController::start_moh).
    StartMoh {
        /// The endpoint.
        endpoint: EndpointId,
        /// The class of music.
        class: Music,
    },
    /// [`stop_moh`](super::MediaController::stop_moh).
    StopMoh {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// [`echo`](super::MediaController::echo).
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
            | Verb::WithdrawOffer { .. } => Capability::Endpoints,
            Verb::PairOffer { .. } | Verb::PairAnswer { .. } => Capability::Pairs,
            Verb::DirectOffer { .. } | Verb::ReturnOffer { .. } => Capability::DirectMedia,
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
        matches!(self, Verb::PairAnswer { .. } | Verb::ApplyRemote { .. } | Verb::LocalAnswer { .. })
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
