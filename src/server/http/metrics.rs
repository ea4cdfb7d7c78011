//! `GET /metrics`: all counters and gauges.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::alarms;
use super::metrics_media::media;
use super::queues;
use super::text::{self, Kind, Page};
use super::{Api, answer::Problem};
use crate::call_figures::Figures;
use crate::controller::remote::ServerHealth;
use crate::counters::AdmissionCounters;
use crate::ended_calls::DISPOSITIONS;
use crate::in_force::registrar;
use crate::notifier::state::NotifierCounters;
use crate::registrar::RegistrarCounters;
use crate::survive::figures::Survival;
use b2b_app::voice_agent::AgentCalls;
use b2b_base::util::{panics, process};
use b2b_call::call_fsm::CallState;
use b2b_call::cdr::CdrCounters;
use b2b_call::switch::{SwitchCounters, SwitchHoldings};
use b2b_sip::endpoint::{Counters, Holdings};
use b2b_sip::net::NetCounters;

/// Data from the calls' thread.
struct Seen {
    states: Vec<(CallState, usize)>,
    calls: SwitchCounters,
    held: SwitchHoldings,
    sip: Counters,
    sip_held: Holdings,
    net: NetCounters,
}

/// Writes the page.
pub async fn scrape(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let seen = api.jobs.run(|switch, t, net| Seen {
        states: switch.states(),
        calls: switch.counters(),
        held: switch.holdings(),
        sip: *t.sip.counters(),
        sip_held: t.sip.holdings(),
        net,
    });
    let seen = seen.await.ok_or_else(Problem::stopping)?;
    let (registered, bindings) = {
        let registrar = registrar(&api.admission.registrar);
        (registrar.counters(), registrar.store().len())
    };
    let mut page = Page::default();
    process(&mut page, &api);
    certificates(&mut page, &api);
    calls(&mut page, &seen);
    sip(&mut page, &seen.sip, &seen.net);
    next_hops(&mut page, &seen.sip);
    records(&mut page, &api.cdr_file.counters());
    ended_calls(&mut page, &api);
    call_figures(&mut page, &api.call_figures.get());
    registrations(&mut page, &registered, bindings);
    abuse(&mut page, &seen, &api.admission.counters.get());
    gateways(&mut page, &api);
    subscriptions(&mut page, &api.admission.notifier.counters());
    media(&mut page, &api.media.totals().await);
    queues::metrics(&mut page, &api.queues).await;
    alarms::metrics(&mut page, &api.alarms);
    commands(&mut page, &api);
    let help = "Requests to the HTTP interface that were refused, by status.";
    page.each("b2b_http_refused_total", "status", Kind::Counter, help, api.refused.counters());
    let help = "Connections to the HTTP interface that were refused or displaced at the limit.";
    page.each(
        "b2b_http_connections_full_total",
        "result",
        Kind::Counter,
        help,
        api.refused.connections.get(),
    );
    let help = "Webhook requests of menu trees, by result.";
    page.each("b2b_ivr_questions_total", "result", Kind::Counter, help, api.web.counters());
    page.each(
        "b2b_hep_total",
        "result",
        Kind::Counter,
        "Messages for the HEP collector, by result.",
        api.hep.get(),
    );
    voices(&mut page, &api);
    media_servers(&mut page, &api);
    survive(&mut page, &api);
    held(&mut page, &seen, &api);
    Ok(([(CONTENT_TYPE, text::CONTENT_TYPE)], page.finish()))
}

fn certificates(page: &mut Page, api: &Api) {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let each = api.tls.expiries();
    let each = each.iter().map(|(file, until)| (file.display(), seconds(*until)));
    let help = "Expiry of a certificate of the server, in seconds since 1970.";
    page.each("b2b_certificate_not_after_seconds", "file", Kind::Gauge, help, each);
}

