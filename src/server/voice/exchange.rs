//! One party's stream and what its client sends, on a connection of any kind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::dialect::Reading;
use super::message::{Start, Told};
use super::session::{AgentRequest, Allowance, Budget, Fault, Mistake, PIECE, Session};
use super::talk::{Outcome, Party};
use super::{Mistakes, Place};
use b2b_base::util::lines::visible;
use b2b_call::CallId;
use b2b_call::controller::{AudioStream, StreamEnd, StreamEvent};

/// Maximum seconds of a client's queued audio; beyond that the oldest is dropped.
const QUEUE_S: usize = 60;
/// How long an agent is silent between two utterances.
const PAUSE: Duration = Duration::from_secs(1);
/// Budget of events for the account of the call.
const EVENTS: Budget = Budget::of(5.0, 100.0);
/// Maximum queued messages with digits to send: as many as may come at once.
const PRESSES: usize = 300;

/// See the module documentation. Dropping it frees its party.
pub struct Exchange {
    pub stream: AudioStream,
    session: Session,
    party: Party,
    presses: Option<mpsc::Sender<(String, u32)>>,
    secrecy: Option<Secrecy>,
    /// The call and the application, for events; `None`: the client has connected to us.
    account: Option<(CallId, String)>,
    events: Budget,
    /// When its last audio came.
    spoke: Option<Instant>,
    /// Samples of the client that were dropped since this was last told.
    dropped: usize,
    mistakes: Mistakes,
    place: Place,
}

impl Exchange {
    /// The exchange of a client that gets this first message.
    pub fn new(
        start: &Start,
        allowance: Allowance,
        stream: AudioStream,
        party: Party,
        place: Place,
    ) -> Exchange {
        let who = match &start.agent {
            Some(agent) => format!("call {}: voice agent {agent}", start.call),
            None => format!("leg {}: the client of its audio", start.leg),
        };
        Exchange {
            stream,
            session: Session::new(allowance),
            party,
            presses: None,
            secrecy: None,
            account: start.agent.as_ref().map(|agent| (CallId(start.call), format!("voice_agent/{agent}"))),
            events: EVENTS,
            spoke: None,
            dropped: 0,
            mistakes: Mistakes::of(&place.desk, who),
            place,
        }
    }

    /// Takes audio; `samples` is a buffer.
    ///
    /// # Errors
    /// `Flood`.
    pub fn sound(&mut self, at: Instant, octets: &[u8], samples: &mut Vec<i16>) -> Result<(), Fault> {
        let most = self.stream.spec().rate_hz as usize * QUEUE_S;
        let pause = self.spoke.is_none_or(|last| at.saturating_duration_since(last) >= PAUSE);
        self.spoke = Some(at);
        if pause && self.stream.queued() == 0 {
            self.publish(at, "speaks", json!({}));
        }
        let pieces = octets.chunks(PIECE);
        for piece in pieces.chain(octets.is_empty().then_some(octets)) {
            samples.clear();
            self.session.sound(at, piece, samples)?;
            self.stream.write(samples);
            self.dropped += self.stream.drop_oldest(most);
        }
        Ok(())
    }

    /// Takes a request, or a text that is none.
    ///
    /// # Errors
    /// `Flood`.
    pub fn request(&mut self, at: Instant, request: Result<Reading, Mistake>) -> Result<(), Fault> {
        match request {
            Ok(Reading { said, mistake }) => {
                self.session.mistakes.extend(mistake);
                let request = self.session.request(at, said, self.stream.marks())?;
                self.does(at, request);
                Ok(())
            }
            Err(mistake) => self.session.mistaken(at, mistake),
        }
    }

    /// Takes any other message.
    ///
    /// # Errors
    /// `Flood`.
    pub fn other(&mut self, at: Instant) -> Result<(), Fault> {
        self.session.counts(at, 0)
    }

    fn does(&mut self, at: Instant, request: AgentRequest) {
        match request {
            AgentRequest::Nothing => {}
            AgentRequest::Mark(name) => self.stream.mark(name),
            AgentRequest::Clear => {
                self.stream.clear();
                self.publish(at, "cleared", json!({}));
            }
            AgentRequest::Finish => self.stream.finish(),
            AgentRequest::Secret { on } => match &self.account {
                Some((call, _)) => {
                    let secrecy = self.secrecy.get_or_insert_with(|| Secrecy::of(*call, self.party.clone()));
                    secrecy.wanted.send_replace(on);
                }
                None => {
                    let why = "secret is for voice agents that b2b calls".to_owned();
                    self.session.mistakes.push(Mistake::Junk(why));
                }
            },
            AgentRequest::Press { digits, ms } => {
                let presses = self.presses.get_or_insert_with(|| presser(self.party.clone()));
                if presses.try_send((digits, ms)).is_err() {
                    self.session.mistakes.push(Mistake::Digits);
                }
            }
        }
    }

