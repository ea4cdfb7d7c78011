//! The active alarms: raised and ended by checks of the server and by events. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use super::kinds::{Ends, Kind, Severity};
use crate::gateway;
use b2b_call::event::{Event, MediaRefused, rfc3339};
use b2b_sip::net::ReloadRefused;

/// Maximum alarms of one kind; further ones share one subject.
const EACH: usize = 40;
const OTHERS: &str = "others";
/// Share of late ticks since the last check below which there is no alarm.
const LATE: f64 = 0.01;
/// Minimum ticks since the last check for a conclusion.
const TICKS: u64 = 50;
/// The share of the RTP ports that has to be free.
const SPARE_PORTS: f64 = 0.05;

/// The state of a queue, as far as alarms need it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueLook {
    pub name: String,
    pub waiting: usize,
    pub longest: Duration,
    pub goal: Duration,
}

/// The disk of the recordings.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskLook {
    pub folder: String,
    /// Free octets.
    pub free: u64,
    /// Octets that are to stay free.
    pub wanted: u64,
}

/// The state of the server at a check. Counters are since its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Look {
    /// Media carriers that do not respond, and why.
    pub carriers_down: Vec<(String, String)>,
    /// Number of media servers, if none of them takes calls.
    pub no_media: Option<usize>,
    /// Gateways that take no calls, and why.
    pub gateways_down: Vec<(String, String)>,
    /// Certificate files that expire soon, and when.
    pub certificates: Vec<(PathBuf, SystemTime)>,
    /// Why new certificates are not in use.
    pub certificate_refused: Option<ReloadRefused>,
    /// Number of remaining calls while draining; `None`: the server takes calls.
    pub draining: Option<usize>,
    /// Sounds that cannot be played, and why.
    pub unplayable: Vec<(PathBuf, String)>,
    pub disk: Option<DiskLook>,
    /// Free RTP ports, except resting ones, and the number of all.
    pub ports: (usize, usize),
    pub queues: Vec<QueueLook>,
    /// Ticks of 20 ms for a party, and the number of late ones.
    pub ticks: (u64, u64),
    pub records_lost: u64,
    /// For lack of capacity.
    pub calls_refused: u64,
    /// Panics, and illegal or impossible states.
    pub bugs: u64,
}

/// Number of wrong PINs that are no typing errors.
const GUESSED: u64 = 5;

/// An active alarm.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Alarm {
    name: &'static str,
    severity: Severity,
    /// The gateway, queue or source concerned; empty: the server.
    subject: String,
    text: String,
    #[serde(with = "rfc3339")]
    #[schema(value_type = String)]
    since: SystemTime,
    /// When it last occurred.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String)]
    latest: SystemTime,
    /// How often it occurred.
    count: u64,
    /// Whether somebody has seen it since it last occurred.
    acknowledged: bool,
    fix: &'static str,
}

/// The active alarms.
#[derive(Debug, Default)]
pub struct Board {
    alarms: BTreeMap<(Kind, String), Alarm>,
    before: Option<Look>,
}

