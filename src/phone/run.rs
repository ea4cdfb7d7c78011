//! A phone from its start to its end.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;

use super::dialling::user_of;
use super::report::{Outcome, Report};
use super::{PhoneConfig, Task, screen, script, stepwise};
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::signal;
use b2b_client::{BuildError, ClientEvent, Events, RegistrationState, SipClient, Tls};

/// Maximum time from a signal to the end of the phone.
const PATIENCE: Duration = Duration::from_secs(15);
/// Registration retry delays of a scripted phone, first and longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Maximum time for far ends to confirm a hang-up, and for the registrar to confirm the removal.
const GOODBYE: Duration = Duration::from_secs(2);

/// Runs a phone to its end; returns the exit code.
///
/// # Errors
/// A [`Failure`] with the exit code: the error and the remedy.
pub fn run(config: PhoneConfig) -> anyhow::Result<u8> {
    let signals = signal::take_over(PATIENCE).context("cannot take over the signals")?;
    let client = client(&config)?;
    let (told, mut stop) = mpsc::unbounded_channel();
    let forward = move || signals.iter().all(|signal| told.send(signal.as_str()).is_ok());
    std::thread::Builder::new().name("stop".into()).spawn(forward).context("no thread for signals")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime
        .block_on(async {
            if config.task == Task::Screen {
                client.start().await.map_err(not_started)?;
                return screen::run(&client, &config.account.identity, &mut stop).await;
            }
            let report = Report::new(config.script.json);
            let ended = scripted(&client, &config, &report, &mut stop).await;
            client.stop(GOODBYE).await;
            if let Some(path) = &config.script.junit {
                report.write_junit(path, ended.as_ref().err().map(ToString::to_string).as_deref())?;
            }
            ended
        })
        .map(|exit| exit as u8)
}

fn not_started(error: b2b_client::StartError) -> Failure {
    Failure::new(Exit::Sip, error.to_string())
}

/// Starts a scripted phone, registers it if it has a registrar, and runs its script.
async fn scripted(
    client: &SipClient,
    config: &PhoneConfig,
    report: &Report,
    stop: &mut script::Stop,
) -> anyhow::Result<Exit> {
    client.start().await.map_err(not_started)?;
    let identity = &config.account.identity;
    let mut events = client.events().await.map_err(not_started)?;
    // A registered phone may receive calls at once.
    let incoming = match &config.task {
        Task::Steps(_) => Some(client.incoming().await.map_err(not_started)?),
        _ => None,
    };
    report.ready(client);
    let mut told = None;
    if config.account.registers_at().is_some() {
        let registered = tokio::select! {
            registered = registered(client, &mut events, report, config.script.wait) => registered,
            _ = stop.recv() => return Ok(Exit::Ok),
        };
        told = registered.inspect_err(|failure| {
            // The last line is the summary, even if there was no call.
            let (exit, cause) = (failure.exit, failure.message.clone());
            report.summary(&Outcome { exit, cause, ..Outcome::new("") });
        })?;
    }
    let work = async {
        match (&config.task, incoming) {
            (Task::Steps(steps), Some(incoming)) => {
                Ok(stepwise::run(client, identity, incoming, steps, report, stop).await)
            }
            (Task::Scripted(calls), _) => {
                script::run(client, identity, calls, &config.script, report, stop).await
            }
            _ => Ok(Exit::Ok),
        }
    };
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => {
                if told.take_if(|told| *told == event).is_none() {
                    report.event(&event);
                }
            }
            ended = &mut work => return ended,
        }
    }
}

/// Waits for the registration and reports it: its event may have preceded the subscription. The event of what
/// was reported here may still follow. A registrar that does not answer yet is retried for up to `patience`;
/// one that refuses is not.
async fn registered(
    client: &SipClient,
    events: &mut Events,
    report: &Report,
    patience: Duration,
) -> Result<Option<ClientEvent>, Failure> {
    let until = Instant::now() + patience;
    let mut is_told = false;
    loop {
        let next = tokio::time::timeout_at(until.into(), events.next());
        match client.registration() {
            RegistrationState::Registered { .. } if is_told => return Ok(None),
            state @ RegistrationState::Registered { .. } => {
                let event = ClientEvent::Registration { state };
                report.event(&event);
                return Ok(Some(event));
            }
            RegistrationState::Failed { error, retry_in: None, .. } => {
                return Err(Failure::new(Exit::Sip, error.to_string()));
            }
            state => match next.await {
                Err(_) => {
                    let why = match state {
                        RegistrationState::Failed { error, .. } => error.to_string(),
                        _ => "nothing was answered".to_owned(),
                    };
                    let seconds = patience.as_secs_f64();
                    let message = format!("not registered within {seconds} s: {why}; --wait gives more time");
                    return Err(Failure::new(Exit::Sip, message));
                }
                Ok(Some(event)) => {
                    let is_it =
                        |state: &RegistrationState| matches!(state, RegistrationState::Registered { .. });
                    is_told |= matches!(&event, ClientEvent::Registration { state } if is_it(state));
                    report.event(&event);
                }
                Ok(None) => return Err(Failure::new(Exit::Sip, "the client has stopped")),
            },
        }
    }
}

/// The client of an account, not started.
fn client(config: &PhoneConfig) -> Result<SipClient, Failure> {
    let account = &config.account;
    let mut builder = SipClient::builder().identity(&account.identity);
    if config.task == Task::Screen {
        builder = builder.softphone();
    }
    builder = builder.codecs(account.codecs.clone()).srtp(account.srtp);
    if let Some(name) = &account.display_name {
        builder = builder.display_name(name);
    }
    if let Some(password) = &account.password {
        let password = String::from_utf8_lossy(password.expose());
        builder = builder.credentials(user_of(&account.identity), password);
    }
    if let Some(registrar) = account.registers_at() {
        builder = builder.registrar(registrar);
        // A user or a test waits for a scripted phone to start, so it retries sooner.
        if config.task != Task::Screen {
            builder = builder.register_retry(RETRY.0, RETRY.1);
        }
    }
    if let Some(proxy) = &account.proxy {
        builder = builder.outbound_proxy(proxy);
    }
    if let Some(file) = &account.ca_file {
        builder = builder.tls(Tls::ca_file(file));
    }
    if let Some(bind) = account.bind {
        builder = builder.bind(bind.to_string());
    }
    if let Some(trace) = &account.sip_trace {
        builder = builder.sip_trace(trace);
    }
    builder.build().map_err(|error| Failure::new(Exit::Usage, in_flags(&error)))
}

/// Reports mistakes of the builder in terms of the flags.
fn in_flags(error: &BuildError) -> String {
    let lines = error.mistakes.iter().map(|mistake| {
        let flag = match mistake.key {
            "bind" => "sip-bind",
            "outbound_proxy" => "proxy",
            "credentials" => "password-file",
            "tls" => "ca-file",
            key => key,
        };
        format!("--{}: {}; {}", flag.replace('_', "-"), mistake.problem, mistake.fix)
    });
    lines.collect::<Vec<_>>().join("\n")
}
