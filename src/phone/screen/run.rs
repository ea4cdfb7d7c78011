//! Runs the screen, its keys and a client together.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::super::dialling::uri_of;
use super::super::script::Stop;
use super::model::{Model, Request, Stage};
use super::terminal::{Input, Screen, keys};
use b2b_base::util::exit::{Exit, Failure};
use b2b_client::{
    Call, CallError, CallId, CallState, ClientEvent, Devices, IncomingCall, Recording, SipClient,
};

/// Redraw interval of a call's clock.
const TICK: Duration = Duration::from_millis(250);
/// Maximum time for far ends to confirm our hang-ups at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The result of a request.
enum Deed {
    Answered(Call),
    Held(CallId, bool),
    Muted(CallId, bool),
    Said(String),
}

/// Shows the phone until the user quits.
///
/// # Errors
/// There is no terminal, or the client cannot start.
pub async fn run(client: &SipClient, identity: &str, stop: &mut Stop) -> anyhow::Result<Exit> {
    let mut events = client.events().await?;
    let mut incoming = client.incoming().await?;
    let no_terminal = |error| {
        Failure::new(Exit::Usage, format!("cannot use the terminal: {error}; --call and --answer need none"))
    };
    let mut screen = Screen::take().map_err(no_terminal)?;
    let mut keys = keys().map_err(no_terminal)?;
    let (deeds, mut done) = mpsc::unbounded_channel();
    let mut phone = Phone {
        client,
        identity,
        model: Model::new(identity.to_owned(), "not registered"),
        calls: HashMap::new(),
        ringing: HashMap::new(),
        answered: HashMap::new(),
        recordings: HashMap::new(),
        deeds,
    };
    phone.model.registered(&client.registration());
    if Devices::default_of_system().is_none() {
        phone.model.say("no audio devices: install alsa-utils; without them calls have no audio here");
    }
    if let Some(uri) = client.uri() {
        phone.model.say(format!("calls for {uri} ring here"));
    }
    let mut tick = tokio::time::interval(TICK);
    loop {
        phone.ages();
        screen.draw(&phone.model)?;
        let request = tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    phone.event(&event).await;
                    None
                }
                None => break,
            },
            Some(call) = incoming.next() => {
                phone.ringing.insert(call.id(), call);
                None
            }
            Some(deed) = done.recv() => {
                phone.done(deed);
                None
            }
            input = keys.recv() => match input {
                Some(Input::Key(key)) => phone.model.key(key),
                Some(Input::Resized) => None,
                None => Some(Request::Quit),
            },
            _ = tick.tick() => None,
            _ = stop.recv() => Some(Request::Quit),
        };
        match request {
            Some(Request::Quit) => break,
            Some(request) => phone.request(request).await,
            None => {}
        }
    }
    drop(screen);
    client.stop(PATIENCE).await;
    Ok(Exit::Ok)
}

struct Phone<'a> {
    client: &'a SipClient,
    identity: &'a str,
    model: Model,
    calls: HashMap<CallId, Call>,
    ringing: HashMap<CallId, IncomingCall>,
    answered: HashMap<CallId, Instant>,
    recordings: HashMap<CallId, Recording>,
    deeds: mpsc::UnboundedSender<Deed>,
}

