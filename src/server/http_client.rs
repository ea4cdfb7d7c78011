//! The HTTP client of menu trees and of voice agents' webhooks: one POST per query, by HTTP or HTTPS, on a thread for each web server, so
//! that a server that sends without end delays only its own queries.
//!
//! The servers are not trusted: the size and duration of a response and the targets of redirects are limited.
//! A redirect is followed on the same server only: data meant for one server is not sent to another, and no
//! server makes us query a third one, such as our own control interface.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::ServerConfig;
use crate::web;
use b2b_app::Applications;
use b2b_app::ivr::{AskUrl, Ivr, JSON, UrlAnswer, UrlQuestion};
use b2b_sip::net::Tls;

/// Error text when no request was sent.
const ENDED: &str = "not requested: the server is stopping";
/// Maximum octets of a response body.
const LARGEST: usize = 64 << 10;
/// Maximum duration of a query, whatever its caller allows.
const LONGEST: Duration = Duration::from_secs(60);
/// Maximum duration of connection set-up.
const CONNECT: Duration = Duration::from_secs(10);
/// Idle time after which an unused connection is closed, and how many are kept per server.
const KEPT: (Duration, usize) = (Duration::from_secs(30), 8);
/// Maximum redirects followed per query.
const REDIRECTS: usize = 3;
/// Maximum lookup threads: names are looked up by threads, and an unresponsive resolver holds no more than
/// these.
const LOOKUPS: usize = 8;

/// Maximum web servers with a thread of their own; further servers share these threads.
const WORKERS: usize = 32;

/// Queries URLs. A handle that can be cloned.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    tls: Tls,
    workers: Mutex<Workers>,
    answered: AtomicU64,
    /// No response, none in time, or one that is not accepted.
    failed: AtomicU64,
}

#[derive(Default)]
struct Workers {
    /// Index of a worker, by the origin of the server's URL.
    of: HashMap<String, usize>,
    all: Vec<(Worker, oneshot::Sender<()>)>,
    /// No further workers are started.
    over: bool,
}

/// A thread, and the client that its queries use.
#[derive(Clone)]
struct Worker {
    handle: Handle,
    client: Arc<Mutex<Kept>>,
}

/// The client in use, and the certificate authorities that it was built for; `None`: without any.
type Kept = Option<(Option<Arc<ClientConfig>>, Client)>;

/// The threads; dropping this ends them and every query with them.
pub struct HttpClientThreads(Arc<Shared>);

impl HttpClient {
    /// Servers are verified against the authorities of `tls`. Threads start with their first query.
    pub fn new(tls: Tls) -> (HttpClient, HttpClientThreads) {
        let shared =
            Shared { tls, workers: Mutex::default(), answered: AtomicU64::new(0), failed: AtomicU64::new(0) };
        let shared = Arc::new(shared);
        (HttpClient(shared.clone()), HttpClientThreads(shared))
    }

    /// Numbers of answered and failed queries.
    pub fn counters(&self) -> [(&'static str, u64); 2] {
        let Shared { answered, failed, .. } = &*self.0;
        [("answered", answered.load(Ordering::Relaxed)), ("failed", failed.load(Ordering::Relaxed))]
    }

    /// Registers the menu trees of a configuration by their names; they query through this client.
    pub fn enlist(&self, apps: &Applications, config: &ServerConfig) {
        for flow in &config.apps.ivrs {
            let ivr = Ivr::new(flow.clone(), config.apps.prompts.clone());
            apps.add(Arc::new(ivr.with_urls(Arc::new(self.clone()))));
        }
    }
}

impl AskUrl for HttpClient {
    fn ask(&self, question: UrlQuestion) -> UrlAnswer {
        let shared = self.0.clone();
        Box::pin(async move {
            let url = Url::parse(&question.url).map_err(|error| format!("no URL: {error}"))?;
            let worker = shared.worker(&url)?;
            let (mut reply, answer) = oneshot::channel();
            let (asking, handle) = (shared.clone(), worker.handle.clone());
            handle.spawn(async move {
                let answered = tokio::select! {
                    answered = tokio::time::timeout(LONGEST, asking.post(&worker, url, question)) => {
                        answered.unwrap_or_else(|_| Err("no answer".to_owned()))
                    }
                    // The query's caller waits no longer.
                    () = reply.closed() => Err("too late".to_owned()),
                };
                let count = if answered.is_ok() { &asking.answered } else { &asking.failed };
                count.fetch_add(1, Ordering::Relaxed);
                drop(reply.send(answered));
            });
            answer.await.unwrap_or_else(|_| Err(ENDED.to_owned()))
        })
    }
}

impl Worker {
    fn start() -> std::io::Result<(Worker, oneshot::Sender<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS)
            .thread_keep_alive(CONNECT)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            drop(runtime.block_on(stopped));
            // A name that is still being looked up is no reason to wait.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("http-client".into()).spawn(run)?;
        Ok((Worker { handle, client: Arc::default() }, stop))
    }
}

