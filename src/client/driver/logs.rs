//! A debug log of each call: its SIP messages, its events, its counters. Files are written by
//! a thread of their own behind a bounded channel: with a slow disk lines are lost and counted,
//! and calls wait for nothing.

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

/// What waits for the disk at most.
const QUEUE: usize = 4_096;
/// Messages kept whose call is not known yet: that of a call which has just begun.
const STRAYS: usize = 64;

/// The logs of a client's calls.
pub(super) struct Logs {
    /// Call-ID of each dialog.
    calls: HashMap<Vec<u8>, LegId>,
    strays: VecDeque<(Vec<u8>, Seen)>,
    events: broadcast::Receiver<ClientEvent>,
    lines: Option<Sender<Line>>,
    lost: u64,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Logs {
    /// What is told is written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// What the writer is told.
enum Line {
    Write { leg: LegId, at: SystemTime, head: String, body: Vec<u8> },
    Close { leg: LegId },
}

impl Logs {
    /// Logs go into this folder.
    ///
    /// # Errors
    /// It cannot be made, or there is no thread.
    pub fn start(folder: PathBuf, events: broadcast::Receiver<ClientEvent>) -> io::Result<Logs> {
        std::fs::create_dir_all(&folder)?;
        let (lines, queue) = crossbeam_channel::bounded(QUEUE);
        let write = move || write_all(&folder, &queue);
        let writer = Some(std::thread::Builder::new().name("call-logs".into()).spawn(write)?);
        let lines = Some(lines);
        Ok(Logs { calls: HashMap::new(), strays: VecDeque::new(), events, lines, lost: 0, writer })
    }

    /// A leg's dialog has this Call-ID.
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

    /// Its media are closed.
    pub fn counters(&mut self, leg: LegId, report: &LegReport) {
        let LegReport { stats, reception, .. } = report;
        self.write(leg, "counters".to_owned(), format!("{stats:#?}\n{reception:#?}\n").into_bytes());
    }

    /// It is over, and nothing more of it is told.
    pub fn ends(&mut self, leg: LegId) {
        self.calls.retain(|_, of| *of != leg);
        self.send(Line::Close { leg });
    }

    /// Takes what has happened since it was last called.
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

/// Ends with the client.
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

/// Passwords' digests and keys of media stand in it: it is for its owner only.
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
