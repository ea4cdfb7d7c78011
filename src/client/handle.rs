//! The client as the program holds it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, broadcast, mpsc, oneshot, watch};

use super::builder::Settings;
use super::driver::{self, Command};
use super::{
    Call, CallError, ClientBuilder, ClientEvent, DeviceError, DeviceSide, Events, IncomingCall,
    IncomingCalls, RegisterError, RegistrationState, StartError,
};
use b2b_call::agent::DialAs;

/// Calls that wait for the program to take them; more are refused with 486.
const WAITING: usize = 64;
/// How long a client that is dropped may take to write its BYEs.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// A SIP client: one identity, one address, any number of calls. Clones are the same client. When
/// the last one is dropped, calls are hung up and the client's threads end; [`SipClient::stop`]
/// waits for the far ends, too.
#[derive(Clone)]
pub struct SipClient(Arc<Inner>);

struct Inner {
    settings: Settings,
    running: OnceCell<Running>,
}

/// What a started client has.
pub(super) struct Running {
    pub local: SocketAddr,
    pub commands: mpsc::UnboundedSender<Command>,
    pub events: broadcast::WeakSender<ClientEvent>,
    pub registration: watch::Receiver<RegistrationState>,
    /// Disconnected when the thread has ended.
    pub over: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl SipClient {
    /// A started client with nothing said but who it is, `sip:alice@example.com`: a
    /// [`ClientBuilder::softphone`] without levels, so its calls have the default microphone and
    /// loudspeaker of the machine. Where there are none, calls are silent on this side, and
    /// [`ClientEvent::Device`] says so with the first call. A program that wants no devices takes the
    /// builder, which has none unless it is told.
    ///
    /// # Errors
    /// The identity is none, or the system refuses sockets or threads.
    pub async fn new(identity: impl Into<String>) -> Result<SipClient, StartError> {
        let client = ClientBuilder::of_a_person(identity).build()?;
        client.start().await?;
        Ok(client)
    }

    /// A client with more said of it.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(super) fn with(settings: Settings) -> SipClient {
        SipClient(Arc::new(Inner { settings, running: OnceCell::new() }))
    }

    /// Binds and starts, if that is not done yet. Calls do it by themselves.
    ///
    /// # Errors
    /// See [`StartError`]; it may be tried again.
    pub async fn start(&self) -> Result<(), StartError> {
        self.running().await.map(|_| ())
    }

    async fn running(&self) -> Result<&Running, StartError> {
        self.running_with(&mut None).await
    }

    /// The same; if this starts it, it begins with this command, and takes it.
    async fn running_with(&self, first: &mut Option<Command>) -> Result<&Running, StartError> {
        let start = || driver::start(self.0.settings.clone(), first.take());
        let running = self.0.running.get_or_try_init(start).await?;
        if running.commands.is_closed() { Err(StartError::Stopped) } else { Ok(running) }
    }

    /// The way to its thread; `None`: it is not started.
    pub(super) fn commands(&self) -> Option<&mpsc::UnboundedSender<Command>> {
        self.0.running.get().map(|running| &running.commands)
    }

