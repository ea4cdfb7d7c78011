//! The thread that appends records to their file.
//!
//! Submitting a record never blocks. While the file cannot be written (a full disk), the thread retries every
//! second and the queue fills; once it is full, new records are dropped and counted. A line is never left
//! incomplete: the remains of a failed write are cut off, and a line that a crash of the machine left
//! incomplete is ended with a line feed at start.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use nix::fcntl::OFlag;

use super::record::Cdr;
use b2b_base::util::file;
use b2b_base::util::redact::Redaction;

/// The time between retries of a failed write.
const RETRY: Duration = Duration::from_secs(1);
/// Maximum number of records per write; after a full batch the next one is written at once.
const TOGETHER: usize = 64;
/// The pause after a write, in which more records may arrive: waking the thread costs more than writing.
/// Filling half of [`ROOMY`] in a pause takes 5,000 records a second.
const PAUSE: Duration = Duration::from_millis(100);
/// A queue of at least this capacity holds the records that arrive during a pause.
const ROOMY: usize = 1_000;

/// The configuration of a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterConfig {
    /// The file; created if it does not exist, appended to otherwise.
    pub path: PathBuf,
    /// Capacity of the queue, in records; at least one.
    pub queue: usize,
    /// How far numbers and names are redacted.
    pub redaction: Redaction,
    /// Whether to wait for the disk (`fdatasync`) before records count as written.
    pub durable: bool,
}

/// The reason why records cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdrError {
    /// The file cannot be opened for appending.
    #[error("cannot open the record file {path}: {reason}; check that the folder exists and is writable", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// The operating system refused to start the thread; the text says why.
    #[error("cannot start the thread for records: {0}")]
    Thread(String),
    /// Records were left when the writer was to finish.
    #[error("{left} records were not written in time; free some space for {path}", path = path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
        /// How many records are lost.
        left: u64,
    },
}

/// The counters of a writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CdrCounters {
    /// Records submitted, dropped ones included.
    pub submitted: u64,
    /// Records written to the file.
    pub written: u64,
    /// Records dropped, because the queue was full or the writer had ended.
    pub lost: u64,
    /// Failed attempts to write, open or sync.
    pub failures: u64,
}

/// Identifies a submitted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

enum Message {
    Record(Box<Cdr>),
    /// Wakes the thread to check whether to reopen the file.
    Wake,
}

#[derive(Debug, Default)]
struct Shared {
    submitted: AtomicU64,
    accepted: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    reopen: AtomicBool,
    give_up: AtomicBool,
}

impl Shared {
    fn counters(&self) -> CdrCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        CdrCounters {
            submitted: get(&self.submitted),
            written: get(&self.written),
            lost: get(&self.lost),
            failures: get(&self.failures),
        }
    }
}

/// Accepts records. When it is dropped, the thread writes the remaining records and ends.
#[derive(Debug)]
pub struct CdrWriter {
    records: Sender<Message>,
    over: Receiver<()>,
    thread: std::thread::Thread,
    shared: Arc<Shared>,
    path: PathBuf,
}

impl CdrWriter {
    /// Opens the file and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or is a directory, pipe or socket.
    pub fn start(config: WriterConfig) -> Result<CdrWriter, CdrError> {
        let file = open(&config.path)
            .map_err(|error| CdrError::Open { path: config.path.clone(), reason: error.to_string() })?;
        let (records, queue) = crossbeam_channel::bounded(config.queue.max(1));
        let (done, over) = crossbeam_channel::bounded(0);
        let shared = Arc::new(Shared::default());
        let path = config.path.clone();
        let thread = std::thread::Builder::new()
            .name("cdr".into())
            .spawn({
                let shared = shared.clone();
                move || {
                    let _done = done; // its end wakes the thread that waits for the writer to finish
                    Appender { config, file, shared, in_trouble: false }.run(&queue);
                }
            })
            .map_err(|error| CdrError::Thread(error.to_string()))?;
        Ok(CdrWriter { records, over, thread: thread.thread().clone(), shared, path })
    }

