//! Who calls: menus, queues, rooms, parking slots, a phone whose calls are recorded. Everybody
//! presses something and hangs up when chance says so, some before there is an answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use b2b::client::{Call, Codec, SipClient, Sound};
use rand::RngExt;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::agents::{ms, percent};
use crate::{DOMAIN, Failure};

/// Nothing that a server does takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the calls to one number.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Counted {
    placed: u64,
    answered: u64,
    /// By a response.
    refused: u64,
    /// Given up before there was an answer: it may have crossed with one.
    given_up: u64,
    /// Not even sent.
    unsent: u64,
    stuck: u64,
}

type Counts = Arc<Mutex<BTreeMap<String, Counted>>>;

/// The number, and what is pressed there: pairs of a wait and digits.
fn plan() -> (String, Vec<(Duration, &'static str)>) {
    let pick = |choices: &[&'static str]| choices[rand::rng().random_range(0..choices.len())];
    match rand::rng().random_range(0..100) {
        0..25 => {
            let first = pick(&["1", "2", "3", "9", "*", "", "1", "2"]);
            let then = if first == "3" { pick(&["4711#", "12", "", "123456#"]) } else { "" };
            ("8000".into(), vec![(ms(0, 3_000), first), (ms(200, 1_500), then)])
        }
        25..45 => ("8001".into(), vec![(ms(500, 6_000), pick(&["", "", "5", "9"]))]),
        45..55 => {
            let keys = || pick(&["*1", "*4", "*6", "*5*5", "*0", "*7*8", ""]);
            (
                "8100".into(),
                vec![(ms(300, 2_000), keys()), (ms(200, 2_000), keys()), (ms(200, 4_000), pick(&["", "*2"]))],
            )
        }
        55..65 => (
            "8101".into(),
            vec![
                (ms(200, 1_500), pick(&["4711#", "8150#", "1#", "4711#"])),
                (ms(500, 3_000), pick(&["*1", "*8", ""])),
            ],
        ),
        65..72 => ("700".into(), Vec::new()),
        72..80 => (format!("70{}", rand::rng().random_range(1..9)), Vec::new()),
        _ => ("1001".into(), vec![(ms(500, 4_000), pick(&["", "", "1", "5#"]))]),
    }
}

/// Calls at this rate for so long; returns what became of them when all are over.
pub async fn run(
    server: SocketAddr,
    span: Duration,
    rate: f64,
) -> Result<BTreeMap<String, Counted>, Failure> {
    let codecs = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus];
    let clients: Vec<SipClient> =
        codecs.into_iter().map(|codec| crate::caller(codec, server)).collect::<Result<_, _>>()?;
    for client in &clients {
        client.start().await?;
    }
    println!("UP");
    let counts = Counts::default();
    let (began, mut calls, mut tasks) = (Instant::now(), 0u32, Vec::new());
    while began.elapsed() < span {
        // Opus costs twenty times as much: one in ten.
        let of = if percent(10) { 3 } else { calls as usize % 3 };
        let task = one(clients[of].clone(), counts.clone());
        tasks.push(tokio::spawn(task));
        calls += 1;
        tasks.retain(|task| !task.is_finished());
        let next = began + Duration::from_secs_f64(f64::from(calls) / rate);
        sleep(next.saturating_duration_since(Instant::now())).await;
    }
    for task in tasks {
        task.await?;
    }
    for client in &clients {
        client.stop(Duration::from_secs(10)).await;
    }
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(counts.clone())
}

async fn one(client: SipClient, counts: Counts) {
    let (number, keys) = plan();
    let count = |how: fn(&mut Counted) -> &mut u64| {
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        *how(counts.entry(number.clone()).or_default()) += 1;
    };
    count(|it| &mut it.placed);
    let Ok(call) = client.call(format!("sip:{number}@{DOMAIN}")).await else {
        return count(|it| &mut it.unsent);
    };
    // One in ten gives up soon, the others when it is not answered in time.
    let patience = if percent(10) { ms(0, 600) } else { ms(4_000, 12_000) };
    let answer = timeout(patience, call.wait_for_answer()).await;
    match answer {
        Ok(Ok(())) => count(|it| &mut it.answered),
        Ok(Err(_)) => return count(|it| &mut it.refused),
        Err(_) => count(|it| &mut it.given_up),
    }
    let work = async {
        if answer.is_ok() {
            stay(&call, keys).await;
        }
        let _ = call.hangup().await;
        call.wait_for_end().await
    };
    if timeout(PATIENCE, work).await.is_err() {
        count(|it| &mut it.stuck);
    }
}

/// Says something, presses what is to be pressed, and stays until chance or the server ends it.
async fn stay(call: &Call, keys: Vec<(Duration, &'static str)>) {
    let hz = rand::rng().random_range(300..1_200);
    if percent(80) {
        let _ = call.play(Sound::tone(hz as f32, u32::MAX)).await;
    }
    let stays = async {
        for (wait, digits) in keys {
            sleep(wait).await;
            if !digits.is_empty() {
                let _ = call.send_digits(digits, None).await;
            }
        }
        sleep(ms(500, 12_000)).await;
    };
    // Some hang up in the middle of it.
    let longest = if percent(25) { ms(0, 4_000) } else { Duration::from_secs(30) };
    tokio::select! {
        () = stays => {}
        _ = call.wait_for_end() => {}
        () = sleep(longest) => {}
    }
}
