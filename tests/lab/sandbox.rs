//! The sandbox with the real binary, against a bot of this test: one that behaves, and one with a fault.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::child::b2b;

/// What is wrong with a bot.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It greets, and says nothing more.
    Silent,
    /// It goes on when the caller speaks.
    Deaf,
    /// None; and it speaks only once it was spoken to.
    Patient,
    /// It speaks for five seconds, whatever it hears, before it listens.
    Hasty,
    /// It greets, and hangs up.
    Leaves,
    /// It loses the first 200 ms of its greeting.
    Clipped,
    /// It is patient, and sends a loud click a second after the answer.
    Clicks,
}

/// A bot for Asterisk's AudioSocket: it greets, waits until its caller has spoken, and answers.
struct Bot(SocketAddr);

/// Samples of 20 ms.
const FRAME: usize = 160;

impl Bot {
    fn start(fault: Fault) -> Bot {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || drop(talk(stream, fault)));
            }
        });
        Bot(at)
    }

    fn agent(&self) -> String {
        format!("[agent]\nprotocol = \"audiosocket\"\nurl = \"tcp://{}\"\n", self.0)
    }
}

/// Talks until the caller hangs up. A frame comes each 20 ms, and one is sent for it.
fn talk(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
    let greeting = match fault {
        Fault::Hasty => 250,
        Fault::Patient | Fault::Clicks => 0,
        Fault::Leaves => 10,
        Fault::Clipped => 30,
        _ => 40,
    };
    // frames still to be spoken, and frames since the caller's last sound
    let (mut left, mut quiet, mut spoken_to) = (greeting, 0, false);
    let mut frames = 0;
    loop {
        let mut head = [0; 3];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        stream.read_exact(&mut payload)?;
        if head[0] != 0x10 {
            continue;
        }
        let samples = payload.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]]).unsigned_abs());
        if samples.max().unwrap_or(0) > 1_000 {
            (quiet, spoken_to) = (0, true);
            if matches!(fault, Fault::None | Fault::Silent) {
                left = 0;
            }
        } else {
            quiet += 1;
        }
        if spoken_to && quiet == 20 {
            spoken_to = false;
            left = if fault == Fault::Silent { 0 } else { 250 };
        }
        frames += 1;
        let clicks = fault == Fault::Clicks && frames == 50;
        if left > 0 || clicks {
            left -= i32::from(!clicks);
            let mut frame = vec![0x10];
            frame.extend(u16::try_from(2 * FRAME).unwrap().to_be_bytes());
            let tone = |n: usize| match clicks {
                true => f64::from(n < FRAME / 4) * 30_000.0,
                false => (n as f64 / 8_000.0 * 500.0 * std::f64::consts::TAU).sin() * 8_000.0,
            };
            frame.extend((0..FRAME).flat_map(|n| (tone(n) as i16).to_le_bytes()));
            stream.write_all(&frame)?;
            if left == 0 && fault == Fault::Leaves {
                stream.write_all(&[0; 3])?;
            }
        }
    }
}

/// The end of a run.
struct Run {
    code: i32,
    junit: String,
    json: Value,
    said: String,
    folder: TempDir,
}

/// Runs a plan with this agent and these callers.
fn run(agent: &str, callers: &str) -> Run {
    let folder = TempDir::new().unwrap();
    let (plan, report) = (folder.path().join("plan.toml"), folder.path().join("report"));
    std::fs::write(&plan, format!("{agent}\n{callers}")).unwrap();
    let words = ["sandbox", plan.to_str().unwrap(), "--report", report.to_str().unwrap()];
    let mut process = b2b(&words);
    let code = process.wait().code().unwrap();
    let said = [process.stdout(), process.stderr()].concat().join("\n");
    let read = |name: &str| std::fs::read_to_string(report.join(name)).unwrap_or_default();
    let json = serde_json::from_str(&read("load.json")).unwrap_or_default();
    Run { code, junit: read("junit.xml"), json, said, folder }
}

impl Run {
    /// The step and the reason of each failed call.
    fn failures(&self) -> Vec<(&str, &str)> {
        let calls = self.json["failed_calls"]["calls"].as_array().expect("calls");
        calls.iter().map(|it| (it["step"].as_str().unwrap(), it["why"].as_str().unwrap())).collect()
    }

    fn report(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("report").join(name)
    }
}

/// A caller that asks, and one that interrupts the answer. `say 900` in place of speech: every machine has it.
const CALLERS: &str = r#"
[[caller]]
name = "asks"
calls = 2
steps = ["dial agent", "hears speech within 3", "hears silence for 0.6 within 5", "say 900", "wait 0.5",
         "say nothing", "hears speech within 3", "hang up"]
[[caller]]
name = "interrupts"
steps = ["dial agent", "hears speech within 3", "hears silence for 0.6 within 5", "say 900", "wait 0.5",
         "say nothing", "hears speech within 3", "wait 0.5", "say 900", "hears silence for 0.6 within 2",
         "hang up"]
"#;

