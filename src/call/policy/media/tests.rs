//! The matrix of addresses and parties.

use super::*;

fn own() -> Arc<OwnHosts> {
    Arc::new(OwnHosts {
        inside: vec!["192.168.0.0/16".parse().unwrap(), "10.64.0.0/10".parse().unwrap()],
        here: vec!["198.51.100.1".parse().unwrap(), "192.168.1.2".parse().unwrap()],
        announced: vec!["203.0.113.1".parse().unwrap()],
        ports: vec![5060, 8080],
    })
}

/// What a party at `at` may have sent to `to`: `own`, `bounded` or `never`.
fn named(bound: &Bound, at: &str, to: &str) -> &'static str {
    let to = to.parse().unwrap_or_else(|_| SocketAddr::new(to.parse().unwrap(), 40_000));
    match bound.naming(to, &[Some(at.parse().unwrap()), None]) {
        Naming::Own => "own",
        Naming::Bounded => "bounded",
        Naming::Never => "never",
    }
}

fn stranger() -> Bound {
    Bound { own: own(), ..Bound::default() }
}

#[test]
fn a_public_party_names_public_addresses_and_itself() {
    let bound = stranger();
    for never in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "0.1.2.3",
        "169.254.1.1",
        "fe80::1",
        "192.168.1.20",
        "192.168.1.2",
        "198.51.100.1",
        "203.0.113.1",
        "10.64.0.1",
        "10.0.0.1",
        "172.20.1.1",
        "100.64.0.1",
        "fd00::1",
    ] {
        assert_eq!(named(&bound, "203.0.113.9", never), "never", "{never}");
    }
    assert_eq!(named(&bound, "203.0.113.9", "203.0.113.10"), "bounded");
    assert_eq!(named(&bound, "203.0.113.9", "2001:db8::1"), "bounded");
    assert_eq!(named(&bound, "203.0.113.9", "203.0.113.9"), "own");
    assert_eq!(named(&bound, "203.0.113.9", "0.0.0.0"), "own", "the old hold");
}

#[test]
fn parties_inside_name_what_is_inside_and_parties_elsewhere_what_is_not() {
    let bound = stranger();
    for (at, to, expected) in [
        ("192.168.1.20", "192.168.7.7", "own"),
        ("192.168.1.20", "10.64.0.9", "own"),
        ("192.168.1.20", "10.0.0.9", "bounded"),
        ("192.168.1.20", "203.0.113.5", "bounded"),
        ("192.168.1.20", "127.0.0.1", "never"),
        ("192.168.1.20", "192.168.1.2", "never"),
        ("192.168.1.20", "169.254.3.3", "never"),
        // Another private network, as of a carrier behind a tunnel.
        ("10.1.2.3", "172.16.5.5", "bounded"),
        ("10.1.2.3", "192.168.7.7", "never"),
        ("169.254.3.3", "169.254.4.4", "bounded"),
        ("127.0.0.1", "169.254.4.4", "never"),
        ("169.254.3.3", "10.0.0.9", "bounded"),
    ] {
        assert_eq!(named(&bound, at, to), expected, "{at} names {to}");
    }
}

#[test]
fn parties_on_this_machine_name_it_but_none_of_our_ports() {
    let bound = stranger();
    for at in ["127.0.0.1", "127.0.0.7", "::1", "192.168.1.2", "198.51.100.1"] {
        for to in ["192.168.1.2", "198.51.100.1", "10.0.0.9"] {
            assert_ne!(named(&bound, at, to), "never", "{at} names {to}");
        }
        for to in ["127.0.0.1", "127.0.0.8", "::1"] {
            let expected = at.starts_with("127") || at == "::1";
            assert_eq!(named(&bound, at, to) != "never", expected, "{at} names {to}");
        }
        for to in ["127.0.0.1:5060", "127.0.0.1:8080", "198.51.100.1:5060", "203.0.113.1:5060"] {
            assert_eq!(named(&bound, at, to), "never", "{at} names {to}");
        }
    }
    assert_eq!(named(&bound, "127.0.0.1", "192.168.7.7"), "never", "it is not inside");
    let ourselves = Bound { ourselves: true, ..bound };
    assert_eq!(named(&ourselves, "127.0.0.1", "127.0.0.1:5060"), "own");
}

#[test]
fn what_is_named_for_a_party_is_its_own_unless_something_narrower_is_closed() {
    let bound = Bound {
        spared: ["192.168.9.0/24", "172.16.0.0/12", "0.0.0.0/0"].map(|net| net.parse().unwrap()).into(),
        ..stranger()
    };
    for (to, expected) in [
        ("192.168.9.9", "own"),
        ("172.16.5.5", "own"),
        ("203.0.113.10", "own"),
        ("192.168.8.8", "never"),
        ("10.0.0.9", "never"),
        ("127.0.0.1", "never"),
        ("198.51.100.1", "never"),
    ] {
        assert_eq!(named(&bound, "203.0.113.9", to), expected, "{to}");
    }
}

#[test]
fn a_party_is_where_its_first_message_came_from_and_where_its_gateway_is() {
    let bound = stranger();
    let behind_proxy = [Some("203.0.113.9".parse().unwrap()), Some("192.168.1.5".parse().unwrap())];
    let to = "192.168.7.7:4000".parse().unwrap();
    assert_eq!(bound.naming(to, &behind_proxy), Naming::Never, "a proxy inside");
    assert_eq!(bound.naming(to, &[None, Some("192.168.1.5".parse().unwrap())]), Naming::Own, "as it answers");
    let gateway = Bound { hosts: vec!["192.168.1.5".parse().unwrap()], ..bound };
    assert_eq!(gateway.naming(to, &[None, None]), Naming::Own);
}

#[test]
fn a_gateway_joins_legs_of_its_own_and_nobody_names_a_leg_of_another() {
    let (ours, others, users) = ("198.51.100.1:40000", "198.51.100.1:40002", "198.51.100.1:40004");
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let gateway = |name: &str| Some(name.into());
    let receiving = Receiving::from([
        (at(ours), gateway("gateway/pbx")),
        (at(others), gateway("gateway/carrier")),
        (at(users), None),
    ]);
    let named = |party: &str, is_gateway: bool, to: &str| {
        let bound = Bound { party: party.to_owned(), is_gateway, ..stranger() };
        let signalling = [Some("203.0.113.9".parse().unwrap()), None];
        bound.naming_of(&Remote::at(at(to)), &signalling, &receiving)
    };
    assert_eq!(named("gateway/pbx", true, ours), Naming::Own);
    for (party, is_gateway, to) in [
        ("gateway/pbx", true, others),
        ("gateway/pbx", true, users),
        ("gateway/pbx", true, "198.51.100.1:50000"),
        ("gateway/pbx", false, ours),
        ("user/ann", false, ours),
        ("user/ann", false, users),
        ("", false, users),
    ] {
        assert_eq!(named(party, is_gateway, to), Naming::Never, "{party} names {to}");
    }
}
