use std::pin::Pin;
use std::time::Duration;

use super::attend_tests::{BOB, House, Reached, house};
use super::{Parting, Stage};
use b2b_call::LegId;
use b2b_call::call_fsm::CallState;
use b2b_call::service::{DialError, DialOptions, DialRequest};
use b2b_testkit::{PartyId, SESSION, UsageId};

const SOON: Duration = Duration::from_secs(1);

/// Bob, who is called for the agent and has early media.
struct Called {
    house: House,
    bob: PartyId,
    call: UsageId,
    leg: LegId,
    /// The call ends with it.
    answered: Pin<Box<dyn Future<Output = Result<LegId, DialError>> + Send>>,
}

fn called(reached: Reached) -> Called {
    let mut house = house(Reached::There, None);
    house.parts(Parting::Stopped { transfer: None });
    house.harness.wire.clear();
    house.reaches(reached);
    let (service, bob) = (house.harness.service(), house.harness.party(BOB));
    let options = DialOptions { early_media: true, ..DialOptions::default() };
    let request = DialRequest { options, ..DialRequest::to(format!("sip:bob@{BOB}")) };
    let (_, early, answered) = house.harness.wait(SOON, service.originate_early(request)).expect("a call");
    house.harness.settle();
    let call = house.harness.next_call(bob);
    house.harness.ring(bob, call, 183, Some(SESSION));
    let leg = house.harness.wait(SOON, early).expect("early media");
    house.harness.wait(SOON, service.give(leg, "voice_agent/ada", None)).expect("given");
    house.harness.run(SOON);
    Called { house, bob, call, leg, answered: Box::pin(answered) }
}

impl Called {
    fn answers(&mut self) {
        self.house.harness.answer(self.bob, self.call, Some(SESSION));
        assert_eq!(self.house.harness.wait(SOON, self.answered.as_mut()), Ok(self.leg));
        self.house.harness.run(SOON);
    }

    fn is_with_its_agent(&self) -> bool {
        let state = self.house.harness.snapshot()[0].state;
        self.house.harness.is_up(self.bob, self.call) && state == CallState::InIvr
    }

    fn hangs_up(mut self) {
        self.house.harness.hang_up(self.bob, self.call);
        self.house.harness.assert_nothing_left();
    }
}

#[test]
fn an_agent_that_hears_early_media_is_told_of_the_answer_and_speaks_then() {
    let mut called = called(Reached::There);
    assert_eq!(called.house.stages(), []);
    called.answers();
    assert_eq!(called.house.stages(), [Stage::CallerAnswered]);
    assert!(called.is_with_its_agent());
    called.house.parts(Parting::Stopped { transfer: None });
    assert!(!called.house.harness.is_up(called.bob, called.call));
    called.house.harness.assert_nothing_left();
}

#[test]
fn an_agent_that_is_not_there_early_is_connected_at_the_answer() {
    for reached in [Reached::Refused, Reached::Never] {
        let mut called = called(reached);
        // Longer than it may take.
        called.house.harness.run(7 * SOON);
        called.house.reaches(Reached::There);
        called.answers();
        assert!(called.is_with_its_agent());
        assert_eq!(called.house.stages(), []);
        called.hangs_up();
    }
}

#[test]
fn an_agent_that_stops_early_cancels_the_call() {
    let mut called = called(Reached::There);
    called.house.parts(Parting::Stopped { transfer: None });
    let cancelled = |it: &b2b_testkit::Sent| it.line().starts_with("CANCEL ");
    assert!(called.house.harness.wire.iter().any(cancelled));
    assert!(called.house.harness.wait(SOON, called.answered.as_mut()).is_err());
    called.house.harness.assert_nothing_left();
}

#[test]
fn a_party_that_is_called_for_an_agent_gets_it_at_the_answer_when_the_server_dies() {
    for reached in [Reached::There, Reached::Never] {
        let mut called = called(reached);
        called.house.dies();
        called.house.reaches(Reached::There);
        called.house.dies();
        let (bob, call) = (called.bob, called.call);
        called.house.harness.answer(bob, call, Some(SESSION));
        called.house.harness.run(SOON);
        assert!(called.is_with_its_agent());
        // And afterwards it is as any other.
        called.house.dies();
        assert!(called.house.harness.is_up(bob, call));
        called.hangs_up();
    }
}
