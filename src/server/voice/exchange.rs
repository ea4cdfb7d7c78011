//! One party's stream and what its client sends, on a connection of any kind.
//!
//! An agent that consults somebody has another stream meanwhile; its application decides when
//! ([`b2b_app::voice_agent`], `consult`):
//!
//! | with | its audio comes from and goes to | the end of the stream | its `stop` |
//! |---|---|---|---|
//! | `Caller` | the caller | ends the talk | ends the talk |
//! | `Early` | the caller, who has not answered yet, and hears nothing | ends the talk, unless it is replaced | ends the talk; with a target, once the caller has answered |
//! | `Nobody` | nobody: what it had said is played | nothing | ends the next stream, too |
//! | `Consulted` | whom it consults | ends the talk if it is by the agent's `stop`; otherwise news follow | joins both |

use std::collections::VecDeque;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::account::{self, Loudness};
use super::dialect::Reading;
use super::message::{Start, Told};
use super::session::{AgentRequest, Allowance, Budget, Fault, Mistake, Session};
use super::talk::{Outcome, Party};
use super::{Mistakes, Place};
use b2b_app::voice_agent::{Ask, Audio, Consulting, News, Stage};
use b2b_call::controller::{AudioStream, StreamEnd, StreamEvent};
use b2b_call::{CallId, LegId};

/// Budget of events for the account of the call; utterances have one of their own, which no mark takes from them.
const EVENTS: Budget = Budget::of(5.0, 100.0);
/// Budget of parties that an agent consults.
const CONSULTS: Budget = Budget::of(0.2, 5.0);
/// Maximum queued messages with digits to send: as many as may come at once.
const PRESSES: usize = 300;
/// Maximum octets of audio that are decoded at once.
const AT_ONCE: usize = 64 * 1_024;

/// See the module documentation. Dropping it frees its party.
pub struct Exchange {
    pub stream: AudioStream,
    session: Session,
    /// Seconds of audio that may be queued.
    queue_s: usize,
    party: Party,
    with: With,
    consult: Consult,
    /// Whether its stream is polled by the clock.
    is_polled: bool,
    /// `None`: the client has connected to us.
    consulting: Option<Consulting>,
    consults: Budget,
    /// What the client is told next.
    told: VecDeque<Result<Told, StreamEnd>>,
    presses: Option<mpsc::Sender<(String, u32)>>,
    secrecy: Option<Secrecy>,
    /// The call and the application, for events; `None`: the client has connected to us.
    account: Option<(CallId, String)>,
    events: Budget,
    turns: Budget,
    loudness: Loudness,
    /// When its last audio came.
    spoke: Option<Instant>,
    /// The client was told of speech that has not ended.
    is_spoken_to: bool,
    /// Utterances before this stream, and with it.
    utterances: (u32, u32),
    /// Samples of the client that were dropped since this was last told.
    dropped: usize,
    mistakes: Mistakes,
    place: Place,
}

/// How far a consultation has got that the client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consult {
    No,
    /// There are no news yet.
    Asked,
    Begun,
}

/// Whom a client talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Caller,
    Early,
    Nobody,
    Consulted(LegId),
}

impl Exchange {
    /// The exchange of a client that gets this first message.
    pub fn new(
        start: &Start,
        allowance: Allowance,
        stream: AudioStream,
        (party, consulting): (Party, Option<Consulting>),
        place: Place,
    ) -> Exchange {
        let who = match &start.agent {
            Some(agent) => format!("call {}: voice agent {agent}", start.call),
            None => format!("leg {}: the client of its audio", start.leg),
        };
        Exchange {
            stream,
            queue_s: allowance.queue_s,
            session: Session::new(allowance, start.format.rate_hz),
            party,
            with: if start.early { With::Early } else { With::Caller },
            consult: Consult::No,
            is_polled: false,
            consulting,
            consults: CONSULTS,
            told: VecDeque::new(),
            presses: None,
            secrecy: None,
            account: start.agent.as_ref().map(|agent| (CallId(start.call), format!("voice_agent/{agent}"))),
            events: EVENTS,
            turns: EVENTS,
            loudness: Loudness::default(),
            spoke: None,
            is_spoken_to: false,
            utterances: (0, 0),
            dropped: 0,
            mistakes: Mistakes::of(&place.desk, who),
            place,
        }
    }

