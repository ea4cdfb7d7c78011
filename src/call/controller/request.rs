//! What is asked of who carries media, and what it comes to, as values: within this process and, in JSON,
//! between a b2bua and a media server.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::json::octets;
use super::{
    Collected, ConferenceId, ConferenceSpec, DigitPlan, EndpointId, EndpointSpec, EndpointStats, Joined,
    Member, MusicClass, MusicSource, PairPolicy, Part, Played, Prompt, Recorded, RecordingId, RecordingSpec,
};

/// What is asked for; see [`MediaController`](super::MediaController).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Allocate {
        endpoint: EndpointId,
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
        recording: RecordingId,
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
        conference: ConferenceId,
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
        recording: RecordingId,
        conference: ConferenceId,
        spec: RecordingSpec,
    },
    StartMoh {
        endpoint: EndpointId,
        class: MusicClass,
    },
    StopMoh {
        endpoint: EndpointId,
    },
    Echo {
        endpoint: EndpointId,
        on: bool,
    },
}

impl Verb {
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
            Verb::StartMoh { class, .. } => match &class.source {
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
    Allocated { rtp: SocketAddr },
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
            Answer::Allocated { rtp } => Answer::Allocated { rtp },
            Answer::Description(octets) => Answer::Description(octets),
            Answer::Joined(joined) => Answer::Joined(joined),
            Answer::Stats(stats) => Answer::Stats(Box::new(tell(*stats))),
            Answer::Played(played) => Answer::Played(played),
            Answer::Collected(collected) => Answer::Collected(collected),
            Answer::Recorded(recorded) => Answer::Recorded(recorded),
        }
    }
}