fn process(page: &mut Page, api: &Api) {
    page.each("b2b_info", "version", Kind::Gauge, "Always 1.", [(env!("CARGO_PKG_VERSION"), 1)]);
    let up = api.started.elapsed().as_secs_f64();
    page.one("b2b_uptime_seconds", Kind::Gauge, "Uptime.", format_args!("{up:.3}"));
    let cpu = process::cpu_time().as_secs_f64();
    page.one("b2b_cpu_seconds_total", Kind::Counter, "CPU time, all threads.", format_args!("{cpu:.6}"));
    page.one("b2b_resident_bytes", Kind::Gauge, "Resident memory.", process::resident_bytes());
    // The same, and more, under the names of Prometheus' own clients: common dashboards and rules know no
    // others.
    page.one(
        "process_cpu_seconds_total",
        Kind::Counter,
        "User and system CPU time.",
        format_args!("{cpu:.6}"),
    );
    let resident = process::resident_bytes();
    page.one("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", resident);
    page.one("process_open_fds", Kind::Gauge, "Open descriptors.", process::open_descriptors());
    let help = "Descriptors that may be open, the soft limit.";
    page.one("process_max_fds", Kind::Gauge, help, process::descriptor_soft_limit());
    let started = process::started().unwrap_or_default().as_secs_f64();
    let help = "When the process started, in seconds since 1970.";
    page.one("process_start_time_seconds", Kind::Gauge, help, format_args!("{started:.2}"));
    let help = "Panics, those of handlers included, by the kind of thread.";
    page.each("b2b_panics_total", "thread", Kind::Counter, help, panics::counts());
}

fn calls(page: &mut Page, seen: &Seen) {
    let states = seen.states.iter().map(|(state, calls)| (state.as_str(), calls));
    page.each("b2b_calls", "state", Kind::Gauge, "Calls, by state.", states);
    let counters = &seen.calls;
    for (name, help, value) in [
        ("b2b_calls_incoming_total", "Inbound calls, refused ones included.", counters.incoming),
        ("b2b_calls_refused_total", "Calls refused at a limit or while stopping.", counters.refused),
        ("b2b_calls_ended_total", "Ended calls.", counters.ended),
        ("b2b_legs_dialled_total", "Outbound legs.", counters.dialled),
        ("b2b_bridges_total", "Bridges that both parties answered.", counters.bridged),
        ("b2b_illegal_events_total", "Events that are illegal in their state.", counters.illegal),
        ("b2b_impossible_total", "Impossible states: bugs.", counters.impossible),
        (
            "b2b_late_results_total",
            "Responses, timers and commands for a call or leg that had ended.",
            counters.late,
        ),
        ("b2b_ignored_events_total", "Events that required no action in their state.", counters.ignored),
        ("b2b_handler_panics_total", "Panics of handlers.", counters.panics),
    ] {
        page.one(name, Kind::Counter, help, value);
    }
}

/// Call detail records.
fn records(page: &mut Page, counters: &CdrCounters) {
    let results = [
        ("submitted", counters.submitted),
        ("written", counters.written),
        ("lost", counters.lost),
        ("failed_write", counters.failures),
    ];
    page.each("b2b_records_total", "result", Kind::Counter, "Call records, by result.", results);
}

fn ended_calls(page: &mut Page, api: &Api) {
    let counters = api.ended_calls.as_ref().map(|store| store.counters()).unwrap_or_default();
    let results =
        [("written", counters.written), ("lost", counters.lost), ("failed_write", counters.failures)];
    let help = "Records of legs for the list of ended calls, by result.";
    page.each("b2b_ended_calls_total", "result", Kind::Counter, help, results);
}

