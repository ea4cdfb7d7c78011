//! The protocol of service managers, both sides of it (sd_notify(3), sd_listen_fds(3)): a process tells its state and
//! hands over descriptors, and the next one gets them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials};
use nix::sys::socket::{bind, recvmsg, sendmsg, setsockopt, sockopt};
use nix::unistd::Pid;

/// The variable with the address of the manager's socket.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// The variable with the microseconds within which the manager wants to hear that the process responds.
pub const WATCHDOG: &str = "WATCHDOG_USEC";
/// The process whom that concerns.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// The variable with the signal by which the process before has died through a fault of its own; b2b's keeper sets it.
pub const FAULT: &str = "B2B_FAULT";
/// The variables of descriptors: the process they are for, their number and names.
pub const PASSED: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
/// The first descriptor that is passed.
pub const FIRST: RawFd = 3;
/// Maximum octets of a message, and of descriptors in one (the kernel's `SCM_MAX_FD`).
const LARGEST: usize = 4_096;
const MOST: usize = 253;
/// How long a message to a manager that does not read may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A descriptor with its name.
#[derive(Debug)]
pub struct Passed {
    /// Without colons.
    pub name: String,
    /// Closed in programs that this one starts.
    pub descriptor: OwnedFd,
}

/// What is passed to this process and not taken; `None`: nobody has looked.
static LEFT: Mutex<Option<Vec<Passed>>> = Mutex::new(None);

/// Takes what the manager passes to this process under names like that. The first call must be made before anything
/// closes descriptors that it has not opened.
pub fn take(wanted: impl Fn(&str) -> bool) -> Vec<Passed> {
    let mut left = LEFT.lock().unwrap_or_else(|broken| broken.into_inner());
    let left = left.get_or_insert_with(adopt);
    left.extract_if(.., |passed| wanted(&passed.name)).collect()
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn adopt() -> Vec<Passed> {
    let [process, count, names] = PASSED;
    if number(process) != Some(std::process::id()) {
        return Vec::new();
    }
    let names = std::env::var(names).unwrap_or_default();
    let last = FIRST.saturating_add(number::<u16>(count).unwrap_or(0).into());
    let passed = (FIRST..last).zip(names.split(':')).filter_map(|(descriptor, name)| {
        // SAFETY: only its flags are asked for, which fails if it is not open.
        let raw = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl(raw, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
        // SAFETY: it is open since this program began, whoever has started it gives it to us, and this runs once.
        Some(Passed { name: name.to_owned(), descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) } })
    });
    passed.collect()
}

/// How long the manager waits for a sign of life; `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    let others = number::<u32>(WATCHDOG_PID).is_some_and(|pid| pid != std::process::id());
    number(WATCHDOG).filter(|period| *period > 0 && !others).map(Duration::from_micros)
}

/// The way to the service manager of this process.
#[derive(Debug)]
pub struct Manager(UnixDatagram);

impl Manager {
    /// That of the environment; `None`: there is none.
    ///
    /// # Errors
    /// It is gone, or at an address of another kind.
    pub fn of_environment() -> io::Result<Option<Manager>> {
        let Some(address) = std::env::var_os(SOCKET) else { return Ok(None) };
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&address),
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address?)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Some(Manager(socket)))
    }

    /// Sends lines of the protocol, and maybe a descriptor.
    ///
    /// # Errors
    /// The manager is gone, or does not read.
    pub fn tell(&self, lines: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let raw = descriptor.map(|it| [it.as_raw_fd()]);
        let rights = raw.as_ref().map(|raw| ControlMessage::ScmRights(raw));
        let (flags, lines) = (MsgFlags::MSG_NOSIGNAL, [IoSlice::new(lines.as_bytes())]);
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &lines, rights.as_slice(), flags, None)?;
        Ok(())
    }
}

/// A manager's socket. It has no file: any process may send to it, and the kernel says which one it was.
#[derive(Debug)]
pub struct Inbox(UnixDatagram);

/// What a process tells its manager.
#[derive(Debug)]
pub struct Message {
    /// The process, by the kernel's word.
    pub from: Pid,
    /// Lines of the protocol.
    pub lines: String,
    /// The descriptors that came with them.
    pub descriptors: Vec<OwnedFd>,
}

impl Inbox {
    /// Opens a socket at an address that nobody else has.
    ///
    /// # Errors
    /// No descriptor or no memory.
    pub fn open() -> io::Result<Inbox> {
        let socket = UnixDatagram::unbound()?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        // The kernel chooses an abstract name.
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        Ok(Inbox(socket))
    }

    /// Its address, for [`SOCKET`].
    pub fn address(&self) -> String {
        let address = self.0.local_addr().ok();
        let name = address.as_ref().and_then(|address| address.as_abstract_name()).unwrap_or_default();
        format!("@{}", String::from_utf8_lossy(name))
    }

    /// Readable if there may be a message.
    pub fn socket(&self) -> &UnixDatagram {
        &self.0
    }

    /// The next message; `None`: there is none.
    pub fn receive(&self) -> Option<Message> {
        let mut text = [0; LARGEST];
        let mut control = nix::cmsg_space!(UnixCredentials, [RawFd; MOST]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let mut parts = [IoSliceMut::new(&mut text)];
        let received = recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
        let (mut from, mut descriptors) = (Pid::from_raw(0), Vec::new());
        // An error would be a control buffer that is too small, and it has room for all that a message can carry.
        for part in received.cmsgs().ok()? {
            match part {
                ControlMessageOwned::ScmCredentials(sender) => from = Pid::from_raw(sender.pid()),
                // SAFETY: the kernel has just opened each for this message, and each is in it once.
                ControlMessageOwned::ScmRights(all) => descriptors
                    .extend(all.into_iter().map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })),
                _ => {}
            }
        }
        let length = received.bytes;
        Some(Message { from, lines: String::from_utf8_lossy(text.get(..length)?).into_owned(), descriptors })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn a_message_tells_its_process_and_brings_descriptors() {
        let inbox = Inbox::open().unwrap();
        assert!(inbox.receive().is_none());
        let name = inbox.address().strip_prefix('@').unwrap().to_owned();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = Manager(socket);
        let mut text = File::from(memfd_create(c"text", MFdFlags::MFD_CLOEXEC).unwrap());
        text.write_all(b"hello").unwrap();
        manager.tell("FDSTORE=1\nFDNAME=text", Some(text.as_fd())).unwrap();
        manager.tell("READY=1", None).unwrap();
        let message = inbox.receive().unwrap();
        assert_eq!((message.from, message.lines.as_str()), (Pid::this(), "FDSTORE=1\nFDNAME=text"));
        let mut file = File::from(message.descriptors.into_iter().next().unwrap());
        let mut read = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, "hello");
        let message = inbox.receive().unwrap();
        assert_eq!((message.lines.as_str(), message.descriptors.len()), ("READY=1", 0));
        drop(inbox);
        assert!(manager.tell("WATCHDOG=1", None).is_err());
    }
}
