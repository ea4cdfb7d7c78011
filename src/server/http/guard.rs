//! Access control: clients need the token; where none is required, only clients on this machine are admitted,
//! but no web page open in a browser here, and no client of a proxy here.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, FORWARDED, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, VIA, WWW_AUTHENTICATE,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ctutils::CtEq;
use sha2::{Digest, Sha256};

use super::answer::Problem;
use super::connections::Proof;
use super::source::Source;
use crate::config::Secret;
use crate::config::tokens::{Scope, Scopes, Token};
use b2b_sip::known::KnownSources;
use b2b_sip::net::budget::{Rate, SourceBudget};

/// Requires no token: it only says whether calls are taken.
const OPEN: &str = "/healthz";
/// Prefix of a token, in base64url, among the subprotocols of a WebSocket.
const PROTOCOL: &str = "bearer.";
/// Header fields that proxies add about their clients (RFC 7239, RFC 9110 §7.6.3, custom). Not all proxies
/// add them: this is a second barrier, for a server that requires no token.
const OF_PROXIES: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// The access rules for requests.
pub struct Guard {
    tokens: Vec<Known>,
    /// Wrong tokens by source, and when guesses are next told.
    wrong: Mutex<(SourceBudget, Instant)>,
}

/// Wrong tokens of a source that are answered at once; further ones wait for this pause.
const WRONG: Rate = Rate { per_second: 1, burst: 10 };
const PAUSE: Duration = Duration::from_secs(1);
/// Sources with a count of their own.
const SOURCES: usize = 1_024;
/// Minimum interval between two lines about guesses.
const TOLD: Duration = Duration::from_secs(60);

struct Known {
    /// A hash, so that the comparison does not even reveal the length.
    hash: [u8; 32],
    scopes: Granted,
}

/// The scopes of the token of a request, and its name; a token with all rights has none.
#[derive(Debug, Clone)]
pub struct Granted(Arc<(Scopes, String)>);

impl Granted {
    fn new(scopes: Scopes, name: &str) -> Self {
        Granted(Arc::new((scopes, name.to_owned())))
    }

    /// The name of the token in the configuration.
    pub fn name(&self) -> &str {
        &self.0.1
    }

    /// Checks for a scope.
    ///
    /// # Errors
    /// If the token does not have it: 403, with the scope required.
    pub fn needs(&self, scope: Scope) -> Result<(), Problem> {
        if self.0.0.has(scope) {
            return Ok(());
        }
        let error = format!("the token has no scope {:?}", scope.as_str());
        let fix = format!("use a token with the scope {:?}; see [[http.tokens]]", scope.as_str());
        Err(Problem::new(StatusCode::FORBIDDEN, error, fix))
    }
}

/// The digits that a token may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// None.
    Hidden,
    /// Those that commands have collected: the token may collect them itself.
    Collected,
    /// All that are not secret.
    Shown,
}

impl Granted {
    /// Whether it has any scope.
    fn is_some(&self) -> bool {
        self.0.0 != Scopes::of(&[])
    }

