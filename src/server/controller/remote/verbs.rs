//! The trait as requests to a media server.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;

use super::RemoteController;
use super::holdings::About;
use super::wire::Stats;
use b2b_call::controller::{
    Answer, Capabilities, Collected, ConferenceId, ConferenceSpec, Descriptions, DigitPlan, EndpointId,
    EndpointSpec, EndpointStats, Joined, LocalDescription, MediaController, MediaError, MediaFuture, Member,
    Music, PairPolicy, Played, Prompt, Recorded, RecordingId, RecordingSpec, Verb,
};

impl RemoteController {
    /// Asks now; the answer is what `read` makes of it.
    fn ask<T: Send + 'static>(
        &self,
        about: &About,
        verb: Verb,
        read: impl FnOnce(Answer<Stats>) -> Option<T> + Send + 'static,
    ) -> MediaFuture<T> {
        match self.table.ask(about, verb) {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok(answer) => MediaFuture::pending(async move {
                let answer = answer.await.unwrap_or(Err(MediaError::Stopped))?;
                // Another answer than the verb has: no media server of this version.
                read(answer).ok_or(MediaError::Stopped)
            }),
        }
    }

    fn described(&self, endpoint: EndpointId, verb: Verb) -> MediaFuture<Bytes> {
        self.ask(&About::Endpoint(endpoint), verb, |answer| match answer {
            Answer::Description(octets) => Some(octets),
            _ => None,
        })
    }

    fn done(&self, about: About, verb: Verb) -> MediaFuture<()> {
        self.ask(&about, verb, done)
    }

    /// What has no answer.
    fn tell(&self, about: About, verb: Verb) {
        if let Err(error) = self.table.ask(&about, verb) {
            tracing::debug!("media server: {error}");
        }
    }

    fn played(&self, about: About, verb: Verb) -> MediaFuture<Played> {
        self.ask(&about, verb, |answer| match answer {
            Answer::Played(played) => Some(played),
            _ => None,
        })
    }

    fn collected(&self, endpoint: EndpointId, verb: Verb) -> MediaFuture<Collected> {
        self.ask(&About::Endpoint(endpoint), verb, |answer| match answer {
            Answer::Collected(collected) => Some(collected),
            _ => None,
        })
    }

    fn recorded(&self, recording: RecordingId, verb: Verb) -> MediaFuture<Recorded> {
        self.ask(&About::Recording(recording), verb, |answer| match answer {
            Answer::Recorded(recorded) => Some(recorded),
            _ => None,
        })
    }

    /// A recording that begins.
    fn begun(&self, about: About, verb: impl FnOnce(RecordingId) -> Verb) -> MediaFuture<RecordingId> {
        match self.table.recording(&about) {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok(recording) => {
                let verb = verb(recording);
                self.ask(&about, verb, move |answer| done(answer).map(|()| recording))
            }
        }
    }
}

fn done(answer: Answer<Stats>) -> Option<()> {
    matches!(answer, Answer::Done).then_some(())
}

impl MediaController for RemoteController {
    fn capabilities(&self) -> Capabilities {
        RemoteController::CAPABILITIES
    }

    fn allocate_endpoint(&self, spec: EndpointSpec) -> MediaFuture<(EndpointId, LocalDescription)> {
        match self.table.place(spec.near) {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok(endpoint) => {
                let verb = Verb::Allocate { endpoint: Some(endpoint), spec };
                self.ask(&About::Endpoint(endpoint), verb, move |answer| match answer {
                    Answer::Allocated { rtp, .. } => Some((endpoint, LocalDescription { rtp })),
                    _ => None,
                })
            }
        }
    }

    fn open_endpoint(&self, spec: EndpointSpec) -> MediaFuture<EndpointId> {
        MediaFuture::ready(self.table.open(spec))
    }

    fn signalled_from(&self, endpoint: EndpointId, host: IpAddr) {
        self.tell(About::Endpoint(endpoint), Verb::SignalledFrom { endpoint, host });
    }

