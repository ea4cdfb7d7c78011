//! A scripted phone: calls or answers, plays, records, sends digits, hangs up, and reports the result of each
//! call.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use super::dialling::uri_of;
use super::loudness::Loudness;
use super::report::{Outcome, Report, in_figures};
use super::{Calls, Script};
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::junit::Wrong;
use b2b_client::{
    Call, CallError, CallState, ClientEvent, EndCause, Events, IncomingCalls, SipClient, Sound,
};

/// Maximum length of a digit and the pause after it.
pub(super) const DIGIT: Duration = Duration::from_millis(250);
/// Time for the last packets to arrive.
pub(super) const SETTLES: Duration = Duration::from_millis(300);

/// Maximum time for a far end to confirm a hang-up.
const GOODBYE: Duration = Duration::from_secs(2);

/// Receives the name of a signal to end.
pub type Stop = mpsc::UnboundedReceiver<&'static str>;

/// Makes or answers the calls; returns the exit code of the worst one.
///
/// # Errors
/// The client cannot start, or a file does not exist.
pub async fn run(
    client: &SipClient,
    identity: &str,
    calls: &Calls,
    script: &Script,
    report: &Report,
    stop: &mut Stop,
) -> anyhow::Result<Exit> {
    match calls {
        Calls::Place { target } => {
            let asked = Instant::now();
            let call = client
                .call(uri_of(target, identity))
                .await
                .map_err(|error| Failure::new(exit_of(&error), error.to_string()))?;
            let outcome = in_call(client, &call, asked, script, stop).await;
            tell(report, asked, "call", &outcome);
            Ok(outcome.exit)
        }
        Calls::Answer { calls } => {
            let mut incoming = client.incoming().await?;
            let mut worst = Exit::Ok;
            for n in 1..=*calls {
                let Some((call, asked)) = next_call(&mut incoming, script.wait, stop).await? else { break };
                let outcome = in_call(client, &call, asked, script, stop).await;
                tell(report, asked, &format!("{n} answer"), &outcome);
                worst = if worst == Exit::Ok { outcome.exit } else { worst };
            }
            Ok(worst)
        }
    }
}

/// Reports a call, which is a test case.
fn tell(report: &Report, asked: Instant, name: &str, outcome: &Outcome) {
    report.summary(outcome);
    let failed = (outcome.exit != Exit::Ok).then(|| (Wrong::Failure, outcome.cause.clone()));
    report.case(format!("{name} {}", outcome.remote), asked.elapsed(), failed);
}

