//! The HTTP client of menu trees: one POST a question, by HTTP or HTTPS, on a thread of its own.
//!
//! Who is asked is a stranger to the calls: how much is read of an answer, how long that takes and
//! where it leads are limited. A redirect is followed on the same server only: nobody is sent what
//! is meant for another one, and no server makes us ask a third, such as our own control interface.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::app::Applications;
use crate::app::ivr::{AskUrl, Ivr, UrlAnswer, UrlQuestion};
use crate::config::server::ServerConfig;
use crate::sip::net::Tls;
use crate::util::web;

/// Octets of an answer's body.
const LARGEST: usize = 64 << 10;
/// Longest, whoever waits.
const LONGEST: Duration = Duration::from_secs(60);
/// The same for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// An unused connection is closed after this time, and so many are kept for a server.
const KEPT: (Duration, usize) = (Duration::from_secs(30), 8);
/// Redirects that are followed for one question.
const REDIRECTS: usize = 3;
/// Names are looked up by threads; a system that does not answer holds no more of them.
const LOOKUPS: usize = 8;

/// Asks URLs. A handle that can be cloned.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    handle: Handle,
    tls: Tls,
    /// The client in use, and the authorities that it was made for; none: without any.
    client: Mutex<Option<(Option<Arc<ClientConfig>>, Client)>>,
    answered: AtomicU64,
    /// No answer, none in time, or one that is not taken.
    failed: AtomicU64,
}

/// The thread; dropped, it ends, and with it every question.
pub struct HttpClientThread(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl HttpClient {
    /// Starts the thread; servers are checked against the authorities of `tls`.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn start(tls: Tls) -> std::io::Result<(HttpClient, HttpClientThread)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS)
            .thread_keep_alive(CONNECT)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            drop(runtime.block_on(stopped));
            // A name that is still looked up is no reason to wait.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("http-client".into()).spawn(run)?;
        let client = Mutex::default();
        let shared = Shared { handle, tls, client, answered: AtomicU64::new(0), failed: AtomicU64::new(0) };
        Ok((HttpClient(Arc::new(shared)), HttpClientThread(Some((stop, thread)))))
    }

    /// What became of questions.
    pub fn counters(&self) -> [(&'static str, u64); 2] {
        let Shared { answered, failed, .. } = &*self.0;
        [("answered", answered.load(Ordering::Relaxed)), ("failed", failed.load(Ordering::Relaxed))]
    }

    /// Makes the menu trees of a configuration known by their names; this client asks for them.
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
            let (mut reply, answer) = oneshot::channel();
            let asking = shared.clone();
            shared.handle.spawn(async move {
                let answered = tokio::select! {
                    answered = tokio::time::timeout(LONGEST, asking.post(question)) => {
                        answered.unwrap_or_else(|_| Err("no answer".to_owned()))
                    }
                    // Nobody waits any more.
                    () = reply.closed() => Err("too late".to_owned()),
                };
                let count = if answered.is_ok() { &asking.answered } else { &asking.failed };
                count.fetch_add(1, Ordering::Relaxed);
                drop(reply.send(answered));
            });
            answer.await.unwrap_or_else(|_| Err("it was not asked: the HTTP client has ended".to_owned()))
        })
    }
}

impl Shared {
    async fn post(&self, question: UrlQuestion) -> Result<Vec<u8>, String> {
        let url = Url::parse(&question.url).map_err(|error| format!("no URL: {error}"))?;
        let client = self.client(&url).await?;
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
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

    /// The client for this URL: another one once there are other certificates.
    async fn client(&self, url: &Url) -> Result<Client, String> {
        let authorities = match self.tls.client().await {
            Ok(config) => Some(config),
            Err(error) if url.scheme() == "https" => return Err(error.to_string()),
            // Plain HTTP goes without.
            Err(_) => None,
        };
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
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
        _ => attempt.error("it redirects to another server: if that is right, write its URL"),
    }
}

/// Whether both are of one origin, or the second is the first made secure.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && from.host() == to.host();
    upgraded || matches!(to.scheme(), "http" | "https") && from.origin() == to.origin()
}

impl Drop for HttpClientThread {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the HTTP client's thread panicked");
            }
        }
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
