//! The keeper: a process that starts the server, and starts it again whenever it dies without a farewell. It keeps what
//! the next one needs: bound sockets, and the configuration in force.
//!
//! - `managed`: the server's side, which any manager that speaks systemd's protocol may have at its other end

pub mod managed;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use b2b_base::util::{exit::Exit, process::PARENT};
use b2b_sys::manager::{self, Inbox, Message, Passed};
use b2b_sys::restart::Program;

/// The signals that are passed to the server.
const SIGNALS: [Signal; 5] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
/// The signals by which a server ends through a fault of its own.
const FAULTS: [Signal; 5] =
    [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE];
/// A server that is ready and gives no sign of life for this long hangs.
const SILENCE: Duration = Duration::from_secs(5);
/// One that was started again and is not ready after this long hangs over the calls that it takes up.
const RESTORING: Duration = Duration::from_secs(60);
/// How often that is looked at.
const TICK: Duration = Duration::from_secs(1);
/// With so many deaths within that time, the next start waits.
const DEATHS: usize = 5;
const WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the server responds, in the keeper's own time.
#[derive(Debug, Default)]
struct Watch {
    /// How long it may give no sign; `None`: it starts for the first time, or is about to end.
    limit: Option<Duration>,
    silent: Duration,
}

impl Watch {
    /// Time has passed; returns the signal for a server that hangs. What has kept the keeper from its look may have
    /// kept the server from its sign, too: it gets the whole time again.
    fn tick(&mut self, passed: Duration) -> Option<Signal> {
        let before = self.silent;
        self.silent = if passed > 2 * TICK { Duration::ZERO } else { before + passed };
        // The first one leaves a core, if that is wanted and the process is not stopped.
        let most = self.limit?;
        let signals = [(most, Signal::SIGABRT), (most + TICK, Signal::SIGKILL)];
        let is_time = |limit| before < limit && limit <= self.silent;
        signals.into_iter().find(|(limit, _)| is_time(*limit)).map(|(_, signal)| signal)
    }
}

struct Keeper {
    program: Program,
    inbox: Inbox,
    signals: SignalFd,
    /// What the server has handed over.
    kept: Vec<Passed>,
    /// Servers that have ended and are still to be waited for.
    ended: Vec<Pid>,
    /// The times of the last deaths.
    deaths: Vec<Instant>,
    /// The server was told to end.
    ends: bool,
    /// The server hangs, over no known call, and was sent a signal.
    hangs: bool,
    /// Another process than the server has written.
    disturbed: bool,
}

/// Runs the server until it ends with a farewell; returns its exit code.
///
/// # Errors
/// The system refuses what the keeper needs.
pub fn run() -> anyhow::Result<u8> {
    let (mut program, inbox) = (Program::of_this_process()?, Inbox::open()?);
    program.words = std::env::args_os().skip(1).filter(|word| word != "--keep").collect();
    let period = SILENCE.as_micros().to_string();
    program.with = vec![
        (manager::SOCKET, inbox.address()),
        (manager::WATCHDOG, period),
        (manager::FAULT, String::new()),
    ];
    // Without its parent the server goes on.
    program.without = vec![manager::WATCHDOG_PID, PARENT];
    let wanted = SigSet::from_iter(SIGNALS.into_iter().chain([Signal::SIGCHLD]));
    wanted.thread_block()?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let (kept, ended, deaths) = (Vec::new(), Vec::new(), Vec::new());
    Keeper { program, inbox, signals, kept, ended, deaths, ends: false, hangs: false, disturbed: false }
        .keep()
}

impl Keeper {
    fn keep(mut self) -> anyhow::Result<u8> {
        let code = self.starts();
        self.bury()?;
        code
    }

    /// Waits for servers that have ended. Where somebody looks at /proc meanwhile, the kernel has been seen to take half a
    /// minute for this, so it comes after the start of the next server.
    fn bury(&mut self) -> anyhow::Result<()> {
        for ended in self.ended.drain(..) {
            waitpid(ended, None)?;
        }
        Ok(())
    }

