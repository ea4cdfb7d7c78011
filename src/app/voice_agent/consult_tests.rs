use std::time::Duration;

use super::attend_tests::{BOB, House, Reached, gone, house, house_with, to};
use super::{Ask, Audio, News, Parting, Stage, Target};
use b2b_call::call_fsm::CallState;
use b2b_call::controller::StreamEnd;
use b2b_testkit::{PartyId, SESSION, UsageId};

impl House {
    fn asks(&mut self, ask: Ask) {
        self.agent.consulting.lock().unwrap().as_ref().expect("a talk").ask(ask);
        self.harness.run(Duration::from_millis(100));
    }

    /// Bob, whom the agent consults, and the call that has come to him.
    fn consults(&mut self) -> (PartyId, UsageId) {
        let bob = self.harness.party(BOB);
        let headers = vec![("X-Summary".to_owned(), "a refund".to_owned())];
        self.asks(Ask::Consult(Target { to: "user/bob".to_owned(), headers }));
        assert_eq!(self.stages(), [Stage::Calling]);
        let asked = |it: &&b2b_testkit::Sent| it.field("X-Summary").as_deref() == Some("a refund");
        assert!(self.harness.wire.iter().filter(asked).count() > 0);
        (bob, self.harness.next_call(bob))
    }

    /// The same, and he answers.
    fn talks(&mut self) -> (PartyId, UsageId) {
        let (bob, call) = self.consults();
        self.harness.answer(bob, call, Some(SESSION));
        assert_eq!(self.stages(), [Stage::Answered]);
        assert_eq!(self.harness.media().music().len(), 1);
        (bob, call)
    }

    /// What the agent was told since the last time; its streams stay open.
    pub fn stages(&mut self) -> Vec<Stage> {
        let (mut told, mut stages) = (Vec::new(), Vec::new());
        while let Some(news) =
            self.agent.consulting.lock().unwrap().as_mut().and_then(|it| it.news.try_recv().ok())
        {
            if let News::Stage { stage, .. } = &news {
                stages.push(*stage);
            }
            told.push(news);
        }
        let streams = told.into_iter().filter_map(|news| match news {
            News::Stage { audio: Audio::Caller(stream) | Audio::Consulted(_, stream), .. } => Some(*stream),
            _ => None,
        });
        self.streams.extend(streams);
        stages
    }

    /// The caller has hung up: the agent's talk ends, if it has not by itself.
    fn closes(&mut self) {
        let parts = self.agent.parts.lock().unwrap().take();
        let _ = parts.map(|it| it.send(Parting::Ended(StreamEnd::Closed)));
        self.harness.run(Duration::from_secs(1));
    }

    fn is_back(&mut self) {
        assert!(self.is_up() && self.streams() && self.harness.media().music().is_empty());
    }

    fn falls_back(&mut self) {
        let endpoint = self.harness.callers_endpoint();
        assert!(self.harness.media().is_playing(endpoint) && self.harness.media().music().is_empty());
    }

    fn ends(mut self) {
        self.streams.clear();
        self.harness.run(Duration::from_secs(40));
        self.harness.assert_nothing_left();
    }
}

#[test]
fn who_is_consulted_is_joined_with_the_caller_when_the_agent_stops() {
    let mut house = house(Reached::There, None);
    let (bob, call) = house.talks();
    house.parts(Parting::Stopped { transfer: None });
    assert!(house.is_up() && house.harness.is_up(bob, call));
    assert_eq!(house.harness.snapshot()[0].state, CallState::Bridged);
    assert!(house.harness.media().music().is_empty());
    house.harness.hang_up(house.ann, house.call);
    assert!(!house.harness.is_up(bob, call));
    house.ends();
}

#[test]
fn the_caller_is_back_after_each_way_in_which_a_consultation_ends() {
    for (talks, returns, stage) in [
        (false, false, Stage::Failed),
        (true, false, Stage::Ended),
        (false, true, Stage::Returned),
        (true, true, Stage::Returned),
    ] {
        let mut house = house(Reached::There, None);
        let (bob, call) = if talks { house.talks() } else { house.consults() };
        match (talks, returns) {
            (_, true) => house.asks(Ask::Return),
            (true, false) => house.harness.hang_up(bob, call),
            (false, false) => house.harness.reject(bob, call, 486),
        }
        house.harness.run(Duration::from_secs(1));
        assert_eq!(house.stages(), [stage]);
        house.is_back();
        assert!(!house.harness.is_up(bob, call));
        house.parts(Parting::Stopped { transfer: None });
        assert!(!house.is_up());
        house.ends();
    }
}

