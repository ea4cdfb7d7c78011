//! The load role as many users of a server: with digest authentication, over TLS with SRTP.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::{B2b, b2b};
use crate::server_support::phone::{Phone, field};
use crate::server_support::{Server, start};
use b2b_test_support::tls::Authority;

/// Number of users on each side.
const USERS: u32 = 6;

/// A server without trusted peers, whose users are 1001… and 2001…, with these lines appended.
fn server(lines: &str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("server", &["localhost", "127.0.0.1"]);
    let users: String = (1..=USERS)
        .flat_map(|n| [1000 + n, 2000 + n])
        .map(|name| format!("[[user]]\nname = \"{name}\"\npassword = \"secret-of-{name}\"\n"))
        .collect();
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]\nstore = \"memory\"\n\
         domains = [\"b2b.example\"]\ndrain_s = 2\n[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n[media]\nsrtp = \"offered\"\n{users}{lines}"
    );
    fs::write(folder.path().join("b2bua.toml"), config).unwrap();
    start(folder)
}

/// A file of users whose names begin at 1001 or 2001, each with a number of the other side.
fn users(folder: &Path, name: &str, first: u32, wrong: bool) {
    let lines = (1..=USERS).map(|n| {
        let (user, number) = (first + n, if first == 1000 { 2000 + n } else { 1000 + n });
        let word = if wrong { "wrong" } else { "secret" };
        format!("{user},{word}-of-{user},{number}\n")
    });
    let text: String =
        ["# of the test\nuser,password,number\n".to_owned()].into_iter().chain(lines).collect();
    fs::write(folder.join(name), text).unwrap();
}

/// Runs callers by a plan in this folder to their end; returns the exit code and load.json.
fn run(folder: &Path, plan: &str) -> (i32, Value) {
    let mut callers = load(folder, "callers.toml", plan);
    let code = callers.wait().code().unwrap();
    let text = fs::read_to_string(folder.join("callers.toml.report/load.json"));
    (code, text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()))
}

fn load(folder: &Path, name: &str, plan: &str) -> B2b {
    let path = folder.join(name);
    fs::write(&path, plan).unwrap();
    let report = folder.join(format!("{name}.report"));
    b2b(&["--role", "load", "--plan", path.to_str().unwrap(), "--report", report.to_str().unwrap()])
}

#[test]
fn callers_are_users_in_turn_over_tls_with_srtp() {
    let mut callees = b2b(&[
        "--role",
        "load",
        "--sip-bind",
        "127.0.0.1:0",
        "--callee",
        "answer; say 440; hears 600; hung up",
    ]);
    let route = format!("[[route]]\nto = \"sip:1@{}\"\n", callees.ready());
    let mut server = server(&route);
    let tls = server.process.wait_for_line("listening: tls ");
    let tls = tls.rsplit(' ').next().unwrap();
    let folder = TempDir::new().unwrap();
    users(folder.path(), "users.csv", 1000, false);
    let plan = |srtp: &str, users: &str| {
        format!(
            "[load]\ntarget = \"sip:1@{tls}\"\nsip_bind = \"127.0.0.1:0\"\ncalls = 12\ntransport = \"tls\"\n\
             ca_file = \"{}\"\ndomain = \"b2b.example\"\n{srtp}[[stage]]\nrate = 20\n\
             [caller]\n{users}steps = [\"header X-Call: {{n}}\", \"dial 9{{n}}\", \"say 600\", \"hears 440\", \"hang up\"]\n",
            server.folder.path().join("ca.pem").display()
        )
    };
    let (_, good) = run(folder.path(), &plan("srtp = \"required\"\n", "users = \"users.csv\"\n"));
    assert_eq!(good["callers"]["done"], 12, "{good:#}");
    // callers without credentials, and with a wrong password, fail the challenge
    let (_, nobody) = run(folder.path(), &plan("", ""));
    assert_eq!(
        (&nobody["callers"]["done"], &nobody["callers"]["failed"]),
        (&0.into(), &12.into()),
        "{nobody:#}"
    );
    users(folder.path(), "wrong.csv", 1000, true);
    let (_, wrong) = run(folder.path(), &plan("", "users = \"wrong.csv\"\n"));
    assert_eq!(wrong["callers"]["done"], 0, "{wrong:#}");
}

