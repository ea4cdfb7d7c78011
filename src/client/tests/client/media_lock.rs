//! A client accepts media only from its peer, whichever source sends first.

use std::net::{SocketAddr, UdpSocket};

use b2b_client::{CallState, ClientEvent};
use b2b_test_support::client::hand::{Hand, client};
use b2b_test_support::client::within;

/// Sends audio and a digit from a third address.
fn sprays(attacker: &UdpSocket, to: SocketAddr) {
    for n in 0..6u8 {
        let sound = [&[0x80, 0, 0, n, 0, 0, 0, 0, 6, 6, 6, 6][..], &[0x10; 160]].concat();
        let digit = [0x80, 101, 1, n, 0, 0, 0, 0, 6, 6, 6, 6, 5, 0x8A, 3, 0x20];
        attacker.send_to(&sound, to).expect("sent");
        attacker.send_to(&digit, to).expect("sent");
    }
}

#[tokio::test]
async fn a_peer_behind_a_nat_is_heard_and_answered_and_who_sends_first_is_not() {
    let (alice, _) = client("alice").await;
    let mut hand = Hand::new();
    let attacker = UdpSocket::bind("127.0.0.66:0").expect("a socket");
    attacker.set_nonblocking(true).expect("a socket");
    // Its SDP names an unused address; its RTP comes from the address of its SIP.
    let nat = hand.sdp("sendrecv").replace("c=IN IP4 127.0.0.1", "c=IN IP4 127.9.9.9");
    let nat = nat.replace("RTP/AVP 0\r\n", "RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n");
    let call = alice.call(hand.uri()).await.expect("a call");
    let mut events = call.events();
    let invite = hand.expect("INVITE");
    let to = invite.rtp();
    sprays(&attacker, to);
    hand.answer(&invite, "183 Session Progress", "", &nat);
    sprays(&attacker, to);
    hand.answer(&invite, "200 OK", "", &nat);
    hand.expect("ACK");
    sprays(&attacker, to);
    within("answered", call.wait_for_answer()).await.expect("answered");
    sprays(&attacker, to);
    hand.speaks(to, 3);
    sprays(&attacker, to);
    hand.hears("alice, where the RTP comes from", |_| true);
    hand.speaks(to, 3);
    hand.send(invite.from, &hand.in_dialog("BYE", "2", &invite, ""));
    hand.expect("SIP/2.0 200");
    let mut digits = 0;
    within("the end", async {
        while let Some(event) = events.next().await {
            digits += usize::from(matches!(event, ClientEvent::Digit { .. }));
            if matches!(event, ClientEvent::State { state: CallState::Ended(_), .. }) {
                break;
            }
        }
    })
    .await;
    assert_eq!(digits, 0, "nobody who calls has pressed a key");
    let mut buffer = [0; 2_048];
    assert!(attacker.recv_from(&mut buffer).is_err(), "the attacker is sent nothing");
}
