//! Two endpoints whose users do anything at any time on a bad network: whatever happens, each
//! call has exactly one last event, and nothing is left behind.

use std::collections::BTreeMap;
use std::time::Duration;

use b2b_sip::endpoint::{
    Body, EndpointConfig, Event, Extensions, InDialog, Invite, ReferId, Reply, ServerTransactionId,
    SessionTimers, TakenIn, Transport, UsageEvent, UsageId, UsageSnapshot,
};
use b2b_sip::msg::{Method, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pair::{A, B, Network, Pair, Sent, config};

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
    /// The calls of an end have these ids now.
    fn rename(&mut self, end: usize, moved: &[(UsageId, TakenIn)]) {
        // The ids of what is gone may come again in a new endpoint.
        self.calls[end].retain(|id, over| !*over || moved.iter().any(|(it, _)| it == id));
        let usage = |old: UsageId| moved.iter().find(|(it, _)| *it == old).map_or(old, |(_, new)| new.usage);
        self.calls[end] =
            std::mem::take(&mut self.calls[end]).into_iter().map(|(id, over)| (usage(id), over)).collect();
        self.pracks[end].iter_mut().for_each(|(id, _)| *id = usage(*id));
        self.refers[end].iter_mut().for_each(|(id, _)| *id = usage(*id));
        let requests: BTreeMap<_, _> = moved.iter().flat_map(|(_, it)| it.requests.iter().copied()).collect();
        self.waiting[end].iter_mut().for_each(|id| *id = requests.get(id).copied().unwrap_or(*id));
    }

    fn look(&mut self, pair: &mut Pair, seed: u64) {
        for end in [A, B] {
            for event in pair.take(end) {
                match event {
                    Event::Incoming { usage, .. } => {
                        assert_eq!(self.calls[end].insert(usage, false), None, "seed {seed}");
                    }
                    Event::FlowClosed { .. }
                    | Event::Resubscribe { .. }
                    | Event::Located { .. }
                    | Event::Ahead { .. } => {}
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
    fn act(&mut self, pair: &mut Pair, random: &mut StdRng, game: Game) {
        let end = random.random_range(0..2usize);
        let now = pair.now;
        let body = random.random_bool(0.7).then(|| Body::sdp("body"));
        let by_tcp = random.random_bool(0.5) && game.tcp;
        let target = pair.uri(1 - end, if by_tcp { Transport::Tcp } else { Transport::Udp });
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
        let is_last = game.calls == 1 && self.calls.iter().any(|calls| !calls.is_empty());
        if is_last && live.is_empty() {
            return;
        }
        if live.len() < game.calls && random.random_bool(0.2) || live.is_empty() {
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

/// How a seed is played.
#[derive(Clone, Copy)]
struct Game {
    /// Calls that a user has at a time; with one, it is the only one.
    calls: usize,
    /// Whether there is TCP.
    tcp: bool,
    /// Calls of both ends are written and read after each act; `true`: by new endpoints.
    moves: Option<bool>,
}

/// A bad half hour.
fn play(seed: u64, game: Game) -> (Pair, Users) {
    let network = Network { loss: 0.15, duplicate: 0.1, delay_ms: (1, 200), seed };
    let configs = [1, 2].map(|end| EndpointConfig {
        accept: vec![Method::Info, Method::Message],
        outside: vec![Method::Message],
        extensions: match seed % 2 {
            0 => Extensions::default(),
            _ => Extensions { reliable: true, refer: true, replaces: true },
        },
        session_timers: seed.is_multiple_of(3).then_some(SessionTimers { expires: 90, min_se: 90 }),
        ..config(end)
    });
    let mut pair = Pair::with(network, configs, ["192.0.2.1:5060", "192.0.2.2:5060"]);
    let mut random = StdRng::seed_from_u64(seed);
    let mut users = Users::default();
    for _ in 0..300 {
        users.act(&mut pair, &mut random, game);
        pair.tcp = random.random_bool(0.9);
        if random.random_bool(0.02) && game.tcp {
            pair.close(random.random_range(0..2usize));
        }
        let pause = [0, 5, 40, 400, 3_000][random.random_range(0..5usize)];
        pair.run(Duration::from_millis(pause));
        users.look(&mut pair, seed);
        for end in [A, B] {
            let lives = users.calls[end].values().any(|over| !over);
            if let Some(into_new) = game.moves.filter(|_| lives) {
                let moved = pair.move_calls(end, into_new);
                users.look(&mut pair, seed);
                users.rename(end, &moved);
            }
        }
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
    (pair, users)
}

fn play_all(seeds: std::ops::Range<u64>, game: Game) {
    let (mut up, mut changed, runs) = (0, 0, (seeds.end - seeds.start) as usize);
    for seed in seeds {
        let (_, users) = play(seed, game);
        up += users.up;
        changed += users.changed;
    }
    assert!(up > 3 * runs && 10 * changed > 6 * runs, "{up} calls came up, {changed} changes were answered");
}

#[test]
fn whatever_users_and_network_do_each_call_ends_once_and_nothing_is_left() {
    play_all(0..100, Game { calls: 3, tcp: true, moves: None });
}

#[test]
fn calls_that_are_written_and_read_at_any_time_end_once_and_leave_nothing() {
    play_all(100..130, Game { calls: 3, tcp: true, moves: Some(false) });
}

#[test]
fn a_call_that_is_written_and_read_sends_the_same_octets_at_the_same_times() {
    let mut sent = 0;
    for seed in 0..60 {
        let game = Game { calls: 1, tcp: false, moves: None };
        let (undisturbed, _) = play(seed, game);
        for into_new in [false, true] {
            let (moved, _) = play(seed, Game { moves: Some(into_new), ..game });
            let both = undisturbed.wire.iter().zip(&moved.wire);
            for (wanted, got) in both {
                let of = |sent: &Sent| format!("{:?} {} {}\n{}", sent.at, sent.from, sent.to, sent.text());
                assert_eq!(of(got), of(wanted), "seed {seed}, new endpoints: {into_new}");
            }
            assert_eq!(moved.wire.len(), undisturbed.wire.len(), "seed {seed}");
        }
        sent += undisturbed.wire.len();
    }
    assert!(sent > 1_000, "{sent} messages");
}

#[test]
fn a_written_call_is_read_by_builds_that_differ_in_a_field() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    let value = pair.ends[A].usage_value(pair.now, a).unwrap();
    let mut written = serde_json::to_value(value).unwrap();
    written["usage"]["of_a_later_build"] = "x".into();
    let read = |written: &serde_json::Value| UsageSnapshot::read(pair.now, written);
    assert_eq!(read(&written).map(|it| it.id()).ok(), Some(a));
    written["version"] = 2.into();
    let refused = read(&written).map(|it| it.id()).unwrap_err().to_string();
    assert_eq!(refused, "version 2 of a call; this is 1");
    assert!(read(&serde_json::json!({})).is_err());
}

#[test]
fn a_damaged_dialog_sends_no_more_than_nonsense() {
    let mut pair = Pair::new(Network::QUIET);
    let (a, _) = pair.connected(Transport::Udp);
    let mut written = serde_json::to_value(pair.ends[A].usage_value(pair.now, a).unwrap()).unwrap();
    written["usage"]["dialogs"][0]["ends"] = serde_json::json!([9, 5, 70_000, 1, 0, 8, 2, 3]);
    pair.ends[A].give_out(a);
    let snapshot = UsageSnapshot::read(pair.now, &written).unwrap();
    let now = pair.now;
    let usage = pair.ends[A].take_in(now, snapshot).usage;
    let _ = pair.ends[A].bye(now, usage);
    pair.run(Duration::from_secs(40));
}