    /// The next message for the client: of its mistakes and of the stream.
    ///
    /// # Errors
    /// The reason, if the stream has ended.
    pub fn poll(&mut self) -> Option<Result<Told, StreamEnd>> {
        while let Some(mistake) = self.session.mistakes.pop() {
            if let Some(told) = self.mistakes.note(&mistake) {
                return Some(Ok(told));
            }
        }
        if let Some(on) = self.secrecy.as_mut().and_then(|secrecy| secrecy.kept.try_recv().ok()) {
            return Some(Ok(Told::Secret { on }));
        }
        let event = self.stream.poll_event()?;
        if let (StreamEvent::Mark { name, played }, Some(at)) = (&event, self.spoke) {
            let what = if *played { "played" } else { "not_played" };
            self.publish(at, what, json!({ "mark": visible(name) }));
        }
        Some(Told::of(event, self.stream.spec().rate_hz))
    }

    /// Publishes what an agent does.
    fn publish(&mut self, at: Instant, name: &str, data: Value) {
        if let Some((call, app)) = &self.account
            && self.events.take(at, 1)
        {
            // Fails only when the service stops.
            let _ = self.party.service.publish(Some(*call), app, name, data);
        }
    }

    /// The message about the audio that was dropped since the last one.
    pub fn tell_dropped(&mut self) -> Option<Told> {
        let samples = std::mem::take(&mut self.dropped) as u64;
        if samples == 0 {
            return None;
        }
        self.session.mistakes.push(Mistake::Full);
        Some(Told::Dropped { ms: samples * 1_000 / u64::from(self.stream.spec().rate_hz) })
    }

    /// The outcome for a stream that has ended, by what its client has sent.
    pub fn outcome(&mut self, why: StreamEnd) -> Outcome {
        match why {
            StreamEnd::Finished => Outcome::Stopped { transfer: self.session.transfer() },
            why => Outcome::Ended(why),
        }
    }

    /// The outcome for a client that has closed its connection: an agent that has understood us, and closes it with a
    /// code that means no fault (RFC 6455 §7.4.1), says goodbye to its caller.
    pub fn closed(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Left { code: Some(1000 | 1001 | 1005), .. }
                if self.account.is_some() && self.session.understood =>
            {
                Outcome::Stopped { transfer: None }
            }
            outcome => outcome,
        }
    }

    /// Frees the party and counts the end; returns the outcome, and the place, which is held until the
    /// connection is closed.
    pub fn ends(self, mut outcome: Outcome) -> (Outcome, Place) {
        self.place.ends(&outcome);
        if let Outcome::Left { why, .. } = &mut outcome
            && !self.session.understood
        {
            why.push_str(
                "; it has sent no message of this protocol: see `protocol` of [[voice_agent]] in \
                 docs/voice-agents.md",
            );
        }
        (outcome, self.place)
    }
}

/// Keeps what the party enters from others, for as long as its agent wants that and has the party.
struct Secrecy {
    wanted: watch::Sender<bool>,
    /// What has been done.
    kept: mpsc::UnboundedReceiver<bool>,
}

impl Secrecy {
    /// Nothing is kept yet.
    fn of(call: CallId, party: Party) -> Secrecy {
        let (wanted, mut wants) = watch::channel(false);
        let (keeps, kept) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut is_kept = false;
            while wants.changed().await.is_ok() {
                is_kept = *wants.borrow_and_update();
                keep(call, &party, is_kept).await;
                let _ = keeps.send(is_kept);
            }
            // The agent has gone.
            if is_kept {
                keep(call, &party, false).await;
            }
        });
        Secrecy { wanted, kept }
    }
}

/// Hides the keys of a party and pauses the recordings of its call, or ends that. What is gone or not recorded needs
/// neither.
async fn keep(call: CallId, party: &Party, secret: bool) {
    let Party { leg, service } = party;
    let _ = service.hide_keys(*leg, secret).await;
    let _ = service.pause_leg_recording(*leg, secret).await;
    let _ = service.pause_call_recording(call, secret).await;
}

/// Sends digits one after the other: each is a request to the calls' thread, for which no reading waits.
fn presser(party: Party) -> mpsc::Sender<(String, u32)> {
    let (presses, mut wanted) = mpsc::channel::<(String, u32)>(PRESSES);
    tokio::spawn(async move {
        while let Some((digits, ms)) = wanted.recv().await {
            for digit in digits.chars() {
                // If the leg is gone, the stream's end tells so.
                let _ = party.service.send_digit(party.leg, digit, ms).await;
            }
        }
    });
    presses
}
