//! The identity of a client on the wire, and the path of its calls, with a server whose answers are written
//! by hand.

use b2b_client::{CallError, DtmfMode, EndCause, SipClient};
use b2b_test_support::client::server::{Hand, Heard};
use b2b_test_support::client::{named, within};

/// Alice with a password.
fn alice() -> SipClient {
    named("alice").credentials("alice", "secret").build().expect("a client")
}

/// A call that the server has answered.
async fn answered(client: &SipClient, server: &Hand) -> (b2b_client::Call, Heard) {
    let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    let invite = server.hear("INVITE").await;
    server.accept(&invite).await;
    server.hear("ACK").await;
    within("answered", call.wait_for_answer()).await.expect("answered");
    (call, invite)
}

#[tokio::test]
async fn a_call_answers_a_proxy_and_a_server_that_ask_for_a_password() {
    for (status, algorithm, length) in [(407, "SHA-256", 64), (401, "MD5", 32)] {
        let (client, server) = (alice(), Hand::new().await);
        let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
        let first = server.hear("INVITE").await;
        assert!(first.find("Authorization").is_none() && first.find("Proxy-Authorization").is_none());
        server.challenge(&first, status, algorithm, "n1").await;
        server.hear("ACK").await;
        let second = server.hear("INVITE").await;
        assert_eq!((second.field("Call-ID"), second.number()), (first.field("Call-ID"), first.number() + 1));
        assert_eq!(second.field("From"), first.field("From"));
        let field = if status == 407 { "Proxy-Authorization" } else { "Authorization" };
        assert!(second.find(field).is_some(), "{}", second.text);
        assert_eq!(second.credential("uri"), format!("sip:bob@{}", server.address()));
        assert_eq!(second.credential("response").len(), length);
        server.accept(&second).await;
        server.hear("ACK").await;
        within("answered", call.wait_for_answer()).await.expect("answered");

        // Requests that change or end the call are challenged, too.
        let holding = call.clone();
        let holding = tokio::spawn(async move { holding.hold().await });
        let again = server.hear("INVITE").await;
        assert_eq!(again.credential("nc"), "00000002", "the nonce is known");
        server.challenge(&again, status, algorithm, "n2").await;
        let hold = server.hear("INVITE").await;
        assert_eq!(hold.credential("nonce"), "n2");
        assert!(hold.text.contains("a=sendonly"), "{}", hold.text);
        server.accept_held(&hold).await;
        within("held", holding).await.expect("no panic").expect("held");

        let leaving = call.clone();
        let leaving = tokio::spawn(async move { leaving.hangup().await });
        let bye = server.hear("BYE").await;
        server.challenge(&bye, status, algorithm, "n3").await;
        let bye = server.hear("BYE").await;
        assert_eq!(bye.credential("nonce"), "n3");
        server.answer(&bye, "200 OK", "", "").await;
        within("hung up", leaving).await.expect("no panic").expect("hung up");
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_call_after_one_attempt_and_says_so() {
    let (client, server) = (alice(), Hand::new().await);
    let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    for nonce in ["n1", "n2"] {
        let invite = server.hear("INVITE").await;
        server.challenge(&invite, 407, "MD5", nonce).await;
        server.hear("ACK").await;
    }
    let Err(CallError::Ended(cause)) = within("the end", call.wait_for_answer()).await else { panic!() };
    let EndCause::Failed { status: 407, ref reason } = cause else { panic!("{cause:?}") };
    assert!(reason.contains("password refused"), "{reason}");
    assert!(cause.to_string().contains("set the credentials"), "{cause}");
}

#[tokio::test]
async fn a_realm_that_the_credentials_are_not_for_gets_none() {
    let server = Hand::new().await;
    let client = named("alice").credentials("alice", "secret").realm("elsewhere").build().expect("a client");
    let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    let invite = server.hear("INVITE").await;
    server.challenge(&invite, 401, "MD5", "n").await;
    let cause = within("the end", call.wait_for_end()).await;
    assert!(matches!(cause, EndCause::Failed { status: 401, .. }), "{cause:?}");
}

#[tokio::test]
async fn names_and_header_fields_go_out_and_come_in() {
    let server = Hand::new().await;
    let client =
        named("alice").display_name("Alice \"A\"").header("X-Account", "7").build().expect("a client");
    let more = [("X-Order".to_owned(), "42".to_owned())];
    let target = format!("sip:bob@{}", server.address());
    let _call = client.call_with(target.clone(), more.clone()).await.expect("a call");
    let invite = server.hear("INVITE").await;
    assert!(
        invite.field("From").starts_with(r#""Alice \"A\"" <sip:alice@127.0.0.1>;tag="#),
        "{}",
        invite.text
    );
    assert_eq!((invite.field("X-Account"), invite.field("X-Order")), ("7", "42"));
    let forged = [("From".to_owned(), "<sip:eve@127.0.0.1>".to_owned())];
    assert!(
        matches!(client.call_with(target.clone(), forged).await, Err(CallError::Header(name)) if name == "From")
    );
    let split = [("X-A".to_owned(), "1\r\nX-B: 2".to_owned())];
    assert!(matches!(client.call_with(target, split).await, Err(CallError::Header(_))));

    let bob = named("bob").build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let _call = client.call_with(bob.uri().expect("started"), more).await.expect("a call");
    let call = within("a call", incoming.next()).await.expect("bob is there");
    assert_eq!((call.header("x-order"), call.header("X-None")), (Some("42"), None));
    assert_eq!(call.display_name().as_deref(), Some("Alice \"A\""));
    assert!(call.headers().any(|(name, _)| name == "Via"));
}

#[tokio::test]
async fn everything_goes_to_the_outbound_proxy_first() {
    let (proxy, elsewhere) = (Hand::new().await, Hand::new().await);
    let builder = named("alice").outbound_proxy(proxy.uri()).registrar(elsewhere.uri());
    let client = builder.build().expect("a client");
    client.start().await.expect("started");
    let route = format!("<{};lr>", proxy.uri());
    let register = proxy.hear("REGISTER").await;
    assert_eq!(register.field("Route"), route);
    assert!(register.first_line().starts_with(&format!("REGISTER {} ", elsewhere.uri())));
    proxy.grant(&register, 300).await;
    let call = client.call(format!("sip:bob@{}", elsewhere.address())).await.expect("a call");
    let invite = proxy.hear("INVITE").await;
    assert_eq!(invite.field("Route"), route);
    assert!(invite.first_line().starts_with(&format!("INVITE sip:bob@{} ", elsewhere.address())));
    // Its Contact is elsewhere; the proxy is still on the path.
    proxy.accept_as(&invite, &elsewhere.uri()).await;
    proxy.hear("ACK").await;
    within("answered", call.wait_for_answer()).await.expect("answered");
    let leaving = tokio::spawn(async move { call.hangup().await });
    let bye = proxy.hear("BYE").await;
    proxy.answer(&bye, "200 OK", "", "").await;
    within("hung up", leaving).await.expect("no panic").expect("hung up");
}

#[tokio::test]
async fn a_call_without_a_password_says_that_one_is_wanted() {
    let server = Hand::new().await;
    let client = named("alice").build().expect("a client");
    let call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    let invite = server.hear("INVITE").await;
    server.challenge(&invite, 407, "MD5", "n").await;
    let cause = within("the end", call.wait_for_end()).await;
    assert!(cause.to_string().contains("requires a password"), "{cause}");
    let (call, _) = answered(&client, &server).await;
    drop(call);
}

#[tokio::test]
async fn digits_by_info_and_transfers_are_authorized_too() {
    let (client, server) = (alice(), Hand::new().await);
    let (call, _) = answered(&client, &server).await;
    call.send_digits("7", DtmfMode::Info).await.expect("sent");
    let info = server.hear("INFO").await;
    server.challenge(&info, 407, "SHA-256", "n1").await;
    let again = server.hear("INFO").await;
    assert_eq!((again.number(), again.credential("nonce")), (info.number() + 1, "n1".to_owned()));
    assert!(again.text.contains("Signal=7"), "{}", again.text);
    server.answer(&again, "200 OK", "", "").await;

    let sending = call.clone();
    let sending = tokio::spawn(async move { sending.transfer("sip:carol@127.0.0.1").await });
    let refer = server.hear("REFER").await;
    server.challenge(&refer, 401, "SHA-256", "n2").await;
    let again = server.hear("REFER").await;
    assert_eq!((again.number(), again.credential("nonce")), (refer.number() + 1, "n2".to_owned()));
    assert_eq!(again.field("Refer-To"), refer.field("Refer-To"));
    server.answer(&again, "603 Decline", "", "").await;
    let outcome = within("an outcome", sending).await.expect("no panic");
    assert!(matches!(outcome, Err(CallError::Transfer { status: Some(603) })), "{outcome:?}");
}
