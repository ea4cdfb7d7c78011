//! The run of a scene: the server with answering loads, then phones and calling loads, each at its time or
//! cue.

use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;
use tracing::Level;

use super::SceneConfig;
use super::command::{self, Passwords};
use super::figures::News;
use super::loads::Loads;
use super::party::Party;
use super::records::Records;
use super::verdict::{self, Verdict};
use super::watch::{self, Seen};
use crate::orchestrator::child::Child;
use crate::orchestrator::command::quoted;
use crate::orchestrator::driver::{Children, Driver};
use crate::orchestrator::loads::Start;
use crate::orchestrator::ready::Ready;
use crate::orchestrator::record::{EventKind, LoadRecord, RoleEnd};
use crate::orchestrator::shutdown::Input;
use crate::orchestrator::surroundings::Surroundings;
use crate::orchestrator::tag;
use crate::orchestrator::verdict as ends;
use b2b_base::logging::{self, Format};
use b2b_base::util::exit::Exit;
use b2b_config::RoleName;

/// After this time, ended calls have left `GET /calls` and the last output of the children is read.
const SETTLES: Duration = Duration::from_millis(300);

/// The results of a scene.
#[derive(Debug)]
pub struct Outcome {
    pub parties: Vec<Party>,
    pub loads: Vec<LoadRecord>,
    pub records: Records,
    pub verdict: Verdict,
    /// When the scene began.
    pub started: SystemTime,
    pub took: Duration,
}

/// The reason why a scene ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// A failure: exit code and reason.
    Failed(u8, String),
    /// More phones failed than allowed.
    TooManyFailed,
    /// The signal that the orchestrator received.
    Interrupted(&'static str),
}

/// Runs the scene to its end.
pub fn run(config: &SceneConfig, passwords: &Passwords, surroundings: &Surroundings) -> Outcome {
    let (now, started) = (Instant::now(), SystemTime::now());
    let cdr = config.scene.server.server.cdr.clone();
    let before = cdr.as_ref().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
    let mut parties = Parties {
        config,
        passwords,
        surroundings,
        parties: config.scene.phones.iter().cloned().map(Party::new).collect(),
        loads: Loads::new(config, surroundings, now),
        server: None,
        server_end: None,
        ready: None,
        complete: false,
        seen: None,
        broken: None,
        quiet_since: None,
    };
    let driver = Driver::new(surroundings, now, config.run.grace, config.run.kill);
    parties.loads.begin(now, Start::Before);
    driver.run(&mut parties);
    let records = cdr.map(|path| Records::read(&path, before)).unwrap_or_default();
    let mut loads = parties.loads.records();
    let verdict = verdict::judge(config, &parties.parties, &loads, &records, parties.broken);
    if verdict.expectations.is_empty() {
        loads.iter_mut().for_each(LoadRecord::unjudged);
    }
    let took = now.elapsed();
    Outcome { parties: parties.parties, loads, records, verdict, started, took }
}

/// The server and the phones.
struct Parties<'a> {
    config: &'a SceneConfig,
    passwords: &'a Passwords,
    surroundings: &'a Surroundings,
    parties: Vec<Party>,
    loads: Loads<'a>,
    server: Option<Child>,
    server_end: Option<RoleEnd>,
    ready: Option<Ready>,
    /// All callees are ready: phones and calling loads have begun.
    complete: bool,
    seen: Option<Receiver<Vec<Seen>>>,
    broken: Option<Broken>,
    quiet_since: Option<Instant>,
}

