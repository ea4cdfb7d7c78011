//! The end of a run for the user: the final table and its conclusions.

use super::chain;
use super::record::{ChainFigures, Expectation, LatencyBy, RoleRecord, RunRecord};
use b2b_ua::Engine;

/// The lines of the final table, the chain's figures, the expectations and the
/// verdict.
pub fn lines(run: &RunRecord) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(table(&run.roles));
    lines.push(String::new());
    lines.extend(chain(&run.chain, &run.roles));
    lines.extend(run.loads.iter().map(|load| format!("load      {}", load.line())));
    for impairment in &run.impairments {
        lines.push(format!("impaired  {}: {} (on purpose, --impair)", impairment.role, impairment.value));
    }
    for role in run.roles.iter().filter(|role| role.stalled) {
        lines.push(format!(
            "stalled   {}: no packet moved for two metrics periods during the call",
            role.role
        ));
    }
    let of_roles = run.roles.iter().map(|role| (&role.role, role.lines_dropped));
    let of_loads = run.loads.iter().map(|load| (&load.name, load.lines_dropped));
    for (name, dropped) in of_roles.chain(of_loads).filter(|(_, dropped)| *dropped > 0) {
        lines.push(format!("dropped   {name}: {dropped} lines came faster than they could be shown"));
    }
    lines.extend(run.expectations.iter().map(Expectation::told));
    lines.extend(all_met(&run.expectations));
    for reason in &run.verdict.reasons {
        lines.push(format!("reason    {reason}"));
    }
    let word = if run.verdict.ok { "OK" } else { "FAILED" };
    lines.push(format!("verdict   {word} (exit {}): {}", run.verdict.exit_code, run.verdict.headline));
    lines
}

/// The line for met expectations; `None` if one was missed, or none was judged.
fn all_met(expectations: &[Expectation]) -> Option<String> {
    let judged = expectations.iter().filter(|expectation| expectation.judged).count();
    if judged == 0 || expectations.iter().any(Expectation::missed) {
        return None;
    }
    Some(match expectations.len() - judged {
        0 => format!("expected  all {judged} expectations of the plan are met"),
        open => format!(
            "expected  all {judged} expectations of the plan that were judged are met; {open} not judged"
        ),
    })
}

const COLUMNS: [&str; 10] =
    ["role", "sent", "received", "lost", "gap RTP", "gap arrival", "jitter p50/p95", "CPU", "memory", "end"];

fn table(roles: &[RoleRecord]) -> Vec<String> {
    let mut rows = vec![COLUMNS.map(String::from)];
    rows.extend(roles.iter().map(row));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    rows.iter()
        .map(|row| {
            let last = COLUMNS.len() - 1;
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ if column == last => cell.clone(),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ")
        })
        .collect()
}

fn row(role: &RoleRecord) -> [String; COLUMNS.len()] {
    let dash = || "-".to_string();
    let Some(line) = &role.metrics else {
        let mut row = [(); COLUMNS.len()].map(|()| dash());
        row[0] = role.role.clone();
        row[COLUMNS.len() - 1] = role.end.text.clone();
        return row;
    };
    let received = line.packets_rx > 0;
    let heard = |text: String| if received { text } else { dash() };
    let expected = (line.packets_rx + line.rtp_loss).max(1);
    [
        role.role.clone(),
        line.packets_tx.to_string(),
        line.packets_rx.to_string(),
        heard(format!("{} ({:.2} %)", line.rtp_loss, 100.0 * line.rtp_loss as f64 / expected as f64)),
        heard(format!("{:.0} ms", line.rtp_gap_ms_max)),
        heard(format!("{:.1} ms", line.arrival_gap_ms_max)),
        heard(format!("{:.1}/{:.1} ms", line.jitter_ms_p50, line.jitter_ms_p95)),
        format!("{:.2} %", line.cpu_pct),
        format!("{:.1} MB", line.rss_bytes as f64 / 1e6),
        role.end.text.clone(),
    ]
}

