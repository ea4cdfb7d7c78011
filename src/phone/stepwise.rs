//! A phone that follows steps: executes one after the other, and reports each result.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::dialling::uri_of;
use super::loudness::Loudness;
use super::report::{Outcome, Report, in_figures};
use super::script::{DIGIT, SETTLES, Stop, end, exit_of};
use b2b_base::util::exit::Exit;
use b2b_base::util::junit::Wrong;
use b2b_client::{Call, CallError, EndCause, IncomingCalls, Recording, SipClient, Sound};
use b2b_config::step::{Deed, Step};
use b2b_media::dtmf::goertzel;

/// Blocks per second for tone detection, a fifth of a second each: shorter than any prompt.
const PIECES_PER_S: u32 = 5;
/// Minimum mean square of a detected tone: 21 dB below that of [`Sound::tone`].
const AUDIBLE: f64 = 1e6;
/// Time without a frame that counts as silence.
const SILENCE: Duration = Duration::from_secs(1);
/// Additional time for a step with its own time limit, on a loaded machine.
const GRACE: Duration = Duration::from_secs(10);
/// A tone has no end other than its call's.
const WITHOUT_END_MS: u32 = 3_600_000;

/// A call of these steps.
struct Talk {
    call: Call,
    up: Instant,
    outcome: Outcome,
    loudness: Loudness,
    recording: Option<Recording>,
}

/// The calls of a phone: the current one, and one on hold during a consultation.
#[derive(Default)]
struct Talks {
    now: Option<Talk>,
    held: Option<Talk>,
}

/// A failed step: the exit code and the reason.
type Failed = (Exit, String);

/// Executes all steps up to the first failed one; returns its exit code.
pub async fn run(
    client: &SipClient,
    identity: &str,
    mut incoming: IncomingCalls,
    steps: &[Step],
    report: &Report,
    stop: &mut Stop,
) -> Exit {
    let mut talks = Talks::default();
    for (n, step) in steps.iter().enumerate() {
        let begun = Instant::now();
        let patience = match step.deed {
            // It ends by itself, and reports what was heard instead.
            Deed::Hears { .. } => step.within + GRACE,
            _ => step.within,
        };
        let done = tokio::select! {
            done = tokio::time::timeout(patience, one(client, identity, &mut incoming, step, &mut talks)) => done,
            _ = stop.recv() => {
                over(&mut talks, None, report).await;
                return Exit::Ok;
            }
        };
        let failed = match (done, &step.deed) {
            (Ok(Ok(())), _) | (Err(_), Deed::Wait) => None,
            (Ok(Err(failed)), _) => Some(failed),
            (Err(_), _) => {
                Some((Exit::Timeout, format!("it did not happen within {} s", step.within.as_secs_f64())))
            }
        };
        let mut fields = json!({
            "n": n + 1, "step": step.text, "took_ms": begun.elapsed().as_millis() as u64,
            "ok": failed.is_none(), "cause": failed.as_ref().map(|(_, cause)| cause),
        });
        match &step.deed {
            Deed::Hears { these, .. } => {
                let heard = if failed.is_none() { &these[..] } else { &[] };
                (fields["wanted_hz"], fields["heard_hz"]) = (json!(these), json!(heard));
            }
            Deed::Transfer(to) => fields["transferred_to"] = json!(to),
            Deed::Cue(name) => fields["cue"] = json!(name),
            _ => {}
        }
        report.line("step", fields);
        let wrong = failed.as_ref().map(|(_, cause)| (Wrong::Failure, cause.clone()));
        report.case(format!("{} {}", n + 1, step.text), begun.elapsed(), wrong);
        let ends = matches!(step.deed, Deed::HangUp | Deed::HungUp | Deed::Transfer(_) | Deed::HandOver);
        if failed.is_some() || ends {
            over(&mut talks, failed.as_ref(), report).await;
        }
        if let Some((exit, _)) = failed {
            for (n, step) in steps.iter().enumerate().skip(n + 1) {
                let skipped = Some((Wrong::Skipped, "an earlier step has failed".to_owned()));
                report.case(format!("{} {}", n + 1, step.text), Duration::ZERO, skipped);
            }
            return exit;
        }
    }
    over(&mut talks, None, report).await;
    Exit::Ok
}

