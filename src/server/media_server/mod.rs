//! The role `media`: the embedded engine, for servers elsewhere.
//!
//! - `sessions`: what each session holds, and its events
//! - `obey`: verbs for the engine
//! - `rest`, `grpc`: two interfaces to the same sessions; `listen`: connections
//!
//! A controlling server has a session with a lease. Once it sends nothing for the lease time, or ends the
//! session, all that it holds is released.

mod grpc;
mod listen;
mod obey;
mod rest;
mod sessions;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::middleware;
use crossbeam_channel::select;
use nix::sys::signal::Signal;

use super::http::guard::{self, Guard};
use super::{descriptors, server};
use crate::config::questions::MediaServerConfig;
use b2b_base::util::exit::{Exit, Failure};
use b2b_base::util::file::FileMode;
use b2b_base::util::vital::Vital;
use b2b_call::controller::{EmbeddedConfig, EmbeddedController};
use sessions::Sessions;

/// Interval at which leases are checked.
const LOOK: Duration = Duration::from_millis(250);

/// Runs a media server until SIGTERM or SIGINT.
///
/// # Errors
/// Why it cannot start, with the exit code in a [`Failure`].
pub fn run(config: &MediaServerConfig) -> anyhow::Result<u8> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    // Recordings and messages are readable by their owner only. Set before any thread is made.
    FileMode::OWNER.is_for_all();
    let signals = server::signals(&[Signal::SIGTERM, Signal::SIGINT])?;
    if let Err(error) = descriptors::raise() {
        tracing::warn!("the descriptor limit cannot be raised: {error}");
    }
    let addresses = vec![(config.bind, config.advertise)];
    let engine = EmbeddedConfig::new(addresses, config.ports.0..=config.ports.1, rand::random());
    let (controller, mut events) =
        EmbeddedController::start(engine).map_err(|error| usage(error.to_string()))?;
    let controller = Arc::new(controller);
    let refused = |error: std::io::Error| {
        usage(format!("cannot listen at --listen {}: {error}; choose another address", config.listen))
    };
    let listener = std::net::TcpListener::bind(config.listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    let sessions = Arc::new(Sessions::new(controller.clone(), config.most()));
    let guard = Arc::new(Guard::new(config.token.as_ref(), &[]));
    let router = rest::router(sessions.clone())
        .merge(grpc::router(sessions.clone()))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(middleware::from_fn(grpc::refusals));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Media threads have descriptor tables of their own, so they must not wake a runtime.
    let between = sessions.clone();
    let hear = move || {
        while let Some(event) = events.blocking_recv() {
            between.happened(event, Instant::now());
        }
    };
    std::thread::Builder::new().name("media-events".into()).spawn(hear)?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serve = {
        let leases = sessions.clone();
        move || {
            runtime.block_on(async move {
                tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(LOOK).await;
                        leases.expire(Instant::now());
                    }
                });
                tokio::select! {
                    _ = stopped => {}
                    () = listen::run(listener, router) => {}
                }
            });
        }
    };
    let vital = Vital::default();
    let (door, media) = (vital.panicked(), controller.panicked());
    let serve = move || {
        vital.run("media-server", serve);
    };
    let thread = std::thread::Builder::new().name("media-server".into()).spawn(serve)?;
    let mut out = std::io::stdout().lock();
    // A closed pipe needs no output.
    let _ = writeln!(out, "READY role=media listen={local}").and_then(|()| out.flush());
    drop(out);
    let broken = select! {
        recv(signals) -> signal => {
            tracing::info!("{}: all sessions end", signal?);
            None
        }
        recv(door) -> thread => thread.ok(),
        recv(media) -> thread => thread.ok(),
    };
    if let Some(thread) = &broken {
        tracing::error!("thread {thread} panicked: the media server exits");
    }
    drop(stop);
    // Its panic has been reported.
    let _ = thread.join();
    sessions.end_all();
    tracing::info!("stopped: {} media endpoints left", controller.endpoints());
    controller.shutdown();
    Ok(if broken.is_some() { Exit::Panic } else { Exit::Ok } as u8)
}
