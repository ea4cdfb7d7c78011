//! Watches a local process, such as the system under test, during the calls: its resource usage, from /proc.
//! Child processes are not included.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Sampling interval.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum kept memory samples; at twice as many, every second one is dropped.
const STEPS: usize = 240;

/// CPU usage of a thread so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spent {
    /// Time on a core.
    cpu: Duration,
    /// Time runnable, waiting for a core.
    waited: Duration,
}

/// One sample of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reading {
    /// Name and usage by thread id.
    threads: BTreeMap<u32, (String, Spent)>,
    memory_kb: u64,
    /// `None` for another user's process, whose descriptors cannot be read.
    descriptors: Option<u64>,
}

impl Reading {
    /// `process`: its folder in /proc.
    fn take(process: &Path) -> io::Result<Self> {
        let status = std::fs::read_to_string(process.join("status"))?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory_kb = memory.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(process.join("task"))?.flatten() {
            // a thread that has just ended has no files
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let (Some(name), Some(spent)) = (read("comm"), read("schedstat")) {
                threads.insert(tid, (name.trim().to_owned(), Spent::read(&spent)));
            }
        }
        let descriptors = std::fs::read_dir(process.join("fd")).ok().map(|all| all.count() as u64);
        Ok(Reading { threads, memory_kb, descriptors })
    }
}

impl Spent {
    /// Parses schedstat: ns on a core, ns waiting, and a count.
    fn read(schedstat: &str) -> Self {
        let mut words = schedstat
            .split_whitespace()
            .map(|word| word.parse().map_or(Duration::ZERO, Duration::from_nanos));
        let mut next = || words.next().unwrap_or_default();
        Spent { cpu: next(), waited: next() }
    }

    fn since(self, earlier: Spent) -> Self {
        Spent {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            waited: self.waited.saturating_sub(earlier.waited),
        }
    }
}

/// First, highest and last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    before: u64,
    most: u64,
    end: u64,
}

impl Level {
    fn of(first: u64) -> Self {
        Level { before: first, most: first, end: first }
    }

    fn now(&mut self, value: u64) {
        self.most = self.most.max(value);
        self.end = value;
    }
}

/// The results.
#[derive(Debug, Clone)]
pub struct Watched {
    pid: u32,
    name: String,
    /// Usage of each thread: when first seen, and last.
    threads: BTreeMap<u32, (String, Spent, Spent)>,
    memory: Level,
    descriptors: Option<Level>,
    /// Memory samples: seconds since the first one, and KB.
    memory_kb: Vec<(f64, u64)>,
    /// Number of samples per kept one.
    every: usize,
    looks: usize,
    watched: Duration,
    /// Whether it ended before the calls did.
    ended: bool,
}

impl Watched {
    fn new(pid: u32, first: Reading) -> Self {
        let name = first.threads.get(&pid).map_or(String::new(), |(name, _)| name.clone());
        Watched {
            pid,
            name,
            threads: first
                .threads
                .into_iter()
                .map(|(tid, (name, spent))| (tid, (name, spent, spent)))
                .collect(),
            memory: Level::of(first.memory_kb),
            descriptors: first.descriptors.map(Level::of),
            memory_kb: vec![(0.0, first.memory_kb)],
            every: 1,
            looks: 0,
            watched: Duration::ZERO,
            ended: false,
        }
    }

    /// Adds a sample, taken this long after the first one.
    fn look(&mut self, at: Duration, reading: Reading) {
        for (tid, (name, spent)) in reading.threads {
            // a thread that started later had used nothing before
            self.threads.entry(tid).or_insert((name, Spent::default(), spent)).2 = spent;
        }
        self.memory.now(reading.memory_kb);
        if let (Some(level), Some(descriptors)) = (&mut self.descriptors, reading.descriptors) {
            level.now(descriptors);
        }
        self.watched = at;
        self.looks += 1;
        if self.looks.is_multiple_of(self.every) {
            self.memory_kb.push((at.as_secs_f64(), reading.memory_kb));
        }
        if self.memory_kb.len() > 2 * STEPS {
            self.memory_kb = self.memory_kb.iter().copied().step_by(2).collect();
            self.every *= 2;
        }
    }

