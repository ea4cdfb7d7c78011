//! Who is called: agents of a queue, and a phone. Most answer; some refuse, some do not hear it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use b2b::client::{Call, Codec, IncomingCall, SipClient, Sound, TransferPolicy};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{DOMAIN, Failure};

/// Longer than any call of this load: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a phone that rings is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// By then a call that is over is known to be.
const NOTICED: Duration = Duration::from_millis(500);

/// Milliseconds, by chance.
pub fn ms(from: u64, to: u64) -> Duration {
    Duration::from_millis(rand::rng().random_range(from..to))
}

pub fn percent(share: u32) -> bool {
    rand::rng().random_range(0..100) < share
}

/// An agent and what it counted.
pub struct Agent {
    pub name: String,
    offered: AtomicU64,
    answered: AtomicU64,
    /// Calls of its own: the codes that it dials.
    dialled: AtomicU64,
    /// Calls that it has now, by the number that they came under.
    now: Mutex<BTreeSet<u64>>,
    /// Calls that came while there was one, which went on.
    twice: AtomicU64,
    stuck: AtomicU64,
}

impl Agent {
    pub fn new(name: &str) -> Arc<Self> {
        let [offered, answered, dialled, twice, stuck] = [(); 5].map(|()| AtomicU64::new(0));
        Arc::new(Agent {
            name: name.to_owned(),
            offered,
            answered,
            dialled,
            now: Mutex::default(),
            twice,
            stuck,
        })
    }

    pub fn counted(&self) -> Value {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        json!({
            "offered": get(&self.offered), "answered": get(&self.answered), "dialled": get(&self.dialled),
            "twice": get(&self.twice), "stuck": get(&self.stuck),
        })
    }

    /// Takes calls until its client stops.
    pub async fn serve(self: Arc<Self>, client: SipClient) {
        let Ok(mut incoming) = client.incoming().await else { return };
        drop(client);
        while let Some(call) = incoming.next().await {
            let number = self.offered.fetch_add(1, Relaxed);
            let others = self.now().clone();
            self.now().insert(number);
            if !others.is_empty() {
                tokio::spawn(self.clone().is_another_there(others));
            }
            let agent = self.clone();
            tokio::spawn(async move {
                if timeout(PATIENCE, agent.take(call)).await.is_err() {
                    agent.stuck.fetch_add(1, Relaxed);
                }
                agent.now().remove(&number);
            });
        }
    }

    fn now(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call that came beside one of these. That which was just over may not have been
    /// noticed yet.
    async fn is_another_there(self: Arc<Self>, others: BTreeSet<u64>) {
        sleep(NOTICED).await;
        let doubly = !self.now().is_disjoint(&others);
        self.twice.fetch_add(u64::from(doubly), Relaxed);
    }

    async fn take(&self, ringing: IncomingCall) {
        let chance = rand::rng().random_range(0..100);
        match chance {
            0..15 => drop(ringing.reject(if percent(50) { 486 } else { 603 }).await),
            15..25 => {
                while !ringing.state().is_over() {
                    sleep(LOOK).await;
                }
            }
            _ => {
                // Its caller may give up meanwhile, and the next one come at once.
                let answers = Instant::now() + ms(0, 1_500);
                while Instant::now() < answers && !ringing.state().is_over() {
                    sleep(LOOK).await;
                }
                if let Ok(call) = ringing.answer().await {
                    self.answered.fetch_add(1, Relaxed);
                    // Its caller may hang up in the middle of it.
                    tokio::select! {
                        () = talk(&call) => {}
                        _ = call.wait_for_end() => {}
                    }
                }
            }
        }
    }
}

/// A conversation: it may be recorded, or end with the other one parked or in a room.
async fn talk(call: &Call) {
    let _ = call.play(Sound::tone(400.0, u32::MAX)).await;
    if percent(30) {
        let _ = call.send_digits("*1", None).await;
        sleep(ms(200, 2_000)).await;
        if percent(30) {
            let _ = call.send_digits(if percent(50) { "*2" } else { "*1" }, None).await;
        }
    }
    sleep(ms(100, 5_000)).await;
    let chance = rand::rng().random_range(0..100);
    match chance {
        0..25 => drop(timeout(Duration::from_secs(10), call.wait_for_end()).await),
        25..40 => {
            let to = if percent(60) { "700" } else { "8100" };
            let sent = timeout(Duration::from_secs(10), call.transfer(format!("sip:{to}@{DOMAIN}"))).await;
            if matches!(sent, Ok(Ok(()))) {
                let _ = timeout(Duration::from_secs(5), call.wait_for_end()).await;
            }
        }
        _ => {}
    }
    let _ = call.hangup().await;
}

/// A client with an account at the server.
pub async fn registered(server: SocketAddr, name: &str, address: &str) -> Result<SipClient, Failure> {
    let builder = SipClient::builder().identity(format!("sip:{name}@{DOMAIN}")).bind(address);
    let builder = builder.registrar(format!("sip:{server}")).credentials(name, format!("b2b-load-{name}"));
    let codec = if name.ends_with('2') { Codec::Opus } else { Codec::Pcma };
    let builder = builder.transfers(TransferPolicy::Refuse).recovery(false).codecs([codec, Codec::Pcmu]);
    let client = builder.build()?;
    client.register().await?;
    Ok(client)
}

/// One agent, until the process is killed.
pub async fn alone(server: SocketAddr, name: &str, address: &str) -> Result<(), Failure> {
    let client = registered(server, name, address).await?;
    println!("READY");
    Agent::new(name).serve(client).await;
    Ok(())
}

/// Takes its registration back now and then, and registers again.
pub async fn comes_and_goes(client: SipClient, over: Arc<AtomicBool>) {
    while !over.load(Relaxed) {
        sleep(ms(5_000, 20_000)).await;
        client.unregister().await;
        sleep(ms(500, 4_000)).await;
        let _ = client.register().await;
    }
}

/// Pauses and goes on, by number.
pub async fn pauses(client: SipClient, agent: Arc<Agent>, over: Arc<AtomicBool>) {
    while !over.load(Relaxed) {
        sleep(ms(5_000, 20_000)).await;
        for _ in 0..2 {
            if let Ok(call) = client.call(format!("sip:*46@{DOMAIN}")).await {
                agent.dialled.fetch_add(1, Relaxed);
                if timeout(Duration::from_secs(10), call.wait_for_end()).await.is_err() {
                    let _ = call.hangup().await;
                }
            }
            sleep(ms(1_000, 4_000)).await;
        }
    }
}
