//! The plans of a world's calls: everything random is decided in advance, so that the same seed gives the
//! same calls, and omitting one does not change the others.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use b2b_call::bridge_fsm::BridgeMode;

use crate::program::{Step, steps};

/// Number of calling parties.
pub const CALLERS: usize = 4;
/// Number of called parties; their numbers follow. The last of them dies.
pub const PHONES: usize = 5;
/// Number of queue agents; their numbers follow.
pub const AGENTS: usize = 2;
/// Number of all parties.
pub const PARTIES: usize = CALLERS + PHONES + AGENTS;
/// The party that dies.
pub const MORTAL: usize = CALLERS + PHONES - 1;

/// The applications that callers are handed to.
pub const APPS: [&str; 11] = [
    "ivr/main",
    "queue/sales",
    "conference/blue",
    "conference/pin",
    "park/lot",
    "voicemail/1001",
    "voicemail",
    "voice_agent/ada",
    "echo",
    "milliwatt",
    "program/any",
];

/// The parties that ask for credentials: a phone that is a gateway, and a caller.
pub const ASKING: [usize; 2] = [7, 3];

/// The address of a party after it has moved this many times: another port, or another host.
pub fn moved(party: usize, times: usize) -> String {
    match times % 2 {
        1 => format!("192.0.2.{}:{}", 20 + party, 5_060 + 2 * times),
        _ => format!("192.0.2.{}:5060", 120 + party + times % 8 * 16),
    }
}

/// The initial address of a party.
pub fn address(party: usize) -> String {
    format!("192.0.2.{}:5060", 20 + party)
}

/// A mix of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Everything.
    All,
    /// Two parties, or an unanswered caller; on a network without loss.
    Basic,
    /// Applications.
    Apps,
    /// Transfers of all kinds.
    Transfers,
}

impl Mix {
    /// Every mix, with its name.
    pub const ALL: [(&str, Mix); 4] =
        [("all", Mix::All), ("basic", Mix::Basic), ("apps", Mix::Apps), ("transfers", Mix::Transfers)];

    /// The contents of the mix, as text.
    pub fn words(self) -> &'static str {
        match self {
            Mix::All => {
                "56 % two parties (forks, redirects, refusals, early media, late offers), 22 % applications, \
                 12 % programs, 7 % calls of our own, 3 % that reach nobody, are refused, or whose handler panics; in half of those that are \
                 answered holds, offers, digits, transfers, deaths and commands; half of the networks lose or reorder, \
                 a sixth of the worlds has media that fail"
            }
            Mix::Basic => "two parties: answered, cancelled, busy, unanswered, held; a quiet network",
            Mix::Apps => "applications and programs, and callers that are sent from one to another",
            Mix::Transfers => {
                "two parties, of whom one transfers: blind, attended, early, by Replaces or by command"
            }
        }
    }
}

/// The party that acts in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Caller,
    Callee,
}

/// An action in an answered call.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// A re-INVITE with this direction; `None`: without an offer.
    Reinvite(Option<&'static str>),
    Update(&'static str),
    Info(char),
    Message,
    /// The party moves to another address, and announces it.
    Move(Says),
    /// REFER to the third phone of the call.
    ReferBlind,
    /// REFER to an application.
    ReferTo(usize),
    /// A second call of the caller to the fourth phone, and REFER with Replaces; `true`: before it is
    /// answered.
    ReferAttended(bool),
    /// Another party replaces the caller.
    Replace,
    Keys(String),
    /// The media controller reports missing RTP.
    Silence,
    /// The mortal party dies.
    Kill,
    /// A program commands a leg.
    Command(Command),
}

/// How a party announces its new address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    ByReinvite,
    ByUpdate,
    /// A re-INVITE with an unacceptable offer: the address does not change then (RFC 6141 §4.6).
    InVain,
}

/// Commands of external programs to legs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Hold,
    Resume,
    Unbridge(bool),
    Transfer,
    HandOver(usize),
    LetGo(usize),
    Refer(bool),
    Record,
    StopRecord,
    /// Sets the call's place to these, one after another; 6 and above: transfers it.
    Wander(Vec<usize>),
    HangUpLeg,
    HangUpCall,
}

/// The behaviour of a called phone.
#[derive(Debug, Clone, PartialEq)]
pub struct Phone {
    pub party: usize,
    /// The time in ms, the status, whether it has a description, and whether it is reliable.
    pub rings: Option<(u64, u16, bool, bool)>,
    /// The time until the decision, in ms.
    pub after: u64,
    pub then: Then,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    Answer,
    Refuse(u16),
    /// 302 to the third phone of the call.
    Redirect,
    Nothing,
}