impl Phone<'_> {
    fn ages(&mut self) {
        for line in &mut self.model.calls {
            line.age_s = self.answered.get(&line.id).map_or(0, |answered| answered.elapsed().as_secs());
        }
    }

    async fn event(&mut self, event: &ClientEvent) {
        if let ClientEvent::Transferring { to, .. } = event
            && let Some(call) = self.client.find(*to).await
        {
            self.model.say(format!("redirected to {}", call.remote()));
            self.begin(call);
        }
        if let ClientEvent::State { call, state } = event {
            match state {
                CallState::Answered => drop(self.answered.insert(*call, Instant::now())),
                CallState::Ended(_) => {
                    self.answered.remove(call);
                    self.ringing.remove(call);
                    self.calls.remove(call);
                    self.recordings.remove(call);
                }
                _ => {}
            }
        }
        self.model.news(event);
    }

    /// Adds a call, whatever state it has reached by now.
    fn begin(&mut self, call: Call) {
        let stage = match call.state() {
            CallState::Answered => Stage::Up,
            CallState::Ringing => Stage::RingsThere,
            _ => Stage::Dialling,
        };
        self.model.begin(call.id(), call.remote().to_owned(), stage);
        self.calls.insert(call.id(), call);
    }

    fn done(&mut self, deed: Deed) {
        match deed {
            Deed::Answered(call) => drop(self.calls.insert(call.id(), call)),
            Deed::Held(id, held) => {
                if let Some(line) = self.model.line(id) {
                    line.held.0 = held;
                }
            }
            Deed::Muted(id, muted) => {
                if let Some(line) = self.model.line(id) {
                    line.muted = muted;
                }
            }
            Deed::Said(line) => self.model.say(line),
        }
    }

    async fn request(&mut self, request: Request) {
        match request {
            Request::Dial(number) => self.dial(&uri_of(&number, self.identity)).await,
            Request::Answer(id) => {
                if let Some(call) = self.ringing.remove(&id) {
                    self.spawn(async move { call.answer().await.map(Deed::Answered) });
                }
            }
            Request::Hangup(id) => match (self.ringing.remove(&id), self.calls.get(&id).cloned()) {
                (Some(call), _) => self.spawn_quiet(async move { call.reject(486).await }),
                (None, Some(call)) => self.spawn_quiet(async move { call.hangup().await }),
                (None, None) => {}
            },
            Request::Hold(id) => {
                self.with(id, move |call| async move { call.hold().await.map(|()| Deed::Held(id, true)) })
            }
            Request::Resume(id) => {
                self.with(id, move |call| async move { call.resume().await.map(|()| Deed::Held(id, false)) })
            }
            Request::Mute(id, muted) => {
                self.with(
                    id,
                    move |call| async move { call.mute(muted).await.map(|()| Deed::Muted(id, muted)) },
                );
            }
            Request::Digit(id, digit) => self.with(id, move |call| async move {
                let sent = call.send_digits(&digit.to_string(), None).await;
                sent.map(|()| Deed::Said(format!("sent {digit}")))
            }),
            Request::Transfer(id, number) => {
                let target = uri_of(&number, self.identity);
                self.with(id, move |call| async move {
                    let sent = call.transfer(target.as_str()).await;
                    sent.map(|()| Deed::Said(format!("{} is transferred to {target}", call.remote())))
                });
            }
            Request::Join(id, other) => {
                let Some(other) = self.calls.get(&other).cloned() else { return };
                self.with(id, move |call| async move {
                    let sent = call.transfer_to(&other).await;
                    sent.map(|()| Deed::Said(format!("{} and {} are joined", call.remote(), other.remote())))
                });
            }
            Request::Conference(ids) => {
                let calls: Vec<Call> = ids.iter().filter_map(|id| self.calls.get(id).cloned()).collect();
                // The conference ends with its calls.
                self.model.say(match self.client.conference(&calls).await {
                    Ok(_) => format!("a conference of {} with you", calls.len() + 1),
                    Err(error) => error.to_string(),
                });
            }
            Request::Record(id, true) => self.record(id).await,
            Request::Record(id, false) => {
                if let Some(recording) = self.recordings.remove(&id) {
                    // An event reports the result.
                    tokio::spawn(recording.stop());
                }
                self.recording(id, false);
            }
            Request::Quit => {}
        }
    }

    /// Records into the current folder.
    async fn record(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "-");
        let path = format!("b2b-{now}-{}.wav", id.0);
        match call.record(&path).await {
            Ok(recording) => {
                self.recordings.insert(id, recording);
                self.recording(id, true);
                self.model.say(format!("recording to {path}: sent audio left, received audio right"));
            }
            Err(error) => self.model.say(error.to_string()),
        }
    }

    fn recording(&mut self, id: CallId, on: bool) {
        if let Some(line) = self.model.line(id) {
            line.recording = on;
        }
    }

    /// The call is in the model before its first event is read.
    async fn dial(&mut self, target: &str) {
        match self.client.call(target).await {
            Ok(call) => self.begin(call),
            Err(error) => self.model.say(error.to_string()),
        }
    }

    fn with<F>(&self, id: CallId, deed: impl FnOnce(Call) -> F)
    where
        F: Future<Output = Result<Deed, CallError>> + Send + 'static,
    {
        if let Some(call) = self.calls.get(&id) {
            self.spawn(deed(call.clone()));
        }
    }

    /// Executes a request in the background; its result arrives as a deed.
    fn spawn(&self, deed: impl Future<Output = Result<Deed, CallError>> + Send + 'static) {
        let deeds = self.deeds.clone();
        tokio::spawn(async move {
            let deed = deed.await.unwrap_or_else(|error| Deed::Said(error.to_string()));
            // A send error means that the screen is gone.
            let _ = deeds.send(deed);
        });
    }

    fn spawn_quiet(&self, deed: impl Future<Output = Result<(), CallError>> + Send + 'static) {
        let deeds = self.deeds.clone();
        tokio::spawn(async move {
            if let Err(error) = deed.await {
                let _ = deeds.send(Deed::Said(error.to_string()));
            }
        });
    }
}
