//! Registrations of a client on the wire, with a registrar whose answers are written by hand.

use std::task::Poll;
use std::time::Duration;

use b2b_client::{
    ClientEvent, Events, RegisterError, RegistrationError, RegistrationState, SipClient, Transport,
};
use b2b_test_support::client::registrar::TcpRegistrar;
use b2b_test_support::client::server::{Hand, Heard};
use b2b_test_support::client::{named, within};

const SHORT: Duration = Duration::from_millis(100);

/// Alice, registered at this server.
fn alice(server: &Hand) -> SipClient {
    let builder = named("alice").registrar(server.uri()).credentials("alice", "secret");
    builder.register_retry(SHORT, 8 * SHORT).build().expect("a client")
}

/// The next state of the registration.
async fn next(events: &mut Events) -> RegistrationState {
    let told = async {
        loop {
            match events.next().await.expect("running") {
                ClientEvent::Registration { state } if state != RegistrationState::Registering => {
                    return state;
                }
                _ => {}
            }
        }
    };
    within("a state of the registration", told).await
}

/// Asserts that no message with this beginning arrives for a while.
async fn quiet(server: &Hand) {
    let heard = tokio::time::timeout(5 * SHORT, server.next()).await;
    assert!(heard.is_err(), "{heard:?}");
}

fn is_end(register: &Heard) -> bool {
    register.field("Expires") == "0"
}

/// Alice, registered for five minutes.
async fn registered(server: &Hand) -> SipClient {
    let client = alice(server);
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    server.grant(&register, 300).await;
    assert!(next(&mut events).await.is_registered());
    client
}

#[tokio::test]
async fn it_answers_a_challenge_refreshes_before_the_end_and_takes_itself_back_when_it_stops() {
    for (algorithm, length) in [("MD5", 32), ("SHA-256", 64)] {
        let server = Hand::new().await;
        let client = alice(&server);
        let mut events = client.events().await.expect("started");
        let first = server.hear("REGISTER").await;
        assert_eq!(first.field("Expires"), "300");
        assert!(first.find("Authorization").is_none());
        assert!(
            first.first_line().starts_with(&format!("REGISTER {} ", server.uri())),
            "{}",
            first.first_line()
        );
        server.challenge(&first, 401, algorithm, "n1").await;
        let second = server.hear("REGISTER").await;
        assert_eq!((second.field("Call-ID"), second.number()), (first.field("Call-ID"), first.number() + 1));
        assert_eq!(second.credential("username"), "alice");
        assert_eq!(second.credential("response").len(), length);
        server.grant(&second, 10).await;
        let RegistrationState::Registered { expires, contact, .. } = next(&mut events).await else {
            panic!()
        };
        assert_eq!(expires, Duration::from_secs(10));
        assert!(second.field("Contact").contains(&contact));
        assert!(client.registration().is_registered());

        // Before the ten seconds are over, and with the known nonce.
        let refresh = server.hear("REGISTER").await;
        assert_eq!(
            (refresh.field("Call-ID"), refresh.number()),
            (first.field("Call-ID"), first.number() + 2)
        );
        assert_eq!(
            (refresh.credential("nonce"), refresh.credential("nc")),
            ("n1".to_owned(), "00000002".to_owned())
        );
        server.grant(&refresh, 300).await;
        assert!(
            matches!(next(&mut events).await, RegistrationState::Registered { expires, .. } if expires.as_secs() == 300)
        );

        let stopping = tokio::spawn(async move { client.stop(Duration::from_secs(20)).await });
        let end = server.hear("REGISTER").await;
        assert!(is_end(&end), "{}", end.text);
        assert_eq!(end.field("Contact"), first.field("Contact"));
        server.answer(&end, "200 OK", "", "").await;
        within("stopped", stopping).await.expect("stopped");
        assert_eq!(next(&mut events).await, RegistrationState::Off);
    }
}

