//! Clients registered at the server, over UDP, TCP and TLS: calls through it, its certificate, its shutdown
//! and restart.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::common::child::B2b;
use b2b::client::{
    Call, ClientBuilder, EndCause, IncomingCalls, RegisterError, RegistrationError, RegistrationState,
    SipClient, Tls, Transport,
};
use b2b_test_support::client::within;
use b2b_test_support::tls::{Authority, accept, answer, field, read_message, send};
use nix::sys::signal::Signal;

const SHORT: Duration = Duration::from_millis(100);

/// A server without trusted peers, with two users.
fn server(listen: &str, more: &str, folder: &Path) -> (B2b, SocketAddr) {
    let config = format!(
        "[server]\nlisten = [\"{listen}\"]\nstore = \"memory\"\ndomains = [\"b2b.example\"]\ndrain_s = 0\n{more}\n\
         [http]\nlisten = \"off\"\n[registrar]\nmin_expires_s = 1\n\
         [[user]]\nname = \"1001\"\npassword = \"one\"\n[[user]]\nname = \"1002\"\npassword = \"two\"\n\
         [[route]]\nto = \"user/$0\"\n"
    );
    let path = folder.join("b2bua.toml");
    std::fs::write(&path, config).expect("a file");
    let mut server =
        crate::common::child::b2b(&["--role", "b2bua", "--config", path.to_str().expect("UTF-8")]);
    let address = server.ready();
    (server, address)
}

fn user(name: &str, password: &str, registrar: &str) -> ClientBuilder {
    let builder = SipClient::builder().identity(format!("sip:{name}@b2b.example")).bind("127.0.0.1:0");
    builder.registrar(registrar).credentials(name, password).register_retry(SHORT, 4 * SHORT)
}

