//! The server side, with digests made by hand.

use crate::auth::digest::Signed;
use std::cell::RefCell;

use super::*;
use crate::msg::{Limits, Message, Name};

const REALM: &str = "b2b.example";
const HOME: &str = "192.0.2.1";

/// Passwords and HA1s, and a record of the lookups.
#[derive(Default)]
struct Users {
    asked: RefCell<Vec<(String, Algorithm)>>,
}

impl Credentials for Users {
    fn secret(&self, user: &str, realm: &str, algorithm: Algorithm) -> Option<Secret<'_>> {
        self.asked.borrow_mut().push((user.to_owned(), algorithm));
        match user {
            "1001" | "1001@b2b.example" | "o\"brien" => Some(Secret::Password("secret".into())),
            "1002" if algorithm == Algorithm::Md5 => {
                Some(Secret::Ha1(algorithm.ha1(b"1002", realm.as_bytes(), b"secret")))
            }
            _ => None,
        }
    }
}

fn request(method: &str, uri: &str, credentials: &[String]) -> Request {
    let fields: String = credentials.iter().map(|value| format!("Authorization: {value}\r\n")).collect();
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:1001@b2b.example>;tag=1\r\n\
         To: <sip:1001@b2b.example>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:1001@192.0.2.1>\r\n{fields}\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// A server, a clock and one phone.
struct Bench {
    server: DigestServer,
    users: Users,
    start: Instant,
    now: Instant,
    source: IpAddr,
}

/// The contents of the phone's credentials.
struct Answer<'a> {
    user: &'a str,
    password: &'a str,
    algorithm: Algorithm,
    nonce: &'a str,
    uri: &'a str,
    method: &'a str,
    /// `None` for the form of RFC 2069.
    count: Option<u32>,
}

impl<'a> Answer<'a> {
    fn new(nonce: &'a str, count: u32) -> Self {
        Answer {
            user: "1001",
            password: "secret",
            algorithm: Algorithm::Md5,
            nonce,
            uri: "sip:b2b.example",
            method: "REGISTER",
            count: Some(count),
        }
    }

    fn write(&self) -> String {
        let nc = self.count.map(|count| format!("{count:08x}"));
        let qop = nc.as_ref().map(|nc| crate::auth::digest::Qop {
            qop: b"auth",
            nc: nc.as_bytes(),
            cnonce: b"abc",
        });
        let ha1 = self.algorithm.ha1(self.user.as_bytes(), REALM.as_bytes(), self.password.as_bytes());
        let signed = Signed {
            method: self.method.as_bytes(),
            uri: self.uri.as_bytes(),
            nonce: self.nonce.as_bytes(),
            qop,
        };
        let response = self.algorithm.response(&ha1, &signed);
        let qop = nc.map(|nc| format!(", qop=auth, nc={nc}, cnonce=\"abc\"")).unwrap_or_default();
        format!(
            "Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{}\", uri=\"{}\", response=\"{}\", algorithm={}{qop}",
            self.user,
            self.nonce,
            self.uri,
            response.as_str(),
            self.algorithm
        )
    }
}

impl Bench {
    fn new(config: DigestConfig) -> Self {
        let start = Instant::now();
        let server = DigestServer::new(config, [3; 32], start);
        Bench { server, users: Users::default(), start, now: start, source: HOME.parse().unwrap() }
    }

    fn verify(&mut self, request: &Request) -> Verdict {
        let asked = Asked { source: self.source, realm: REALM, side: Side::Server, md5_only: false };
        self.server.verify(self.now, request, asked, &self.users)
    }

    fn register(&mut self, credentials: &[String]) -> Verdict {
        self.verify(&request("REGISTER", "sip:b2b.example", credentials))
    }

    /// The nonce of a fresh challenge.
    fn nonce(&mut self) -> String {
        nonce_of(&self.register(&[])).to_owned()
    }
}

fn fields(verdict: &Verdict) -> Vec<&str> {
    let (Verdict::Challenge { headers, .. } | Verdict::Rejected { headers, .. }) = verdict else {
        panic!("no challenge: {verdict:?}");
    };
    headers.iter().map(|(_, value)| std::str::from_utf8(value).unwrap()).collect()
}

