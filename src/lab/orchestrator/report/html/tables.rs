//! Figures per role and hop, events, and the origin of the run.

use maud::{Markup, html};

use crate::orchestrator::record::{Hop, RoleRecord, RunRecord};
use crate::results::page::{ms, one};

/// Maximum events listed.
const EVENTS: usize = 200;

/// The figures of roles, hops and the chain.
pub fn figures(run: &RunRecord) -> Markup {
    html! {
        h2 { "Figures" }
        @if !run.chain.hops.is_empty() { (hops(&run.chain.hops)) }
        h3 { "Roles" }
        div.scroll tabindex="0" { table {
            tr {
                th { "role" } th { "engine" } th { "sent" } th { "received" } th { "late" } th { "concealed" } th { "underruns" }
                th { "jitter p50" } th { "p95" } th { "CPU" } th { "memory" } th { "round trip" } th.left { "end" }
            }
            @for role in &run.roles { (role_row(role)) }
        } }
        p.soft {
            "Whole chain: mouth-to-ear p50 " (option(run.chain.latency_ms_p50, ms)) ", p95 " (option(run.chain.latency_ms_p95, ms))
            ", loss " (option(run.chain.loss_pct, |v| format!("{v:.2} %")))
            ", MOS " (option(run.chain.mos, |v| format!("{v:.2}")))
            ", longest time between arrivals " (option(run.chain.arrival_gap_ms_max, ms))
            ", " (option(run.chain.duration_s, one)) " s played. The player's own buffer is not part of the latency."
        }
    }
}

fn hops(hops: &[Hop]) -> Markup {
    html! {
        h3 { "Streams" }
        div.scroll tabindex="0" { table {
            tr {
                th { "stream" } th { "sent" } th { "received" } th { "lost" } th { "longest timestamp gap" }
                th { "longest arrival gap" } th { "jitter p50" } th { "p95" } th { "late" } th { "concealed" }
            }
            @for hop in hops {
                tr {
                    td { (hop.from) " → " (hop.to) }
                    td { (hop.packets_tx) }
                    td { (hop.packets_rx) }
                    td { (hop.lost) " (" (format!("{:.2}", hop.loss_pct)) " %)" }
                    td { (ms(hop.rtp_gap_ms_max)) }
                    td { (ms(hop.arrival_gap_ms_max)) }
                    td { (ms(hop.jitter_ms_p50)) }
                    td { (ms(hop.jitter_ms_p95)) }
                    td { (hop.late) }
                    td { (hop.concealed) }
                }
            }
        } }
    }
}

fn role_row(role: &RoleRecord) -> Markup {
    html! {
        tr {
            td { (role.role) }
            td { (role.engine) }
            @if let Some(m) = &role.metrics {
                td { (m.packets_tx) }
                td { (m.packets_rx) }
                td { (m.late) }
                td { (m.concealed) }
                td { (m.underruns) }
                td { (ms(m.jitter_ms_p50)) }
                td { (ms(m.jitter_ms_p95)) }
                td { (format!("{:.2} %", m.cpu_pct)) }
                td { (one(m.rss_bytes as f64 / 1e6)) " MB" }
                td { (option(m.rtt_ms, ms)) }
            } @else {
                td colspan="10" { "no figures" }
            }
            td.text {
                (role.end.text)
                @if role.stalled { " · stalled" }
                @if role.lines_dropped > 0 { " · " (role.lines_dropped) " lines dropped" }
                @if let Some(error) = &role.last_error { " · " (error) }
            }
        }
    }
}

/// The events of the run.
pub fn history(run: &RunRecord) -> Markup {
    html! {
        h2 { "Events" }
        div.scroll tabindex="0" { table {
            @for event in run.events.iter().take(EVENTS) {
                tr {
                    td { (format!("{:.3} s", event.at_s)) }
                    td.left { (event.role.as_deref().unwrap_or("")) }
                    td.text { (event.text) }
                }
            }
        } }
        @if run.events.len() > EVENTS { p.soft { (run.events.len() - EVENTS) " more are in report.json." } }
    }
}

/// Plan, command lines and versions.
pub fn origin(run: &RunRecord) -> Markup {
    let versions = &run.versions;
    html! {
        h2 { "Plan" }
        p.soft { (run.plan.path.display().to_string()) }
        pre { (run.plan.text) }
        details {
            summary { "Command lines" }
            @for command in run.roles.iter().map(|role| &role.command).chain(run.loads.iter().map(|load| &load.command)) {
                pre { (command) }
            }
        }
        p.soft {
            "b2b " (versions.b2b) " (" (versions.build) " build) on " (versions.os) " " (versions.arch)
            @if let Some(kernel) = &versions.kernel { ", kernel " (kernel) }
            ". From " (run.started) " to " (run.ended) "."
        }
    }
}

fn option(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_string(), format)
}
