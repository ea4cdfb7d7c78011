//! Outbound flows of a client with an instance ID (RFC 5626), at a registrar whose answers are written by
//! hand.

use std::time::Duration;

use b2b_client::{SipClient, Transport};
use b2b_test_support::client::server::{Hand, Heard};
use b2b_test_support::client::{named, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const INSTANCE: &str = "urn:uuid:F81D4FAE-7dec-11d0-a765-00a0c91e6bf6";
const ASKS: &str = ";reg-id=1;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
const GRANTS: &str = "Require: outbound\r\nFlow-Timer: 5\r\n";

async fn until_registered(client: &SipClient, wanted: bool) {
    within("the registration", async {
        while client.registration().is_registered() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The REGISTER on a connection.
async fn register(stream: &mut TcpStream) -> Heard {
    let from = stream.peer_addr().expect("connected");
    let mut text = String::new();
    let mut buffer = vec![0; 8_192];
    while !text.contains("\r\n\r\n") {
        let length = within("REGISTER", stream.read(&mut buffer)).await.expect("open");
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Heard { text, from }
}

async fn grant(stream: &mut TcpStream, register: &Heard) {
    let field = |name: &str| register.field(name).to_owned();
    let response = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: {};expires=3600\r\n{GRANTS}Content-Length: 0\r\n\r\n",
        field("Via"),
        field("From"),
        field("To"),
        field("Call-ID"),
        field("CSeq"),
        field("Contact")
    );
    stream.write_all(response.as_bytes()).await.expect("written");
}

#[tokio::test]
async fn a_connection_that_was_granted_is_asked_whether_it_is_there_and_made_again_for_the_same_device() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let uri = format!("sip:{}", listener.local_addr().expect("bound"));
    let builder = named("alice").registrar(uri).transport(Transport::Tcp).instance(INSTANCE);
    let client = builder.build().expect("a client");
    client.start().await.expect("started");
    let (mut stream, _) = within("a connection", listener.accept()).await.expect("accepted");
    let first = register(&mut stream).await;
    assert!(first.field("Contact").contains(ASKS), "{}", first.text);
    assert_eq!(first.field("Supported"), "path, outbound");
    grant(&mut stream, &first).await;
    until_registered(&client, true).await;
    // Keep-alives that must be answered (§4.4.1), since the registrar expects to hear from us within 5 s.
    let mut ping = [0; 4];
    within("a keep-alive", stream.read_exact(&mut ping)).await.expect("open");
    assert_eq!(&ping, b"\r\n\r\n");
    stream.write_all(b"\r\n").await.expect("written");
    drop(stream);
    let (mut stream, _) = within("another one", listener.accept()).await.expect("accepted");
    let second = register(&mut stream).await;
    assert!(second.field("Contact").contains(ASKS), "{}", second.text);
    assert_eq!(second.field("Call-ID"), first.field("Call-ID"));
    grant(&mut stream, &second).await;
    until_registered(&client, true).await;
}

#[tokio::test]
async fn a_connection_whose_other_end_is_silent_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let uri = format!("sip:{}", listener.local_addr().expect("bound"));
    let builder = named("alice").registrar(uri).transport(Transport::Tcp).instance(INSTANCE);
    let client = builder.build().expect("a client");
    client.start().await.expect("started");
    let (mut stream, _) = within("a connection", listener.accept()).await.expect("accepted");
    let first = register(&mut stream).await;
    grant(&mut stream, &first).await;
    until_registered(&client, true).await;
    // The connection stays open without answers, as when a NAT has dropped its binding: 10 s after the ping
    // it counts as failed (§4.4.1).
    let (mut other, _) = within("another one", listener.accept()).await.expect("accepted");
    let second = register(&mut other).await;
    assert_eq!(second.number(), first.number() + 1);
}

#[tokio::test]
async fn a_registrar_that_grants_no_flow_has_an_ordinary_registration() {
    let server = Hand::new().await;
    let builder = named("alice").registrar(server.uri()).instance(INSTANCE);
    let client = builder.keep_alive(Duration::from_millis(100)).build().expect("a client");
    client.start().await.expect("started");
    let register = server.hear("REGISTER").await;
    assert!(register.field("Contact").contains(ASKS), "{}", register.text);
    server.grant(&register, 300).await;
    until_registered(&client, true).await;
    server.keep_alive().await;
}
