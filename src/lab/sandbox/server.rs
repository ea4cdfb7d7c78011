//! The server between callers and agent: its configuration, its process, and the journals of its calls.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use serde_json::{Value, json};
use toml::{Table, Value as Toml};

use super::agent::Agent;
use crate::load::kinds::CalleeKind;
use crate::orchestrator::child::Child;
use crate::orchestrator::http;
use crate::orchestrator::ready::Ready;
use crate::orchestrator::surroundings::this_program;
use b2b_base::util::exit::{Exit, Failure};
use b2b_config::RoleName;
use b2b_server_config::LoadError;

/// The agent's name in the configuration.
const NAME: &str = "agent";
/// Maximum time until it is READY, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum time until the records of the last calls are written.
const RECORDS: Duration = Duration::from_secs(3);
/// Polling interval.
const LOOK: Duration = Duration::from_millis(50);

/// The configuration: everything on loopback, for callers without passwords. Calls to the numbers of
/// `callees`, which answer at `callees_at`, go there, and all others to the agent.
pub fn configuration(agent: &Agent, callees: &[CalleeKind], callees_at: SocketAddr) -> Table {
    let table = |pairs: &[(&str, Toml)]| {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        Toml::Table(pairs.collect())
    };
    let text = |text: &str| Toml::String(text.to_owned());
    let network = || Toml::Array(vec![text("127.0.0.0/8")]);
    let server = table(&[
        ("listen", Toml::Array(vec![text("udp:127.0.0.1:0")])),
        ("store", text("memory")),
        ("trusted", network()),
        ("inside", network()),
        ("cdr", text("calls.jsonl")),
    ]);
    let mut routes = Vec::new();
    let numbers: Vec<String> = callees.iter().flat_map(|kind| &kind.called).map(|it| pattern(it)).collect();
    if !numbers.is_empty() {
        let to = text(&format!("sip:$0@{callees_at}"));
        routes.push(table(&[("called", text(&numbers.join("|"))), ("to", to)]));
    }
    let mut root = Table::new();
    root.insert("server".to_owned(), server);
    let http = table(&[("listen", text("127.0.0.1:0")), ("token", text("off"))]);
    root.insert("http".to_owned(), http);
    routes.push(match &agent.sip {
        Some(uri) => table(&[("to", text(uri))]),
        None => table(&[("app", text(&format!("voice_agent/{NAME}")))]),
    });
    root.insert("route".to_owned(), Toml::Array(routes));
    if agent.sip.is_none() {
        let mut own = agent.voice_agent.clone();
        own.insert("name".to_owned(), text(NAME));
        // it may transfer to who answers here
        if !numbers.is_empty() && !own.contains_key("may_transfer") {
            own.insert("may_transfer".to_owned(), Toml::Array(numbers.iter().map(|it| text(it)).collect()));
        }
        root.insert("voice_agent".to_owned(), Toml::Array(vec![Toml::Table(own)]));
    }
    root
}

/// The number of a callee whose call is asked for, by its index.
pub fn number(place: usize) -> String {
    format!("callee-{}", place + 1)
}

/// The numbers of a callee, as a pattern of a route.
fn pattern(called: &str) -> String {
    match called.strip_suffix('*') {
        Some(begin) => regex::escape(begin) + ".*",
        None => regex::escape(called),
    }
}

/// Writes the configuration into a folder, and checks it.
///
/// # Errors
/// A key of `[agent]` is wrong, with exit code 64.
pub fn write(configuration: &Table, folder: &Path, plan: &Path) -> Result<PathBuf, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, format!("{}: [agent]: {why}", plan.display()));
    let path = folder.join("server.toml");
    let text = toml::to_string(configuration).map_err(|error| usage(error.to_string()))?;
    fs::write(&path, text).map_err(|error| usage(format!("{}: {error}", path.display())))?;
    match b2b_server_config::load(&path) {
        Ok(_) => Ok(path),
        // the lines are those of a file that nobody has written
        Err(LoadError::Wrong { errors, .. }) => {
            let why: Vec<String> = errors.iter().map(|error| error.problem.to_string()).collect();
            Err(usage(why.join("; ")))
        }
        Err(error) => Err(usage(error.to_string())),
    }
}

/// The running server.
pub struct Server {
    child: Child,
    ready: Ready,
    /// Its call records.
    records: PathBuf,
}

