//! Faults at the control interface, in remote programs and in web servers, during a call that must not be
//! affected; in the end nothing is held.
//!
//! - `programs`: remote programs that die, stall, send nonsense, or are reconfigured
//! - `doors`: tokens, at every path and for every command
//! - `bodies`: request bodies
//! - `panics`: of a handler, and of the threads that calls need
//! - `web_servers`: servers queried by menu trees

mod bodies;
mod doors;
#[cfg(debug_assertions)]
mod panics;
mod programs;
mod web_servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use crate::server::control::done;
use crate::server_support::child::PATIENCE;
use crate::server_support::control::Socket;
use crate::server_support::phone::{Dialog, Phone};
use crate::server_support::{Server, until};

/// The route of the neighbour's call, before other routes.
const NEIGHBOUR: &str = "[[route]]\ncalled = \"900\"\napp = \"milliwatt\"\n";

/// Minimum number of packets that a neighbour hears.
const LEAST: usize = 50;

/// An independent call that hears a tone all the time and must not be affected.
struct Neighbour {
    phone: Arc<Phone>,
    dialog: Dialog,
    call: Value,
    events: Socket,
    over: Arc<AtomicBool>,
    hears: JoinHandle<Vec<(u16, u32)>>,
}

impl Neighbour {
    /// Calls before any other caller.
    async fn calls(server: &Server) -> Neighbour {
        let phone = Arc::new(Phone::new("nan"));
        let dialog = phone.call(server.sip, "900");
        let call = server.get("/calls").json()["calls"][0]["call"].clone();
        phone.listen(5);
        let (over, listens) = (Arc::new(AtomicBool::new(false)), phone.clone());
        let told = over.clone();
        let hears = std::thread::spawn(move || listens.hears_until(&told, LEAST));
        let events = Socket::to(server, &format!("/events?call={call}")).await;
        Neighbour { phone, dialog, call, events, over, hears }
    }

    /// So far the call had no events and no missing packets. The neighbour hangs up.
    async fn has_noticed_nothing(mut self, server: &Server) {
        let marker = json!({ "command": "set_variable", "call": self.call, "name": "m", "value": "1", "id": "marker" });
        done(server, &marker);
        let first = self.events.hear().await.expect("an event");
        assert_eq!(first["id"], "marker", "nothing came before: {first}");
        self.over.store(true, Ordering::Release);
        let heard = self.hears.join().expect("heard");
        assert!(heard.len() >= LEAST, "{} packets", heard.len());
        for pair in heard.windows(2) {
            let ((before, source), (next, same)) = (pair[0], pair[1]);
            assert_eq!(
                (next, same),
                (before.wrapping_add(1), source),
                "none is missing, and it is the same stream"
            );
        }
        self.phone.hang_up(&self.dialog);
    }
}

/// All gauges of held resources are zero again.
fn nothing_is_held(server: &Server) {
    let start = Instant::now();
    loop {
        let page = server.get("/metrics").text();
        let gauge = |line: &&str| {
            ["b2b_held{", "b2b_calls{", "b2b_remote_programs"].iter().any(|name| line.starts_with(name))
                && !line.contains("sip_subscriptions")
        };
        let left: Vec<_> = page.lines().filter(gauge).filter(|line| !line.ends_with(" 0")).collect();
        if left.is_empty() {
            assert_eq!(server.metric("b2b_illegal_events_total"), 0.0);
            assert_eq!(server.metric("b2b_impossible_total"), 0.0);
            return assert_eq!(server.metric("b2b_handler_panics_total"), 0.0);
        }
        assert!(start.elapsed() < PATIENCE, "still held: {left:#?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// The entry of this call; null when it is over.
fn call_of(server: &Server, call: &Value) -> Value {
    let calls = server.get("/calls").json();
    let found = calls["calls"].as_array().expect("calls").iter().find(|it| it["call"] == *call);
    found.cloned().unwrap_or_default()
}

/// The call is in that application.
fn is_with(server: &Server, call: &Value, app: &str) {
    until(app, || (call_of(server, call)["application"] == app).then_some(()));
}
