//! Who is registered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::Api;
use super::answer::Problem;
use crate::b2bua::in_force::registrar;
use crate::sip::registrar::{Aor, Binding};

/// Addresses of record in one answer.
const MOST: usize = 1_000;
const USUAL: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// One user only, by name or alias.
    user: Option<String>,
    /// Go on behind this address of record.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of them.
#[derive(Debug, Serialize)]
pub struct Registrations {
    /// Bindings of everybody.
    bindings: usize,
    registrations: Vec<Registration>,
    /// Ask for `?after=` this for more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Registration {
    aor: String,
    contacts: Vec<Contact>,
}

#[derive(Debug, Serialize)]
struct Contact {
    contact: String,
    expires_s: u64,
    q: f64,
    transport: String,
    /// Where it registered from.
    remote: String,
    behind_nat: bool,
    user_agent: String,
}

/// `GET /registrations`
pub async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Registrations>, Problem> {
    let usage = "the query takes user=, after= and limit=";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let limit = asked.limit.unwrap_or(USUAL).clamp(1, MOST);
    let now = Instant::now();
    let settings = api.desk.current.get();
    let only = match &asked.user {
        Some(name) => match settings.directory.user(name).and_then(|user| settings.directory.aor(user)) {
            Some(aor) => Some(aor),
            None => {
                let error = format!("there is no user {name:?}");
                return Err(Problem::new(axum::http::StatusCode::NOT_FOUND, error, "see [[user]]"));
            }
        },
        None => None,
    };
    // The calls' thread waits for this lock: nothing is written while it is held.
    let (bindings, found) = {
        let registrar = registrar(&api.desk.registrar);
        let store = registrar.store();
        let mut found: BTreeMap<Aor, Vec<Arc<Binding>>> = BTreeMap::new();
        match only {
            Some(aor) => drop(found.insert(aor.clone(), store.bindings(&aor).to_vec())),
            None => store.visit(&mut |aor, bindings| {
                let wanted = asked.after.as_deref().is_none_or(|after| aor.as_str() > after);
                let last = found.last_key_value().map(|(last, _)| last);
                if wanted && (found.len() <= limit || last.is_some_and(|last| aor < last)) {
                    found.insert(aor.clone(), bindings.to_vec());
                    if found.len() > limit + 1 {
                        found.pop_last();
                    }
                }
            }),
        }
        (store.len(), found)
    };
    let more = found.len() > limit;
    let alive = |binding: &&Arc<Binding>| binding.expires > now;
    let registrations: Vec<Registration> = found
        .iter()
        .take(limit)
        .map(|(aor, bindings)| Registration {
            aor: aor.as_str().to_owned(),
            contacts: bindings.iter().filter(alive).map(|binding| contact(binding, now)).collect(),
        })
        .filter(|registration| !registration.contacts.is_empty())
        .collect();
    let next = found.keys().nth(limit.saturating_sub(1)).filter(|_| more);
    Ok(Json(Registrations { bindings, registrations, next: next.map(|aor| aor.as_str().to_owned()) }))
}

fn contact(binding: &Binding, now: Instant) -> Contact {
    Contact {
        contact: binding.contact_str().into_owned(),
        expires_s: binding.remaining(now).as_secs(),
        q: f64::from(binding.q) / 1_000.0,
        transport: binding.flow.transport.as_str().to_ascii_lowercase(),
        remote: binding.flow.remote.to_string(),
        behind_nat: binding.behind_nat(),
        user_agent: binding.user_agent.to_string(),
    }
}
