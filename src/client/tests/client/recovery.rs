//! The reaction of a client when RTP is lost, stops, or comes from another address.

use std::net::SocketAddr;
use std::time::Duration;

use b2b_client::{
    Call, CallState, ClientBuilder, ClientEvent, Codec, Events, ImpairConfig, RecoveryStep, SipClient, Sound,
};
use b2b_test_support::client::within;
use tokio::net::UdpSocket;

/// The first recovery step of this kind.
async fn step(
    what: &str,
    events: &mut Events,
    mut wanted: impl FnMut(&RecoveryStep) -> bool,
) -> RecoveryStep {
    within(what, async {
        loop {
            match events.next().await {
                Some(ClientEvent::Recovery { step, .. }) if wanted(&step) => return step,
                Some(_) => {}
                None => panic!("{what}: the call has ended"),
            }
        }
    })
    .await
}

fn client(user: &str) -> ClientBuilder {
    SipClient::builder().identity(format!("sip:{user}@127.0.0.1"))
}

#[tokio::test]
async fn a_fifth_of_loss_makes_sound_robust_and_changes_the_codec() {
    let fifth = ImpairConfig { loss_pct: 20.0, jitter_ms: 0.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 11 };
    let codecs = [Codec::G722, Codec::Opus];
    // Alice would see the loss, too, and often offer first.
    let alice = client("alice").codecs(codecs).recovery(false).build().expect("a client");
    let bob = client("bob").codecs(codecs).impairment(fifth).build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    let mut events = at_bob.events();
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    assert_eq!(at_alice.agreed().map(|agreed| agreed.codec), Some(Codec::G722));
    at_alice.play(Sound::tone(440.0, 3_600_000)).await.expect("playing");

    let sending = step("robust", &mut events, |step| matches!(step, RecoveryStep::Sending { .. })).await;
    let RecoveryStep::Sending { loss_pct, .. } = sending else { unreachable!() };
    assert!(loss_pct > 8.0, "{loss_pct}");
    let offering = |step: &RecoveryStep| matches!(step, RecoveryStep::Offering { codec: Codec::Opus, .. });
    step("Opus", &mut events, offering).await;
    within("Opus is heard", async {
        while at_bob.quality().await.and_then(|quality| quality.codec) != Some(Codec::Opus) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(at_bob.state(), CallState::Answered);
    within("hung up", at_alice.hangup()).await.expect("hung up");
}

/// A hand-written far end that has called a client.
struct FarEnd {
    rtp: UdpSocket,
    to: SocketAddr,
    sequence: u16,
    call: Call,
}

impl FarEnd {
    async fn calls(bob: &SipClient) -> FarEnd {
        let mut incoming = bob.incoming().await.expect("calls");
        let sip = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let rtp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let here = sip.local_addr().expect("an address");
        let at = bob.local().expect("started");
        let request = |method: &str, to: &str, body: &str| {
            format!(
                "{method} sip:bob@{at} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK-{method}\r\n\
                 From: <sip:far@{here}>;tag=far\r\nTo: {to}\r\nCall-ID: recovery@{here}\r\n\
                 CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:far@{here}>\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let port = rtp.local_addr().expect("an address").port();
        let offer = format!(
            "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        let invite = request("INVITE", &format!("<sip:bob@{at}>"), &offer);
        sip.send_to(invite.as_bytes(), at).await.expect("sent");
        let ringing = within("a call", incoming.next()).await.expect("bob is there");
        let answer = tokio::spawn(async move { ringing.answer().await });
        let mut buffer = [0; 4_096];
        let ok = within("200", async {
            loop {
                let len = sip.recv(&mut buffer).await.expect("a message");
                let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
                if text.starts_with("SIP/2.0 200") {
                    return text;
                }
            }
        })
        .await;
        let line = |start: &str| ok.lines().find_map(|line| line.strip_prefix(start)).expect("a line");
        sip.send_to(request("ACK", line("To: "), "").as_bytes(), at).await.expect("sent");
        let call = within("acknowledged", answer).await.expect("no panic").expect("answered");
        let media = line("m=audio ").split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        FarEnd { rtp, to: SocketAddr::from(([127, 0, 0, 1], media)), sequence: 65_520, call }
    }

    /// Sends packets of 20 ms, 20 ms apart.
    async fn speak(&mut self, packets: usize) {
        for _ in 0..packets {
            let mut packet = vec![0x80, 0];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend((u32::from(self.sequence.wrapping_add(1_000)) * 160).to_be_bytes());
            packet.extend(0x0B2B_0001u32.to_be_bytes());
            packet.extend([0x90; 160]);
            self.rtp.send_to(&packet, self.to).await.expect("sent");
            self.sequence = self.sequence.wrapping_add(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends until the client has sent an RTP packet here.
    async fn speak_until_answered(&mut self) {
        within("the client's sound", async {
            let mut buffer = [0; 2_048];
            loop {
                self.speak(5).await;
                if self.rtp.try_recv(&mut buffer).is_ok_and(|len| len > 100) {
                    return;
                }
            }
        })
        .await;
    }
}

/// A call without any RTP, until the network is back with another NAT port.
async fn goes_on_after(outage: Duration) {
    let bob = client("bob").codecs([Codec::Pcmu]).build().expect("a client");
    bob.start().await.expect("started");
    let mut far = FarEnd::calls(&bob).await;
    let mut events = far.call.events();
    far.speak_until_answered().await;
    far.speak(25).await;

    let silent = step("silence", &mut events, |_| true).await;
    assert!(
        matches!(silent, RecoveryStep::Silent { since } if since >= Duration::from_secs(2)),
        "{silent:?}"
    );
    assert_eq!(far.call.state(), CallState::Answered, "it survives");

    tokio::time::sleep(outage).await;
    assert_eq!(far.call.state(), CallState::Answered, "it survives all of it");

    // The network is back, with another NAT port.
    let before = far.call.quality().await.expect("it is up").received;
    far.rtp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    far.sequence = far.sequence.wrapping_add(100);
    far.speak_until_answered().await;
    far.speak(25).await;
    let back = step("the return", &mut events, |_| true).await;
    assert!(matches!(back, RecoveryStep::Back { after } if after >= Duration::from_secs(2)), "{back:?}");
    let after = within("counters", async {
        loop {
            let quality = far.call.quality().await.expect("it is up");
            if quality.received > before + 20 {
                return quality;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    // The two steps report the loss on the old path; the count of the new one starts at zero.
    assert!(after.lost < 100, "{after:?}");
    assert_eq!(far.call.state(), CallState::Answered);
}

#[tokio::test]
async fn a_call_goes_on_through_silence_and_from_another_port() {
    goes_on_after(Duration::ZERO).await;
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_call_goes_on_after_half_a_minute_without_a_network() {
    goes_on_after(Duration::from_secs(30)).await;
}
