//! Registered users.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use crate::in_force::registrar;
use crate::registrar::{Aor, Binding, LocationStore};

/// Maximum addresses of record in one response.
const MOST: usize = 1_000;
const USUAL: usize = 100;

type Page = Vec<(Aor, Vec<Arc<Binding>>)>;

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// Only this user, by name or alias.
    user: Option<String>,
    /// Only addresses of record after this one.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of registrations.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registrations {
    /// Number of bindings in total.
    bindings: usize,
    registrations: Vec<Registration>,
    /// For more, ask with `?after=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Registration {
    aor: String,
    contacts: Vec<Contact>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Contact {
    contact: String,
    expires_s: u64,
    q: f64,
    transport: String,
    /// The source address of the registration, before any proxy of ours.
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
    let settings = api.admission.current.get();
    let only = match &asked.user {
        Some(name) => match settings.directory.user(name).and_then(|user| settings.directory.aor(user)) {
            Some(aor) => Some(aor),
            None => {
                return Err(Problem::missing(format!("there is no user {name:?}"), "see [[user]]"));
            }
        },
        None => None,
    };
    // The calls' thread waits for this lock: nothing is serialized while it is held.
    let (bindings, (found, more)) = {
        let registrar = registrar(&api.admission.registrar);
        let store = registrar.store();
        let found = match only {
            Some(aor) => (vec![(aor.clone(), store.bindings(&aor).to_vec())], false),
            None => page(store, asked.after.as_deref().unwrap_or_default(), limit),
        };
        (store.len(), found)
    };
    let alive = |binding: &&Arc<Binding>| binding.expires > now;
    let registrations: Vec<Registration> = found
        .iter()
        .map(|(aor, bindings)| Registration {
            aor: aor.as_str().to_owned(),
            contacts: bindings.iter().filter(alive).map(|binding| contact(binding, now)).collect(),
        })
        .filter(|registration| !registration.contacts.is_empty())
        .collect();
    let next = found.last().filter(|_| more).map(|(aor, _)| aor.as_str().to_owned());
    Ok(Json(Registrations { bindings, registrations, next }))
}

/// Up to `limit` addresses of record after this one, in order, and whether there are more.
fn page(store: &dyn LocationStore, after: &str, limit: usize) -> (Page, bool) {
    let (mut found, mut more) = (Vec::with_capacity(limit), false);
    store.visit_behind(after, &mut |aor, bindings| {
        if found.len() == limit {
            more = true;
            return ControlFlow::Break(());
        }
        found.push((aor.clone(), bindings.to_vec()));
        ControlFlow::Continue(())
    });
    (found, more)
}

fn contact(binding: &Binding, now: Instant) -> Contact {
    Contact {
        contact: binding.contact_str().into_owned(),
        expires_s: binding.remaining(now).as_secs(),
        q: f64::from(binding.q) / 1_000.0,
        transport: binding.flow.transport.as_str().to_ascii_lowercase(),
        remote: binding.source.to_string(),
        behind_nat: binding.behind_nat(),
        user_agent: binding.user_agent.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registrar::{BindingFlow, BindingId, Change, MemoryStore, SentBy};
    use b2b_sip::endpoint::Transport;

    fn aor(user: u64) -> Aor {
        Aor::new(&format!("{user:04}"), "b2b.example").unwrap()
    }

    fn binding(id: u64) -> Arc<Binding> {
        let address = "192.0.2.7:5060".parse().unwrap();
        Arc::new(Binding {
            id: BindingId(id),
            contact: (*b"sip:phone@192.0.2.7").into(),
            params: Box::default(),
            q: 1_000,
            expires: Instant::now() + Duration::from_secs(60),
            call_id: Box::default(),
            cseq: 1,
            path: Box::default(),
            flow: BindingFlow { transport: Transport::Udp, local: address, remote: address, id: None },
            source: address,
            sent_by: SentBy::Source,
            instance: None,
            reg_id: None,
            user_agent: "".into(),
        })
    }

    #[test]
    fn pages_in_their_order_have_everybody_once_while_others_come_and_go() {
        let mut store = MemoryStore::new();
        // Out of order, two contacts each, and every tenth removed again.
        for user in (0..1_000).map(|index| index * 619 % 1_000) {
            store.apply(&aor(user), vec![Change::Put(binding(2 * user)), Change::Put(binding(2 * user + 1))]);
        }
        for user in (0..1_000).step_by(10) {
            store.apply(&aor(user), vec![Change::Remove(BindingId(2 * user))]);
            store.apply(&aor(user), vec![Change::Remove(BindingId(2 * user + 1))]);
        }
        let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (found, more) = page(&store, &after, 100);
            pages += 1;
            after = found.last().map(|(aor, _)| aor.to_string()).unwrap_or_default();
            assert!(found.iter().all(|(_, bindings)| bindings.len() == 2));
            seen.extend(found.into_iter().map(|(aor, _)| aor));
            // The next page begins after an address of record that may be gone by then.
            let last: Aor = after.parse().unwrap();
            let gone = store.bindings(&last).iter().map(|it| Change::Remove(it.id)).collect();
            if pages % 2 == 0 {
                store.apply(&last, gone);
            }
            if !more {
                break;
            }
        }
        assert_eq!(pages, 9);
        assert_eq!(seen, (0..1_000).filter(|user| user % 10 != 0).map(aor).collect::<Vec<_>>());
        let two: Vec<Aor> = page(&store, "0995", 2).0.into_iter().map(|(aor, _)| aor).collect();
        assert_eq!(two, [aor(995), aor(996)], "behind any text");
    }
}
