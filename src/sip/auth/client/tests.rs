//! The client side: vectors, odd challenges, and b2b's own server.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::*;
use crate::auth::fields::DigestCredentials;
use crate::auth::server::Asked;
use crate::auth::{Credentials, DigestConfig, DigestServer, Secret as Stored, Verdict};
use crate::msg::{Limits, Message, Request};

fn response(status: u16, name: &str, challenges: &[&str]) -> Response {
    let fields: String = challenges.iter().map(|value| format!("{name}: {value}\r\n")).collect();
    let text = format!(
        "SIP/2.0 {status} Asked\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n{fields}\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn asked(challenges: &[&str]) -> Response {
    response(401, "WWW-Authenticate", challenges)
}

fn client() -> DigestClient {
    DigestClient::new("1001", "secret", [9; 32])
}

fn register(client: &mut DigestClient) -> Authorized {
    client.authorize(&Method::Register, b"sip:b2b.example")
}

fn only(authorized: &Authorized) -> &str {
    assert_eq!(authorized.headers.len(), 1);
    std::str::from_utf8(&authorized.headers[0].1).unwrap()
}

const NONE: Authorized = Authorized { headers: Vec::new(), made_for: Vec::new() };

#[test]
fn nothing_is_said_before_the_first_challenge() {
    assert_eq!(register(&mut client()), NONE);
}

#[test]
fn the_strongest_challenge_is_answered_wherever_it_stands() {
    let md5 = "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"";
    let sha = "Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"";
    let long = "Digest realm=\"r\", nonce=\"n3\", algorithm=SHA-512-256, qop=\"auth\"";
    let basic = "Basic realm=\"r\"";
    let unknown = "Digest realm=\"r\", nonce=\"n4\", algorithm=AKAv1-MD5, qop=\"auth\"";
    for (challenges, nonce, algorithm) in [
        (vec![md5], "n1", "algorithm=MD5,"),
        (vec![md5, sha], "n2", "algorithm=SHA-256,"),
        (vec![sha, md5], "n2", "algorithm=SHA-256,"),
        (vec![basic, unknown, sha, long, md5], "n3", "algorithm=SHA-512-256,"),
        (vec![unknown, md5, basic], "n1", "algorithm=MD5,"),
        (vec![&format!("{md5}, {sha}")], "n2", "algorithm=SHA-256,"),
    ] {
        let mut client = client();
        client.challenged(&asked(&challenges), &NONE).unwrap();
        let sent = register(&mut client);
        let value = only(&sent);
        assert!(value.contains(algorithm) && value.contains(&format!("nonce=\"{nonce}\"")), "{value}");
    }
}

#[test]
fn of_two_qops_in_one_challenge_auth_is_taken() {
    for qop in ["auth-int,auth", "auth,auth-int", "auth", " AUTH , auth-int "] {
        let mut client = client();
        client.challenged(&asked(&[&format!("Digest realm=r,nonce=n,qop=\"{qop}\"")]), &NONE).unwrap();
        assert!(only(&register(&mut client)).contains("qop=auth, nc=00000001"), "{qop}");
    }
}

#[test]
fn without_a_qop_the_old_form_is_used_and_opaque_comes_back() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=\"r\", nonce=\"n\", opaque=\"o,p\""]), &NONE).unwrap();
    let sent = register(&mut client);
    let value = only(&sent);
    assert!(!value.contains("qop") && !value.contains("nc=") && !value.contains("cnonce"), "{value}");
    assert!(value.ends_with("opaque=\"o,p\""), "{value}");
    let ha1 = Algorithm::Md5.ha1(b"1001", b"r", b"secret");
    let signed = Signed { method: b"REGISTER", uri: b"sip:b2b.example", nonce: b"n", qop: None };
    assert!(value.contains(Algorithm::Md5.response(&ha1, &signed).as_str()));
}

#[test]
fn session_variants_keep_their_first_cnonce_and_count_on() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=n,algorithm=MD5-sess,qop=auth"]), &NONE).unwrap();
    let ha1 = Algorithm::Md5.ha1(b"1001", b"r", b"secret");
    let mut first = None;
    for nc in ["00000001", "00000002"] {
        let sent = register(&mut client);
        let given = DigestCredentials::parse(only(&sent).as_bytes()).unwrap().unwrap();
        let qop = given.qop.unwrap();
        assert_eq!((qop.nc, given.algorithm), (nc.as_bytes(), Some(&b"MD5-sess"[..])));
        assert_eq!(first.get_or_insert(qop.cnonce.to_vec()), qop.cnonce);
        let session = Algorithm::Md5.session_ha1(&ha1, b"n", qop.cnonce);
        let signed = Signed { method: b"REGISTER", uri: b"sip:b2b.example", nonce: b"n", qop: Some(qop) };
        assert_eq!(given.response, Algorithm::Md5.response(&session, &signed).as_bytes());
    }
}

