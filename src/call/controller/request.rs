//! What is asked of who carries media, as values: within this process and, in JSON,
//! between a b2bua and a media server.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{named, octets};
use super::{
    Capability, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, EndpointSpec, Member, MusicClass,
    MusicSource, PairPolicy, Part, Prompt, RecordingId, RecordingSpec,
};

/// What is asked for; see [`MediaController`](super::MediaController) for what each of them does.
///
/// What is made (an endpoint, a recording, a room) has the name that its verb gives it, where it gives one,
/// as it does on its way to a media server. Without one the answer has the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// [`allocate_endpoint`](super::MediaController::allocate_endpoint).
    Allocate {
        /// The name that it is to have; `None`: the answer has one.
        #[serde(deserialize_with = "named")]
        endpoint: Option<EndpointId>,
        /// What it is to be.
        spec: Box<EndpointSpec>,
    },
    /// [`signalled_from`](super::MediaController::signalled_from).
    SignalledFrom {
        /// Of this party.
        endpoint: EndpointId,
        /// The source of the party's last message.
        host: IpAddr,
    },
    /// [`release_endpoint`](super::MediaController::release_endpoint).
    Release {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`pair_offer`](super::MediaController::pair_offer).
    PairOffer {
        /// Whose party offers.
        from: EndpointId,
        /// Whose party is offered something in its place.
        to: EndpointId,
        /// Session description.
        #[serde(with = "octets")]
        offer: Bytes,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`pair_answer`](super::MediaController::pair_answer).
    PairAnswer {
        /// Whose party answers.
        from: EndpointId,
        /// Whose party is answered.
        to: EndpointId,
        /// Session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// [`local_offer`](super::MediaController::local_offer).
    LocalOffer {
        /// Of this party.
        endpoint: EndpointId,
        /// Whose codecs are offered; `None`: all that `policy` allows.
        like: Option<EndpointId>,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`apply_remote`](super::MediaController::apply_remote).
    ApplyRemote {
        /// Of this party.
        endpoint: EndpointId,
        /// Session description.
        #[serde(with = "octets")]
        answer: Bytes,
    },
    /// [`local_answer`](super::MediaController::local_answer).
    LocalAnswer {
        /// Of this party.
        endpoint: EndpointId,
        /// Session description.
        #[serde(with = "octets")]
        offer: Bytes,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`repeat_offer`](super::MediaController::repeat_offer).
    RepeatOffer {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`direct_offer`](super::MediaController::direct_offer).
    DirectOffer {
        /// Whose party's address is offered.
        from: EndpointId,
        /// Whose party is offered it.
        to: EndpointId,
        /// Where the RTP of `from`'s party comes from.
        heard: SocketAddr,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`return_offer`](super::MediaController::return_offer).
    ReturnOffer {
        /// Of this party.
        endpoint: EndpointId,
        /// What may be offered to this party.
        policy: PairPolicy,
    },
    /// [`send_digit`](super::MediaController::send_digit).
    SendDigit {
        /// Of this party.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
        /// How long it lasts, in ms.
        duration_ms: u32,
    },
    /// [`withdraw_offer`](super::MediaController::withdraw_offer).
    WithdrawOffer {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`bridge`](super::MediaController::bridge).
    Bridge {
        /// One of the two.
        a: EndpointId,
        /// The other.
        b: EndpointId,
    },
    /// [`unbridge`](super::MediaController::unbridge).
    Unbridge {
        /// One of the two.
        a: EndpointId,
        /// The other.
        b: EndpointId,
    },
    /// [`stats`](super::MediaController::stats).
    Stats {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`play_prompt`](super::MediaController::play_prompt).
    Play {
        /// Of this party.
        endpoint: EndpointId,
        /// What is played.
        prompt: Prompt,
    },
    /// [`stop_prompt`](super::MediaController::stop_prompt).
    StopPrompt {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`collect_dtmf`](super::MediaController::collect_dtmf),
    /// [`play_and_collect`](super::MediaController::play_and_collect).
    Collect {
        /// Of this party.
        endpoint: EndpointId,
        /// What is played meanwhile; `None`: nothing.
        prompt: Option<Prompt>,
        /// When it is complete.
        plan: DigitPlan,
    },
    /// [`stop_collecting`](super::MediaController::stop_collecting).
    StopCollecting {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`feed_digit`](super::MediaController::feed_digit).
    FeedDigit {
        /// Of this party.
        endpoint: EndpointId,
        /// `0-9 * # A-D`
        digit: char,
    },
    /// [`hear_tones`](super::MediaController::hear_tones).
    HearTones {
        /// Of this party.
        endpoint: EndpointId,
        /// Whether tones are digits.
        on: bool,
    },
    /// [`takes_info`](super::MediaController::takes_info).
    TakesInfo {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`start_recording`](super::MediaController::start_recording).
    Record {
        /// The name that it is to have; `None`: the answer has one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// Of this party.
        endpoint: EndpointId,
        /// What, and where to.
        spec: RecordingSpec,
    },
    /// [`pause_recording`](super::MediaController::pause_recording).
    PauseRecording {
        /// Which one.
        recording: RecordingId,
        /// `false`: it goes on.
        paused: bool,
    },
    /// [`follow_recording`](super::MediaController::follow_recording).
    FollowRecording {
        /// Which one.
        recording: RecordingId,
        /// Where it goes on.
        endpoint: EndpointId,
        /// Whether that is who the recorded party spoke with.
        other_side: bool,
    },
    /// [`stop_recording`](super::MediaController::stop_recording).
    StopRecording {
        /// Which one.
        recording: RecordingId,
    },
    /// [`wait_for_recording`](super::MediaController::wait_for_recording).
    WaitForRecording {
        /// Which one.
        recording: RecordingId,
    },
    /// [`create_conference`](super::MediaController::create_conference).
    CreateConference {
        /// The name that it is to have; `None`: the answer has one.
        #[serde(deserialize_with = "named")]
        conference: Option<ConferenceId>,
        /// What it is to be.
        spec: ConferenceSpec,
    },
    /// [`end_conference`](super::MediaController::end_conference).
    EndConference {
        /// Which room.
        conference: ConferenceId,
    },
    /// [`add_to_conference`](super::MediaController::add_to_conference).
    AddToConference {
        /// Which room.
        conference: ConferenceId,
        /// Of this party.
        endpoint: EndpointId,
        /// How it is there.
        member: Member,
    },
    /// [`remove_from_conference`](super::MediaController::remove_from_conference).
    RemoveFromConference {
        /// Which room.
        conference: ConferenceId,
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`play_to_conference`](super::MediaController::play_to_conference).
    PlayToConference {
        /// Which room.
        conference: ConferenceId,
        /// What is played.
        prompt: Prompt,
    },
    /// [`record_conference`](super::MediaController::record_conference).
    RecordConference {
        /// The name that it is to have; `None`: the answer has one.
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        /// Which room.
        conference: ConferenceId,
        /// What, and where to.
        spec: RecordingSpec,
    },
    /// [`start_moh`](super::MediaController::start_moh).
    StartMoh {
        /// Of this party.
        endpoint: EndpointId,
        /// What is played.
        class: Music,
    },
    /// [`stop_moh`](super::MediaController::stop_moh).
    StopMoh {
        /// Of this party.
        endpoint: EndpointId,
    },
    /// [`echo`](super::MediaController::echo).
    Echo {
        /// Of this party.
        endpoint: EndpointId,
        /// Whether it hears itself.
        on: bool,
    },
}

