//! The registration: commands of the program and events of the agent.

use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::super::{ClientEvent, RegisterError, RegistrationState};
use super::{Driver, Events};
use b2b_call::agent::{AgentError, AgentEvent, AgentService, RegistrationConfig, RegistrationError};

/// The driver's registration state.
pub(super) struct Registering {
    config: Option<RegistrationConfig>,
    state: watch::Sender<RegistrationState>,
    /// Callers that wait for the next result.
    waiting: Vec<oneshot::Sender<Result<(), RegisterError>>>,
    /// Callers that wait for the removal.
    leaving: Vec<oneshot::Sender<()>>,
}

impl Registering {
    pub(super) fn new(config: Option<RegistrationConfig>, state: watch::Sender<RegistrationState>) -> Self {
        Registering { config, state, waiting: Vec::new(), leaving: Vec::new() }
    }

    /// Starts the registration, if a registrar is set.
    ///
    /// # Errors
    /// The configuration is invalid.
    pub(super) fn begin(&self, service: &mut AgentService, events: &Events) -> Result<(), AgentError> {
        let Some(config) = &self.config else { return Ok(()) };
        service.register(config.clone())?;
        // A registration in force stays so while it is refreshed.
        let idle = !matches!(
            *self.state.borrow(),
            RegistrationState::Registered { .. } | RegistrationState::Registering
        );
        if idle {
            self.go_on(RegistrationState::Registering, events);
        }
        Ok(())
    }

    fn go_on(&self, state: RegistrationState, events: &Events) {
        self.state.send_replace(state.clone());
        // An error means that there is no subscriber.
        let _ = events.send(ClientEvent::Registration { state });
    }

    fn registered(&mut self, expires_s: u64, registrar: String, contact: String, events: &Events) {
        let expires = Duration::from_secs(expires_s);
        self.go_on(RegistrationState::Registered { expires, registrar, contact }, events);
        self.waiting.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
    }

    fn failed(
        &mut self,
        status: Option<u16>,
        error: RegistrationError,
        retry_in: Option<Duration>,
        events: &Events,
    ) {
        self.go_on(RegistrationState::Failed { error: error.clone(), status, retry_in }, events);
        // If the next attempt follows at once, callers wait for its result.
        if retry_in != Some(Duration::ZERO) {
            let told = |reply: oneshot::Sender<_>| drop(reply.send(Err(error.clone().into())));
            self.waiting.drain(..).for_each(told);
        }
    }

    fn over(&mut self, events: &Events) {
        self.go_on(RegistrationState::Off, events);
        self.leaving.drain(..).for_each(|reply| {
            let _ = reply.send(());
        });
        self.waiting.drain(..).for_each(|reply| drop(reply.send(Err(RegisterError::Stopped))));
    }
}

impl Driver {
    pub(super) fn register(&mut self, reply: oneshot::Sender<Result<(), RegisterError>>) {
        if self.registering.config.is_none() {
            return drop(reply.send(Err(RegisterError::NoRegistrar)));
        }
        match self.registering.begin(&mut self.service, &self.events) {
            Ok(()) => self.registering.waiting.push(reply),
            Err(error) => drop(reply.send(Err(RegistrationError::Other(error.to_string()).into()))),
        }
    }

    pub(super) fn unregister(&mut self, reply: oneshot::Sender<()>) {
        if *self.registering.state.borrow() == RegistrationState::Off {
            let _ = reply.send(());
            return;
        }
        self.registering.leaving.push(reply);
        self.service.unregister();
    }

    /// Handles an event of the agent that concerns the registration.
    pub(super) fn registration_happened(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Registered { expires_s, registrar, contact } => {
                self.registering.registered(expires_s, registrar, contact, &self.events);
            }
            AgentEvent::RegistrationFailed { status, why, retry_in } => {
                self.registering.failed(status, why, retry_in, &self.events);
            }
            AgentEvent::AddressChanged { from, to } => {
                let _ = self.events.send(ClientEvent::AddressChanged { from, to });
            }
            AgentEvent::Unregistered => self.registering.over(&self.events),
            _ => {}
        }
    }
}