/// The handling of an incoming call.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    Dial {
        phones: usize,
        parallel: bool,
        mode: BridgeMode,
        record: bool,
        direct: bool,
        auto_hangup: bool,
    },
    Nowhere,
    App(usize),
    Program(Vec<Step>),
    /// No caller: a program dials the first phone and controls it.
    Originated(Vec<Step>),
    Refuse(u16),
    Panic,
}

/// The plan of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The start time in ms.
    pub at: u64,
    pub caller: usize,
    /// Whether its INVITE has an offer.
    pub offers: bool,
    pub route: Route,
    pub phones: Vec<Phone>,
    /// The caller cancels after this time in ms.
    pub gives_up: Option<u64>,
    /// The caller cancels as the first phone answers: the two cross.
    pub crosses: bool,
    /// Actions, with the time after the answer in ms.
    pub deeds: Vec<(u64, Side, Deed)>,
    pub ends: (u64, Side),
}

/// The random generator for one part of a world.
pub fn dice(seed: u64, of: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ of.wrapping_mul(0xd1b5_4a32_d192_ed03))
}

/// The n-th call of the world with this seed.
pub fn plan(seed: u64, n: usize, mix: Mix) -> Plan {
    let mut random = dice(seed, n as u64 + 1);
    let it = &mut random;
    let phones = (0..4).map(|_| phone(it, mix)).collect();
    let route = route(it, mix);
    let at = it.random_range(0..40_000);
    let offers = mix == Mix::Basic || it.random_bool(0.85);
    let gives_up = it.random_bool(0.12).then(|| it.random_range(20..5_000));
    let crosses = it.random_bool(0.04);
    let busy = if mix == Mix::Basic { 0.2 } else { 0.6 };
    let count = if it.random_bool(busy) { it.random_range(1..=4) } else { 0 };
    let deeds = (0..count).map(|_| {
        let side = if it.random_bool(0.5) { Side::Caller } else { Side::Callee };
        (it.random_range(0..15_000), side, deed(it, mix, &route))
    });
    let deeds = deeds.collect();
    let lasts = match it.random_range(0..20) {
        0 => 0..50,
        1..=15 => 1_000..20_000,
        16..=18 => 20_000..60_000,
        _ => 100_000..400_000,
    };
    let side = if it.random_bool(0.5) { Side::Caller } else { Side::Callee };
    let ends = (it.random_range(lasts), side);
    Plan { at, caller: it.random_range(0..CALLERS), offers, route, phones, gives_up, crosses, deeds, ends }
}

fn phone(it: &mut StdRng, mix: Mix) -> Phone {
    let statuses = [180, 180, 180, 183, 183, 181, 182];
    let rings = it.random_bool(0.85).then(|| {
        let status = *statuses.choose(it).unwrap_or(&180);
        let early = status == 183 && it.random_bool(0.8) || it.random_bool(0.1);
        (it.random_range(0..800), status, early, it.random_bool(0.3))
    });
    let then = match it.random_range(0..20) {
        0..=13 => Then::Answer,
        14..=16 => Then::Refuse(*[486, 486, 480, 404, 603, 500, 503, 606, 488].choose(it).unwrap_or(&486)),
        17 if mix != Mix::Basic => Then::Redirect,
        17 => Then::Answer,
        18 => Then::Nothing,
        _ => Then::Answer,
    };
    let most = if it.random_bool(0.2) { 60 } else { 4_000 };
    let mortal = it.random_bool(0.05) && mix != Mix::Basic;
    let party = if mortal { MORTAL } else { it.random_range(CALLERS..MORTAL) };
    Phone { party, rings, after: it.random_range(0..most), then }
}

/// A phone without a plan.
pub fn any_phone(seed: u64, n: u64, party: usize) -> Phone {
    let phone = phone(&mut dice(seed, n + 1_000_000), Mix::All);
    let then = if phone.then == Then::Redirect { Then::Answer } else { phone.then };
    Phone { party, then, ..phone }
}

fn dial(it: &mut StdRng, mix: Mix) -> Route {
    let parallel = it.random_bool(0.5);
    let intercepts = it.random_bool(if mix == Mix::Transfers { 0.8 } else { 0.5 });
    Route::Dial {
        phones: if mix == Mix::Basic || it.random_bool(0.7) { 1 } else { 2 },
        parallel,
        mode: if intercepts { BridgeMode::Intercepting } else { BridgeMode::Transparent },
        record: mix == Mix::All && it.random_bool(0.1),
        direct: mix == Mix::All && it.random_bool(0.05),
        auto_hangup: mix == Mix::Basic || it.random_bool(0.9),
    }
}

