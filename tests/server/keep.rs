//! The keeper: the server dies in all kinds of ways, and is back with what it had.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::survive::{folder, hear_each_other, records, talk, written};
use crate::common::child::{B2b, PATIENCE};
use crate::server_support::phone::Phone;
use crate::server_support::{Server, configured, start_by, until};

/// A server with its keeper, whose process is that of `server`. Both are killed on drop.
pub struct Kept {
    pub server: Server,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Some tests have ended it already.
        let _ = kill(self.server.process.pid(), Signal::SIGKILL);
        if let Some(pid) = self.servers().pop() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

pub fn keeper(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["b2bua", "--keep", "--config"]).arg(folder.join("b2bua.toml"));
    command
}

fn kept(folder: tempfile::TempDir) -> Kept {
    Kept { server: start_by(&mut keeper(env!("CARGO_BIN_EXE_b2b"), folder.path()), folder) }
}

impl Kept {
    /// The processes of the server so far.
    pub fn servers(&self) -> Vec<Pid> {
        let lines = self.server.process.stderr();
        let pid = |line: &String| line.split("the server is process ").nth(1)?.parse().ok();
        lines.iter().filter_map(pid).map(Pid::from_raw).collect()
    }

    pub fn pid(&self) -> Pid {
        self.servers().pop().expect("a server")
    }

    /// Waits until the server is ready for this time.
    pub fn is_ready(&self, times: usize) {
        until("the next server", || {
            let lines = self.server.process.stdout();
            (lines.iter().filter(|line| line.starts_with("READY ")).count() >= times).then_some(())
        });
    }

    /// Waits for a line of the log.
    pub fn says(&self, text: &str) -> String {
        until(text, || self.server.process.stderr().into_iter().find(|line| line.contains(text)))
    }

    /// Kills the server while its keeper cannot see that.
    fn killed_unseen(&self) {
        self.server.process.signal(Signal::SIGSTOP);
        let pid = self.pid();
        kill(pid, Signal::SIGKILL).expect("the server");
        until("the end of the server", || {
            let stat =
                fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process without a parent's look");
            stat.rsplit_once(") Z ").map(drop)
        });
    }
}

pub fn options(from: SocketAddr, to: SocketAddr, transport: &str, call: &str) -> String {
    format!(
        "OPTIONS sip:b2b@{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {from};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@{from}>;tag=1\r\nTo: <sip:b2b@{to}>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// Sends OPTIONS once; what is returned waits for the answer.
pub fn asked(to: SocketAddr, call: &str) -> impl FnOnce() + use<> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let from = socket.local_addr().expect("an address");
    socket.send_to(options(from, to, "UDP", call).as_bytes(), to).expect("loopback");
    let call = call.to_owned();
    move || {
        let mut answer = [0; 2_048];
        let length = socket.recv(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("SIP/2.0 200") && answer.contains(&call), "{answer}");
    }
}

/// The same over a connection of its own.
fn asked_by_tcp(to: SocketAddr) -> impl FnOnce() {
    let mut stream = TcpStream::connect(to).expect("the backlog");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let from = stream.local_addr().expect("an address");
    stream.write_all(options(from, to, "TCP", "by-tcp").as_bytes()).expect("loopback");
    move || {
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"SIP/2.0 200");
    }
}

#[test]
fn what_is_sent_while_no_server_is_there_is_answered_by_the_next_one() {
    // Port 0: another socket would have another port.
    let kept = kept(configured(""));
    let to = kept.server.sip;
    for times in 2..4 {
        kept.killed_unseen();
        let (by_udp, by_tcp) = (asked(to, &format!("away-{times}")), asked_by_tcp(to));
        kept.server.process.signal(Signal::SIGCONT);
        by_udp();
        by_tcp();
        kept.is_ready(times);
    }
    assert!(kept.says("has died").contains("(SIGKILL, "));
}

#[test]
fn a_call_goes_on_under_the_keeper_when_the_server_dies_or_hangs() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let kept = kept(folder("127.0.84.1", &bob, ""));
    let talk = talk(&kept.server, &ann, &bob);
    hear_each_other(&ann, &bob, &talk);
    for (times, signal) in [(2, Signal::SIGABRT), (3, Signal::SIGSTOP), (4, Signal::SIGKILL)] {
        written(kept.server.folder.path(), 1, 2);
        kill(kept.pid(), signal).expect("the server");
        kept.is_ready(times);
        assert!(!ann.has_heard("BYE") && !bob.has_heard("BYE"));
        hear_each_other(&ann, &bob, &talk);
    }
    kept.says("does not respond");
    assert!(kept.says("has died").contains("(SIGABRT, "));
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&talk.of_ann);
    });
    let records = until("the records", || Some(records(&kept.server)).filter(|all| all.len() == 2));
    assert!(records.iter().all(|record| record["disposition"] == "ANSWERED"), "{records:?}");
}