#[test]
fn callees_are_registered_at_several_addresses_and_callers_call_from_several() {
    let server = server("[[route]]\ncalled = \".*\"\nto = \"user/$0\"\n");
    let folder = TempDir::new().unwrap();
    users(folder.path(), "callers.csv", 1000, false);
    users(folder.path(), "callees.csv", 2000, false);
    let callees = format!(
        "[load]\naddresses = [\"127.0.0.2\", \"127.0.0.3\"]\ndomain = \"b2b.example\"\n\
         [callee]\nusers = \"callees.csv\"\nregistrar = \"sip:{}\"\nregister_per_s = 50\n\
         steps = [\"ring\", \"answer\", \"say 440\", \"hears 600\", \"hung up\"]\n",
        server.sip
    );
    let mut callees = load(folder.path(), "callees.toml", &callees);
    let ready = callees.wait_for_line("READY role=load");
    assert!(ready.contains("sip=127.0.0.2:") && ready.contains("sip=127.0.0.3:"), "{ready}");
    // before any call
    let registered = server.get("/registrations").json().to_string();
    for n in 1..=USERS {
        assert!(registered.contains(&format!("{}@", 2000 + n)), "{registered}");
    }
    let callers = format!(
        "[load]\ntarget = \"sip:1@{}\"\naddresses = [\"127.0.0.4\", \"127.0.0.5\"]\ncalls = 12\n\
         domain = \"b2b.example\"\n[[stage]]\nrate = 20\n[caller]\nusers = \"callers.csv\"\n\
         steps = [\"dial {{number}}\", \"say 600\", \"hears 440\", \"wait 2\", \"hang up\"]\n",
        server.sip
    );
    let (_, run) = run(folder.path(), &callers);
    assert_eq!(run["callers"]["done"], 12, "{run:#}");
    callees.signal(Signal::SIGTERM);
    callees.wait();
    let text = fs::read_to_string(folder.path().join("callees.toml.report/load.json")).unwrap();
    let heard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&heard["callees"]["begun"], &heard["callees"]["done"]),
        (&12.into(), &12.into()),
        "{heard:#}"
    );
    assert_eq!(heard["registrations"]["registered"], USERS, "{heard:#}");
    let left = server.get("/registrations").json().to_string();
    assert!(!left.contains("2001@"), "{left}");
}

#[test]
fn a_load_whose_callees_are_not_registered_does_not_begin_and_says_how_many() {
    let server = server("");
    let folder = TempDir::new().unwrap();
    users(folder.path(), "callees.csv", 2000, true);
    let plan = format!(
        "[load]\nsip_bind = \"127.0.0.1:0\"\ndomain = \"b2b.example\"\n\
         [callee]\nusers = \"callees.csv\"\nregistrar = \"sip:{}\"\nsteps = [\"answer\", \"hung up\"]\n",
        server.sip
    );
    let mut callees = load(folder.path(), "callees.toml", &plan);
    callees.assert_exit(65);
    let said = callees.output();
    assert!(said.contains("6 of 6 users of [callee] are not registered (6 times"), "{said}");
    assert!(!said.contains("READY"), "{said}");
    // Test services read the reason in junit.xml.
    let junit = fs::read_to_string(folder.path().join("callees.toml.report/junit.xml")).unwrap();
    assert!(junit.contains("errors=\"1\"") && junit.contains("are not registered"), "{junit}");
}

#[test]
fn users_are_registered_no_faster_than_asked_for_and_again_before_they_lapse() {
    let registrar = Phone::at("registrar", [Ipv4Addr::new(127, 0, 0, 6); 3]);
    let folder = TempDir::new().unwrap();
    users(folder.path(), "callees.csv", 2000, false);
    let at = registrar.uri().split_once('@').unwrap().1.to_owned();
    let plan = format!(
        "[load]\nsip_bind = \"127.0.0.1:0\"\n\
         [callee]\nusers = \"callees.csv\"\nregistrar = \"sip:{at}\"\nregister_per_s = 10\n\
         steps = [\"answer\", \"hung up\"]\n"
    );
    let _callees = load(folder.path(), "callees.toml", &plan);
    let mut times = Vec::new();
    let mut of_first = Vec::new();
    for _ in 0..2 * USERS {
        let (register, peer) = registrar.hear("REGISTER");
        times.push(Instant::now());
        let to = field(&register, "To");
        of_first.extend(to.contains("sip:2001@").then(|| field(&register, "Call-ID")));
        assert!(field(&register, "Contact").contains(&to[5..9]), "{register}");
        registrar.grant_for(10, &register, peer, "");
    }
    // five gaps of 100 ms, of which up to 50 ms may be caught up
    assert!(times[5] - times[0] >= Duration::from_millis(400), "{times:?}");
    // refreshes are due after half of ten seconds, at the earliest at nine tenths of that
    assert!(times[6] - times[0] >= Duration::from_millis(4_400), "{times:?}");
    assert!(of_first.len() == 2 && of_first[0] == of_first[1], "{of_first:?}");
}

#[test]
fn a_file_of_users_that_is_wrong_says_its_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("users.csv"), "user,password\n1001,x\n1002\n").unwrap();
    let plan = "[load]\ntarget = \"sip:1@127.0.0.1:5060\"\n[caller]\nusers = \"users.csv\"\n";
    let mut callers = load(folder.path(), "load.toml", plan);
    callers.assert_exit(64);
    assert!(callers.output().contains("users.csv:3: 1 values for 2 columns"), "{}", callers.output());
}
