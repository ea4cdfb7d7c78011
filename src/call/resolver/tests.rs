use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::identity::outward::Outward;
use crate::lookup::{
    Credentials, LookupError, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver,
};
use crate::resolver::gateway::GatewayFrom;
use b2b_sip::msg::Transport;

fn look(resolver: &dyn Resolver, target: &str) -> Result<Option<LookupResult>, LookupError> {
    look_for(resolver, target, None)
}

fn look_for(
    resolver: &dyn Resolver,
    target: &str,
    caller: Option<&str>,
) -> Result<Option<LookupResult>, LookupError> {
    let request =
        LookupRequest { caller: caller.map(str::to_owned), ..LookupRequest::new(target, Instant::now()) };
    let mut future = resolver.lookup(&request);
    // All of these futures are ready at once.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("the lookup waits"),
    }
}

/// `priority uri` of each contact.
fn contacts(result: &LookupResult) -> Vec<String> {
    result.contacts.iter().map(|contact| format!("{} {}", contact.priority, contact.uri)).collect()
}

fn found(resolver: &dyn Resolver, target: &str) -> Vec<String> {
    contacts(&look(resolver, target).unwrap().expect("a result"))
}

fn error(resolver: &dyn Resolver, target: &str) -> LookupError {
    look(resolver, target).expect_err("an error")
}

fn binding(contact: &str, q: u16) -> Binding {
    Binding { contact: contact.into(), q, flow: None, next_hop: None, path: None, source: None }
}

/// Users 1 to 9 are registered, 1 at two contacts; 404 does not exist.
fn users() -> UserResolver<impl Bindings> {
    UserResolver::new(|user: &str, _: Instant| match user {
        "1" => Ok(Some(vec![binding("sip:1@desk", 500), binding("sip:1@mobile", 1_000)])),
        "broken" => Err("the disk is gone".to_owned()),
        "absent" => Ok(Some(Vec::new())),
        user if user.len() == 1 => Ok(Some(vec![binding(&format!("sip:{user}@phone"), 1_000)])),
        _ => Ok(None),
    })
}

