//! A gateway with a low network effectiveness ratio: taken out of use, tried, and restored.

use std::time::Duration;

use b2b::call::bus::Received;
use b2b::call::event::Event;
use b2b::call::resolver::{GatewayStatus, Health};
use b2b::server::gateway::ner::Out;
use b2b::sip::endpoint::{Body, Invite, Termination, UsageId};
use b2b_testkit::{PartyId, SESSION};

use super::bench::Bench;

const ANN: &str = "192.0.2.11:5060";
const CARRIER: &str = "192.0.2.21:5060";
const SPARE: &str = "192.0.2.22:5060";

const NER: &str = "ner = { below = 50, calls = 4, window_s = 300, out_s = 60 }";

fn text(ner: &str) -> String {
    format!(
        "[server]\ntrusted = [\"192.0.2.11\"]\n[emergency]\nnumbers = \"112\"\ngateways = \"carrier\"\n\
         [[gateway]]\nname = \"carrier\"\nhosts = [\"{CARRIER}\"]\noptions_s = 0\n{ner}\n\
         [[gateway]]\nname = \"spare\"\nhosts = [\"{SPARE}\"]\noptions_s = 0\n\
         [[route]]\nto = [\"gateway/carrier\", \"gateway/spare\"]\n"
    )
}

struct World {
    bench: Bench,
    ann: PartyId,
    carrier: PartyId,
    spare: PartyId,
    calls: usize,
}

impl World {
    fn new() -> World {
        let mut bench = Bench::new(&text(NER));
        let [ann, carrier, spare] = [ANN, CARRIER, SPARE].map(|at| bench.harness.party(at));
        World { bench, ann, carrier, spare, calls: 0 }
    }

    /// A call from a new number to a new number.
    fn call(&mut self) -> UsageId {
        self.calls += 1;
        let (from, to) = (200 + self.calls, 500 + self.calls);
        self.call_from(from, to)
    }

    fn call_from(&mut self, from: usize, to: usize) -> UsageId {
        let invite = Invite {
            target: format!("sip:{to}@192.0.2.1").into(),
            from: Some(format!("<sip:{from}@192.0.2.1>").into()),
            body: Some(Body::sdp(SESSION)),
            ..Invite::default()
        };
        self.bench.harness.invite(self.ann, invite)
    }

    /// The carrier answers the call with this status; returns whether the spare gateway, which is busy, was
    /// tried next.
    fn fails(&mut self, call: UsageId, status: u16) -> bool {
        let asked = self.bench.harness.next_call(self.carrier);
        self.bench.harness.reject(self.carrier, asked, status);
        let next = self.bench.harness.incoming(self.spare);
        next.iter().for_each(|it| self.bench.harness.reject(self.spare, *it, 486));
        assert!(matches!(self.bench.harness.ended(self.ann, call), Some(Termination::Failed { .. })));
        !next.is_empty()
    }

    /// A call goes to the spare gateway at once.
    fn passes_it_over(&mut self) {
        let call = self.call();
        assert!(self.bench.harness.incoming(self.carrier).is_empty());
        let asked = self.bench.harness.next_call(self.spare);
        self.bench.harness.reject(self.spare, asked, 486);
        assert!(self.bench.harness.ended(self.ann, call).is_some());
    }

    /// Effective calls in percent, and whether the gateway is out of use.
    fn ner(&self) -> (Option<usize>, Option<Out>) {
        let (_, state, _) = self.bench.parts.board.snapshot().remove(0);
        let ner = state.ner.expect("it is counted");
        assert_eq!(state.is_up(), ner.out.is_none());
        (ner.percent(), ner.out)
    }
}

