//! Checks the server every two seconds, and reads its events.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::statvfs;

use super::board::{DiskLook, Look, QueueLook};
use crate::board::GatewayState;
use crate::gateway::ner::Out;
use crate::http::Api;
use b2b_call::bus::{Received, Subscriber};

const EVERY: Duration = Duration::from_secs(2);
/// ACME clients renew 30 days before expiry: a certificate not renewed a week before it will not be.
const LAST_DAYS: Duration = Duration::from_secs(7 * 86_400);

/// Runs until the server ends.
pub async fn run(api: Api, mut events: Subscriber) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = events.recv() => match received {
                Some(Received::Event(event)) => api.alarms.board().event(event.time, &event.event),
                // A flood of events: counters cover those that were lost.
                Some(Received::Lagged(_)) => {}
                None => return,
            },
            _ = ticks.tick() => {
                let Some(look) = look(&api).await else { return };
                api.alarms.board().look(SystemTime::now(), look);
            }
        }
    }
}

/// `None`: the calls' thread has ended.
async fn look(api: &Api) -> Option<Look> {
    let seen =
        api.jobs.run(|switch, _, _| (switch.is_draining(), switch.holdings().calls, switch.counters()));
    let (draining, calls, counters) = seen.await?;
    let (totals, ports) = api.media.totals().await;
    let records = api.cdr_file.counters();
    let free = ports.free + ports.ready;
    let carriers = api.media.carriers();
    let nobody = !carriers.is_empty() && !carriers.iter().any(|it| it.takes_calls);
    Some(Look {
        no_media: nobody.then_some(carriers.len()),
        carriers_down: carriers.into_iter().filter_map(|it| Some((it.name, it.down?))).collect(),
        gateways_down: api
            .admission
            .board
            .snapshot()
            .iter()
            .filter_map(|(name, it, _)| Some((name.clone(), why(it)?)))
            .collect(),
        certificates: soon_over(api.tls.expiries(), SystemTime::now()),
        certificate_refused: api.tls.refused(),
        draining: draining.then_some(calls),
        unplayable: api.admission.current.get().sounds.unplayable(),
        disk: disk(api),
        ports: (free, free + ports.used + ports.resting),
        queues: queues(api).await,
        ticks: totals.ticks,
        records_lost: records.lost + records.failures,
        calls_refused: if draining { 0 } else { counters.refused },
        bugs: counters.panics + counters.illegal + counters.impossible,
    })
}

/// The certificates that expire sooner than a new one could be obtained.
fn soon_over(expiries: Vec<(PathBuf, SystemTime)>, now: SystemTime) -> Vec<(PathBuf, SystemTime)> {
    expiries.into_iter().filter(|(_, until)| *until < now + LAST_DAYS).collect()
}

/// Why a gateway takes no calls; `None`: it does.
fn why(state: &GatewayState) -> Option<String> {
    if state.is_up() {
        return None;
    }
    if let Some(it) = state.registration.as_ref().filter(|it| it.failed && !it.registered) {
        let status = it.status.map(|status| format!("{status} ")).unwrap_or_default();
        return Some(format!("registration failed: {status}{}", it.reason));
    }
    if let Some(ner) = state.ner.filter(|it| it.out.is_some()) {
        let next = if ner.out == Some(Out::Trying) { "; the next call tries it" } else { "" };
        return Some(format!("{} of its last {} calls succeeded{next}", ner.effective, ner.calls));
    }
    let names = state.hosts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    Some(format!("no answer from {}", names.join(", ")))
}

fn disk(api: &Api) -> Option<DiskLook> {
    let settings = api.admission.current.get();
    let folder = settings.config.recording.folder.as_deref()?;
    let disk = statvfs(folder).ok()?;
    let free = disk.blocks_available() * disk.fragment_size();
    Some(DiskLook {
        folder: folder.display().to_string(),
        free,
        wanted: settings.config.recording.free_bytes,
    })
}

async fn queues(api: &Api) -> Vec<QueueLook> {
    let queues = if api.queues.settings().queues.is_empty() { Vec::new() } else { api.queues.queues().await };
    let look = |it: b2b_app::queue::machine::view::QueueView| QueueLook {
        name: it.name,
        waiting: it.waiting,
        longest: it.longest_wait,
        goal: it.goal,
    };
    queues.into_iter().map(look).collect()
}
