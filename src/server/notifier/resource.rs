//! Resources that can be watched, and the one that a SUBSCRIBE names.

use std::net::IpAddr;

use super::state::NotifierState;
use super::subscribe_request::Package;
use crate::config::Verstat;
use crate::in_force::{Settings, own_user};
use crate::routing::{Outcome, RouteRequest};
use b2b_sip::msg::{Method, Request};

/// A watched resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The calls of a user, by the user's own name.
    User(String),
    /// A slot of a parking lot.
    Slot { lot: String, slot: u32 },
    /// A queue: whether callers wait in it.
    Queue(String),
    /// The messages in a mailbox, by the mailbox's name.
    Mailbox(String),
}

impl Resource {
    /// Whether this configuration still has it. Mailboxes are tracked in the notifier's state.
    pub fn is_in(&self, settings: &Settings) -> bool {
        let apps = &settings.config.apps;
        match self {
            Resource::Mailbox(_) => true,
            Resource::User(name) => settings.directory.user(name).is_some_and(|user| user.name == *name),
            Resource::Slot { lot, slot } => {
                apps.lots.iter().any(|it| it.name == *lot && it.slots.contains(slot))
            }
            Resource::Queue(name) => apps.queues.queues.iter().any(|it| *it.plan.name == **name),
        }
    }
}

/// The subscriber.
#[derive(Debug, Clone, Copy)]
pub struct Watcher<'a> {
    /// The watcher's authenticated user, by its own name; `None`: trusted by address.
    pub user: Option<&'a str>,
    pub address: IpAddr,
}

/// The resource that the Request-URI of a SUBSCRIBE names, and its entity in documents. A user takes
/// precedence over a slot, a slot over a number that a route sends to a queue, and that over a queue's name
/// (`queue-sales`).
///
/// # Errors
/// The status if there is none: 404, or 403 for another user's mailbox.
pub fn find(
    settings: &Settings,
    state: &NotifierState,
    request: &Request,
    package: Package,
    watcher: Watcher<'_>,
) -> Result<(Resource, String), u16> {
    let text = std::str::from_utf8(request.uri_bytes()).map_err(|_| 404u16)?;
    let called = own_user(settings, text).ok().flatten().ok_or(404u16)?;
    let entity = entity(request).ok_or(404u16)?;
    let user = settings.directory.user(&called).map(|user| user.name.clone());
    if package == Package::MessageSummary {
        let (name, users) = state.mailbox(user.as_deref(), &called).ok_or(404u16)?;
        let may = watcher.user.is_none_or(|watcher| users.iter().any(|user| user == watcher));
        return if may { Ok((Resource::Mailbox(name), entity)) } else { Err(403) };
    }
    let resource = user
        .map(Resource::User)
        .or_else(|| slot(settings, &called))
        .or_else(|| routed(settings, &called, watcher))
        .or_else(|| {
            let named = Resource::Queue(called.strip_prefix("queue-")?.to_owned());
            named.is_in(settings).then_some(named)
        });
    Ok((resource.ok_or(404u16)?, entity))
}

fn slot(settings: &Settings, called: &str) -> Option<Resource> {
    let slot: u32 = called.parse().ok()?;
    let lot = settings.config.apps.lots.iter().find(|lot| lot.slots.contains(&slot))?;
    Some(Resource::Slot { lot: lot.name.clone(), slot })
}

/// The queue that the watcher would reach by dialling it.
fn routed(settings: &Settings, called: &str, watcher: Watcher<'_>) -> Option<Resource> {
    let (origin, class) = settings.caller(watcher.user, None, watcher.address);
    let user = watcher.user.and_then(|name| settings.directory.user(name));
    let caller = user.map(|user| user.caller_id.clone().unwrap_or_else(|| user.name.clone()));
    let request = RouteRequest {
        method: &Method::Invite,
        called,
        caller: caller.as_deref().unwrap_or_default(),
        class,
        origin,
        address: watcher.address,
        verstat: Verstat::None,
    };
    let Outcome::App(app) = settings.router.route(&request).outcome else { return None };
    let queue = Resource::Queue(app.strip_prefix("queue/")?.to_owned());
    queue.is_in(settings).then_some(queue)
}

/// The Request-URI without its parameters.
fn entity(request: &Request) -> Option<String> {
    let uri = request.uri().ok()?;
    let user = String::from_utf8_lossy(uri.user?);
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("sip:{user}@{}{port}", uri.host?))
}