/// Callers' legs, all legs by gateway, and the audio of all.
fn call_figures(page: &mut Page, figures: &Figures) {
    let help = "From a caller's INVITE to the first ringing or the answer.";
    page.histogram("b2b_call_setup_seconds", help, &figures.setup_s);
    page.histogram("b2b_call_talk_seconds", "From the answer to the end of a call.", &figures.talk_s);
    let help = "MOS of legs by the E-model (G.107); bounds are those of its Annex B.";
    page.histogram("b2b_leg_mos", help, &figures.mos);
    let words = DISPOSITIONS.map(|(_, word)| word);
    let help = "Ended calls, by the disposition of the caller's leg.";
    let results = words.into_iter().zip(figures.calls);
    page.each("b2b_call_results_total", "disposition", Kind::Counter, help, results);
    let by_gateway = figures.by_gateway.iter().flat_map(|(gateway, results)| {
        words.into_iter().zip(results).map(move |(word, count)| (gateway.clone(), word, *count))
    });
    let help = "Ended legs from and to a gateway, by disposition.";
    page.each_of_two("b2b_gateway_results_total", ["gateway", "disposition"], help, by_gateway);
}

fn sip(page: &mut Page, sip: &Counters, net: &NetCounters) {
    for (name, help, value) in [
        ("b2b_sip_requests_received_total", "Requests parsed.", sip.requests_in),
        ("b2b_sip_responses_received_total", "Responses parsed.", sip.responses_in),
        ("b2b_sip_sent_total", "Messages sent, retransmissions included.", sip.transmitted),
        ("b2b_sip_retransmitted_total", "Retransmissions sent.", sip.retransmitted),
        ("b2b_sip_absorbed_total", "Retransmissions received.", sip.absorbed),
        ("b2b_sip_malformed_total", "Malformed messages.", sip.malformed),
        (
            "b2b_sip_stray_total",
            "Responses and ACKs that match nothing.",
            sip.stray_responses + sip.stray_acks,
        ),
        ("b2b_sip_refused_total", "Requests refused without a call.", sip.refused),
        ("b2b_sip_overloaded_total", "Requests refused with 503 at a limit.", sip.overloaded),
        ("b2b_sip_looped_total", "Requests in a loop, and merged requests.", sip.merged + sip.looped),
        ("b2b_net_received_total", "Messages read within their source's budget.", net.received),
        ("b2b_net_sent_total", "Messages handed to the system.", net.sent),
        ("b2b_net_send_errors_total", "Messages that the system refused to send.", net.send_errors),
        ("b2b_connections_opened_total", "Connections, both ways.", net.connections_opened),
    ] {
        page.one(name, Kind::Counter, help, value);
    }
}

/// Next hops of dialogs that are not the party's own.
fn next_hops(page: &mut Page, sip: &Counters) {
    let results = [("elsewhere", sip.hops_elsewhere), ("refused", sip.hops_refused)];
    let help = "Next hops of dialogs that are not the party's own: followed, or replaced by its flow.";
    page.each("b2b_sip_next_hops_total", "result", Kind::Counter, help, results);
}

fn registrations(page: &mut Page, counters: &RegistrarCounters, bindings: usize) {
    page.one("b2b_bindings", Kind::Gauge, "Registered contacts.", bindings);
    let results = [
        ("registered", counters.registered),
        ("refreshed", counters.refreshed),
        ("unregistered", counters.unregistered),
        ("expired", counters.expired),
        ("evicted", counters.evicted),
        ("query", counters.queries),
        ("refused", counters.refused),
    ];
    let help = "REGISTER requests and bindings, by result.";
    page.each("b2b_registrar_total", "result", Kind::Counter, help, results);
}

