//! Trunks recognised by the token in the contact registered there, and callers with false tokens.

use b2b::sip::endpoint::{Body, Invite, Termination};
use b2b::sip::msg::Name;
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;
use super::gateways::Provider;

const BOB: &str = "192.0.2.12:5060";
const CAT: &str = "192.0.2.13:5060";
const ONE: &str = "192.0.2.21:5060";
const TWO: &str = "192.0.2.22:5060";
/// A provider's SBC at an unknown address, or an attacker.
const ELSEWHERE: &str = "198.51.100.7:5060";
const TOKEN: &str = ";b2b-token=";

fn config(carrier: &str) -> String {
    let gateway = |name: &str, at: &str, more: &str| {
        format!(
            "[[gateway]]\nname = \"{name}\"\nhosts = [\"{at}\"]\nusername = \"acme\"\npassword = \"secret\"\n\
             register = true\noptions_s = 0\ncontact_token = true\n{more}\n"
        )
    };
    format!(
        "{}{}[[route]]\nsource = \"gateway/carrier\"\nto = \"sip:bob@{BOB}\"\n\
         [[route]]\nsource = \"gateway/other\"\nto = \"sip:cat@{CAT}\"\n",
        gateway("carrier", ONE, carrier),
        gateway("other", TWO, "")
    )
}

/// The URI of our contact at a provider.
fn contact(provider: &Provider) -> String {
    let register = provider.seen.last().expect("a REGISTER");
    String::from_utf8(register.contact().expect("a contact").expect("one").uri.raw.to_vec()).expect("text")
}

struct World {
    bench: Bench,
    carrier: Provider,
    other: Provider,
    elsewhere: PartyId,
    parties: [PartyId; 2],
}

impl World {
    fn new() -> World {
        let mut bench = Bench::new(&config(""));
        let (carrier, other) = (Provider::new(&mut bench, ONE), Provider::new(&mut bench, TWO));
        let parties = [BOB, CAT].map(|at| bench.harness.party(at));
        let elsewhere = bench.harness.party(ELSEWHERE);
        bench.harness.settle();
        let mut world = World { bench, carrier, other, elsewhere, parties };
        world.serve();
        world
    }

    fn serve(&mut self) {
        self.carrier.serve(&mut self.bench, 600);
        self.other.serve(&mut self.bench, 600);
    }

    /// The party that is called when an unknown address calls this URI: Bob for calls of the carrier, Cat for
    /// those of the other gateway. `None`: the call is challenged.
    fn reaches(&mut self, uri: &str) -> Option<&'static str> {
        let before = [BOB, CAT].map(|at| self.bench.sent_to(at, "INVITE ").len());
        let invite = Invite {
            target: uri.to_owned().into(),
            to: Some(format!("<{uri}>").into()),
            body: Some(Body::sdp(SESSION)),
            ..Invite::default()
        };
        let call = self.bench.harness.invite(self.elsewhere, invite);
        let after = [BOB, CAT].map(|at| self.bench.sent_to(at, "INVITE ").len());
        for (place, at) in [BOB, CAT].into_iter().enumerate() {
            if after[place] > before[place] {
                let told = self.bench.sent_to(at, "INVITE ").pop().expect("an INVITE");
                assert!(!told.contains("b2b-token"), "{told}");
                self.bench.harness.answer_next(self.parties[place], SESSION);
                self.bench.harness.hang_up(self.elsewhere, call);
                return Some(at);
            }
        }
        match self.bench.harness.ended(self.elsewhere, call) {
            Some(Termination::Failed { response }) if response.status() == 407 => None,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_call_to_the_contact_with_the_token_is_that_gateways_wherever_it_comes_from() {
    let mut world = World::new();
    let (carrier, other) = (contact(&world.carrier), contact(&world.other));
    let first =
        world.carrier.seen.first().expect("a REGISTER").header(Name::Contact).expect("a contact").to_vec();
    assert!(String::from_utf8_lossy(&first).contains(&carrier), "one token for all of a registration");
    assert_eq!(world.reaches(&carrier), Some(BOB));
    assert_eq!(world.reaches(&other), Some(CAT));
    // Trunks put the called number into the contact URI.
    let number = carrier.replacen("sip:acme@", "sip:+442079460000@", 1);
    assert_eq!(world.reaches(&format!("{number};user=phone")), Some(BOB));
    let record = world.bench.harness.records();
    assert!(record.iter().any(|it| it.gateway.as_deref() == Some("carrier")));
    for shown in [format!("{record:?}"), format!("{:?}", world.bench.harness.snapshot())] {
        let (_, token) = carrier.split_once(TOKEN).expect("a token");
        assert!(!shown.contains(token) && !shown.contains("b2b-token"), "{shown}");
    }
}

#[test]
fn a_liar_is_asked_for_a_password() {
    let mut world = World::new();
    let (carrier, other) = (contact(&world.carrier), contact(&world.other));
    let (plain, token) = carrier.split_once(TOKEN).expect("a token");
    let guess = token.replacen(|_: char| true, if token.starts_with('0') { "1" } else { "0" }, 1);
    let (_, others) = other.split_once(TOKEN).expect("a token");
    assert_ne!(token, others);
    for liar in [
        plain.to_owned(),
        format!("{plain}{TOKEN}{guess}"),
        format!("{plain}{TOKEN}"),
        format!("{plain}{TOKEN}{}", &token[..31]),
        format!("{plain}{TOKEN}{token}0"),
        format!("{plain};token={token}"),
        // One of the two tokens is right.
        format!("{plain}{TOKEN}{guess}{TOKEN}{token}"),
    ] {
        assert_eq!(world.reaches(&liar), None, "{liar}");
    }
    // The token of a gateway gives its identity only, whatever else the URI contains.
    assert_eq!(world.reaches(&format!("{plain}{TOKEN}{others}")), Some(CAT));
}

#[test]
fn a_token_of_a_registration_that_is_over_is_nobodys() {
    let mut world = World::new();
    let old = contact(&world.carrier);
    assert_eq!(world.reaches(&old), Some(BOB));
    // Registered again.
    world.bench.reload(&config("expires_s = 900"));
    world.bench.harness.settle();
    world.serve();
    let new = contact(&world.carrier);
    assert_ne!(old, new);
    assert_eq!(world.reaches(&old), None);
    assert_eq!(world.reaches(&new), Some(BOB));
    // No longer registered.
    world.bench.reload(&config("expires_s = 900").replacen("contact_token = true\n", "", 1));
    world.bench.harness.settle();
    world.serve();
    assert!(!contact(&world.carrier).contains("token"));
    assert_eq!(world.reaches(&new), None);
}
