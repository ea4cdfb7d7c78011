//! Expiry, NAT and keep-alive.

use super::*;

const A: &str = "<sip:1001@192.0.2.1>";

#[test]
fn bindings_vanish_when_their_time_is_over_looked_at_or_not() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A).expires(100));
    bench.now += Duration::from_secs(99);
    assert_eq!(bench.found("1001@b2b.example").len(), 1);
    bench.now += Duration::from_secs(1);
    assert_eq!(bench.found("1001@b2b.example"), [""; 0], "before any timeout was handled");
    bench.events();
    assert_eq!(bench.query(), [""; 0]);
    assert_eq!(bench.events(), ["-sip:1001@192.0.2.1 Expired"]);
    bench.pass(0);
    assert_eq!(bench.events(), [""; 0], "and told once");
    assert!(bench.registrar.store().is_empty());
}

#[test]
fn the_next_timeout_leads_from_expiry_to_expiry() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.ok(&Register::new(1)
        .contact("<sip:a@192.0.2.1>;expires=100")
        .contact("<sip:b@192.0.2.1>;expires=300"));
    bench.pass(50);
    bench.ok(&Register::new(2).contact("<sip:a@192.0.2.1>;expires=200"));
    bench.events();
    let mut gone = Vec::new();
    while let Some(at) = bench.registrar.next_timeout() {
        assert!(at > bench.now, "no timeout that does nothing for ever");
        bench.now = at;
        bench.registrar.handle_timeout(at);
        for event in bench.events() {
            gone.push((bench.now.duration_since(start).as_secs(), event));
        }
    }
    let expected =
        [(250, "-sip:a@192.0.2.1 Expired".to_owned()), (300, "-sip:b@192.0.2.1 Expired".to_owned())];
    assert_eq!(gone, expected);
}

#[test]
fn an_expiry_that_comes_forward_is_kept() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A).expires(3_600));
    bench.ok(&Register::new(2).contact(A).expires(60));
    bench.pass(60);
    assert!(bench.registrar.store().is_empty());
}

#[test]
fn an_expired_binding_binds_no_order_and_no_room() {
    let mut bench = Bench::with(RegistrarConfig { max_contacts: 1, ..RegistrarConfig::default() });
    bench.ok(&Register::new(5).contact(A).expires(60));
    bench.now += Duration::from_secs(60);
    bench.events();
    assert_eq!(bench.ok(&Register::new(1).contact(A).expires(60)).len(), 1);
    assert_eq!(bench.events(), ["-sip:1001@192.0.2.1 Expired", "+sip:1001@192.0.2.1"]);
}

#[test]
fn the_operator_takes_bindings_away() {
    let mut bench = Bench::new();
    bench.ok(&Register::new(1).contact(A).contact("<sip:b@192.0.2.1>"));
    bench.events();
    bench.registrar.remove(&"1001@b2b.example".parse().unwrap());
    assert_eq!(bench.events(), ["-sip:1001@192.0.2.1 ByOperator", "-sip:b@192.0.2.1 ByOperator"]);
    bench.ok(&Register::new(1).contact(A));
}

#[test]
fn a_contact_is_reached_on_the_flow_that_it_registered_by() {
    let mut bench = Bench::new();
    bench.flow = flow(Transport::Udp, "198.51.100.7:40123");
    bench.ok(&Register::new(1).contact("<sip:1001@10.0.0.5:5060>"));
    let aor: Aor = "1001@b2b.example".parse().unwrap();
    let binding = bench.registrar.lookup(bench.now, &aor).remove(0);
    assert_eq!(bench.registrar.next_hop(&binding), NextHop::Flow(BindingFlow::from(&bench.flow), b""));
    assert_eq!(binding.flow.flow(), Some(bench.flow));
    assert_eq!(binding.flow.remote_uri(), "sip:198.51.100.7:40123;transport=udp");
    assert!(binding.behind_nat());
    assert!(bench.registrar.is_registered_from(bench.now, &aor, bench.flow.remote));
    assert!(!bench.registrar.is_registered_from(bench.now, &aor, "198.51.100.7:1".parse().unwrap()));
    // A refresh from elsewhere moves it.
    bench.flow = flow(Transport::Udp, "198.51.100.7:40999");
    bench.ok(&Register::new(2).contact("<sip:1001@10.0.0.5:5060>"));
    assert_eq!(bench.registrar.lookup(bench.now, &aor)[0].flow.remote.port(), 40_999);
}