/// Puts the call on hold. What the phone says is its user's voice, which the held party does not hear.
async fn hold(call: &Call) -> Result<(), CallError> {
    call.hold().await?;
    call.mute(true).await
}

/// Executes a step.
async fn one(
    client: &SipClient,
    identity: &str,
    incoming: &mut IncomingCalls,
    step: &Step,
    talks: &mut Talks,
) -> Result<(), Failed> {
    let refused = |error: CallError| (exit_of(&error), error.to_string());
    match (&step.deed, &talks.now) {
        (Deed::Dial(number), _) => dial(client, uri_of(number, identity), talks).await.map_err(refused)?,
        (Deed::Consult(number), Some(talk)) => {
            hold(&talk.call).await.map_err(refused)?;
            talks.held = talks.now.take();
            dial(client, uri_of(number, identity), talks).await.map_err(refused)?;
        }
        (Deed::HandOver, Some(talk)) => {
            let Some(held) = &talks.held else { return Err((Exit::Usage, "no call is on hold".to_owned())) };
            held.call.transfer_to(&talk.call).await.map_err(refused)?;
            held.call.wait_for_end().await;
            talk.call.wait_for_end().await;
        }
        (Deed::Answer, _) => loop {
            let Some(call) = incoming.next().await else {
                return Err((Exit::Sip, "the client has stopped".to_owned()));
            };
            let asked = Instant::now();
            // If the caller has given up, wait for the next call.
            if let Ok(call) = call.answer().await {
                talks.now.insert(Talk::new(call)).answered(asked);
                return Ok(());
            }
        },
        (Deed::Wait, _) => std::future::pending::<()>().await,
        (Deed::Cue(_), _) => {}
        (_, None) => return Err((Exit::Usage, "there is no call".to_owned())),
        (Deed::Say(_) | Deed::SayNothing | Deed::Play(_), Some(talk)) => {
            let sound = match &step.deed {
                Deed::Say(hz) => Sound::tone(*hz as f32, WITHOUT_END_MS),
                Deed::Play(file) => Sound::file(file),
                // It takes the place of what plays, and nothing follows it.
                _ => Sound::silence(1),
            };
            talk.call.play(sound).await.map_err(|error| (Exit::Audio, error.to_string()))?;
        }
        (Deed::Record(file), Some(talk)) => {
            let recording = talk.call.record(file).await.map_err(|error| (Exit::Audio, error.to_string()))?;
            if let Some(talk) = &mut talks.now {
                talk.recording = Some(recording);
            }
        }
        (Deed::Hears { these, not }, Some(talk)) => hears(&talk.call, these, not, step.within).await?,
        (Deed::Press(digits), Some(talk)) => {
            talk.call.send_digits(digits, None).await.map_err(refused)?;
            tokio::time::sleep(DIGIT * digits.len() as u32 + SETTLES).await;
        }
        (Deed::Hold, Some(talk)) => hold(&talk.call).await.map_err(refused)?,
        (Deed::Resume, Some(talk)) => {
            talk.call.resume().await.map_err(refused)?;
            talk.call.mute(false).await.map_err(refused)?;
        }
        (Deed::Transfer(number), Some(talk)) => {
            talk.call.transfer(uri_of(number, identity)).await.map_err(refused)?;
            talk.call.wait_for_end().await;
        }
        (Deed::HangUp, Some(talk)) => {
            if let EndCause::LocalHangup = end(&talk.call).await {
                return Ok(());
            }
            return Err((Exit::Expectation, "the far end has already hung up".to_owned()));
        }
        (Deed::HungUp, Some(talk)) => match talk.call.wait_for_end().await {
            EndCause::RemoteHangup => {}
            cause => return Err((Exit::Sip, cause.to_string())),
        },
        (_, Some(_)) => return Err((Exit::Usage, "this step is for --role load only".to_owned())),
    }
    Ok(())
}

/// Calls, and waits for the answer.
async fn dial(client: &SipClient, uri: String, talks: &mut Talks) -> Result<(), CallError> {
    let asked = Instant::now();
    let call = client.call(uri).await?;
    let talk = talks.now.insert(Talk::new(call.clone()));
    call.wait_for_answer().await?;
    talk.answered(asked);
    Ok(())
}