#[tokio::test]
async fn who_asks_for_calls_takes_them_before_they_are_known_to_be_there() {
    let server = Hand::new().await;
    let client = alice(&server);
    let mut asked = Box::pin(client.incoming());
    // This starts the client, and waits there for now.
    let started = std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
    assert!(started.is_pending());
    let register = server.hear("REGISTER").await;
    let here = server.address();
    let sdp =
        "v=0\r\no=a 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let invite = format!(
        "INVITE sip:alice@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK-early\r\n\
             From: <sip:far@{here}>;tag=far\r\nTo: <sip:alice@{to}>\r\nCall-ID: early\r\nCSeq: 1 INVITE\r\n\
             Max-Forwards: 70\r\nContact: <sip:far@{here}>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
        sdp.len(),
        to = register.from,
    );
    server.send(&invite, register.from).await;
    // The call rings first, whether it is refused or not.
    server.hear("SIP/2.0 180").await;
    let mut calls = within("calls", asked).await.expect("started");
    within("the call", calls.next()).await.expect("a call");
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_says_so() {
    let server = Hand::new().await;
    let client = alice(&server);
    client.start().await.expect("started");
    for nonce in ["n1", "n2"] {
        let register = server.hear("REGISTER").await;
        server.challenge(&register, 401, "SHA-256", nonce).await;
    }
    let error = within("an outcome", async {
        loop {
            match client.registration() {
                RegistrationState::Failed { error, retry_in, .. } => return (error, retry_in),
                _ => tokio::time::sleep(SHORT / 20).await,
            }
        }
    });
    let (error, retry_in) = error.await;
    assert_eq!((&error, retry_in), (&RegistrationError::WrongPassword { realm: "here".into() }, None));
    assert!(error.to_string().contains("check user name and password"), "{error}");
    quiet(&server).await;

    // On request it tries again.
    let asked = tokio::spawn(async move { (client.register().await, client) });
    let register = server.hear("REGISTER").await;
    server.grant(&register, 300).await;
    let (outcome, client) = within("an outcome", asked).await.expect("no panic");
    outcome.expect("registered");
    assert!(client.registration().is_registered());
}

#[tokio::test]
async fn a_refusal_ends_the_attempts_and_trouble_does_not() {
    let server = Hand::new().await;
    let client = alice(&server);
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    server.answer(&register, "500 Out Of Order", "", "").await;
    let RegistrationState::Failed { error, status: Some(500), retry_in: Some(first) } =
        next(&mut events).await
    else {
        panic!("{:?}", client.registration())
    };
    assert!(matches!(error, RegistrationError::Unavailable { status: 500, .. }));
    let register = server.hear("REGISTER").await;
    server.answer(&register, "503 Busy", "Retry-After: 30\r\n", "").await;
    let RegistrationState::Failed { retry_in: Some(second), .. } = next(&mut events).await else { panic!() };
    assert!(first <= 2 * SHORT && second > Duration::from_secs(29), "{first:?}, then {second:?}");

    let asked = client.clone();
    let asked = tokio::spawn(async move { asked.register().await });
    let register = server.hear("REGISTER").await;
    server.answer(&register, "403 Forbidden", "", "").await;
    let outcome = within("an outcome", asked).await.expect("no panic");
    assert!(
        matches!(outcome, Err(RegisterError::Failed(RegistrationError::Refused { status: 403, .. }))),
        "{outcome:?}"
    );
    let state = next(&mut events).await;
    assert!(matches!(state, RegistrationState::Failed { retry_in: None, .. }), "{state:?}");
    quiet(&server).await;
}

#[tokio::test]
async fn after_each_failure_it_waits_longer() {
    let server = Hand::new().await;
    let client = alice(&server);
    let mut events = client.events().await.expect("started");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let register = server.hear("REGISTER").await;
        server.answer(&register, "500 Out Of Order", "", "").await;
        let RegistrationState::Failed { retry_in: Some(wait), .. } = next(&mut events).await else {
            panic!()
        };
        waits.push(wait);
    }
    // Each anywhere in the second half of 100, 200, 400 and 800 ms.
    assert!(waits[2] > waits[0] && waits[3] > waits[1], "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 8 * SHORT), "{waits:?}");
}

