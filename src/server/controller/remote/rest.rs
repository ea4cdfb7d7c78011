//! The REST client: JSON over HTTP.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RemoteServer;
use super::door::{LinkError, MOST_OCTETS, PATIENCE};
use super::wire::{Asked, Happenings, Hello, Welcome};
use crate::web::{self, words};

/// Idle time after which a connection is closed, before the server closes it.
const IDLE: Duration = Duration::from_secs(10);

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(server: &RemoteServer) -> Result<Client, LinkError> {
        let mut always = HeaderMap::new();
        if let Some(token) = &server.token {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut bearer =
                bearer.map_err(|_| LinkError::Refused("media.token cannot be sent".to_owned()))?;
            bearer.set_sensitive(true);
            always.insert(AUTHORIZATION, bearer);
        }
        let http = web::client()
            .connect_timeout(PATIENCE)
            .pool_idle_timeout(IDLE)
            .default_headers(always)
            .build()
            .map_err(|error| LinkError::Connect(words(&error)))?;
        Ok(Client { http, base: format!("http://{}/v1/sessions", server.authority) })
    }

    pub async fn begin(&self, hello: &Hello) -> Result<Welcome, LinkError> {
        read(&self.ask(Method::POST, &self.base, Some(body(hello)?)).await?)
    }

    pub async fn obey(&self, session: &str, asked: &Asked) -> Result<Happenings, LinkError> {
        let path = format!("{}/{session}/verbs", self.base);
        read(&self.ask(Method::POST, &path, Some(body(asked)?)).await?)
    }

    pub async fn events(&self, session: &str, from: u64) -> Result<Happenings, LinkError> {
        let path = format!("{}/{session}/events?from={from}", self.base);
        read(&self.ask(Method::GET, &path, None).await?)
    }

    pub async fn end(&self, session: &str) -> Result<(), LinkError> {
        self.ask(Method::DELETE, &format!("{}/{session}", self.base), None).await.map(drop)
    }

    async fn ask(&self, method: Method, url: &str, body: Option<Vec<u8>>) -> Result<Vec<u8>, LinkError> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut answer = request.send().await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let mut octets = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
            if octets.len() + chunk.len() > MOST_OCTETS {
                return Err(LinkError::Answer("it is too long".to_owned()));
            }
            octets.extend_from_slice(&chunk);
        }
        match status {
            _ if status.is_success() => Ok(octets),
            StatusCode::NOT_FOUND => Err(LinkError::NoSession),
            _ => {
                let said: String = String::from_utf8_lossy(&octets).trim().chars().take(200).collect();
                Err(LinkError::Refused(format!("{status} {said}")))
            }
        }
    }
}

fn body<T: Serialize>(value: &T) -> Result<Vec<u8>, LinkError> {
    serde_json::to_vec(value).map_err(|error| LinkError::Answer(error.to_string()))
}

fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, LinkError> {
    serde_json::from_slice(octets).map_err(|error| LinkError::Answer(error.to_string()))
}

fn broken(error: &reqwest::Error) -> LinkError {
    match error.is_connect() {
        true => LinkError::Connect(words(error)),
        false => LinkError::Broken(words(error)),
    }
}