#[test]
fn a_user_is_dialled_where_they_are_registered_best_contact_first() {
    let result = look(&users(), "user/1").unwrap().unwrap();
    assert_eq!((result.kind, result.original.as_str()), (LookupKind::User, "user/1"));
    assert_eq!(contacts(&result), ["0 sip:1@mobile", "500 sip:1@desk"]);
    assert_eq!(result.tiers().map(<[_]>::len).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn the_time_of_the_lookup_reaches_the_bindings_and_the_way_back_is_kept() {
    let start = Instant::now();
    let expires = start + Duration::from_secs(60);
    let resolver = UserResolver::new(move |_: &str, now: Instant| {
        let way = Some("sip:203.0.113.9:40000;transport=tcp".to_owned());
        let bound =
            Binding { next_hop: way, path: Some("<sip:edge;lr>".into()), ..binding("sip:a@10.0.0.1", 0) };
        Ok(Some(if now < expires { vec![bound] } else { Vec::new() }))
    });
    let at = |now| {
        let request = LookupRequest::new("user/a", now);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match resolver.lookup(&request).as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => result.map(Option::unwrap),
            std::task::Poll::Pending => panic!("the lookup waits"),
        }
    };
    let contact = at(start).unwrap().contacts.remove(0);
    assert_eq!(contact.next_hop.as_deref(), Some("sip:203.0.113.9:40000;transport=tcp"));
    assert_eq!(contact.path.as_deref(), Some("<sip:edge;lr>"));
    assert_eq!(at(expires), Err(LookupError::NotRegistered { user: "a".into() }));
}

#[test]
fn a_user_who_is_not_there_is_told_from_one_who_does_not_exist() {
    for (target, status) in
        [("user/404", 404), ("user/absent", 480), ("user/broken", 500), ("user/", 484), ("USER/404", 404)]
    {
        assert_eq!(error(&users(), target).status().0, status, "{target}");
    }
    for target in ["1", "users/1", "gateway/x/1", "sip:1@x", ""] {
        assert_eq!(look(&users(), target), Ok(None), "{target}");
    }
}

struct Status {
    down: Vec<&'static str>,
    in_use: u32,
}

impl GatewayStatus for Status {
    fn health(&self, _: &str, host: &str) -> Health {
        if self.down.contains(&host) { Health::Down } else { Health::Unknown }
    }

    fn channels_in_use(&self, _: &str) -> u32 {
        self.in_use
    }
}

fn carrier() -> Gateway {
    let rules = vec![PrefixRule::new("+44", "0"), PrefixRule::new("+", "00")];
    let hosts = [GatewayHost::new("b.example:5070", 20), GatewayHost::new("[2001:db8::1]", 10)];
    Gateway {
        transport: Some(Transport::Tcp),
        credentials: Some(Arc::new(Credentials {
            username: "acme".into(),
            password: "secret".into(),
            realm: None,
        })),
        from: GatewayFrom { user: Some("+4420".into()), host: Some("acme.example".into()) },
        rewrite: PrefixRule::rewrite(rules),
        channels: Some(2),
        ..Gateway::new("carrier", hosts)
    }
}

fn gateways(down: Vec<&'static str>, in_use: u32) -> GatewayResolver<Status> {
    GatewayResolver::new(
        [carrier(), Gateway::new("plain", [GatewayHost::new("p", 0)])],
        Status { down, in_use },
    )
}

#[test]
fn a_number_goes_to_a_gateways_hosts_in_order_and_as_it_wants_it() {
    let resolver = gateways(vec![], 1);
    assert_eq!(
        found(&resolver, "gateway/carrier/+442079460000"),
        ["10 sip:02079460000@[2001:db8::1];transport=tcp", "20 sip:02079460000@b.example:5070;transport=tcp"]
    );
    assert_eq!(found(&resolver, "gateway/carrier/+49301")[0], "10 sip:0049301@[2001:db8::1];transport=tcp");
    assert_eq!(found(&resolver, "gateway/plain/112"), ["0 sip:112@p"]);
    let result = look(&resolver, "gateway/carrier/1").unwrap().unwrap();
    let gateway = result.contacts[1].gateway.as_ref().unwrap();
    assert_eq!((&*gateway.name, &*gateway.host), ("carrier", "b.example:5070"));
    assert_eq!(result.contacts[0].from.as_deref(), Some("sip:+4420@acme.example"));
    assert!(gateway.credentials.is_some() && !format!("{result:?}").contains("secret"));
}

#[test]
fn a_gateway_hears_the_caller_as_it_wants_them() {
    let number = PrefixRule::rewrite(vec![PrefixRule::new("0", "+44")]);
    let outward = Arc::new(Outward { trusted: false, sends: None, params: Vec::new(), number });
    let gateway = Gateway { outward, ..Gateway::new("g", [GatewayHost::new("[2001:db8::1]:5070", 0)]) };
    let from = |gateway: &Gateway, caller| {
        let resolver = GatewayResolver::new([gateway.clone()], Status { down: vec![], in_use: 0 });
        look_for(&resolver, "gateway/g/1", caller).unwrap().unwrap().contacts.remove(0).from.unwrap()
    };
    assert_eq!(from(&gateway, Some("0208")), "sip:+44208@[2001:db8::1]");
    assert_eq!(from(&gateway, Some("sip:%30208@phones.example;x=y")), "sip:+44208@[2001:db8::1]");
    assert_eq!(from(&gateway, Some("1@evil>\r\n")), "sip:1%40evil%3E%0D%0A@[2001:db8::1]");
    assert_eq!(from(&gateway, None), "sip:anonymous@[2001:db8::1]");
    let told =
        Gateway { from: GatewayFrom { user: None, host: Some("acme.example".into()) }, ..gateway.clone() };
    assert_eq!(from(&told, Some("0208")), "sip:+44208@acme.example");
    let told = Gateway { from: GatewayFrom { user: Some("acme".into()), host: None }, ..gateway };
    assert_eq!(from(&told, Some("0208")), "sip:acme@[2001:db8::1]");
}

#[test]
fn a_number_cannot_change_the_uri_that_it_is_put_in() {
    let uris = found(&gateways(vec![], 0), "gateway/plain/1@evil>\r\n é");
    assert_eq!(uris, ["0 sip:1%40evil%3E%0D%0A%20%C3%A9@p"]);
    assert_eq!(found(&gateways(vec![], 0), "gateway/plain/1/2"), ["0 sip:1/2@p"]);
}

#[test]
fn hosts_that_do_not_answer_are_left_out() {
    let resolver = gateways(vec!["[2001:db8::1]"], 0);
    assert_eq!(found(&resolver, "gateway/carrier/1"), ["20 sip:1@b.example:5070;transport=tcp"]);
    let error = error(&gateways(vec!["[2001:db8::1]", "b.example:5070"], 0), "gateway/carrier/1");
    assert_eq!(error.status().0, 503);
    assert!(error.to_string().contains("b.example:5070"), "{error}");
}

#[test]
fn a_full_gateway_and_a_wrong_target_say_what_to_do() {
    assert_eq!(
        error(&gateways(vec![], 2), "gateway/carrier/1"),
        LookupError::GatewayFull { gateway: "carrier".into(), limit: 2 }
    );
    assert!(look(&gateways(vec![], 1_000), "gateway/plain/1").is_ok(), "no limit");
    for (target, status) in
        [("gateway/carrier", 484), ("gateway/carrier/", 484), ("gateway/nobody/1", 404), ("gateway/", 484)]
    {
        assert_eq!(error(&gateways(vec![], 0), target).status().0, status, "{target}");
    }
    assert_eq!(look(&gateways(vec![], 0), "user/1"), Ok(None));
}

#[test]
fn uris_are_dialled_where_the_policy_allows_it() {
    let hosts = ["example.com", "*.phones.example", "192.0.2.0/24", "2001:db8::/33", "::1"];
    let patterns = hosts.iter().map(|pattern| HostPattern::parse(pattern).unwrap());
    let some = DirectResolver::new(DirectPolicy::Hosts(patterns.collect()));
    for uri in [
        "sip:a@example.com",
        "SIPS:a@EXAMPLE.com.;transport=tcp",
        "sip:a.phones.example",
        "sip:x@192.0.2.255:5080",
        "sip:x@[2001:db8:7fff::1]",
        "sip:x@[::1]",
    ] {
        assert_eq!(found(&some, uri), [format!("0 {uri}")]);
    }
    for uri in [
        "sip:a@www.example.com",
        "sip:a@example.com.evil",
        "sip:a@phones.example",
        "sip:a@xphones.example",
        "sip:x@192.0.3.1",
        "sip:x@[2001:db8:8000::1]",
        "sip:x@[::2]",
    ] {
        assert_eq!(error(&some, uri).status().0, 403, "{uri}");
        assert_eq!(error(&DirectResolver::default(), uri).status().0, 403);
        assert_eq!(found(&DirectResolver::new(DirectPolicy::Anybody), uri), [format!("0 {uri}")]);
    }
}

#[test]
fn uris_with_header_fields_and_broken_ones_are_refused_others_are_not_ours() {
    let any = DirectResolver::new(DirectPolicy::Anybody);
    assert_eq!(error(&any, "sip:a@b?Route=%3Csip:evil%3E").status().0, 403);
    assert_eq!(error(&any, "sip:a@b;method=BYE").status().0, 403);
    for uri in ["sip:", "sip:@", "sip:a@[::1", "sip:a b@c"] {
        assert_eq!(error(&any, uri).status().0, 484, "{uri}");
    }
    for target in ["tel:+44", "user/1", "1001", "", "sip", "https://x"] {
        assert_eq!(look(&any, target), Ok(None), "{target}");
    }
}

#[test]
fn host_patterns_that_are_none_are_refused() {
    for text in ["", "*", "*.", "a..b", "192.0.2.0/33", "::/129", "1.2.3.4/x", "a/8", "exa mple", "*.1.2/3"] {
        assert!(HostPattern::parse(text).is_err(), "{text}");
    }
    let all = HostPattern::parse("0.0.0.0/0").unwrap();
    assert!(all.matches(&b2b_sip::msg::Host::V4([203, 0, 113, 1].into())));
    assert!(!all.matches(&b2b_sip::msg::Host::V6(std::net::Ipv6Addr::LOCALHOST)));
}

fn groups<'a>(groups: impl IntoIterator<Item = (&'a str, Group)>) -> Result<GroupResolver, LookupError> {
    let groups = groups.into_iter().map(|(name, group)| (name.to_owned(), group));
    let direct = DirectResolver::new(DirectPolicy::Anybody);
    GroupResolver::new(groups, Arc::new(ChainResolver::default().with(users()).with(direct)))
}