    fn release_endpoint(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::Release { endpoint });
    }

    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.described(from, Verb::PairOffer { from, to, offer, policy: policy.clone() })
    }

    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.described(from, Verb::PairAnswer { from, to, answer })
    }

    fn local_offer(
        &self,
        endpoint: EndpointId,
        like: Option<EndpointId>,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.described(endpoint, Verb::LocalOffer { endpoint, like, policy: policy.clone() })
    }

    fn apply_remote(&self, endpoint: EndpointId, answer: Bytes) -> MediaFuture<()> {
        self.done(About::Endpoint(endpoint), Verb::ApplyRemote { endpoint, answer })
    }

    fn local_answer(&self, endpoint: EndpointId, offer: Bytes, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.described(endpoint, Verb::LocalAnswer { endpoint, offer, policy: policy.clone() })
    }

    fn repeat_offer(&self, endpoint: EndpointId) -> MediaFuture<Bytes> {
        self.described(endpoint, Verb::RepeatOffer { endpoint })
    }

    fn repeats(&self, endpoint: EndpointId, description: &[u8]) -> bool {
        self.table.repeats(endpoint, description)
    }

    fn direct_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        heard: SocketAddr,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.described(from, Verb::DirectOffer { from, to, heard, policy: policy.clone() })
    }

    fn return_offer(&self, endpoint: EndpointId, policy: &PairPolicy) -> MediaFuture<Bytes> {
        self.described(endpoint, Verb::ReturnOffer { endpoint, policy: policy.clone() })
    }

    fn send_digit(&self, endpoint: EndpointId, digit: char, duration_ms: u32) {
        self.tell(About::Endpoint(endpoint), Verb::SendDigit { endpoint, digit, duration_ms });
    }

    fn withdraw_offer(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::WithdrawOffer { endpoint });
    }

    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        self.ask(&About::Endpoint(a), Verb::Bridge { a, b }, |answer| match answer {
            Answer::Joined(joined) => Some(joined),
            _ => None,
        })
    }

    fn unbridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<()> {
        self.done(About::Endpoint(a), Verb::Unbridge { a, b })
    }

    fn stats(&self, endpoint: EndpointId) -> MediaFuture<EndpointStats> {
        self.ask(&About::Endpoint(endpoint), Verb::Stats { endpoint }, |answer| match answer {
            Answer::Stats(stats) => Some(stats.stats(Instant::now())),
            _ => None,
        })
    }

    fn descriptions(&self, endpoint: EndpointId) -> Option<Descriptions> {
        self.table.descriptions(endpoint)
    }

    fn play_prompt(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.played(About::Endpoint(endpoint), Verb::Play { endpoint, prompt: prompt.clone() })
    }

    fn stop_prompt(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::StopPrompt { endpoint });
    }

    fn collect_dtmf(&self, endpoint: EndpointId, plan: &DigitPlan) -> MediaFuture<Collected> {
        self.collected(endpoint, Verb::Collect { endpoint, prompt: None, plan: plan.clone() })
    }

    fn play_and_collect(
        &self,
        endpoint: EndpointId,
        prompt: &Prompt,
        plan: &DigitPlan,
    ) -> MediaFuture<Collected> {
        let prompt = Some(prompt.clone());
        self.collected(endpoint, Verb::Collect { endpoint, prompt, plan: plan.clone() })
    }

    fn stop_collecting(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::StopCollecting { endpoint });
    }

    fn feed_digit(&self, endpoint: EndpointId, digit: char) {
        self.tell(About::Endpoint(endpoint), Verb::FeedDigit { endpoint, digit });
    }

    fn takes_info(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::TakesInfo { endpoint });
    }

    fn hear_tones(&self, endpoint: EndpointId, on: bool) {
        self.tell(About::Endpoint(endpoint), Verb::HearTones { endpoint, on });
    }

    fn start_recording(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let spec = spec.clone();
        self.begun(About::Endpoint(endpoint), |recording| Verb::Record {
            recording: Some(recording),
            endpoint,
            spec,
        })
    }

    fn pause_recording(&self, recording: RecordingId, paused: bool) {
        self.tell(About::Recording(recording), Verb::PauseRecording { recording, paused });
    }

    /// Refused only where it is known here that it cannot be: the verb is on its way then.
    fn follow_recording(
        &self,
        recording: RecordingId,
        endpoint: EndpointId,
        other_side: bool,
    ) -> Result<(), MediaError> {
        let verb = Verb::FollowRecording { recording, endpoint, other_side };
        self.table.ask(&About::Recording(recording), verb).map(drop)
    }

    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.recorded(recording, Verb::StopRecording { recording })
    }

    fn wait_for_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.recorded(recording, Verb::WaitForRecording { recording })
    }

    fn create_conference(&self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        match self.table.conference() {
            Err(error) => MediaFuture::ready(Err(error)),
            Ok(conference) => {
                let verb = Verb::CreateConference { conference: Some(conference), spec: *spec };
                self.ask(&About::Conference(conference), verb, move |answer| {
                    done(answer).map(|()| conference)
                })
            }
        }
    }

    fn end_conference(&self, conference: ConferenceId) {
        self.tell(About::Conference(conference), Verb::EndConference { conference });
    }

    fn add_to_conference(
        &self,
        conference: ConferenceId,
        endpoint: EndpointId,
        member: Member,
    ) -> MediaFuture<()> {
        self.done(About::Endpoint(endpoint), Verb::AddToConference { conference, endpoint, member })
    }

    fn remove_from_conference(&self, conference: ConferenceId, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::RemoveFromConference { conference, endpoint });
    }

    fn play_to_conference(&self, conference: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        self.played(
            About::Conference(conference),
            Verb::PlayToConference { conference, prompt: prompt.clone() },
        )
    }

    fn record_conference(&self, conference: ConferenceId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let spec = spec.clone();
        self.begun(About::Conference(conference), |recording| Verb::RecordConference {
            recording: Some(recording),
            conference,
            spec,
        })
    }

    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<()> {
        match self.music.get(class) {
            Some(class) => {
                let class = Music::Class(class.clone());
                self.done(About::Endpoint(endpoint), Verb::StartMoh { endpoint, class })
            }
            None => {
                let what = format!("music class {class:?} (there is none of that name)");
                MediaFuture::ready(Err(MediaError::Prompt(what)))
            }
        }
    }

    fn stop_moh(&self, endpoint: EndpointId) {
        self.tell(About::Endpoint(endpoint), Verb::StopMoh { endpoint });
    }

    fn echo(&self, endpoint: EndpointId, on: bool) -> MediaFuture<()> {
        self.done(About::Endpoint(endpoint), Verb::Echo { endpoint, on })
    }
}