#[test]
fn the_end_of_the_agent_or_of_the_caller_is_that_of_a_consultation_in_each_state() {
    for talks in [false, true] {
        for parting in [Some(gone()), Some(Parting::Stopped { transfer: to("milliwatt") }), None] {
            let mut house = house(Reached::There, Some("milliwatt"));
            let (bob, call) = if talks { house.talks() } else { house.consults() };
            match parting {
                Some(parting) => {
                    house.parts(parting);
                    house.falls_back();
                    house.harness.hang_up(house.ann, house.call);
                }
                None => {
                    house.harness.hang_up(house.ann, house.call);
                    let told = house.agent.consulting.lock().unwrap().as_mut().unwrap().news.try_recv();
                    assert!(matches!(told, Ok(News::Ended(_))), "{told:?}");
                    house.closes();
                }
            }
            assert!(!house.harness.is_up(bob, call) && house.harness.incoming(bob).is_empty());
            house.ends();
        }
    }
}

#[test]
fn a_caller_whose_audio_cannot_be_opened_again_goes_to_the_fallback() {
    let mut house = house(Reached::There, Some("milliwatt"));
    let (bob, call) = house.talks();
    house.harness.media().run_out_of_ports();
    house.asks(Ask::Return);
    house.harness.run(Duration::from_secs(1));
    assert_eq!(house.stages(), []);
    house.closes();
    house.falls_back();
    assert!(!house.harness.is_up(bob, call));
    house.harness.hang_up(house.ann, house.call);
    house.ends();
}

#[test]
fn a_party_that_hangs_up_as_the_agent_stops_leaves_nothing() {
    let mut house = house(Reached::There, None);
    let (bob, call) = house.talks();
    house.harness.hang_up(bob, call);
    house.parts(Parting::Stopped { transfer: None });
    assert!(!house.is_up());
    house.ends();
}

#[test]
fn whom_the_agent_may_not_call_or_calls_beside_another_one_is_refused() {
    let mut house = house(Reached::There, None);
    for target in ["sip:evil@198.51.100.1", "elsewhere", "milliwatt", ""] {
        house.asks(Ask::Consult(to(target).unwrap()));
        assert_eq!(house.stages(), [Stage::Refused], "{target}");
    }
    house.is_back();
    let (bob, call) = house.talks();
    house.asks(Ask::Consult(to("user/bob").unwrap()));
    assert_eq!(house.stages(), [Stage::Refused]);
    assert!(house.harness.is_up(bob, call));
    house.harness.hang_up(house.ann, house.call);
    house.closes();
    house.ends();
}

#[test]
fn a_consultation_ends_when_the_server_dies_and_the_agent_is_back_with_its_caller() {
    for answered in [false, true] {
        let mut house = house_with(Reached::There, Some("milliwatt"), 10);
        let (bob, call) = if answered { house.talks() } else { house.consults() };
        house.dies();
        house.harness.run(Duration::from_secs(1));
        assert!(house.harness.ended(bob, call).is_some());
        house.is_back();
        // As before.
        house.asks(Ask::Consult(to("user/bob").expect("a target")));
        assert_eq!(house.stages(), [Stage::Calling]);
        let call = house.harness.next_call(bob);
        house.harness.reject(bob, call, 486);
        assert_eq!(house.stages(), [Stage::Failed]);
        house.is_back();
        house.harness.hang_up(house.ann, house.call);
        house.closes();
        house.ends();
    }
}

#[test]
fn an_agent_consults_ten_at_most_however_often_the_server_dies() {
    let mut house = house_with(Reached::There, Some("milliwatt"), 10);
    for _ in 0..2 {
        for _ in 0..5 {
            house.asks(Ask::Consult(to("elsewhere").expect("a target")));
        }
        house.dies();
        house.harness.run(Duration::from_secs(1));
    }
    house.asks(Ask::Consult(to("user/bob").expect("a target")));
    assert_eq!(house.stages(), [Stage::Refused]);
    house.harness.hang_up(house.ann, house.call);
    house.closes();
    house.ends();
}

#[test]
fn who_is_joined_with_the_caller_stays_so_when_the_server_dies() {
    let mut house = house(Reached::There, None);
    let (bob, call) = house.talks();
    house.parts(Parting::Stopped { transfer: None });
    house.dies();
    assert!(house.is_up() && house.harness.is_up(bob, call));
    house.harness.hang_up(bob, call);
    assert!(!house.is_up());
    house.ends();
}