#[test]
fn an_agent_that_behaves_passes_every_call_and_each_is_a_case() {
    let bot = Bot::start(Fault::None);
    let run = run(&bot.agent(), CALLERS);
    assert_eq!(run.code, 0, "{}", run.said);
    assert_eq!(run.junit.matches("<testcase ").count(), 3, "{}", run.junit);
    for case in ["name=\"asks 1\" classname=\"b2b.sandbox.asks\"", "name=\"asks 2\"", "name=\"interrupts 1\""]
    {
        assert!(run.junit.contains(case), "{case}: {}", run.junit);
    }
    assert!(run.said.contains("asks             2 of 2 calls passed"), "{}", run.said);
    // It waits for 400 ms of silence.
    let response = &run.json["response"];
    assert_eq!(response["count"], 3, "{response}");
    assert!(
        response["p50_ms"].as_f64() >= Some(400.0) && run.said.contains("answered within"),
        "{}",
        run.said
    );
    let page = std::fs::read_to_string(run.report("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("<title>b2b sandbox: passed"), "{page:.300}");
    assert!(run.report("server.log").is_file() && !run.report("journals").exists());
}

#[test]
fn an_agent_that_goes_silent_fails_at_the_step_that_waits_for_its_answer() {
    let bot = Bot::start(Fault::Silent);
    let run = run(&bot.agent(), CALLERS);
    assert_eq!(run.code, 1, "{}", run.said);
    assert_eq!(run.failures(), [("hears speech within 3", "not in time"); 3]);
    assert_eq!(run.junit.matches("<failure ").count(), 3, "{}", run.junit);
    // and the journal of a failed call runs again
    let journal = run.report("journals").join("asks-1.journal");
    let status = b2b(&["replay", journal.to_str().unwrap()]).wait();
    assert_eq!(status.code(), Some(0), "{}", run.said);
}

#[test]
fn an_agent_that_does_not_stop_when_it_is_interrupted_fails_only_there() {
    let bot = Bot::start(Fault::Deaf);
    let run = run(&bot.agent(), CALLERS);
    assert_eq!(run.code, 1, "{}", run.said);
    assert_eq!(run.failures(), [("hears silence for 0.6 within 2", "not in time")], "{}", run.said);
    assert!(run.said.contains("interrupts 1: `hears silence for 0.6 within 2`: not in time"), "{}", run.said);
}

#[test]
fn an_agent_that_speaks_where_it_must_not_is_told_of_with_the_time() {
    let bot = Bot::start(Fault::Hasty);
    let quiet = "[caller]\nsteps = [\"dial agent\", \"hears nothing for 3\", \"hang up\"]";
    let run = run(&bot.agent(), quiet);
    assert_eq!(run.code, 1, "{}", run.said);
    let (step, why) = run.failures()[0];
    assert!(step == "hears nothing for 3" && why.starts_with("it spoke after "), "{step}: {why}");
}

#[test]
fn an_agent_that_loses_its_first_syllable_speaks_for_too_short_a_time() {
    let caller = "[caller]\nsteps = [\"dial agent\", \"hears speech for 0.7 within 3\", \"hang up\"]";
    let whole = run(&Bot::start(Fault::None).agent(), caller);
    assert_eq!(whole.code, 0, "{}", whole.said);
    let clipped = run(&Bot::start(Fault::Clipped).agent(), caller);
    assert_eq!(clipped.code, 1, "{}", clipped.said);
    let (step, why) = clipped.failures()[0];
    assert_eq!(step, "hears speech for 0.7 within 3");
    assert!(why.starts_with("not in time; it spoke for 0."), "{why}");
}

#[test]
fn what_was_heard_just_before_the_agent_hung_up_is_heard() {
    let steps = "[\"dial agent\", \"hears speech within 5\", \"hung up within 5\"]";
    let caller = format!("[load]\nat_once = 16\n[caller]\ncalls = 16\nsteps = {steps}");
    let run = run(&Bot::start(Fault::Leaves).agent(), &caller);
    assert_eq!(run.code, 0, "{}", run.said);
}

#[test]
fn an_agent_that_clicks_loudly_where_nothing_must_be_heard_fails() {
    let caller = |step: &str| format!("[caller]\nsteps = [\"dial agent\", \"{step}\", \"hang up\"]");
    let bot = Bot::start(Fault::Clicks);
    let nothing = run(&bot.agent(), &caller("hears nothing for 3"));
    assert_eq!(nothing.code, 1, "{}", nothing.said);
    assert!(nothing.failures()[0].1.starts_with("it spoke after "), "{}", nothing.said);
    let speech = run(&bot.agent(), &caller("hears speech within 3"));
    assert_eq!(speech.code, 1, "a click is no speech: {}", speech.said);
}

#[test]
fn an_agent_that_answers_its_own_echo_fails_with_a_caller_on_a_speakerphone() {
    let bot = Bot::start(Fault::None);
    let caller = |echo: &str| {
        let silence = "\"hears speech within 3\", \"hears silence for 1.5 within 4\"";
        format!("[caller]\nsteps = [\"dial agent\", {echo} {silence}, \"hang up\"]")
    };
    let quiet = run(&bot.agent(), &caller(""));
    assert_eq!(quiet.code, 0, "{}", quiet.said);
    let echo = run(&bot.agent(), &caller("\"echo\","));
    assert_eq!((echo.code, echo.failures()[0].1), (1, "not in time"), "{}", echo.said);
}

#[test]
fn an_agent_over_sip_is_called_through_the_same_server() {
    let mut phone = b2b(&["load", "--sip-bind", "127.0.0.1:0", "--callee", "ring; answer; say 500; hung up"]);
    let agent = format!("[agent]\nsip = \"sip:bot@{}\"\n", phone.ready());
    let caller = "[caller]\nsteps = [\"dial agent\", \"hears 500 not 900 within 3\", \"hang up\"]";
    let run = run(&agent, caller);
    assert_eq!(run.code, 0, "{}", run.said);
}

#[test]
fn what_is_wrong_in_a_plan_is_named_and_nothing_is_called() {
    let agent = "[agent]\nurl = \"ws://127.0.0.1:9/\"\n";
    for (text, said) in [
        (format!("{agent}protokol = \"twilio\"\n"), "protokol"),
        (format!("{agent}[[caller]]\nstep = [\"dial 1\"]\n"), "step"),
        (format!("{agent}[caller]\nsteps = [\"dial agent\", \"hears noise\"]\n"), "hears noise"),
        (format!("{agent}[load]\ntarget = \"sip:1@127.0.0.1\"\n"), "load.target"),
        ("[load]\nseed = 1\n".to_owned(), "[agent] is missing"),
    ] {
        let run = run(&text, "");
        assert!(run.code == 64 && run.said.contains(said), "{said}: {} {}", run.code, run.said);
    }
}

#[test]
fn an_agent_that_is_not_there_is_named_by_its_address() {
    let began = Instant::now();
    let run = run("[agent]\nurl = \"ws://127.0.0.1:1/media\"\n", "");
    assert!(
        run.code == 65 && run.said.contains("no agent answers at ws://127.0.0.1:1/media"),
        "{}",
        run.said
    );
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_command_of_an_agent_ends_with_a_signal_before_the_first_call() {
    let folder = TempDir::new().unwrap();
    let (plan, id) = (folder.path().join("plan.toml"), folder.path().join("id"));
    let command = format!("echo $$ > {}; exec sleep 60", id.display());
    let agent =
        format!("url = \"ws://127.0.0.1:1/\"\nstart_s = 60\ncommand = [\"sh\", \"-c\", \"{command}\"]");
    std::fs::write(&plan, format!("[agent]\n{agent}\n")).unwrap();
    let mut sandbox = b2b(&["sandbox", plan.to_str().unwrap()]);
    let is_there = || std::fs::read_to_string(&id).ok()?.trim().parse::<u32>().ok();
    let until = Instant::now() + Duration::from_secs(30);
    let bot = loop {
        match is_there() {
            Some(bot) => break bot,
            None => assert!(Instant::now() < until, "the command has not begun"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    sandbox.signal(Signal::SIGINT);
    assert_eq!(sandbox.wait().code(), Some(65), "{:?}", sandbox.stderr());
    assert!(sandbox.stderr().concat().contains("stopped before the first call"), "{:?}", sandbox.stderr());
    assert!(!Path::new(&format!("/proc/{bot}")).exists(), "the command is still there");
}

#[test]
fn a_plan_with_an_agent_is_not_a_load() {
    let folder = TempDir::new().unwrap();
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "[agent]\nurl = \"ws://127.0.0.1:9/\"\n").unwrap();
    let words = |plan: &Path| ["load", "--plan", plan.to_str().unwrap()].map(str::to_owned);
    let words = words(&plan);
    let mut load = b2b(&words.each_ref().map(String::as_str));
    assert_eq!(load.wait().code(), Some(64));
    assert!(load.stderr().concat().contains("run it with b2b sandbox"), "{:?}", load.stderr());
}

/// A mailbox that the agent calls: it greets for three seconds, and then listens.
const MAILBOX: &str = r#"
[[callee]]
name = "mailbox"
calls = 2
steps = ["ring", "wait 0.3", "answer", "say 700", "hears nothing for 2.5", "say nothing",
         "hears speech within 4", "hang up"]
"#;

#[test]
fn an_agent_that_speaks_into_a_mailbox_s_greeting_fails_and_one_that_waits_does_not() {
    let bot = Bot::start(Fault::Patient);
    let good = run(&bot.agent(), MAILBOX);
    assert_eq!(good.code, 0, "{}", good.said);
    assert!(good.said.contains("mailbox          2 of 2 calls passed"), "{}", good.said);
    let bot = Bot::start(Fault::Hasty);
    let bad = run(&bot.agent(), MAILBOX);
    assert_eq!((bad.code, bad.failures().len()), (1, 2), "{}", bad.said);
    let (step, why) = bad.failures()[0];
    assert!(step == "hears nothing for 2.5" && why.starts_with("it spoke after "), "{step}: {why}");
}
