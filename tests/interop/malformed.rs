//! Hostile messages at the port of a sink that is in a call: the call is not affected.
//! `cargo test -- --ignored interop`.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::interop::support::{Running, assert_arrived, file, samples, signal, write_wav};

/// Additional messages: cases that RFC 4475 lacks, and that broke other implementations.
fn messages(at: SocketAddr) -> Vec<Vec<u8>> {
    let request = |method: &str, rest: &str| {
        format!(
            "{method} sip:sink@{at} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKm\r\n\
             From: <sip:m@127.0.0.1>;tag=m\r\nTo: <sip:sink@{at}>\r\n{rest}"
        )
        .into_bytes()
    };
    let call = "Call-ID: m@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";
    let mut all: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\r\n".to_vec(),
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"SIP/2.0\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"SIP/2.0 99999999999 X\r\n\r\n".to_vec(),
        b"INVITE\r\n\r\n".to_vec(),
        b"INVITE sip:sink SIP/2.0".to_vec(),
        vec![0xff; 1_400],
        vec![b'A'; 60_000],
        request("OPTIONS", &format!("{call}Content-Length: 18446744073709551615\r\n\r\n")),
        request("OPTIONS", &format!("{call}Content-Length: -1\r\n\r\n")),
        request("OPTIONS", &format!("{call}Content-Length: 4\r\nContent-Length: 9\r\n\r\nbody")),
        request(
            "INVITE",
            "Call-ID: n@m\r\nCSeq: 1 INVITE\r\nContact: <sip:m@127.0.0.1:9>\r\n\r\nv=0\r\nm=audio",
        ),
        request("INVITE", "Call-ID: o@m\r\nCSeq: 4294967296 INVITE\r\n\r\n"),
        request("BYE", "Call-ID: p@m\r\nCSeq: 2 BYE\r\n\r\n"),
        request("ACK", "Call-ID: q@m\r\nCSeq: 2 ACK\r\n\r\n"),
        request("CANCEL", "Call-ID: r@m\r\nCSeq: 2 CANCEL\r\n\r\n"),
        request("PRINT", "Call-ID: s@m\r\nCSeq: 2 PRINT\r\n\r\n"),
        request("OPTIONS", &format!("{call}{}\r\n", "X: y\r\n".repeat(5_000))),
        request("OPTIONS", &format!("{call}Subject: {}\r\n\r\n", "(".repeat(20_000))),
        [request("OPTIONS", call), b"Subject: \xff\xfe\x1b[31m\0\r\n\r\n".to_vec()].concat(),
    ];
    // The torture messages, if they are stored next to the project.
    let folder = std::env::var_os("B2B_RFC4475").map_or(file("../shared/rfc4475"), PathBuf::from);
    if let Ok(entries) = fs::read_dir(folder) {
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        let torture = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "dat"));
        all.extend(torture.map(|path| fs::read(path).expect("message")));
    }
    println!("{} messages", all.len());
    all
}

#[test]
#[ignore = "takes ten seconds and much traffic; run by .ci/run"]
fn interop_malformed_messages_leave_a_call_unharmed() {
    let folder = tempfile::tempdir().expect("dir");
    let (voice, heard) = (folder.path().join("voice.wav"), folder.path().join("heard.wav"));
    let said = signal(10);
    write_wav(&voice, &said);
    let (sink, at) = Running::role("sink", &["--output", "null", "--wav", heard.to_str().expect("UTF-8")]);
    let at: SocketAddr = at.parse().expect("an address");
    let target = format!("sip:sink@{at}");
    let (source, _) =
        Running::role("source", &["--target", &target, "--audio-file", voice.to_str().expect("UTF-8")]);
    thread::sleep(Duration::from_secs(1));
    let messages = messages(at);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for message in &messages {
        let _ = socket.send_to(message, at);
        // Spread over the call, and below the rate of a flood.
        thread::sleep(Duration::from_millis(40));
    }
    for message in &messages {
        if let Ok(mut stream) = TcpStream::connect_timeout(&at, Duration::from_secs(2)) {
            let _ = stream.write_all(message);
            thread::sleep(Duration::from_millis(20));
        }
    }
    // Half a message and silence, on a connection that stays open.
    let mut stuck = TcpStream::connect_timeout(&at, Duration::from_secs(2)).expect("connects");
    stuck.write_all(b"INVITE sip:sink").expect("writes");
    assert_answers(at);

    let sent = source.wait_ok().metrics();
    let received = sink.wait_ok().metrics();
    drop(stuck.read(&mut [0; 100]));
    assert_eq!(received["rtp_loss"], 0);
    // Packets sent while BYE is in transit may not be counted: half a second on a busy machine.
    let (sent, received) = (sent["packets_tx"].as_u64(), received["packets_rx"].as_u64());
    let (sent, received) = (sent.expect("a count"), received.expect("a count"));
    assert!(sent >= 500 && (sent - 25..=sent).contains(&received), "{sent} sent, {received} received");
    // A stall of the machine shifts the audio by its length, and costs up to a fifth of it; a message that
    // ended or stopped the call would cost the rest.
    assert_arrived(&said, &samples(&heard), 0.6);
}

/// The port still answers.
fn assert_answers(at: SocketAddr) {
    let probe = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    probe.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    let own = probe.local_addr().expect("address");
    let options = format!(
        "OPTIONS sip:sink@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKprobe;rport\r\n\
         From: <sip:p@{own}>;tag=p\r\nTo: <sip:sink@{at}>\r\nCall-ID: probe@{own}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    probe.send_to(options.as_bytes(), at).expect("sends");
    let mut answer = [0; 2_000];
    let length = probe.recv(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200"), "{}", String::from_utf8_lossy(&answer[..length]));
}

#[test]
#[ignore = "takes ten seconds and much traffic; run by .ci/run"]
fn interop_malformed_messages_leave_the_server_without_a_call_and_in_order() {
    let folder = tempfile::tempdir().expect("dir");
    let config = folder.path().join("b2bua.toml");
    let port = crate::interop::support::free_port();
    // Messages that are valid INVITEs lead to a callee that does not exist.
    let text = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:{port}\", \"tcp:127.0.0.1:{port}\"]\nstore = \"memory\"\n\
         trusted = [\"127.0.0.0/8\"]\ndrain_s = 2\n[http]\nlisten = \"off\"\n\
         [[user]]\nname = \"1001\"\npassword = \"x\"\n[[route]]\nto = \"sip:nobody@127.0.0.1:9\"\n"
    );
    fs::write(&config, text).expect("write");
    let (server, at) = Running::role("b2bua", &["--config", config.to_str().expect("UTF-8")]);
    let at: SocketAddr = at.parse().expect("an address");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for message in messages(at) {
        let _ = socket.send_to(&message, at);
        if let Ok(mut stream) = TcpStream::connect_timeout(&at, Duration::from_secs(2)) {
            let _ = stream.write_all(&message);
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_answers(at);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = server.wait_ok();
    assert!(!ended.log.contains("panic"), "{}", ended.log);
    assert!(ended.log.contains("left: 0 calls, 0 legs"), "{}", ended.log);
}
