//! What a REGISTER is answered, and what it changes (RFC 3261 §10.3).

use super::*;

const A: &str = "<sip:1001@192.0.2.1>";
const B: &str = "<sip:1001@192.0.2.2>";

#[test]
fn a_contact_is_bound_listed_and_found() {
    let mut bench = Bench::new();
    let contacts = bench.ok(&Register::new(1).contact(A).expires(600));
    assert_eq!(contacts, ["<sip:1001@192.0.2.1>;expires=600"]);
    assert_eq!(bench.found("1001@b2b.example"), ["sip:1001@192.0.2.1"]);
    assert_eq!(bench.events(), ["+sip:1001@192.0.2.1"]);
    bench.pass(100);
    assert_eq!(bench.query(), ["<sip:1001@192.0.2.1>;expires=500"]);
    assert_eq!(bench.found("1002@b2b.example"), [""; 0]);
}

#[test]
fn several_contacts_of_one_request_each_have_their_own_expiry_and_preference() {
    let mut bench = Bench::new();
    let two = format!("{A};q=0.3;expires=100, {B};q=0.9");
    let three = "\"Desk, left\" <sip:1001@192.0.2.3;transport=tcp>;expires=\"200\";audio;+sip.x=\"a;b\"";
    let contacts = bench.ok(&Register::new(1).contact(&two).contact(three).expires(300));
    assert_eq!(
        contacts,
        [
            "<sip:1001@192.0.2.1>;q=0.3;expires=100",
            "<sip:1001@192.0.2.2>;q=0.9;expires=300",
            "<sip:1001@192.0.2.3;transport=tcp>;audio;+sip.x=\"a;b\";expires=200",
        ]
    );
    let found = bench.found("1001@b2b.example");
    assert_eq!(found, ["sip:1001@192.0.2.3;transport=tcp", "sip:1001@192.0.2.2", "sip:1001@192.0.2.1"]);
}

#[test]
fn a_refresh_replaces_its_own_binding_only_however_the_uri_is_written() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact("<sip:%31001@Phone.Example;transport=udp>").contact(B).expires(600));
    bench.pass(10);
    let contacts =
        bench.ok(&Register::new(2).contact("<sip:1001@phone.example;TRANSPORT=UDP>;q=0.1").expires(900));
    assert_eq!(
        contacts,
        ["<sip:1001@phone.example;TRANSPORT=UDP>;q=0.1;expires=900", "<sip:1001@192.0.2.2>;expires=590"]
    );
    assert_eq!(bench.events().last().map(String::as_str), Some("=sip:1001@phone.example;TRANSPORT=UDP"));
    // A written port differs from none (§19.1.4).
    assert_eq!(bench.ok(&Register::new(3).contact("<sip:1001@192.0.2.2:5060>")).len(), 3);
}

#[test]
fn the_same_contact_twice_in_one_request_counts_once_as_it_came_last() {
    let mut bench = Bench::new();
    let contacts =
        bench.ok(&Register::new(1).contact(&format!("{A};expires=100")).contact(&format!("{A};expires=200")));
    assert_eq!(contacts, ["<sip:1001@192.0.2.1>;expires=200"]);
}

#[test]
fn expires_0_removes_one_and_a_star_removes_all() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A).contact(B));
    assert_eq!(bench.ok(&Register::new(2).contact(&format!("{A};expires=0"))).len(), 1);
    bench.ok(&Register::new(3).contact(A));
    bench.events();
    assert_eq!(bench.ok(&Register::new(4).contact("*").expires(0)), [""; 0]);
    let gone = ["-sip:1001@192.0.2.2 Unregistered", "-sip:1001@192.0.2.1 Unregistered"];
    assert_eq!(bench.events(), gone);
    assert!(bench.registrar.store().is_empty());
    assert_eq!(bench.registrar.timers_held().0, 0);
    // Nothing there: nothing to do.
    assert_eq!(bench.ok(&Register::new(5).contact("*").expires(0)), [""; 0]);
    assert_eq!(bench.ok(&Register::new(6).contact(A).expires(0)), [""; 0]);
}

#[test]
fn a_star_with_anything_else_is_400_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A));
    for bad in [
        Register::new(2).contact("*"),
        Register::new(2).contact("*").expires(1),
        Register::new(2).contact("*").field("Expires: soon"),
        Register::new(2).contact("*").contact(B).expires(0),
    ] {
        assert_eq!(bench.answer(&bad).0, 400, "{}", bad.fields);
    }
    assert_eq!(bench.query().len(), 1);
}

