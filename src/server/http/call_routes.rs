//! `GET /routes`: the routes of calls, and the route that a call would take.

use std::net::IpAddr;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use super::guard::Granted;
use crate::config::questions::RouteQuestion;
use crate::explain::explain;

/// The routes of the configuration, in the order in which they are tried.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallRoutes {
    routes: Vec<CallRoute>,
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
struct CallRoute {
    /// Its name, or `#3` for the third.
    name: String,
    /// Its line in the file.
    line: usize,
    /// Its conditions, in words: `called 0(\\d+), class internal`.
    matches: String,
    /// Its targets, in words: `gateway/carrier/+44$1`.
    leads_to: String,
}

/// `GET /routes`
pub async fn list(State(api): State<Api>) -> Json<CallRoutes> {
    let settings = api.admission.current.get();
    let routes = settings.config.routes.iter().map(|route| CallRoute {
        name: route.name.clone(),
        line: route.line,
        matches: route.matches(),
        leads_to: without_passwords(&route.leads_to()),
    });
    Json(CallRoutes { routes: routes.collect() })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The called number.
    called: String,
    /// A user, or a number; `None`: the first user.
    from: Option<String>,
    /// The source address of the call.
    source: Option<IpAddr>,
}

/// The route that a call would take.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    /// As `--explain` prints it: the caller, whether each route matches, and the outcome.
    lines: Vec<String>,
}

/// `GET /routes/explain`
pub async fn ask(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Explained>, Problem> {
    let usage = "the query takes called=<number>, from=<user or number> and source=<address>";
    let Query(Asked { called, from, source }) =
        asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let is_number = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    if !is_number(&called) || from.as_deref().is_some_and(|from| !is_number(from)) {
        return Err(Problem::bad("an empty number, or one with control characters", usage));
    }
    let settings = api.admission.current.get();
    let lines = explain(&settings.config, &RouteQuestion { called, from, address: source });
    // Here, the parameters are those of the query and not flags.
    let of_the_query = |line: &String| line.replace("--from", "from").replace("--source", "source");
    let lines = lines.iter().map(|line| without_passwords(&of_the_query(line)));
    Ok(Json(Explained { lines: lines.collect() }))
}

/// The scopes of the token of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenScopes {
    scopes: Vec<&'static str>,
}

/// `GET /token`
pub async fn token(Extension(granted): Extension<Granted>) -> Json<TokenScopes> {
    Json(TokenScopes { scopes: granted.scopes() })
}

/// The text with `***` for the password in each URI (RFC 3261 §19.1.1).
fn without_passwords(text: &str) -> String {
    let covered = |word: &str| {
        let (before, info) = word.find("sip:").or_else(|| word.find("sips:")).and_then(|at| {
            let from = at + word[at..].find(':')? + 1;
            Some((&word[..from], &word[from..]))
        })?;
        let (user, host) = info.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{before}{name}:***@{host}"))
    };
    let words = text.split(' ').map(|word| covered(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn passwords_of_uris_are_covered() {
        let text = "dial    sip:ann:secret@192.0.2.1:5070, sips:bob@example.com:5061 (to 192.0.2.1:5060)";
        let covered = "dial    sip:ann:***@192.0.2.1:5070, sips:bob@example.com:5061 (to 192.0.2.1:5060)";
        assert_eq!(without_passwords(text), covered);
        assert_eq!(without_passwords("sips:a:b:c@host"), "sips:a:***@host");
    }
}
