//! The server as a process: its start-up messages, signals, and end.

use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, after, never, select, unbounded};
use nix::sys::signal::{SigSet, Signal};

use super::Server;
use crate::board::Wanted;
use crate::config::Reload;
use crate::config::ServerConfig;
use crate::descriptors;
use crate::keep::managed::Managed;
use crate::own::Own;
use crate::reload::{self, Reloaded};
use b2b_base::util::exit::Exit;
use b2b_call::event::Event;

/// Runs a server until a signal ends it.
///
/// # Errors
/// Why it cannot start.
pub fn run(config: ServerConfig, read: &Reload, own: Own) -> anyhow::Result<u8> {
    let signals = signals(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    if let Err(error) = descriptors::raise() {
        tracing::warn!("the descriptor limit cannot be raised: {error}");
    }
    for weak in config.weak_passwords() {
        tracing::warn!("{weak}");
    }
    config.server.file_mode.is_for_all();
    let (managed, passing) = Managed::find();
    let text = config.text.clone();
    let server = Server::start_after(config, own, passing)?;
    managed.begin(&text, server.jobs(), server.media.clone());
    tracing::info!("{}", descriptors::room(&server.admission.current.get().config, &server.capacity()));
    for (transport, address) in server.listening() {
        tracing::info!("listening: {} {address}", transport.as_str().to_ascii_lowercase());
    }
    if let Some((_, address)) = server.listening().first() {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        let http = server.http().map(|address| format!(" http={address}")).unwrap_or_default();
        let _ = writeln!(out, "READY role=b2bua sip={address}{http}").and_then(|()| out.flush());
    }
    let broken = loop {
        match woken(&signals, &server) {
            Woken::Signal(Signal::SIGHUP) => {}
            Woken::Signal(_) | Woken::Never => break None,
            Woken::Panicked(thread) => break Some(thread),
        }
        server.cdr_file.reopen();
        let what = reload::reload(&server.admission.current.get().config, read);
        let words = what.words();
        let mut refused = false;
        let error = match what {
            Reloaded::Same => {
                server.renew_certificates();
                let settings = server.admission.current.get();
                settings.sounds.again(settings.config.unchecked.clone());
                None
            }
            Reloaded::Kept(failure) => Some(failure.to_string()),
            Reloaded::Changed { config, .. } => {
                let text = config.text.clone();
                let error = server.reload(*config).err();
                refused = error.is_some();
                if !refused {
                    managed.in_force(&text);
                }
                error
            }
        };
        // The changes that are reported are in force.
        match error.as_ref().filter(|_| refused) {
            Some(error) => {
                tracing::error!("the reload is refused, the old configuration stays in force: {error}")
            }
            None => words.iter().for_each(|(wrong, words)| match wrong {
                true => tracing::error!("{words}"),
                false => tracing::info!("{words}"),
            }),
        }
        // A reload usually follows a repair, here or at the provider.
        server.board().register(Wanted::Failed);
        server.jobs().run_blocking(|switch, t, _| switch.wake_admission(t));
        server.admission.bus.publish(SystemTime::now(), Event::Reloaded { error });
    };
    managed.stopping(broken.is_none());
    match broken {
        None => {
            let patience = server.admission.current.get().config.server.drain;
            server.stop(patience, &signals);
            Ok(Exit::Ok as u8)
        }
        Some(thread) if server.survives() => {
            tracing::error!(
                "thread {thread} panicked: the server exits, and its calls go on in the next one"
            );
            server.leave();
            // Nothing is dropped: that would end calls.
            std::process::exit(Exit::Panic as i32)
        }
        Some(thread) => {
            tracing::error!("thread {thread} panicked: the server exits");
            server.stop(Duration::ZERO, &signals);
            Ok(Exit::Panic as u8)
        }
    }
}

/// What woke the process.
enum Woken {
    Signal(Signal),
    /// A thread has panicked that calls cannot do without.
    Panicked(String),
    /// No signal will ever come.
    Never,
}

/// Waits for one; checks the certificates meanwhile.
fn woken(signals: &Receiver<Signal>, server: &Server) -> Woken {
    let (calls, media) = (server.switch.panicked(), server.media.panicked());
    loop {
        let every = server.admission.current.get().config.tls.as_ref().and_then(|tls| tls.reload);
        let look = every.map_or_else(never, after);
        select! {
            recv(signals) -> signal => return signal.map_or(Woken::Never, Woken::Signal),
            recv(calls) -> thread => return thread.map_or(Woken::Never, Woken::Panicked),
            recv(media) -> thread => return thread.map_or(Woken::Never, Woken::Panicked),
            recv(look) -> _ => server.renew_certificates(),
        }
    }
}

/// Blocks these signals and delivers them as values; must be called before any thread is made.
pub fn signals(wanted: &[Signal]) -> anyhow::Result<Receiver<Signal>> {
    let set = SigSet::from_iter(wanted.iter().copied());
    set.thread_block()?;
    let (sender, receiver) = unbounded();
    let wait = move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(receiver)
}
