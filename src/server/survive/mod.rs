//! Calls that outlive this process: they are written to memory that the next process finds, and that one takes them up
//! before it reads any message. The calls' thread writes calls, before the messages of the turn leave; another one their
//! media.
//!
//! - `store`: the records; `figures`: what is covered, and what the last start found; `media`: endpoints of each carrier
//! - `commands`: commands of programs, which are done once; `fault`: what has brought the process before down
//! - `kernel`: its settings that are too small for what waits meanwhile

pub(super) mod commands;
pub(super) mod fault;
pub(super) mod figures;
pub mod kernel;
mod media;
mod store;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::media::Media;
use crate::config::Survive;
use b2b_base::util::process;
use b2b_call::CallId;
use b2b_call::controller::EndpointId;
use b2b_call::switch::keep::{CallStore, WrittenCall};
use b2b_call::switch::restore::{KeptPiece, Surviving, Survivor};
use b2b_sip::net::RefusedCall;
use commands::{KeptCommands, OF_COMMAND};
use fault::Broken;
use figures::{ProcessBefore, SurviveFigures, Took};
use store::{Boot, Full, Store, StoreError};

/// How often media is written again, whatever happens in its call: its packets go on.
const REFRESH: Duration = Duration::from_secs(5);

/// So many endpoints are written at once: the threads of media are asked for all of them in one turn, as on a busy machine
/// each turn may have to wait.
const AT_ONCE: usize = 32;

/// The pause before what has changed is written: what changes several times meanwhile is written once, and the calls'
/// thread wakes nobody.
const APART: Duration = Duration::from_millis(20);

/// How often it is written that this process lives, so that the next one knows for how long none did.
const LIVES: Duration = Duration::from_secs(1);
/// The octets that a bridged call takes, with its media, once it has grown.
const CALL_ROOM: usize = 14 << 10;
/// The number of that record, and the bit in those of endpoints, which no call's has.
const ALIVE: u64 = u64::MAX;
const OF_ENDPOINT: u64 = 1 << 63;

/// A piece of a call as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The number of the call's first piece, which no other has, and the pieces in between.
    first: u64,
    before: u32,
    /// The time of its turn, in milliseconds since the start of the system.
    written_ms: u64,
    /// When media was last asked for something in its call.
    changed_ms: u64,
    piece: Bytes,
    /// The call's endpoints: their numbers in it, and those of their records.
    endpoints: Vec<(EndpointId, EndpointId)>,
}

/// The same, to be written.
#[derive(Serialize)]
struct KeptRef<'a> {
    first: u64,
    before: u32,
    written_ms: u64,
    changed_ms: u64,
    #[serde(serialize_with = "as_octets")]
    piece: &'a [u8],
    endpoints: &'a [(EndpointId, EndpointId)],
}

fn as_octets<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(octets)
}

/// An endpoint as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptMedia {
    /// When media was asked how it is, in milliseconds since the start of the system; 0: before its call's latest changes.
    asked_ms: u64,
    media: Bytes,
}

/// Whether a record with this number is a call's.
fn is_of_call(key: u64) -> bool {
    key & (OF_ENDPOINT | OF_COMMAND) == 0
}

/// Why a leg does not go on whose endpoint has no record.
const NO_MEDIA: &str = "its media was not written yet";

/// Why calls cannot outlive this process.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurviveError {
    /// There is no memory for them.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system does not say which start of it this is.
    #[error("/proc/sys/kernel/random/boot_id: {0}")]
    Boot(io::Error),
}

/// The memory, which the calls' thread and the one for media write to.
type Shared = Arc<Mutex<Store>>;

/// Writes media, and that this process lives.
pub(super) struct CallKeeper {
    store: Shared,
    figures: SurviveFigures,
    commands: KeptCommands,
    media: Media,
    changed: mpsc::UnboundedReceiver<Changed>,
    endpoints: HashMap<CallId, Vec<EndpointId>>,
    /// The call that each is in now.
    calls: HashMap<EndpointId, CallId>,
    /// Those that a call has no more: another one may say that it has them.
    gone: Vec<EndpointId>,
}

/// The endpoints of a call have changed; none: it is over.
struct Changed {
    call: CallId,
    endpoints: Vec<EndpointId>,
}

/// The pieces of a call.
#[derive(Clone, Copy)]
struct Pieces {
    /// The number of the first one, and how many come after it.
    first: u64,
    after: u32,
    /// See [`Kept`].
    changed_ms: u64,
}

