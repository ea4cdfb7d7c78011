//! Queues, agents and music: what they come to, and what is wrong with them.

use std::time::Duration;

use crate::parse_made;
use b2b_app::queue::machine::agent::Duty;
use b2b_app::queue::machine::values::{AgentNo, Left, Strategy};

const USERS: &str =
    "[[user]]\nname = \"1001\"\npassword = \"x\"\n[[user]]\nname = \"1002\"\npassword = \"x\"\n";
const AGENTS: &str = "[[agent]]\nname = \"1001\"\n";

/// The error of this behind users and an agent: 9 lines.
fn error(text: &str) -> String {
    let text = format!("{USERS}{AGENTS}{text}\n");
    match parse_made(&text) {
        Ok(config) => panic!("{:?}", config.apps.queues),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_small_queue_has_sensible_values() {
    let queue = "[[queue]]\nname = \"sales\"\nagents = \"1001\"\n";
    let config = parse_made(&format!("{USERS}{AGENTS}{queue}")).unwrap();
    let queues = &config.apps.queues;
    let agent = &queues.agents[0];
    assert_eq!((agent.target.as_str(), agent.user.as_deref()), ("user/1001", Some("1001")));
    assert_eq!((agent.plan.duty, agent.plan.reachable), (Duty::Available, false));
    let sales = &queues.queues[0];
    assert_eq!(sales.plan.agents, [AgentNo(0)]);
    assert_eq!(sales.plan.strategy, Strategy::LongestIdle);
    assert_eq!(sales.plan.announce, Some(Duration::from_secs(30)));
    assert_eq!(sales.plan.patience, Some(Duration::from_secs(600)));
    assert_eq!(sales.ways_out.of(Left::Timeout), None);
    assert_eq!((queues.codes.login.as_deref(), queues.codes.pause.as_deref()), (Some("*45"), Some("*46")));
}

#[test]
fn everything_can_be_said() {
    let text = r#"
[queues]
login = "off"
pause = "*99"
[prompts]
folder = "sounds"
[[music]]
name = "calm"
tone = "350+440"
shared = false
[[agent]]
name = "zoe"
target = "sip:zoe@192.0.2.9"
skills = ["french:7", "billing"]
priority = 2
state = "paused"
[[agent]]
name = "1001"
[[queue]]
name = "help"
agents = ["1001"]
[[queue]]
name = "sales"
agents = ["1001", "zoe"]
strategy = "skills_then_priority"
skills = "french"
patience_s = 0
announce_s = 0
length = 5
needs_agents = true
welcome = "welcome.mp3"
music = "calm"
position = "position.wav"
timeout_to = "queue/help"
full_to = "user/1002"
leave = { 9 = "sip:box@192.0.2.9", "*" = "queue/help" }
"#;
    let config = parse_made(&format!("{USERS}{text}")).unwrap();
    let queues = &config.apps.queues;
    assert_eq!((queues.codes.login.as_deref(), queues.codes.pause.as_deref()), (None, Some("*99")));
    let zoe = &queues.agents[0];
    assert_eq!((zoe.target.as_str(), zoe.user.as_deref()), ("sip:zoe@192.0.2.9", None));
    assert_eq!((zoe.plan.duty, zoe.plan.reachable, zoe.plan.priority), (Duty::Paused, true, 2));
    assert_eq!(zoe.plan.skills.get("french"), Some(&7));
    assert_eq!(zoe.plan.skills.get("billing"), Some(&1));
    let sales = &queues.queues[1];
    assert_eq!(sales.plan.agents, [AgentNo(1), AgentNo(0)]);
    assert_eq!((sales.plan.patience, sales.plan.announce), (None, None));
    assert_eq!(sales.plan.digits, ['*', '9']);
    assert_eq!(sales.ways_out.of(Left::Timeout), Some("queue/help"));
    assert_eq!(sales.ways_out.of(Left::Full), Some("user/1002"));
    assert_eq!(sales.ways_out.of(Left::Digit('9')), Some("sip:box@192.0.2.9"));
    let welcome = sales.sounds.welcome.as_deref().unwrap();
    assert!(welcome.ends_with("sounds/welcome.mp3"), "{}", welcome.display());
    assert_eq!(sales.sounds.numbers.say(42).len(), 1, "there is a file for it");
    let words = config.summary(1_000).join("\n");
    assert!(words.contains("music     calm: 350 and 440 Hz"), "{words}");
    assert!(words.contains("agent     zoe: sip:zoe@192.0.2.9; billing:1, french:7"), "{words}");
    assert!(words.contains("queue     sales: skills_then_priority of 1001, zoe"), "{words}");
}

#[test]
fn errors_have_a_line_and_a_fix() {
    for (text, words) in [
        ("[[queue]]\nagents = \"1001\"", "line 9: `queue.name` is missing"),
        ("[[queue]]\nname = \"q\"", "line 9: `queue.agents` is missing: add the queue's agents"),
        (
            "[[queue]]\nname = \"q\"\nagents = [\"1001\", \"1002\"]",
            "line 11: `queue.agents`: there is no agent \"1002\"; did you mean \"1001\"?",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = [\"1001\", \"1001\"]",
            "line 11: `queue.agents` = \"1001\": listed twice",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nstrategy = \"random\"",
            "line 12: `queue.strategy` = \"random\": no such strategy; choose longest_idle",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nwelcome = \"missing.wav\"",
            "line 12: `queue.welcome` = \"missing.wav\": there is no file /etc/b2b/prompts/missing.wav",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nposition = \"p.wav\"\n[prompts]\nfolder = \"missing\"",
            "line 12: `queue.position` = \"p.wav\": there is no file",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nmusic = \"calm\"",
            "line 12: `queue.music`: there is no music \"calm\"; no music is configured",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\ntimeout_to = \"ivr/main\"",
            "line 12: `queue.timeout_to`: there is no application \"ivr/main\"; did you mean",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nfull_to = \"user/1003\"",
            "line 12: `queue.full_to`: there is no user \"1003\"",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nfull_to = \"user/$1\"",
            "line 12: `queue.full_to` = \"user/$1\"",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nleave = { 12 = \"user/1002\" }",
            "line 12: `queue.leave` = \"12\": not a key of a telephone",
        ),
        (
            "[[queue]]\nname = \"q\"\nagents = \"1001\"\nskills = \"french:0\"",
            "line 12: `queue.skills` = \"french:0\": its level is a whole number from 1 to 100",
        ),
        ("[[agent]]\nname = \"1001\"", "line 10: the agent \"1001\" is there already, on line 8"),
        ("[[agent]]\nname = \"zoe\"", "line 9: `agent.target` is missing: there is no user \"zoe\""),
        ("[[agent]]\nname = \"z\"\nstate = \"away\"", "line 9: `agent.target` is missing"),
        (
            "[[agent]]\nname = \"1002\"\nstate = \"away\"",
            "line 11: `agent.state` = \"away\": no such state; choose available",
        ),
        ("[queues]\nlogin = \"in\"", "line 10: `queues.login` = \"in\": not a number; write it like *45"),
        ("[queues]\nlogin = \"*46\"", "line 9: `queues.pause` = \"*46\": it is already the number of login"),
        ("[[music]]\nname = \"m\"", "line 9: `music.folder` is missing: set the source of the music"),
        (
            "[[music]]\nname = \"m\"\nfile = \"a.mp3\"\ntone = \"440\"",
            "line 12: `music.file` and `music.tone` are both set",
        ),
        (
            "[[music]]\nname = \"m\"\ntone = \"5\"",
            "line 11: `music.tone` = \"5\": frequencies are 20 to 3400 Hz",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(words), "{error}\nfor\n{text}");
    }
}

#[test]
fn a_queue_can_be_routed_to_and_named_before_it_stands() {
    let text = "[[route]]\napp = \"queue/sales\"\n[[queue]]\nname = \"sales\"\nagents = \"1001\"\n";
    assert!(parse_made(&format!("{USERS}{AGENTS}{text}")).is_ok());
    assert!(error("[[route]]\napp = \"queue/sale\"").contains("there is no application \"queue/sale\""));
}
