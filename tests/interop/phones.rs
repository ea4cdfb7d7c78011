//! docs/phones.md as a test: three of Debian's baresips register at the b2b of `plans/b2bua.toml` and call,
//! hold, resume and transfer. The audio they heard and the messages on the wire are checked.
//! `cargo test -- --ignored interop_phones`; needs `baresip` (Debian: baresip-core) and `tshark`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::interop::support::wire::{
    Capture, Rtp, Sip, assert_hidden, audio_address, heard, identity, seconds_of,
};
use crate::interop::support::{Running, bound, file, free_port, print_version, samples};
use nix::sys::signal::Signal;

/// The tone of each phone, in Hz (plans/phones).
const TONES: [(&str, f64); 3] = [("1001", 440.0), ("1002", 620.0), ("1003", 1_000.0)];

/// The server of `plans/b2bua.toml`, on free ports.
fn server(folder: &Path, media: &str) -> (Running, u16) {
    let plan = fs::read_to_string(file("plans/b2bua.toml")).expect("the plan");
    fs::create_dir_all(folder.join("plans")).expect("folder");
    fs::create_dir_all(folder.join("target")).expect("folder");
    let path = folder.join("plans/b2bua.toml");
    fs::write(&path, format!("{plan}\n[media]\n{media}\n")).expect("write");
    let bind = format!("127.0.0.1:{}", free_port());
    let path = path.to_str().expect("UTF-8");
    let (server, at) =
        Running::role("b2bua", &["--config", path, "--sip-bind", &bind, "--http-bind", "127.0.0.1:0"]);
    let at: SocketAddr = at.parse().expect("an address");
    (server, at.port())
}

/// The phone of `plans/phones`, registered at this server, on free ports.
fn phone(folder: &Path, name: &str, server: u16) -> (Running, SocketAddr) {
    let folder = folder.join(name);
    fs::create_dir(&folder).expect("folder");
    let read = |what: &str| fs::read_to_string(file("plans/phones").join(name).join(what)).expect(what);
    let (port, rtp) = (free_port(), free_port());
    let own = |line: &str| match line.split_whitespace().next() {
        Some("sip_listen") => format!("sip_listen 127.0.0.1:{port}\n"),
        Some("rtp_ports") => format!("rtp_ports {rtp}-{}\n", rtp + 10),
        Some("module_path") => format!("module_path {}\n", modules()),
        _ => format!("{line}\n"),
    };
    fs::write(folder.join("config"), read("config").lines().map(own).collect::<String>()).expect("config");
    let account = read("accounts").replace(":5060", &format!(":{server}"));
    fs::write(folder.join("accounts"), account).expect("accounts");
    fs::write(folder.join("contacts"), read("contacts")).expect("contacts");
    let mut command = Command::new("baresip");
    command.current_dir(&folder).env("HOME", &folder).args(["-f", ".", "-t", "90"]);
    let mut phone = Running::interactive(name, &mut command);
    phone.line("[1 binding]");
    (phone, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The folder of baresip's modules on Debian, with or without the architecture.
fn modules() -> &'static str {
    let folders = ["/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules"];
    let found = folders.into_iter().find(|folder| Path::new(folder).join("g711.so").exists());
    found.expect("baresip's modules; .ci/run installs them")
}

/// A phone's recording of the audio it heard.
fn dump(folder: &Path, name: &str) -> Vec<i16> {
    let entries = fs::read_dir(folder.join(name)).expect("folder");
    let mut paths = entries.map(|entry| entry.expect("entry").path());
    let found = paths.find(|path| path.to_string_lossy().ends_with("-dec.wav"));
    samples(&found.unwrap_or_else(|| panic!("{name} has heard nothing")))
}

/// Types a line that docs/phones.md documents.
fn type_as_documented(phone: &mut Running, text: &str) {
    let docs = fs::read_to_string(file("docs/phones.md")).expect("the documentation");
    assert!(docs.lines().any(|line| line.trim_start().starts_with(text)), "docs/phones.md has no {text}");
    phone.types(text);
}

/// The first matching message at or after this time.
fn find<'a>(messages: &'a [Sip], after: f64, what: &str, like: impl Fn(&Sip) -> bool) -> &'a Sip {
    let found = messages.iter().find(|it| it.at >= after && like(it));
    found.unwrap_or_else(|| {
        let lines: Vec<String> = messages
            .iter()
            .map(|it| format!("{:.3} {} -> {} {}", it.at, it.from, it.to, it.line()))
            .collect();
        panic!("no {what} in\n{}", lines.join("\n"))
    })
}

