use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// A zone, and the queries made to it.
#[derive(Default)]
struct Zone {
    naptr: HashMap<&'static str, Vec<Naptr>>,
    srv: HashMap<&'static str, Vec<Srv>>,
    addresses: HashMap<&'static str, Vec<&'static str>>,
    asked: RefCell<Vec<String>>,
    lot: Cell<u32>,
}

impl Records for Zone {
    async fn naptr(&self, name: &str) -> Vec<Naptr> {
        self.asked.borrow_mut().push(format!("NAPTR {name}"));
        self.naptr.get(name).cloned().unwrap_or_default()
    }

    async fn srv(&self, name: &str) -> Vec<Srv> {
        self.asked.borrow_mut().push(format!("SRV {name}"));
        self.srv.get(name).cloned().unwrap_or_default()
    }

    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        self.asked.borrow_mut().push(format!("A {name}"));
        self.addresses.get(name).into_iter().flatten().map(|ip| ip.parse().unwrap()).collect()
    }

    fn random(&self, bound: u32) -> u32 {
        self.lot.get() % bound
    }
}

fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
    let (flags, services, replacement) = ("s".to_owned(), services.to_owned(), replacement.to_owned());
    Naptr { order, preference, flags, services, replacement }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight, port, target: target.to_owned() }
}

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

fn found(zone: &Zone, port: Option<u16>, transport: Option<Transport>, usable: &[Transport]) -> Vec<String> {
    let wanted = Wanted { host: "example.com", port, transport };
    let located = pin!(locate(zone, wanted, usable));
    match located.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => found.iter().map(|(transport, at)| format!("{transport:?} {at}")).collect(),
        Poll::Pending => panic!("nothing to wait for"),
    }
}

fn zone() -> Zone {
    Zone {
        naptr: HashMap::from([(
            "example.com",
            vec![
                naptr(20, 1, "SIP+D2U", "_sip._udp.example.com"),
                naptr(10, 2, "SIP+D2T", "_sip._tcp.example.com"),
                naptr(10, 1, "SIPS+D2T", "_sips._tcp.example.com"),
                naptr(5, 1, "SIP+D2W", "_sip._ws.example.com"),
                naptr(5, 1, "E2U+sip", "example.com"),
            ],
        )]),
        srv: HashMap::from([
            (
                "_sip._udp.example.com",
                vec![srv(20, 0, 5062, "b.example.com"), srv(10, 0, 5070, "a.example.com")],
            ),
            ("_sip._tcp.example.com", vec![srv(1, 0, 5080, "a.example.com")]),
            ("_sips._tcp.example.com", vec![srv(1, 0, 5081, "a.example.com")]),
        ]),
        addresses: HashMap::from([
            ("example.com", vec!["192.0.2.9"]),
            ("a.example.com", vec!["192.0.2.1", "2001:db8::1"]),
            ("b.example.com", vec!["192.0.2.2"]),
        ]),
        ..Zone::default()
    }
}

#[test]
fn naptr_chooses_the_transport_and_srv_the_hosts() {
    let zone = zone();
    let all = [
        "Tls 192.0.2.1:5081",
        "Tls [2001:db8::1]:5081",
        "Tcp 192.0.2.1:5080",
        "Tcp [2001:db8::1]:5080",
        "Udp 192.0.2.1:5070",
        "Udp [2001:db8::1]:5070",
        "Udp 192.0.2.2:5062",
    ];
    assert_eq!(found(&zone, None, None, &ALL), all);
    assert_eq!(found(&zone, None, None, &[Transport::Udp]), all[4..], "what we do not have is left out");
}

#[test]
fn a_named_transport_needs_no_naptr() {
    let zone = zone();
    assert_eq!(found(&zone, None, Some(Transport::Tcp), &ALL)[0], "Tcp 192.0.2.1:5080");
    assert_eq!(found(&zone, None, Some(Transport::Tls), &ALL)[0], "Tls 192.0.2.1:5081", "SIPS is TLS");
    assert!(!zone.asked.borrow().iter().any(|asked| asked.starts_with("NAPTR")));
}

#[test]
fn a_port_needs_neither_naptr_nor_srv() {
    let zone = zone();
    assert_eq!(found(&zone, Some(5099), None, &ALL), ["Udp 192.0.2.9:5099"]);
    assert_eq!(found(&zone, Some(5099), Some(Transport::Tls), &ALL), ["Tls 192.0.2.9:5099"]);
    assert_eq!(*zone.asked.borrow(), ["A example.com", "A example.com"]);
}

#[test]
fn without_naptr_the_services_are_asked_for_and_without_them_the_name() {
    let mut zone = zone();
    zone.naptr.clear();
    let each = found(&zone, None, None, &ALL);
    assert_eq!(each[0], "Udp 192.0.2.1:5070");
    assert_eq!(each.last().unwrap(), "Tcp [2001:db8::1]:5080");
    assert!(!each.iter().any(|it| it.starts_with("Tls")), "nobody asked for TLS");
    zone.srv.clear();
    assert_eq!(found(&zone, None, None, &ALL), ["Udp 192.0.2.9:5060"]);
    assert_eq!(found(&zone, None, Some(Transport::Tls), &ALL), ["Tls 192.0.2.9:5061"]);
    zone.addresses.clear();
    assert!(found(&zone, None, None, &ALL).is_empty());
}

#[test]
fn a_service_that_is_decidedly_not_there_is_not_called() {
    let mut zone = zone();
    zone.srv.insert("_sip._udp.example.com", vec![srv(0, 0, 0, ".")]);
    assert_eq!(found(&zone, None, None, &[Transport::Udp]), ["Udp 192.0.2.9:5060"]);
    assert!(!zone.asked.borrow().contains(&"A .".to_owned()));
}

#[test]
fn weights_are_chances_among_equals() {
    let zone = Zone::default();
    let servers = vec![srv(1, 60, 1, "a"), srv(1, 10, 2, "b"), srv(1, 0, 3, "c"), srv(0, 0, 4, "first")];
    let mut firsts = HashMap::<String, u32>::new();
    for lot in 0..71 {
        zone.lot.set(lot);
        let order = ordered(&zone, servers.clone());
        assert_eq!((order.len(), order[0].target.as_str()), (4, "first"), "priority comes first");
        *firsts.entry(order[1].target.clone()).or_default() += 1;
    }
    // The draw for the first record, alone at its priority, is 0 in any case.
    assert_eq!((firsts["a"], firsts["b"], firsts["c"]), (60, 10, 1));
}

#[test]
fn a_name_with_any_number_of_records_costs_a_bounded_number_of_tries() {
    let mut zone = zone();
    zone.srv.insert("_sip._udp.example.com", (0..500).map(|n| srv(n, 0, n, "a.example.com")).collect());
    assert_eq!(found(&zone, None, Some(Transport::Udp), &ALL).len(), MAX_TARGETS);
    assert!(zone.asked.borrow().len() < 20);
}
