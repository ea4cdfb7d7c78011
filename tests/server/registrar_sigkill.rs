//! A registrar that is killed while working, and its successor: every response that was sent holds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::pending::PendingReplies;
use b2b::server::registrar::{Aor, AorPolicy, Outcome, Registrar, RegistrarConfig, Sender, SqliteStore};
use b2b::sip::endpoint::{Flow, FlowId, Transport};
use b2b::sip::msg::{Limits, Message, Request};
use bytes::Bytes;

const DATABASE: &str = "B2B_TEST_REGISTRATIONS";
const USERS: u32 = 200;
/// Users below this refresh forever, the others register and leave.
const STAY: u32 = 100;

struct Everybody;

impl AorPolicy for Everybody {
    fn serves(&self, _: &str) -> bool {
        true
    }

    fn canonical(&self, aor: &Aor) -> Option<Aor> {
        Some(aor.clone())
    }

    fn may_register(&self, _: Option<&str>, _: &Aor) -> bool {
        true
    }
}

fn register(user: u32, cseq: u32, expires: u32) -> Request {
    let text = format!(
        "REGISTER sip:b2b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{user}x{cseq}\r\n\
         From: <sip:{user}@b2b>;tag=1\r\nTo: <sip:{user}@b2b>\r\nCall-ID: {user}\r\nCSeq: {cseq} REGISTER\r\n\
         Max-Forwards: 70\r\nContact: <sip:{user}@192.0.2.1>;expires={expires}\r\n\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn flow() -> Flow {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Flow {
        transport: Transport::Udp,
        local: address("192.0.2.2:5060"),
        remote: address("192.0.2.1:5060"),
        id: FlowId(1),
    }
}

fn open(path: &Path) -> Registrar {
    let store = SqliteStore::open(path).expect("the database opens");
    Registrar::new(RegistrarConfig::default(), Box::new(store), Instant::now())
}

/// Registers users and prints the responses, until it is killed.
#[test]
#[ignore = "the process that the test below kills"]
fn the_registrar_that_is_killed() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let mut registrar = open(Path::new(&path));
    let mut pending = PendingReplies::default();
    let mut out = std::io::stdout();
    for turn in 0u32.. {
        let (user, cseq) = (turn % USERS, turn / USERS + 1);
        let expires = match (user < STAY, cseq) {
            (true, _) | (false, 1) => 3_600,
            (false, 2) => 0,
            (false, _) => continue,
        };
        let request = register(user, cseq, expires);
        let flow = flow();
        let sender =
            Sender { flow: &flow, source: flow.remote, user: None, challenged: false, is_open: &|_| true };
        let reply = registrar.handle(Instant::now(), &request, sender, &Everybody);
        assert_eq!(reply.reply.status, 200);
        pending.push(reply.commit, (user, cseq, expires));
        while pending.len() > 50 {
            let Some((outcome, (user, cseq, expires))) = pending.pop(registrar.store()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            assert_eq!(outcome, Outcome::Kept);
            // Cut off by the kill, or refused by a closed pipe: then no response was reported.
            let _ = out.write_all(format!("KEPT {user} {cseq} {expires}\n").as_bytes());
        }
        while registrar.poll_event().is_some() {}
    }
}

#[test]
fn a_killed_registrar_had_told_nobody_what_the_next_one_does_not_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("registrations.db");
    let mut first_cseq = HashMap::new();
    for round in 1..=2 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "server::registrar_sigkill::the_registrar_that_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DATABASE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let mut told: HashMap<u32, (u32, u32)> = HashMap::new();
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        // In the second round all requests are out of order at first, since the Call-IDs are the same: that
        // child ends by itself, without changes.
        for line in lines.map_while(Result::ok) {
            let mut words = line.strip_prefix("KEPT ").unwrap_or_default().split(' ');
            let mut word = || words.next().and_then(|word| word.parse::<u32>().ok());
            if let (Some(user), Some(cseq), Some(expires)) = (word(), word(), word()) {
                told.insert(user, (cseq, expires));
            }
            if told.get(&0).is_some_and(|(cseq, _)| *cseq >= 20) {
                break;
            }
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
        if round == 2 {
            assert!(told.is_empty(), "the second registrar knew what the first had served");
        } else {
            assert_eq!(told.len(), USERS as usize);
            first_cseq = told;
        }
        let registrar = open(&path);
        for (user, (cseq, expires)) in &first_cseq {
            let aor = Aor::new(&user.to_string(), "b2b").expect("an address");
            let found = registrar.lookup(Instant::now(), &aor);
            match expires {
                0 => assert_eq!(found.len(), 0, "{user} has left"),
                _ if *user >= STAY => {} // may have left without a reported response
                _ => {
                    assert_eq!(found.len(), 1, "{user} is served at once");
                    assert!(found[0].cseq >= *cseq, "{user} at least as it was answered");
                    assert_eq!(found[0].contact_str(), format!("sip:{user}@192.0.2.1"));
                }
            }
        }
    }
}