/// RTP ports outside the range of `free_port`: a server binds some of them at its start.
fn media_ports() -> (u16, u16) {
    let first = 20_000 + (std::process::id() % 150) as u16 * 64;
    (first, first + 63)
}

#[test]
#[ignore = "needs baresip and tshark; .ci/run installs them"]
fn interop_phones_register_call_hold_resume_and_transfer_as_the_docs_say() {
    let media = media_ports();
    talk(media, &format!("ports = \"{}-{}\"", media.0, media.1));
}

/// rtpengine in user space, on ports of this machine.
fn rtpengine(folder: &Path, ports: (u16, u16)) -> (Running, u16) {
    print_version("rtpengine", "--version", "Version");
    let port = free_port();
    let mut command = Command::new("rtpengine");
    command.current_dir(folder).args(["--config-file=none", "--table=-1", "--interface=127.0.0.1"]);
    command.args(["--foreground", "--log-stderr"]);
    command.arg(format!("--listen-ng=127.0.0.1:{port}"));
    command.args([format!("--port-min={}", ports.0), format!("--port-max={}", ports.1)]);
    let running = Running::start("rtpengine", &mut command);
    bound(port);
    (running, port)
}

#[test]
#[ignore = "needs rtpengine, baresip and tshark; .ci/run installs them"]
fn interop_phones_do_the_same_by_rtpengine() {
    let folder = tempfile::tempdir().expect("dir");
    let media = media_ports();
    let (rtpengine, port) = rtpengine(folder.path(), media);
    talk(media, &format!("controller = \"rtpengine://127.0.0.1:{port}\""));
    drop(rtpengine);
}

/// A b2b media server, on ports of this machine, and the line of `[media]` that names it.
fn media_server(scheme: &str, ports: (u16, u16)) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "media", "--listen", "127.0.0.1:0", "--rtp-ports"]);
    command.arg(format!("{}-{}", ports.0, ports.1));
    let mut running = Running::start("media", &mut command);
    let line = running.line("READY role=media");
    let at = line.split("listen=").nth(1).expect("an address");
    (running, format!("controller = \"{scheme}://{at}\""))
}

fn talk_by_a_media_server(scheme: &str) {
    let media = media_ports();
    let (server, line) = media_server(scheme, media);
    talk(media, &line);
    server.signal(Signal::SIGTERM);
    server.wait_ok();
}

#[test]
#[ignore = "needs baresip and tshark; .ci/run installs them"]
fn interop_phones_do_the_same_by_a_media_server_over_rest() {
    talk_by_a_media_server("http");
}

#[test]
#[ignore = "needs baresip and tshark; .ci/run installs them"]
fn interop_phones_do_the_same_by_a_media_server_over_grpc() {
    talk_by_a_media_server("grpc");
}

#[test]
#[ignore = "needs rtpengine; .ci/run installs it"]
fn interop_rtpengine_does_what_every_media_controller_must() {
    use b2b::server::controller::rtpengine::{Interfaces, RtpengineConfig, RtpengineController};
    let folder = tempfile::tempdir().expect("dir");
    let (rtpengine, port) = rtpengine(folder.path(), media_ports());
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let config = RtpengineConfig { server, interfaces: Interfaces::default(), lasts: false, seed: 7 };
    let (media, events) = RtpengineController::start(config).expect("it starts");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(crate::media_support::Carried::new(&media, events, folder.path()).suite());
    assert_eq!(media.endpoints(), 0);
    media.shutdown();
    drop(rtpengine);
}