impl Shared {
    /// Finds or starts the worker for a URL's server.
    fn worker(&self, url: &Url) -> Result<Worker, String> {
        let mut workers = self.workers();
        if workers.over {
            return Err(ENDED.to_owned());
        }
        let server = url.origin().ascii_serialization();
        let at = match workers.of.get(&server) {
            Some(at) => *at,
            None if workers.all.len() < WORKERS => {
                let worker = Worker::start().map_err(|error| format!("no thread to ask it: {error}"))?;
                workers.all.push(worker);
                let at = workers.all.len() - 1;
                workers.of.insert(server, at);
                at
            }
            None => server.bytes().map(usize::from).sum::<usize>() % WORKERS,
        };
        workers.all.get(at).map(|(worker, _)| worker.clone()).ok_or_else(|| ENDED.to_owned())
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        // A panic elsewhere leaves the data behind this lock consistent.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn post(&self, worker: &Worker, url: Url, question: UrlQuestion) -> Result<Vec<u8>, String> {
        let client = self.client(worker, &url).await?;
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, question.media_type)
            .header(ACCEPT, if question.media_type == JSON { JSON } else { "*/*" })
            .body(question.body);
        for (name, value) in &question.fields {
            let unsent = || format!("its header field {name} cannot be sent");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsent())?;
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| unsent())?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let mut answer = request.send().await.map_err(|error| web::words(&error))?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut body = Vec::new();
        let too_long = || Err(format!("an answer of more than {LARGEST} octets"));
        if answer.content_length().is_some_and(|length| length > LARGEST as u64) {
            return too_long();
        }
        while let Some(chunk) = answer.chunk().await.map_err(|error| web::words(&error))? {
            if body.len() + chunk.len() > LARGEST {
                return too_long();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The client for this URL; it is rebuilt when the certificates have changed.
    async fn client(&self, worker: &Worker, url: &Url) -> Result<Client, String> {
        let authorities = match self.tls.client().await {
            Ok(config) => Some(config),
            Err(error) if url.scheme() == "https" => return Err(error.to_string()),
            // Plain HTTP needs none.
            Err(_) => None,
        };
        let mut kept = worker.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, client)) = &*kept
            && of.as_ref().map(Arc::as_ptr) == authorities.as_ref().map(Arc::as_ptr)
        {
            return Ok(client.clone());
        }
        let mut builder = web::client()
            .user_agent(concat!("b2b/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(KEPT.0)
            .pool_max_idle_per_host(KEPT.1)
            .redirect(Policy::custom(follow));
        if let Some(config) = &authorities {
            builder = builder.tls_backend_preconfigured(ClientConfig::clone(config));
        }
        let client = builder.build().map_err(|error| web::words(&error))?;
        *kept = Some((authorities, client.clone()));
        Ok(client)
    }
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS {
        return attempt.error(format!("it redirects more than {REDIRECTS} times"));
    }
    match attempt.previous().last() {
        Some(from) if is_same_server(from, attempt.url()) => attempt.follow(),
        _ => attempt.error("it redirects to another server; if that is intended, write that server's URL"),
    }
}

/// Whether both have the same origin, or the second is the first upgraded to HTTPS.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host();
    upgraded || matches!(to.scheme(), "http" | "https") && from.origin() == to.origin()
}

impl Drop for HttpClientThreads {
    /// The threads are not joined: a server that sends without end would block that.
    fn drop(&mut self) {
        let mut workers = self.0.workers();
        workers.over = true;
        workers.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_its_server() {
        let same = |from, to| is_same_server(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
        assert!(same("http://h/a", "http://h:80/b?c"));
        assert!(same("http://h/a", "https://h/a"));
        for to in ["http://h:8080/calls", "http://other/", "ftp://h/", "file:///etc/passwd", "https://o/"] {
            assert!(!same("http://h/a", to), "{to}");
        }
        assert!(!same("https://h:8443/", "http://h:8443/"), "a token is not sent in the clear");
    }
}
