//! `[agent]` of a plan: where the agent is, and the command that starts it.

use std::fs::File;
use std::io;
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;

use b2b_base::util::exit::{Exit, Failure};

/// Polling interval of the agent's port and process.
const LOOK: Duration = Duration::from_millis(50);
/// Time for one attempt to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// Time from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// `[agent]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Agent {
    /// The command that starts it; empty: it is there.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long it may take until it answers, s.
    #[serde(default = "usual_start")]
    pub start_s: f64,
    /// The SIP URI of the agent; without it the other keys are those of a `[[voice_agent]]`.
    pub sip: Option<String>,
    /// The keys of `[[voice_agent]]`.
    #[serde(flatten)]
    pub voice_agent: toml::Table,
}

fn usual_start() -> f64 {
    10.0
}

impl Agent {
    /// Reads the table of a plan.
    ///
    /// # Errors
    /// A value of another type, with its key.
    pub fn of(table: toml::Table) -> Result<Agent, String> {
        let agent: Agent = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        if !(0.0..=600.0).contains(&agent.start_s) {
            return Err(format!("start_s = {}: write 0 to 600 seconds", agent.start_s));
        }
        if agent.sip.is_some()
            && let Some(key) = agent.voice_agent.keys().next()
        {
            return Err(format!("there is no {key} beside sip; remove it, or give it a url in place of sip"));
        }
        Ok(agent)
    }

    /// Its address, as written.
    pub fn place(&self) -> &str {
        let url = ["url", "webhook"].iter().find_map(|key| self.voice_agent.get(*key)?.as_str());
        self.sip.as_deref().or(url).unwrap_or_default()
    }

    /// Starts it, if it has a command, and waits until something answers at its address. `output`: the file
    /// for what it prints; `gives_up`: whether to stop waiting.
    ///
    /// # Errors
    /// It cannot be started, has ended, or does not answer in time.
    pub fn start(&self, output: &Path, gives_up: impl Fn() -> bool) -> Result<Option<Bot>, Failure> {
        let failed = |why: String| Failure::new(Exit::Sip, why);
        let mut bot = match self.command.split_first() {
            None => None,
            Some((program, arguments)) => {
                let bot = Bot::start(program, arguments, output);
                Some(bot.map_err(|error| {
                    failed(format!("the agent's command {program:?}: {error}; is it installed?"))
                })?)
            }
        };
        let patience = Duration::try_from_secs_f64(self.start_s).unwrap_or_default();
        let until = Instant::now() + patience;
        loop {
            let Err(error) = is_there(self.place()) else { return Ok(bot) };
            if let Some(bot) = &mut bot
                && let Some(status) = bot.process.try_wait().ok().flatten()
            {
                let said = bot.last_line().map(|line| format!("; it said: {line}")).unwrap_or_default();
                return Err(failed(format!("the agent's command has ended: {status}{said}")));
            }
            let place = self.place();
            match &bot {
                None => {
                    return Err(failed(format!(
                        "no agent answers at {place}: {error}; start it, or give [agent] the command that does"
                    )));
                }
                Some(_) if gives_up() => return Err(failed("stopped before the first call".to_owned())),
                Some(_) if Instant::now() >= until => {
                    let said =
                        format!("the agent's command does not answer at {place} after {} s", self.start_s);
                    return Err(failed(format!("{said}: {error}; give it longer with start_s")));
                }
                Some(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

/// Whether something answers at an address. What cannot be asked is assumed to be there.
fn is_there(place: &str) -> io::Result<()> {
    let (scheme, rest) = place.split_once(':').unwrap_or_default();
    let authority = rest.trim_start_matches('/').split(['/', '?', ';']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let port = match scheme {
        "sip" => 5_060,
        "wss" | "https" => 443,
        "ws" | "http" | "tcp" => 80,
        _ => return Ok(()),
    };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let at =
        with_port.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
    if scheme == "sip" {
        // SIP over UDP: somebody who listens has the port
        return match UdpSocket::bind(at) {
            Ok(_) => Err(io::Error::other("nobody listens there")),
            Err(_) => Ok(()),
        };
    }
    TcpStream::connect_timeout(&at, CONNECT).map(drop)
}

/// A running command; it ends with its process group when this is dropped.
#[derive(Debug)]
pub struct Bot {
    process: Child,
    output: PathBuf,
}

impl Bot {
    fn start(program: &str, arguments: &[String], output: &Path) -> io::Result<Bot> {
        let file = File::create(output)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let process = command.process_group(0).spawn()?;
        Ok(Bot { process, output: output.to_owned() })
    }

    fn last_line(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.output).ok()?;
        text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        // its id is not reused before it is reaped
        let group = Pid::from_raw(self.process.id().cast_signed());
        let _ = killpg(group, Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK);
        }
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = killpg(group, Signal::SIGKILL);
            let _ = self.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(text: &str) -> Agent {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_agent_that_is_not_there_is_told_of_with_its_address() {
        let output = tempfile::NamedTempFile::new().unwrap();
        let start = |text: &str| agent(text).start(output.path(), || false).map(|_| ()).unwrap_err();
        let nobody = start("url = \"ws://127.0.0.1:1/media\"");
        assert_eq!(nobody.exit, Exit::Sip);
        assert!(nobody.message.contains("no agent answers at ws://127.0.0.1:1/media"), "{}", nobody.message);
        let ended =
            start("url = \"ws://127.0.0.1:1\"\ncommand = [\"sh\", \"-c\", \"echo no module; exit 3\"]");
        assert!(ended.message.contains("it said: no module"), "{}", ended.message);
        let missing = start("sip = \"sip:bot@127.0.0.1:1\"\ncommand = [\"/no/such/bot\"]");
        assert!(missing.message.contains("/no/such/bot"), "{}", missing.message);
        let slow = start("url = \"ws://127.0.0.1:1\"\nstart_s = 0.1\ncommand = [\"sleep\", \"60\"]");
        assert!(slow.message.contains("give it longer with start_s"), "{}", slow.message);
    }

    #[test]
    fn an_agent_at_an_address_is_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
        for place in [format!("ws://{tcp}/a?b=c"), format!("http://{tcp}"), format!("sip:bot@{udp};x=y")] {
            assert!(is_there(&place).is_ok(), "{place}");
        }
        assert!(is_there("ws+unix:///run/bot.sock:/").is_ok());
    }
}