#[test]
fn keep_alives_go_to_every_udp_binding_outside_our_networks_until_it_is_gone() {
    let block = |net: &str, prefix| (net.parse().unwrap(), prefix);
    let trusted = Trusted {
        proxies: [block("203.0.113.5", 32)].into_iter().collect(),
        inside: [block("10.0.0.0", 8)].into_iter().collect(),
        ..Trusted::default()
    };
    let mut bench = Bench::with(RegistrarConfig { trusted, ..RegistrarConfig::default() });
    for (cseq, transport, remote, contact) in [
        (1, Transport::Udp, "10.0.0.5:5060", "<sip:inside@10.0.0.5>"),
        (2, Transport::Tcp, "198.51.100.7:40123", "<sip:tcp@10.0.0.5>"),
        (3, Transport::Udp, "203.0.113.5:5060", "<sip:proxied@10.0.0.5>"),
        (4, Transport::Udp, "198.51.100.7:40123", "<sip:nat@10.0.0.5>"),
        // Its Contact is where it came from: it may have asked STUN, or a router has rewritten it.
        (5, Transport::Udp, "198.51.100.8:5060", "<sip:open@198.51.100.8>"),
    ] {
        bench.flow = flow(transport, remote);
        bench.ok(&Register::new(cseq).contact(contact).expires(if cseq < 4 { 600 } else { 110 }));
    }
    let mut sent = Vec::new();
    for second in 1..=200u64 {
        bench.pass(1);
        while let Some(keep_alive) = bench.registrar.poll_keep_alive() {
            assert_eq!(keep_alive.kind, KeepAliveKind::Crlf);
            sent.push((second, keep_alive.binding.contact_str().into_owned()));
        }
    }
    let both =
        |second| [(second, "sip:nat@10.0.0.5".to_owned()), (second, "sip:open@198.51.100.8".to_owned())];
    assert_eq!(sent, [25, 50, 75, 100].map(both).concat());
    assert_eq!(bench.registrar.counters().keep_alives, 8);
    assert_eq!(bench.registrar.timers_held().0, 3, "the expiries of the other three");
}

#[test]
fn keep_alives_can_be_switched_off() {
    let mut bench =
        Bench::with(RegistrarConfig { keep_alive: KeepAliveKind::Off, ..RegistrarConfig::default() });
    bench.flow = flow(Transport::Udp, "198.51.100.7:40123");
    bench.ok(&Register::new(1).contact("<sip:nat@10.0.0.5>").expires(600));
    bench.pass(300);
    assert!(bench.registrar.poll_keep_alive().is_none());
}

#[test]
fn timers_of_a_store_that_has_bindings_are_spread_and_complete() {
    let mut first = Bench::new();
    first.flow = flow(Transport::Udp, "198.51.100.7:40123");
    let mut store = MemoryStore::new();
    for user in 1..=9 {
        first.ok(&Register::new(1)
            .to(&format!("<sip:100{user}@b2b.example>"))
            .contact("<sip:x@10.0.0.5>")
            .expires(60));
    }
    first.registrar.store().visit(&mut |aor, bindings| {
        store.apply(aor, bindings.iter().cloned().map(Change::Put).collect());
    });
    let mut second = Registrar::new(RegistrarConfig::default(), Box::new(store), first.now);
    let next = first.now + Duration::from_secs(60);
    second.handle_timeout(first.now + Duration::from_secs(24));
    assert_eq!(std::iter::from_fn(|| second.poll_keep_alive()).count(), 9);
    second.handle_timeout(next);
    assert!(second.store().is_empty());
    assert_eq!(second.counters().expired, 9);
    let again = Register::new(1).call_id("x").contact("<sip:x@10.0.0.5>");
    let sender = Sender {
        flow: &first.flow,
        source: first.flow.remote,
        user: None,
        challenged: false,
        is_open: &|_| true,
    };
    second.handle(next, &again.request(), sender, &House);
    let id = second.lookup(next, &"1001@b2b.example".parse().unwrap())[0].id;
    assert_eq!(id, BindingId(10), "ids go on where they were");
}