    /// The names of its scopes.
    pub fn scopes(&self) -> Vec<&'static str> {
        self.0.0.names()
    }

    /// The pressed digits that it may see: they are content of a call.
    pub fn keys(&self) -> Keys {
        match () {
            () if self.0.0.has(Scope::Audio) || self.0.0.has(Scope::Record) => Keys::Shown,
            () if self.0.0.has(Scope::Calls) => Keys::Collected,
            () => Keys::Hidden,
        }
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

impl Guard {
    /// For `http.token`, which has full access, and the other tokens.
    pub fn new(token: Option<&Secret>, others: &[Token]) -> Self {
        let all = token.map(|token| (token, Granted::new(Scopes::all(), "")));
        let others = others.iter().map(|it| (&it.secret, Granted::new(it.scopes.clone(), &it.name)));
        let known = |(secret, scopes): (&Secret, Granted)| Known { hash: hash(secret.reveal()), scopes };
        let now = Instant::now();
        let budget = SourceBudget::new(now, WRONG, SOURCES, KnownSources::default());
        let wrong = Mutex::new((budget, now));
        Guard { tokens: all.into_iter().chain(others).map(known).collect(), wrong }
    }

    /// A wrong token has come. `true`: its source guesses, and waits for the answer.
    fn is_guessed(&self, now: Instant, source: IpAddr) -> bool {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (budget, told) = &mut *wrong;
        if budget.admit(now, source) {
            return false;
        }
        if now >= *told {
            *told = now + TOLD;
            tracing::warn!(
                "HTTP interface: {source} has sent more than {} wrong tokens; each further one is answered a \
                 second later. If that is no program of yours, let a firewall keep it out",
                WRONG.burst
            );
        }
        true
    }

    /// `authority` takes the place of Host in an HTTP/2 request without it (RFC 9113 §8.3.1).
    fn admits(&self, path: &str, authority: Option<&str>, headers: &HeaderMap) -> Result<Granted, Problem> {
        let host = authority.or(text(headers, &HOST));
        // A page of another site, in a browser of a user who can reach us.
        if let Some(origin) = headers.get(ORIGIN)
            && host != origin.to_str().ok().and_then(|it| Some(it.split_once("://")?.1))
        {
            let fix = "use a program, or a page that b2b itself serves";
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "requests from pages of other sites are refused",
                fix,
            ));
        }
        let bare = path == OPEN || !self.tokens.is_empty() && super::page::is_file(path);
        if bare {
            return Ok(Granted::new(Scopes::of(&[]), ""));
        }
        if !self.tokens.is_empty() {
            let given = hash(&given(headers));
            // All tokens are compared, so that the time reveals nothing.
            let mut found = None;
            for known in &self.tokens {
                if bool::from(known.hash.ct_eq(&given)) {
                    found = Some(known);
                }
            }
            return found.map(|known| known.scopes.clone()).ok_or_else(|| {
                let fix = "send the header field `Authorization: Bearer <token>` with http.token";
                Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong", fix)
            });
        }
        if OF_PROXIES.iter().any(|name| headers.contains_key(name)) {
            let fix = "take token = \"off\" out of [http]: b2b makes a token, and requests have to carry it";
            let error = "the request comes through a proxy, and no token is required";
            return Err(Problem::new(StatusCode::FORBIDDEN, error, fix));
        }
        // In DNS rebinding, Host has an attacker's name that resolves to this machine.
        if host.is_none_or(is_this_machine) {
            return Ok(Granted::new(Scopes::all(), ""));
        }
        let fix =
            "use 127.0.0.1, [::1] or localhost, or require a token: remove token = \"off\" out of [http]";
        Err(Problem::new(StatusCode::FORBIDDEN, "the Host header names another machine", fix))
    }
}