    /// Starts servers until one ends by itself, or as it was told.
    fn starts(&mut self) -> anyhow::Result<u8> {
        while !self.ends {
            let mut fault = None;
            let how = match self.program.start(&self.kept) {
                Ok(server) => match self.follow(server)? {
                    WaitStatus::Signaled(_, Signal::SIGTERM | Signal::SIGINT, _) if self.ends => break,
                    // As shells say it.
                    WaitStatus::Signaled(_, signal, _) if self.ends => return Ok(128 + signal as u8),
                    WaitStatus::Exited(_, code) if self.ends || code != Exit::Panic as i32 => {
                        return Ok(u8::try_from(code)?);
                    }
                    WaitStatus::Signaled(_, signal, core) => {
                        fault = Some(signal).filter(|signal| FAULTS.contains(signal) && !self.hangs);
                        format!("{signal}, core dumped: {core}")
                    }
                    _ => "a panic".to_owned(),
                },
                Err(error) => format!("no process: {error}"),
            };
            self.program.with.retain(|(name, _)| *name != manager::FAULT);
            let fault = fault.map(|signal| signal.to_string()).unwrap_or_default();
            self.program.with.push((manager::FAULT, fault));
            let now = Instant::now();
            self.deaths.retain(|death| now.duration_since(*death) < WITHIN);
            self.deaths.push(now);
            let pause = if self.deaths.len() < DEATHS { Duration::ZERO } else { PAUSE };
            let ms = pause.as_millis();
            tracing::error!("the server has died ({how}); it is started again in {ms} ms");
            while now.elapsed() < pause && !self.ends {
                self.sleep(pause.saturating_sub(now.elapsed()))?;
                self.signals(None)?;
                while self.inbox.receive().is_some() {}
            }
        }
        Ok(Exit::Ok as u8)
    }

    /// Serves the server until its end.
    fn follow(&mut self, server: Pid) -> anyhow::Result<WaitStatus> {
        tracing::info!("the server is process {server}");
        self.bury()?;
        let limit = (!self.deaths.is_empty()).then_some(RESTORING);
        let (mut watch, mut looked) = (Watch { limit, ..Watch::default() }, Instant::now());
        self.hangs = false;
        loop {
            self.sleep(TICK)?;
            self.signals(Some(server))?;
            // First its end, then its last words.
            let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
            let status = waitid(Id::Pid(server), look)?;
            while let Some(message) = self.inbox.receive() {
                self.hear(message, server, &mut watch);
            }
            if status != WaitStatus::StillAlive {
                self.ended.push(server);
                return Ok(status);
            }
            if let Some(signal) = watch.tick(looked.elapsed()) {
                tracing::error!("the server, process {server}, does not respond: it gets {signal}");
                // Before it is ready, the call that it takes up is at fault.
                self.hangs = watch.limit == Some(SILENCE);
                kill(server, signal)?;
            }
            looked = Instant::now();
        }
    }

    /// Passes signals on.
    fn signals(&mut self, server: Option<Pid>) -> anyhow::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            let signal = Signal::try_from(i32::try_from(signal.ssi_signo)?)?;
            self.ends |= matches!(signal, Signal::SIGTERM | Signal::SIGINT);
            if let Some(server) = server.filter(|_| signal != Signal::SIGCHLD) {
                kill(server, signal)?;
            }
        }
        Ok(())
    }

    /// Waits for signals and messages.
    fn sleep(&self, most: Duration) -> anyhow::Result<()> {
        let mut ready =
            [self.inbox.socket().as_fd(), self.signals.as_fd()].map(|it| PollFd::new(it, PollFlags::POLLIN));
        let woken = poll(&mut ready, PollTimeout::try_from(most)?).map(drop);
        woken.or_else(|error| if error == Errno::EINTR { Ok(()) } else { Err(error.into()) })
    }

    fn hear(&mut self, message: Message, server: Pid, watch: &mut Watch) {
        let Message { from, lines, descriptors } = message;
        if from != server {
            if !std::mem::replace(&mut self.disturbed, true) {
                tracing::warn!("messages of process {from}, which is not the server, are ignored");
            }
            return;
        }
        let name = lines.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
        for line in lines.lines() {
            match line {
                "READY=1" => *watch = Watch { limit: Some(SILENCE), ..Watch::default() },
                "WATCHDOG=1" => watch.silent = Duration::ZERO,
                "STOPPING=1" => watch.limit = None,
                "FDSTOREREMOVE=1" => self.kept.retain(|it| it.name != name),
                _ => {}
            }
        }
        let passed =
            descriptors.into_iter().map(|descriptor| Passed { name: name.replace(':', "_"), descriptor });
        self.kept.extend(passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_hangs_once_it_is_ready_and_silent_while_the_keeper_is_awake() {
        let mut watch = Watch::default();
        let seconds = |watch: &mut Watch, n: u32| (0..n).filter_map(|_| watch.tick(TICK)).collect::<Vec<_>>();
        assert_eq!(seconds(&mut watch, 200), [], "it starts");
        watch = Watch { limit: Some(RESTORING), ..Watch::default() };
        assert_eq!(seconds(&mut watch, 59), [], "it takes calls up");
        assert_eq!(seconds(&mut watch, 1), [Signal::SIGABRT]);
        watch = Watch { limit: Some(SILENCE), ..Watch::default() };
        assert_eq!(seconds(&mut watch, 4), []);
        assert_eq!(watch.tick(Duration::from_secs(60)), None, "the keeper itself was away");
        assert_eq!(seconds(&mut watch, 4), []);
        assert_eq!(seconds(&mut watch, 9), [Signal::SIGABRT, Signal::SIGKILL]);
        watch.silent = Duration::ZERO;
        assert_eq!(seconds(&mut watch, 5), [Signal::SIGABRT]);
    }
}