#[test]
fn counts_go_up_and_cnonces_differ() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=n,qop=auth"]), &NONE).unwrap();
    let mut cnonces = std::collections::HashSet::new();
    for count in 1..=20u32 {
        let sent = register(&mut client);
        let given = DigestCredentials::parse(only(&sent).as_bytes()).unwrap().unwrap();
        let qop = given.qop.unwrap();
        assert_eq!(qop.nc, format!("{count:08x}").as_bytes());
        assert!(cnonces.insert(qop.cnonce.to_vec()));
    }
}

#[test]
fn every_realm_and_side_that_asks_is_answered() {
    let mut client = client();
    client
        .challenged(&asked(&["Digest realm=a,nonce=1,qop=auth", "Digest realm=b,nonce=2,qop=auth"]), &NONE)
        .unwrap();
    client
        .challenged(&response(407, "Proxy-Authenticate", &["Digest realm=a,nonce=3,qop=auth"]), &NONE)
        .unwrap();
    let sent = register(&mut client);
    let names: Vec<&[u8]> = sent.headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, [&b"Authorization"[..], b"Authorization", b"Proxy-Authorization"]);
}

#[test]
fn a_refused_password_is_not_tried_again() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &NONE).unwrap();
    let sent = register(&mut client);
    let refused = Err(ChallengeError::Refused { realm: "r".into() });
    assert_eq!(client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &sent), refused);
    assert_eq!(client.challenged(&asked(&["Digest realm=r,nonce=2,qop=auth"]), &sent), refused);
}

#[test]
fn a_stale_nonce_is_replaced_but_not_for_ever() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=0,qop=auth"]), &NONE).unwrap();
    let mut tries = 0;
    let error = loop {
        let sent = register(&mut client);
        assert!(only(&sent).contains(&format!("nonce=\"{tries}\"")));
        assert!(only(&sent).contains("nc=00000001"), "a new nonce is counted anew");
        tries += 1;
        let stale = format!("Digest realm=r,nonce={tries},qop=auth,stale=true");
        if let Err(error) = client.challenged(&asked(&[&stale]), &sent) {
            break error;
        }
    };
    assert_eq!((tries, error), (4, ChallengeError::AlwaysStale { realm: "r".into() }));
}

#[test]
fn a_nonce_that_worked_may_run_out_without_a_word_once() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &NONE).unwrap();
    let sent = register(&mut client);
    client.accepted(&sent);
    let sent = register(&mut client);
    client.challenged(&asked(&["Digest realm=r,nonce=2,qop=auth"]), &sent).unwrap();
    let sent = register(&mut client);
    assert!(only(&sent).contains("nonce=\"2\""));
    let refused = client.challenged(&asked(&["Digest realm=r,nonce=3,qop=auth"]), &sent);
    assert_eq!(refused, Err(ChallengeError::Refused { realm: "r".into() }));
}

#[test]
fn the_same_nonce_again_after_it_worked_counts_on() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &NONE).unwrap();
    let sent = register(&mut client);
    client.accepted(&sent);
    let invite = client.authorize(&Method::Invite, b"sip:x@y");
    client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &invite).unwrap();
    assert!(only(&register(&mut client)).contains("nc=00000003"));
}

#[test]
fn a_request_that_carried_nothing_says_nothing_about_the_password() {
    let mut client = client();
    client.challenged(&asked(&["Digest realm=r,nonce=1,qop=auth"]), &NONE).unwrap();
    register(&mut client);
    assert_eq!(client.challenged(&asked(&["Digest realm=r,nonce=2,qop=auth"]), &NONE), Ok(()));
}

#[test]
fn what_cannot_be_answered_is_said() {
    for challenges in [
        vec![],
        vec!["Basic realm=r"],
        vec!["Digest realm=r,nonce=n,qop=auth-int"],
        vec!["Digest realm=r,nonce=n,algorithm=SHA-1"],
        vec!["Digest realm=r,nonce=n,algorithm=MD5-sess"],
        vec!["Digest nonce=n"],
    ] {
        let error = client().challenged(&asked(&challenges), &NONE).unwrap_err();
        assert!(matches!(error, ChallengeError::Unsupported { .. }), "{challenges:?}");
    }
    let ok = response(200, "X", &[]);
    assert_eq!(client().challenged(&ok, &NONE), Err(ChallengeError::NotAChallenge));
}

