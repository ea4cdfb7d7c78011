//! Who may ask: whoever has the token; without one whoever is on this machine, but no
//! web page that a browser here has open.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ctutils::CtEq;
use sha2::{Digest, Sha256};

use super::answer::Problem;
use crate::config::server::Secret;

/// Needs no token: it says nothing but whether calls are taken.
const OPEN: &str = "/healthz";
/// What stands before a token, in base64url, among the subprotocols of a WebSocket.
const PROTOCOL: &str = "bearer.";

/// What is asked of requests.
pub struct Guard {
    /// As a hash: comparing says nothing of its length either.
    token: Option<[u8; 32]>,
}

impl Guard {
    pub fn new(token: Option<&Secret>) -> Self {
        Guard { token: token.map(|token| Sha256::digest(token.reveal().as_bytes()).into()) }
    }

    fn admits(&self, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        // A page of another site, in a browser of somebody who can reach us.
        if let Some(origin) = headers.get(ORIGIN)
            && text(headers, &HOST) != origin.to_str().ok().and_then(|it| Some(it.split_once("://")?.1))
        {
            let fix = "ask from a program, or from a page that b2b itself would have served";
            return Err(Problem::new(StatusCode::FORBIDDEN, "another site's page may not ask", fix));
        }
        match &self.token {
            Some(_) if path == OPEN || super::page::is_file(path) => Ok(()),
            None if path == OPEN => Ok(()),
            Some(token) => {
                let given: [u8; 32] = Sha256::digest(given(headers).as_bytes()).into();
                if bool::from(given.ct_eq(token)) {
                    return Ok(());
                }
                let fix = "send the header field `Authorization: Bearer <token>` with http.token";
                Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong", fix))
            }
            // A name that an attacker lets point here (DNS rebinding) is in Host.
            None if text(headers, &HOST).is_none_or(is_this_machine) => Ok(()),
            None => {
                let fix = "ask for 127.0.0.1, [::1] or localhost, or set http.token";
                Err(Problem::new(StatusCode::FORBIDDEN, "Host names another machine", fix))
            }
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The token of a request. A browser's WebSocket has no header fields that a page could set: it
/// brings the token as a subprotocol.
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

/// Lets a request through, or answers it.
pub async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.admits(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let challenge = problem.status == StatusCode::UNAUTHORIZED;
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
        guard.admits("/calls", &headers.collect()).map_err(|problem| problem.status)
    }

    #[test]
    fn the_token_is_needed_whole_and_right() {
        let guard = Guard::new(Some(&Secret::new("right")));
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
        assert!(guard.admits(OPEN, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn a_web_socket_brings_the_token_as_a_subprotocol_and_the_page_needs_none() {
        let guard = Guard::new(Some(&Secret::new("right/é?")));
        let brings = |value| asked(&guard, &[(HOST, "b2b.example"), (SEC_WEBSOCKET_PROTOCOL, value)]);
        assert_eq!(brings("b2b.events, bearer.cmlnaHQvw6k_"), Ok(()));
        for wrong in
            ["b2b.events", "bearer.", "bearer.cmlnaHQ", "bearer.!", "cmlnaHQvw6k_", "bearer.cmlnaHQvw6k_x"]
        {
            assert_eq!(brings(wrong), Err(StatusCode::UNAUTHORIZED), "{wrong}");
        }
        for (path, open) in [("/", true), ("/page/main.js", true), ("/page", false), ("/page/x.js", false)] {
            assert_eq!(guard.admits(path, &HeaderMap::new()).is_ok(), open, "{path}");
        }
        // Not even the page is for a name that somebody else lets point here.
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("evil.example"))]);
        assert!(Guard::new(None).admits("/", &headers).is_err());
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_taken() {
        let guard = Guard::new(None);
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
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let (ours, theirs) = ("http://127.0.0.1:8080", "https://evil.example");
        let guard = Guard::new(None);
        assert_eq!(asked(&guard, &[(HOST, "127.0.0.1:8080"), (ORIGIN, ours)]), Ok(()));
        for origin in [theirs, "null", "http://127.0.0.1:9090"] {
            let result = asked(&guard, &[(HOST, "127.0.0.1:8080"), (ORIGIN, origin)]);
            assert_eq!(result, Err(StatusCode::FORBIDDEN), "{origin}");
        }
    }
}
