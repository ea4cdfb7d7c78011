//! Gateways: their state.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use crate::board::Wanted;
use crate::gateway::ner::Out;
use b2b_call::resolver::Health;

/// Every gateway, in the order of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gateways {
    gateways: Vec<Gateway>,
}

/// A gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gateway {
    name: String,
    class: String,
    /// Whether it takes calls, as far as known.
    up: bool,
    /// Whether its state is known: it is not for a gateway without a registration that has not been probed
    /// (`options_s = 0`) or called; `up` is then a guess.
    known: bool,
    /// Our registration there; null: not configured.
    registration: Option<Registration>,
    hosts: Vec<Host>,
    /// Network effectiveness ratio over its last calls; null: not measured.
    ner: Option<Ner>,
    /// Calls in progress.
    channels: usize,
    /// Maximum calls; null: unlimited.
    most: Option<usize>,
}

/// State of a registration of ours.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registration {
    registered: bool,
    /// Status of the last attempt; null: no response yet, or a timeout.
    status: Option<u16>,
    reason: String,
    /// Whether its calls come over the flow of the REGISTER, which is kept alive (RFC 5626).
    outbound: bool,
}

/// The network effectiveness ratio of a gateway (ITU-T E.425).
#[derive(Debug, Serialize, ToSchema)]
pub struct Ner {
    /// Null: no call is counted.
    percent: Option<usize>,
    /// Number of calls that it is computed from.
    calls: usize,
    /// `resting`: out of use; `trying`: the next call decides; null: in use.
    out: Option<&'static str>,
}

/// A host of a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Host {
    host: String,
    /// `up`, `down`, or `unknown` if it has not been probed.
    health: &'static str,
}

/// `GET /gateways`
pub async fn list(State(api): State<Api>) -> Json<Gateways> {
    let settings = api.admission.current.get();
    let mut seen = api.admission.board.snapshot();
    let gateway = |config: &crate::config::Gateway| {
        let place = seen.iter().position(|(name, _, _)| *name == config.name);
        let (_, state, channels) = place.map(|place| seen.swap_remove(place)).unwrap_or_default();
        Gateway {
            name: config.name.clone(),
            class: config.class.clone(),
            up: state.is_up(),
            known: state.is_known(),
            registration: state.registration.map(|it| Registration {
                registered: it.registered,
                status: it.status,
                reason: it.reason,
                outbound: it.outbound,
            }),
            hosts: config
                .hosts
                .iter()
                .map(|host| host.to_string())
                .map(|host| Host { health: health(&state.hosts, &host), host })
                .collect(),
            ner: state.ner.map(|it| Ner {
                percent: it.percent(),
                calls: it.calls,
                out: it.out.map(|out| match out {
                    Out::Resting => "resting",
                    Out::Trying => "trying",
                }),
            }),
            channels,
            most: config.channels,
        }
    };
    Json(Gateways { gateways: settings.config.gateways.iter().map(gateway).collect() })
}

/// `POST /gateways/{name}/register`
pub async fn register(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let settings = api.admission.current.get();
    let Some(gateway) = settings.config.gateway(&name) else {
        let fix = "GET /gateways lists them; see [[gateway]]";
        return Err(Problem::missing(format!("there is no gateway {name:?}"), fix));
    };
    if gateway.register.is_none() {
        let fix = "set register = true with its username and password";
        return Err(Problem::new(StatusCode::CONFLICT, format!("gateway {name:?} has no registration"), fix));
    }
    api.admission.board.register(Wanted::At(name));
    api.jobs.run(|switch, t, _| switch.wake_admission(t)).await;
    Ok(StatusCode::ACCEPTED)
}

fn health(hosts: &[(String, Health)], name: &str) -> &'static str {
    match hosts.iter().find(|(host, _)| host == name).map(|(_, health)| health) {
        Some(Health::Up) => "up",
        Some(Health::Down) => "down",
        Some(Health::Unknown) | None => "unknown",
    }
}