#[test]
fn a_server_that_panics_is_started_again_and_again() {
    let folder = configured("");
    let mut command = keeper(env!("CARGO_BIN_EXE_b2b"), folder.path());
    let kept = Kept { server: start_by(command.env("B2B_PANIC", "calls"), folder) };
    let to = kept.server.sip;
    // The sixth one waits.
    for times in 2..8 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let from = socket.local_addr().expect("an address");
        let info = format!(
            "INFO sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKp\r\nMax-Forwards: 70\r\n\
             From: <sip:x@{from}>;tag=p\r\nTo: <sip:x@{to}>;tag=q\r\nCall-ID: p\r\nCSeq: 1 INFO\r\n\
             Content-Type: text/plain\r\nContent-Length: 5\r\n\r\npanic"
        );
        socket.send_to(info.as_bytes(), to).expect("loopback");
        kept.is_ready(times);
        asked(to, &format!("again-{times}"))();
    }
    assert!(kept.says("has died").contains("(a panic)"));
}

#[test]
fn a_replaced_executable_and_a_half_edited_configuration_end_no_call() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let folder = folder("127.0.84.2", &bob, "");
    let program = folder.path().join("b2b");
    if fs::hard_link(env!("CARGO_BIN_EXE_b2b"), &program).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_b2b"), &program).expect("a copy");
    }
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let mut command = keeper(program.to_str().expect("UTF-8"), folder.path());
    let kept = Kept { server: start_by(&mut command, folder) };
    let call = talk(&kept.server, &ann, &bob);
    // Their media is written by another thread.
    hear_each_other(&ann, &bob, &call);
    written(kept.server.folder.path(), 1, 2);
    fs::remove_file(&program).expect("the program");
    fs::write(&program, "another version").expect("the program");
    let half = format!("{text}[[route]]\nname = \"hal");
    fs::write(&path, &half).expect("a configuration");
    kill(kept.pid(), Signal::SIGKILL).expect("the server");
    kept.is_ready(2);
    kept.says("b2bua.toml differs since; reload to take it");
    hear_each_other(&ann, &bob, &call);

    // A reload takes the file, if it can; what it has taken is in force.
    kept.server.process.signal(Signal::SIGHUP);
    kept.says("the new configuration is refused");
    let other = "[[route]]\nname = \"to bob, too\"\ncalled = '3.*'\n";
    fs::write(&path, format!("{text}{other}to = \"{}\"\n", bob.uri())).expect("a configuration");
    kept.server.process.signal(Signal::SIGHUP);
    kept.says("changed: ");
    fs::write(&path, half).expect("a configuration");
    written(kept.server.folder.path(), 1, 2);
    kill(kept.pid(), Signal::SIGKILL).expect("the server");
    kept.is_ready(3);
    hear_each_other(&ann, &bob, &call);
    let cat = Phone::new("cat");
    cat.ask_for(kept.server.sip, "300");
    let (invite, peer) = bob.hear("INVITE");
    bob.refuse_to("486 Busy Here", &invite, peer);
    cat.hear("SIP/2.0 486");
}

#[test]
fn a_keeper_that_is_told_to_end_ends_its_server_and_has_its_exit_code() {
    let mut kept = kept(configured(""));
    kill(kept.pid(), Signal::SIGKILL).expect("the server");
    kept.is_ready(2);
    kept.server.process.signal(Signal::SIGTERM);
    kept.server.process.assert_exit(0);
    assert_eq!(kill(kept.pid(), None), Err(Errno::ESRCH));

    let folder = configured("[limits]\ncals = 1\n");
    let mut refused = B2b::start(&mut keeper(env!("CARGO_BIN_EXE_b2b"), folder.path()));
    refused.assert_exit(64);
    assert!(refused.output().contains("there is no `limits.cals`"), "{}", refused.output());
}

#[test]
fn a_stranger_at_the_socket_of_the_keeper_changes_nothing() {
    let kept = kept(configured(""));
    let environment = fs::read(format!("/proc/{}/environ", kept.pid())).expect("the server's environment");
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let address = environment.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET=@"));
    let address =
        std::os::unix::net::SocketAddr::from_abstract_name(address.expect("a socket")).expect("a name");
    let stranger = UnixDatagram::unbound().expect("a socket");
    stranger.connect_addr(&address).expect("the keeper's socket");
    let port = kept.server.sip.port();
    let names = ["config".to_owned(), "udp-127.0.0.1_0".to_owned(), format!("tcp-127.0.0.1_{port}")];
    for name in names {
        stranger.send(format!("FDSTOREREMOVE=1\nFDNAME={name}").as_bytes()).expect("the keeper reads");
    }
    stranger.send(b"STOPPING=1").expect("the keeper reads");
    stranger.send(&[0xff; 5_000]).expect("the keeper reads");
    kept.says(&format!("messages of process {}, which is not the server, are ignored", std::process::id()));
    fs::write(kept.server.folder.path().join("b2bua.toml"), "[serv").expect("a configuration");
    kept.killed_unseen();
    let answer = asked(kept.server.sip, "after-strangers");
    kept.server.process.signal(Signal::SIGCONT);
    answer();
    // It still knows a hang.
    kept.is_ready(2);
    kill(kept.pid(), Signal::SIGSTOP).expect("the server");
    kept.is_ready(3);
    let lines = kept.server.process.stderr();
    assert_eq!(lines.iter().filter(|line| line.contains("is not the server")).count(), 1);
}

#[test]
fn a_server_goes_on_when_its_keeper_is_killed() {
    let kept = kept(configured(""));
    kept.server.process.signal(Signal::SIGKILL);
    kept.says("nobody starts this server again");
    asked(kept.server.sip, "alone")();
    kill(kept.pid(), Signal::SIGTERM).expect("the server");
    kept.says("stopped: ");
}