/// By kind, never by source: a flood has many sources.
fn abuse(page: &mut Page, seen: &Seen, admission: &AdmissionCounters) {
    let kinds = [
        ("over_budget", seen.net.over_budget),
        ("unanswered", seen.sip.dropped),
        ("connection_refused", seen.net.connections_refused),
        ("connection_displaced", seen.net.connections_displaced),
        ("connection_not_reading", seen.net.closed_not_reading),
        ("handshake_failed", seen.net.failed_handshakes),
        ("connection_no_sip", seen.net.closed_bad_framing),
        ("connection_idle", seen.net.closed_timeout),
        ("authentication_failed", admission.rejected),
        ("authentication_malformed", admission.malformed),
        ("slowed", admission.slowed),
        ("banned", admission.bans),
        ("request_while_banned", admission.banned + seen.net.banned),
        ("stranger_over_budget", admission.ignored),
        ("call_over_rate", admission.over_rate),
        ("user_over_rate", admission.user_over_rate),
        ("source_over_rate", admission.source_over_rate),
        ("source_full", admission.source_full),
        ("user_full", admission.user_full),
        ("gateway_full", admission.gateway_full),
        ("gateway_over_rate", admission.gateway_over_rate),
        ("not_followed", seen.calls.not_followed),
        ("info_over_rate", seen.calls.infos_untold),
    ];
    page.each(
        "b2b_abuse_total",
        "kind",
        Kind::Counter,
        "Requests, messages and connections refused or dropped by limits and bans.",
        kinds,
    );
}

/// One series for each configured gateway.
fn gateways(page: &mut Page, api: &Api) {
    let gateways = api.admission.board.snapshot();
    let up = gateways.iter().map(|(name, state, _)| (name, u8::from(state.is_up())));
    let help = "Whether a gateway is in service.";
    page.each("b2b_gateway_up", "gateway", Kind::Gauge, help, up);
    let known = gateways.iter().map(|(name, state, _)| (name, u8::from(state.is_known())));
    let help = "Whether anything is known of a gateway: we register there, or it was asked.";
    page.each("b2b_gateway_known", "gateway", Kind::Gauge, help, known);
    let ner = gateways.iter().filter_map(|(name, state, _)| Some((name, state.ner?.percent()?)));
    let help = "Share of the last calls to a gateway that succeeded, in percent (NER, ITU-T E.425).";
    page.each("b2b_gateway_ner_percent", "gateway", Kind::Gauge, help, ner);
    let channels = gateways.iter().map(|(name, _, taken)| (name, taken));
    page.each("b2b_gateway_channels", "gateway", Kind::Gauge, "Channels in use.", channels);
}

/// BLF and MWI. The present number is in `b2b_held`.
fn subscriptions(page: &mut Page, counters: &NotifierCounters) {
    let results = [
        ("begun", counters.begun),
        ("refreshed", counters.refreshed),
        ("refused", counters.refused),
        ("over_limit", counters.over_limit),
        ("ended", counters.ended),
        ("expired", counters.expired),
        ("untold", counters.untold),
        ("no_resource", counters.no_resource),
        ("stopped", counters.stopped),
    ];
    let help = "SUBSCRIBE requests and subscriptions, by result.";
    page.each("b2b_subscriptions_total", "result", Kind::Counter, help, results);
    let help = "NOTIFY requests sent.";
    page.one("b2b_subscription_notifies_total", Kind::Counter, help, counters.notifies);
}

/// Commands of programs.
fn commands(page: &mut Page, api: &Api) {
    let counters = api.control.counters();
    let results =
        [("completed", counters.completed), ("failed", counters.failed), ("refused", counters.refused)];
    page.each("b2b_commands_total", "result", Kind::Counter, "Commands of programs, by result.", results);
    let help = "Calls for programs, by result.";
    page.each("b2b_remote_calls_total", "result", Kind::Counter, help, api.remotes.counters());
    let programs: usize = api.remotes.view().iter().map(|(_, programs, _)| programs).sum();
    page.one("b2b_remote_programs", Kind::Gauge, "Connected programs.", programs);
}