    /// Waits until there is something to read, or news.
    pub async fn changed(&mut self) {
        let Some(consulting) = &mut self.consulting else { return self.stream.changed().await };
        let news = tokio::select! {
            () = self.stream.changed() => return,
            // None once the application is over: the stream's end tells so.
            Some(news) = consulting.news.recv() => news,
        };
        self.hears_of(news);
    }

    /// On a polled stream: whether there may be something to read since the last call.
    pub fn has_news(&mut self) -> bool {
        self.is_polled = true;
        let is_told = self.take_news();
        self.stream.has_news() || is_told
    }

    fn take_news(&mut self) -> bool {
        let mut is_told = false;
        while let Some(news) = self.consulting.as_mut().and_then(|it| it.news.try_recv().ok()) {
            self.hears_of(news);
            is_told = true;
        }
        is_told
    }

    fn hears_of(&mut self, news: News) {
        let (stage, error) = match news {
            News::Stage { stage, error, audio } => {
                let stays = matches!(audio, Audio::Same);
                match audio {
                    Audio::Same => {}
                    Audio::Nobody => {
                        self.with = With::Nobody;
                        self.stream.finish();
                    }
                    Audio::Caller(stream) => self.talks_to(With::Caller, *stream),
                    Audio::Consulted(leg, stream) => self.talks_to(With::Consulted(leg), *stream),
                }
                if let Some(consulting) = &self.consulting
                    && self.with == With::Nobody
                    && self.session.transfer.is_some()
                {
                    // It has said where its caller goes.
                    consulting.ask(Ask::Return);
                }
                if stays && self.consult == Consult::Asked && self.session.is_stopping() {
                    // It has waited for this.
                    self.stream.finish();
                }
                self.consult = match stage {
                    Stage::Calling | Stage::Answered => Consult::Begun,
                    Stage::CallerAnswered
                    | Stage::Refused
                    | Stage::Failed
                    | Stage::Ended
                    | Stage::Returned => Consult::No,
                };
                if stage == Stage::CallerAnswered {
                    return self.told.push_back(Ok(Told::Answered {}));
                }
                (stage, error)
            }
            News::Ended(why) => return self.told.push_back(Err(why)),
        };
        self.told.push_back(Ok(Told::Consult { state: stage.as_str(), error }));
    }

    fn talks_to(&mut self, with: With, stream: AudioStream) {
        self.stream.clear();
        let rate_hz = self.stream.spec().rate_hz;
        while let Some(event) = self.event() {
            if let Some(Ok(mut told)) = Told::of(event, rate_hz) {
                self.notes(&mut told);
                self.told.push_back(Ok(told));
            }
        }
        // The new stream hears another party, or the same one anew.
        if std::mem::take(&mut self.is_spoken_to) {
            self.told.push_back(Ok(Told::Speech { on: false, ms: None }));
        }
        self.utterances.0 = self.utterances.1;
        self.publish_loudness(true);
        (self.with, self.stream, self.presses) = (with, stream, None);
        if self.is_polled {
            self.stream.poll_by_the_clock();
        }
        if self.session.is_stopping() {
            self.stream.finish();
        }
    }

