//! Connections of controlling servers: HTTP/1.1 for REST and HTTP/2 for gRPC, on one port.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use crate::http::connections::{ConnectionCounters, Places, Proof};
use crate::http::listen::accept;
use b2b_sip::known::KnownSources;

/// Maximum simultaneous connections.
const CONNECTIONS: usize = 256;
/// How long a connection may stay idle; controlling servers close theirs earlier.
const HEAD: Duration = Duration::from_secs(60);
/// Maximum octets of a request's head.
const HEAD_BYTES: u32 = 16 * 1_024;
/// Interval of HTTP/2 pings, and the timeout of their responses.
const ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// Maximum simultaneous requests on an HTTP/2 connection.
const STREAMS: u32 = 64;

/// Serves until it is dropped.
pub(super) async fn run(listener: std::net::TcpListener, router: Router) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the media server cannot accept connections: {error}"),
    };
    let places = Places::new(CONNECTIONS, KnownSources::default(), ConnectionCounters::default());
    accept(listener, places, |stream, proof| serve(stream, router.clone(), proof)).await;
}

async fn serve(stream: TcpStream, router: Router, proof: Proof) {
    // Responses are small, and each has a client waiting for it.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1_024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE.0)
        .keep_alive_timeout(ALIVE.1)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), proof.by_requests(router)).await;
    if let Err(error) = served {
        tracing::debug!("a connection to the media server: {error}");
    }
}
