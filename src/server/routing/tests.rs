//! Which route takes which call.

use super::*;
use crate::config::{Strategy, parse_alone};

const CONFIG: &str = r#"
[[user]]
name = "1001"
password = "x"
[[user]]
name = "1002"
password = "x"
class = "guest"
[[gateway]]
name = "carrier"
hosts = ["sip.example.com"]
sources = ["192.0.2.0/28"]
[[group]]
name = "sales"
members = ["user/1001", "user/1002"]

[[route]]
name = "extensions"
called = '1\d{3}'
to = "user/$0"

[[route]]
name = "message"
method = "MESSAGE"
to = "user/$0"

[[route]]
name = "in"
source = "gateway/carrier"
called = '\+44208366(?<ext>\d{4})'
to = ["group/sales", "user/${ext}"]
strategy = "parallel"

[[route]]
name = "guests pay"
class = "guest"
called = '09.*'
reject = 403
reason = "Not for guests"

[[route]]
name = "out"
class = "internal"
source = ["users", "10.0.0.0/8"]
called = '0([1-9]\d+)'
caller = '1(\d+)'
to = ["gateway/carrier", "gateway/carrier/00$1", "sip:x$1@192.0.2.9;transport=tcp"]
set_called = "+44$1"
set_caller = "+4420$1"

[[route]]
name = "echo"
called = "echo"
app = "ivr/echo"

[[ivr]]
name = "echo"
node = [{ name = "bye", kind = "hangup" }]

[[route]]
name = "any"
source = "trusted"
to = "sip:$0@192.0.2.9"
"#;

/// A call by the user 1001 from 198.51.100.1.
fn call(called: &str) -> RouteRequest<'_> {
    RouteRequest {
        method: &Method::Invite,
        called,
        caller: "1001",
        class: Some("internal"),
        origin: Origin::User("1001"),
        address: "198.51.100.1".parse().unwrap(),
        verstat: Verstat::None,
    }
}

fn route(request: &RouteRequest<'_>) -> RouteDecision {
    Router::new(&parse_alone(CONFIG).unwrap()).route(request)
}