    /// Takes audio; `samples` is a buffer.
    ///
    /// # Errors
    /// `Flood`.
    pub fn sound(&mut self, at: Instant, octets: &[u8], samples: &mut Vec<i16>) -> Result<(), Fault> {
        let most = self.stream.spec().rate_hz as usize * self.queue_s;
        self.spoke = Some(at);
        let pieces = octets.chunks(AT_ONCE);
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

    /// Counts the size of a message before it is read.
    ///
    /// # Errors
    /// `Flood`.
    pub fn weighs(&mut self, at: Instant, octets: usize) -> Result<(), Fault> {
        self.session.weighs(at, octets)
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
            AgentRequest::Consult(_)
            | AgentRequest::Return
            | AgentRequest::Press { .. }
            | AgentRequest::Secret { .. }
                if self.with == With::Early =>
            {
                self.session.mistakes.push(Mistake::Junk("the party has not answered yet".to_owned()));
            }
            AgentRequest::Mark(name) if matches!(self.with, With::Early | With::Nobody) => {
                self.told.push_back(Ok(Told::Mark { name, played: false }));
            }
            AgentRequest::Mark(name) => self.stream.mark(name),
            AgentRequest::Clear => {
                self.stream.clear();
                self.publish(at, "cleared", json!({}));
            }
            // What comes of the consultation decides on it.
            AgentRequest::Finish if self.consult == Consult::Asked => {}
            AgentRequest::Finish if self.with == With::Early && self.session.transfer.is_some() => {}
            AgentRequest::Finish => {
                self.stream.finish();
                if let Some(consulting) = &self.consulting
                    && self.with == With::Nobody
                    && self.session.transfer.is_some()
                {
                    consulting.ask(Ask::Return);
                }
            }
            AgentRequest::Consult(target) => {
                let Some(consulting) = &self.consulting else {
                    return self.session.mistakes.push(not_called("consult"));
                };
                let why = match self.consult {
                    Consult::No if self.consults.take(at, 1) => {
                        self.consult = Consult::Asked;
                        return consulting.ask(Ask::Consult(target));
                    }
                    Consult::No => "one in 5 s, and 5 at once at most",
                    Consult::Asked | Consult::Begun => "another party is consulted; return first",
                };
                let (state, error) = (Stage::Refused.as_str(), Some(why.to_owned()));
                self.told.push_back(Ok(Told::Consult { state, error }));
            }
            AgentRequest::Return => match &self.consulting {
                Some(consulting) if self.consult != Consult::No => consulting.ask(Ask::Return),
                Some(_) => {
                    let state = Stage::Returned.as_str();
                    self.told.push_back(Ok(Told::Consult { state, error: None }));
                }
                None => self.session.mistakes.push(not_called("return")),
            },
            AgentRequest::Secret { on } => match &self.account {
                Some(_) => {
                    let secrecy = self.secrecy.get_or_insert_with(|| Secrecy::of(self.party.clone()));
                    secrecy.wanted.send_replace(on);
                }
                None => self.session.mistakes.push(not_called("secret")),
            },
            AgentRequest::Press { digits, ms } => {
                let party = Party { leg: self.leg(), ..self.party.clone() };
                let presses = self.presses.get_or_insert_with(|| presser(party));
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
        self.take_news();
        if let Some(told) = self.told.pop_front() {
            return Some(told);
        }
        let event = self.event()?;
        if let StreamEvent::Ended(why) = event
            && !self.is_over(why)
        {
            if let (With::Consulted(_), StreamEnd::Joined | StreamEnd::Replaced, Some(consulting)) =
                (self.with, why, &self.consulting)
            {
                consulting.ask(Ask::Lost);
            }
            return None;
        }
        let mut told = Told::of(event, self.stream.spec().rate_hz)?;
        if let Ok(told) = &mut told {
            self.notes(told);
        }
        Some(told)
    }

    /// The next event of the stream; how loud both sides were is for the account.
    fn event(&mut self) -> Option<StreamEvent> {
        loop {
            match self.stream.poll_event()? {
                StreamEvent::Levels(levels) if self.account.is_some() => {
                    self.loudness.add(&levels);
                    self.publish_loudness(false);
                }
                StreamEvent::Levels(_) => {}
                event => return Some(event),
            }
        }
    }

    fn publish_loudness(&mut self, anyway: bool) {
        if let Some(data) = self.loudness.take(anyway) {
            self.publishes("levels", data);
        }
    }

    /// Numbers utterances through all streams of the client, notes whether a party speaks, and publishes what the account
    /// has.
    fn notes(&mut self, told: &mut Told) {
        if let Told::Speech { on, .. } = told {
            self.is_spoken_to = *on;
        }
        if let Told::Utterance { utterance, .. } = told {
            *utterance += self.utterances.0;
            self.utterances.1 = *utterance;
        }
        if let (Some((name, data)), Some(at)) = (account::event(told), self.spoke) {
            self.publish(at, name, data);
        }
    }

    /// The leg of the party that the client talks to.
    fn leg(&self) -> LegId {
        if let With::Consulted(leg) = self.with { leg } else { self.party.leg }
    }

    /// Whether this end of the stream is that of the talk.
    fn is_over(&self, why: StreamEnd) -> bool {
        match self.with {
            With::Caller => true,
            With::Early => why != StreamEnd::Replaced,
            With::Nobody => false,
            With::Consulted(_) => why == StreamEnd::Finished,
        }
    }

    /// Publishes what an agent does to the party that it has, unless it does too much.
    fn publish(&mut self, at: Instant, name: &str, data: Value) {
        let budget = if data["utterance"].is_null() { &mut self.events } else { &mut self.turns };
        if budget.take(at, 1) {
            self.publishes(name, data);
        }
    }

    fn publishes(&self, name: &str, mut data: Value) {
        if let Some((call, app)) = &self.account {
            data["leg"] = self.leg().0.into();
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
    /// code that means no fault (RFC 6455 §7.4.1), says goodbye to its caller, unless it has left them for another one. One
    /// that is going away (1001) has been stopped in the middle of the call.
    pub fn closed(&self, outcome: Outcome) -> Outcome {
        let goes_away = matches!(outcome, Outcome::Left { code: Some(1001), .. });
        if self.account.is_some() && self.session.understood && !goes_away && self.is_goodbye(&outcome) {
            return Outcome::Stopped { transfer: None };
        }
        outcome
    }

    /// Whether a client that closes its connection so has said `stop`: what it has said is played to its end.
    pub fn is_heard_out(&self, outcome: &Outcome) -> bool {
        self.session.is_stopping() && self.is_goodbye(outcome)
    }

    fn is_goodbye(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Left { code: Some(1000 | 1001 | 1005), .. })
            && matches!(self.with, With::Caller | With::Early)
            && self.consult != Consult::Asked
    }

    /// Frees the party and counts the end; returns the outcome, and the place, which is held until the
    /// connection is closed.
    pub fn ends(mut self, mut outcome: Outcome) -> (Outcome, Place) {
        self.publish_loudness(true);
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

fn not_called(what: &str) -> Mistake {
    Mistake::Junk(format!("{what} is for voice agents that b2b calls"))
}

/// Keeps what the party enters from others, for as long as its agent wants that and has the party.
struct Secrecy {
    wanted: watch::Sender<bool>,
    /// What has been done.
    kept: mpsc::UnboundedReceiver<bool>,
}

impl Secrecy {
    /// Nothing is kept yet.
    fn of(Party { leg, service }: Party) -> Secrecy {
        let (wanted, mut wants) = watch::channel(false);
        let (keeps, kept) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut is_kept = false;
            while wants.changed().await.is_ok() {
                let wanted = *wants.borrow_and_update();
                if is_kept != wanted {
                    is_kept = service.keep_secret(leg, wanted).await.is_ok() && wanted;
                }
                let _ = keeps.send(wanted);
            }
            // The agent has gone.
            if is_kept {
                let _ = service.keep_secret(leg, false).await;
            }
        });
        Secrecy { wanted, kept }
    }
}

/// Sends digits one after the other, for which no reading waits, until its sender is dropped.
fn presser(party: Party) -> mpsc::Sender<(String, u32)> {
    let (presses, mut wanted) = mpsc::channel::<(String, u32)>(PRESSES);
    tokio::spawn(async move {
        while let Some((digits, ms)) = wanted.recv().await {
            for digit in digits.chars() {
                if wanted.is_closed() {
                    return;
                }
                // If the leg is gone, the stream's end tells so.
                let _ = party.service.send_digit(party.leg, digit, ms).await;
            }
        }
    });
    presses
}