/// Waits until the client is registered.
async fn registered(client: &SipClient) {
    client.start().await.expect("started");
    within("a registration", async {
        while !client.registration().is_registered() {
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
}

/// Waits until every registration satisfies the condition.
async fn all(clients: &[&SipClient], wanted: impl Fn(&RegistrationState) -> bool) {
    for client in clients {
        within("a change of the registration", async {
            while !wanted(&client.registration()) {
                tokio::time::sleep(SHORT / 10).await;
            }
        })
        .await;
    }
}

/// 1001 calls 1002 through the server.
async fn talks(ann: &SipClient, incoming: &mut IncomingCalls) -> (Call, Call) {
    let call = ann.call("sip:1002@b2b.example").await.expect("a call");
    let ringing = within("a call", incoming.next()).await.expect("bob is there");
    let at_bob = within("acknowledged", ringing.answer()).await.expect("answered");
    within("answered", call.wait_for_answer()).await.expect("answered");
    (call, at_bob)
}

async fn talk(ann: &SipClient, incoming: &mut IncomingCalls) {
    let (call, at_bob) = talks(ann, incoming).await;
    within("hung up", call.hangup()).await.expect("hung up");
    assert_eq!(within("the end", at_bob.wait_for_end()).await, EndCause::RemoteHangup);
}

#[tokio::test]
async fn two_users_register_with_either_digest_and_call_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for (more, transport) in [("", Transport::Udp), ("md5_only = ['.*']", Transport::Tcp)] {
        let (server, address) = server("udp:127.0.0.1:0", more, folder.path());
        let at = format!("sip:{address}");
        let trace = folder.path().join("trace");
        let ann = user("1001", "one", &at).transport(transport).sip_trace(&trace).build().expect("a client");
        let bob = user("1002", "two", &at).transport(transport).build().expect("a client");
        let mut incoming = bob.incoming().await.expect("calls");
        registered(&ann).await;
        registered(&bob).await;
        talk(&ann, &mut incoming).await;
        within("stopped", ann.stop(b2b_test_support::client::PATIENCE)).await;
        assert_eq!(ann.registration(), RegistrationState::Off);
        let algorithm = if more.is_empty() { "algorithm=SHA-256" } else { "algorithm=MD5" };
        let seen = std::fs::read_to_string(&trace).expect("a trace");
        let answers: Vec<_> = seen.lines().filter(|line| line.contains("uthorization: Digest")).collect();
        // REGISTER, INVITE, and the REGISTER that removes the binding.
        assert!(answers.len() >= 3 && answers.iter().all(|line| line.contains(algorithm)), "{answers:#?}");
        drop(server);
    }
}

#[tokio::test]
async fn a_device_by_its_instance_is_reached_by_its_newest_connection_alone() {
    const INSTANCE: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server("udp:127.0.0.1:0", "", folder.path());
    let at = format!("sip:{address}");
    let ann = user("1001", "one", &at).build().expect("a client");
    registered(&ann).await;
    let bob = || user("1002", "two", &at).transport(Transport::Tcp).instance(INSTANCE).build();
    let before = bob().expect("a client");
    let mut nobody = before.incoming().await.expect("calls");
    registered(&before).await;
    talk(&ann, &mut nobody).await;
    // The program restarts without having removed its binding.
    let now = bob().expect("a client");
    let mut incoming = now.incoming().await.expect("calls");
    registered(&now).await;
    talk(&ann, &mut incoming).await;
    let rang = tokio::time::timeout(SHORT, nobody.next()).await;
    assert!(rang.is_err(), "the old one was called, too");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_dead_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = server("udp:127.0.0.1:0", "", folder.path());
    let at = format!("sip:{address}");
    let wrong = user("1001", "two", &at).build().expect("a client");
    let outcome = within("an outcome", wrong.register()).await;
    assert!(
        matches!(outcome, Err(RegisterError::Failed(RegistrationError::WrongPassword { .. }))),
        "{outcome:?}"
    );
    drop(server);
    let late = user("1001", "one", &at).build().expect("a client");
    let outcome = within("an outcome", late.register()).await;
    let Err(RegisterError::Failed(error @ RegistrationError::Unreachable { .. })) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(error.to_string().contains("check its address"), "{error}");
}

#[tokio::test]
async fn a_server_that_comes_back_has_the_registrations_again_and_calls_work() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let folder = tempfile::tempdir().expect("a folder");
        // The address is bound twice: hence a separate loopback address, and a port outside the ephemeral
        // range.
        let (first, address) = server("udp:127.0.41.1:5062", "", folder.path());
        let at = format!("sip:{address}");
        // Over UDP the loss is noticed only when a refresh fails or a new registration is needed.
        let brief =
            |builder: ClientBuilder| builder.transport(transport).register_expires(Duration::from_secs(2));
        let ann = brief(user("1001", "one", &at)).build().expect("a client");
        let bob = brief(user("1002", "two", &at)).build().expect("a client");
        let mut incoming = bob.incoming().await.expect("calls");
        registered(&ann).await;
        registered(&bob).await;
        talk(&ann, &mut incoming).await;

        first.signal(Signal::SIGKILL);
        drop(first);
        all(&[&ann, &bob], |state| !state.is_registered()).await;
        let (_second, again) = server(&format!("udp:{address}"), "", folder.path());
        assert_eq!(again, address);
        registered(&ann).await;
        registered(&bob).await;
        talk(&ann, &mut incoming).await;
    }
}

#[tokio::test]
async fn a_second_server_takes_over_while_calls_go_on_being_made() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (first, one) = server("udp:127.0.0.1:0", "", folder.path());
    let (_second, two) = server("udp:127.0.0.1:0", "", other.path());
    let build = |name, password| {
        let builder = user(name, password, &format!("sip:{one}")).registrar(format!("sip:{two}"));
        builder.register_expires(Duration::from_secs(2)).build().expect("a client")
    };
    let (ann, bob) = (build("1001", "one"), build("1002", "two"));
    let mut incoming = bob.incoming().await.expect("calls");
    registered(&ann).await;
    registered(&bob).await;
    talk(&ann, &mut incoming).await;
    first.signal(Signal::SIGKILL);
    drop(first);
    let there = format!("sip:{two}");
    let moved = |state: &RegistrationState| matches!(state, RegistrationState::Registered { registrar, .. } if *registrar == there);
    all(&[&ann, &bob], moved).await;
    talk(&ann, &mut incoming).await;
}