fn chain(chain: &ChainFigures, roles: &[RoleRecord]) -> Vec<String> {
    let mut lines = Vec::new();
    let native = roles.iter().all(|role| role.engine == Engine::Native.to_string());
    if !native {
        let engines: Vec<String> =
            roles.iter().map(|role| format!("{} {}", role.role, role.engine)).collect();
        lines.push(format!("engines   {}", engines.join(", ")));
    }
    let mut path: Vec<&str> = chain.hops.iter().map(|hop| hop.from.as_str()).collect();
    path.extend(chain.hops.last().map(|hop| hop.to.as_str()));
    let path = path.join(" -> ");
    let measured = |value: Option<f64>, unit: &str, digits: usize| match value {
        Some(value) => format!("{value:.digits$}{unit}"),
        None => "not measured".to_string(),
    };
    if !path.is_empty() {
        lines.push(format!(
            "chain     {path}: lost {}, longest gap {} by RTP timestamps, {} by arrival",
            measured(chain.loss_pct, " %", 2),
            measured(chain.rtp_gap_ms_max, " ms", 0),
            measured(chain.arrival_gap_ms_max, " ms", 1),
        ));
    }
    let latency = chain.latency_ms_p50.zip(chain.latency_ms_p95);
    lines.push(match latency {
        Some((p50, p95)) => {
            let by = match chain.latency_by {
                Some(LatencyBy::Sound) => chain::BY_SOUND,
                _ => "without the player's own buffer",
            };
            format!("latency   mouth to ear p50 {p50:.1} ms, p95 {p95:.1} ms ({by})")
        }
        None if !native => "latency   mouth to ear not measured (only the native engine carries the time stamps; --report has \
                             it measured by the sound)"
            .to_string(),
        None => {
            let why = chain.no_latency.as_deref().unwrap_or("nothing arrived");
            format!("latency   mouth to ear not measured ({why})")
        }
    });
    if let Some(setup) = chain.setup_ms {
        lines.push(format!(
            "set-up    {setup:.0} ms from dialling to the answer, the slowest call of the chain"
        ));
    }
    if let Some(intact) = chain.intact_pct {
        lines.push(format!("sound     {intact:.1} % of what was said arrived intact"));
    }
    lines.push(match (chain.mos, chain.mos_listening) {
        (None, Some(mos)) => format!("quality   MOS {mos:.2} (E-model, G.107; {})", chain::LISTENING_ONLY),
        (mos, _) => format!("quality   MOS {} (E-model, G.107)", measured(mos, "", 2)),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::record::{Bound, RoleEnd};
    use b2b_base::metrics::MetricsLine;

    fn role(name: &str, metrics: Option<MetricsLine>) -> RoleRecord {
        RoleRecord {
            role: name.into(),
            pid: Some(1),
            engine: "native".into(),
            command: String::new(),
            sip: None,
            ready_ms: None,
            end: RoleEnd { code: Some(0), text: "exit 0".into(), ..RoleEnd::default() },
            last_error: None,
            stalled: false,
            lines_dropped: 0,
            metrics,
            sip_trace: None,
        }
    }

    #[test]
    fn columns_line_up_and_unknown_figures_are_dashes() {
        let heard =
            MetricsLine { packets_rx: 990, rtp_loss: 10, rss_bytes: 9_100_000, ..MetricsLine::default() };
        let lines = table(&[role("source", None), role("sink", Some(heard))]);
        assert_eq!(lines.len(), 3);
        assert!(lines[2].contains("10 (1.00 %)") && lines[2].contains("9.1 MB"), "{}", lines[2]);
        let ends: Vec<_> = lines.iter().map(|line| line.find("exit 0").or(line.find("end"))).collect();
        assert_eq!(ends[1], ends[2]);
        assert_eq!(ends[0], ends[1]);
    }

    #[test]
    fn an_unmeasured_chain_says_so() {
        let lines = chain(&ChainFigures::default(), &[]).join("\n");
        assert!(lines.contains("not measured"), "{lines}");
        assert!(!lines.contains("->"), "{lines}");
    }

    #[test]
    fn a_mos_without_a_latency_says_so() {
        let heard = ChainFigures { mos_listening: Some(4.38), ..ChainFigures::default() };
        let lines = chain(&heard, &[]).join("\n");
        assert!(lines.contains("MOS 4.38 (E-model, G.107; listening only: no latency is known)"), "{lines}");
    }

    #[test]
    fn engines_are_named_where_one_is_not_the_default() {
        let mut roles = vec![role("source", None), role("sink", None)];
        let lines = |roles: &[RoleRecord]| chain(&ChainFigures::default(), roles).join("\n");
        assert!(!lines(&roles).contains("engines"));
        roles[1].engine = "baresip".into();
        assert!(lines(&roles).contains("engines   source native, sink baresip"), "{}", lines(&roles));
        assert!(lines(&roles).contains("only the native engine"), "{}", lines(&roles));
    }

    #[test]
    fn what_was_not_judged_is_counted_apart() {
        let row = |pass, judged| Expectation {
            name: "x".into(),
            bound: Bound::AtMost,
            expected: 1.0,
            measured: None,
            unit: String::new(),
            pass,
            judged,
            unmeasured: None,
            note: None,
        };
        assert!(all_met(&[row(true, true), row(true, true)]).unwrap().contains("all 2"));
        let line = all_met(&[row(true, true), row(false, false)]).unwrap();
        assert!(line.contains("all 1") && line.contains("1 not judged"), "{line}");
        assert_eq!(all_met(&[row(false, true)]), None);
        assert_eq!(all_met(&[row(false, false)]), None);
    }
}
