//! Attended and blind transfers through the b2bua.

use super::lab::{Lab, Place};
use crate::interop::support::wire::{Capture, Sip, assert_hidden, identity};

fn tag(value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    value
        .split_once(";tag=")
        .map(|(_, tag)| tag.split(';').next().unwrap_or_default().to_owned())
        .expect("a tag")
}

#[test]
#[ignore = "needs sipp and tshark; .ci/run installs them"]
fn interop_b2bua_joins_the_two_far_ends_of_an_attended_transfer() {
    // Ann calls Bob, then Cat, and joins the two.
    let (ann, again) = (Place::new("ann", 51), Place::new("ann-again", 51));
    let (bob, cat) = (Place::new("bob", 52), Place::new("cat", 53));
    let lab = Lab::new(&(bob.route("bob") + &cat.route("cat")));
    let capture = Capture::start(lab.folder.path(), &format!("port {}", lab.at.port()));
    let bob_talks = lab.sipp(&bob, "callee_moved").listens();
    let cat_talks = lab.sipp(&cat, "callee_moved_ends").args(&["-d", "2500"]).listens();
    let second = lab.sipp(&again, "caller_consults").args(&["-cid_str", "consultation-%u"]).calls("cat");
    let up = lab.told(&again, "200", |it| it.is_response(200, "INVITE"));
    let refer_to = format!(
        "<{}?Replaces={}%3Bto-tag%3D{}%3Bfrom-tag%3D{}>",
        cat.uri("cat"),
        up.field("Call-ID").expect("Call-ID"),
        tag(up.field("To")),
        tag(up.field("From"))
    );
    let first = lab.sipp(&ann, "caller_refers").key("refer_to", &refer_to).args(&["-d", "700"]).calls("bob");
    lab.told(&ann, "NOTIFY", |it| it.is_request("NOTIFY") && it.body().starts_with("SIP/2.0 200"));
    // Bob and Cat hear each other.
    let speaking = [bob.ear.says(0x52, lab.media_for(&bob)), cat.ear.says(0x53, lab.media_for(&cat))];
    bob.ear.hears(0x53, 20);
    cat.ear.hears(0x52, 20);
    drop(speaking);
    for party in [first, second, bob_talks, cat_talks] {
        party.wait_ok();
    }
    let wire = capture.end();
    let [a, again_leg, b, c] = [&ann, &again, &bob, &cat].map(|place| wire.sip(place.sip.port()));
    let after = |leg: &[Sip], what: &str, at: f64, like: &dyn Fn(&Sip) -> bool| -> f64 {
        let found = leg.iter().find(|it| it.at >= at && like(it));
        found.unwrap_or_else(|| panic!("no {what} in {leg:#?}")).at
    };
    let refer = after(&a, "REFER", 0.0, &|it| it.is_request("REFER"));
    after(&a, "202", refer, &|it| it.is_response(202, "REFER"));
    let notify = |it: &Sip| {
        it.is_request("NOTIFY")
            && it.field("Content-Type").is_some_and(|it| it.starts_with("message/sipfrag"))
            && it.body().starts_with("SIP/2.0 200")
            && it.field("Subscription-State").is_some_and(|it| it.starts_with("terminated"))
    };
    let told = after(&a, "last NOTIFY", refer, &notify);
    after(&a, "BYE", told, &|it| it.is_request("BYE"));
    after(&again_leg, "BYE", refer, &|it| it.is_request("BYE") && it.to == again.sip);
    // Each gets a re-INVITE, and neither gets the REFER.
    for leg in [&b, &c] {
        after(leg, "re-INVITE", refer, &|it| it.is_request("INVITE") && it.has_tag());
        assert!(!leg.iter().any(|it| it.is_request("REFER") || it.text.contains("Replaces")));
    }
    let legs = [(&a, &ann), (&again_leg, &again), (&b, &bob), (&c, &cat)];
    for (leg, place) in legs {
        let words = identity(leg, place.sip);
        for (other, party) in legs.into_iter().filter(|(_, other)| other.name != place.name) {
            // Both calls of Ann are at one address.
            if place.sip.ip() != party.sip.ip() {
                assert_hidden(&words, other, party.sip);
                let address = place.sip.ip().to_string();
                let to_party = other.iter().filter(|it| it.to == party.sip);
                assert!(to_party.clone().all(|it| !it.text.contains(&address)), "{address} shows");
            }
        }
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_transfers_blindly_and_tells_the_referrer() {
    let (ann, bob, cat) = (Place::new("ann", 51), Place::new("bob", 52), Place::new("cat", 53));
    // The transfer target is a number with a route.
    let lines = bob.route("bob")
        + &format!(
            "[[gateway]]\nname = \"g\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n",
            cat.sip
        )
        + "[[group]]\nname = \"others\"\nmembers = [\"gateway/g/target\"]\n\
           [[route]]\ncalled = \"target\"\nto = \"group/others\"\n";
    let lab = Lab::new(&lines);
    let stays = lab.sipp(&bob, "callee_moved_ends").args(&["-d", "2000"]).listens();
    let arrives = lab.sipp(&cat, "callee").listens();
    let refer_to = format!("<sip:target@{}>", lab.at);
    let leaves = lab.sipp(&ann, "caller_refers").key("refer_to", &refer_to).args(&["-d", "300"]).calls("bob");
    lab.told(&ann, "NOTIFY", |it| it.is_request("NOTIFY") && it.body().starts_with("SIP/2.0 200"));
    let speaking = [bob.ear.says(0x52, lab.media_for(&bob)), cat.ear.says(0x53, lab.media_for(&cat))];
    bob.ear.hears(0x53, 10);
    cat.ear.hears(0x52, 10);
    drop(speaking);
    for party in [leaves, stays, arrives] {
        party.wait_ok();
    }
    let told = lab.messages(&ann);
    let notified: Vec<&str> = told.iter().filter(|it| it.is_request("NOTIFY")).map(Sip::body).collect();
    assert!(notified[0].starts_with("SIP/2.0 100"), "{notified:?}");
    let (legs, words) = (lab.messages(&cat), identity(&told, ann.sip));
    assert_hidden(&words, &legs, cat.sip);
}
