//! Two endpoints whose users do anything at any time on a bad network: whatever happens, each
//! call has exactly one last event, and nothing is left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Extensions, InDialog, Invite, ReferId, Reply, ServerTransactionId,
    SessionTimers, Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::{Method, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pair::{A, B, Network, Pair, config};

/// The two users' knowledge of their calls.
#[derive(Default)]
struct Users {
    /// By end: calls, and whether they have ended.
    calls: [BTreeMap<UsageId, bool>; 2],
    waiting: [Vec<ServerTransactionId>; 2],
    pracks: [Vec<(UsageId, Response)>; 2],
    refers: [Vec<(UsageId, ReferId)>; 2],
    up: usize,
    changed: usize,
}

impl Users {
    fn look(&mut self, pair: &mut Pair, seed: u64) {
        for end in [A, B] {
            for event in pair.take(end) {
                match event {
                    Event::Incoming { usage, .. } => {
                        assert_eq!(self.calls[end].insert(usage, false), None, "seed {seed}");
                    }
                    Event::FlowClosed { .. } | Event::Resubscribe { .. } | Event::Located { .. } => {}
                    Event::Request { transaction, .. } => self.waiting[end].push(transaction),
                    Event::Response { .. } => {}
                    Event::Usage { usage, event } => {
                        let over = self.calls[end].get_mut(&usage).unwrap();
                        assert!(!*over, "seed {seed}: {event:?} after the last event");
                        match event {
                            UsageEvent::Terminated { .. } => *over = true,
                            UsageEvent::Answered { .. } => self.up += 1,
                            UsageEvent::ReInviteAnswered { .. } | UsageEvent::UpdateAnswered { .. } => {
                                self.changed += 1;
                            }
                            UsageEvent::Provisional { response, prack_wanted: true } => {
                                self.pracks[end].push((usage, response));
                            }
                            UsageEvent::Refer { refer, .. } => self.refers[end].push((usage, refer)),
                            UsageEvent::ReferProgress { .. } => self.changed += 1,
                            UsageEvent::ProvisionalAcknowledged { offer: Some(transaction), .. }
                            | UsageEvent::Update { transaction, .. }
                            | UsageEvent::Request { transaction, .. } => self.waiting[end].push(transaction),
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    /// One command of one user; most are refused, on purpose.
    fn act(&mut self, pair: &mut Pair, random: &mut StdRng) {
        let end = random.random_range(0..2usize);
        let now = pair.now;
        let body = random.random_bool(0.7).then(|| Body::sdp("body"));
        let target = pair.uri(1 - end, [Transport::Udp, Transport::Tcp][random.random_range(0..2usize)]);
        let endpoint = &mut pair.ends[end];
        if let Some(transaction) = self.waiting[end].pop()
            && random.random_bool(0.5)
        {
            let status = [200, 404, 488][random.random_range(0..3usize)];
            let _ = endpoint.respond(now, transaction, Reply { body, ..Reply::status(status) });
            return;
        }
        if random.random_bool(0.3)
            && let Some((usage, response)) = self.pracks[end].pop()
        {
            let _ = endpoint.prack(now, usage, &response, body);
            return;
        }
        if random.random_bool(0.3) && !self.refers[end].is_empty() {
            let (usage, refer) = self.refers[end][random.random_range(0..self.refers[end].len())];
            let status = [180, 200, 486, 202][random.random_range(0..4usize)];
            let _ = endpoint.answer_refer(now, usage, refer, Reply::status(status));
            let _ = endpoint.notify_refer(now, usage, refer, status, "");
            return;
        }
        let live: Vec<UsageId> =
            self.calls[end].iter().filter(|(_, over)| !**over).map(|(usage, _)| *usage).collect();
        if live.len() < 3 && random.random_bool(0.2) || live.is_empty() {
            let authorizes = random.random_bool(0.3);
            let usage =
                endpoint.invite(now, Invite { target, body, authorizes, ..Invite::default() }).unwrap();
            self.calls[end].insert(usage, false);
            return;
        }
        let usage = live[random.random_range(0..live.len())];
        let _ = match random.random_range(0..22) {
            0..3 => endpoint.provisional(now, usage, 180, "", body),
            3..7 => endpoint.answer(now, usage, body),
            7 => endpoint.reject(now, usage, 488, ""),
            8..11 => endpoint.ack(now, usage, body),
            11 => endpoint.cancel(now, usage),
            12 => endpoint.bye(now, usage),
            13..15 => endpoint.reinvite(now, usage, body),
            17 => endpoint.reject(now, usage, 401, ""),
            18 => endpoint.authorize(now, usage, Vec::new()),
            19 => endpoint.refer(now, usage, "<sip:c@192.0.2.3>".into(), true, Vec::new()).map(|_| ()),
            20..22 => endpoint.reply(now, usage, Reply { body, reliable: true, ..Reply::status(183) }),
            15 => endpoint
                .request(now, usage, InDialog { method: Method::Message, headers: Vec::new(), body })
                .map(|_| ()),
            _ => endpoint.update(now, usage, Body::sdp("update")),
        };
    }

    /// Both users end everything.
    fn end(&self, pair: &mut Pair) {
        for end in [A, B] {
            for (usage, _) in self.calls[end].iter().filter(|(_, over)| !**over) {
                let now = pair.now;
                let endpoint = &mut pair.ends[end];
                let _ = endpoint.cancel(now, *usage);
                let _ = endpoint.bye(now, *usage);
                let _ = endpoint.reject(now, *usage, 480, "");
            }
        }
    }
}

#[test]
fn whatever_users_and_network_do_each_call_ends_once_and_nothing_is_left() {
    let (mut up, mut changed) = (0, 0);
    for seed in 0..100 {
        let network = Network { loss: 0.15, duplicate: 0.1, delay_ms: (1, 200), seed };
        let configs = [1, 2].map(|end| EndpointConfig {
            accept: vec![Method::Info, Method::Message],
            outside: vec![Method::Message],
            extensions: match seed % 2 {
                0 => Extensions::default(),
                _ => Extensions { reliable: true, refer: true, replaces: true },
            },
            session_timers: (seed % 3 == 0).then_some(SessionTimers { expires: 90, min_se: 90 }),
            ..config(end)
        });
        let mut pair = Pair::with(network, configs, ["192.0.2.1:5060", "192.0.2.2:5060"]);
        let mut random = StdRng::seed_from_u64(seed);
        let mut users = Users::default();
        for _ in 0..300 {
            users.act(&mut pair, &mut random);
            pair.tcp = random.random_bool(0.9);
            if random.random_bool(0.02) {
                pair.close(random.random_range(0..2usize));
            }
            let pause = [0, 5, 40, 400, 3_000][random.random_range(0..5usize)];
            pair.run(Duration::from_millis(pause));
            users.look(&mut pair, seed);
        }
        for _ in 0..3 {
            users.end(&mut pair);
            pair.run(Duration::from_secs(40));
            users.look(&mut pair, seed);
        }
        for end in [A, B] {
            assert!(users.calls[end].values().all(|over| *over), "seed {seed}: a call does not end");
        }
        pair.assert_nothing_left();
        assert!(pair.take(A).is_empty() && pair.take(B).is_empty());
        up += users.up;
        changed += users.changed;
    }
    assert!(up > 300 && changed > 60, "{up} calls came up, {changed} changes were answered");
}
