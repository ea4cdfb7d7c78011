//! A custom call centre as a program: a menu, a queue with agents, a room, all calls recorded.
//!
//! `cargo run --example call_centre -- b2bua.toml prompts`
//!
//! The file configures the server, as for `b2b --role b2bua`; its routes may lead to the applications here:
//!
//! ```toml
//! [[route]]
//! called = "8000"
//! app = "own/recorded"
//! ```
//!
//! `scripts/make-prompts.sh` makes the prompts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use b2b::app::Prompts;
use b2b::app::conference::{Conference, RoomConfig, Rooms};
use b2b::app::ivr::{Ask, DigitPlan, Does, Ivr, IvrFlow, Node, Say, Template, check, menu};
use b2b::app::queue::machine::values::Strategy;
use b2b::app::queue::{DeskSettings, QueueDesk, QueueHandler};
use b2b::app::wrong_pins::WrongPins;
use b2b::call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall};
use b2b::call::service::CallService;
use b2b::server::config::load_with;
use b2b::server::own::Own;

/// The queue in which callers wait for an agent.
const QUEUE: &str = "own-sales";
/// The conference room of callers.
const ROOM: &str = "own-team";

/// The menu: 1 leads to the queue, 2 to the room.
fn tree(prompts: &Prompts) -> anyhow::Result<Ivr> {
    let ask = Ask::new(vec![Say::Part(prompts.file("sales-or-room.wav"))], DigitPlan::new(1));
    let choices = [("1", "sales"), ("2", "room")].map(|(key, to)| (key.to_owned(), to.to_owned()));
    let nodes = [
        ("hello", menu(ask, choices.into())),
        ("sales", Does::Hand { app: Template::new(&format!("queue/{QUEUE}"))? }),
        ("room", Does::Hand { app: Template::new(&format!("conference/{ROOM}"))? }),
    ];
    let nodes = nodes.map(|(name, does)| Node { name: name.to_owned(), does }).into();
    let flow = IvrFlow { name: "own".to_owned(), start: "hello".to_owned(), nodes };
    check(&flow, prompts, &|_| Ok(()))?;
    Ok(Ivr::new(flow, prompts.clone()))
}

/// A queue that calls its agents in turn, at these targets.
fn queue(agents: &[&str], prompts: &Prompts) -> QueueDesk {
    let mut desk = DeskSettings::of_queue(QUEUE, agents.iter().copied());
    for queue in &mut desk.queues {
        queue.plan.strategy = Strategy::RoundRobin;
        queue.sounds.welcome = Some(prompts.path("wait.wav"));
    }
    QueueDesk::new(desk)
}

/// All applications that routes may name.
fn applications(agents: &[&str], prompts: &Prompts) -> anyhow::Result<Vec<Arc<dyn ApplicationHandler>>> {
    let rooms = Rooms::new("own", WrongPins::default());
    let room = Conference::new(RoomConfig { announced: false, ..RoomConfig::new(ROOM) }, &rooms);
    let mut all: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Recorded), Arc::new(tree(prompts)?)];
    all.extend(QueueHandler::all(&queue(agents, prompts)));
    all.push(Arc::new(room));
    Ok(all)
}

/// Records a call if `[recording]` of the configuration has a folder, and passes the caller to the menu.
struct Recorded;

impl ApplicationHandler for Recorded {
    fn name(&self) -> &str {
        "own/recorded"
    }

    fn handle_incoming_call(&self, call: IncomingCall, service: CallService) -> HandlerFuture {
        Box::pin(async move {
            if let Err(error) = record(&call, &service).await {
                tracing::warn!("call {}: it is not recorded: {error}", call.call.0);
            }
            HandlerAction::Handle("ivr/own".to_owned())
        })
    }
}

