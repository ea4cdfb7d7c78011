//! What the actions and jumps of a scenario do, in virtual time.

use super::instance_tests::Scene;
use crate::load::party::Outcome;
use b2b_sip::auth::Algorithm;
use b2b_sip::auth::digest::Signed;

#[test]
fn a_call_has_its_fields_with_their_keywords_and_a_command_ends_the_run_or_the_call() {
    let steps = |command: &str| {
        format!(
            "<send><![CDATA[\nOPTIONS sip:[field0]@[remote_ip] SIP/2.0\nHEADCSeq: 1 OPTIONS\nSubject: a[field1]c\n]]></send>\n\
             <nop><action><exec int_cmd=\"{command}\"/></action></nop>\n<recv response=\"200\"/>"
        )
    };
    let scene = Scene::new(&steps("stop_gracefully"), None);
    assert!(scene.sent[0].starts_with("OPTIONS sip:1000@127.0.0.2 SIP/2.0\r\n"), "{}", scene.sent[0]);
    assert!(scene.sent[0].contains("\r\nSubject: ab 1c\r\n"), "{}", scene.sent[0]);
    assert!(scene.stopped && scene.outcome.is_none(), "the call goes on");
    for (command, stopped) in [("stop_call", false), ("stop_now", true)] {
        let scene = Scene::new(&steps(command), None);
        assert_eq!((scene.failure().1, scene.stopped), (&*format!("int_cmd {command}"), stopped));
    }
}

#[test]
fn credentials_are_verified_by_user_and_password_whoever_made_the_nonce() {
    let steps = "<recv request=\"REGISTER\"><action><verifyauth assign_to=\"ok\" username=\"ann\" password=\"[service]\"/>\
                 <log message=\"[$ok]\"/></action></recv>\n<recv request=\"BYE\"/>";
    let digest = |password: &[u8]| {
        let signed = Signed { method: b"REGISTER", uri: b"sip:b", nonce: b"n", qop: None };
        let response = Algorithm::Md5.response(&Algorithm::Md5.ha1(b"ann", b"r", password), &signed);
        let (user, rest) = ("Digest username=\"ann\"", "realm=\"r\", nonce=\"n\", uri=\"sip:b\"");
        format!("Authorization: {user}, {rest}, response=\"{}\"\r\n", response.as_str())
    };
    for (more, truth) in [(digest(b"1000"), "true"), (digest(b"x"), "false"), (String::new(), "false")] {
        let mut scene = Scene::new(steps, Some("a@b"));
        scene.comes("REGISTER sip:b SIP/2.0", "1 REGISTER", &more);
        assert_eq!(scene.logged, [truth]);
    }
}

#[test]
fn an_optional_message_at_the_end_ends_the_call() {
    let steps = "<recv request=\"INVITE\"/>\n<send><![CDATA[\nSIP/2.0 486 Busy\nREPLY\n]]></send>\n\
                 <recv request=\"ACK\" optional=\"true\"/>";
    let mut scene = Scene::new(steps, Some("a@b"));
    scene.comes("INVITE sip:b SIP/2.0", "1 INVITE", "");
    assert_eq!(scene.outcome, None);
    scene.comes("ACK sip:b SIP/2.0", "1 ACK", "");
    assert_eq!(scene.outcome, Some(Outcome::Done));
}

#[test]
fn a_condition_is_inverted_and_a_search_without_a_match_leaves_what_was_found() {
    let steps = "<recv request=\"OPTIONS\"><action><ereg regexp=\"sip:b\" assign_to=\"1\"/>\
                 <ereg regexp=\"nowhere\" assign_to=\"1\"/></action></recv>\n\
                 <nop condexec=\"1\"><action><log message=\"[$1]\"/></action></nop>\n\
                 <nop condexec=\"1\" condexec_inverse=\"true\"><action><log message=\"never\"/></action></nop>\n\
                 <nop condexec=\"2\" condexec_inverse=\"true\"><action><log message=\"2 is not set\"/></action></nop>\n\
                 <recv request=\"BYE\"/>";
    let mut scene = Scene::new(steps, Some("a@b"));
    scene.comes("OPTIONS sip:b SIP/2.0", "1 OPTIONS", "");
    assert_eq!(scene.logged, ["sip:b", "2 is not set"]);
}

#[test]
fn a_timeout_that_leads_to_the_end_fails_the_call() {
    let steps = "<recv request=\"OPTIONS\"/>\n<recv request=\"BYE\" timeout=\"500\" ontimeout=\"end\"/>\n<label id=\"end\"/>";
    let mut scene = Scene::new(steps, Some("a@b"));
    scene.comes("OPTIONS sip:b SIP/2.0", "1 OPTIONS", "");
    scene.passes(600);
    assert_eq!(scene.failure().1, "it did not come in time");
}