#[test]
fn it_is_passed_over_when_too_few_calls_get_through_and_comes_back_by_one_that_does() {
    let mut world = World::new();
    let mut events = world.bench.parts.bus.subscribe();
    for status in [503, 500, 504, 502] {
        assert_eq!(world.ner().1, None);
        let call = world.call();
        assert!(world.fails(call, status), "the next one is asked after {status}");
    }
    assert_eq!(world.ner(), (Some(0), Some(Out::Resting)));
    assert_eq!(world.bench.parts.board.health("carrier", CARRIER), Health::Down);
    world.passes_it_over();
    // One call tries it, while others go elsewhere.
    world.bench.harness.run(Duration::from_secs(61));
    assert_eq!(world.ner().1, Some(Out::Trying));
    let first = world.call();
    let asked = world.bench.harness.next_call(world.carrier);
    world.passes_it_over();
    world.bench.harness.reject(world.carrier, asked, 503);
    let next = world.bench.harness.next_call(world.spare);
    world.bench.harness.reject(world.spare, next, 486);
    assert!(world.bench.harness.ended(world.ann, first).is_some());
    assert_eq!(world.ner().1, Some(Out::Resting));
    world.passes_it_over();
    // A caller that hangs up at once decides nothing.
    world.bench.harness.run(Duration::from_secs(61));
    let quick = world.call();
    assert_eq!(world.bench.harness.incoming(world.carrier).len(), 1);
    // CANCEL is sent only after 100 Trying (RFC 3261 §9.1).
    world.bench.harness.run(Duration::from_secs(1));
    world.bench.harness.cancel(world.ann, quick);
    assert_eq!(world.ner().1, Some(Out::Trying));
    // Ringing is enough (ITU-T E.425: ring, no answer).
    let good = world.call();
    let asked = world.bench.harness.next_call(world.carrier);
    world.bench.harness.ring(world.carrier, asked, 180, None);
    assert_eq!(world.ner(), (None, None));
    world.bench.harness.answer(world.carrier, asked, Some(SESSION));
    assert!(world.bench.harness.is_up(world.ann, good));
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv())
        .filter_map(|received| match received {
            Received::Event(published) => match &published.event {
                Event::GatewayHealth { gateway, host, up, reason } => {
                    Some((gateway.clone(), host.clone(), *up, reason.clone()))
                }
                _ => None,
            },
            Received::Lagged(_) => None,
        })
        .collect();
    let event = |up, reason: &str| ("carrier".to_owned(), String::new(), up, reason.to_owned());
    assert_eq!(told, [event(false, "0 of its last 4 calls succeeded"), event(true, "a call succeeded")]);
}

#[test]
fn who_is_busy_unknown_or_refuses_was_reached() {
    let mut world = World::new();
    for status in [486, 404, 603, 480, 403, 484, 600, 488] {
        let call = world.call();
        world.fails(call, status);
    }
    assert_eq!(world.ner(), (Some(100), None));
}

#[test]
fn silence_counts_as_much_as_a_refusal_of_the_network() {
    let mut world = World::new();
    world.bench.harness.kill(world.carrier);
    for _ in 0..4 {
        let call = world.call();
        world.bench.harness.run(Duration::from_secs(35));
        let asked = world.bench.harness.next_call(world.spare);
        world.bench.harness.reject(world.spare, asked, 486);
        assert!(world.bench.harness.ended(world.ann, call).is_some());
    }
    assert_eq!(world.ner(), (Some(0), Some(Out::Resting)));
}

/// A caller that dials invalid numbers repeatedly, and an invalid number dialled by many callers.
#[test]
fn one_caller_and_one_number_take_the_gateway_from_nobody() {
    let mut world = World::new();
    for n in 0..20 {
        let call = world.call_from(666, 700 + n);
        assert!(world.fails(call, 503), "the carrier is asked");
    }
    for n in 0..20 {
        let call = world.call_from(300 + n, 999);
        assert!(world.fails(call, 503), "the carrier is asked");
    }
    assert_eq!(world.ner(), (Some(0), None));
}

#[test]
fn calls_for_help_try_it_all_the_same_and_other_rules_forget_what_was() {
    let mut world = World::new();
    for _ in 0..4 {
        let call = world.call();
        world.fails(call, 503);
    }
    world.passes_it_over();
    let help = world.call_from(201, 112);
    world.bench.harness.answer_next(world.carrier, SESSION);
    assert!(world.bench.harness.is_up(world.ann, help));
    assert_eq!(world.ner().1, Some(Out::Resting), "what it says of others is unknown");
    world.bench.reload(&text("ner = { calls = 5 }"));
    assert_eq!(world.ner(), (None, None));
    let call = world.call();
    world.fails(call, 503);
    assert_eq!(world.ner(), (Some(0), None));
    world.bench.reload(&text(""));
    let (_, state, _) = world.bench.parts.board.snapshot().remove(0);
    assert_eq!((state.ner, state.is_up()), (None, true));
}