fn nonce_of(verdict: &Verdict) -> &str {
    fields(verdict)[0].split("nonce=\"").nth(1).unwrap().split('"').next().unwrap()
}

fn is_stale(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Challenge { .. }) && fields(verdict).iter().all(|it| it.contains("stale=true"))
}

fn is_good(verdict: &Verdict, user: &str) -> bool {
    *verdict == Verdict::Authenticated { user: user.to_owned() }
}

#[test]
fn a_request_without_credentials_is_asked_with_md5_first_and_sha_256_second() {
    let mut bench = Bench::new(DigestConfig::default());
    let verdict = bench.register(&[]);
    let Verdict::Challenge { status: 401, headers } = &verdict else { panic!("{verdict:?}") };
    assert!(headers.iter().all(|(name, _)| Name::parse(name) == Name::WwwAuthenticate));
    let fields = fields(&verdict);
    assert_eq!(fields.len(), 2);
    for (field, algorithm) in fields.iter().zip(["algorithm=MD5,", "algorithm=SHA-256,"]) {
        assert!(field.contains(algorithm) && field.contains("qop=\"auth\""), "{field}");
        assert!(field.contains("realm=\"b2b.example\"") && !field.contains("stale"), "{field}");
    }
}

#[test]
fn who_cannot_stand_sha_256_is_not_asked_with_it() {
    let mut bench = Bench::new(DigestConfig::default());
    let asked = Asked { source: bench.source, realm: REALM, side: Side::Server, md5_only: true };
    let headers = bench.server.challenge(bench.now, asked, false);
    let values: Vec<_> = headers.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect();
    assert!(matches!(values.as_slice(), [one] if one.contains("algorithm=MD5,")), "{values:?}");
}

#[test]
fn a_proxy_asks_with_407_and_reads_proxy_authorization_only() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let request = request("REGISTER", "sip:b2b.example", &[Answer::new(&nonce, 1).write()]);
    let asked = Asked { source: bench.source, realm: REALM, side: Side::Proxy, md5_only: false };
    let verdict = bench.server.verify(bench.now, &request, asked, &bench.users);
    let Verdict::Challenge { status: 407, headers } = verdict else { panic!("{verdict:?}") };
    assert!(headers.iter().all(|(name, _)| Name::parse(name) == Name::ProxyAuthenticate));
}

#[test]
fn the_right_password_is_taken_with_either_algorithm_and_either_kind_of_secret() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let sha = Answer { algorithm: Algorithm::Sha256, ..Answer::new(&nonce, 2) };
    let ha1 = Answer { user: "1002", ..Answer::new(&nonce, 3) };
    let long = Answer { user: "1001@b2b.example", ..Answer::new(&nonce, 4) };
    let escaped = Answer { user: "o\\\"brien", ..Answer::new(&nonce, 5) };
    for (answer, user) in [
        (Answer::new(&nonce, 1), "1001"),
        (sha, "1001"),
        (ha1, "1002"),
        (long, "1001@b2b.example"),
        (escaped, "o\"brien"),
    ] {
        let verdict = bench.register(&[answer.write()]);
        assert!(is_good(&verdict, user), "{user}: {verdict:?}");
    }
}

#[test]
fn wrong_passwords_and_unknown_users_get_the_same_answer() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let wrong = Answer { password: "guess", ..Answer::new(&nonce, 1) };
    let unknown = Answer { user: "nobody", ..Answer::new(&nonce, 1) };
    let no_such_ha1 = Answer { user: "1002", algorithm: Algorithm::Sha256, ..Answer::new(&nonce, 1) };
    let shape = |verdict: &Verdict| -> Vec<String> {
        let nonce = nonce_of(verdict);
        fields(verdict).iter().map(|field| field.replace(nonce, "")).collect()
    };
    let fresh = shape(&bench.register(&[]));
    for answer in [wrong, unknown, no_such_ha1] {
        let verdict = bench.register(&[answer.write()]);
        assert!(matches!(&verdict, Verdict::Rejected { status: 401, user, .. } if user == answer.user));
        assert_eq!(shape(&verdict), fresh);
    }
    assert_eq!(bench.server.nonces_held(), 0, "failures take no memory");
}