/// Music on hold that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Music {
    /// A class that who carries media was started with.
    Named(String),
    /// One that need not be among those.
    Class(MusicClass),
}

/// Something that a verb is about, by its name.
#[derive(Debug, PartialEq, Eq)]
pub enum NameMut<'a> {
    /// An endpoint.
    Endpoint(&'a mut EndpointId),
    /// A recording.
    Recording(&'a mut RecordingId),
    /// A room.
    Conference(&'a mut ConferenceId),
}

/// Something that a verb makes, with the name that it is to have.
#[derive(Debug, PartialEq, Eq)]
pub enum MadeMut<'a> {
    /// Near another endpoint, if it may choose.
    Endpoint(&'a mut Option<EndpointId>, Option<EndpointId>),
    /// A recording.
    Recording(&'a mut Option<RecordingId>),
    /// A room.
    Conference(&'a mut Option<ConferenceId>),
}

impl Verb {
    /// What a controller must be able to do for it.
    pub fn capability(&self) -> Capability {
        match self {
            Verb::Allocate { .. }
            | Verb::SignalledFrom { .. }
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

    /// What it is about, for who calls it otherwise. The first is where it is carried out. What it makes is
    /// not among these, nor what that had better be near.
    pub fn names_mut(&mut self) -> [Option<NameMut<'_>>; 2] {
        use NameMut::{Conference, Endpoint, Recording};
        match self {
            Verb::Allocate { .. } | Verb::CreateConference { .. } => [None, None],
            Verb::SignalledFrom { endpoint, .. }
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

    /// What it makes, for who gives it a name.
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

    /// Whether [`Descriptions`](super::Descriptions) of the endpoints that it is about may be others
    /// once it is carried out.
    pub fn describes(&self) -> bool {
        matches!(self, Verb::PairAnswer { .. } | Verb::ApplyRemote { .. } | Verb::LocalAnswer { .. })
    }

    /// Whether every file that it names has a name that JSON can hold.
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
