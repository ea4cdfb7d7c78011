//! SIGTERM, SIGINT and SIGHUP as values in a channel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::signal::{SigSet, Signal};

use super::exit::Exit;

/// Exit code of shells for a program ended by SIGINT.
const INTERRUPTED: i32 = 130;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the signals that ask a program to end. The first one is sent to the channel; a
/// second SIGINT ends the process at once (exit code 130). If the process still runs
/// `patience` after the first one, it is ended (exit code 67). SIGHUP counts as SIGTERM: the
/// terminal is gone.
///
/// Call this first, in the main thread: threads that already exist would still receive the
/// signals.
///
/// # Errors
/// The thread cannot be started, or the signals were taken over before.
pub fn take_over(patience: Duration) -> std::io::Result<Receiver<Signal>> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(std::io::Error::other("the signals are taken already"));
    }
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block()?;
    let (sender, receiver) = bounded(4);
    std::thread::Builder::new().name("signals".into()).spawn(move || wait(&signals, &sender, patience))?;
    Ok(receiver)
}

fn wait(signals: &SigSet, sender: &Sender<Signal>, patience: Duration) {
    let (mut interrupted, mut asked) = (false, false);
    while let Ok(signal) = signals.wait() {
        if signal == Signal::SIGINT && interrupted {
            std::process::exit(INTERRUPTED);
        }
        interrupted |= signal == Signal::SIGINT;
        let _ = sender.try_send(signal);
        if !asked {
            asked = true;
            let watchdog = std::thread::Builder::new().name("watchdog".into());
            let started = watchdog.spawn(move || {
                std::thread::sleep(patience);
                tracing::error!("not stopped {} s after the signal; exiting now", patience.as_secs());
                std::process::exit(Exit::Timeout as i32);
            });
            if let Err(error) = started {
                tracing::warn!("cannot start the watchdog of the shutdown: {error}");
            }
        }
    }
}