#[test]
fn the_password_of_nobody_opens_nothing() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let nobody = bench.server.nobody.clone();
    let answer = Answer { user: "nobody", password: &nobody, ..Answer::new(&nonce, 1) };
    assert!(matches!(bench.register(&[answer.write()]), Verdict::Rejected { .. }));
}

#[test]
fn a_used_count_is_refused_as_stale_and_a_wrong_password_uses_none_up() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let forged = Answer { password: "guess", ..Answer::new(&nonce, 1) };
    assert!(matches!(bench.register(&[forged.write()]), Verdict::Rejected { .. }));
    let first = [Answer::new(&nonce, 1).write()];
    assert!(is_good(&bench.register(&first), "1001"));
    assert!(is_stale(&bench.register(&first)));
    assert!(is_good(&bench.register(&[Answer::new(&nonce, 2).write()]), "1001"));
    assert_eq!(bench.server.counters().replayed, 1);
    for count in ["0", "000000000", "xyz", ""] {
        let odd = Answer::new(&nonce, 9).write().replace("nc=00000009", &format!("nc={count}"));
        let verdict = bench.register(&[odd]);
        assert!(!matches!(verdict, Verdict::Authenticated { .. }), "{count:?}: {verdict:?}");
    }
    let zero = [Answer { count: Some(0), ..Answer::new(&nonce, 0) }.write()];
    assert_eq!(bench.register(&zero), Verdict::Malformed);
}

#[test]
fn an_expired_nonce_is_stale_whatever_the_password() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    assert!(is_good(&bench.register(&[Answer::new(&nonce, 1).write()]), "1001"));
    bench.now = bench.start + DigestConfig::default().nonce_lifetime;
    bench.users.asked.borrow_mut().clear();
    for password in ["secret", "guess"] {
        let answer = Answer { password, ..Answer::new(&nonce, 2) };
        assert!(is_stale(&bench.register(&[answer.write()])));
    }
    assert_eq!(bench.users.asked.borrow().len(), 0, "no password is tried on it");
    assert_eq!(bench.server.nonces_held(), 0, "its counts are forgotten");
    let fresh = bench.nonce();
    assert!(is_good(&bench.register(&[Answer::new(&fresh, 1).write()]), "1001"));
}

#[test]
fn nonces_of_other_sources_realms_and_servers_are_stale() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    bench.source = "192.0.2.2".parse().unwrap();
    assert!(is_stale(&bench.register(&[Answer::new(&nonce, 1).write()])));
    bench.source = HOME.parse().unwrap();
    for made_up in ["", "0", "abc", &"0".repeat(52), &nonce.to_uppercase().replace('A', "B")] {
        assert!(is_stale(&bench.register(&[Answer::new(made_up, 1).write()])), "{made_up:?}");
    }
    assert_eq!(bench.users.asked.borrow().len(), 0);
}

#[test]
fn without_a_qop_a_nonce_is_good_once() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let old = [Answer { count: None, ..Answer::new(&nonce, 0) }.write()];
    assert!(is_good(&bench.register(&old), "1001"));
    assert!(is_stale(&bench.register(&old)));
    let mut strict = Bench::new(DigestConfig { require_qop: true, ..DigestConfig::default() });
    let nonce = strict.nonce();
    let old = [Answer { count: None, ..Answer::new(&nonce, 0) }.write()];
    let verdict = strict.register(&old);
    assert!(matches!(verdict, Verdict::Challenge { .. }) && !is_stale(&verdict));
}

#[test]
fn what_was_not_offered_is_asked_again() {
    let mut bench =
        Bench::new(DigestConfig { algorithms: vec![Algorithm::Sha256], ..DigestConfig::default() });
    let nonce = bench.nonce();
    let good = Answer { algorithm: Algorithm::Sha256, ..Answer::new(&nonce, 1) }.write();
    for (what, other) in [
        ("MD5", Answer::new(&nonce, 1).write()),
        ("none is MD5", Answer::new(&nonce, 1).write().replace(", algorithm=MD5", "")),
        ("a session", good.replace("SHA-256", "SHA-256-sess")),
        ("unknown", good.replace("SHA-256", "SHA-1")),
        ("auth-int", good.replace("qop=auth", "qop=auth-int")),
        ("another realm", good.replace(REALM, "elsewhere")),
        ("another scheme", "Basic MTAwMTpzZWNyZXQ=".to_owned()),
    ] {
        let verdict = bench.register(&[other]);
        assert!(matches!(verdict, Verdict::Challenge { .. }) && !is_stale(&verdict), "{what}: {verdict:?}");
    }
    assert!(is_good(&bench.register(&[good]), "1001"));
}

