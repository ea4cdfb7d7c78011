//! The client, as the program controls it.

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

/// Incoming calls that wait for the program; further ones are refused with 486.
const WAITING: usize = 64;
/// How long a dropped client may take to send its BYEs.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// A SIP client: one identity, one address, any number of calls. Clones refer to the same client. Dropping
/// the last one hangs up all calls and ends the client's threads; [`SipClient::stop`] also waits for the far
/// ends.
#[derive(Clone)]
pub struct SipClient(Arc<Inner>);

struct Inner {
    settings: Settings,
    running: OnceCell<Running>,
}

/// The state of a started client.
pub(super) struct Running {
    pub local: SocketAddr,
    pub commands: mpsc::UnboundedSender<Command>,
    pub events: broadcast::WeakSender<ClientEvent>,
    pub registration: watch::Receiver<RegistrationState>,
    /// Disconnected once the thread has ended.
    pub over: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl SipClient {
    /// Starts a client with only an identity, `sip:alice@example.com`, and the settings of
    /// [`ClientBuilder::softphone`] without levels: its calls use the machine's default microphone and
    /// loudspeaker. If there are none, calls are silent on this side, and [`ClientEvent::Device`] reports it
    /// with the first call. For a client without devices, use the builder, whose default is none.
    ///
    /// # Errors
    /// The identity is invalid, or the system refuses sockets or threads.
    pub async fn new(identity: impl Into<String>) -> Result<SipClient, StartError> {
        let client = ClientBuilder::of_a_person(identity).build()?;
        client.start().await?;
        Ok(client)
    }

    /// A builder, for a client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(super) fn with(settings: Settings) -> SipClient {
        SipClient(Arc::new(Inner { settings, running: OnceCell::new() }))
    }

    /// Binds the sockets and starts the threads, unless already done. Calls start the client by themselves.
    ///
    /// # Errors
    /// See [`StartError`]; a failed start may be retried.
    pub async fn start(&self) -> Result<(), StartError> {
        self.running().await.map(|_| ())
    }

    async fn running(&self) -> Result<&Running, StartError> {
        self.running_with(&mut None).await
    }

    /// Like `running`; if this call starts the client, it takes `first` as the first command.
    async fn running_with(&self, first: &mut Option<Command>) -> Result<&Running, StartError> {
        let start = || driver::start(self.0.settings.clone(), first.take());
        let running = self.0.running.get_or_try_init(start).await?;
        if running.commands.is_closed() { Err(StartError::Stopped) } else { Ok(running) }
    }

    /// The command channel; `None` if the client is not started.
    pub(super) fn commands(&self) -> Option<&mpsc::UnboundedSender<Command>> {
        self.0.running.get().map(|running| &running.commands)
    }

    /// The address where this client receives SIP; `None` if it is not started.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.running.get().map(|running| running.local)
    }

    /// A URI for this client, reachable wherever its address is; `None` if it is not started.
    pub fn uri(&self) -> Option<String> {
        self.local().map(|local| format!("sip:{}@{local}", self.0.settings.agent.user))
    }

    /// Calls `target`, a `sip:` URI, without waiting for the answer.
    ///
    /// # Errors
    /// The target is not a URI that can be called, or there is no media for it.
    pub async fn call(&self, target: impl Into<String>) -> Result<Call, CallError> {
        self.call_with(target, []).await
    }

    /// Like [`SipClient::call`], with additional header fields (name and value) in the INVITE, after those of
    /// the builder.
    ///
    /// # Errors
    /// As for [`SipClient::call`], or a header field is invalid or one that b2b writes itself.
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

    /// Incoming calls from now on. The most recent stream receives them.
    ///
    /// # Errors
    /// The client cannot start.
    pub async fn incoming(&self) -> Result<IncomingCalls, StartError> {
        let (sender, receiver) = mpsc::channel::<IncomingCall>(WAITING);
        let (reply, done) = oneshot::channel();
        // If this starts the client, the stream is installed before the registration: calls may arrive at
        // once.
        let mut command = Some(Command::Incoming { sender, reply });
        let running = self.running_with(&mut command).await?;
        if let Some(command) = command {
            running.commands.send(command).map_err(|_| StartError::Stopped)?;
        }
        done.await.map_err(|_| StartError::Stopped)?;
        Ok(IncomingCalls(receiver))
    }

    /// Registers at once: after [`SipClient::unregister`], or again once the reason of a refusal is fixed.
    /// With a registrar set, the client registers by itself at start. Waits for the result of the first
    /// attempt.
    ///
    /// # Errors
    /// See [`RegisterError`]; its text says what to do.
    pub async fn register(&self) -> Result<(), RegisterError> {
        let (reply, outcome) = oneshot::channel();
        let commands = &self.running().await?.commands;
        commands.send(Command::Register { reply }).map_err(|_| RegisterError::Stopped)?;
        outcome.await.map_err(|_| RegisterError::Stopped)?
    }

    /// Removes the registration and waits for the registrar's answer. Does nothing if there is none.
    pub async fn unregister(&self) {
        let Some(running) = self.0.running.get() else { return };
        let (reply, done) = oneshot::channel();
        if running.commands.send(Command::Unregister { reply }).is_ok() {
            let _ = done.await;
        }
    }

    /// The current state of the registration.
    pub fn registration(&self) -> RegistrationState {
        self.0.running.get().map(|running| running.registration.borrow().clone()).unwrap_or_default()
    }

    /// Selects another microphone, also for calls in progress: by a name from [`crate::Devices::list`], or
    /// the default one. [`ClientEvent::Device`] reports when it is in use and when it fails.
    ///
    /// # Errors
    /// The client cannot start, or its calls use no devices.
    pub async fn use_microphone(&self, name: Option<&str>) -> Result<(), DeviceError> {
        self.choose(DeviceSide::Microphone, name).await
    }

    /// Selects another loudspeaker, like [`SipClient::use_microphone`].
    ///
    /// # Errors
    /// As for [`SipClient::use_microphone`].
    pub async fn use_loudspeaker(&self, name: Option<&str>) -> Result<(), DeviceError> {
        self.choose(DeviceSide::Loudspeaker, name).await
    }

    async fn choose(&self, side: DeviceSide, name: Option<&str>) -> Result<(), DeviceError> {
        let (reply, done) = oneshot::channel();
        let command = Command::Choose { side, name: name.map(str::to_owned), reply };
        self.running().await?.commands.send(command).map_err(|_| StartError::Stopped)?;
        done.await.map_err(|_| StartError::Stopped)?
    }

    /// The events of this client from now on.
    ///
    /// # Errors
    /// The client cannot start.
    pub async fn events(&self) -> Result<Events, StartError> {
        Ok(Events::new(&self.running().await?.events, None))
    }

    /// Removes the registration, hangs up every call, waits at most `patience` for the far ends to confirm,
    /// and ends the client's threads. Does nothing if the client is not started.
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
        // The process may exit after this, so the BYEs have to be sent now.
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