/// Writes calls, on their thread.
struct WithinTurns {
    store: Shared,
    figures: SurviveFigures,
    changed: mpsc::UnboundedSender<Changed>,
    /// The number of the latest first piece.
    firsts: u64,
    pieces: HashMap<CallId, Pieces>,
    /// As many calls are written: what grows later needs its room, too.
    most: usize,
    octets: Vec<u8>,
}

impl WithinTurns {
    fn new(store: Shared, figures: SurviveFigures, changed: mpsc::UnboundedSender<Changed>) -> Self {
        // Those of the process before are less: it had not one in each microsecond.
        let firsts = now_ms() * 1_000;
        let most = locked(&store).room().1 / CALL_ROOM;
        WithinTurns { store, figures, changed, firsts, pieces: HashMap::new(), most, octets: Vec::new() }
    }

    /// `false`: there is no room for it, and nothing is left of the call.
    fn write(&mut self, call: CallId, written: &WrittenCall<'_>) -> bool {
        let now_ms = now_ms();
        let known = self.pieces.get(&call).copied();
        let mut pieces = match known.filter(|_| written.goes_on) {
            Some(known) => Pieces { after: known.after + 1, ..known },
            None => {
                self.firsts += 1;
                // Its media may still have to be written, whatever takes the place of the pieces before.
                let changed_ms = known.map_or(0, |known| known.changed_ms);
                Pieces { first: self.firsts, after: 0, changed_ms }
            }
        };
        if written.media_changes {
            pieces.changed_ms = now_ms;
        }
        self.pieces.insert(call, pieces);
        let Pieces { first, after: before, changed_ms } = pieces;
        let endpoints: Vec<_> = written.endpoints.iter().map(|it| (*it, *it)).collect();
        // A turn that takes up a thousand calls is long.
        let since = u64::try_from(written.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let written_ms = now_ms.saturating_sub(since);
        let piece = written.octets;
        let kept = KeptRef { first, before, written_ms, changed_ms, piece, endpoints: &endpoints };
        self.octets.clear();
        let encoded = rmp_serde::encode::write(&mut self.octets, &kept).map_err(|error| error.to_string());
        let written = encoded.and_then(|()| {
            let mut store = locked(&self.store);
            let added =
                if before > 0 { store.add(call.0, &self.octets) } else { store.put(call.0, &self.octets) };
            added.map_err(|error| error.to_string())
        });
        let Err(why) = written else { return true };
        self.figures.does_not_cover(call, &why);
        self.forget(call);
        false
    }

    /// Nothing is left of a call, and of its media.
    fn forget(&mut self, call: CallId) {
        locked(&self.store).remove(call.0);
        self.pieces.remove(&call);
        // A thread that has ended writes nothing more.
        let _ = self.changed.send(Changed { call, endpoints: Vec::new() });
    }
}

impl CallStore for WithinTurns {
    fn takes(&mut self, call: CallId) -> bool {
        let takes = self.pieces.contains_key(&call) || self.pieces.len() < self.most;
        if !takes {
            // As the process before has left it, it would be taken up as it was.
            locked(&self.store).remove(call.0);
            self.figures.does_not_cover(call, &Full.to_string());
        }
        takes
    }

