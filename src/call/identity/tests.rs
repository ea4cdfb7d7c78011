//! Reading and writing of caller identities, including false claims.

use std::sync::Arc;

use b2b_sip::msg::{Limits, Message, Request};
use bytes::Bytes;

use super::diversion::Diversion;
use super::outward::{Outward, Sends, Told, Writing};
use super::*;
use crate::identity::diversion::Diverted;

fn invite(fields: &str) -> Request {
    let from = if fields.contains("From:") { "" } else { "From: \"Ann\" <sip:1001@b2b.example>;tag=1\r\n" };
    let text = format!(
        "INVITE sip:acct7@b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\n{from}\
         To: <sip:+4930111@b2b.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{fields}\
         Content-Length: 0\r\n\r\n"
    );
    match Message::parse(Bytes::from(text), &Limits::default()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn trusted(fields: &str) -> CallerIdentity {
    let reads = Reads { believed: Believed::Asserted, gateway: true, ..Reads::default() };
    CallerIdentity::read(&invite(fields), &reads)
}

fn user(fields: &str, numbers: &[&str]) -> CallerIdentity {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let aliases = ["ann".to_owned()];
    let user = UserNumbers {
        name: "1001",
        display_name: None,
        aliases: &aliases,
        usual: Some("+49301"),
        numbers: &numbers,
    };
    let reads = Reads { believed: Believed::User(user), ..Reads::default() };
    CallerIdentity::read(&invite(fields), &reads)
}

fn seen(who: &CallerIdentity) -> (&str, &str, bool) {
    (&who.number, who.told(), who.private)
}

const PAI: &str = "P-Asserted-Identity: \"Bank\" <sip:+49800@carrier>, <tel:+49-800>\r\n";
const RPID: &str = "Remote-Party-ID: \"Desk\" <sip:+49801@carrier>;party=calling;privacy=full\r\n";

#[test]
fn a_trusted_gateway_is_believed_what_it_asserts() {
    let who = trusted(PAI);
    assert_eq!(seen(&who), ("+49800", "+49800", false));
    assert_eq!((who.name.as_deref(), who.vouched), (Some("Bank"), true));
    assert_eq!(who.asserted, ["sip:+49800@carrier", "tel:+49-800"]);
    assert_eq!(seen(&trusted("P-Asserted-Identity: <tel:+49-(30)-7>\r\n")), ("+49307", "+49307", false));
    let both = format!("{RPID}{PAI}");
    assert_eq!(seen(&trusted(&both)), ("+49800", "+49800", false), "PAI before RPID");
    let who = trusted(RPID);
    assert_eq!((seen(&who), who.name.as_deref()), (("+49801", "anonymous", true), Some("Desk")));
    let called = "Remote-Party-ID: <sip:+49802@carrier>;party=called\r\n";
    assert_eq!(seen(&trusted(called)), ("1001", "1001", false), "of another party");
    assert_eq!(seen(&trusted("")), ("1001", "1001", false));
}

#[test]
fn nobody_else_is() {
    let claims =
        format!("{PAI}{RPID}P-Preferred-Identity: <sip:+49802@x>\r\nDiversion: <sip:9@x>;reason=away\r\n");
    let who = CallerIdentity::read(&invite(&claims), &Reads::default());
    let plain = CallerIdentity { number: "1001".into(), said: "1001".into(), ..CallerIdentity::default() };
    assert_eq!(who, plain);
    let who = user(&claims, &[]);
    let own = CallerIdentity { number: "+49301".into(), vouched: true, ..plain };
    assert_eq!(who, own);
    let stolen = "From: <sip:+49800@b2b.example>;tag=1\r\n";
    assert_eq!((user(stolen, &[]).number, user(stolen, &[]).said), ("+49301".into(), "+49301".into()));
    let verified = "From: <sip:+49800;verstat=TN-Validation-Passed@x>;tag=1\r\n";
    let who = CallerIdentity::read(&invite(verified), &Reads::default());
    assert_eq!((who.number.as_str(), who.verstat), ("+49800", None));
}

#[test]
fn a_user_chooses_among_its_numbers() {
    let (one, other) = ("+49302", "+49303");
    let preferred = "P-Preferred-Identity: <sip:+49303@x>\r\n";
    assert_eq!(seen(&user(preferred, &[one, other])), (other, other, false));
    assert_eq!(seen(&user(preferred, &[one])), ("+49301", "1001", false), "not one of them");
    let from = "From: <sip:+49302@b2b.example>;tag=1\r\n";
    assert_eq!(seen(&user(from, &[one, other])), (one, one, false));
    let both = format!("{from}{preferred}");
    assert_eq!(seen(&user(&both, &[one, other])), (other, other, false), "PPI before From");
    let asserted = "P-Asserted-Identity: <sip:+49303@x>\r\n";
    assert_eq!(seen(&user(asserted, &[one, other])), ("+49301", "1001", false));
    for own in ["1001", "ann", "+49301"] {
        let from = format!("From: <sip:{own}@b2b.example>;tag=1\r\n");
        assert_eq!(seen(&user(&from, &[])), ("+49301", own, false));
    }
}

#[test]
fn whoever_wants_to_stay_unknown_does() {
    for (fields, private) in [
        ("Privacy: id\r\n", true),
        ("Privacy: header;ID\r\n", true),
        ("Privacy: user;critical\r\n", true),
        ("Privacy: none\r\n", false),
        ("Privacy: session\r\n", false),
        ("Privacy: history\r\n", false),
        ("From: \"Anonymous\" <sip:anonymous@Anonymous.Invalid>;tag=1\r\n", true),
        ("From: <sip:anonymous@b2b.example>;tag=1\r\n", false),
    ] {
        let unbelieved = CallerIdentity::read(&invite(fields), &Reads::default());
        for who in [unbelieved, user(fields, &[])] {
            assert_eq!(who.private, private, "{fields}");
            assert!(!private || who.told() == "anonymous");
        }
        let who = trusted(&format!("{fields}{PAI}"));
        assert_eq!(who.private, private || fields.contains("anonymous"), "{fields}");
        assert_eq!(who.number, "+49800");
    }
    let fields = "From: <sip:anonymous@anonymous.invalid>;tag=1\r\nPrivacy: id\r\n";
    assert_eq!(user(fields, &["+49302"]).number, "+49301", "we know who it is all the same");
    let chosen = format!("{fields}P-Preferred-Identity: <sip:+49302@x>\r\n");
    assert_eq!(user(&chosen, &["+49302"]).number, "+49302");
}

#[test]
fn the_called_number_is_where_the_gateway_has_it() {
    let fields =
        "P-Called-Party-ID: \"Shop\" <sip:+4930222@ims;user=phone>\r\nX-DID: 030-333;npdi\r\nX-Odd: a b\r\n";
    let header = CalledFrom::Header;
    for (called, number) in [
        (CalledFrom::RequestUri, "acct7"),
        (CalledFrom::To, "+4930111"),
        (header("P-Called-Party-ID"), "+4930222"),
        (header("x-did"), "030333"),
        (header("X-Odd"), "acct7"),
        (header("X-Not-There"), "acct7"),
    ] {
        assert_eq!(
            called_number(&invite(fields), &Reads { called, ..Reads::default() }),
            number,
            "{called:?}"
        );
    }
}

#[test]
fn forwarding_is_read_from_either_field() {
    let of = |number: &str, reason| Diversion { number: number.to_owned(), reason };
    let diversion = "Diversion: <sip:11@x>;reason=User-Busy;counter=1, <tel:+49-12>;reason=\"no-answer\"\r\n\
                     Diversion: <sip:13@x>;privacy=full, <sip:14@x>;reason=bored\r\n";
    let read = [of("11", "user-busy"), of("+4912", "no-answer"), of("14", "unknown")];
    assert_eq!(trusted(diversion).diversions, read);
    let history = "History-Info: <sip:21@x>;index=1,<sip:22@x;cause=302>;index=1.1\r\n\
                   History-Info: <sip:23@x?Privacy=history>;index=1.1.1,<sip:24@x;cause=408>;index=1.1.1.1;mp=1.1.1\r\n";
    assert_eq!(trusted(history).diversions, [of("21", "unconditional")], "23 stays unknown");
    let both = format!("{diversion}{history}");
    assert_eq!(trusted(&both).diversions, read);
    assert_eq!(trusted(&format!("{diversion}Privacy: history\r\n")).diversions, []);
}

// ---- outward

fn told(trusts: bool, sends: Option<Sends>) -> Told {
    let number = Arc::new(|number: &str| number.replacen('+', "00", 1));
    Told {
        number: "0049301".to_owned(),
        domain: "carrier.example".to_owned(),
        account: None,
        outward: Arc::new(Outward { trusted: trusts, sends, params: Vec::new(), number }),
    }
}

const ALL: Sends = Sends {
    asserted: true,
    preferred: true,
    remote_party: true,
    diversion: true,
    history: true,
    signed: true,
};

fn forwarded() -> Diverted {
    let before = Diverted { number: "+4931".into(), reason: "user-busy", ..Diverted::default() };
    Diverted { number: "+4932".into(), before: Some(Arc::new(before)), ..Diverted::default() }
}

fn fields(who: &CallerIdentity, told: Option<&Told>) -> Vec<String> {
    let diverted = forwarded();
    let writing = Writing {
        who: Some(who),
        told,
        target: "sip:+4930111@carrier.example;transport=udp",
        diverted: Some(&diverted),
        domain: "b2b.example",
    };
    let written = writing.fields("+49800", "\"Ann\" ");
    let text = |it: &Bytes| String::from_utf8(it.to_vec()).unwrap();
    written.fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

#[test]
fn a_gateway_gets_what_its_list_says() {
    let who = user("", &[]);
    let plain = [
        "Diversion: <sip:+4932@b2b.example>;reason=unknown",
        "Diversion: <sip:+4931@b2b.example>;reason=user-busy",
    ];
    assert_eq!(fields(&who, None), plain, "a phone");
    assert_eq!(fields(&who, Some(&told(false, None))), plain, "as before there was a list");
    assert_eq!(fields(&who, Some(&told(false, Some(Sends::default())))), Vec::<String>::new());
    let all = [
        "P-Asserted-Identity: \"Ann\" <sip:0049301@carrier.example>",
        "P-Preferred-Identity: \"Ann\" <sip:0049301@carrier.example>",
        "Remote-Party-ID: \"Ann\" <sip:0049301@carrier.example>;party=calling;screen=yes;privacy=off",
        "Diversion: <sip:004932@carrier.example>;reason=unknown",
        "Diversion: <sip:004931@carrier.example>;reason=user-busy",
        "History-Info: <sip:004931@carrier.example>;index=1",
        "History-Info: <sip:004932@carrier.example;cause=486>;index=1.1;mp=1",
        "History-Info: <sip:+4930111@carrier.example;cause=404>;index=1.1.1;mp=1.1",
    ];
    assert_eq!(fields(&who, Some(&told(false, Some(ALL)))), all);
    assert_eq!(fields(&who, Some(&told(true, Some(ALL)))), all);
}

#[test]
fn nothing_is_asserted_that_nobody_stands_for() {
    let of = |believed| {
        let who = CallerIdentity::read(&invite(""), &Reads { believed, ..Reads::default() });
        fields(&who, Some(&told(true, Some(Sends { diversion: false, history: false, ..ALL }))))
    };
    let claimed = of(Believed::From);
    assert_eq!(claimed.len(), 2, "{claimed:?}");
    assert!(claimed[0].starts_with("P-Preferred") && claimed[1].ends_with("screen=no;privacy=off"));
    let local = of(Believed::Local);
    assert!(local[0].starts_with("P-Asserted") && local[2].ends_with("screen=yes;privacy=off"), "{local:?}");
}

#[test]
fn who_stays_unknown_is_told_to_trusted_gateways_alone() {
    let who = user("Privacy: id\r\n", &[]);
    for told in [None, Some(told(false, None)), Some(told(false, Some(ALL)))] {
        assert_eq!(fields(&who, told.as_ref()), ["Privacy: id"]);
    }
    let trusted = fields(&who, Some(&told(true, Some(ALL))));
    assert_eq!(trusted[0], "Privacy: id");
    assert_eq!(trusted[1], "P-Asserted-Identity: \"Ann\" <sip:0049301@carrier.example>");
    assert!(trusted[3].ends_with(";screen=yes;privacy=full"), "{trusted:?}");
    assert_eq!(trusted.len(), 9);
}

#[test]
fn from_of_who_stays_unknown_has_nothing_but_the_account() {
    let (who, shown) = (user("Privacy: id\r\n", &[]), user("", &[]));
    let with = Told { account: Some("acct 7".to_owned()), ..told(false, None) };
    let without = told(true, Some(ALL));
    let from = |who, told| {
        Writing { who: Some(who), told, target: "sip:1@h", diverted: None, domain: "h" }.anonymous_from()
    };
    assert_eq!(from(&shown, Some(&with)), None);
    assert_eq!(from(&who, None).unwrap(), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    assert_eq!(from(&who, Some(&without)).unwrap(), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    assert_eq!(from(&who, Some(&with)).unwrap(), "\"Anonymous\" <sip:acct%207@carrier.example>");
}

const SIGNED: &str = "From: <sip:+49800@carrier>;tag=1\r\nIdentity: eyJ.x.y;info=<https://c/1>;alg=ES256\r\n\
                      Date: Thu, 21 Feb 2002 13:02:03 GMT\r\nP-Attestation-Indicator: A\r\n\
                      P-Asserted-Identity: <tel:+49800;verstat=TN-Validation-Passed>\r\n";

#[test]
fn what_was_signed_goes_on_as_it_came_where_the_numbers_stay() {
    let who = trusted(SIGNED);
    assert_eq!((who.number.as_str(), who.verstat.as_deref()), ("+49800", Some("TN-Validation-Passed")));
    let same = Told { number: "+49800".into(), ..told(true, Some(ALL)) };
    let sent = fields(&who, Some(&same));
    for line in [
        "Identity: eyJ.x.y;info=<https://c/1>;alg=ES256",
        "Date: Thu, 21 Feb 2002 13:02:03 GMT",
        "P-Attestation-Indicator: A",
        "P-Asserted-Identity: \"Ann\" <sip:+49800;verstat=TN-Validation-Passed@carrier.example>",
        "P-Asserted-Identity: <tel:+49800;verstat=TN-Validation-Passed>",
    ] {
        assert!(sent.iter().any(|it| it == line), "{line}: {sent:?}");
    }
    let signed = who.signed.as_deref().unwrap();
    for (from, to, same) in [
        ("+49800", "+4930111", true),
        ("49800", "4930111", true),
        ("+49801", "+4930111", false),
        ("+49800", "+4930112", false),
        ("anonymous", "+4930111", false),
    ] {
        assert_eq!(signed.is_of(from, to), same, "{from} {to}");
    }
    let writing =
        Writing { who: Some(&who), told: Some(&same), target: "sip:9@h", diverted: None, domain: "h" };
    let other = writing.fields("+49800", "");
    assert!(other.dropped.is_some() && other.fields.iter().all(|(name, _)| name != "Identity"));
    let quiet = Told { number: "+49800".into(), ..told(true, Some(Sends { signed: false, ..ALL })) };
    assert!(
        !fields(&who, Some(&quiet)).iter().any(|it| it.contains("verstat") || it.starts_with("Identity"))
    );
}

#[test]
fn who_is_not_trusted_attests_nothing() {
    let reads = Reads { gateway: true, ..Reads::default() };
    let who = CallerIdentity::read(&invite(SIGNED), &reads);
    assert_eq!(who.verstat, None);
    let signed = who.signed.unwrap();
    let names: Vec<_> = signed.fields.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["Identity", "Date"], "what verifies itself");
    assert_eq!(user(SIGNED, &[]).signed, None, "a user is no gateway");
}
