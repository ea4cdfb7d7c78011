//! The message-waiting lamp of a phone follows its mailbox, by SUBSCRIBE and NOTIFY.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use b2b::client::EndCause;
use b2b::sip::msg::{Limits, Message, Method, Name, RequestWriter, ResponseWriter};

use crate::apps::parties::within;
use crate::apps::voicemail::{ASKED, BEEP, CONFIG, until_tone};
use crate::common::child::PATIENCE;
use crate::server_support::server;

/// A phone that subscribes to a mailbox.
struct Lamp {
    socket: UdpSocket,
    server: SocketAddr,
    /// CSeq of the last NOTIFY, and the number of NOTIFY requests.
    heard: (u32, u32),
    shown: String,
}

impl Lamp {
    fn of(mailbox: &str, server: SocketAddr) -> Lamp {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let at = socket.local_addr().expect("an address");
        let uri = format!("sip:{mailbox}@{server}");
        let request = RequestWriter::new(&Method::Subscribe, uri.as_bytes())
            .header_fmt(Name::Via, format_args!("SIP/2.0/UDP {at};branch=z9hG4bKlamp;rport"))
            .header(Name::MaxForwards, "70")
            .header(Name::From, "<sip:lamp@b2b.example>;tag=lamp")
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .header(Name::CallId, "lamp")
            .header(Name::CSeq, "1 SUBSCRIBE")
            .header_fmt(Name::Contact, format_args!("<sip:lamp@{at}>"))
            .header(Name::Event, "message-summary")
            .header(Name::Expires, "600")
            .finish()
            .expect("a request");
        let lamp = Lamp { socket, server, heard: (0, 0), shown: String::new() };
        lamp.socket.send_to(&request, server).expect("sent");
        lamp
    }

    /// Waits until the mailbox has these counts of new and old messages.
    fn shows(&mut self, counts: &str) {
        let until = Instant::now() + PATIENCE;
        let wanted = format!("Voice-Message: {counts} ");
        while !self.shown.contains(&wanted) {
            assert!(Instant::now() < until, "{counts} wanted: {}", self.shown);
            let mut datagram = vec![0; 65_536];
            let Ok((length, from)) = self.socket.recv_from(&mut datagram) else { continue };
            assert_eq!(from, self.server);
            datagram.truncate(length);
            match Message::parse(datagram.into(), &Limits::default()) {
                Ok(Message::Response(response)) => assert_eq!(response.status(), 200),
                Ok(Message::Request(request)) => {
                    let number = request.cseq().expect("a CSeq").number;
                    if number > self.heard.0 {
                        self.heard = (number, self.heard.1 + 1);
                        self.shown = String::from_utf8_lossy(&request.body()).into_owned();
                    }
                    let ok =
                        ResponseWriter::reply_to(&request, 200, "OK", None).finish().expect("a response");
                    self.socket.send_to(&ok, self.server).expect("sent");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lamp_follows_a_message_that_is_left_heard_and_deleted() {
    let server = server(CONFIG);
    let mut lamp = Lamp::of("1001", server.sip);
    lamp.shows("0/0");
    assert!(lamp.shown.contains("Messages-Waiting: no"), "{}", lamp.shown);
    let ann = until_tone("ann", "leave", server.sip, BEEP).await;
    ann.says(700.0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ann.presses("#").await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    lamp.shows("1/0");
    assert!(lamp.shown.contains("Messages-Waiting: yes"), "{}", lamp.shown);
    // Bob hears the whole message, then deletes it.
    let bob = until_tone("bob", "hear", server.sip, ASKED).await;
    bob.presses("1001#4711#").await;
    lamp.shows("0/1");
    bob.presses("3").await;
    lamp.shows("0/0");
    assert_eq!(within("the end", bob.call.wait_for_end()).await, EndCause::RemoteHangup);
    assert_eq!(lamp.heard.1, 4, "one for each");
    assert!((server.metric("b2b_subscriptions_total{result=\"begun\"}") - 1.0).abs() < 0.1);
    assert!((server.metric("b2b_held{what=\"sip_subscriptions\"}") - 1.0).abs() < 0.1);
    assert!((server.metric("b2b_subscription_notifies_total") - 4.0).abs() < 0.1);
}