    /// Usage by thread name.
    fn by_name(&self) -> BTreeMap<&str, Spent> {
        let mut names: BTreeMap<&str, Spent> = BTreeMap::new();
        for (name, first, last) in self.threads.values() {
            let (of_name, spent) = (names.entry(name).or_default(), last.since(*first));
            of_name.cpu += spent.cpu;
            of_name.waited += spent.waited;
        }
        names
    }

    fn cpu_s(&self) -> f64 {
        self.by_name().values().map(|spent| spent.cpu.as_secs_f64()).sum()
    }

    /// CPU per call; `None` without calls.
    pub fn cpu_ms_per_call(&self, calls: u64) -> Option<f64> {
        (calls > 0).then(|| self.cpu_s() * 1e3 / calls as f64)
    }

    /// CPU usage, percent of one core.
    fn cpu_pct(&self) -> f64 {
        self.cpu_s() / self.watched.as_secs_f64().max(0.001) * 100.0
    }

    /// Waiting time of the thread that waited longest for a core, percent.
    fn waited_pct(&self) -> f64 {
        let waited = self.threads.values().map(|(_, first, last)| last.since(*first).waited).max();
        waited.unwrap_or_default().as_secs_f64() / self.watched.as_secs_f64().max(0.001) * 100.0
    }

    /// Memory growth from the eighth after the middle of the time to its last eighth, KB: caches are full by
    /// the middle. `None` if it was watched too briefly.
    pub fn memory_grown_kb(&self) -> Option<f64> {
        let end = self.watched.as_secs_f64();
        let median = |from: f64, to: f64| {
            let within = |(at, _): &&(f64, u64)| (from * end..=to * end).contains(at);
            let mut kb: Vec<u64> = self.memory_kb.iter().filter(within).map(|(_, kb)| *kb).collect();
            kb.sort_unstable();
            kb.get(kb.len() / 2).map(|kb| *kb as f64)
        };
        Some(median(0.875, 1.0)? - median(0.5, 0.625)?)
    }

    /// Memory over time: seconds, KB.
    pub fn memory_over_time(&self) -> impl Iterator<Item = (f64, u64)> {
        self.memory_kb.iter().copied()
    }

    /// As JSON, for this number of calls.
    pub fn json(&self, calls: u64) -> Value {
        let round = |value: f64| (value * 1e4).round() / 1e4;
        let level = |it: Level| json!({"before": it.before, "most": it.most, "end": it.end});
        let mut memory = level(self.memory);
        memory["grown"] = json!(self.memory_grown_kb());
        let threads = self.by_name().into_iter().map(|(name, spent)| {
            json!({"name": name, "cpu_s": round(spent.cpu.as_secs_f64()), "waited_s": round(spent.waited.as_secs_f64())})
        });
        json!({
            "pid": self.pid, "name": self.name, "ended": self.ended, "watched_s": round(self.watched.as_secs_f64()),
            "cpu_s": round(self.cpu_s()), "cpu_pct": round(self.cpu_pct()),
            "cpu_ms_per_call": self.cpu_ms_per_call(calls).map(round), "waited_pct": round(self.waited_pct()),
            "threads": threads.collect::<Vec<_>>(), "memory_kb": memory, "descriptors": self.descriptors.map(level),
            "over_time": self.memory_over_time().map(|(at, kb)| json!({"at_s": round(at), "memory_kb": kb})).collect::<Vec<_>>(),
        })
    }

    /// As text, for this number of calls.
    pub fn words(&self, calls: u64) -> String {
        let mb = |kb: u64| kb as f64 / 1024.0;
        let each = self.cpu_ms_per_call(calls).map(|ms| format!(", {ms:.3} ms a call")).unwrap_or_default();
        let descriptors =
            self.descriptors.map(|it| format!("; {} descriptors before, {} at the end", it.before, it.end));
        format!(
            "{} ({}){}: {:.2} s of CPU, {:.1} % of a core{each}; {:.1} MB before, {:.1} at most, {:.1} at the end{}",
            self.name,
            self.pid,
            if self.ended { ", which has ENDED" } else { "" },
            self.cpu_s(),
            self.cpu_pct(),
            mb(self.memory.before),
            mb(self.memory.most),
            mb(self.memory.end),
            descriptors.unwrap_or_default()
        )
    }
}