#[test]
fn a_query_changes_nothing_and_needs_no_order() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(5).contact(A).expires(600));
    bench.events();
    assert_eq!(bench.ok(&Register::new(1)), ["<sip:1001@192.0.2.1>;expires=600"]);
    assert_eq!(bench.ok(&Register::new(1).expires(0)), ["<sip:1001@192.0.2.1>;expires=600"]);
    assert_eq!(bench.events(), [""; 0]);
}

#[test]
fn an_older_or_equal_cseq_of_the_same_call_id_is_refused_with_all_it_asks() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(5).contact(A).expires(600));
    for cseq in [5, 4, 0] {
        let mixed = Register::new(cseq).contact(B).contact(A).expires(900);
        assert_eq!(bench.answer(&mixed).0, 500);
        assert_eq!(bench.answer(&Register::new(cseq).contact("*").expires(0)).0, 500);
        assert_eq!(bench.answer(&Register::new(cseq).contact(A).expires(0)).0, 500);
    }
    assert_eq!(bench.query(), ["<sip:1001@192.0.2.1>;expires=600"]);
    // Another Call-ID is another boot of the phone, whatever it counts.
    assert_eq!(bench.ok(&Register::new(1).call_id("boot").contact(A).expires(700)).len(), 1);
    assert_eq!(bench.ok(&Register::new(2).call_id("boot").contact("*").expires(0)).len(), 0);
}

#[test]
fn a_phone_that_was_just_challenged_may_begin_to_count_again() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(5_000).contact(A).expires(600));
    let again = Register::new(2).contact(A).expires(700);
    assert_eq!(bench.answer(&again).0, 500, "with a nonce of old");
    bench.challenged = true;
    assert_eq!(bench.ok(&again), ["<sip:1001@192.0.2.1>;expires=700"]);
    bench.challenged = false;
    assert_eq!(bench.ok(&Register::new(3).contact(A).expires(800)), ["<sip:1001@192.0.2.1>;expires=800"]);
    assert_eq!(bench.answer(&again).0, 500, "an old request");
    bench.challenged = true;
    assert_eq!(bench.ok(&Register::new(1).contact("*").expires(0)), [""; 0]);
}

#[test]
fn what_is_too_brief_gets_423_and_what_is_too_long_is_cut() {
    let mut bench = Bench::new();
    let reply = bench.send(&Register::new(1).contact(A).expires(59)).reply;
    assert_eq!((reply.status, reply.reason.as_str()), (423, "Interval Too Brief"));
    assert_eq!(reply.headers, [(Bytes::from("Min-Expires"), Bytes::from("60"))]);
    let reply = bench.send(&Register::new(1).contact(B).contact(&format!("{A};expires=1"))).reply;
    assert_eq!(reply.status, 423);
    assert_eq!(bench.query(), [""; 0], "one contact too brief, and nothing is bound");
    assert_eq!(bench.ok(&Register::new(1).contact(A).expires(60)), ["<sip:1001@192.0.2.1>;expires=60"]);
    let long = Register::new(2).contact(A).expires(4_294_967_295);
    assert_eq!(bench.ok(&long), ["<sip:1001@192.0.2.1>;expires=7200"]);
    let silent = Register::new(3).contact(A);
    assert_eq!(bench.ok(&silent), ["<sip:1001@192.0.2.1>;expires=3600"]);
    for (cseq, malformed) in [(4, "-1"), (5, "4294967296"), (6, "\"x\""), (7, "1h")] {
        let contact = format!("{A};expires={malformed}");
        assert_eq!(bench.ok(&Register::new(cseq).contact(&contact)), ["<sip:1001@192.0.2.1>;expires=3600"]);
    }
}

#[test]
fn a_minimum_above_an_hour_is_not_enforced_beyond_it() {
    let min_expires = Duration::from_secs(7_000);
    let mut bench = Bench::with(RegistrarConfig { min_expires, ..RegistrarConfig::default() });
    assert_eq!(bench.answer(&Register::new(1).contact(A).expires(3_599)).0, 423);
    assert_eq!(bench.answer(&Register::new(1).contact(A).expires(3_600)).0, 200);
}