impl Board {
    /// Every active alarm, the worst first.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.alarms.values().cloned().collect()
    }

    /// Number of active alarms of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.alarms.keys().filter(|(of, _)| *of == kind).count()
    }

    /// Somebody has seen an alarm: one about what happened is over, one about what is so stays, acknowledged. Returns
    /// whether there is such an alarm.
    pub fn acknowledge(&mut self, name: &str, subject: &str) -> bool {
        let found = self.alarms.iter_mut().find(|((_, whose), it)| it.name == name && whose == subject);
        let Some((key, alarm)) = found else { return false };
        alarm.acknowledged = true;
        if let Ends::After(_) = key.0.ends() {
            let key = key.clone();
            self.alarms.remove(&key);
        }
        true
    }

    /// Takes a check of the server.
    pub fn look(&mut self, now: SystemTime, look: Look) {
        let before = self.before.take().unwrap_or_else(|| look.clone());
        let mut so = Vec::new();
        if let Some(all) = look.no_media {
            let (down, full) = (look.carriers_down.len(), all.saturating_sub(look.carriers_down.len()));
            let text = format!("no media server takes new calls: {down} do not respond, {full} are full");
            so.push((Kind::NoMedia, String::new(), text));
        }
        for (name, why) in &look.carriers_down {
            so.push((Kind::MediaServerDown, name.clone(), why.clone()));
        }
        for (name, why) in &look.gateways_down {
            so.push((Kind::GatewayDown, name.clone(), why.clone()));
        }
        for (file, until) in &look.certificates {
            let text = format!("valid until {}", humantime::format_rfc3339_seconds(*until));
            so.push((Kind::CertificateExpires, file.display().to_string(), text));
        }
        if let Some(refused) = &look.certificate_refused {
            let file = refused.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            so.push((Kind::CertificateRefused, file, refused.reason.clone()));
        }
        for (file, reason) in &look.unplayable {
            so.push((Kind::SoundUnplayable, file.display().to_string(), reason.clone()));
        }
        if let Some(calls) = look.draining {
            so.push((Kind::Draining, String::new(), format!("no new calls are accepted; {calls} continue")));
        }
        if let Some(disk) = look.disk.as_ref().filter(|disk| disk.free < disk.wanted) {
            let mb = |octets: u64| octets / 1_000_000;
            let text = format!("{} MB are free, {} MB must stay free", mb(disk.free), mb(disk.wanted));
            so.push((Kind::DiskLow, disk.folder.clone(), text));
        }
        let (free, all) = look.ports;
        if all > 0 && (free as f64) < SPARE_PORTS * all as f64 {
            so.push((Kind::PortsShort, String::new(), format!("{free} of {all} RTP ports are free")));
        }
        for queue in look.queues.iter().filter(|it| it.waiting > 0 && it.longest > it.goal) {
            let (longest, goal) = (queue.longest.as_secs(), queue.goal.as_secs());
            let text = format!(
                "{} callers are waiting, the first one for {longest} s; the service level goal is {goal} s",
                queue.waiting
            );
            so.push((Kind::QueueOverGoal, queue.name.clone(), text));
        }
        let no_longer: Vec<_> = self
            .alarms
            .iter()
            .filter(|((kind, subject), alarm)| match kind.ends() {
                Ends::NotSo => !so.iter().any(|(of, whose, _)| of == kind && whose == subject),
                Ends::After(time) => now.duration_since(alarm.latest).unwrap_or_default() >= time,
                Ends::Said => false,
            })
            .map(|(key, _)| key.clone())
            .collect();
        no_longer.iter().for_each(|key| drop(self.alarms.remove(key)));
        so.into_iter().for_each(|(kind, subject, text)| self.raise(now, kind, subject, text, 0));

        let more = |of: fn(&Look) -> u64| of(&look).saturating_sub(of(&before));
        let (ticks, late) = (more(|it| it.ticks.0), more(|it| it.ticks.1));
        if ticks >= TICKS && late as f64 >= LATE * ticks as f64 {
            let text = format!("{late} of the last {ticks} ticks of 20 ms came more than 5 ms late");
            self.raise(now, Kind::LateTicks, String::new(), text, 1);
        }
        for (kind, count, what) in [
            (Kind::RecordsLost, more(|it| it.records_lost), "call records were not written"),
            (Kind::CallsRefused, more(|it| it.calls_refused), "calls were refused at a limit"),
            (Kind::Bug, more(|it| it.bugs), "the server detected impossible states"),
        ] {
            if count > 0 {
                self.raise(now, kind, String::new(), format!("{count} {what}"), count);
            }
        }
        self.before = Some(look);
    }

    /// Takes an event.
    pub fn event(&mut self, time: SystemTime, event: &Event) {
        match event {
            Event::EmergencyCall(it) => {
                let text =
                    format!("call {}: {} has called {} by {}", it.call.0, it.caller, it.number, it.gateway);
                self.raise(time, Kind::EmergencyCall, it.caller.clone(), text, 1);
            }
            Event::Banned { source, for_s, reason } => {
                let text = format!("{reason}; refused for {for_s} s");
                self.raise(time, Kind::Banned, source.to_string(), text, 1);
            }
            Event::MediaRefused(MediaRefused { from, party, line, .. }) => {
                let subject = if party.is_empty() { from.ip().to_string() } else { party.clone() };
                let text = format!(
                    "RTP arrived only from {from} and was dropped: no signalling or configuration has this address; {line}"
                );
                self.raise(time, Kind::MediaRefused, subject, text, 1);
            }
            Event::Verdict { call, cause, text } => {
                let outcome = text.lines().next().unwrap_or_default();
                let text = format!("call {}: {outcome}", call.0);
                self.raise(time, Kind::BadAudio, cause.clone(), text, 1);
            }
            Event::ProxyNotNamed { source, user } => {
                let text = format!(
                    "{user} registers by it with Path or a second Via, which do not count: [registrar] proxies = \
                     [\"{source}\"]"
                );
                self.raise(time, Kind::ProxyNotNamed, source.to_string(), text, 1);
            }
            Event::NotFollowed { party, way, to, why, line: Some(line), .. } => {
                let text = format!("{way} to {to}: {why}; {line}");
                self.raise(time, Kind::NotFollowed, party.clone(), text, 1);
            }
            Event::Application { app, name, data, .. } if name == "wrong_pin" => {
                let times = data["over_calls"].as_u64().unwrap_or_default();
                if times >= GUESSED {
                    let mailbox = data["mailbox"].as_str().map(|it| format!("/{it}")).unwrap_or_default();
                    let text = format!("{times} wrong PINs recently, in this application or from one caller");
                    self.raise(time, Kind::WrongPin, format!("{app}{mailbox}"), text, 1);
                }
            }
            Event::Application { call: Some(call), app, name, data, .. }
                if name == "silent" && data["heard_before"] == false =>
            {
                let text = format!("call {}: {app}: {}", call.0, data["text"].as_str().unwrap_or_default());
                self.raise(time, Kind::BadAudio, "silent".to_owned(), text, 1);
            }
            Event::Application { app, name, data, .. } if name == "failed" => {
                let error = data["error"].as_str().unwrap_or_default().to_owned();
                self.raise(time, Kind::HandlerFailed, app.clone(), error, 1);
            }
            Event::Error { component, message } if component == "recording" => {
                self.raise(time, Kind::RecordingFailed, String::new(), message.clone(), 1);
            }
            Event::Error { component, message } if component == gateway::REALM => {
                self.raise(time, Kind::RealmRefused, String::new(), message.clone(), 1);
            }
            Event::HandlerFailed { handler, error, .. } => {
                self.raise(time, Kind::HandlerFailed, handler.clone(), error.clone(), 1);
            }
            Event::Reloaded { error: Some(error) } => {
                self.raise(time, Kind::ReloadRefused, String::new(), error.clone(), 1);
            }
            Event::Reloaded { error: None } => {
                self.alarms.retain(|(kind, _), _| *kind != Kind::ReloadRefused);
            }
            _ => {}
        }
    }

    /// Raises an alarm, or counts `times` further occurrences. An active alarm keeps its start.
    fn raise(&mut self, now: SystemTime, kind: Kind, subject: String, text: String, times: u64) {
        let known = self.alarms.contains_key(&(kind, subject.clone()));
        let subject = match known || self.count(kind) < EACH {
            true => subject,
            false => OTHERS.to_owned(),
        };
        let alarm = self.alarms.entry((kind, subject.clone())).or_insert_with(|| Alarm {
            name: kind.name(),
            severity: kind.severity(),
            subject,
            text: String::new(),
            since: now,
            latest: now,
            count: u64::from(times == 0),
            acknowledged: false,
            fix: kind.fix(),
        });
        alarm.text = text;
        alarm.count += times;
        if times > 0 {
            (alarm.latest, alarm.acknowledged) = (now, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn standing(board: &Board) -> Vec<(&'static str, String)> {
        board.alarms().into_iter().map(|alarm| (alarm.name, alarm.subject)).collect()
    }

    fn queue(longest: u64) -> QueueLook {
        let (longest, goal) = (Duration::from_secs(longest), Duration::from_secs(20));
        QueueLook { name: "sales".into(), waiting: 2, longest, goal }
    }

    #[test]
    fn what_is_so_stands_since_it_began_and_goes_when_it_is_over() {
        let mut board = Board::default();
        let down = || vec![("carrier".to_owned(), "no answer".to_owned())];
        let disk = |free| Some(DiskLook { folder: "rec".into(), free, wanted: 100 });
        board.look(
            at(0),
            Look { ports: (50, 100), disk: disk(100), queues: vec![queue(20)], ..Look::default() },
        );
        assert_eq!(standing(&board), []);
        for second in [10, 20] {
            let look = Look {
                carriers_down: vec![("m1:8090".to_owned(), "no connection".to_owned())],
                no_media: Some(2),
                gateways_down: down(),
                draining: Some(3),
                disk: disk(99),
                ports: (4, 100),
                queues: vec![queue(21)],
                ..Look::default()
            };
            board.look(at(second), look);
        }
        let expected = [
            ("no_media", ""),
            ("media_server_down", "m1:8090"),
            ("gateway_down", "carrier"),
            ("draining", ""),
            ("disk_low", "rec"),
            ("ports_short", ""),
            ("queue_over_goal", "sales"),
        ];
        assert_eq!(standing(&board), expected.map(|(name, subject)| (name, subject.to_owned())));
        for alarm in board.alarms() {
            assert_eq!((alarm.since, alarm.count), (at(10), 1), "{alarm:?}");
            assert!(!alarm.text.is_empty() && !alarm.fix.is_empty());
        }
        board.look(at(30), Look { gateways_down: down(), ports: (5, 100), ..Look::default() });
        assert_eq!(standing(&board), [("gateway_down", "carrier".to_owned())]);
        board.look(at(40), Look::default());
        assert_eq!(standing(&board), []);
    }

    #[test]
    fn what_happened_stays_for_a_while_and_is_counted() {
        let mut board = Board::default();
        // Counts from before the first check raise no alarm.
        board.look(at(0), Look { records_lost: 5, ticks: (9_000, 9_000), ..Look::default() });
        assert_eq!(standing(&board), []);
        board.look(at(2), Look { records_lost: 7, ticks: (9_100, 9_000), ..Look::default() });
        board.look(
            at(4),
            Look { records_lost: 8, ticks: (9_200, 9_001), calls_refused: 1, ..Look::default() },
        );
        let error = Event::Error { component: "recording".into(), message: "no space".into() };
        board.event(at(5), &error);
        board.event(at(6), &Event::Error { component: "other".into(), message: "x".into() });
        let seen: Vec<_> = board.alarms().iter().map(|it| (it.name, it.count, it.since)).collect();
        let expected = [
            ("recording_failed", 1, at(5)),
            ("records_lost", 3, at(2)),
            ("calls_refused", 1, at(4)),
            ("late_ticks", 1, at(4)),
        ];
        assert_eq!(seen, expected);
        let same = Look { records_lost: 8, ticks: (9_200, 9_001), calls_refused: 1, ..Look::default() };
        board.look(at(64), same.clone());
        assert!(!standing(&board).iter().any(|(name, _)| *name == "late_ticks"));
        board.look(at(3_605), same);
        assert_eq!(standing(&board), []);
    }

    #[test]
    fn refused_media_names_whose_it_may_be_and_the_line_to_write() {
        let mut board = Board::default();
        let refused = |party: &str| {
            Event::MediaRefused(MediaRefused {
                call: b2b_call::CallId(1),
                leg: b2b_call::LegId(1),
                from: ([203, 0, 113, 7], 4_000).into(),
                party: party.into(),
                line: "media_from = [\"203.0.113.7\"]".into(),
            })
        };
        board.event(at(0), &refused("gateway/carrier"));
        board.event(at(1), &refused(""));
        let subjects = ["203.0.113.7", "gateway/carrier"].map(|it| ("media_refused", it.to_owned()));
        assert_eq!(standing(&board), subjects);
        assert!(board.alarms().iter().all(|it| it.text.contains("media_from = [\"203.0.113.7\"]")));
    }

    #[test]
    fn a_refused_configuration_stands_until_one_is_taken() {
        let mut board = Board::default();
        board.event(at(0), &Event::Reloaded { error: Some("line 3".into()) });
        board.look(at(99_999), Look::default());
        assert_eq!(board.count(Kind::ReloadRefused), 1);
        board.event(at(100_000), &Event::Reloaded { error: None });
        assert_eq!(board.count(Kind::ReloadRefused), 0);
    }

    #[test]
    fn an_alarm_that_somebody_has_seen_is_over_or_stands_acknowledged_until_it_occurs_again() {
        let mut board = Board::default();
        let down = || Look { gateways_down: vec![("carrier".into(), "no answer".into())], ..Look::default() };
        let failed =
            Event::HandlerFailed { call: b2b_call::CallId(1), handler: "ivr/main".into(), error: "x".into() };
        board.look(at(0), down());
        board.event(at(0), &failed);
        assert!(!board.acknowledge("gateway_down", "other") && !board.acknowledge("no_such", ""));
        assert!(
            board.acknowledge("gateway_down", "carrier") && board.acknowledge("handler_failed", "ivr/main")
        );
        board.look(at(2), down());
        let seen =
            |board: &Board| board.alarms().iter().map(|it| (it.name, it.acknowledged)).collect::<Vec<_>>();
        assert_eq!(seen(&board), [("gateway_down", true)]);
        board.event(at(3), &failed);
        board.look(at(4), Look::default());
        board.look(at(6), down());
        assert_eq!(seen(&board), [("gateway_down", false), ("handler_failed", false)], "both are new");
    }

    #[test]
    fn a_flood_of_sources_is_a_few_alarms() {
        let mut board = Board::default();
        for source in 0..1_000u32 {
            let source = std::net::IpAddr::from(std::net::Ipv4Addr::from(source));
            board.event(at(0), &Event::Banned { source, for_s: 60, reason: "guesses".into() });
        }
        assert_eq!(board.count(Kind::Banned), EACH + 1);
        let others = board.alarms().into_iter().find(|alarm| alarm.subject == OTHERS);
        assert_eq!(others.map(|alarm| alarm.count), Some(1_000 - EACH as u64));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_says_what_to_do() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.fix().len() > 20));
    }
}