    /// Where this client receives SIP; `None`: it is not started.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.running.get().map(|running| running.local)
    }

    /// A URI that reaches this client from where its address does; `None`: it is not started.
    pub fn uri(&self) -> Option<String> {
        self.local().map(|local| format!("sip:{}@{local}", self.0.settings.agent.user))
    }

    /// Calls `target`, a `sip:` URI. It does not wait for an answer.
    ///
    /// # Errors
    /// The target is no URI that can be called, or there is no media for it.
    pub async fn call(&self, target: impl Into<String>) -> Result<Call, CallError> {
        self.call_with(target, []).await
    }

    /// The same with header fields of its INVITE, behind those of the builder: names and values.
    ///
    /// # Errors
    /// As for `call`, or a header field is none, or one that b2b writes itself.
    pub async fn call_with(
        &self,
        target: impl Into<String>,
        headers: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Call, CallError> {
        let (reply, answer) = oneshot::channel();
        let target = target.into();
        let how = DialAs { headers: headers.into_iter().collect(), ..DialAs::default() };
        let command = Command::Dial { target, how, reply };
        self.running().await?.commands.send(command).map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)?.map(Call)
    }

    /// Calls that come from now on, to whoever asked for them last.
    ///
    /// # Errors
    /// The client cannot start.
    pub async fn incoming(&self) -> Result<IncomingCalls, StartError> {
        let (sender, receiver) = mpsc::channel::<IncomingCall>(WAITING);
        let (reply, done) = oneshot::channel();
        // A client that is started by this takes calls before it registers: they may come at once.
        let mut command = Some(Command::Incoming { sender, reply });
        let running = self.running_with(&mut command).await?;
        if let Some(command) = command {
            running.commands.send(command).map_err(|_| StartError::Stopped)?;
        }
        done.await.map_err(|_| StartError::Stopped)?;
        Ok(IncomingCalls(receiver))
    }

    /// Registers at once: for the first time after [`SipClient::unregister`], or again, as after a
    /// refusal that is mended. Where a registrar is named, the start does it by itself. Waits for
    /// the outcome of the first attempt.
    ///
    /// # Errors
    /// See [`RegisterError`]; as text it says what to do.
    pub async fn register(&self) -> Result<(), RegisterError> {
        let (reply, outcome) = oneshot::channel();
        let commands = &self.running().await?.commands;
        commands.send(Command::Register { reply }).map_err(|_| RegisterError::Stopped)?;
        outcome.await.map_err(|_| RegisterError::Stopped)?
    }

    /// Takes the registration back and waits for the registrar's answer. Nothing to do without
    /// one.
    pub async fn unregister(&self) {
        let Some(running) = self.0.running.get() else { return };
        let (reply, done) = oneshot::channel();
        if running.commands.send(Command::Unregister { reply }).is_ok() {
            let _ = done.await;
        }
    }

    /// Where the registration is now.
    pub fn registration(&self) -> RegistrationState {
        self.0.running.get().map(|running| running.registration.borrow().clone()).unwrap_or_default()
    }

    /// Takes another microphone, in calls that are up, too: by a name of [`crate::Devices::list`], or
    /// the default one. [`ClientEvent::Device`] tells when a call has it, and when it does not work.
    ///
    /// # Errors
    /// The client cannot start, or its calls have no devices.
    pub async fn use_microphone(&self, name: Option<&str>) -> Result<(), DeviceError> {
        self.choose(DeviceSide::Microphone, name).await
    }

    /// Takes another loudspeaker, as [`SipClient::use_microphone`].
    ///
    /// # Errors
    /// The same.
    pub async fn use_loudspeaker(&self, name: Option<&str>) -> Result<(), DeviceError> {
        self.choose(DeviceSide::Loudspeaker, name).await
    }

    async fn choose(&self, side: DeviceSide, name: Option<&str>) -> Result<(), DeviceError> {
        let (reply, done) = oneshot::channel();
        let command = Command::Choose { side, name: name.map(str::to_owned), reply };
        self.running().await?.commands.send(command).map_err(|_| StartError::Stopped)?;
        done.await.map_err(|_| StartError::Stopped)?
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// The client cannot start.
    pub async fn events(&self) -> Result<Events, StartError> {
        Ok(Events::new(&self.running().await?.events, None))
    }

    /// Takes the registration back, hangs up every call, waits at most `patience` for the far ends to confirm it, and ends the
    /// client's threads. A client that is not started needs none of it.
    pub async fn stop(&self, patience: Duration) {
        let Some(running) = self.0.running.get() else { return };
        let (reply, done) = oneshot::channel();
        if running.commands.send(Command::Stop { patience, reply }).is_ok() {
            let _ = done.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        drop(running.commands);
        // BYEs are written now or, when the program ends after this, never.
        let over = running.over.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = over.recv_timeout(DROP_PATIENCE);
    }
}

impl fmt::Debug for SipClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SipClient")
            .field("identity", &self.0.settings.agent.identity)
            .field("local", &self.local())
            .finish_non_exhaustive()
    }
}
