//! A debug log per call: its SIP messages, events and counters. A separate thread writes the files behind a
//! bounded channel: on a slow disk lines are lost and counted, and calls are not delayed.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::broadcast;

use super::super::{CallId, ClientEvent};
use b2b_call::LegId;
use b2b_call::agent::{AgentService, Direction, LegReport, Seen};

/// Maximum number of lines that wait for the disk.
const QUEUE: usize = 4_096;
/// As many logs of ended legs are open.
const ENDED: usize = 32;
/// Maximum number of messages kept whose leg is not known yet, such as those of a call that has just begun.
const STRAYS: usize = 64;

/// The logs of a client's calls.
pub(super) struct Logs {
    /// The leg of each Call-ID.
    calls: HashMap<Vec<u8>, LegId>,
    strays: VecDeque<(Vec<u8>, Seen)>,
    events: broadcast::Receiver<ClientEvent>,
    /// Legs that have ended, whose logs are still open.
    ended: VecDeque<LegId>,
    lines: Option<Sender<Line>>,
    lost: u64,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Logs {
    /// Waits until the queued lines are written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// A command to the writer.
enum Line {
    Write { leg: LegId, at: SystemTime, head: String, body: Vec<u8> },
    Close { leg: LegId },
}

impl Logs {
    /// Starts the logs in this folder.
    ///
    /// # Errors
    /// The folder cannot be created, or no thread can be started.
    pub fn start(folder: PathBuf, events: broadcast::Receiver<ClientEvent>) -> io::Result<Logs> {
        std::fs::create_dir_all(&folder)?;
        let (lines, queue) = crossbeam_channel::bounded(QUEUE);
        let write = move || write_all(&folder, &queue);
        let writer = Some(std::thread::Builder::new().name("call-logs".into()).spawn(write)?);
        let lines = Some(lines);
        let (calls, strays, ended) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Ok(Logs { calls, strays, ended, events, lines, lost: 0, writer })
    }

    /// Sets the Call-ID of a new leg.
    pub fn begins(&mut self, leg: LegId, call_id: Vec<u8>) {
        for (of, seen) in std::mem::take(&mut self.strays) {
            if of == call_id {
                self.message(leg, &seen);
            } else {
                self.strays.push_back((of, seen));
            }
        }
        self.calls.insert(call_id, leg);
    }

    /// Writes the final counters when the media are closed.
    pub fn counters(&mut self, leg: LegId, report: &LegReport) {
        let LegReport { stats, reception, .. } = report;
        self.write(leg, "counters".to_owned(), format!("{stats:#?}\n{reception:#?}\n").into_bytes());
    }

    /// Closes the log of a leg that has ended, once more have: its last messages leave after its end.
    pub fn ends(&mut self, leg: LegId) {
        self.ended.push_back(leg);
        if self.ended.len() > ENDED
            && let Some(leg) = self.ended.pop_front()
        {
            self.calls.retain(|_, of| *of != leg);
            self.send(Line::Close { leg });
        }
    }

    /// Logs what has happened since the last call.
    pub fn look(&mut self, service: &mut AgentService) {
        while let Some((call_id, seen)) = service.take_message() {
            match self.calls.get(&call_id).copied() {
                Some(leg) => self.message(leg, &seen),
                None => {
                    if self.strays.len() == STRAYS {
                        self.strays.pop_front();
                    }
                    self.strays.push_back((call_id, seen));
                }
            }
        }
        loop {
            match self.events.try_recv() {
                Ok(ClientEvent::Level { .. }) => {}
                Ok(event) => {
                    if let Some(CallId(leg)) = event.call() {
                        self.write(LegId(leg), format!("event {event:?}"), Vec::new());
                    }
                }
                Err(broadcast::error::TryRecvError::Lagged(count)) => self.lost += count,
                Err(_) => break,
            }
        }
    }

    fn message(&mut self, leg: LegId, seen: &Seen) {
        let Seen { direction, flow, data, .. } = seen;
        let (word, from, to) = match direction {
            Direction::Sent => ("sent", flow.local, flow.remote),
            Direction::Received => ("received", flow.remote, flow.local),
        };
        let transport = format!("{:?}", flow.transport).to_lowercase();
        let head = format!("{word} {transport} {from} -> {to} {}", data.len());
        self.write(leg, head, data.to_vec());
    }

    fn write(&mut self, leg: LegId, mut head: String, body: Vec<u8>) {
        if self.lost > 0 {
            head = format!("({} entries are lost, of this call or others) {head}", self.lost);
        }
        let before = self.lost;
        self.send(Line::Write { leg, at: SystemTime::now(), head, body });
        if self.lost == before {
            self.lost = 0;
        }
    }

    fn send(&mut self, line: Line) {
        let full = |lines: &Sender<Line>| matches!(lines.try_send(line), Err(TrySendError::Full(_)));
        self.lost += u64::from(self.lines.as_ref().is_some_and(full));
    }
}

/// Runs until the client has stopped.
fn write_all(folder: &Path, lines: &Receiver<Line>) {
    let mut files: HashMap<LegId, Option<BufWriter<File>>> = HashMap::new();
    while let Ok(line) = lines.recv() {
        match line {
            Line::Close { leg } => drop(files.remove(&leg)),
            Line::Write { leg, at, head, body } => {
                let file = files.entry(leg).or_insert_with(|| create(folder, leg, at));
                let written = file.as_mut().map(|file| write(file, at, &head, &body));
                if let Some(Err(error)) = written {
                    tracing::warn!("the log of call {} ends here, writing failed: {error}", leg.0);
                    files.insert(leg, None);
                }
            }
        }
        if lines.is_empty() {
            files.values_mut().flatten().for_each(|file| drop(file.flush()));
        }
    }
}

/// Readable by the owner only: the log contains password digests and media keys.
fn create(folder: &Path, leg: LegId, at: SystemTime) -> Option<BufWriter<File>> {
    let path = folder.join(format!("{}-call-{}.log", humantime::format_rfc3339_seconds(at), leg.0));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.map_err(|error| tracing::warn!("no log of call {}: {}: {error}", leg.0, path.display()))
        .ok()
        .map(BufWriter::new)
}

fn write(file: &mut impl Write, at: SystemTime, head: &str, body: &[u8]) -> io::Result<()> {
    writeln!(file, "--- {} {head}", humantime::format_rfc3339_micros(at))?;
    file.write_all(body)
}