#[tokio::test]
async fn over_tls_a_private_authority_is_trusted_when_it_is_named_and_only_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ours");
    let stranger = Authority::new(folder.path(), "theirs");
    let (certificate, key) = authority.issue("server", &["localhost", "127.0.0.1"]);
    let files = format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let (_server, address) = server("tls:127.0.0.1:0", &files, folder.path());
    let at = format!("sip:{address}");
    let over_tls = |builder: ClientBuilder, tls: Tls| {
        builder.transport(Transport::Tls).tls(tls).build().expect("a client")
    };
    let ann = over_tls(user("1001", "one", &at), Tls::ca_file(&authority.pem));
    let bob = over_tls(user("1002", "two", &at), Tls::ca_file(&authority.pem));
    let mut incoming = bob.incoming().await.expect("calls");
    registered(&ann).await;
    registered(&bob).await;
    talk(&ann, &mut incoming).await;

    // Without configured authorities a client trusts the system's, which do not include the test's; a bare
    // machine has none.
    let eve = over_tls(user("1001", "one", &at), Tls::default());
    let outcome = within("an outcome", eve.register()).await;
    assert!(matches!(outcome, Err(RegisterError::Failed(_))), "{outcome:?}");
    {
        let eve = over_tls(user("1001", "one", &at), Tls::ca_file(&stranger.pem));
        let outcome = within("an outcome", eve.register()).await;
        let Err(RegisterError::Failed(error @ RegistrationError::NotTrusted { .. })) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(error.to_string().contains("set the file of the authority"), "{error}");
        let call = eve.call(format!("sip:1002@{address};transport=tls")).await.expect("a call");
        let cause = within("the end", call.wait_for_end()).await;
        assert!(matches!(cause, EndCause::NotTrusted { .. }), "{cause:?}");
    }
    let careless = over_tls(user("1001", "one", &at), Tls { ca_file: None, verify: false });
    within("an outcome", careless.register()).await.expect("registered");
}

#[tokio::test]
async fn a_new_connection_is_a_new_contact_and_the_old_one_is_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ours");
    let pair = authority.issue("server", &["127.0.0.1"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let at = format!("sip:{}", listener.local_addr().expect("bound"));
    let builder = user("1001", "one", &at).transport(Transport::Tls).tls(Tls::ca_file(&authority.pem));
    let client = builder.build().expect("a client");
    client.start().await.expect("started");
    let seen = tokio::task::spawn_blocking(move || {
        let mut contacts = Vec::new();
        let grant = |register: &str| {
            let contact = field(register, "Contact");
            answer(register, "200 OK", &format!("Contact: {contact};expires=3600\r\n"), "")
        };
        let mut first = accept(&listener, &pair);
        let register = read_message(&mut first);
        contacts.push((field(&register, "Expires"), field(&register, "Contact")));
        send(&mut first, &grant(&register));
        drop(first);
        let mut second = accept(&listener, &pair);
        for _ in 0..2 {
            let register = read_message(&mut second);
            contacts.push((field(&register, "Expires"), field(&register, "Contact")));
            send(&mut second, &grant(&register));
        }
        contacts
    });
    let seen = within("three times REGISTER", seen).await.expect("no panic");
    let [(_, first), (expires, second), (end, old)] = &seen[..] else { panic!("{seen:?}") };
    assert_ne!(first, second);
    assert_eq!((expires.as_str(), end.as_str(), old), ("300", "0", first));
}