/// A separate thread for watching: reading /proc takes longer than a load may be late.
pub struct Watch {
    over: Sender<()>,
    thread: JoinHandle<Watched>,
}

impl Watch {
    /// Watches this process from now on.
    ///
    /// # Errors
    /// There is no such process, or no thread can be started.
    pub fn start(pid: u32) -> io::Result<Self> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let (first, began) = (Reading::take(&process)?, Instant::now());
        let (over, until) = mpsc::channel();
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut watched = Watched::new(pid, first);
            loop {
                let goes_on = until.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout);
                match Reading::take(&process) {
                    // a zombie has no memory
                    Ok(reading) if reading.memory_kb > 0 => watched.look(began.elapsed(), reading),
                    _ => watched.ended = true,
                }
                if !goes_on || watched.ended {
                    return watched;
                }
            }
        })?;
        Ok(Watch { over, thread })
    }

    /// Takes a last sample and returns the results; `None` if the thread panicked.
    pub fn finish(self) -> Option<Watched> {
        // it has ended already if the process has
        let _ = self.over.send(());
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(threads: &[(u32, &str, u64, u64)], memory_kb: u64) -> Reading {
        let ms = Duration::from_millis;
        let threads = threads.iter().map(|&(tid, name, cpu, waited)| {
            (tid, (name.to_owned(), Spent { cpu: ms(cpu), waited: ms(waited) }))
        });
        Reading { threads: threads.collect(), memory_kb, descriptors: Some(memory_kb / 10) }
    }

    #[test]
    fn cpu_is_that_of_all_threads_since_the_first_look_those_that_came_and_went_too() {
        let mut watched = Watched::new(7, reading(&[(7, "main", 1_000, 0), (8, "media", 500, 0)], 100));
        watched.look(Duration::from_secs(1), reading(&[(7, "main", 1_100, 300), (9, "media", 50, 20)], 300));
        watched.look(Duration::from_secs(2), reading(&[(7, "main", 1_200, 500), (8, "media", 550, 0)], 200));
        let json = watched.json(100);
        assert_eq!((json["cpu_s"].as_f64(), json["cpu_pct"].as_f64()), (Some(0.3), Some(15.0)));
        assert_eq!((json["cpu_ms_per_call"].as_f64(), json["waited_pct"].as_f64()), (Some(3.0), Some(25.0)));
        assert_eq!(json["threads"][1], json!({"name": "media", "cpu_s": 0.1, "waited_s": 0.02}));
        assert_eq!(json["memory_kb"], json!({"before": 100, "most": 300, "end": 200, "grown": -100.0}));
        assert_eq!(json["descriptors"], json!({"before": 10, "most": 30, "end": 20}));
        assert_eq!(watched.json(0)["cpu_ms_per_call"], Value::Null);
    }

    #[test]
    fn memory_has_grown_by_what_the_second_half_added_and_a_long_run_keeps_few_figures() {
        let mut watched = Watched::new(7, reading(&[], 0));
        // memory fills until the middle, and then leaks 1 KB/s
        let kb = |s: u64| if s < 4_000 { s * 100 } else { 400_000 + s };
        (1..=8_000).for_each(|s| watched.look(Duration::from_secs(s), reading(&[], kb(s))));
        assert!(watched.memory_kb.len() <= 2 * STEPS, "{}", watched.memory_kb.len());
        let grown = watched.memory_grown_kb().unwrap();
        assert!((grown - 3_000.0).abs() < 50.0, "{grown}");
    }

    #[test]
    fn a_process_that_is_there_has_memory_and_one_that_is_not_cannot_be_watched() {
        let watched = Watch::start(std::process::id()).unwrap().finish().unwrap();
        assert!(watched.memory.before > 0 && watched.descriptors.unwrap().end > 0 && !watched.ended);
        assert!(watched.words(10).contains(" ms a call; "), "{}", watched.words(10));
        assert!(Watch::start(u32::MAX).is_err());
    }
}
