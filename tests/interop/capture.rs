//! Captured calls, dissected by tshark: the output of the capture writer for every transport, and the files
//! of the server: every message is SIP, every checksum is right, RTP is recognised although only its header
//! was kept. `cargo test -- --ignored interop_capture`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use crate::server_support::captured::Lab;
use b2b::call::capture::Capture;
use b2b::sip::msg::Transport;
use serde_json::json;

fn invite(via: &str, body: &str) -> Vec<u8> {
    format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/{via} 192.0.2.1;branch=z9hG4bKa\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@192.0.2.1>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\n\
         Call-ID: a@b2b\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ringing(via: &str) -> Vec<u8> {
    format!(
        "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/{via} 192.0.2.1;branch=z9hG4bKa\r\n\
         From: <sip:alice@192.0.2.1>;tag=1\r\nTo: <sip:bob@192.0.2.2>;tag=2\r\nCall-ID: a@b2b\r\n\
         CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&[1, 2, 3, 4]);
    packet.resize(172, 0xff);
    packet
}

fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields", "-E", "separator=,"]);
    command.args(["-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.try_heuristic_first:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs tshark; run by .ci/run"]
fn interop_capture_is_dissected_by_tshark() {
    let address = |text: &str| text.parse::<SocketAddr>().expect("address");
    let at = |ms| UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms);
    let mut capture = Capture::new(1_000_000);
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
    let ways = [
        (Transport::Udp, "UDP", "192.0.2.1:5060", "192.0.2.2:5060"),
        (Transport::Tcp, "TCP", "192.0.2.1:5060", "192.0.2.2:40123"),
        (Transport::Tls, "TLS", "[2001:db8::1]:5061", "[2001:db8::2]:40124"),
        (Transport::Udp, "UDP", "[2001:db8::1]:5060", "[2001:db8::2]:5080"),
    ];
    for (transport, via, ours, theirs) in ways {
        let (ours, theirs) = (address(ours), address(theirs));
        capture.sip(at(0), transport, ours, theirs, &invite(via, sdp));
        capture.sip(at(1), transport, theirs, ours, &ringing(via));
        capture.sip(at(2), transport, theirs, ours, &ringing(via));
    }
    for n in 0..10 {
        let to = address("192.0.2.1:4000"); // as the session description says
        capture.rtp(at(10 + u64::from(n) * 20), address("192.0.2.2:4002"), to, &rtp(n)[..12], 172);
    }

    let v6 = (address("[2001:db8::2]:4002"), address("[2001:db8::1]:4000"));
    capture.rtp(at(300), v6.0, v6.1, &rtp(0)[..12], 172);

    let folder = tempfile::tempdir().expect("dir");
    let file = folder.path().join("call.pcap");
    std::fs::write(&file, capture.to_pcap()).expect("written");

    let all = tshark(&file, "frame", &["frame.number"]);
    assert_eq!(all.len(), 3 * ways.len() + 10 + 1);
    let sip = tshark(&file, "sip", &["sip.Method", "sip.Status-Code", "sip.Call-ID"]);
    let call = ["INVITE,,a@b2b", ",180,a@b2b", ",180,a@b2b"];
    assert_eq!(sip, call.repeat(ways.len()));
    let rtp = tshark(&file, "rtp", &["rtp.seq", "rtp.p_type", "frame.len", "frame.cap_len"]);
    assert_eq!(rtp.len(), 10, "{rtp:?}");
    assert_eq!(rtp[9], "9,0,200,40");
    let wrong = "_ws.malformed || _ws.expert.severity >= 0x600000 || udp.checksum.bad || tcp.checksum.bad || ip.checksum.bad || \
        tcp.analysis.lost_segment || tcp.analysis.out_of_order || tcp.analysis.retransmission";
    let wrong = wrong.replace(".checksum.bad", ".checksum.status == \"Bad\"");
    assert_eq!(tshark(&file, &wrong, &["frame.number"]), [""; 0]);
}

/// The output of tshark.
fn output(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    // What SIP looks like decides: a port chosen by the system may be that of another protocol.
    command.args(["-o", "udp.try_heuristic_first:TRUE"]);
    let output = command.args(arguments).output().expect("tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs tshark; run by .ci/run"]
fn interop_capture_of_the_server_has_dialogs_and_streams_without_loss() {
    for media in ["whole", "headers"] {
        let lab = Lab::new();
        assert_eq!(lab.capture(&json!({ "media": media })), 202);
        lab.talk(200);
        lab.with_media(800);
        lab.end();
        lab.last_words();
        let file = lab.server.folder.path().join("call.pcap");
        std::fs::write(&file, lab.server.get(&format!("{}/pcap", lab.path)).body).expect("written");

        let requests = output(&file, &["-Y", "sip.Method", "-T", "fields", "-e", "sip.Method"]);
        let requests: Vec<&str> = requests.lines().collect();
        for method in ["INVITE", "ACK", "BYE"] {
            assert_eq!(requests.iter().filter(|it| **it == method).count(), 2, "{method}: {requests:?}");
        }
        let calls = output(&file, &["-Y", "sip", "-T", "fields", "-e", "sip.Call-ID"]);
        let calls: BTreeSet<&str> = calls.lines().collect();
        assert_eq!(calls.len(), 2, "each leg has its own");

        // tshark finds the streams by the descriptions: no decoding is forced.
        let streams = output(&file, &["-q", "-z", "rtp,streams"]);
        let found: Vec<Vec<&str>> = streams
            .lines()
            .filter(|line| line.contains("127.0.0.1"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(found.len(), 4, "{streams}");
        let ports: BTreeSet<&str> = found.iter().map(|fields| fields[3]).collect();
        assert_eq!(ports.len(), 4, "{streams}");
        for fields in &found {
            let lost =
                fields.iter().position(|field| *field == "g711A").map(|at| fields[at + 1..at + 4].to_vec());
            assert_eq!(lost, Some(vec!["200", "0", "(0.0%)"]), "{streams}");
        }
        for ssrc in found.iter().map(|fields| fields[6]).collect::<BTreeSet<_>>() {
            for port in &ports {
                let filter = format!("rtp.ssrc == {ssrc} && udp.srcport == {port}");
                let numbers = output(&file, &["-Y", &filter, "-T", "fields", "-e", "rtp.seq"]);
                let numbers: Vec<u16> = numbers.lines().map(|line| line.parse().expect("a number")).collect();
                assert!(
                    numbers.windows(2).all(|two| two[0].wrapping_add(1) == two[1]),
                    "{filter}: {numbers:?}"
                );
            }
        }
        let rtcp = output(&file, &["-Y", "rtcp.pt == 203", "-T", "fields", "-e", "rtcp.pt"]);
        assert!(rtcp.lines().count() >= 2, "our BYE on each leg: {rtcp:?}");
        let wrong = "_ws.malformed || _ws.expert.severity >= 0x600000 || udp.checksum.status == \"Bad\" || \
                     ip.checksum.status == \"Bad\"";
        assert_eq!(output(&file, &["-Y", wrong]), "");
    }
}
