//! The identity of the far end, updated by later messages: trusted from the registrar, otherwise a claim.

use std::time::Duration;

use b2b_client::{Call, ClientEvent, Events, RemoteIdentity, SipClient};
use b2b_test_support::client::server::{Hand, Heard};
use b2b_test_support::client::within;

/// An UPDATE by the callee, without an offer.
async fn update(by: &Hand, number: u32, invite: &Heard, from: &str, asserted: &str) {
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bKupdate{number}{}", by.address(), by.address().port());
    let (to, call) = (invite.field("From"), invite.field("Call-ID"));
    let contact = invite.field("Contact");
    let target = contact.trim_start_matches('<').split('>').next().expect("a URI");
    let text = format!(
        "UPDATE {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from};tag=hand\r\nTo: {to}\r\n\
         Call-ID: {call}\r\nCSeq: {number} UPDATE\r\nContact: <{}>\r\n{asserted}Content-Length: 0\r\n\r\n",
        by.uri()
    );
    by.send(&text, invite.from).await;
    by.hear("SIP/2.0 200").await;
}

/// The next reported identity.
async fn told(events: &mut Events) -> RemoteIdentity {
    within("an identity", async {
        loop {
            let event = events.next().await.expect("the call is up");
            if let ClientEvent::Identified { identity, .. } = event {
                return identity;
            }
        }
    })
    .await
}

fn identity(name: Option<&str>, uri: &str, asserted: bool) -> RemoteIdentity {
    RemoteIdentity { name: name.map(str::to_owned), uri: uri.to_owned(), asserted }
}

/// Alice, registered at this registrar.
async fn registered(registrar: &Hand) -> SipClient {
    let builder = SipClient::builder().identity("sip:alice@home.example").bind("127.0.0.1:0");
    let client = builder.registrar(registrar.uri()).build().expect("a client");
    client.start().await.expect("started");
    let register = registrar.hear("REGISTER").await;
    registrar.grant(&register, 300).await;
    within("registered", async {
        while !client.registration().is_registered() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    client
}

/// An outgoing call that `by` has answered.
async fn answered(client: &SipClient, by: &Hand, target: &str) -> (Call, Heard, Events) {
    let call = client.call(target).await.expect("a call");
    let events = call.events();
    let invite = by.hear("INVITE").await;
    by.accept(&invite).await;
    within("answered", call.wait_for_answer()).await.expect("answered");
    (call, invite, events)
}

const CAROL: &str = "P-Asserted-Identity: \"Carol\" <sip:1003@home.example>\r\n";

#[tokio::test]
async fn the_registrar_is_believed_who_the_far_end_is() {
    let registrar = Hand::new().await;
    let client = registered(&registrar).await;
    let (call, invite, mut events) = answered(&client, &registrar, "sip:bob@home.example").await;
    let bob = "<sip:bob@home.example>";
    update(&registrar, 1, &invite, bob, CAROL).await;
    let carol = identity(Some("Carol"), "sip:1003@home.example", true);
    assert_eq!(told(&mut events).await, carol);
    assert_eq!(call.identity(), Some(carol));
    // The same identity is not reported again; a new one is.
    update(&registrar, 2, &invite, bob, CAROL).await;
    update(&registrar, 3, &invite, bob, "P-Asserted-Identity: <sip:1004@home.example>\r\n").await;
    assert_eq!(told(&mut events).await, identity(None, "sip:1004@home.example", true));
}

#[tokio::test]
async fn whoever_is_no_registrar_of_ours_asserts_nothing_and_may_claim() {
    let registrar = Hand::new().await;
    let liar = Hand::new().await;
    let client = registered(&registrar).await;
    let target = format!("sip:bob@{}", liar.address());
    let (call, invite, mut events) = answered(&client, &liar, &target).await;
    update(&liar, 1, &invite, &format!("<{target}>"), CAROL).await;
    // The claim before was not reported: this is the first.
    update(&liar, 2, &invite, "\"The bank\" <sip:bank@bank.example>", CAROL).await;
    let claim = identity(Some("The bank"), "sip:bank@bank.example", false);
    assert_eq!(told(&mut events).await, claim);
    assert_eq!(call.identity(), Some(claim));
}
