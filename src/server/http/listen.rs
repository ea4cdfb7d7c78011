//! Connections: their number, and their timeouts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::connections::{ConnectionCounters, Places, Proof};
use super::source::{self, Source};
use b2b_sip::known::KnownSources;

/// Maximum simultaneous connections.
const CONNECTIONS: usize = 2_000;
/// Maximum time for the head of a request, and idle time between requests.
const HEAD: Duration = Duration::from_secs(20);
/// Maximum time that sent data may stay unacknowledged, ms.
const UNREAD_MS: u32 = 60_000;
/// Maximum octets of a request's head.
const HEAD_BYTES: usize = 32 * 1_024;
/// Maximum octets that a connection may have read ahead.
const READ_AHEAD: usize = 64 * 1_024;
/// Time that subscribers get for the last messages.
const PARTING: Duration = Duration::from_millis(100);
/// Pause when the system has no descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves, behind trusted web proxies and with priority for known sources, until it is told to stop, or its
/// controller is dropped.
pub async fn run(
    listener: std::net::TcpListener,
    router: Router,
    known: KnownSources,
    trusted: Arc<[IpNet]>,
    counters: ConnectionCounters,
    stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the HTTP interface cannot accept connections: {error}"),
    };
    let places = Places::new(CONNECTIONS, known, counters);
    tokio::select! {
        _ = stopped => tokio::time::sleep(PARTING).await,
        () = accept(listener, places, |stream, proof| serve(stream, router.clone(), trusted.clone(), UNREAD_MS, proof)) => {}
    }
}

/// Accepts connections while there are slots, until it is dropped.
pub(crate) async fn accept<F>(listener: TcpListener, places: Places, serve: impl Fn(TcpStream, Proof) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let Some((place, over)) = places.take(Instant::now(), from.ip()) else {
                    // Closed without a response: otherwise a client that takes all slots would get one for
                    // each.
                    continue;
                };
                let served = serve(stream, place.proof.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = served => {}
                        _ = over => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("a connection is not accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, trusted: Arc<[IpNet]>, unread_ms: u32, proof: Proof) {
    let Ok(peer) = stream.peer_addr() else { return };
    // Responses are written whole, so Nagle's algorithm gains nothing.
    let _ = stream.set_nodelay(true);
    // A response does not wait forever for a client that never reads it.
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &unread_ms);
    let router = proof.by_requests(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let source = source::of(peer.ip(), request.headers(), &trusted);
        request.extensions_mut().insert(Source(source));
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the HTTP interface: {error}");
    }
}

#[cfg(test)]
mod tests {
    use axum::middleware;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::guard::{self, Guard};
    use super::*;
    use crate::config::Secret;

    #[tokio::test]
    async fn a_request_is_answered_while_silent_connections_hold_every_place_that_they_get() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", get(|| async { "well" }));
        let places = Places::new(16, KnownSources::default(), ConnectionCounters::default());
        let serve = move |stream, proof| serve(stream, router.clone(), Arc::default(), 500, proof);
        tokio::spawn(accept(listener, places, serve));
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(address).await.expect("the server"));
        }
        let asked = async {
            let mut client = TcpStream::connect(address).await.expect("the server");
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await
                .expect("written");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        // Before the silent connections time out, after `HEAD`.
        let answer = tokio::time::timeout(HEAD * 3 / 4, asked).await.expect("it does not wait for them");
        assert!(answer.ends_with("well"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_with_the_token_is_answered_while_others_without_it_ask_on_every_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        let guard = Arc::new(Guard::new(Some(&Secret::new("right")), &[]));
        let router = Router::new().route("/calls", get(|| async { "well" }));
        let router = router.route("/healthz", get(|| async { "alive" }));
        let router = router.layer(middleware::from_fn_with_state(guard, guard::check));
        let serve = move |stream, proof| serve(stream, router.clone(), Arc::default(), 500, proof);
        let places = Places::new(16, KnownSources::default(), ConnectionCounters::default());
        tokio::spawn(accept(listener, places, serve));
        let ask = async |path: &str, token: &str| {
            let mut client = TcpStream::connect(address).await.expect("the server");
            let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
            client.write_all(asked.as_bytes()).await.expect("written");
            let mut status = [0; 12];
            let read = client.read_exact(&mut status).await;
            (client, read.map(|_| String::from_utf8_lossy(&status).into_owned()).unwrap_or_default())
        };
        // More than one source may have.
        let mut open = Vec::new();
        for n in 0..8 {
            let path = if n % 2 == 0 { "/calls" } else { "/healthz" };
            open.push(ask(path, "wrong").await);
        }
        for _ in 0..4 {
            open.push(ask("/calls", "right").await);
        }
        let statuses: Vec<_> = open.iter().map(|(_, status)| status.as_str()).collect();
        assert_eq!(statuses[8..], ["HTTP/1.1 200"; 4]);
        assert_eq!(statuses[..8], ["HTTP/1.1 401", "HTTP/1.1 200"].repeat(4));
        assert_eq!(ask("/calls", "right").await.1, "", "whoever has the token is cut off for nobody");
    }

    #[tokio::test]
    async fn who_does_not_read_an_answer_loses_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("an address");
        // More than the system buffers for both ends.
        let router = Router::new().route("/", get(|| async { vec![b'x'; 64 << 20] }));
        let mut client = TcpStream::connect(address).await.expect("the server");
        let (stream, _) = listener.accept().await.expect("the client");
        let served = tokio::spawn(serve(stream, router, Arc::default(), 500, Proof::default()));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
        let over = tokio::time::timeout(Duration::from_secs(30), served).await;
        assert!(over.is_ok(), "it still waits for who does not read");
        drop(client);
    }
}