impl Children for Parties<'_> {
    fn turn(&mut self, now: Instant, driver: &mut Driver<'_>) {
        self.turn_of_loads(now, driver);
        self.follow_server(now, driver);
        self.look();
        for index in 0..self.parties.len() {
            self.follow(index, now);
            self.start(index, now, driver);
        }
        self.check(now, driver);
    }

    fn alive(&mut self) -> Vec<(String, &mut Child)> {
        let parties = self.parties.iter_mut().filter(|party| party.end.is_none());
        let phones = parties.filter_map(|party| Some((party.phone.name.clone(), party.child.as_mut()?)));
        let server = self.server.as_mut().filter(|_| self.server_end.is_none());
        phones.chain(self.loads.alive()).chain(server.map(|child| ("b2bua".to_owned(), child))).collect()
    }

    fn callees(&mut self) -> Vec<(String, &mut Child)> {
        self.loads.callees().collect()
    }

    fn interrupted(&mut self, signal: &'static str) {
        self.broken.get_or_insert(Broken::Interrupted(signal));
    }

    fn say(&mut self, _: Instant, kind: EventKind, text: String) {
        let level = match kind {
            EventKind::Error => Level::ERROR,
            EventKind::Warning => Level::WARN,
            EventKind::Started | EventKind::Ready | EventKind::Ended | EventKind::Signal => Level::INFO,
        };
        self.tell(level, &text);
    }

    fn status(&self, elapsed: Duration) -> Option<String> {
        let mut text = format!("{} {} s", tag::plain(RoleName::Orchestrator), elapsed.as_secs());
        for party in &self.parties {
            text.push_str(&format!(" | {} {}", party.phone.name, party.standing()));
        }
        text.push_str(&self.loads.standings());
        Some(text)
    }

    fn due(&self, _: Instant) -> Option<Instant> {
        self.loads.next_due()
    }

    fn is_over(&mut self, _: Instant, running: bool) -> bool {
        // answering loads start before the server
        let begun = self.server.is_some() || !running;
        begun && !self.server_runs() && !self.loads.any_alive() && !self.parties.iter().any(Party::is_alive)
    }
}