#[tokio::test]
async fn a_registrar_that_wants_a_longer_time_gets_it() {
    let server = Hand::new().await;
    let client = alice(&server);
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    server.answer(&register, "423 Too Brief", "Min-Expires: 900\r\n", "").await;
    let register = server.hear("REGISTER").await;
    assert_eq!(register.field("Expires"), "900");
    server.grant(&register, 900).await;
    assert!(next(&mut events).await.is_registered());
}

#[tokio::test]
async fn a_password_that_is_wanted_and_not_there_is_said() {
    let server = Hand::new().await;
    let client = named("alice").registrar(server.uri()).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    server.challenge(&register, 401, "MD5", "n").await;
    let state = next(&mut events).await;
    let RegistrationState::Failed { error: RegistrationError::NoPassword, .. } = state else {
        panic!("{state:?}")
    };
    assert!(matches!(
        named("bob").build().expect("a client").register().await,
        Err(RegisterError::NoRegistrar)
    ));
}

#[tokio::test]
async fn the_next_server_takes_over_when_one_is_gone() {
    let (gone, there) = (Hand::new().await, Hand::new().await);
    let (address, first) = (gone.address(), gone.uri());
    drop(gone);
    let builder = named("alice").registrar(first.clone()).registrar(there.uri());
    let client = builder.register_retry(SHORT, 8 * SHORT).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let register = there.hear("REGISTER").await;
    there.grant(&register, 10).await;
    loop {
        match next(&mut events).await {
            RegistrationState::Failed { error: RegistrationError::Unreachable { .. }, .. } => {}
            RegistrationState::Registered { registrar, .. } => {
                assert_eq!(registrar, there.uri());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    // Calls to the own domain go to the registrar in use.
    let _call = client.call("sip:bob@127.0.0.1").await.expect("a call");
    let invite = there.hear("INVITE sip:bob@127.0.0.1 ").await;
    there.answer(&invite, "486 Busy", "", "").await;

    // And back again.
    let back = Hand::at(address).await;
    drop(there);
    let register = back.hear("REGISTER").await;
    back.grant(&register, 300).await;
    loop {
        if let RegistrationState::Registered { registrar, .. } = next(&mut events).await
            && registrar == first
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_again_and_the_registration_with_it() {
    let registrar = TcpRegistrar::new().await;
    let builder = named("alice").registrar(registrar.uri()).transport(Transport::Tcp);
    let client = builder.register_retry(SHORT, 8 * SHORT).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let mut calls = Vec::new();
    for round in 0..3 {
        let mut connection = registrar.accept().await;
        let register = connection.hear().await;
        assert!(register.field("Via").starts_with("SIP/2.0/TCP"));
        assert!(register.field("Contact").contains("transport=tcp"), "{}", register.text);
        calls.push((register.field("Call-ID").to_owned(), register.number()));
        connection.grant(&register, "").await;
        assert!(next(&mut events).await.is_registered());
        if round < 2 {
            drop(connection);
            let state = next(&mut events).await;
            assert!(
                matches!(state, RegistrationState::Failed { error: RegistrationError::ConnectionLost, .. }),
                "{state:?}"
            );
        }
    }
    assert!(calls.windows(2).all(|two| two[0].0 == two[1].0 && two[0].1 < two[1].1), "{calls:?}");
}

#[tokio::test]
async fn unregistering_leaves_the_client_running_and_registering_again_works() {
    let server = Hand::new().await;
    let client = registered(&server).await;
    let leaving = client.clone();
    let leaving = tokio::spawn(async move { leaving.unregister().await });
    let end = server.hear("REGISTER").await;
    assert!(is_end(&end));
    server.answer(&end, "200 OK", "", "").await;
    within("taken back", leaving).await.expect("no panic");
    assert_eq!(client.registration(), RegistrationState::Off);
    quiet(&server).await;
    let again = client.clone();
    let again = tokio::spawn(async move { again.register().await });
    let register = server.hear("REGISTER").await;
    assert!(!is_end(&register));
    server.grant(&register, 300).await;
    within("registered", again).await.expect("no panic").expect("registered");
}

#[tokio::test]
async fn a_call_that_nobody_takes_makes_the_client_look_for_another_server() {
    let (first, second) = (Hand::new().await, Hand::new().await);
    let builder = named("alice").registrar(first.uri()).registrar(second.uri());
    let client = builder.register_retry(SHORT, 8 * SHORT).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let register = first.hear("REGISTER").await;
    first.grant(&register, 3_600).await;
    assert!(next(&mut events).await.is_registered());
    drop(first);
    let call = client.call("sip:bob@127.0.0.1").await.expect("a call");
    within("the end", call.wait_for_end()).await;
    let register = second.hear("REGISTER").await;
    second.grant(&register, 3_600).await;
}

#[tokio::test]
async fn it_registers_anew_whenever_it_is_asked_to() {
    let server = Hand::new().await;
    let client = registered(&server).await;
    for number in 2..5 {
        let asked = client.clone();
        let asked = tokio::spawn(async move { asked.register().await });
        let register = server.hear("REGISTER").await;
        assert_eq!(register.number(), number);
        server.grant(&register, 300).await;
        within("an outcome", asked).await.expect("no panic").expect("registered");
    }
}

#[tokio::test]
async fn a_registrar_has_a_name_and_a_refresh_that_is_asked_for_takes_nothing_away() {
    let server = Hand::new().await;
    let named = named("alice").registrar(format!("sip:localhost:{}", server.address().port()));
    let client = named.build().expect("a client");
    let mut events = client.events().await.expect("started");
    assert_eq!(client.registration(), RegistrationState::Registering);
    let register = server.hear("REGISTER sip:localhost:").await;
    server.grant(&register, 300).await;
    assert!(next(&mut events).await.is_registered());
    let asked = client.clone();
    let asked = tokio::spawn(async move { asked.register().await });
    let register = server.hear("REGISTER sip:localhost:").await;
    assert!(client.registration().is_registered());
    server.grant(&register, 300).await;
    within("an outcome", asked).await.expect("no panic").expect("registered");
}

#[tokio::test]
async fn a_silent_server_is_left_for_the_next_one_and_its_late_answer_changes_nothing() {
    let (silent, other) = (Hand::new().await, Hand::new().await);
    let client = named("alice").registrar(silent.uri()).registrar(other.uri()).build().expect("a client");
    let mut events = client.events().await.expect("started");
    let unanswered = silent.hear("REGISTER").await;
    let register = other.hear("REGISTER").await;
    other.grant(&register, 300).await;
    let state = next(&mut events).await;
    let RegistrationState::Failed { error: RegistrationError::NoAnswer, .. } = state else {
        panic!("{state:?}")
    };
    let there = |state: RegistrationState| matches!(state, RegistrationState::Registered { registrar, .. } if registrar == other.uri());
    assert!(there(next(&mut events).await));
    silent.answer(&unanswered, "403 Forbidden", "", "").await;
    quiet(&other).await;
    assert!(there(client.registration()));
}

#[tokio::test]
async fn over_udp_the_way_to_the_registrar_is_kept_open_while_it_is_registered() {
    let server = Hand::new().await;
    let builder = named("alice").registrar(server.uri()).keep_alive(SHORT);
    let client = builder.build().expect("a client");
    let mut events = client.events().await.expect("started");
    let register = server.hear("REGISTER").await;
    server.grant(&register, 300).await;
    assert!(next(&mut events).await.is_registered());
    for _ in 0..3 {
        server.keep_alive().await;
    }
    let leaving = tokio::spawn(async move { client.unregister().await });
    let last = server.hear("REGISTER").await;
    assert!(is_end(&last), "{}", last.text);
    server.grant(&last, 0).await;
    within("taken back", leaving).await.expect("no panic");
    quiet_of_all(&server).await;
}

/// Waits until all messages in flight have arrived, and no more follow.
async fn quiet_of_all(server: &Hand) {
    for _ in 0..20 {
        if tokio::time::timeout(5 * SHORT, server.datagram()).await.is_err() {
            return;
        }
    }
    panic!("it goes on after the end");
}