#[test]
fn a_group_is_called_together_or_one_after_the_other() {
    let resolver = groups([
        ("all", Group::parallel(["user/2", "user/3", "sip:x@y"])),
        ("turns", Group::serial(["user/2", "user/3", "sip:x@y"])),
        (
            "mixed",
            Group {
                members: vec![Member::new("user/2", 9), Member::new("user/3", 5), Member::new("user/4", 5)],
                ring: Some(Duration::from_secs(7)),
                ..Group::default()
            },
        ),
        (
            "patient",
            Group { ring: Some(Duration::from_secs(20)), ..Group::serial(["group/mixed", "user/1"]) },
        ),
    ])
    .unwrap();
    assert_eq!(found(&resolver, "group/all"), ["0 sip:2@phone", "0 sip:3@phone", "0 sip:x@y"]);
    assert_eq!(found(&resolver, "group/turns"), ["0 sip:2@phone", "1 sip:3@phone", "2 sip:x@y"]);
    assert_eq!(found(&resolver, "group/mixed"), ["0 sip:3@phone", "0 sip:4@phone", "1 sip:2@phone"]);
    let mixed = look(&resolver, "group/mixed").unwrap().unwrap();
    assert!(mixed.contacts.iter().all(|contact| contact.ring == Some(Duration::from_secs(7))));
    let nested = look(&resolver, "group/patient").unwrap().unwrap();
    let rings = nested.contacts.iter().filter_map(|contact| Some(contact.ring?.as_secs()));
    assert_eq!(rings.collect::<Vec<_>>(), [7, 7, 7, 20, 20], "a nested group's own time");
    let result = look(&resolver, "group/all").unwrap().unwrap();
    assert_eq!(result.contacts[0].ring, None);
    assert_eq!((result.kind, result.original.as_str()), (LookupKind::Group, "group/all"));
}

