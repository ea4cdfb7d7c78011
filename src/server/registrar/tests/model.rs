//! Random REGISTERs against a model that is a plain list.

use proptest::prelude::*;

use super::*;

/// One binding of the model: contact, when it is over, Call-ID, CSeq.
type Line = (u8, u64, u8, u32);

#[derive(Debug, Clone)]
enum Operation {
    Query,
    Star,
    Contacts(Vec<(u8, u32)>),
}

#[derive(Debug, Clone)]
struct Step {
    pause: u64,
    user: u8,
    call: u8,
    cseq: u32,
    operation: Operation,
    /// Let the registrar's timer run before.
    timer: bool,
}

fn a_step() -> impl Strategy<Value = Step> {
    let expires = prop_oneof![Just(0u32), Just(30), 60u32..400, Just(999_999)];
    let contacts = prop::collection::vec((0u8..5, expires), 1..4);
    let operation = prop_oneof![1 => Just(Operation::Query), 1 => Just(Operation::Star), 6 => contacts.prop_map(Operation::Contacts)];
    (0u64..90, 1u8..3, 0u8..3, 0u32..12, operation, any::<bool>()).prop_map(
        |(pause, user, call, cseq, operation, timer)| Step { pause, user, call, cseq, operation, timer },
    )
}

const MAX_CONTACTS: usize = 3;

/// What the RFC says, without any cleverness.
fn model(lines: &mut Vec<Line>, now: u64, step: &Step) -> u16 {
    lines.retain(|line| line.1 > now);
    let late = |line: &Line| line.2 == step.call && step.cseq <= line.3;
    match &step.operation {
        Operation::Query => 200,
        Operation::Star if lines.iter().any(late) => 500,
        Operation::Star => {
            lines.clear();
            200
        }
        Operation::Contacts(wanted) => {
            if wanted.iter().any(|(_, expires)| (1..60).contains(expires)) {
                return 423;
            }
            if lines.iter().any(|line| late(line) && wanted.iter().any(|(contact, _)| *contact == line.0)) {
                return 500;
            }
            let before: Vec<u8> = lines.iter().map(|line| line.0).collect();
            let mut after = lines.clone();
            for (contact, expires) in wanted {
                after.retain(|line| line.0 != *contact);
                if *expires > 0 {
                    after.push((*contact, now + u64::from(*expires).min(7_200), step.call, step.cseq));
                }
            }
            if after.len() > MAX_CONTACTS && after.iter().any(|line| !before.contains(&line.0)) {
                return 403;
            }
            *lines = after;
            200
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_registers_does_what_the_model_does(steps in prop::collection::vec(a_step(), 1..60)) {
        let mut bench = Bench::with(RegistrarConfig { max_contacts: MAX_CONTACTS, ..RegistrarConfig::default() });
        // Behind a NAT, so that keep-alive timers run as well.
        bench.flow = flow(Transport::Udp, "198.51.100.7:40123");
        let start = bench.now;
        let mut lines: [Vec<Line>; 3] = Default::default();
        for step in steps {
            bench.now += Duration::from_secs(step.pause);
            if step.timer {
                bench.registrar.handle_timeout(bench.now);
            }
            let now = bench.now.duration_since(start).as_secs();
            let register = Register::new(step.cseq)
                .to(&format!("<sip:100{}@b2b.example>", step.user + 2))
                .call_id(&format!("call{}", step.call));
            let register = match &step.operation {
                Operation::Query => register,
                Operation::Star => register.contact("*").expires(0),
                Operation::Contacts(wanted) => wanted.iter().fold(register, |register, (contact, expires)| {
                    register.contact(&format!("<sip:c{contact}@10.0.0.5>;expires={expires}"))
                }),
            };
            let lines = &mut lines[usize::from(step.user)];
            let (status, mut listed) = bench.answer(&register);
            prop_assert_eq!(status, model(lines, now, &step), "{:?}", step);
            if status == 200 {
                let mut expected: Vec<String> = lines
                    .iter()
                    .map(|line| format!("<sip:c{}@10.0.0.5>;expires={}", line.0, line.1 - now))
                    .collect();
                listed.sort();
                expected.sort();
                prop_assert_eq!(listed, expected);
            }
        }
        // Events tell the same story: what came and did not go is there.
        let mut alive = 0i64;
        while let Some(event) = bench.registrar.poll_event() {
            alive += match event {
                RegistrarEvent::Registered { .. } => 1,
                RegistrarEvent::Refreshed { .. } => 0,
                RegistrarEvent::Removed { .. } => -1,
            };
        }
        prop_assert_eq!(alive, bench.registrar.store().len() as i64);
        bench.now += Duration::from_secs(8_000);
        bench.registrar.handle_timeout(bench.now);
        prop_assert!(bench.registrar.store().is_empty());
        prop_assert_eq!(bench.registrar.timers_held().0, 0);
    }

    #[test]
    fn whatever_stands_in_contact_is_answered_and_what_is_listed_can_be_read_again(
        inside in "[ -~\\t]{0,60}",
        params in "(;[a-z+.-]{1,12}(=([!-~]{0,12}|\"[ -~]{0,12}\"))?){0,4}",
        expires in "[ -~]{0,12}",
    ) {
        for value in [inside.clone(), format!("<sip:{inside}@192.0.2.1>{params}"), format!("<sip:a@b>{params}")] {
            let text = format!(
                "REGISTER sip:b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                 From: <sip:1001@b2b.example>;tag=1\r\nTo: <sip:1001@b2b.example>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\
                 Max-Forwards: 70\r\nContact: {value}\r\nExpires: {expires}\r\n\r\n"
            );
            let Ok(Message::Request(request)) = Message::parse(Bytes::from(text), &Limits::default()) else { continue };
            let mut bench = Bench::new();
            let reply = bench.registrar.handle(bench.now, &request, Sender { flow: &bench.flow, source: bench.flow.remote, user: None, challenged: false, is_open: &|_| true }, &House).reply;
            prop_assert!([200, 400, 423].contains(&reply.status), "{}", reply.status);
            for (_, value) in reply.headers.iter().filter(|(name, _)| name == "Contact") {
                let read = b2b_sip::msg::NameAddr::parse(value).and_then(|it| it.params.value("expires").map(<[u8]>::to_vec));
                prop_assert!(read.is_some(), "{}", value.escape_ascii());
            }
        }
    }
}