/// Streams to and from parties, and the connections to their clients.
fn voices(page: &mut Page, api: &Api) {
    let (_, opened, missed) = api.media.streams();
    page.one("b2b_media_streams_total", Kind::Counter, "Audio streams to and from parties.", opened);
    let help = "Samples of parties that were not read, in streams that have ended.";
    page.one("b2b_media_streams_lost_samples_total", Kind::Counter, help, missed);
    let help = "Ended conversations over a WebSocket, by how they ended.";
    page.each("b2b_voice_ends_total", "end", Kind::Counter, help, api.voices.ends());
    let help = "Messages of voice agents and other clients of audio with a mistake, by kind.";
    page.each("b2b_voice_mistakes_total", "kind", Kind::Counter, help, api.voices.mistakes());
    let help = "Connections to voice agents with several calls per connection.";
    page.one("b2b_voice_connections", Kind::Gauge, help, api.voices.connections());
    let held = api.voices.seats().held();
    let each = |of: fn(&AgentCalls) -> usize| held.iter().map(move |(agent, it)| (agent.clone(), of(it)));
    let help = "Calls of each voice agent.";
    page.each("b2b_voice_agent_calls", "agent", Kind::Gauge, help, each(|it| it.taken));
    let help = "Callers who wait for a voice agent, by agent.";
    page.each("b2b_voice_agent_waiting", "agent", Kind::Gauge, help, each(|it| it.waiting));
    let help = "Connection attempts to voice agents, by result.";
    page.each("b2b_voice_agents_total", "result", Kind::Counter, help, api.voices.agents());
}

/// Media servers, if they carry the media.
fn media_servers(page: &mut Page, api: &Api) {
    let servers = api.media.servers();
    if servers.is_empty() {
        return;
    }
    let each = |of: fn(&ServerHealth) -> usize| servers.iter().map(move |it| (it.authority.clone(), of(it)));
    let up = each(|it| usize::from(it.up));
    page.each("b2b_media_server_up", "server", Kind::Gauge, "Whether a media server responds.", up);
    let held = each(|it| it.endpoints);
    page.each(
        "b2b_media_server_endpoints",
        "server",
        Kind::Gauge,
        "Legs of this server at a media server.",
        held,
    );
    let load = each(|it| it.load.endpoints);
    page.each("b2b_media_server_load", "server", Kind::Gauge, "All legs at a media server.", load);
}

/// Calls that outlive the server, if it keeps them.
fn survive(page: &mut Page, api: &Api) {
    let Survival { on: true, covered, not_covered, octets, before, .. } = api.survive.view() else { return };
    let help = "Calls that would go on in the next process, or not.";
    let states = [("covered", covered), ("not_covered", not_covered)];
    page.each("b2b_survive_calls", "state", Kind::Gauge, help, states);
    page.one("b2b_survive_octets", Kind::Gauge, "Memory that their records use.", octets);
    if let Some(before) = before {
        let help = "Calls that the start of this process found, by what became of them.";
        let results = [("went_on", before.went_on), ("ended", before.ended.len())];
        page.each("b2b_survive_found_calls", "result", Kind::Gauge, help, results);
    }
}

/// Everything that is held for calls; without calls, all of it returns to zero.
fn held(page: &mut Page, seen: &Seen, api: &Api) {
    let (held, sip) = (&seen.held, &seen.sip_held);
    let what = [
        ("calls", held.calls),
        ("legs", held.legs),
        ("map_entries", held.map_entries),
        ("timers", held.timer_entries),
        ("tasks", held.tasks),
        ("accounts", held.accounts),
        ("captures", held.captures),
        ("commands", api.control.running()),
        ("remote_calls", api.remotes.held()),
        ("media_endpoints", api.media.endpoints()),
        ("media_requests", api.media.waiting()),
        ("media_trunks", api.media.trunks()),
        ("media_streams", api.media.streams().0),
        ("voice_sockets", api.voices.open()),
        ("sip_client_transactions", sip.client_transactions),
        ("sip_server_transactions", sip.server_transactions),
        ("sip_usages", sip.usages),
        ("sip_subscriptions", sip.subscriptions),
        ("sip_timers", sip.timer_entries),
        ("sip_waiting", sip.waiting),
        ("sip_map_entries", sip.map_entries),
    ];
    page.each("b2b_held", "what", Kind::Gauge, "Objects in memory, by kind.", what);
}