#[test]
fn of_several_credentials_the_good_ones_count_and_else_the_worst() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let good = Answer::new(&nonce, 1).write();
    let foreign = good.replace(REALM, "elsewhere");
    let stale = Answer::new("old", 1).write();
    let broken = "Digest username=1001".to_owned();
    let wrong = Answer { password: "guess", ..Answer::new(&nonce, 1) }.write();
    assert!(is_good(&bench.register(&[foreign.clone(), stale.clone(), broken.clone(), good]), "1001"));
    let verdict = bench.register(&[stale.clone(), wrong.clone()]);
    assert!(matches!(verdict, Verdict::Rejected { .. }), "a guess beside a stale one is a guess");
    assert!(is_stale(&bench.register(&[stale, broken.clone()])));
    assert_eq!(bench.register(&[foreign, broken]), Verdict::Malformed);
    bench.users.asked.borrow_mut().clear();
    bench.register(&vec![wrong; 50]);
    assert_eq!(
        bench.users.asked.borrow().len(),
        MAX_CREDENTIALS,
        "a request buys a bounded number of hashes"
    );
}

#[test]
fn credentials_are_for_one_callee_however_the_host_is_written() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let invite =
        |uri: &'static str, count| Answer { uri, method: "INVITE", ..Answer::new(&nonce, count) }.write();
    let callee = "sip:1002@b2b.example:5060;transport=udp";
    let good = bench.verify(&request("INVITE", callee, &[invite("sip:%31002@b2b.example", 1)]));
    assert!(is_good(&good, "1001"), "{good:?}");
    let other = request("INVITE", callee, &[invite("sip:1003@b2b.example", 2)]);
    assert_eq!(bench.verify(&other), Verdict::Malformed);
    // Some phones sign the address of their server.
    let server = bench.verify(&request("INVITE", callee, &[invite("sip:b2b.example:5060", 3)]));
    assert!(is_good(&server, "1001"), "{server:?}");
    let mut behind_proxy = Bench::new(DigestConfig { check_uri: false, ..DigestConfig::default() });
    assert!(is_good(&behind_proxy.verify(&other), "1001"));
}

#[test]
fn the_method_is_part_of_the_digest() {
    let mut bench = Bench::new(DigestConfig::default());
    let nonce = bench.nonce();
    let for_register = Answer { uri: "sip:1002@b2b.example", ..Answer::new(&nonce, 1) }.write();
    let verdict = bench.verify(&request("INVITE", "sip:1002@b2b.example", &[for_register]));
    assert!(matches!(verdict, Verdict::Rejected { .. }));
}

#[test]
fn a_full_table_of_nonces_asks_the_oldest_again() {
    let mut bench = Bench::new(DigestConfig { max_nonces: 2, ..DigestConfig::default() });
    let nonces: Vec<String> = (0..3).map(|_| bench.nonce()).collect();
    for nonce in &nonces {
        assert!(is_good(&bench.register(&[Answer::new(nonce, 1).write()]), "1001"));
    }
    assert_eq!(bench.server.nonces_held(), 2);
    assert!(is_stale(&bench.register(&[Answer::new(&nonces[0], 2).write()])));
    assert!(is_good(&bench.register(&[Answer::new(&nonces[2], 2).write()]), "1001"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_it_or_open_it(value in "[ -~\\t]{0,200}", at in 0usize..200, byte in 0x20u8..0x7f) {
        let mut bench = Bench::new(DigestConfig::default());
        let nonce = bench.nonce();
        let mut mangled = Answer { password: "guess", ..Answer::new(&nonce, 1) }.write().into_bytes();
        let place = at % mangled.len();
        mangled[place] = byte;
        let mangled = String::from_utf8(mangled).unwrap();
        let written = [value.clone(), format!("Digest {value}"), mangled];
        for credentials in written {
            let verdict = bench.register(&[credentials]);
            let opened = matches!(verdict, Verdict::Authenticated { .. });
            proptest::prop_assert!(!opened);
        }
    }
}
