//! Connections that the stack opens itself.

use std::time::Duration;

use b2b_sip::endpoint::{Body, Endpoint, EndpointConfig, Event, Invite, Termination, UsageEvent};
use b2b_sip::net::{NetConfig, NetLimits, SipStack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Generous: a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stack that dials our listener over TCP, and that listener.
async fn dialling(limits: NetLimits) -> (SipStack, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let target = format!("sip:far@{};transport=tcp", listener.local_addr().expect("address"));
    let config = NetConfig { limits, ..NetConfig::new("127.0.0.1:0".parse().expect("address")) };
    let mut stack = SipStack::bind(config, Endpoint::new(EndpointConfig::new([9; 32]))).expect("bound");
    let now = stack.now();
    let invite = Invite { target: target.into(), body: Some(Body::sdp("offer")), ..Invite::default() };
    stack.endpoint().invite(now, invite).expect("dialled");
    (stack, listener)
}

fn in_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("in time") });
}

fn copied(invite: &str, name: &str) -> String {
    invite.lines().find(|line| line.starts_with(name)).expect("field").to_owned()
}

#[test]
fn a_callee_that_is_slow_to_answer_keeps_the_connection_that_we_opened() {
    in_runtime(async {
        let limits = NetLimits { message_timeout: Duration::from_millis(100), ..NetLimits::default() };
        let (mut stack, listener) = dialling(limits).await;
        let callee = async {
            let (mut stream, _) = listener.accept().await.expect("connection");
            let mut buffer = vec![0; 4_096];
            let length = stream.read(&mut buffer).await.expect("INVITE");
            let invite = String::from_utf8_lossy(&buffer[..length]).into_owned();
            // Much longer than a message may take.
            sleep(Duration::from_secs(1)).await;
            let fields = ["Via", "From", "To", "Call-ID", "CSeq"].map(|name| copied(&invite, name));
            let busy =
                format!("SIP/2.0 486 Busy Here\r\n{}\r\nContent-Length: 0\r\n\r\n", fields.join("\r\n"));
            stream.write_all(busy.as_bytes()).await.expect("still open");
            let length = stream.read(&mut buffer).await.expect("ACK");
            assert!(buffer[..length].starts_with(b"ACK "));
        };
        let caller = async {
            match stack.next_event().await {
                Event::Usage {
                    event: UsageEvent::Terminated { cause: Termination::Failed { response } },
                    ..
                } => {
                    assert_eq!(response.status(), 486);
                }
                other => panic!("{other:?}"),
            }
            // The ACK is sent while waiting for the next event.
            stack
        };
        let (mut stack, ()) = tokio::join!(
            async {
                let mut stack = caller.await;
                let _ = timeout(Duration::from_millis(200), stack.next_event()).await;
                stack
            },
            callee
        );
        assert!(timeout(Duration::from_millis(10), stack.next_event()).await.is_err(), "nothing more");
    });
}

#[test]
fn two_requests_to_one_peer_at_once_share_a_connection() {
    in_runtime(async {
        let (mut stack, listener) = dialling(NetLimits::default()).await;
        let target = format!("sip:other@{};transport=tcp", listener.local_addr().expect("address"));
        let now = stack.now();
        let invite = Invite { target: target.into(), body: Some(Body::sdp("offer")), ..Invite::default() };
        stack.endpoint().invite(now, invite).expect("dialled");
        let callee = async {
            let (mut stream, _) = listener.accept().await.expect("connection");
            let (mut read, mut buffer) = (String::new(), vec![0; 4_096]);
            while read.matches("INVITE sip:").count() < 2 {
                let length = stream.read(&mut buffer).await.expect("INVITEs");
                read.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            assert!(read.contains("INVITE sip:far@") && read.contains("INVITE sip:other@"), "{read}");
            assert!(
                timeout(Duration::from_millis(100), listener.accept()).await.is_err(),
                "another connection"
            );
        };
        tokio::select! {
            event = stack.next_event() => panic!("{event:?}"),
            () = callee => {}
        }
    });
}