fn dial(decision: &RouteDecision) -> &Dial {
    match &decision.outcome {
        Outcome::Dial(dial) => dial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_route_that_matches_decides_and_the_others_say_why_not() {
    let decision = route(&call("1002"));
    assert_eq!((decision.route, decision.name.as_deref()), (Some(0), Some("extensions")));
    assert_eq!(dial(&decision).targets, ["user/1002"]);
    assert!(decision.misses.is_empty());
    let decision = route(&RouteRequest { class: Some("guest"), ..call("09001") });
    assert_eq!(decision.misses, [Miss::Called, Miss::Method, Miss::Source]);
    let rejected = Outcome::Reject { status: 403, reason: Some("Not for guests".into()) };
    assert_eq!(decision.outcome, rejected);
}

#[test]
fn without_a_route_the_call_is_answered_with_404() {
    let decision = route(&call("nobody"));
    assert_eq!(decision.route, None);
    assert_eq!(decision.misses.len(), 7);
    assert_eq!(decision.outcome, Outcome::Reject { status: 404, reason: None });
}

#[test]
fn every_condition_has_to_hold() {
    let matches = |request: RouteRequest<'_>| route(&request).name.as_deref() == Some("out");
    assert!(matches(call("02083661177")));
    assert!(!matches(RouteRequest { class: Some("guest"), ..call("02083661177") }));
    assert!(!matches(RouteRequest { class: None, ..call("02083661177") }));
    assert!(!matches(RouteRequest { caller: "2001", ..call("02083661177") }));
    assert!(!matches(RouteRequest { method: &Method::Message, ..call("02083661177") }));
    let elsewhere = RouteRequest { origin: Origin::Unknown, ..call("02083661177") };
    assert!(!matches(elsewhere));
    assert!(matches(RouteRequest { address: "10.1.1.1".parse().unwrap(), ..elsewhere }));
    assert!(matches(RouteRequest { address: "::ffff:10.1.1.1".parse().unwrap(), ..elsewhere }));
    // whole numbers only: neither a prefix nor a second line gets through
    assert!(!matches(call("02083661177;ext=1")));
    assert!(!matches(call("02083661177\n")));
}

#[test]
fn numbers_are_rewritten_and_targets_filled_in() {
    let decision = route(&call("02083661177"));
    let dial = dial(&decision);
    assert_eq!((dial.called.as_str(), dial.caller.as_str()), ("+442083661177", "+4420001"));
    assert_eq!(
        dial.targets,
        [
            "gateway/carrier/+442083661177",
            "gateway/carrier/002083661177",
            "sip:x2083661177@192.0.2.9;transport=tcp"
        ]
    );
    let from_gateway =
        RouteRequest { origin: Origin::Gateway("carrier"), class: Some("external"), ..call("+442083661002") };
    let decision = route(&from_gateway);
    let Outcome::Dial(dial) = decision.outcome else { panic!() };
    assert_eq!(dial.targets, ["group/sales", "user/1002"]);
    assert_eq!(dial.policy.strategy, Strategy::Parallel);
}

#[test]
fn what_a_caller_dials_never_becomes_a_host_or_a_parameter() {
    let trusted = |called| RouteRequest { origin: Origin::Trusted, class: Some("trusted"), ..call(called) };
    for (called, target) in [
        ("evil@198.51.100.66", "sip:evil%40198.51.100.66@192.0.2.9"),
        ("a;lr?Replaces=x", "sip:a%3Blr%3FReplaces=x@192.0.2.9"),
        ("ü 1\r\nX: y", "sip:%C3%BC%201%0D%0AX%3A%20y@192.0.2.9"),
    ] {
        assert_eq!(dial(&route(&trusted(called))).targets, [target], "{called}");
    }
}

#[test]
fn a_source_may_be_named_by_an_alias() {
    let config = parse_alone(
        "[[user]]\nname = \"1001\"\npassword = \"x\"\naliases = [\"alice\"]\n\
         [[route]]\nsource = \"user/alice\"\napp = \"ivr/hers\"\n\
         [[ivr]]\nname = \"hers\"\nnode = [{ name = \"bye\", kind = \"hangup\" }]\n",
    );
    let router = Router::new(&config.unwrap());
    assert_eq!(router.route(&call("1")).outcome, Outcome::App("ivr/hers".into()));
    let other = RouteRequest { origin: Origin::User("1002"), ..call("1") };
    assert_eq!(router.route(&other).misses, [Miss::Source]);
}

#[test]
fn applications_get_their_calls() {
    assert_eq!(route(&call("echo")).outcome, Outcome::App("ivr/echo".into()));
}

#[test]
fn an_applications_name_may_have_a_group_of_the_called_number_but_not_as_its_kind() {
    let with = |app: &str| parse_alone(&format!("[[route]]\ncalled = \"\\\\*(.+)\"\napp = \"{app}\"\n"));
    let router = Router::new(&with("voicemail/$1").unwrap());
    assert_eq!(router.route(&call("*1001")).outcome, Outcome::App("voicemail/1001".into()));
    for (app, why) in [
        ("$1/main", "the kind cannot have a group"),
        ("$1", "the kind cannot have a group"),
        ("voicemail/$2", "not a group of the pattern"),
        ("voicemail/1001", "there is no application"),
        ("a/b/$1", "not an application"),
    ] {
        let error = with(app).unwrap_err().to_string();
        assert!(error.contains(why), "{app}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_number_makes_it_panic(called in "\\PC{0,40}|[0-9+]{1,20}", caller in "\\PC{0,20}") {
        let router = Router::new(&parse_alone(CONFIG).unwrap());
        let _ = router.route(&RouteRequest { caller: &caller, ..call(&called) });
    }
}

#[test]
fn a_route_takes_callers_by_what_came_of_verifying_their_number() {
    let config = parse_alone(
        "[[route]]\nname = \"liars\"\nverstat = \"failed\"\nreject = 608\n\
         [[route]]\nname = \"good\"\nverstat = [\"passed\"]\nto = \"sip:a@h\"\n\
         [[route]]\nname = \"others\"\nverstat = [\"none\", \"passed\"]\nto = \"sip:b@h\"\n",
    )
    .unwrap();
    let router = Router::new(&config);
    for (value, name, misses) in [
        (Some("TN-Validation-Failed"), "liars", 0),
        (Some("TN-Validation-Passed"), "good", 1),
        (Some("tn-validation-passed-a"), "good", 1),
        (Some("TN-Validation-Passedish"), "others", 2),
        (Some("No-TN-Validation"), "others", 2),
        (None, "others", 2),
    ] {
        let decision = router.route(&RouteRequest { verstat: Verstat::of(value), ..call("1") });
        assert_eq!(decision.name.as_deref(), Some(name), "{value:?}");
        assert_eq!(decision.misses, vec![Miss::Verstat; misses], "{value:?}");
    }
}