impl Parties<'_> {
    fn server_runs(&self) -> bool {
        self.server.is_some() && self.server_end.is_none()
    }

    /// Handles the loads, and the start of what waits for them: the server needs the routed loads, phones
    /// need all answering ones.
    fn turn_of_loads(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let (running, told) = (driver.is_running(), driver.is_told());
        let server = self.ready.as_ref().map(|ready| ready.sip);
        if let Err((code, reason)) = self.loads.turn(now, server, running, told) {
            self.fail(now, driver, code, reason);
            return;
        }
        if running && self.server.is_none() && self.loads.are_ready(Start::Before) {
            self.start_server(now, driver);
        }
        if running && server.is_some() && !self.complete && self.loads.are_ready(Start::WithServer) {
            self.complete = true;
            for party in self.parties.iter_mut().filter(|party| party.phone.on.is_none()) {
                party.due = Some(now + party.phone.start_after);
            }
            self.loads.begin(now, Start::WithCalls);
        }
    }

    fn start_server(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let mut words = command::server(self.config);
        words.extend(self.loads.routes());
        let line = quoted(&self.surroundings.program, &words);
        match self.surroundings.spawn(RoleName::B2bua, &words) {
            Ok(child) => {
                self.tell(Level::INFO, &format!("started the b2bua (pid {}): {line}", child.pid()));
                self.server = Some(child);
            }
            Err(error) => {
                self.fail(now, driver, Exit::Timeout as u8, format!("cannot start the b2bua: {error}"))
            }
        }
    }

    fn follow_server(&mut self, now: Instant, driver: &mut Driver<'_>) {
        let Some(child) = &mut self.server else { return };
        let (mut lines, mut faults) = (Vec::new(), Vec::new());
        let mut ready = None;
        while let Ok(line) = child.output.ready.try_recv() {
            match line {
                Ok(line) => ready = Some(line),
                Err(error) => faults.push(error.to_string()),
            }
        }
        while child.output.metrics.try_recv().is_ok() {}
        while let Some(line) = child.output.next_line() {
            lines.extend((!line.metrics).then_some(line.text));
        }
        let ended = self.server_end.is_none() && {
            child.reap();
            !child.is_running() && child.output.is_done()
        };
        let (end, error, pid) = (child.end(), child.output.last_error(), child.pid());
        for line in lines {
            self.show(RoleName::B2bua, "b2bua", pid, &line);
        }
        for fault in faults {
            self.tell(Level::WARN, &fault);
        }
        if let Some(ready) = ready.filter(|_| self.ready.is_none()) {
            self.begin(now, driver, ready);
        }
        if ended {
            self.tell(Level::INFO, &format!("the b2bua has ended: {}", end.text));
            if !(driver.is_told() && ends::ended_well(&end)) {
                let error = error.map(|error| format!("; its last error: {error}")).unwrap_or_default();
                self.fail(now, driver, ends::code(&end), format!("the b2bua has ended: {}{error}", end.text));
            }
            self.server_end = Some(end);
        }
    }

    /// Called when the server is READY: loads may register with it.
    fn begin(&mut self, now: Instant, driver: &mut Driver<'_>, ready: Ready) {
        let http = ready.http.map(|at| format!(", http://{at}/")).unwrap_or_default();
        self.tell(Level::INFO, &format!("the b2bua is READY at {}{http}", ready.sip));
        let token = self.config.scene.server.http.as_ref().and_then(|http| http.token.text());
        let seen = ready.http.map(|at| watch::start(at, token, self.surroundings.wake.0.clone()));
        self.ready = Some(ready);
        match seen {
            Some(Ok(seen)) => self.seen = Some(seen),
            Some(Err(error)) => self.fail(now, driver, Exit::Timeout as u8, format!("no thread: {error}")),
            None => self.fail(now, driver, Exit::Timeout as u8, "the b2bua has no HTTP interface".to_owned()),
        }
        self.loads.begin(now, Start::WithServer);
    }

    /// Processes the server's lists of calls.
    fn look(&mut self) {
        let Some(seen) = &self.seen else { return };
        for calls in seen.try_iter() {
            for party in &mut self.parties {
                party.figures.seen(&calls, &party.phone.account);
            }
        }
    }

    fn start(&mut self, index: usize, now: Instant, driver: &mut Driver<'_>) {
        if !driver.is_running() {
            return;
        }
        let Some(party) = self.parties.get_mut(index) else { return };
        let Some(server) = self.ready.as_ref().map(|ready| ready.sip) else { return };
        if party.child.is_some() || party.end.is_some() || party.due.is_none_or(|due| now < due) {
            return;
        }
        let name = party.phone.name.clone();
        let password = self.passwords.of(&party.phone);
        let words = command::phone(self.config, &party.phone, &password, server);
        let line = quoted(&self.surroundings.program, &words);
        match self.surroundings.spawn(RoleName::Phone, &words) {
            Ok(child) => {
                let text = format!("started {name} (pid {}): {line}", child.pid());
                party.child = Some(child);
                self.tell(Level::INFO, &text);
            }
            Err(error) => {
                self.fail(now, driver, Exit::Timeout as u8, format!("cannot start {name}: {error}"))
            }
        }
    }

    fn follow(&mut self, index: usize, now: Instant) {
        let Some(party) = self.parties.get_mut(index) else { return };
        let Some(child) = party.child.as_mut().filter(|_| party.end.is_none()) else { return };
        let mut lines = Vec::new();
        while let Some(line) = child.output.next_line() {
            lines.push(line.text);
        }
        child.reap();
        let ended = (!child.is_running() && child.output.is_done()).then(|| child.end());
        let (error, pid) = (child.output.last_error(), child.pid());
        let name = party.phone.name.clone();
        let (mut shown, mut cues) = (Vec::new(), Vec::new());
        for line in lines {
            let Ok(event) = serde_json::from_str(&line) else {
                shown.push((Level::INFO, format!("{name}: {line}")));
                continue;
            };
            match party.figures.event(&event, &self.config.scene) {
                Some(News::Line(text)) => shown.push((Level::INFO, format!("{name}: {text}"))),
                Some(News::Failed(text)) => shown.push((Level::ERROR, format!("{name}: {text}"))),
                Some(News::Cue(cue, text)) => {
                    shown.push((Level::INFO, format!("{name}: {text}")));
                    cues.push(cue);
                }
                None => {}
            }
        }
        if let Some(end) = ended {
            shown.push((Level::INFO, format!("{name} has ended: {}", end.text)));
            if !ends::ended_well(&end) && party.figures.failed.is_none() {
                let error = error.map(|error| format!("; its last error: {error}")).unwrap_or_default();
                party.figures.failed = Some(format!("{}{error}", end.text));
            }
            party.end = Some(end);
        }
        for (level, text) in shown {
            if level <= self.config.run.level {
                let line = logging::plain_line(self.config.run.format, level, "phone", &text);
                self.show(RoleName::Phone, &name, pid, &line);
            }
        }
        for cue in cues {
            for party in self.parties.iter_mut().filter(|party| party.phone.on.as_ref() == Some(&cue)) {
                let due = now + party.phone.start_after;
                party.due.get_or_insert(due);
            }
            self.loads.cue(now, &cue);
        }
    }

    /// Checks for the end of the scene: all have ended, too many have failed, or the time limit is reached.
    fn check(&mut self, now: Instant, driver: &mut Driver<'_>) {
        if !driver.is_running() {
            // the end has begun: answering loads end before the server
            let answering = self.loads.any_alive();
            driver.on(now, if answering { Input::NobodyCalls } else { Input::OnlyServers }, self);
            return;
        }
        if self.ready.is_none() {
            let started = self.server.as_ref().map(|child| child.started);
            if started.is_some_and(|started| now >= started + self.config.run.ready) {
                let ms = self.config.run.ready.as_millis();
                let text = format!("the b2bua was not READY within {ms} ms; --ready-ms gives it longer");
                self.fail(now, driver, Exit::Timeout as u8, text);
            }
            return;
        }
        let failed = self.parties.iter().filter(|party| party.figures.failed.is_some()).count() as u64;
        if failed > self.config.scene.expect.max_failed {
            self.broken.get_or_insert(Broken::TooManyFailed);
            driver.on(now, Input::Failed, self);
            return;
        }
        if now >= driver.started() + self.config.scene.limit {
            let limit = self.config.scene.limit.as_secs();
            let text = format!("it is not over after {limit} s; limit_s gives it longer");
            self.fail(now, driver, Exit::Timeout as u8, text);
            return;
        }
        let busy = |party: &Party| party.is_alive() || (party.child.is_none() && party.due.is_some());
        let busy = self.parties.iter().any(busy) || self.loads.are_busy() || !self.complete;
        if busy || self.loads.end_calls(now) {
            self.quiet_since = None;
            return;
        }
        if now >= *self.quiet_since.get_or_insert(now) + SETTLES {
            driver.on(now, Input::EndedWell, self);
        }
    }

    fn fail(&mut self, now: Instant, driver: &mut Driver<'_>, code: u8, reason: String) {
        self.tell(Level::ERROR, &reason);
        self.broken.get_or_insert(Broken::Failed(code, reason));
        driver.on(now, Input::Failed, self);
    }

    /// Logs a line of the orchestrator.
    fn tell(&self, level: Level, text: &str) {
        if level <= self.config.run.level {
            let line =
                logging::plain_line(self.config.run.format, level, RoleName::Orchestrator.as_str(), text);
            self.show(RoleName::Orchestrator, "orchestrator", std::process::id(), &line);
        }
    }

    /// Prints a line of a process.
    fn show(&self, role: RoleName, name: &str, pid: u32, line: &str) {
        self.surroundings.console.line(match self.config.run.format {
            Format::Text => format!("{} {line}", tag::tag(role, self.surroundings.color)),
            Format::Json => verdict::as_json(line, role.as_str(), name, pid),
        });
    }
}