#[test]
fn each_member_of_a_group_declines_for_itself_unless_the_group_says_otherwise() {
    let for_all = |group: Group| Group { declines_for_all: true, ..group };
    let resolver = groups([
        ("each", Group::parallel(["user/1", "user/2", "group/pair"])),
        ("pair", for_all(Group::serial(["user/3", "user/4"]))),
        ("one", for_all(Group::parallel(["user/2", "group/each"]))),
    ])
    .unwrap();
    let members = |target: &str| -> Vec<String> {
        let found = look(&resolver, target).unwrap().unwrap();
        let member = |it: &ResolvedContact| format!("{} {}", it.uri, it.member.as_deref().unwrap_or("-"));
        found.contacts.iter().map(member).collect()
    };
    assert_eq!(
        members("group/each"),
        [
            "sip:1@mobile user/1",
            "sip:2@phone user/2",
            "sip:3@phone group/pair",
            "sip:1@desk user/1",
            "sip:4@phone group/pair"
        ]
    );
    assert!(members("group/pair").iter().chain(&members("group/one")).all(|it| it.ends_with(" -")));
}

#[test]
fn nested_groups_keep_their_order_and_nobody_rings_twice() {
    let resolver = groups([
        ("outer", Group::serial(["group/inner", "user/1", "user/2"])),
        ("inner", Group::serial(["user/2", "user/3"])),
        ("side", Group::parallel(["group/inner", "user/1"])),
    ])
    .unwrap();
    assert_eq!(
        found(&resolver, "group/outer"),
        ["0 sip:2@phone", "1 sip:3@phone", "2 sip:1@mobile", "3 sip:1@desk"]
    );
    // First choices of all members together, then the second ones.
    assert_eq!(
        found(&resolver, "group/side"),
        ["0 sip:2@phone", "0 sip:1@mobile", "1 sip:3@phone", "1 sip:1@desk"]
    );
}

#[test]
fn members_who_cannot_be_reached_are_left_out_until_nobody_is_left() {
    let resolver = groups([
        ("some", Group::parallel(["user/absent", "user/2", "user/404", "tel:1"])),
        ("none", Group::parallel(["user/absent", "tel:1"])),
        ("empty", Group::default()),
    ])
    .unwrap();
    assert_eq!(found(&resolver, "group/some"), ["0 sip:2@phone"]);
    let error_text = error(&resolver, "group/none").to_string();
    assert!(
        error_text.contains("'absent' is not registered") && error_text.contains("'tel:1'"),
        "{error_text}"
    );
    assert_eq!(error(&resolver, "group/empty").status().0, 480);
    assert_eq!(error(&resolver, "group/other"), LookupError::UnknownGroup { group: "other".into() });
    assert_eq!(look(&resolver, "user/2"), Ok(None));
}

