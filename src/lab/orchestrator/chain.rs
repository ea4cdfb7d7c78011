//! Figures of the whole chain from the last metrics line of each role, checked against the plan's
//! expectations.

use super::record::{Bound, ChainFigures, Expectation, Hop, LatencyBy, RoleRecord};
use crate::config::expect::Expect;
use b2b_base::metrics::MetricsLine;
use b2b_base::metrics::quality;
use b2b_config::RoleName;

/// The role that relays packets unchanged.
const RELAY: &str = RoleName::B2bua.as_str();

/// The description of a MOS without latency.
pub const LISTENING_ONLY: &str = "listening only: no latency is known";

/// The description of a latency measured without time stamps.
pub const BY_SOUND: &str = "by the sound: no packet says when it was captured";

/// Figures of a chain; `roles` in call order. `by_sound`: p50 and p95 of the latency from the recordings,
/// used when no packet had a time stamp.
pub fn figures(roles: &[RoleRecord], by_sound: Option<(f64, f64)>) -> ChainFigures {
    let count = roles.len().saturating_sub(1);
    let hops: Vec<Hop> = (0..count).filter_map(|from| hop(roles, from)).collect();
    // A b2bua relays: the next receiver counts the gap that an earlier loss leaves.
    let ends: Vec<&Hop> = hops.iter().filter(|hop| hop.to != RELAY).collect();
    let receivers = roles.iter().skip(1).filter(|role| role.role != RELAY).count();
    // without figures of every receiver, the totals are unknown
    let complete = !ends.is_empty() && ends.len() == receivers;
    // 1 − ∏(1 − lossᵢ), in a form that keeps the figure of a single hop exact
    let over = |part: fn(&Hop) -> f64| {
        complete
            .then(|| ends.iter().map(|hop| part(hop)).fold(0.0, |sum, loss| sum + loss - sum * loss / 100.0))
    };
    let longest = |part: fn(&Hop) -> f64| complete.then(|| hops.iter().map(part).fold(0.0, f64::max));
    let sink = roles.last().and_then(|role| role.metrics.as_ref());
    let stamped = sink.and_then(|line| line.latency_ms_p50.zip(line.latency_ms_p95));
    let latency = stamped.or(by_sound);
    let delay = latency.map(|(p50, _)| p50);
    let lines = || roles.iter().filter_map(|role| role.metrics.as_ref());
    let unheard = over(|hop| {
        let late = percent(hop.late, hop.packets_rx + hop.lost);
        (hop.loss_pct + late).min(100.0)
    });
    ChainFigures {
        loss_pct: over(|hop| hop.loss_pct),
        rtp_gap_ms_max: longest(|hop| hop.rtp_gap_ms_max),
        arrival_gap_ms_max: longest(|hop| hop.arrival_gap_ms_max),
        latency_ms_p50: delay,
        latency_ms_p95: latency.map(|(_, p95)| p95),
        latency_by: latency.map(|_| if stamped.is_some() { LatencyBy::Stamps } else { LatencyBy::Sound }),
        mos: unheard.zip(delay).map(|(loss, delay)| quality::mos(loss, delay)),
        mos_listening: unheard.filter(|_| delay.is_none()).map(|loss| quality::mos(loss, 0.0)),
        duration_s: sink.map(|line| line.duration_s),
        setup_ms: setup_ms(roles),
        cpu_pct_max: lines().map(|line| line.cpu_pct).reduce(f64::max),
        intact_pct: None,
        no_latency: None,
        hops,
    }
}

/// The longest set-up time of the chain's calls, from dialling to the answer; `None` if a call was not
/// answered. The call that a b2bua places is part of its caller's set-up.
fn setup_ms(roles: &[RoleRecord]) -> Option<f64> {
    let callers = roles.split_last()?.1.iter().filter(|role| role.role != RELAY);
    let setups = callers.map(|role| role.metrics.as_ref()?.setup_ms);
    setups.collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
}

