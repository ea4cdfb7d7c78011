//! Calls that outlive this process: a thread writes them to memory that the next process finds, and that one takes them
//! up before it reads any message.
//!
//! - `store`: the records

mod store;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{MissedTickBehavior, interval};

use super::media::Media;
use crate::config::Survive;
use b2b_call::CallId;
use b2b_call::controller::{EmbeddedController, EndpointId, MediaController};
use b2b_call::switch::driver::Jobs;
use b2b_call::switch::restore::{Moved, Surviving, Survivor, WrittenCall};
use store::{Boot, Store, StoreError};

/// How often every call is written again, whatever happens in it: its packets go on.
const REFRESH: Duration = Duration::from_secs(5);

/// A call as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// When it was written, in milliseconds since the start of the system.
    written_ms: u64,
    call: Vec<u8>,
    /// What it has of media, under the numbers in `call`.
    endpoints: Vec<(EndpointId, Vec<u8>)>,
}

/// Why calls cannot outlive this process.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurviveError {
    /// There is no memory for them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another program has the media.
    #[error("survive.file needs media.controller = \"embedded\"")]
    Media,
    /// The system does not say which start of it this is.
    #[error("/proc/sys/kernel/random/boot_id: {0}")]
    Boot(io::Error),
}

/// Writes calls while they change.
pub(super) struct CallKeeper {
    store: Store,
    media: Arc<EmbeddedController>,
    changed: mpsc::UnboundedReceiver<CallId>,
}

/// The start of the system.
fn boot() -> io::Result<Boot> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(number.to_be_bytes())
}

/// Milliseconds since the start of the system, with those in which it slept.
fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Opens the memory, and the media of the calls in it at their ports. What is returned beside the keeper goes to the
/// switch.
///
/// # Errors
/// See [`SurviveError`].
pub(super) fn begin(settings: &Survive, media: &Media) -> Result<(CallKeeper, Surviving), SurviveError> {
    let Media::Embedded(media) = media else { return Err(SurviveError::Media) };
    let (mut store, kept) = Store::open(&settings.file, settings.size, boot().map_err(SurviveError::Boot)?)?;
    let mut calls = Vec::new();
    for (key, octets) in kept {
        let mut kept: Kept = match rmp_serde::from_slice(&octets) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!("call {key} of the process before cannot be read: {error}");
                store.remove(key);
                continue;
            }
        };
        let age = Duration::from_millis(now_ms().saturating_sub(kept.written_ms));
        let mut moved = Moved { written: Instant::now().checked_sub(age), ..Moved::default() };
        let goes_on = match age > settings.max_age {
            true => Err(format!("the server was away for {} s", age.as_secs())),
            false => reopen(media, &mut kept, &mut moved.endpoints)
                .and_then(|()| rmp_serde::to_vec_named(&kept).map_err(|error| error.to_string()))
                .and_then(|octets| store.put(key, &octets).map_err(|error| error.to_string())),
        };
        let ends = goes_on
            .and_then(|()| media.start_restored(&moved.endpoints).map_err(|error| error.to_string()))
            .err();
        match &ends {
            None => tracing::info!(
                "call {key} of the process before goes on, {} ms after it was written",
                age.as_millis()
            ),
            Some(why) => {
                tracing::warn!("call {key} of the process before ends: {why}");
                store.remove(key);
                for (_, restored) in moved.endpoints.drain() {
                    media.release_endpoint(restored);
                }
                // Here the numbers of before may be those of other calls.
                let nobodys = |before: EndpointId| EndpointId(before.0 | 1 << 63);
                moved.endpoints.extend(kept.endpoints.iter().map(|(before, _)| (*before, nobodys(*before))));
            }
        }
        calls.push(Survivor { octets: kept.call.into(), moved, ends });
    }
    let (told, changed) = mpsc::unbounded_channel();
    Ok((CallKeeper { store, media: media.clone(), changed }, Surviving { calls, changed: Some(told) }))
}

/// Opens the endpoints of a call, and writes them anew before anything is sent: no number of a packet is used twice,
/// whenever this process ends.
fn reopen(
    media: &EmbeddedController,
    kept: &mut Kept,
    endpoints: &mut HashMap<EndpointId, EndpointId>,
) -> Result<(), String> {
    for (before, octets) in &mut kept.endpoints {
        let restored = media.restore_endpoint(octets);
        let restored = pollster::block_on(restored).map_err(|error| error.to_string())?;
        endpoints.insert(*before, restored);
        let written = media.write_endpoint(restored);
        *octets = pollster::block_on(written).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl CallKeeper {
    /// Writes calls until the calls' thread has ended, which has ended every call: none is left to be taken up.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn follow(mut self, jobs: Jobs) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let run = move || {
            runtime.block_on(self.run(&jobs));
            self.store.clear();
        };
        std::thread::Builder::new().name("survive".into()).spawn(run)
    }

    async fn run(&mut self, jobs: &Jobs) {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changed, mut due) = (BTreeSet::new(), VecDeque::new());
        loop {
            // What has changed comes before what is only older.
            let next = changed.pop_first().or_else(|| due.pop_front());
            if let Some(call) = next
                && let Err(why) = self.keep(jobs, call).await
            {
                tracing::warn!("call {} would not outlive this process: {why}", call.0);
                self.store.remove(call.0);
            }
            loop {
                match self.changed.try_recv() {
                    Ok(call) => drop(changed.insert(call)),
                    Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
            if !changed.is_empty() || !due.is_empty() {
                continue;
            }
            tokio::select! {
                call = self.changed.recv() => match call {
                    Some(call) => drop(changed.insert(call)),
                    None => return,
                },
                _ = refresh.tick() => due.extend(self.store.keys().map(CallId)),
            }
        }
    }

    /// Writes a call as it is now.
    async fn keep(&mut self, jobs: &Jobs, call: CallId) -> Result<(), String> {
        let write = jobs.run(move |switch, t, _| (now_ms(), WrittenCall::of(switch, t.now, t.sip, call)));
        let Some((written_ms, written)) = write.await else { return Ok(()) };
        let Some(WrittenCall { octets, endpoints }) = written.map_err(|error| error.to_string())? else {
            self.store.remove(call.0);
            return Ok(());
        };
        let mut kept = Kept { written_ms, call: octets, endpoints: Vec::with_capacity(endpoints.len()) };
        for endpoint in endpoints {
            let media = self.media.write_endpoint(endpoint).await.map_err(|error| error.to_string())?;
            kept.endpoints.push((endpoint, media));
        }
        let octets = rmp_serde::to_vec_named(&kept).map_err(|error| error.to_string())?;
        self.store.put(call.0, &octets).map_err(|error| error.to_string())
    }
}