#[test]
fn groups_that_contain_themselves_or_nothing_are_refused_at_load() {
    let cycle = groups([
        ("a", Group::serial(["user/1", "group/b"])),
        ("b", Group::serial(["group/c"])),
        ("c", Group::serial(["group/a"])),
    ]);
    let expected = LookupError::GroupCycle { group: "a".into(), path: "a → b → c → a".into() };
    assert_eq!(cycle.err(), Some(expected));
    assert!(matches!(
        groups([("a", Group::serial(["group/a"]))]).err(),
        Some(LookupError::GroupCycle { .. })
    ));
    let missing = groups([("a", Group::serial(["group/nobody"]))]);
    assert_eq!(missing.err(), Some(LookupError::UnknownGroup { group: "nobody".into() }));
    let names: Vec<String> = (0..12).map(|n| format!("g{n:02}")).collect();
    let next: Vec<String> = (1..=12).map(|n| format!("group/g{n:02}")).collect();
    let chain = |levels: usize| {
        let group = |n: usize| match n + 1 == levels {
            true => Group::serial(["user/1"]),
            false => Group::serial([next[n].as_str()]),
        };
        groups((0..levels).map(|n| (names[n].as_str(), group(n))))
    };
    assert!(chain(8).is_ok());
    assert!(matches!(chain(9).err(), Some(LookupError::GroupTooDeep { limit: 8, .. })));
}

#[test]
fn diamonds_of_groups_cost_no_more_than_they_have_members() {
    // 8 levels of 20 groups, each with all groups of the next level as members.
    let name = |level: usize, n: usize| format!("g{level}x{n}");
    let level = |level: usize| {
        (0..20).map(move |n| {
            let members = (0..20).map(|m| match level {
                7 => format!("sip:{m}@y"),
                _ => format!("group/{}", name(level + 1, m)),
            });
            let members: Vec<String> = members.collect();
            (name(level, n), Group::parallel(members.iter().map(String::as_str)))
        })
    };
    let resolver =
        GroupResolver::new((0..8).flat_map(level), Arc::new(DirectResolver::new(DirectPolicy::Anybody)))
            .unwrap();
    assert_eq!(found(&resolver, "group/g0x0").len(), 20);
}

#[test]
fn a_chain_asks_in_order_and_a_failure_does_not_hide_the_next() {
    let second = UserResolver::new(|user: &str, _: Instant| match user {
        "remote" | "2" => Ok(Some(vec![binding("sip:second", 1_000)])),
        _ => Ok(None),
    });
    let chain = ChainResolver::default().with(users()).with(gateways(vec![], 0)).with(second);
    assert_eq!(found(&chain, "user/2"), ["0 sip:2@phone"], "the first one counts");
    assert_eq!(found(&chain, "user/remote"), ["0 sip:second"]);
    assert_eq!(found(&chain, "gateway/plain/1"), ["0 sip:1@p"]);
    assert_eq!(error(&chain, "user/absent"), LookupError::NotRegistered { user: "absent".into() });
    assert_eq!(look(&chain, "park/1"), Ok(None));
}

#[test]
fn a_refusal_is_final() {
    let chain = ChainResolver::default()
        .with(DirectResolver::default())
        .with(DirectResolver::new(DirectPolicy::Anybody));
    assert_eq!(error(&chain, "sip:a@b").status().0, 403);
}

#[tokio::test]
async fn a_target_that_nobody_takes_names_who_was_asked() {
    let chain = ChainResolver::default().with(users()).with(DirectResolver::default());
    let request = LookupRequest::new("1001", Instant::now());
    let error = chain.resolve(&request).await.unwrap_err();
    assert_eq!(error.status().0, 404);
    assert!(error.to_string().contains("user, direct"), "{error}");
    let none = ChainResolver::default().resolve(&request).await.unwrap_err();
    assert!(none.to_string().contains("none is configured"), "{none}");
}

#[test]
fn results_are_in_the_order_of_priority_whatever_order_they_come_in() {
    let result = LookupResult::new(
        LookupKind::User,
        "x",
        [5, 1, 5, 3].map(|n| ResolvedContact::new(format!("sip:{n}"), n)).to_vec(),
    );
    assert_eq!(result.tiers().map(<[_]>::len).collect::<Vec<_>>(), [1, 1, 2]);
}