/// Waits for a block of the far end's audio with all of `these` tones and none of `not`.
async fn hears(call: &Call, these: &[f64], not: &[f64], within: Duration) -> Result<(), Failed> {
    let mut audio = call.audio().map_err(|error| (Exit::Audio, error.to_string()))?;
    let piece = (call.rate_hz() / PIECES_PER_S) as usize;
    let until = Instant::now() + within;
    let mut heard = Vec::with_capacity(2 * piece);
    let mut loudest = vec![0.0_f64; these.len()];
    loop {
        match tokio::time::timeout(SILENCE, audio.incoming.next()).await {
            Ok(Some(frame)) => heard.extend_from_slice(frame.samples()),
            Ok(None) => {
                return Err((Exit::Expectation, format!("the call is over; {}", levels(these, &loudest))));
            }
            Err(_) => heard.resize(piece, 0),
        }
        if heard.len() >= piece {
            let level = |hz: &f64| goertzel(&heard, *hz, call.rate_hz());
            let found: Vec<f64> = these.iter().map(level).collect();
            if found.iter().all(|level| *level > AUDIBLE) && !not.iter().any(|hz| level(hz) > AUDIBLE) {
                return Ok(());
            }
            loudest.iter_mut().zip(&found).for_each(|(most, level)| *most = most.max(*level));
            heard.clear();
        }
        if Instant::now() >= until {
            let (seconds, not) = (within.as_secs_f64(), not.iter().map(|hz| format!("{hz} Hz")));
            let not = not.collect::<Vec<_>>().join(", ");
            let why = match (these, &not[..]) {
                ([], not) => format!("{not} was still heard after {seconds} s"),
                (_, "") => format!("not heard within {seconds} s; {}", levels(these, &loudest)),
                (_, not) => {
                    format!("not heard within {seconds} s without {not}; {}", levels(these, &loudest))
                }
            };
            return Err((Exit::Expectation, why));
        }
    }
}

/// The peak levels of tones, dB below a full-scale tone.
fn levels(these: &[f64], loudest: &[f64]) -> String {
    let one = |(hz, level): (&f64, &f64)| {
        let dbfs = 10.0 * (level / (0.5 * 32_768.0_f64.powi(2))).log10();
        match *level > 1.0 {
            true => format!("{hz} Hz reached {dbfs:.0} dBFS at most"),
            false => format!("{hz} Hz was not detected"),
        }
    };
    these.iter().zip(loudest).map(one).collect::<Vec<_>>().join(", ")
}

impl Talk {
    fn new(call: Call) -> Self {
        let (outcome, loudness) = (Outcome::new(call.remote()), Loudness::of(&call));
        Talk { outcome, loudness, call, up: Instant::now(), recording: None }
    }

    fn answered(&mut self, asked: Instant) {
        self.up = Instant::now();
        self.outcome.setup_ms = Some(asked.elapsed().as_micros() as f64 / 1e3);
    }
}

/// Ends the calls, if there are any, and reports their results.
async fn over(talks: &mut Talks, failed: Option<&Failed>, report: &Report) {
    for talk in [talks.now.take(), talks.held.take()].into_iter().flatten() {
        ended(talk, failed, report).await;
    }
}

async fn ended(talk: Talk, failed: Option<&Failed>, report: &Report) {
    let Talk { call, up, mut outcome, loudness, recording } = talk;
    let ended = end(&call).await;
    let lost = match recording {
        Some(recording) => recording.stop().await.err().map(|error| (Exit::Audio, error.to_string())),
        None => None,
    };
    if outcome.setup_ms.is_some() {
        outcome.duration_ms = up.elapsed().as_micros() as f64 / 1e3;
    }
    outcome.quality = call.quality().await.map_or(Value::Null, |quality| in_figures(&quality));
    loudness.put_into(&mut outcome.quality);
    let failed = failed.cloned().or(lost);
    (outcome.exit, outcome.cause) = failed.unwrap_or_else(|| (Exit::Ok, ended.to_string()));
    report.summary(&outcome);
}