fn route(it: &mut StdRng, mix: Mix) -> Route {
    let app = |it: &mut StdRng| Route::App(it.random_range(0..APPS.len()));
    match (mix, it.random_range(0..100)) {
        (Mix::Basic, _) => dial(it, mix),
        (Mix::Transfers, 0..90) | (Mix::All, 0..56) => dial(it, mix),
        (Mix::Transfers, _) => app(it),
        (Mix::Apps, 0..65) | (Mix::All, 56..78) => app(it),
        (Mix::Apps, 65..90) | (Mix::All, 78..90) => Route::Program(steps(it)),
        (Mix::Apps, _) | (Mix::All, 90..97) => Route::Originated(steps(it)),
        (_, 97) => Route::Nowhere,
        (_, 98) => Route::Refuse(*[403, 404, 480, 486, 603].choose(it).unwrap_or(&403)),
        _ => Route::Panic,
    }
}

const WAYS: [&str; 4] = ["a=sendonly\r\n", "a=inactive\r\n", "a=sendrecv\r\n", ""];

fn deed(it: &mut StdRng, mix: Mix, route: &Route) -> Deed {
    let way = |it: &mut StdRng| *WAYS.choose(it).unwrap_or(&"");
    let transfer = |it: &mut StdRng| match it.random_range(0..10) {
        0..=2 => Deed::ReferBlind,
        3..=4 => Deed::ReferTo(it.random_range(0..APPS.len())),
        5..=6 => Deed::ReferAttended(false),
        7 => Deed::ReferAttended(true),
        8 => Deed::Replace,
        _ => Deed::Command(Command::Transfer),
    };
    let keys = |it: &mut StdRng| {
        let keys = [
            "1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "1#", "4711#", "9#", "*1", "*2", "*9", "#",
            "1001#",
        ];
        Deed::Keys((*keys.choose(it).unwrap_or(&"1")).to_owned())
    };
    let with_app = !matches!(route, Route::Dial { .. } | Route::Nowhere);
    let is_ours = matches!(route, Route::Originated(_));
    match (mix, it.random_range(0..100)) {
        (Mix::Basic, _) => Deed::Reinvite(Some(way(it))),
        (_, 0..20) if is_ours => Deed::Command(Command::Wander(astray(it))),
        (Mix::Transfers, 0..60) => transfer(it),
        (Mix::Apps, 0..50) => keys(it),
        (_, 0..40) if with_app => keys(it),
        (_, 0..20) => Deed::Reinvite(Some(way(it))),
        (_, 20..23) => Deed::Reinvite(None),
        (_, 23..25) => {
            let says = [Says::ByReinvite, Says::ByReinvite, Says::ByUpdate, Says::InVain, Says::InVain];
            Deed::Move(*says.choose(it).unwrap_or(&Says::InVain))
        }
        (_, 25..32) => Deed::Update(way(it)),
        (_, 32..36) => Deed::Info(*['1', '5', '#', '*'].choose(it).unwrap_or(&'1')),
        (_, 36..38) => Deed::Message,
        (_, 38..42) => keys(it),
        (_, 42..64) => transfer(it),
        (_, 64..67) => Deed::Silence,
        (_, 67..69) => Deed::Kill,
        _ => Deed::Command(command(it)),
    }
}

/// Places that a call is set to during or just before a transfer, which random timing rarely hits.
fn astray(it: &mut StdRng) -> Vec<usize> {
    let (handler, transfer) = (5, 6);
    let place = it.random_range(0..6);
    let ways = [vec![handler, transfer], vec![transfer, handler], vec![place, transfer, place, handler]];
    ways.choose(it).cloned().unwrap_or_default()
}

fn command(it: &mut StdRng) -> Command {
    let app = |it: &mut StdRng| it.random_range(0..APPS.len());
    match it.random_range(0..22) {
        0..=2 => Command::Hold,
        3..=4 => Command::Resume,
        5 => Command::Unbridge(true),
        6..=7 => Command::Unbridge(false),
        8 => Command::Transfer,
        9..=11 => Command::HandOver(app(it)),
        12..=13 => Command::LetGo(app(it)),
        14 => Command::Refer(it.random_bool(0.5)),
        15 => Command::Record,
        16 => Command::StopRecord,
        17..=19 => {
            let count = it.random_range(1..6);
            Command::Wander((0..count).map(|_| it.random_range(0..9)).collect())
        }
        20 => Command::HangUpLeg,
        _ => Command::HangUpCall,
    }
}
