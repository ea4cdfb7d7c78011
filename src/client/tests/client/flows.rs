//! Outbound flows of a client with an instance ID (RFC 5626), at a registrar whose answers are written by
//! hand.

use std::time::Duration;

use b2b_client::{SipClient, Transport};
use b2b_test_support::client::registrar::{RegistrarConnection, TcpRegistrar};
use b2b_test_support::client::server::{Hand, Heard};
use b2b_test_support::client::{named, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// A client with an instance ID, registered over the first connection that it makes, and its REGISTER.
async fn registered(registrar: &TcpRegistrar) -> (SipClient, RegistrarConnection, Heard) {
    let builder = named("alice").registrar(registrar.uri()).transport(Transport::Tcp).instance(INSTANCE);
    let client = builder.build().expect("a client");
    client.start().await.expect("started");
    let mut connection = registrar.accept().await;
    let register = connection.hear().await;
    connection.grant(&register, GRANTS).await;
    until_registered(&client, true).await;
    (client, connection, register)
}

#[tokio::test]
async fn a_connection_that_was_granted_is_asked_whether_it_is_there_and_made_again_for_the_same_device() {
    let registrar = TcpRegistrar::new().await;
    let (client, mut connection, first) = registered(&registrar).await;
    assert!(first.field("Contact").contains(ASKS), "{}", first.text);
    assert_eq!(first.field("Supported"), "path, outbound");
    // Keep-alives that must be answered (§4.4.1), since the registrar expects to hear from us within 5 s.
    let mut ping = [0; 4];
    within("a keep-alive", connection.0.read_exact(&mut ping)).await.expect("open");
    assert_eq!(&ping, b"\r\n\r\n");
    connection.0.write_all(b"\r\n").await.expect("written");
    drop(connection);
    let mut connection = registrar.accept().await;
    let second = connection.hear().await;
    assert!(second.field("Contact").contains(ASKS), "{}", second.text);
    assert_eq!(second.field("Call-ID"), first.field("Call-ID"));
    connection.grant(&second, GRANTS).await;
    until_registered(&client, true).await;
}

#[tokio::test]
async fn a_connection_whose_other_end_is_silent_is_made_again() {
    let registrar = TcpRegistrar::new().await;
    let (_client, _connection, first) = registered(&registrar).await;
    // The connection stays open without answers, as when a NAT has dropped its binding: 10 s after the ping
    // it counts as failed (§4.4.1).
    let second = registrar.accept().await.hear().await;
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
