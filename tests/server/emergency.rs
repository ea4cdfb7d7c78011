//! Emergency calls on the real program: services in the Request-URI, the alarm, strangers.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::trunk::{at, phone};
use crate::server_support::child::PATIENCE;
use crate::server_support::phone::Phone;
use crate::server_support::{configured, start, until};

fn lines(carrier: &Phone) -> String {
    let at = at(carrier);
    format!(
        "[emergency]\nnumbers = \"112\"\ngateways = \"carrier\"\nservices = {{ police = \"110\" }}\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\ntransport = \"udp\"\noptions_s = 0\n"
    )
}

/// Sends an INVITE for this URI; returns its final response.
fn ask(uri: &str, server: SocketAddr, answer: impl FnOnce()) -> String {
    let socket = UdpSocket::bind("127.0.0.2:0").expect("loopback");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let at = socket.local_addr().expect("an address");
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
                m=audio 40000 RTP/AVP 8\r\n";
    let invite = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{0}\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@{at}>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {0}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:ann@{at}>\r\nContent-Type: application/sdp\r\nContent-Length: {1}\r\n\r\n{body}",
        at.port(),
        body.len()
    );
    socket.send_to(invite.as_bytes(), server).expect("sent");
    answer();
    let (since, mut buffer) = (Instant::now(), vec![0; 65_536]);
    while since.elapsed() < PATIENCE {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !text.starts_with("SIP/2.0 1") {
            return text;
        }
    }
    panic!("no answer to an INVITE for {uri}");
}

#[test]
fn a_service_is_called_by_its_number_and_an_alarm_tells_who_has_called() {
    let carrier = phone("carrier", 3);
    let server = start(configured(&lines(&carrier)));
    for (uri, number) in [
        ("urn:service:sos", "112"),
        ("urn:service:sos.police", "110"),
        ("URN:SERVICE:sos.fire", "112"),
        ("sip:112;phone-context=+44@b2b.example;user=phone", "112"),
        ("tel:1-1-2", "112"),
        ("sip:1-1-2@b2b.example;user=phone", "112"),
        ("sip:%311%2E2@b2b.example", "112"),
        ("sip:(1)1-2;isub=1@b2b.example", "112"),
        ("tel:112;phone-context=other.example", "112"),
    ] {
        let busy = || {
            let (invite, peer) = carrier.hear("INVITE");
            assert!(invite.starts_with(&format!("INVITE sip:{number}@")), "{uri}: {invite}");
            assert!(invite.contains("\r\nFrom: <sip:ann@"), "{invite}");
            carrier.refuse_to("486 Busy Here", &invite, peer);
        };
        let answer = ask(uri, server.sip, busy);
        assert!(answer.starts_with("SIP/2.0 486 "), "{uri}: {answer}");
    }
    let alarm = until("the alarm", || {
        let alarms = server.get("/alarms").json();
        let all = alarms["alarms"].as_array().or_else(|| alarms.as_array()).cloned().unwrap_or_default();
        all.into_iter().find(|it| it["name"] == "emergency_call" && it["count"] == 9)
    });
    assert_eq!((&alarm["subject"], &alarm["severity"]), (&"ann".into(), &"critical".into()));
    let text = alarm["text"].as_str().expect("a text");
    assert!(text.contains("ann has called 1") && text.ends_with(" by carrier"), "{text}");
    for uri in ["urn:service:counseling", "urn:example:sos", "urn:service:sosumi"] {
        let answer = ask(uri, server.sip, || ());
        assert!(answer.starts_with("SIP/2.0 416 "), "{uri}: {answer}");
    }
    assert!(!carrier.has_heard("INVITE"));
}

#[test]
fn a_stranger_is_asked_for_a_password_and_reaches_nobody() {
    let carrier = phone("carrier", 3);
    let folder = configured(&lines(&carrier));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    std::fs::write(&path, text.replace("trusted = [\"127.0.0.0/8\"]\n", "")).expect("a file");
    let server = start(folder);
    for uri in ["urn:service:sos", "sip:112@b2b.example", "tel:112"] {
        let answer = ask(uri, server.sip, || ());
        assert!(answer.starts_with("SIP/2.0 407 "), "{uri}: {answer}");
    }
    assert!(!carrier.has_heard("INVITE"));
    let alarms = server.get("/alarms").text();
    assert!(!alarms.contains("emergency_call"), "{alarms}");
}