#[test]
fn more_contacts_than_allowed_are_403_and_a_refresh_still_works() {
    let mut bench = Bench::with(RegistrarConfig { max_contacts: 2, ..RegistrarConfig::default() });
    bench.ok(&Register::new(1).contact(A).contact(B));
    let third = "<sip:1001@192.0.2.3>";
    assert_eq!(bench.answer(&Register::new(2).contact(third)).0, 403);
    assert_eq!(bench.answer(&Register::new(2).contact(A).contact(third)).0, 403);
    assert_eq!(bench.ok(&Register::new(2).contact(A)).len(), 2);
    let swap = Register::new(3).contact(&format!("{A};expires=0")).contact(third);
    assert_eq!(bench.ok(&swap).len(), 2);
    // A user with a limit of their own.
    let mut of_1002 =
        |cseq, contact| bench.answer(&Register::new(cseq).to("<sip:1002@b2b.example>").contact(contact)).0;
    assert_eq!((of_1002(1, A), of_1002(2, B), of_1002(3, A)), (200, 403, 200));
}

/// A contact of the phone with this instance.
fn of_phone(port: u16, instance: &str) -> String {
    format!("<sip:1001@192.0.2.1:{port}>;+sip.instance=\"<urn:uuid:{instance}>\"")
}

#[test]
fn a_phone_that_names_its_instance_gives_up_its_old_contact_for_a_new_one() {
    let mut bench = Bench::with(RegistrarConfig { max_contacts: 2, ..RegistrarConfig::default() });
    bench.ok(&Register::new(1).call_id("other").contact(&of_phone(6_000, "b")));
    for (cseq, port) in (1..).zip(7_001..7_006) {
        let listed = bench.ok(&Register::new(cseq).contact(&of_phone(port, "a")));
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert!(listed[1].contains(&format!(":{port}>")), "{listed:?}");
    }
    assert!(bench.found("1001@b2b.example").contains(&"sip:1001@192.0.2.1:6000".to_owned()));
    // It removes an address that it has left, and keeps the new one.
    let old = format!("{};expires=0", of_phone(7_001, "a"));
    assert_eq!(bench.ok(&Register::new(9).contact(&old)).len(), 2);
    // It may have two addresses at a time, and refresh both.
    let both = |cseq| Register::new(cseq).contact(&of_phone(7_005, "a")).contact(&of_phone(7_006, "a"));
    let mut bench = Bench::with(RegistrarConfig { max_contacts: 2, ..RegistrarConfig::default() });
    bench.ok(&both(1));
    bench.events();
    assert_eq!(bench.ok(&both(2)).len(), 2);
    assert_eq!(bench.events(), ["=sip:1001@192.0.2.1:7005", "=sip:1001@192.0.2.1:7006"]);
}

#[test]
fn a_contact_whose_connection_is_gone_gives_way_when_there_is_no_room() {
    let mut bench = Bench::with(RegistrarConfig { max_contacts: 2, ..RegistrarConfig::default() });
    let come = |bench: &mut Bench, number: u32, transport| {
        bench.flow = Flow { id: FlowId(number.into()), ..flow(transport, "198.51.100.7:40123") };
        let contact = format!("<sip:1001@198.51.100.7:{}>", 40_000 + number);
        bench.answer(&Register::new(number).contact(&contact)).0
    };
    assert_eq!(come(&mut bench, 1, Transport::Tcp), 200);
    assert_eq!(come(&mut bench, 2, Transport::Tls), 200);
    assert_eq!(come(&mut bench, 3, Transport::Tcp), 403, "both are there");
    bench.closed.push(FlowId(2));
    bench.events();
    assert_eq!(come(&mut bench, 4, Transport::Udp), 200);
    assert_eq!(bench.events(), ["-sip:1001@198.51.100.7:40002 Evicted", "+sip:1001@198.51.100.7:40004"]);
    // What a phone on UDP is reached by cannot break.
    bench.closed.push(FlowId(4));
    assert_eq!(come(&mut bench, 5, Transport::Tcp), 403);
}

