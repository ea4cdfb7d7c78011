//! What is asked of who carries media, and what it comes to, as values: within this process and, in JSON,
//! between a b2bua and a media server.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::{named, octets};
use super::{
    Capability, Collected, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, EndpointSpec, EndpointStats,
    Joined, LocalDescription, Member, MusicClass, MusicSource, PairPolicy, Part, Played, Prompt, Recorded,
    RecordingId, RecordingSpec,
};

/// What is asked for; see [`MediaController`](super::MediaController) for what each of them does.
///
/// What is made (an endpoint, a recording, a room) has the name that its verb gives it, where it gives one,
/// as it does on its way to a media server. Without one the answer has the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Allocate {
        #[serde(deserialize_with = "named")]
        endpoint: Option<EndpointId>,
        spec: EndpointSpec,
    },
    SignalledFrom {
        endpoint: EndpointId,
        host: IpAddr,
    },
    Release {
        endpoint: EndpointId,
    },
    PairOffer {
        from: EndpointId,
        to: EndpointId,
        #[serde(with = "octets")]
        offer: Bytes,
        policy: PairPolicy,
    },
    PairAnswer {
        from: EndpointId,
        to: EndpointId,
        #[serde(with = "octets")]
        answer: Bytes,
    },
    LocalOffer {
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: PairPolicy,
    },
    ApplyRemote {
        endpoint: EndpointId,
        #[serde(with = "octets")]
        answer: Bytes,
    },
    LocalAnswer {
        endpoint: EndpointId,
        #[serde(with = "octets")]
        offer: Bytes,
        policy: PairPolicy,
    },
    RepeatOffer {
        endpoint: EndpointId,
    },
    DirectOffer {
        from: EndpointId,
        to: EndpointId,
        heard: SocketAddr,
        policy: PairPolicy,
    },
    ReturnOffer {
        endpoint: EndpointId,
        policy: PairPolicy,
    },
    SendDigit {
        endpoint: EndpointId,
        digit: char,
        duration_ms: u32,
    },
    WithdrawOffer {
        endpoint: EndpointId,
    },
    Bridge {
        a: EndpointId,
        b: EndpointId,
    },
    Unbridge {
        a: EndpointId,
        b: EndpointId,
    },
    Stats {
        endpoint: EndpointId,
    },
    Play {
        endpoint: EndpointId,
        prompt: Prompt,
    },
    StopPrompt {
        endpoint: EndpointId,
    },
    Collect {
        endpoint: EndpointId,
        prompt: Option<Prompt>,
        plan: DigitPlan,
    },
    StopCollecting {
        endpoint: EndpointId,
    },
    FeedDigit {
        endpoint: EndpointId,
        digit: char,
    },
    HearTones {
        endpoint: EndpointId,
        on: bool,
    },
    TakesInfo {
        endpoint: EndpointId,
    },
    Record {
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        endpoint: EndpointId,
        spec: RecordingSpec,
    },
    PauseRecording {
        recording: RecordingId,
        paused: bool,
    },
    FollowRecording {
        recording: RecordingId,
        endpoint: EndpointId,
        other_side: bool,
    },
    StopRecording {
        recording: RecordingId,
    },
    WaitForRecording {
        recording: RecordingId,
    },
    CreateConference {
        #[serde(deserialize_with = "named")]
        conference: Option<ConferenceId>,
        spec: ConferenceSpec,
    },
    EndConference {
        conference: ConferenceId,
    },
    AddToConference {
        conference: ConferenceId,
        endpoint: EndpointId,
        member: Member,
    },
    RemoveFromConference {
        conference: ConferenceId,
        endpoint: EndpointId,
    },
    PlayToConference {
        conference: ConferenceId,
        prompt: Prompt,
    },
    RecordConference {
        #[serde(deserialize_with = "named")]
        recording: Option<RecordingId>,
        conference: ConferenceId,
        spec: RecordingSpec,
    },
    StartMoh {
        endpoint: EndpointId,
        class: Music,
    },
    StopMoh {
        endpoint: EndpointId,
    },
    Echo {
        endpoint: EndpointId,
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
    Endpoint(&'a mut EndpointId),
    Recording(&'a mut RecordingId),
    Conference(&'a mut ConferenceId),
}

/// Something that a verb makes, with the name that it is to have.
#[derive(Debug, PartialEq, Eq)]
pub enum MadeMut<'a> {
    /// Near another endpoint, if it may choose.
    Endpoint(&'a mut Option<EndpointId>, Option<EndpointId>),
    Recording(&'a mut Option<RecordingId>),
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

/// What a verb came to. `S` is how counters are told: with moments of this process' clock, or as they are
/// sent to another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<S = EndpointStats> {
    Done,
    /// An endpoint is made. Who has chosen its name need not be told it: it is not sent.
    Allocated {
        #[serde(skip)]
        endpoint: Option<EndpointId>,
        rtp: SocketAddr,
    },
    /// A recording has begun. To who has chosen its name it is [`Answer::Done`].
    #[serde(skip)]
    Recording(RecordingId),
    /// A room is made; the same.
    #[serde(skip)]
    Conference(ConferenceId),
    Description(#[serde(with = "octets")] Bytes),
    Joined(Joined),
    Stats(Box<S>),
    Played(Played),
    Collected(Collected),
    Recorded(Recorded),
}

impl<S> Answer<S> {
    /// The same with counters told otherwise.
    pub fn counted<T>(self, tell: impl FnOnce(S) -> T) -> Answer<T> {
        match self {
            Answer::Done => Answer::Done,
            Answer::Allocated { endpoint, rtp } => Answer::Allocated { endpoint, rtp },
            Answer::Recording(recording) => Answer::Recording(recording),
            Answer::Conference(conference) => Answer::Conference(conference),
            Answer::Description(octets) => Answer::Description(octets),
            Answer::Joined(joined) => Answer::Joined(joined),
            Answer::Stats(stats) => Answer::Stats(Box::new(tell(*stats))),
            Answer::Played(played) => Answer::Played(played),
            Answer::Collected(collected) => Answer::Collected(collected),
            Answer::Recorded(recorded) => Answer::Recorded(recorded),
        }
    }
}

/// Each: what it is if it is such an answer.
impl Answer {
    pub(super) fn done(self) -> Option<()> {
        if let Answer::Done = self { Some(()) } else { None }
    }

    pub(super) fn allocated(self) -> Option<(EndpointId, LocalDescription)> {
        if let Answer::Allocated { endpoint, rtp } = self {
            Some((endpoint?, LocalDescription { rtp }))
        } else {
            None
        }
    }

    pub(super) fn recording(self) -> Option<RecordingId> {
        if let Answer::Recording(it) = self { Some(it) } else { None }
    }

    pub(super) fn conference(self) -> Option<ConferenceId> {
        if let Answer::Conference(it) = self { Some(it) } else { None }
    }

    pub(super) fn description(self) -> Option<Bytes> {
        if let Answer::Description(it) = self { Some(it) } else { None }
    }

    pub(super) fn joined(self) -> Option<Joined> {
        if let Answer::Joined(it) = self { Some(it) } else { None }
    }

    pub(super) fn stats(self) -> Option<EndpointStats> {
        if let Answer::Stats(it) = self { Some(*it) } else { None }
    }

    pub(super) fn played(self) -> Option<Played> {
        if let Answer::Played(it) = self { Some(it) } else { None }
    }

    pub(super) fn collected(self) -> Option<Collected> {
        if let Answer::Collected(it) = self { Some(it) } else { None }
    }

    pub(super) fn recorded(self) -> Option<Recorded> {
        if let Answer::Recorded(it) = self { Some(it) } else { None }
    }
}
