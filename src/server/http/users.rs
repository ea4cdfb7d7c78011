//! `GET /users`: the configured users, and whether they are registered.

use std::time::Instant;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use crate::in_force::registrar;
use crate::registrar::Aor;

/// Users that are looked up at once.
const LOT: usize = 500;
/// Maximum users in one response.
const MOST: usize = 1_000;
const USUAL: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Only users that are registered, or that are not.
    registered: Option<bool>,
    /// Only users after this one, in the order of the configuration.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of users, in the order of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    /// Number of configured users.
    total: usize,
    users: Vec<User>,
    /// For more, ask with `?after=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A user of the configuration.
#[derive(Debug, Serialize, ToSchema)]
struct User {
    name: String,
    display_name: Option<String>,
    aliases: Vec<String>,
    class: String,
    /// Number of valid contacts; 0: the user is not registered.
    contacts: usize,
}

/// `GET /users`
pub async fn list(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Users>, Problem> {
    let usage = "the query takes registered=true or false, after= and limit=";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let limit = asked.limit.unwrap_or(USUAL).clamp(1, MOST);
    let now = Instant::now();
    let settings = api.admission.current.get();
    let all = &settings.config.users;
    let begin = match &asked.after {
        None => 0,
        Some(name) => match all.iter().position(|user| user.name == *name) {
            Some(at) => at + 1,
            None => {
                return Err(Problem::bad(
                    format!("there is no user {name:?}"),
                    "use `next` of the last response",
                ));
            }
        },
    };
    let mut users: Vec<User> = Vec::new();
    for lot in all.get(begin..).unwrap_or_default().chunks(LOT) {
        let aors: Vec<_> = lot.iter().map(|user| settings.directory.aor(user)).collect();
        let contacts: Vec<usize> = {
            // The calls' thread waits for this lock.
            let registrar = registrar(&api.admission.registrar);
            let store = registrar.store();
            let alive = |aor: &Aor| store.bindings(aor).iter().filter(|it| it.expires > now).count();
            aors.iter().map(|aor| aor.as_ref().map_or(0, alive)).collect()
        };
        let counted = lot.iter().zip(contacts);
        let wanted = counted.filter(|(_, contacts)| asked.registered.is_none_or(|it| it == (*contacts > 0)));
        users.extend(wanted.take(limit + 1 - users.len()).map(|(user, contacts)| User {
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            aliases: user.aliases.clone(),
            class: user.class.clone(),
            contacts,
        }));
        if users.len() > limit {
            break;
        }
    }
    let more = users.len() > limit;
    users.truncate(limit);
    let next = users.last().map(|user| user.name.clone()).filter(|_| more);
    Ok(Json(Users { total: all.len(), users, next }))
}
