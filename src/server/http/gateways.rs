//! Gateways: whether they take calls.

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
    /// Whether it takes calls, as far as is known.
    up: bool,
    /// Whether anything is known: of a gateway at which we do not register and that nobody has asked (`options_s = 0`)
    /// or called nothing is, and `up` is a guess.
    known: bool,
    /// Our registration there; none: it asks for none.
    registration: Option<Registration>,
    hosts: Vec<Host>,
    /// How many of its last calls got through; none: they are not counted.
    ner: Option<Ner>,
    /// Calls now.
    channels: usize,
    /// Calls at most; none: any number.
    most: Option<usize>,
}

/// How a registration of ours stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registration {
    registered: bool,
    /// Of the last attempt; none: no answer yet, or silence.
    status: Option<u16>,
    reason: String,
    /// Whether its calls come by the flow of the REGISTER, which is kept alive (RFC 5626).
    outbound: bool,
}

/// The network effectiveness ratio of a gateway (ITU-T E.425).
#[derive(Debug, Serialize, ToSchema)]
pub struct Ner {
    /// None: no call is counted.
    percent: Option<usize>,
    /// How many calls that is of.
    calls: usize,
    /// `resting`: it is out of use; `trying`: the next call decides; none: it is in use.
    out: Option<&'static str>,
}

/// A host of a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Host {
    host: String,
    /// `up`, `down`, or `unknown` when nobody has asked.
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
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no gateway {name:?}"), fix));
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