impl Server {
    /// Starts it, and waits until it is READY.
    ///
    /// # Errors
    /// It has ended, or is not READY in time.
    pub fn start(configuration: &Path) -> anyhow::Result<Server> {
        let failed = |why: String| Failure::new(Exit::Sip, format!("the server of the sandbox {why}"));
        let words = ["--role", "b2bua", "--color", "never", "--config"].map(str::to_owned).into_iter();
        let words: Vec<String> = words.chain([configuration.display().to_string()]).collect();
        let (wake, _) = bounded(1);
        let child = Child::spawn(RoleName::B2bua, &this_program()?, &words, wake)
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        match child.output.ready.recv_timeout(PATIENCE) {
            Ok(Ok(ready)) => {
                let records = configuration.with_file_name("calls.jsonl");
                Ok(Server { child, ready, records })
            }
            Ok(Err(error)) => Err(failed(format!("said: {error}")).into()),
            Err(_) => {
                let error = child.output.last_error().unwrap_or_else(|| "it said nothing".to_owned());
                Err(failed(format!("did not start: {error}")).into())
            }
        }
    }

    /// Its SIP address.
    pub fn address(&self) -> SocketAddr {
        self.ready.sip
    }

    /// Calls each callee whose number comes out of `asked`, and connects who answers to the agent, on a
    /// thread that ends with the sender.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn originate(&self, asked: Receiver<usize>, callees_at: SocketAddr, agent: &Agent) -> io::Result<()> {
        let Some(at) = self.ready.http else { return Ok(()) };
        let (key, whom) = match &agent.sip {
            Some(uri) => ("to", uri.clone()),
            None => ("app", format!("voice_agent/{NAME}")),
        };
        std::thread::Builder::new().name("originate".into()).spawn(move || {
            for place in asked {
                let from = format!("sip:{}@{callees_at}", number(place));
                let command = json!({"command": "originate", "from": from, key: whom});
                if let Err(error) = http::post(at, "/commands", &command.to_string()) {
                    tracing::warn!("the server was asked for a call to a callee: {error}");
                }
            }
        })?;
        Ok(())
    }

    /// Writes the journal of each of these calls, by name and SIP Call-ID, as NAME.journal; returns their
    /// number.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn journals(&self, calls: &[(String, String)], folder: &Path) -> io::Result<usize> {
        let Some(at) = self.ready.http.filter(|_| !calls.is_empty()) else { return Ok(0) };
        fs::create_dir_all(folder)?;
        let until = Instant::now() + RECORDS;
        let numbers = loop {
            let records = fs::read_to_string(&self.records).unwrap_or_default();
            let records: Vec<Value> =
                records.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let number = |id: &str| records.iter().find(|it| it["sip_call_id"] == id)?["call_id"].as_u64();
            let numbers: Vec<Option<u64>> = calls.iter().map(|(_, id)| number(id)).collect();
            if numbers.iter().all(Option::is_some) || Instant::now() >= until {
                break numbers;
            }
            std::thread::sleep(LOOK);
        };
        let mut written = 0;
        for ((name, _), number) in calls.iter().zip(numbers) {
            let Some(number) = number else { continue };
            if let Ok(journal) = http::get(at, None, &format!("/calls/{number}/journal")) {
                fs::write(folder.join(format!("{}.journal", name.replace([' ', '/'], "-"))), journal)?;
                written += 1;
            }
        }
        Ok(written)
    }

    /// Ends it, and writes its log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(mut self, log: Option<&Path>) -> io::Result<()> {
        self.child.terminate();
        let until = Instant::now() + PATIENCE;
        while !self.child.reap() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        while !self.child.output.is_closed() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        let Some(log) = log else { return Ok(()) };
        let lines = std::iter::from_fn(|| self.child.output.next_line());
        fs::write(log, lines.map(|line| line.text + "\n").collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_agent_is_called_and_may_transfer_to_who_answers() {
        let agent: Agent = toml::from_str("url = \"ws://127.0.0.1:9/\"\nprotocol = \"twilio\"").unwrap();
        let called = vec!["2000".to_owned(), "+31*".to_owned()];
        let callees = [CalleeKind { name: "sales".to_owned(), called, steps: Arc::from([]), calls: 0 }];
        let configuration = configuration(&agent, &callees, SocketAddr::from(([127, 0, 0, 1], 5_070)));
        assert_eq!(configuration["route"][0]["called"].as_str(), Some(r"2000|\+31.*"));
        assert_eq!(configuration["route"][1]["app"].as_str(), Some("voice_agent/agent"));
        let folder = tempfile::tempdir().unwrap();
        write(&configuration, folder.path(), Path::new("a.toml")).unwrap();
    }

    #[test]
    fn an_unknown_key_of_the_agent_is_named() {
        let agent: Agent = toml::from_str("ulr = \"ws://127.0.0.1:9/\"").unwrap();
        let configuration = configuration(&agent, &[], SocketAddr::from(([127, 0, 0, 1], 5_070)));
        let folder = tempfile::tempdir().unwrap();
        let error = write(&configuration, folder.path(), Path::new("a.toml")).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(
            error.message.starts_with("a.toml: [agent]: ") && error.message.contains("ulr"),
            "{}",
            error.message
        );
    }
}