#[test]
fn an_ha1_answers_with_its_own_algorithm_only() {
    let ha1 = Algorithm::Md5.ha1(b"1001", b"r", b"secret");
    let mut client = DigestClient::with_ha1("1001", Algorithm::Md5, ha1, [9; 32]);
    let both =
        asked(&["Digest realm=r,nonce=1,qop=auth,algorithm=SHA-256", "Digest realm=r,nonce=1,qop=auth"]);
    client.challenged(&both, &NONE).unwrap();
    assert!(only(&register(&mut client)).contains("algorithm=MD5"));
}

// ---- against b2b's own server

struct One;

impl Credentials for One {
    fn secret(&self, user: &str, _: &str, _: Algorithm) -> Option<Stored<'_>> {
        (user == "o\"brien\\").then(|| Stored::Password("pässword".into()))
    }
}

fn request(method: &str, sent: &Authorized) -> Request {
    let fields: String = sent
        .headers
        .iter()
        .map(|(name, value)| {
            format!("{}: {}\r\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect();
    let text = format!(
        "{method} sip:1002@b2b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@b>\r\n{fields}\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn client_and_server_understand_each_other_over_many_refreshes() {
    let start = Instant::now();
    let mut server = DigestServer::new(DigestConfig::default(), [1; 32], start);
    let mut client = DigestClient::new("o\"brien\\", "pässword", [2; 32]);
    let source: IpAddr = "2001:db8::1".parse().unwrap();
    let mut challenges = 0;
    for minute in 0..600 {
        let now = start + Duration::from_secs(60 * minute);
        let (method, side) = match minute % 3 {
            0 => (Method::Invite, Side::Proxy),
            _ => (Method::Register, Side::Server),
        };
        let asked = Asked { source, realm: "b2b test", side, md5_only: false };
        for attempt in 0.. {
            assert!(attempt < 2, "asked again at minute {minute}");
            let sent = client.authorize(&method, b"sip:1002@b2b");
            match server.verify(now, &request(&method.to_string(), &sent), asked, &One) {
                Verdict::Authenticated { user } => {
                    assert_eq!(user, "o\"brien\\");
                    client.accepted(&sent);
                    break;
                }
                Verdict::Challenge { status, headers } => {
                    challenges += 1;
                    let values: Vec<&str> =
                        headers.iter().map(|(_, value)| std::str::from_utf8(value).unwrap()).collect();
                    let name = side.challenge().to_string();
                    client.challenged(&response(status, &name, &values), &sent).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Two sides, ten hours, nonces of two hours.
    assert_eq!(challenges, 10);
    assert_eq!(server.counters().authenticated, 600);
    assert!(server.nonces_held() <= 2);
}

#[test]
fn weak_challenges_and_those_of_other_realms_are_left_unanswered() {
    let md5 = "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"";
    let sha = "Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"";
    let evil = "Digest realm=\"evil\", nonce=\"n3\", qop=\"auth\"";
    let mut strict = client().at_least(Algorithm::Sha256);
    assert!(strict.challenged(&asked(&[md5]), &NONE).is_err());
    strict.challenged(&asked(&[md5, sha]), &NONE).unwrap();
    assert!(only(&register(&mut strict)).contains("SHA-256"));
    let mut ours = client().only_for_any(["q".to_owned(), "r".to_owned()]);
    assert!(ours.challenged(&asked(&[evil]), &NONE).is_err());
    ours.challenged(&asked(&[evil, md5]), &NONE).unwrap();
    assert!(only(&register(&mut ours)).contains("realm=\"r\""));
    assert_eq!(super::realms(&asked(&[evil, md5, sha])), ["evil", "r"]);
}

#[test]
fn the_realms_of_the_side_that_refused_come_first_and_many_others_hide_none() {
    // a proxy's challenge, and what a callee behind it has added (RFC 3261 §16.7)
    let others: Vec<String> =
        (0..MAX_REALMS).map(|n| format!("Digest realm=\"evil{n}\", nonce=\"n\", qop=\"auth\"")).collect();
    let fields: String = others.iter().map(|value| format!("WWW-Authenticate: {value}\r\n")).collect();
    let text = format!(
        "SIP/2.0 407 Asked\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{fields}\
         Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\"\r\n\r\n"
    );
    let Ok(Message::Response(both)) = Message::parse(Bytes::from(text), &Limits::default()) else { panic!() };
    assert_eq!(super::realms(&both).first().map(String::as_str), Some("carrier"));
    let sent = client().answer(&[both], &Method::Invite, b"sip:b@b").unwrap();
    assert_eq!(sent.headers.len(), MAX_REALMS);
    assert!(String::from_utf8_lossy(&sent.headers[0].1).contains("realm=\"carrier\""));
}