async fn record(call: &IncomingCall, service: &CallService) -> Result<(), b2b::call::service::CallError> {
    service.answer(call.leg).await?;
    service.record_call(call.call, None).await
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, folder] = arguments.as_slice() else {
        anyhow::bail!("name the configuration, and the folder of prompts");
    };
    let prompts = Prompts::new(Path::new(folder));
    let applications = applications(&["user/1001", "user/1002"], &prompts)?;
    let own = Own { applications, ..Own::default() };
    let (config, names) = (PathBuf::from(config), own.names());
    let read = move || {
        let usage = |error| b2b::util::exit::Failure::new(b2b::util::exit::Exit::Usage, error);
        load_with(&config, &names).map_err(|error| usage(error.to_string()))
    };
    let code = b2b::server::run_with(read()?, Box::new(read), own)?;
    std::process::exit(code.into());
}

// Tests as an application's author would write them: in virtual time, without sockets and media.
#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use b2b::call::call_fsm::CallState;
    use b2b::call::controller::EndpointId;
    use b2b::call::recording::RecordingRules;
    use b2b::call::resolver::{DirectPolicy, DirectResolver};
    use b2b::call::switch::SwitchConfig;
    use b2b::call::switch::admission::AdmitAll;
    use b2b_testkit::{Handler, Harness, Network, SESSION};

    const AGENT: &str = "192.0.2.12:5060";

    fn centre() -> Harness {
        let first = Handler(|_, _| async { HandlerAction::Handle("own/recorded".to_owned()) });
        let mut handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(first)];
        handlers.extend(applications(&["sip:agent@192.0.2.12:5060"], &Prompts::new("/p")).expect("it fits"));
        let (code, pause_code) = (String::new(), String::new());
        let rules = RecordingRules { code, pause_code, ..RecordingRules::new("/recordings") };
        let config = SwitchConfig { recording: Some(Arc::new(rules)), ..SwitchConfig::default() };
        let uris = Arc::new(DirectResolver::new(DirectPolicy::Anybody));
        Harness::with(Instant::now(), handlers, uris, Box::new(AdmitAll), config, Network::QUIET)
    }

    /// The endpoint of the most recent caller.
    fn last_endpoint(harness: &Harness) -> EndpointId {
        let calls = harness.snapshot();
        let leg = calls.iter().flat_map(|it| &it.legs).map(|it| it.leg).max_by_key(|leg| leg.0);
        leg.and_then(|leg| harness.endpoint_of(leg)).expect("an answered leg")
    }

    #[test]
    fn who_presses_1_hears_that_it_waits_and_is_joined_with_an_agent() {
        let mut harness = centre();
        let (ann, agent) = (harness.party("192.0.2.11:5060"), harness.party(AGENT));
        let call = harness.call(ann, "8000", Some(SESSION));
        let endpoint = last_endpoint(&harness);
        harness.press(endpoint, "1");
        harness.run(Duration::from_secs(3));
        assert_eq!(harness.media().heard_words(), ["sales-or-room.wav", "wait.wav"]);
        let serves = harness.answer_next(agent, SESSION);
        harness.run(Duration::from_secs(1));
        assert!(harness.snapshot().iter().any(|it| it.state == CallState::Bridged));
        assert_eq!(harness.media().recordings().len(), 1, "from the beginning");
        harness.hang_up(ann, call);
        harness.run(Duration::from_secs(1));
        assert!(!harness.is_up(agent, serves), "the agent is hung up with the caller");
    }

    #[test]
    fn two_who_press_2_are_in_one_room() {
        let mut harness = centre();
        let (ann, bob) = (harness.party("192.0.2.11:5060"), harness.party("192.0.2.13:5060"));
        for party in [ann, bob] {
            harness.call(party, "8000", Some(SESSION));
            let endpoint = last_endpoint(&harness);
            harness.press(endpoint, "2");
            harness.run(Duration::from_secs(1));
        }
        let rooms = harness.media().rooms();
        assert_eq!(rooms.iter().map(|(_, room)| room.members.len()).collect::<Vec<_>>(), [2]);
    }
}
