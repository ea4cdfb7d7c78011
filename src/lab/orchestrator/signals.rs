//! SIGINT, SIGTERM and SIGHUP to the orchestrator, as values.

use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The receiver of signals, by name.
#[derive(Debug, Clone)]
pub struct Interrupts {
    receiver: Receiver<&'static str>,
}

impl Interrupts {
    /// Catches the signals from now on, and signals `wake` after each.
    ///
    /// # Errors
    /// The handlers or the thread could not be set up.
    pub fn catch(wake: Sender<()>) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let (sender, receiver) = bounded(8);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let name = match signal {
                    SIGINT => "SIGINT",
                    SIGTERM => "SIGTERM",
                    _ => "SIGHUP",
                };
                // eight unprocessed signals are enough
                let _ = sender.try_send(name);
                let _ = wake.try_send(());
            }
        })?;
        Ok(Interrupts { receiver })
    }

    /// A receiver without signals, for runs inside another program.
    pub fn none() -> Self {
        Interrupts { receiver: bounded(1).1 }
    }

    /// The next signal, if one has arrived.
    pub fn next(&self) -> Option<&'static str> {
        self.receiver.try_recv().ok()
    }
}