#[test]
#[ignore = "needs rtpengine and baresip; .ci/run installs them"]
fn interop_calls_of_an_rtpengine_that_dies_are_ended_and_new_ones_refused() {
    let folder = tempfile::tempdir().expect("dir");
    let folder = folder.path();
    let (relay, ng) = rtpengine(folder, media_ports());
    let (server, port) = server(folder, &format!("controller = \"rtpengine://127.0.0.1:{ng}\""));
    let (mut alice, _) = phone(folder, "1001", port);
    let (mut bob, _) = phone(folder, "1002", port);
    alice.types("/dial 1002");
    alice.line("Call established");
    bob.line("Call established");
    relay.signal(Signal::SIGKILL);
    alice.line("session closed");
    bob.line("session closed");
    relay.wait();
    alice.types("/dial 1002");
    alice.line("session closed: 503");
    for phone in [&mut alice, &mut bob] {
        phone.types("/quit");
    }
    for phone in [alice, bob] {
        phone.wait_ok();
    }
    server.signal(Signal::SIGTERM);
    let ended = server.wait_ok();
    drop(ended);
}

/// The documented conversation, over a server with these lines of `[media]` and these RTP ports.
fn talk(media: (u16, u16), lines: &str) {
    print_version("baresip", "-h", "baresip v");
    let folder = tempfile::tempdir().expect("dir");
    let folder = folder.path();
    let (server, port) = server(folder, lines);
    let capture = Capture::start(folder, &format!("port {port} or udp portrange {}-{}", media.0, media.1));
    let (mut alice, alice_at) = phone(folder, "1001", port);
    let (mut bob, bob_at) = phone(folder, "1002", port);
    let (mut carol, carol_at) = phone(folder, "1003", port);

    type_as_documented(&mut alice, "/dial 1002");
    alice.line("Call established");
    bob.line("Call established");
    thread::sleep(Duration::from_secs(4));
    type_as_documented(&mut alice, "/hold");
    thread::sleep(Duration::from_secs(3));
    type_as_documented(&mut alice, "/resume");
    thread::sleep(Duration::from_secs(3));
    type_as_documented(&mut alice, "/transfer 1003");
    carol.line("Call established");
    alice.line("terminated");
    thread::sleep(Duration::from_secs(4));
    type_as_documented(&mut bob, "/hangup");
    carol.line("terminated");
    for phone in [&mut alice, &mut bob, &mut carol] {
        type_as_documented(phone, "/quit");
    }
    for phone in [alice, bob, carol] {
        phone.wait_ok();
    }
    let wire = capture.end();
    server.signal(Signal::SIGTERM);
    server.wait_ok();

    // Registered with passwords, and unregistered at the end.
    let [a, b, c] = [alice_at, bob_at, carol_at].map(|at| wire.sip(at.port()));
    for leg in [&a, &b, &c] {
        let asked = find(leg, 0.0, "challenge", |it| it.is_response(401, "REGISTER"));
        assert_eq!(asked.fields("WWW-Authenticate").count(), 1, "{}", asked.text);
        let signed = |it: &Sip| it.is_request("REGISTER") && it.field("Authorization").is_some();
        let signed = find(leg, asked.at, "REGISTER with a password", signed);
        find(leg, signed.at, "registration", |it| it.is_response(200, "REGISTER"));
        let gone = |it: &Sip| it.is_request("REGISTER") && it.text.contains("expires=0");
        find(leg, signed.at, "deregistration", gone);
    }

    // The call, which is challenged separately.
    let signed = |it: &Sip| it.is_request("INVITE") && it.field("Proxy-Authorization").is_some();
    let call = find(&a, 0.0, "INVITE with a password", signed);
    let up = find(&a, call.at, "answer", |it| it.is_response(200, "INVITE"));
    let rung = find(&b, 0.0, "INVITE", |it| it.is_request("INVITE"));
    let answer = find(&b, rung.at, "answer", |it| it.is_response(200, "INVITE"));
    let to_alice = wire.rtp_to(audio_address(call.body()).expect("a session"));
    let to_bob = wire.rtp_to(audio_address(answer.body()).expect("a session"));

    // Hold and resume.
    let hold = |it: &Sip| it.is_request("INVITE") && it.body().contains("a=sendonly");
    let hold = find(&a, up.at, "hold", hold);
    let held = find(&a, hold.at, "answer to hold", |it| it.is_response(200, "INVITE"));
    assert!(held.body().contains("a=recvonly"), "{}", held.text);
    let resume = find(&a, held.at, "resumption", |it| it.is_request("INVITE"));
    assert!(resume.body().contains("a=sendrecv"), "{}", resume.text);
    let resumed = find(&a, resume.at, "answer to resumption", |it| it.is_response(200, "INVITE"));
    assert!(resumed.body().contains("a=sendrecv"), "{}", resumed.text);
    let still = to_alice.iter().filter(|it| (held.at + 0.2..resume.at).contains(&it.at)).count();
    assert_eq!(still, 0, "packets to a phone that holds");

    // The blind transfer.
    let refer = find(&a, resumed.at, "REFER", |it| it.is_request("REFER"));
    assert!(refer.field("Refer-To").is_some_and(|to| to.contains("sip:1003@")), "{}", refer.text);
    find(&a, refer.at, "202", |it| it.is_response(202, "REFER"));
    let told: Vec<&Sip> = a.iter().filter(|it| it.is_request("NOTIFY") && it.at > refer.at).collect();
    for notify in &told {
        assert_eq!(notify.field("Event").map(|it| it.starts_with("refer")), Some(true), "{}", notify.text);
        assert!(notify.field("Content-Type").is_some_and(|it| it.starts_with("message/sipfrag")));
        assert!(notify.body().starts_with("SIP/2.0 "), "{}", notify.text);
    }
    let last = told.last().expect("NOTIFY");
    assert!(last.body().starts_with("SIP/2.0 200 "), "{}", last.text);
    assert!(last.field("Subscription-State").is_some_and(|it| it.starts_with("terminated")));
    let third = find(&c, refer.at, "INVITE to the third phone", |it| it.is_request("INVITE"));
    let there = find(&c, third.at, "its answer", |it| it.is_response(200, "INVITE"));
    let to_carol = wire.rtp_to(audio_address(there.body()).expect("a session"));
    let gone = find(&a, there.at, "BYE of who transferred", |it| it.is_request("BYE"));
    let over = find(&b, gone.at, "BYE at the end", |it| it.is_request("BYE"));
    find(&c, over.at, "BYE to the third phone", |it| it.is_request("BYE"));

    // Audio both ways, in each phase.
    let [alice_says, bob_says, carol_says] = TONES.map(|(_, tone)| tone);
    let both = |what: &str, from: f64, to: f64, ways: [(&[Rtp], f64, &[f64]); 2]| {
        for (packets, tone, others) in ways {
            let heard = heard(packets, from, to);
            let wanted = (to - from) * 0.6;
            let found = seconds_of(tone, &heard);
            assert!(found >= wanted, "{what}: {found} s of {tone} Hz, not {wanted}");
            for other in others {
                assert_eq!(seconds_of(*other, &heard), 0.0, "{what}: {other} Hz");
            }
        }
    };
    let ways = [(to_alice.as_slice(), bob_says, &[carol_says][..]), (&to_bob, alice_says, &[carol_says])];
    both("before the hold", up.at + 0.5, hold.at, ways);
    both("after it", resumed.at + 0.5, refer.at, ways);
    let ways = [(to_carol.as_slice(), bob_says, &[alice_says][..]), (&to_bob, carol_says, &[alice_says])];
    both("after the transfer", gone.at + 0.5, over.at, ways);
    // The same from the phones' recordings. A phone's player has its own clock.
    for (name, tone, least) in [
        ("1001", bob_says, 2.0),
        ("1002", alice_says, 3.0),
        ("1002", carol_says, 2.0),
        ("1003", bob_says, 2.0),
    ] {
        let found = seconds_of(tone, &dump(folder, name));
        assert!(found >= least, "{name} wrote {found} s of {tone} Hz");
    }

    // No identity of one leg shows on another, including hold and transfer.
    let legs = [(&a, alice_at), (&b, bob_at), (&c, carol_at)];
    for (leg, at) in legs {
        let words = identity(leg, at);
        for (other, party) in legs.into_iter().filter(|(_, other)| *other != at) {
            assert_hidden(&words, other, party);
        }
    }
}