/// The next call, answered; `None` if it was told to stop.
async fn next_call(
    incoming: &mut IncomingCalls,
    wait: Duration,
    stop: &mut Stop,
) -> anyhow::Result<Option<(Call, Instant)>> {
    loop {
        let call = tokio::select! {
            call = tokio::time::timeout(wait, incoming.next()) => call,
            _ = stop.recv() => return Ok(None),
        };
        let call = match call {
            Ok(Some(call)) => call,
            Ok(None) => return Err(Failure::new(Exit::Sip, "the client has stopped").into()),
            Err(_) => {
                let message = format!(
                    "no inbound call within {} s; check the called address, or raise --wait",
                    wait.as_secs_f64()
                );
                return Err(Failure::new(Exit::Timeout, message).into());
            }
        };
        let asked = Instant::now();
        match call.answer().await {
            Ok(call) => return Ok(Some((call, asked))),
            // The caller has given up: wait for the next call.
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

/// Waits for the answer, follows the script, and ends the call.
async fn in_call(
    client: &SipClient,
    call: &Call,
    asked: Instant,
    script: &Script,
    stop: &mut Stop,
) -> Outcome {
    let mut outcome = Outcome::new(call.remote());
    let mut events = call.events();
    let recording = match &script.record {
        None => None,
        Some(path) => match call.record(path).await {
            Ok(recording) => Some(recording),
            Err(error) => {
                end(call).await;
                return Outcome { exit: Exit::Audio, cause: error.to_string(), ..outcome };
            }
        },
    };
    let answered = tokio::select! {
        answered = tokio::time::timeout(script.wait, call.wait_for_answer()) => answered,
        _ = stop.recv() => Ok(Err(CallError::Ended(EndCause::LocalHangup))),
    };
    let setup = asked.elapsed();
    match answered {
        Ok(Ok(())) => outcome.setup_ms = Some(setup.as_micros() as f64 / 1e3),
        Ok(Err(error)) => {
            end(call).await;
            return Outcome { exit: exit_of(&error), cause: error.to_string(), ..outcome };
        }
        Err(_) => {
            end(call).await;
            let cause =
                format!("no answer within {} s; raise --wait for more time", script.wait.as_secs_f64());
            return Outcome { exit: Exit::Timeout, cause, ..outcome };
        }
    }
    let up = Instant::now();
    let loudness = Loudness::of(call);
    let mut fault = None;
    let mut current = call.clone();
    let mut deeds = std::pin::pin!(work(call, script));
    let ended = loop {
        tokio::select! {
            biased;
            next = successor(client, &mut events) => {
                events = next.events();
                current = next;
            }
            cause = current.wait_for_end() => break cause,
            failed = &mut deeds => {
                fault = failed.err();
                break end(&current).await;
            }
            _ = stop.recv() => break end(&current).await,
        }
    };
    outcome.duration_ms = up.elapsed().as_micros() as f64 / 1e3;
    outcome.quality = call.quality().await.map_or(Value::Null, |quality| in_figures(&quality));
    loudness.put_into(&mut outcome.quality);
    if let Some(recording) = recording
        && let Err(error) = recording.stop().await
    {
        fault.get_or_insert(error.to_string());
    }
    (outcome.exit, outcome.cause) = match fault {
        Some(fault) => (Exit::Audio, fault),
        None => (exit_of_end(&ended), ended.to_string()),
    };
    outcome
}

/// Waits for the call that is answered in place of this one (a transfer).
async fn successor(client: &SipClient, events: &mut Events) -> Call {
    while let Some(event) = events.next().await {
        if let ClientEvent::Replaced { by, .. } = event
            && let Some(call) = client.find(by).await
        {
            return call;
        }
    }
    std::future::pending().await
}

/// Hangs up. A far end that never responded may not exist, and is not waited for long (RFC 3261 §9.1).
pub(super) async fn end(call: &Call) -> EndCause {
    let _ = tokio::time::timeout(GOODBYE, call.hangup()).await;
    match call.state() {
        CallState::Ended(cause) => cause,
        _ => EndCause::LocalHangup,
    }
}

/// Follows the script while the call is up. Returns when the call is to be hung up; the error concerns a
/// file.
async fn work(call: &Call, script: &Script) -> Result<(), String> {
    let deeds = async {
        if let Some(path) = &script.play {
            let playback = call.play(Sound::file(path)).await.map_err(|error| error.to_string())?;
            playback.finished().await;
        }
        if let Some(digits) = &script.dtmf {
            call.send_digits(digits, None).await.map_err(|error| error.to_string())?;
            tokio::time::sleep(DIGIT * digits.len() as u32 + SETTLES).await;
        }
        Ok(())
    };
    match script.hangup_after {
        Some(after) => tokio::select! {
            () = tokio::time::sleep(after) => Ok(()),
            Err(fault) = deeds => Err(fault),
        },
        None => {
            deeds.await?;
            if script.play.is_none() && script.dtmf.is_none() {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }
}

pub(super) fn exit_of(error: &CallError) -> Exit {
    match error {
        CallError::Target { .. } => Exit::Usage,
        CallError::Ended(cause) => match exit_of_end(cause) {
            // The call should have been answered.
            Exit::Ok => Exit::Sip,
            exit => exit,
        },
        CallError::Media(_) => Exit::Audio,
        _ => Exit::Sip,
    }
}

fn exit_of_end(cause: &EndCause) -> Exit {
    match cause {
        EndCause::LocalHangup | EndCause::RemoteHangup => Exit::Ok,
        _ => Exit::Sip,
    }
}