    /// Submits a record; never blocks. `None` if it was dropped, and counted.
    ///
    /// Only one thread submits, so tickets are in the order of the queue.
    pub fn submit(&mut self, record: Cdr) -> Option<Ticket> {
        self.shared.submitted.fetch_add(1, Ordering::Relaxed);
        match self.records.try_send(Message::Record(Box::new(record))) {
            Ok(()) => Some(Ticket(self.shared.accepted.fetch_add(1, Ordering::Relaxed) + 1)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Whether the kernel has the record: it survives the end of the process.
    pub fn is_written(&self, ticket: Ticket) -> bool {
        self.shared.written.load(Ordering::Acquire) >= ticket.0
    }

    /// Reopens the path before the next record (SIGHUP, after the file was renamed). If that fails, the old
    /// file stays in use, and the failure is counted.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        // When the queue is full, the thread is awake already or waits for the disk.
        let _ = self.records.try_send(Message::Wake);
        self.thread.unpark();
    }

    /// The counters so far.
    pub fn counters(&self) -> CdrCounters {
        self.shared.counters()
    }

    /// Writes the remaining records and ends the thread. Waits at most `patience`; records not written by
    /// then are lost.
    ///
    /// # Errors
    /// Records were left unwritten.
    pub fn finish(self, patience: Duration) -> Result<CdrCounters, CdrError> {
        let CdrWriter { records, over, thread, shared, path } = self;
        drop(records);
        thread.unpark();
        // Nothing is ever sent on this channel: it closes when the thread ends.
        let ended = over.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected);
        shared.give_up.store(true, Ordering::Release);
        thread.unpark();
        let counters = shared.counters();
        match counters.submitted.saturating_sub(counters.written + counters.lost) {
            0 if ended => Ok(counters),
            left => Err(CdrError::Unfinished { path, left }),
        }
    }
}

/// The state of the writer's thread.
struct Appender {
    config: WriterConfig,
    file: File,
    shared: Arc<Shared>,
    /// The last attempt failed: the error is logged once, not on every retry.
    in_trouble: bool,
}

impl Appender {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut lines = Vec::new();
        while let Ok(message) = queue.recv() {
            // Records that arrived meanwhile are written together: one write, and one sync.
            let more = std::iter::from_fn(|| queue.try_recv().ok());
            let (mut taken, mut count) = (0, 0);
            for message in std::iter::once(message).chain(more).take(TOGETHER) {
                taken += 1;
                if let Message::Record(record) = message {
                    lines.extend_from_slice(&record.line(self.config.redaction));
                    count += 1;
                }
            }
            self.reopen_if_asked();
            if count > 0 && !self.write_until_done(&lines) {
                return; // no time is left
            }
            lines.clear();
            self.sync();
            self.shared.written.fetch_add(count, Ordering::Release);
            if self.config.queue >= ROOMY && taken < TOGETHER {
                // `finish` and `reopen` end the pause early.
                std::thread::park_timeout(PAUSE);
            }
        }
    }

    fn sync(&mut self) {
        if self.config.durable
            && let Err(error) = self.file.sync_data()
        {
            self.trouble(&error);
        }
    }

    /// Returns false if no time is left.
    fn write_until_done(&mut self, line: &[u8]) -> bool {
        loop {
            self.reopen_if_asked();
            match append(&mut self.file, line) {
                Ok(()) => {
                    if std::mem::take(&mut self.in_trouble) {
                        tracing::warn!("call records are written to {} again", self.config.path.display());
                    }
                    return true;
                }
                Err(error) => self.trouble(&error),
            }
            if self.shared.give_up.load(Ordering::Acquire) {
                return false;
            }
            std::thread::park_timeout(RETRY);
        }
    }

    fn reopen_if_asked(&mut self) {
        if self.shared.reopen.swap(false, Ordering::AcqRel) {
            match open(&self.config.path) {
                Ok(file) => self.file = file,
                Err(error) => self.trouble(&error),
            }
        }
    }

    fn trouble(&mut self, error: &io::Error) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::error!(
                "call records cannot be written to {}: {error}; they are kept in memory: free disk space",
                self.config.path.display()
            );
        }
    }
}

/// Opens the file for appending. An incomplete last line is ended with a line feed.
fn open(path: &Path) -> io::Result<File> {
    // Without O_NONBLOCK, opening a pipe without a reader would block.
    let file = file::open(path, OpenOptions::new().append(true).read(true), OFlag::O_NONBLOCK)?;
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != [b'\n'] {
        (&file).write_all(b"\n")?;
    }
    Ok(file)
}

/// Appends the whole line or nothing.
fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?;
    file.write_all(line).inspect_err(|_| {
        if before.is_file() {
            // If this fails, too, an incomplete line stays: readers skip lines that are not JSON.
            let _ = file.set_len(before.len());
        }
    })
}
