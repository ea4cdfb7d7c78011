//! Phones behind NAT after a restart, and parties that exchange RTP directly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b::call::controller::{EndpointId, MediaEvent};
use b2b::server::registrar::{
    Aor, Binding, BindingFlow, BindingId, Change, LocationStore, MemoryStore, SentBy,
};
use b2b::sip::endpoint::Transport;
use b2b_testkit::SESSION;

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const BOB: &str = "192.0.2.12:5060";

/// A binding restored from SQLite: it has the address from which the phone registered, but no socket.
fn of_before() -> Box<dyn LocationStore> {
    let binding = Binding {
        id: BindingId(1),
        contact: (*b"sip:1001@192.168.1.7:5060").into(),
        params: Box::default(),
        q: 1_000,
        expires: Instant::now() + Duration::from_secs(3_600),
        call_id: (*b"x").into(),
        cseq: 1,
        path: Box::default(),
        flow: BindingFlow {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().expect("an address"),
            remote: BOB.parse().expect("an address"),
            id: None,
        },
        source: BOB.parse().expect("an address"),
        sent_by: SentBy::Elsewhere,
        instance: None,
        reg_id: None,
        user_agent: "".into(),
    };
    let mut store = MemoryStore::new();
    let aor = Aor::new("1001", "192.0.2.1").expect("an address of record");
    store.apply(&aor, vec![Change::Put(Arc::new(binding))]);
    Box::new(store)
}

#[test]
fn after_a_restart_a_phone_behind_nat_is_called_and_kept_reachable_where_it_registered_from() {
    let text = "[server]\ntrusted = [\"192.0.2.0/24\"]\ndomains = [\"192.0.2.1\"]\n[registrar]\nkeep_alive_s = 20\n\
                [[user]]\nname = \"1001\"\npassword = \"secret\"\n[[route]]\nto = \"user/$0\"\n";
    let mut bench = Bench::with_store(text, of_before());
    let (ann, bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
    bench.harness.run(Duration::from_secs(25));
    // OPTIONS instead of line ends: the socket whose NAT binding is open is no longer known.
    assert!(!bench.sent_to(BOB, "OPTIONS sip:1001@192.168.1.7:5060 ").is_empty());
    let call = bench.harness.call(ann, "1001", Some(SESSION));
    assert_eq!(bench.sent_to(BOB, "INVITE sip:1001@192.168.1.7:5060 ").len(), 1);
    bench.harness.answer_next(bob, SESSION);
    assert!(bench.harness.is_up(ann, call));
}

#[test]
fn a_route_with_direct_media_leads_the_parties_to_each_other_and_another_one_does_not() {
    for (media, invites) in [("direct", 2), ("relay", 1)] {
        let mut bench = Bench::new(&format!(
            "[server]\ntrusted = [\"192.0.2.0/24\"]\n[[route]]\nto = \"sip:bob@{BOB}\"\nmedia = \"{media}\"\n"
        ));
        let (ann, bob) = (bench.harness.party(ANN), bench.harness.party(BOB));
        bench.harness.call(ann, "bob", Some(SESSION));
        bench.harness.answer_next(bob, &SESSION.replace("198.51.100.7", "203.0.113.9"));
        for (endpoint, from) in [(1, "198.51.100.7:4000"), (2, "203.0.113.9:4000")] {
            let from = from.parse().expect("an address");
            bench.harness.media_event(MediaEvent::Started { endpoint: EndpointId(endpoint), from });
        }
        bench.harness.run(Duration::from_millis(1_100));
        let told = bench.sent_to(BOB, "INVITE ");
        assert_eq!(told.len(), invites, "{media}");
        assert_eq!(told.last().is_some_and(|it| it.contains("c=IN IP4 198.51.100.7")), media == "direct");
    }
}