#[test]
fn the_contact_that_expires_first_is_replaced_if_the_configuration_says_so() {
    let config = RegistrarConfig { max_contacts: 2, contacts_replace: true, ..RegistrarConfig::default() };
    let mut bench = Bench::with(config);
    let contact = |number: u32| format!("<sip:1001@192.0.2.{number}>");
    bench.ok(&Register::new(1).contact(&contact(1)));
    bench.pass(1);
    bench.ok(&Register::new(2).contact(&contact(2)));
    bench.pass(1);
    bench.ok(&Register::new(3).contact(&contact(1)));
    bench.events();
    let listed = bench.ok(&Register::new(4).contact(&contact(3)));
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(bench.events(), ["-sip:1001@192.0.2.2 Evicted", "+sip:1001@192.0.2.3"]);
    assert_eq!(bench.registrar.counters().evicted, 1);
    // One REGISTER for more than there is room for has none to replace.
    let three = Register::new(5).contact(&contact(7)).contact(&contact(8)).contact(&contact(9));
    assert_eq!(bench.answer(&three).0, 403);
    assert_eq!(bench.query().len(), 2);
}

#[test]
fn a_full_store_takes_no_new_bindings_but_refreshes() {
    let mut bench = Bench::with(RegistrarConfig { max_bindings: 1, ..RegistrarConfig::default() });
    bench.ok(&Register::new(1).contact(A));
    let reply = bench.send(&Register::new(2).contact(B)).reply;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.headers[0].0, "Retry-After");
    bench.ok(&Register::new(3).contact(A));
}

#[test]
fn domains_addresses_and_users_are_held_apart() {
    let mut bench = Bench::new();
    let status = |bench: &mut Bench, register: &Register, user: Option<&str>| {
        bench
            .registrar
            .handle(
                bench.now,
                &register.request(),
                Sender {
                    flow: &bench.flow,
                    source: bench.flow.remote,
                    user,
                    challenged: false,
                    is_open: &|_| true,
                },
                &House,
            )
            .reply
            .status
    };
    let elsewhere = Register { uri: "sip:elsewhere".into(), ..Register::new(1).contact(A) };
    assert_eq!(status(&mut bench, &elsewhere, None), 404);
    let no_host = Register { uri: "tel:+44".into(), ..Register::new(1).contact(A) };
    assert_eq!(status(&mut bench, &no_host, None), 404);
    let mine = Register::new(1).contact(A);
    assert_eq!(status(&mut bench, &mine, Some("1002")), 403);
    assert_eq!(status(&mut bench, &mine, Some("1001")), 200);
    // Who may not register it does not learn whether it is there.
    let unknown = Register::new(1).to("<sip:9999@b2b.example>").contact(A);
    assert_eq!(status(&mut bench, &unknown, Some("1001")), 403);
    assert_eq!(status(&mut bench, &unknown, Some("9999")), 404);
    for to in ["<tel:+44>", "<sip:b2b.example>", "<sip:1001@elsewhere>"] {
        assert_eq!(status(&mut bench, &Register::new(1).to(to).contact(A), None), 404, "{to}");
    }
    assert_eq!(bench.registrar.store().len(), 1);
}

#[test]
fn spellings_and_aliases_of_an_address_share_its_bindings() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A));
    let mut cseq = 1;
    for to in [
        "<sip:1001@B2B.EXAMPLE;transport=tcp>",
        "\"Desk\" <sip:%31001@192.0.2.99:5060>",
        "<sips:front@b2b.example>",
    ] {
        cseq += 1;
        let register = Register { uri: "sip:192.0.2.99".into(), ..Register::new(cseq).to(to).contact(B) };
        assert_eq!(bench.ok(&register).len(), 2, "{to}");
    }
}

#[test]
fn what_is_too_long_to_keep_is_400() {
    let mut bench = Bench::with(RegistrarConfig { trusted: edge(), ..RegistrarConfig::default() });
    let long = "x".repeat(1_100);
    for bad in [
        Register::new(1).contact(&format!("<sip:{long}@192.0.2.1>")),
        Register::new(1).contact(&format!("{A};x={long}")),
        Register::new(1).contact(A).field(&format!("Path: <sip:{long}@x;lr>, <sip:{long}@y;lr>")),
        Register::new(1).contact(A).field("Path: nonsense"),
    ] {
        assert_eq!(bench.answer(&bad).0, 400, "{:.60}", bad.fields);
    }
    assert!(bench.registrar.store().is_empty());
    bench.ok(&Register::new(1).contact(A).field(&format!("User-Agent: {}é", "x".repeat(127))));
    let aor = "1001@b2b.example".parse().unwrap();
    assert_eq!(bench.registrar.lookup(bench.now, &aor)[0].user_agent.len(), 127);
}

