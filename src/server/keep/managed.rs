//! A server that a service manager starts again: what it hands over, what it finds, and its signs of life. The manager
//! is the keeper, or systemd.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use b2b_call::switch::driver::Jobs;
use b2b_sip::net::{PassedSocket, Passing};
use b2b_sys::manager::{self, Manager};

use crate::config::Secret;
use crate::media::Media;

/// The name of the configuration in force; the others are sockets.
const CONFIGURATION: &str = "config";
/// The signs of life in the time that the manager waits.
const SIGNS: u32 = 4;

/// The configuration that was in force when a server before died without a farewell.
///
/// # Errors
/// It cannot be read.
pub fn configuration() -> io::Result<Option<String>> {
    if std::env::var_os(manager::SOCKET).is_some() {
        // Else a program that is executed by a descriptor has the descriptor's number for a name.
        nix::sys::prctl::set_name(c"b2b")?;
    }
    let Some(passed) = manager::take(|name| name == CONFIGURATION).pop() else { return Ok(None) };
    let (mut file, mut text) = (File::from(passed.descriptor), String::new());
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The way to the manager, if there is one.
pub(crate) struct Managed {
    manager: Option<Arc<Manager>>,
    /// The sockets of a server before, by name.
    before: Vec<String>,
    used: mpsc::Receiver<PassedSocket>,
}

impl Managed {
    /// Finds the manager, and what the server before had.
    pub fn find() -> (Managed, Passing) {
        let manager = Manager::of_environment().unwrap_or_else(|error| {
            tracing::warn!("a restart finds nothing, as the service manager is not there: {error}");
            None
        });
        let manager = manager.map(Arc::new);
        let (tell, used) = mpsc::channel();
        let passed = manager::take(|name| name != CONFIGURATION).into_iter();
        let passed = passed.map(|it| PassedSocket { name: it.name, socket: Arc::new(it.descriptor) });
        let passing = Passing { before: passed.collect(), used: manager.is_some().then_some(tell) };
        let before = passing.before.iter().map(|it| it.name.clone()).collect();
        (Managed { manager, before, used }, passing)
    }

    /// Hands over what the next server needs; when the calls of a server before are taken up, says that this one is ready,
    /// and gives signs of life while the calls' thread and those of media respond.
    pub fn begin(&self, text: &Secret, jobs: Jobs, media: Media) {
        for name in &self.before {
            self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
        }
        for PassedSocket { name, socket } in self.used.try_iter() {
            // An ICMP error at a socket is no reason for systemd to close it.
            self.tell(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), Some(socket.as_fd()));
        }
        self.in_force(text);
        let Some(manager) = self.manager.clone() else { return };
        let live = move || {
            // Until then it responds to nobody, for seconds with thousands of calls.
            if jobs.run_blocking(|_, _, _| ()).is_some() {
                tell(&manager, "READY=1", None);
                if let Some(period) = manager::watchdog() {
                    signs_of_life(&manager, period / SIGNS, &jobs, &media);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("watchdog".into()).spawn(live) {
            tracing::error!("no thread to tell the service manager that this server is ready: {error}");
        }
    }

    /// Hands over the configuration that is in force from now on.
    pub fn in_force(&self, text: &Secret) {
        let file = memfd_create(c"b2b", MFdFlags::MFD_CLOEXEC).map(File::from).map_err(io::Error::from);
        match file.and_then(|mut file| file.write_all(text.reveal().as_bytes()).map(|()| file)) {
            Ok(file) => {
                self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={CONFIGURATION}"), None);
                self.tell(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={CONFIGURATION}"), Some(file.as_fd()));
            }
            Err(error) => tracing::error!("a restart would read the file of the configuration: {error}"),
        }
    }

    /// Says that the server is about to end; after a farewell, the next one reads the file.
    pub fn stopping(&self, with_farewell: bool) {
        self.tell("STOPPING=1", None);
        if with_farewell {
            self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={CONFIGURATION}"), None);
        }
    }

    fn tell(&self, lines: &str, descriptor: Option<BorrowedFd<'_>>) {
        if let Some(manager) = &self.manager {
            tell(manager, lines, descriptor);
        }
    }
}

fn tell(manager: &Manager, lines: &str, descriptor: Option<BorrowedFd<'_>>) {
    if let Err(error) = manager.tell(lines, descriptor) {
        tracing::warn!("the service manager does not take {lines:?}: {error}");
    }
}

/// Both questions wait for as long as a thread does not answer.
fn signs_of_life(manager: &Manager, every: Duration, jobs: &Jobs, media: &Media) {
    while jobs.run_blocking(|_, _, _| ()).is_some() {
        pollster::block_on(media.totals());
        // The first message that is sent to a manager that has gone is refused, and disconnects.
        let gone = [ErrorKind::ConnectionRefused, ErrorKind::NotConnected];
        if manager.tell("WATCHDOG=1", None).is_err_and(|error| gone.contains(&error.kind())) {
            return tracing::warn!("the service manager has ended: nobody starts this server again");
        }
        std::thread::sleep(every);
    }
}