/// Passes a request on if its token has this scope.
pub async fn scoped(State(scope): State<Scope>, request: Request, next: Next) -> Response {
    let granted = request.extensions().get::<Granted>().map(|granted| granted.needs(scope));
    match granted {
        Some(Ok(())) => next.run(request).await,
        Some(Err(problem)) => problem.into_response(),
        // The token was not checked, by a mistake of ours: access is denied.
        None => Problem::stopping().into_response(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The token of a request. A page cannot set header fields of a browser's WebSocket, so it sends the token as
/// a subprotocol.
fn given(headers: &HeaderMap) -> String {
    if let Some(token) = text(headers, &AUTHORIZATION).and_then(bearer) {
        return token.to_owned();
    }
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let token = offered.flat_map(|value| value.split(',')).find_map(|it| it.trim().strip_prefix(PROTOCOL));
    let octets = token.and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok());
    octets.and_then(|octets| String::from_utf8(octets).ok()).unwrap_or_default()
}

/// The credentials of the scheme Bearer (RFC 6750 §2.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn is_this_machine(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|rest| Some(rest.split_once(']')?.0));
    let name = bracketed.unwrap_or_else(|| host.split_once(':').map_or(host, |(name, _)| name));
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Passes a request on, or refuses it.
pub async fn check(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    match guard.admits(request.uri().path(), authority, request.headers()) {
        Ok(granted) => {
            // A request that requires no token proves nothing.
            if let Some(proof) = request.extensions().get::<Proof>().filter(|_| granted.is_some()) {
                proof.give();
            }
            request.extensions_mut().insert(granted);
            next.run(request).await
        }
        Err(problem) => {
            if let Some(Source(source)) = request.extensions().get() {
                tracing::debug!("HTTP interface: request from {source} refused: {}", problem.error);
            }
            let challenge = problem.status == StatusCode::UNAUTHORIZED;
            let source = request.extensions().get().map(|Source(source)| *source);
            let guess = source.filter(|_| challenge && !given(request.headers()).is_empty());
            if guess.is_some_and(|source| guard.is_guessed(Instant::now(), source)) {
                tokio::time::sleep(PAUSE).await;
            }
            let mut response = problem.into_response();
            if challenge {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(guard: &Guard, fields: &[(HeaderName, &'static str)]) -> Result<(), StatusCode> {
        let headers = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        guard.admits("/calls", None, &headers.collect()).map(drop).map_err(|problem| problem.status)
    }

    #[test]
    fn the_token_is_needed_whole_and_right() {
        let guard = Guard::new(Some(&Secret::new("right")), &[]);
        for (value, admitted) in [
            ("Bearer right", true),
            ("bearer right", true),
            ("Bearer wrong", false),
            ("Bearer righ", false),
            ("Bearer rightx", false),
            ("Basic right", false),
            ("right", false),
            ("Bearer ", false),
        ] {
            let result = asked(&guard, &[(HOST, "b2b.example"), (AUTHORIZATION, value)]);
            assert_eq!(result.is_ok(), admitted, "{value}: {result:?}");
        }
        assert_eq!(asked(&guard, &[]), Err(StatusCode::UNAUTHORIZED));
        assert!(guard.admits(OPEN, None, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn who_guesses_tokens_waits_and_others_do_not() {
        let guard = Guard::new(Some(&Secret::new("right")), &[]);
        let (now, [one, other]) = (Instant::now(), ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap()));
        let waits = |source, at| guard.is_guessed(at, source);
        assert_eq!((0..100).filter(|_| waits(one, now)).count(), 90);
        assert!(!waits(other, now));
        assert!(!waits(one, now + Duration::from_secs(1)) && waits(one, now + Duration::from_secs(1)));
    }

    #[test]
    fn a_web_socket_brings_the_token_as_a_subprotocol_and_the_page_needs_none() {
        let guard = Guard::new(Some(&Secret::new("right/é?")), &[]);
        let brings = |value| asked(&guard, &[(HOST, "b2b.example"), (SEC_WEBSOCKET_PROTOCOL, value)]);
        assert_eq!(brings("b2b.events, bearer.cmlnaHQvw6k_"), Ok(()));
        for wrong in
            ["b2b.events", "bearer.", "bearer.cmlnaHQ", "bearer.!", "cmlnaHQvw6k_", "bearer.cmlnaHQvw6k_x"]
        {
            assert_eq!(brings(wrong), Err(StatusCode::UNAUTHORIZED), "{wrong}");
        }
        for (path, open) in [("/", true), ("/page/main.js", true), ("/page", false), ("/page/x.js", false)] {
            assert_eq!(guard.admits(path, None, &HeaderMap::new()).is_ok(), open, "{path}");
        }
        // The page is refused, too, for a name that an attacker lets point here.
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("evil.example"))]);
        assert!(Guard::new(None, &[]).admits("/", None, &headers).is_err());
    }

    #[test]
    fn a_token_may_do_what_its_scopes_say_and_no_more() {
        let reader = Token {
            name: "reader".to_owned(),
            secret: Secret::new("look"),
            scopes: Scopes::of(&[Scope::Read, Scope::Agents]),
        };
        let guard = Guard::new(Some(&Secret::new("right")), &[reader]);
        let granted = |token: &'static str| {
            let headers = [(AUTHORIZATION, HeaderValue::from_static(token))];
            guard.admits("/calls", None, &headers.into_iter().collect()).expect("known")
        };
        let all = granted("Bearer right");
        let some = granted("Bearer look");
        for scope in Scope::NAMED.all() {
            assert!(all.needs(scope).is_ok(), "{scope:?}");
            let may = matches!(scope, Scope::Read | Scope::Agents);
            assert_eq!(some.needs(scope).is_ok(), may, "{scope:?}");
        }
        let refused = some.needs(Scope::Calls).expect_err("refused");
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.fix.contains("\"calls\""), "{}", refused.fix);
        assert_eq!(asked(&guard, &[(AUTHORIZATION, "Bearer other")]), Err(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_taken() {
        let guard = Guard::new(None, &[]);
        for (host, admitted) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("evil.example:8080", false),
            ("192.0.2.1:8080", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(asked(&guard, &[(HOST, host)]).is_ok(), admitted, "{host}");
            let by_http2 = guard.admits("/calls", Some(host), &HeaderMap::new());
            assert_eq!(by_http2.is_ok(), admitted, "{host} by HTTP/2");
        }
    }

    #[test]
    fn without_a_token_nobody_comes_through_a_proxy() {
        let open = Guard::new(None, &[]);
        let closed = Guard::new(Some(&Secret::new("right")), &[]);
        for name in OF_PROXIES {
            let fields =
                [(HOST, "127.0.0.1:8080"), (name.clone(), "192.0.2.1"), (AUTHORIZATION, "Bearer right")];
            assert_eq!(asked(&open, &fields), Err(StatusCode::FORBIDDEN), "{name}");
            assert_eq!(asked(&closed, &fields), Ok(()), "{name}");
            // A load balancer asks through a proxy.
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("192.0.2.1"))]);
            assert!(open.admits(OPEN, None, &headers).is_ok());
            assert!(open.admits("/", None, &headers).is_err());
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let (ours, theirs) = ("http://127.0.0.1:8080", "https://evil.example");
        let guard = Guard::new(None, &[]);
        assert_eq!(asked(&guard, &[(HOST, "127.0.0.1:8080"), (ORIGIN, ours)]), Ok(()));
        for origin in [theirs, "null", "http://127.0.0.1:9090"] {
            let result = asked(&guard, &[(HOST, "127.0.0.1:8080"), (ORIGIN, origin)]);
            assert_eq!(result, Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }
}