#[test]
fn folds_and_control_characters_do_not_come_back() {
    let mut bench = Bench::new();
    let contacts = bench.ok(&Register::new(1).contact(&format!("{A};x=\"a\r\n b\x01c\";expires\r\n =600")));
    assert_eq!(contacts, ["<sip:1001@192.0.2.1>;x=\"a b c\";expires=600"]);
}

#[test]
fn a_flow_of_a_phone_is_one_binding_whatever_its_contact_becomes() {
    let mut bench = Bench::new();
    let phone = |port: u16, instance: &str, reg_id: u32| {
        format!("<sip:1001@192.0.2.1:{port}>;+sip.instance=\"<urn:uuid:{instance}>\";reg-id={reg_id}")
    };
    bench.ok(&Register::new(1).contact(&phone(1_000, "a", 1)));
    assert_eq!(bench.ok(&Register::new(1).call_id("x").contact(&phone(2_000, "a", 1))).len(), 1, "rebooted");
    assert_eq!(
        bench.ok(&Register::new(1).call_id("y").contact(&phone(2_000, "a", 2))).len(),
        2,
        "second flow"
    );
    assert_eq!(
        bench.ok(&Register::new(1).call_id("z").contact(&phone(2_000, "b", 1))).len(),
        3,
        "other phone"
    );
    assert_eq!(bench.answer(&Register::new(1).call_id("z").contact(&phone(9, "b", 1))).0, 500, "in order");
    let plain = "<sip:1001@192.0.2.1:3000>;+sip.instance=\"<urn:uuid:b>\"";
    assert_eq!(bench.ok(&Register::new(1).call_id("w").contact(plain)).len(), 3, "without reg-ids since");
    assert_eq!(bench.ok(&Register::new(1).call_id("v").contact(&phone(4_000, "b", 1))).len(), 3, "with them");
    let found = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap());
    assert_eq!(found[0].reg_id, Some(1));
    assert_eq!(found[0].instance.as_deref(), Some(&b"\"<urn:uuid:a>\""[..]));
}

#[test]
fn a_path_is_kept_and_told_to_who_understands_it() {
    let mut bench = Bench::with(RegistrarConfig { trusted: edge(), ..RegistrarConfig::default() });
    let path = "Path: <sip:a,b@192.0.2.1;lr;received=sip:198.51.100.7:40123>, <sip:p2.example;lr>";
    let plain = bench.send(&Register::new(1).contact(A).field(path));
    assert!(plain.reply.headers.iter().all(|(name, _)| name != "Path"));
    let reply = bench
        .send(&Register::new(2).contact(A).field(path).field("Path: <sip:p3;lr>").field("Supported: path"));
    let told = reply.reply.headers.iter().find(|(name, _)| name == "Path").map(|(_, value)| value.clone());
    let whole =
        &b"<sip:a,b@192.0.2.1;lr;received=sip:198.51.100.7:40123>, <sip:p2.example;lr>, <sip:p3;lr>"[..];
    assert_eq!(told.as_deref(), Some(whole));
    let found = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap());
    assert_eq!(bench.registrar.next_hop(&found[0]), NextHop::Path(whole));
}

#[test]
fn a_path_that_nobody_named_has_brought_does_not_count() {
    let mut bench = Bench::new();
    let register = Register::new(1).contact(A).field("Path: <sip:203.0.113.9;lr>").field("Supported: path");
    let reply = bench.send(&register);
    assert!(reply.unnamed_proxy && reply.reply.status == 200);
    assert!(reply.reply.headers.iter().all(|(name, _)| name != "Path"));
    let found = bench.registrar.lookup(bench.now, &"1001@b2b.example".parse().unwrap());
    assert_eq!(bench.registrar.next_hop(&found[0]), NextHop::Flow(BindingFlow::from(&bench.flow), b""));
    assert!(!bench.send(&Register::new(2).contact(A)).unnamed_proxy);
}

#[test]
fn replies_of_a_store_in_memory_wait_for_nothing() {
    let mut bench = Bench::new();
    let reply = bench.send(&Register::new(1).contact(A));
    assert_eq!(bench.registrar.store().outcome(reply.commit), Outcome::Kept);
}