    fn keep(&mut self, call: CallId, written: Option<WrittenCall<'_>>) -> bool {
        let Some(written) = written else {
            self.figures.covers(call);
            self.forget(call);
            return true;
        };
        // A call that was forgotten when memory was full has no media there either.
        let is_new = !self.pieces.contains_key(&call);
        let is_covered = self.write(call, &written);
        if is_covered && !written.goes_on {
            self.figures.covers(call);
        }
        if is_covered && (written.media_changes || is_new) {
            let _ = self.changed.send(Changed { call, endpoints: written.endpoints });
        }
        is_covered
    }
}

fn locked(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a record. If it cannot be written, there is none.
fn put(store: &Shared, key: u64, kept: &impl Serialize) -> Result<(), String> {
    let octets = rmp_serde::to_vec(kept).map_err(|error| error.to_string());
    let put = |octets: Vec<u8>| locked(store).put(key, &octets).map_err(|error| error.to_string());
    let done = octets.and_then(put);
    if done.is_err() {
        locked(store).remove(key);
    }
    done
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

/// What goes on of the process before.
#[derive(Default)]
pub(super) struct Begun {
    pub keeper: Option<CallKeeper>,
    /// For the switch.
    pub surviving: Surviving,
    /// The call of the message that has brought it down, and the source of that.
    pub refused_call: Option<RefusedCall>,
    pub refused_source: Option<IpAddr>,
}

/// Opens the memory, and the media of the calls in it at their ports. `ban`: for how long messages are refused that have
/// brought the process before down.
///
/// # Errors
/// See [`SurviveError`].
pub(super) fn begin(settings: &Survive, media: &Media, ban: Duration) -> Result<Begun, SurviveError> {
    let mut clock = Clock(Instant::now());
    let starting_ms = process::ran().unwrap_or_default().as_millis() as u64;
    let (mut store, kept) = Store::open(&settings.file, settings.size, boot().map_err(SurviveError::Boot)?)?;
    let mut kept: HashMap<u64, Vec<Bytes>> = kept.into_iter().collect();
    let stepping = store.stepping();
    let mut broken = Broken::of(stepping.take_left());
    let alive = kept.remove(&ALIVE).and_then(|octets| rmp_serde::from_slice(octets.last()?).ok());
    let away = Duration::from_millis(alive.map_or(0, |alive: u64| now_ms().saturating_sub(alive)));
    let of_commands: Vec<_> =
        kept.extract_if(|key, _| key & (OF_ENDPOINT | OF_COMMAND) == OF_COMMAND).collect();
    let mut of_calls: Vec<u64> = kept.keys().copied().filter(|key| is_of_call(*key)).collect();
    of_calls.sort_unstable();
    let took = Took { starting_ms, reading_ms: clock.lap(), ..Took::default() };
    let mut restoring =
        Restoring { media, store: &mut store, kept, used: HashSet::new(), broken: broken.as_mut(), took };
    let calls = restoring.calls(of_calls, away, settings);
    let Restoring { kept, used, took, .. } = restoring;
    // Endpoints that no call has.
    for key in kept.into_keys().filter(|key| key & OF_ENDPOINT != 0 && !used.contains(key)) {
        store.remove(key);
    }
    let (told, changed) = mpsc::unbounded_channel();
    let store = Arc::new(Mutex::new(store));
    let of_commands = of_commands.into_iter().filter_map(|(key, mut all)| Some((key, all.pop()?)));
    let commands = KeptCommands::new(store.clone(), of_commands.collect());
    let figures = SurviveFigures::new(
        store.clone(),
        alive.map(|_| {
            let fault = broken.as_ref().map(|it| it.fault.clone());
            ProcessBefore { fault, took, ..ProcessBefore::of(away, &calls) }
        }),
    );
    let within_turns = WithinTurns::new(store.clone(), figures.clone(), told);
    let keeper = CallKeeper {
        store,
        figures,
        commands,
        media: media.clone(),
        changed,
        endpoints: HashMap::new(),
        calls: HashMap::new(),
        gone: Vec::new(),
    };
    let surviving = Surviving {
        calls,
        store: Some(Box::new(within_turns)),
        stepping: Some(stepping),
        ..Surviving::default()
    };
    let refused_call = broken.as_ref().and_then(|it| it.refused(Instant::now() + ban));
    let refused_source = broken.and_then(|it| it.fault.source);
    Ok(Begun { keeper: Some(keeper), surviving, refused_call, refused_source })
}

/// The pieces of a call, up to the first that is not there or damaged.
fn pieces(key: u64, records: &[Bytes]) -> Result<Vec<Kept>, String> {
    let mut pieces: Vec<Kept> = Vec::with_capacity(records.len());
    for octets in records {
        let piece: Kept = rmp_serde::from_slice(octets).map_err(|error| error.to_string())?;
        match pieces.last() {
            Some(last) if (piece.first, piece.before) != (last.first, last.before + 1) => {
                tracing::warn!("call {key} of the process before: its latest records are damaged");
                break;
            }
            None if piece.before > 0 => return Err("its first record is damaged".to_owned()),
            _ => pieces.push(piece),
        }
    }
    Ok(pieces)
}

/// The calls of the process before.
struct Restoring<'a> {
    media: &'a Media,
    store: &'a mut Store,
    kept: HashMap<u64, Vec<Bytes>>,
    /// The records of this process' endpoints.
    used: HashSet<u64>,
    broken: Option<&'a mut Broken>,
    took: Took,
}

/// Measures one part after the other.
struct Clock(Instant);

impl Clock {
    /// Milliseconds since the last part.
    fn lap(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.0, Instant::now());
        u64::try_from((self.0 - before).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A call of the process before.
struct Before {
    key: u64,
    kept: Vec<Kept>,
    /// Its endpoints, by their numbers in it.
    endpoints: HashMap<EndpointId, EndpointId>,
    /// The same, by the numbers of their records.
    of_records: HashMap<EndpointId, EndpointId>,
    /// Those that cannot be opened, by their numbers in it, and why: their legs end.
    lost: Vec<(EndpointId, String)>,
    /// Those that were asked for something after they were written.
    outdated: Vec<EndpointId>,
    /// Why it ends.
    ends: Option<String>,
    /// See [`Survivor`].
    is_set_aside: bool,
}

impl Before {
    /// Its latest piece, which says what endpoints it has.
    fn last(&self) -> Option<&Kept> {
        self.kept.last()
    }
}

impl Restoring<'_> {
    /// These calls, with their media, as far as they can be read. Media is asked for all of them at once.
    fn calls(&mut self, keys: Vec<u64>, away: Duration, settings: &Survive) -> Vec<Survivor> {
        let mut clock = Clock(Instant::now());
        let mut calls: Vec<Before> = keys.into_iter().filter_map(|key| self.read(key)).collect();
        if away > settings.max_age {
            let why = format!("the server was away for {} s", away.as_secs());
            calls.iter_mut().for_each(|call| call.ends = Some(why.clone()));
        }
        self.set_aside(&mut calls, settings);
        self.took.reading_ms += clock.lap();
        self.reopen(&mut calls);
        self.took.opening_ms = clock.lap();
        self.write(&mut calls);
        self.took.writing_ms = clock.lap();
        let calls = calls.into_iter().map(|call| self.survivor(call, away)).collect();
        self.took.joining_ms = clock.lap();
        calls
    }

    /// The call at which the process has died ends.
    fn set_aside(&mut self, calls: &mut [Before], settings: &Survive) {
        let Some(broken) = &mut self.broken else { return };
        let call = calls.iter_mut().find(|call| Some(call.key) == broken.fault.call);
        let pieces = call.as_ref().into_iter().flat_map(|call| &call.kept).map(|kept| kept.piece.clone());
        broken.report(&settings.file, pieces.filter(|piece| !piece.is_empty()));
        if let Some(call) = call {
            call.is_set_aside = !broken.is_message();
            call.ends = Some(format!("the server has died at it ({})", broken.fault.how));
        }
    }

    /// A call; `None`: it cannot be read.
    fn read(&mut self, key: u64) -> Option<Before> {
        match pieces(key, &self.kept.remove(&key)?) {
            Ok(kept) => {
                let (endpoints, of_records) = (HashMap::new(), HashMap::new());
                let (lost, outdated, ends) = (Vec::new(), Vec::new(), None);
                Some(Before { key, kept, endpoints, of_records, lost, outdated, ends, is_set_aside: false })
            }
            Err(error) => {
                tracing::error!("call {key} of the process before cannot be read: {error}");
                self.store.remove(key);
                None
            }
        }
    }

    /// The media of an endpoint, as it was written, and when.
    fn media_of(&self, record: EndpointId) -> Result<KeptMedia, String> {
        let octets = self.kept.get(&(record.0 | OF_ENDPOINT)).and_then(|it| it.last()).ok_or(NO_MEDIA)?;
        rmp_serde::from_slice(octets).map_err(|error| error.to_string())
    }

    /// Opens the endpoints of these calls.
    fn reopen(&self, calls: &mut [Before]) {
        // Those of calls that end, too: other programs have them, and are told to release them.
        let of_calls = calls.iter().enumerate().flat_map(|(index, call)| {
            let endpoints = call.last().into_iter().flat_map(|it| &it.endpoints);
            endpoints.map(move |(before, record)| (index, *before, *record, self.media_of(*record)))
        });
        let opening = of_calls.map(|(index, before, record, kept)| async move {
            let opened = match kept {
                Ok(KeptMedia { asked_ms, media }) => {
                    let restored = self.media.restore_endpoint(&media).await;
                    restored.map(|it| (it, asked_ms)).map_err(|error| error.to_string())
                }
                Err(why) => Err(why),
            };
            (index, before, record, opened)
        });
        for (index, before, record, opened) in pollster::block_on(join_all(opening)) {
            let Some(call) = calls.get_mut(index) else { continue };
            match opened {
                Ok((restored, asked_ms)) => {
                    let is_behind = call.kept.iter().any(|piece| piece.changed_ms >= asked_ms);
                    if is_behind && !self.media.is_elsewhere() {
                        call.outdated.push(before);
                    }
                    call.endpoints.insert(before, restored);
                    call.of_records.insert(record, restored);
                }
                Err(why) => call.lost.push((before, why)),
            }
        }
        self.media.settle();
        for Before { endpoints, lost, .. } in &mut *calls {
            endpoints.retain(|before, now| {
                let gone = self.media.has_restored(*now).err();
                if let Some(why) = &gone {
                    lost.push((*before, why.to_string()));
                    self.media.controller().release_endpoint(*now);
                }
                gone.is_none()
            });
        }
        // A record has the numbers of the process that has written it.
        for call in calls.iter_mut().filter(|call| call.ends.is_none()) {
            call.ends = self.media.renumber_restored(&call.of_records).err().map(|error| error.to_string());
        }
    }

    /// Writes the endpoints anew before anything is sent: no number of a packet is used twice, whenever this process ends.
    fn write(&mut self, calls: &mut [Before]) {
        let going_on = calls.iter().enumerate().filter(|(_, call)| call.ends.is_none());
        let now_ms = now_ms();
        let endpoints = going_on.flat_map(|(index, call)| {
            // Their calls ask them again, and this process may end before that.
            let asked_ms = |before| if call.outdated.contains(before) { 0 } else { now_ms };
            call.endpoints.iter().map(move |(before, it)| (index, *it, asked_ms(before)))
        });
        let media = self.media;
        let writing = endpoints.map(|(index, it, asked_ms)| async move {
            (index, it, asked_ms, media.write_endpoint(it).await)
        });
        for (index, endpoint, asked_ms, written) in pollster::block_on(join_all(writing)) {
            let Some(call) = calls.get_mut(index) else { continue };
            let of_endpoint = endpoint.0 | OF_ENDPOINT;
            self.used.insert(of_endpoint);
            let octets = written.map_err(|error| error.to_string()).and_then(|media| {
                let kept = KeptMedia { asked_ms, media: media.into() };
                rmp_serde::to_vec(&kept).map_err(|error| error.to_string())
            });
            let put =
                |octets: Vec<u8>| self.store.put(of_endpoint, &octets).map_err(|error| error.to_string());
            if let Err(why) = octets.and_then(put) {
                call.ends = Some(why);
            }
        }
        // Until the calls' thread writes them, this process may end, too.
        for call in calls.iter_mut().filter(|call| call.ends.is_none()) {
            let renumbered = call.last().map(|last| Kept {
                before: last.before + 1,
                piece: Bytes::new(),
                endpoints: call.endpoints.iter().map(|(before, now)| (*before, *now)).collect(),
                ..*last
            });
            let octets = renumbered.iter().map(rmp_serde::to_vec).collect::<Result<Vec<_>, _>>();
            let add = |octets: Vec<Vec<u8>>| {
                let mut all = octets.iter().map(|it| self.store.add(call.key, it));
                all.try_for_each(|added| added.map_err(|error| error.to_string()))
            };
            call.ends = octets.map_err(|error| error.to_string()).and_then(add).err();
        }
    }

    fn survivor(&mut self, call: Before, away: Duration) -> Survivor {
        let Before { key, kept, mut endpoints, lost, mut outdated, ends, is_set_aside, .. } = call;
        match &ends {
            None => {
                let all: Vec<EndpointId> = endpoints.values().copied().collect();
                // As when one of a pair was written before they were joined.
                if let Err(why) = self.media.start_restored(&all) {
                    tracing::warn!("call {key} of the process before: its media is agreed again: {why}");
                    outdated = endpoints.keys().copied().collect();
                }
                let away = away.as_millis();
                tracing::info!("call {key} of the process before goes on, {away} ms after its end");
                let lost = lost.iter().map(|(_, why)| why);
                lost.for_each(|why| {
                    tracing::warn!("a leg of call {key} of the process before is without media: {why}")
                });
            }
            Some(why) => {
                tracing::warn!("call {key} of the process before ends: {why}");
                // The others stay until they have ended. What may bring this process down is not read again.
                if is_set_aside {
                    self.store.remove(key);
                }
                for (_, restored) in endpoints.drain() {
                    self.store.remove(restored.0 | OF_ENDPOINT);
                    self.media.controller().release_endpoint(restored);
                }
            }
        }
        let (now_ms, now) = (now_ms(), Instant::now());
        let piece = |kept: Kept| {
            let age = Duration::from_millis(now_ms.saturating_sub(kept.written_ms));
            KeptPiece { written: now.checked_sub(age).unwrap_or(now), octets: kept.piece }
        };
        // Each process that took it up has added one without contents.
        let deaths = 1 + kept.iter().filter(|kept| kept.piece.is_empty()).count() as u32;
        let pieces = kept.into_iter().filter(|kept| !kept.piece.is_empty()).map(piece).collect();
        Survivor { call: CallId(key), pieces, endpoints, lost, outdated, ends, is_set_aside, deaths }
    }
}

/// The thread that writes media.
pub(super) struct Keeping {
    store: Shared,
    thread: JoinHandle<()>,
}

impl Keeping {
    /// The calls' thread has ended every call: none is left to be taken up.
    pub fn over(self) {
        // A panic of it has been reported.
        let _ = self.thread.join();
        locked(&self.store).clear();
    }
}

impl CallKeeper {
    /// What is covered, and what the start found.
    pub fn figures(&self) -> SurviveFigures {
        self.figures.clone()
    }

    /// Commands for the process after this one, and those of the one before.
    pub fn commands(&self) -> KeptCommands {
        self.commands.clone()
    }

    /// Writes media until the calls' thread has ended.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn follow(self) -> io::Result<Keeping> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let store = self.store.clone();
        let run = move || runtime.block_on(self.run());
        Ok(Keeping { store, thread: std::thread::Builder::new().name("survive".into()).spawn(run)? })
    }

    async fn run(mut self) {
        let (mut refresh, mut lives) = (interval(REFRESH), interval(LIVES));
        for every in [&mut refresh, &mut lives] {
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (mut changed, mut due) = (BTreeSet::new(), VecDeque::new());
        loop {
            let gone = std::mem::take(&mut self.gone);
            while let Ok(told) = self.changed.try_recv() {
                self.told(told, &mut changed);
            }
            for endpoint in gone.into_iter().filter(|it| !self.calls.contains_key(it)) {
                locked(&self.store).remove(endpoint.0 | OF_ENDPOINT);
            }
            let old = std::iter::from_fn(|| due.pop_front()).take(AT_ONCE / 2);
            let mut batch: Vec<_> = old.collect();
            let rest = AT_ONCE - batch.len();
            batch.extend(std::iter::from_fn(|| changed.pop_first()).take(rest));
            self.write(batch).await;
            tokio::select! {
                biased;
                // First: they come rarely, and what changes comes without end on a busy machine.
                _ = lives.tick() => drop(put(&self.store, ALIVE, &now_ms())),
                _ = refresh.tick() => {
                    // Otherwise it is behind.
                    if due.is_empty() {
                        due.extend(self.calls.keys().copied());
                    }
                }
                told = self.changed.recv() => match told {
                    Some(told) => {
                        self.told(told, &mut changed);
                        if due.is_empty() && changed.len() < AT_ONCE {
                            sleep(APART).await;
                        }
                    }
                    None => return,
                },
                () = std::future::ready(()), if !changed.is_empty() || !due.is_empty() => {}
            }
        }
    }

    /// A call has been written: its endpoints may have changed.
    fn told(&mut self, Changed { call, endpoints }: Changed, changed: &mut BTreeSet<EndpointId>) {
        changed.extend(&endpoints);
        self.calls.extend(endpoints.iter().map(|endpoint| (*endpoint, call)));
        let before = match endpoints.is_empty() {
            true => self.endpoints.remove(&call),
            false => self.endpoints.insert(call, endpoints.clone()),
        };
        for gone in before.unwrap_or_default().into_iter().filter(|it| !endpoints.contains(it)) {
            // It may be in another call by now.
            if self.calls.get(&gone) != Some(&call) {
                continue;
            }
            self.calls.remove(&gone);
            changed.remove(&gone);
            self.gone.push(gone);
        }
    }

    /// Writes endpoints as they are now. One that is released is of a call that has changed again.
    async fn write(&self, endpoints: Vec<EndpointId>) {
        let calls = endpoints.into_iter().filter_map(|it| Some((it, *self.calls.get(&it)?)));
        let asked_ms = now_ms();
        let written = calls.map(|(endpoint, call)| {
            let written = self.media.write_endpoint(endpoint);
            async move { (endpoint, call, written.await) }
        });
        for (endpoint, call, media) in join_all(written).await {
            if let Ok(media) = media {
                let kept = KeptMedia { asked_ms, media: media.into() };
                if let Err(why) = put(&self.store, endpoint.0 | OF_ENDPOINT, &kept) {
                    // Without its media it would not go on. It may be over by now.
                    if locked(&self.store).remove(call.0) {
                        self.figures.does_not_cover(call, &why);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