/// Why mouth-to-ear latency was not measured, from the sink's last metrics line. `listens`: by its plan, the
/// sink certainly plays or records. `recorded`: the sent audio was searched for in the received recording,
/// and not found.
pub fn no_latency(sink: Option<&MetricsLine>, listens: bool, recorded: bool) -> Option<String> {
    let arrived = sink.map_or(0, |line| line.packets_rx);
    match sink.and_then(|line| line.latency_ms_p50) {
        Some(_) => None,
        None if arrived == 0 => Some("nothing arrived".into()),
        None if !listens => Some("the sink records nothing, and may have no player; give it a wav".into()),
        None => {
            let sound = match recorded {
                true => "; and what was sent was not found in what arrived",
                false => "; --report has it measured by the sound",
            };
            Some(format!(
                "{arrived} packets arrived, and none says when it was captured: what stands between takes out \
                 abs-capture-time, as a PBX does{sound}"
            ))
        }
    }
}

/// The stream from one role to the next, as its receiver counted it; `None` if the receiver received nothing.
/// The returned silence does not distort it: the mixer does not count it, and source and sink count it on
/// their other side.
fn hop(roles: &[RoleRecord], index: usize) -> Option<Hop> {
    let (from, to) = (roles.get(index)?, roles.get(index + 1)?);
    let received: &MetricsLine = to.metrics.as_ref().filter(|line| line.packets_rx > 0)?;
    Some(Hop {
        from: from.role.clone(),
        to: to.role.clone(),
        packets_tx: from.metrics.as_ref().map_or(0, |line| line.packets_tx),
        packets_rx: received.packets_rx,
        lost: received.rtp_loss,
        loss_pct: percent(received.rtp_loss, received.packets_rx + received.rtp_loss),
        rtp_gap_ms_max: received.rtp_gap_ms_max,
        arrival_gap_ms_max: received.arrival_gap_ms_max,
        jitter_ms_p50: received.jitter_ms_p50,
        jitter_ms_p95: received.jitter_ms_p95,
        late: received.late,
        concealed: received.concealed,
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Checks the limits of a plan against the measurements. If an engine of the chain carries no time stamps
/// (`latency_measured` is false), limits on latency are not judged. If no latency is known, the MOS is the
/// listening MOS, and is labelled so.
pub fn check(expect: &Expect, chain: &ChainFigures, latency_measured: bool) -> Vec<Expectation> {
    use Bound::{AtLeast, AtMost};
    let rows = [
        ("min_duration_s", expect.min_duration_s, AtLeast, chain.duration_s, "s"),
        ("max_rtp_gap_ms", expect.max_rtp_gap_ms, AtMost, chain.rtp_gap_ms_max, "ms"),
        ("max_arrival_gap_ms", expect.max_arrival_gap_ms, AtMost, chain.arrival_gap_ms_max, "ms"),
        ("max_loss_pct", expect.max_loss_pct, AtMost, chain.loss_pct, "%"),
        ("max_latency_ms", expect.max_latency_ms, AtMost, chain.latency_ms_p95, "ms"),
        ("min_mos", expect.min_mos, AtLeast, chain.mos.or(chain.mos_listening), ""),
        ("min_intact_pct", expect.min_intact_pct, AtLeast, chain.intact_pct, "%"),
        ("max_setup_ms", expect.max_setup_ms, AtMost, chain.setup_ms, "ms"),
        ("max_cpu_pct", expect.max_cpu_pct, AtMost, chain.cpu_pct_max, "%"),
    ];
    rows.into_iter()
        .filter_map(|(name, limit, bound, measured, unit)| {
            let expected = limit?;
            let measured = measured.filter(|value| value.is_finite());
            let judged = latency_measured || measured.is_some() || name != "max_latency_ms";
            let unmeasured = measured.is_none().then(|| match name {
                _ if !judged => "it takes the native engine in every role".to_string(),
                "min_intact_pct" => "what was sent was not found in what arrived".to_string(),
                "max_setup_ms" => "a call of the chain was not answered".to_string(),
                "max_cpu_pct" => "no role told of its CPU time".to_string(),
                "max_latency_ms" if chain.loss_pct.is_some() => {
                    chain.no_latency.clone().unwrap_or_else(|| "nothing arrived".into())
                }
                _ => "nothing arrived".to_string(),
            });
            let is_listening = name == "min_mos" && chain.mos.is_none() && measured.is_some();
            let is_by_sound = name == "max_latency_ms" && chain.latency_by == Some(LatencyBy::Sound);
            let note = is_listening.then_some(LISTENING_ONLY).or(is_by_sound.then_some(BY_SOUND));
            let note = note.map(str::to_owned);
            let row = Expectation::of(name, bound, expected, measured, unit);
            Some(Expectation { judged, unmeasured, note, ..row })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::record::RoleEnd;

    fn figures(roles: &[RoleRecord]) -> ChainFigures {
        super::figures(roles, None)
    }

    fn role(name: &str, metrics: Option<MetricsLine>) -> RoleRecord {
        RoleRecord {
            role: name.into(),
            pid: None,
            engine: "native".into(),
            command: String::new(),
            sip: None,
            ready_ms: None,
            end: RoleEnd::default(),
            last_error: None,
            stalled: false,
            lines_dropped: 0,
            metrics,
            sip_trace: None,
        }
    }

    fn received(packets_rx: u64, rtp_loss: u64) -> Option<MetricsLine> {
        Some(MetricsLine { packets_rx, rtp_loss, rtp_gap_ms_max: 20.0, ..MetricsLine::default() })
    }

    fn chain() -> Vec<RoleRecord> {
        let mut sink = received(900, 100).unwrap();
        sink.latency_ms_p50 = Some(150.0);
        sink.latency_ms_p95 = Some(170.0);
        sink.rtp_gap_ms_max = 60.0;
        sink.duration_s = 20.0;
        vec![role("source", received(0, 0)), role("mixer", received(500, 500)), role("sink", Some(sink))]
    }

    #[test]
    fn losses_of_hops_combine() {
        let figures = figures(&chain());
        assert_eq!(figures.hops.len(), 2);
        assert!((figures.loss_pct.unwrap() - 55.0).abs() < 1e-9, "1 - 0.5 * 0.9");
        assert_eq!(figures.rtp_gap_ms_max, Some(60.0));
        assert_eq!(figures.mos, Some(quality::mos(figures.loss_pct.unwrap(), 150.0)));
    }

    #[test]
    fn what_is_lost_before_a_b2bua_is_counted_once_behind_it() {
        let mut roles = chain();
        roles[1].role = "b2bua".into();
        let with_figures = figures(&roles);
        assert_eq!((with_figures.hops.len(), with_figures.loss_pct), (2, Some(10.0)));
        roles[1].metrics = None;
        let without = figures(&roles);
        assert_eq!((without.hops.len(), without.loss_pct), (1, Some(10.0)));
        roles[2].metrics = None;
        assert_eq!(figures(&roles).loss_pct, None);
    }

    #[test]
    fn late_packets_lower_the_mos_but_are_no_loss() {
        let mut roles = chain();
        let before = figures(&roles);
        roles[2].metrics.as_mut().unwrap().late = 300;
        let after = figures(&roles);
        assert_eq!(before.loss_pct, after.loss_pct);
        assert!(after.mos < before.mos);
    }

    #[test]
    fn a_receiver_that_heard_nothing_leaves_the_chain_unmeasured() {
        let mut roles = chain();
        roles[1].metrics = None;
        let figures = figures(&roles);
        assert_eq!((figures.loss_pct, figures.mos), (None, None));
        let expect = Expect { max_loss_pct: Some(100.0), min_mos: Some(1.0), ..Expect::default() };
        let checked = check(&expect, &figures, true);
        assert!(!checked[0].pass && !checked[1].pass);
        assert!(checked[0].line().contains("not measured"), "{}", checked[0].line());
        assert!(checked[1].line().contains("nothing arrived"), "{}", checked[1].line());
    }

    #[test]
    fn what_is_missing_for_a_latency_is_told_as_it_is() {
        let expect = Expect { max_latency_ms: Some(250.0), min_mos: Some(4.0), ..Expect::default() };
        let told = |sink: Option<MetricsLine>, listens| {
            let roles = vec![role("source", received(0, 0)), role("sink", sink.clone())];
            let chain =
                ChainFigures { no_latency: no_latency(sink.as_ref(), listens, false), ..figures(&roles) };
            check(&expect, &chain, true).iter().map(Expectation::line).collect::<Vec<_>>()
        };
        // A PBX in between removes the stamp: everything was received, played and recorded.
        let [latency, mos] = &told(received(1_025, 0), true)[..] else { panic!("two limits") };
        assert!(
            latency.contains("1025 packets arrived") && latency.contains("abs-capture-time"),
            "{latency}"
        );
        assert!(mos.contains("measured 4.41 (listening only: no latency is known)"), "{mos}");
        assert!(told(received(1_025, 0), false)[0].contains("give it a wav"));
        assert!(told(received(0, 0), true).iter().all(|line| line.contains("nothing arrived")));
    }

    #[test]
    fn the_slowest_set_up_and_the_busiest_role_are_judged() {
        let expect = Expect { max_setup_ms: Some(100.0), max_cpu_pct: Some(10.0), ..Expect::default() };
        let mut roles = chain();
        let of = |role: &mut RoleRecord, setup_ms, cpu_pct| {
            let line = role.metrics.as_mut().unwrap();
            (line.setup_ms, line.cpu_pct) = (setup_ms, cpu_pct);
        };
        of(&mut roles[0], Some(30.0), 1.0);
        of(&mut roles[1], Some(120.0), 12.0);
        let judged = |roles: &[RoleRecord]| {
            let checked = check(&expect, &figures(roles), true);
            checked.iter().map(|it| (it.measured, it.pass)).collect::<Vec<_>>()
        };
        assert_eq!(judged(&roles), [(Some(120.0), false), (Some(12.0), false)]);
        of(&mut roles[1], Some(80.0), 2.0);
        assert_eq!(judged(&roles), [(Some(80.0), true), (Some(2.0), true)]);
        of(&mut roles[1], None, 2.0);
        assert_eq!(judged(&roles)[0], (None, false), "a leg that nobody answered");
        // The call that a b2bua places is part of the source's call.
        roles[1].role = RELAY.into();
        assert_eq!(judged(&roles)[0], (Some(30.0), true));
    }

    #[test]
    fn a_latency_by_the_sound_counts_where_no_packet_has_a_stamp() {
        let expect = Expect { max_latency_ms: Some(100.0), min_mos: Some(4.0), ..Expect::default() };
        let roles = vec![role("source", received(0, 0)), role("sink", received(1_000, 0))];
        let by_sound = super::figures(&roles, Some((80.0, 120.0)));
        assert_eq!((by_sound.latency_by, by_sound.latency_ms_p95), (Some(LatencyBy::Sound), Some(120.0)));
        assert_eq!(by_sound.mos, Some(quality::mos(0.0, 80.0)));
        let lines: Vec<_> = check(&expect, &by_sound, false).iter().map(Expectation::line).collect();
        assert!(lines[0].contains("measured 120.00 ms (by the sound"), "{lines:?}");
        assert!(!lines[1].contains("listening only"), "{lines:?}");
        let stamped = super::figures(&chain(), Some((1.0, 2.0)));
        assert_eq!((stamped.latency_by, stamped.latency_ms_p95), (Some(LatencyBy::Stamps), Some(170.0)));
    }

    #[test]
    fn a_mos_without_a_latency_is_judged_by_what_got_lost() {
        let expect = Expect { min_mos: Some(4.0), ..Expect::default() };
        let judged = |lost| {
            let roles = vec![role("source", received(0, 0)), role("sink", received(1_000 - lost, lost))];
            let row = check(&expect, &figures(&roles), false).remove(0);
            (row.judged, row.pass, row.note.is_some())
        };
        assert_eq!(judged(0), (true, true, true));
        assert_eq!(judged(200), (true, false, true));
        assert!(check(&expect, &figures(&chain()), true)[0].note.is_none());
    }

    #[test]
    fn loss_behind_a_peer_that_renumbers_is_seen_by_the_sound() {
        let expect = Expect { max_loss_pct: Some(0.0), min_intact_pct: Some(99.0), ..Expect::default() };
        let roles = vec![role("source", received(0, 0)), role("sink", received(938, 0))];
        let heard = |intact_pct| ChainFigures { intact_pct, ..figures(&roles) };
        let checked = check(&expect, &heard(Some(94.0)), true);
        assert_eq!(checked.iter().map(|it| it.pass).collect::<Vec<_>>(), [true, false]);
        assert_eq!(checked[1].line(), "min_intact_pct: expected at least 99 %, measured 94.00 %");
        let line = check(&expect, &heard(None), false)[1].line();
        assert!(line.contains("not found in what arrived"), "{line}");
    }

    #[test]
    fn latency_is_judged_only_where_the_engines_can_measure_it() {
        let mut roles = chain();
        let expect = Expect {
            max_latency_ms: Some(250.0),
            min_mos: Some(4.0),
            min_duration_s: Some(10.0),
            max_arrival_gap_ms: Some(40.0),
            ..Expect::default()
        };
        let judged = |roles: &[RoleRecord], measured| {
            let checked = check(&expect, &figures(roles), measured);
            checked.iter().map(|it| (it.name.clone(), it.judged, it.missed())).collect::<Vec<_>>()
        };
        let row = |name: &str, judged, missed| (name.to_string(), judged, missed);
        let sink = roles[2].metrics.as_mut().unwrap();
        (sink.latency_ms_p50, sink.latency_ms_p95) = (None, None);
        let met = [row("min_duration_s", true, false), row("max_arrival_gap_ms", true, false)];
        assert_eq!(judged(&roles, true)[..2], met);
        // With half of the packets lost, even the listening MOS is below the limit.
        let mos = row("min_mos", true, true);
        assert_eq!(judged(&roles, true)[2..], [row("max_latency_ms", true, true), mos.clone()]);
        assert_eq!(judged(&roles, false)[..2], met);
        let open = [row("max_latency_ms", false, false), mos];
        assert_eq!(judged(&roles, false)[2..], open);
        let line = check(&expect, &figures(&roles), false)[2].line();
        assert!(line.contains("not judged"), "{line}");
        // A stream that was not received misses its limits on every engine.
        roles[2].metrics = None;
        assert_eq!(judged(&roles, false)[0], row("min_duration_s", true, true));
    }

    #[test]
    fn expectations_show_expected_and_measured() {
        let expect = Expect {
            max_loss_pct: Some(0.0),
            min_duration_s: Some(20.0),
            max_latency_ms: Some(165.0),
            ..Expect::default()
        };
        let checked = check(&expect, &figures(&chain()), true);
        let passed: Vec<_> =
            checked.iter().map(|expectation| (expectation.name.as_str(), expectation.pass)).collect();
        assert_eq!(passed, [("min_duration_s", true), ("max_loss_pct", false), ("max_latency_ms", false)]);
        assert_eq!(checked[1].line(), "max_loss_pct: expected at most 0 %, measured 55.00 %");
    }
}
