use super::*;

const OTHERS: Redirects = Redirects::Own;

fn trunk(redirects: &Redirects) -> Asker<'_> {
    Asker::new(Party::Gateway(Trunk { name: Some("carrier"), redirects, dialog_own: false }))
}

fn decided<'a>(asker: Asker<'a>, way: Way, place: Place<'a>) -> Decision<'a> {
    decide(asker, way, place).decision
}

#[test]
fn the_table_of_ways_and_parties_holds() {
    use Decision::{Flow, Follow, FollowCounted, Ignore, Refuse, Routes};
    use Place::{Elsewhere, Gateway, Inside, Number, Own, Referred};
    let (stranger, user, gateway) =
        (Asker::new(Party::Stranger), Asker::new(Party::User("1001")), trunk(&OTHERS));
    let proxy = Asker { by_proxy: true, ..user };
    let other = Gateway("other");
    for (way, place, wanted) in [
        (Way::Redirect, Number, [Refuse, Routes, Refuse, Routes]),
        (Way::Redirect, Own, [Refuse, Routes, Follow, Routes]),
        (Way::Redirect, other, [Refuse; 4]),
        (Way::Redirect, Elsewhere, [Refuse; 4]),
        (Way::Redirect, Inside, [Refuse; 4]),
        (Way::Refer, Number, [Refuse, Routes, Routes, Routes]),
        (Way::Refer, Own, [Refuse, Routes, Follow, Routes]),
        (Way::Refer, other, [Refuse; 4]),
        (Way::Refer, Elsewhere, [Refuse; 4]),
        (Way::Replaces, Own, [Refuse, Follow, Follow, Follow]),
        (Way::Replaces, Referred, [Refuse, Follow, Follow, Follow]),
        (Way::Replaces, Elsewhere, [Refuse; 4]),
        (Way::Path, Elsewhere, [Ignore, Ignore, Ignore, Follow]),
        (Way::Via, Elsewhere, [Ignore, Ignore, Ignore, Follow]),
        (Way::ServiceRoute, Elsewhere, [Ignore, Ignore, Follow, Ignore]),
        (Way::DialogHop, Own, [Flow, Flow, Follow, Follow]),
        (Way::DialogHop, Elsewhere, [Flow, Flow, FollowCounted, Follow]),
        (Way::DialogHop, Inside, [Flow, Flow, Flow, Follow]),
        (Way::DialogHop, other, [Flow, Flow, Flow, Follow]),
        (Way::RegisterContact, Own, [Refuse, Follow, Follow, Flow]),
        (Way::RegisterContact, Elsewhere, [Refuse, Flow, Flow, Flow]),
        (Way::RouteHeader, Elsewhere, [Ignore, Ignore, Ignore, Follow]),
        (Way::RequestUri, Elsewhere, [Ignore; 4]),
        (Way::UriHeaders, Elsewhere, [Ignore; 4]),
    ] {
        let found = [stranger, user, gateway, proxy].map(|asker| decided(asker, way, place));
        assert_eq!(found, wanted, "{way:?} to {place:?}");
    }
}

#[test]
fn what_a_gateway_may_do_beside_is_what_its_redirects_say() {
    let named = Redirects::Gateways(vec!["other".into()]);
    assert_eq!(decided(trunk(&named), Way::Redirect, Place::Gateway("other")), Decision::Through("other"));
    assert_eq!(decided(trunk(&named), Way::Refer, Place::Gateway("other")), Decision::Through("other"));
    assert_eq!(decided(trunk(&named), Way::Redirect, Place::Gateway("third")), Decision::Refuse);
    let routes = Redirects::Routes;
    for place in [Place::Number, Place::Elsewhere, Place::Gateway("other")] {
        assert_eq!(decided(trunk(&routes), Way::Redirect, place), Decision::Routes, "{place:?}");
    }
    assert_eq!(decided(trunk(&routes), Way::Redirect, Place::Own), Decision::Follow);
    let tight = Asker::new(Party::Gateway(Trunk { dialog_own: true, ..Trunk::HOST }));
    assert_eq!(decided(tight, Way::DialogHop, Place::Elsewhere), Decision::Flow);
}

#[test]
fn what_is_refused_to_a_gateway_names_the_key_that_would_allow_it() {
    let refused = decide(trunk(&OTHERS), Way::Redirect, Place::Gateway("other"));
    assert_eq!((refused.decision, refused.key), (Decision::Refuse, Some("redirects")));
    let host = decide(Asker::new(Party::Gateway(Trunk::HOST)), Way::Redirect, Place::Elsewhere);
    assert_eq!((host.decision, host.key), (Decision::Refuse, None));
    let path = decide(Asker::new(Party::User("1001")), Way::Path, Place::Elsewhere);
    assert_eq!((path.decision, path.key), (Decision::Ignore, Some("registrar.proxies")));
}

#[test]
fn an_agent_leads_its_caller_inside_and_where_may_transfer_says() {
    let asker = |named| Asker::new(Party::Agent { named });
    for (place, unnamed, named) in [
        (Place::Own, Decision::Follow, Decision::Follow),
        (Place::Number, Decision::Refuse, Decision::Routes),
        (Place::Gateway("carrier"), Decision::Refuse, Decision::Follow),
        (Place::Inside, Decision::Refuse, Decision::Follow),
        (Place::Elsewhere, Decision::Refuse, Decision::Follow),
    ] {
        assert_eq!(decided(asker(false), Way::Transfer, place), unnamed, "{place:?}");
        assert_eq!(decided(asker(true), Way::Transfer, place), named, "{place:?}");
        for way in [Way::Redirect, Way::Refer, Way::Replaces] {
            assert_eq!(decided(asker(true), way, Place::Elsewhere), Decision::Refuse, "{way:?}");
        }
        for party in [Party::Stranger, Party::User("1001")] {
            assert_eq!(decided(Asker::new(party), Way::Transfer, place), Decision::Refuse);
        }
    }
}
