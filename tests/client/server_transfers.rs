//! Clients that transfer each other through the server, verified by audio.

use std::net::SocketAddr;
use std::path::Path;

use crate::common::child::B2b;
use b2b::client::{Call, CallState, ClientEvent, IncomingCalls, SipClient, Sound};
use b2b_test_support::client::{PATIENCE, share_of, within};

const HZ: f32 = 700.0;

/// A server with three users.
fn server(folder: &Path) -> (B2b, SocketAddr) {
    let mut config =
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ndomains = [\"b2b.example\"]\n\
         drain_s = 0\n[http]\nlisten = \"off\"\n[[route]]\nto = \"user/$0\"\n"
            .to_owned();
    for name in ["1001", "1002", "1003"] {
        config.push_str(&format!("[[user]]\nname = \"{name}\"\npassword = \"secret\"\n"));
    }
    let path = folder.join("b2bua.toml");
    std::fs::write(&path, config).expect("a file");
    let mut server =
        crate::common::child::b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
    let address = server.ready();
    (server, address)
}

async fn user(name: &str, server: SocketAddr) -> (SipClient, IncomingCalls) {
    let builder = SipClient::builder().identity(format!("sip:{name}@b2b.example")).bind("127.0.0.1:0");
    let builder = builder.registrar(format!("sip:{server}")).credentials(name, "secret");
    let client = builder.build().expect("a client");
    let incoming = client.incoming().await.expect("calls");
    within("registered", client.register()).await.expect("registered");
    (client, incoming)
}

async fn connected(from: &SipClient, to: &str, incoming: &mut IncomingCalls) -> (Call, Call) {
    let ours = from.call(format!("sip:{to}@b2b.example")).await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("it rings");
    let theirs = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", ours.wait_for_answer()).await.expect("answered");
    (ours, theirs)
}

/// Waits until this call receives the tone and nothing else.
async fn hears_the_tone(call: &Call) {
    let mut incoming = call.audio().expect("audio").incoming;
    let rate_hz = incoming.rate_hz();
    let heard = async {
        loop {
            let mut samples = Vec::new();
            while samples.len() < 4_000 {
                samples.extend_from_slice(incoming.next().await.expect("the call is up").samples());
            }
            let loud = samples.iter().any(|sample| sample.unsigned_abs() > 2_000);
            if loud && share_of(&samples, f64::from(HZ), rate_hz) > 0.5 {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, heard).await.is_ok(), "the tone is never heard");
}

#[tokio::test]
async fn a_caller_is_sent_to_somebody_else_blindly() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path());
    let (ann, _) = user("1001", at).await;
    let (_bob, mut to_bob) = user("1002", at).await;
    let (_carol, mut to_carol) = user("1003", at).await;
    let (at_ann, at_bob) = connected(&ann, "1002", &mut to_bob).await;
    let mut told = at_ann.events();
    let sending = tokio::spawn(async move { at_bob.transfer("sip:1003@b2b.example").await });
    let ringing = within("carol's call", to_carol.next()).await.expect("it rings");
    let at_carol = within("acknowledged", ringing.answer()).await.expect("answered");
    within("transferred", sending).await.expect("no panic").expect("transferred");
    at_carol.play(Sound::tone(HZ, 3_600_000)).await.expect("a tone");
    hears_the_tone(&at_ann).await;
    assert_eq!((at_ann.state(), at_carol.state()), (CallState::Answered, CallState::Answered));
    // The server, which is her registrar, has sent her the identity of the new party.
    let identity = within("who is there", async {
        loop {
            let event = told.next().await.expect("the call is up");
            if let ClientEvent::Identified { identity, .. } = event {
                return identity;
            }
        }
    })
    .await;
    assert_eq!((&identity.uri[..], identity.asserted), ("sip:1003@b2b.example", true), "{identity:?}");
    assert_eq!(at_ann.identity(), Some(identity));
}

#[tokio::test]
async fn a_caller_is_joined_with_who_was_asked_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path());
    let (ann, _) = user("1001", at).await;
    let (bob, mut to_bob) = user("1002", at).await;
    let (_carol, mut to_carol) = user("1003", at).await;
    let (at_ann, with_ann) = connected(&ann, "1002", &mut to_bob).await;
    within("held", with_ann.hold()).await.expect("held");
    let (with_carol, at_carol) = connected(&bob, "1003", &mut to_carol).await;
    within("transferred", with_ann.transfer_to(&with_carol)).await.expect("transferred");
    within("bob is out", with_ann.wait_for_end()).await;
    within("of both", with_carol.wait_for_end()).await;
    at_carol.play(Sound::tone(HZ, 3_600_000)).await.expect("a tone");
    hears_the_tone(&at_ann).await;
    assert_eq!((at_ann.state(), at_carol.state()), (CallState::Answered, CallState::Answered));
}
