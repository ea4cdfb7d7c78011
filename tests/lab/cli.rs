//! The program as its users see it: exit codes and messages of its command line.

use std::process::{Command, Output};

fn b2b(line: &str) -> Output {
    let words = shlex::split(line).expect("quotes");
    Command::new(env!("CARGO_BIN_EXE_b2b")).args(words).output().expect("run")
}

fn refused(line: &str) -> String {
    let output = b2b(line);
    assert_eq!(output.status.code(), Some(64), "{line}");
    assert!(output.stdout.is_empty(), "{line}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

#[test]
fn every_argument_error_is_exit_64_and_says_what_to_do() {
    for (line, text) in [
        ("", "write b2b orchestrator"),
        ("--role", "value"),
        ("--role snik", "choose one of"),
        ("--role sink --no-such-flag", "unexpected argument"),
        ("--role sink extra", "unexpected argument"),
        ("--role sink --audio-file a.mp3", "belongs to source"),
        ("--role source --wav a.wav", "belongs to sink"),
        ("--role sink --sip-bind nonsense", "write it like 127.0.0.1:5060"),
        ("--role sink --jitter-ms 20", "--force"),
        ("--role sink --calls 0", "from 1"),
        ("--role sink --aplay-cmd \"aplay 'x\"", "quotes"),
        ("--role sink --impair los=1", "unknown key"),
        ("--role mixer", "--target"),
        ("--role mixer --target sip:a@127.0.0.1 --dtmf-seq 12x", "DTMF"),
        ("--role source --target sip:a@127.0.0.1", "--audio-file"),
        ("--role source --audio-file a.mp3", "--target"),
        ("--role orchestrator", "--plan"),
        ("--role orchestrator --plan /no/such/plan.toml", "/no/such/plan.toml"),
    ] {
        let message = refused(line);
        assert!(message.contains(text), "{line}: {message}");
    }
}

#[test]
fn help_and_version_succeed() {
    let help = b2b("--help");
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for text in ["no authentication and no TLS", "Examples:", "[default: 60]", "Orchestrator:"] {
        assert!(help.contains(text), "{text}");
    }
    let version = b2b("--version");
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(version.stdout, format!("b2b {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

#[test]
fn a_bind_address_that_others_reach_is_warned_about() {
    // a documentation address (RFC 5737): no host has it, so nothing is exposed
    let output = b2b("--role sink --output null --sip-bind 192.0.2.1:0");
    assert_eq!(output.status.code(), Some(65));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("without authentication and without encryption"), "{stderr}");
    let quiet = b2b("--role sink --output aplay --aplay-cmd /no/such/player --sip-bind 127.0.0.1:0");
    assert_eq!(quiet.status.code(), Some(66));
    assert!(!String::from_utf8(quiet.stderr).expect("UTF-8").contains("encryption"));
}

#[test]
fn a_sink_without_a_player_goes_on_unless_one_is_wanted() {
    let mut sink = crate::common::child::b2b(&[
        "--role",
        "sink",
        "--output",
        "auto",
        "--aplay-cmd",
        "/no/such/player",
        "--sip-bind",
        "127.0.0.1:0",
    ]);
    sink.ready();
    // who names a player wants to hear it
    let named = b2b("--role sink --aplay-cmd /no/such/player --sip-bind 127.0.0.1:0");
    assert_eq!(named.status.code(), Some(66));
}

#[test]
fn a_dry_run_of_a_load_says_what_it_would_do() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/load/caller.xml");
    let target = "--target sip:1000@127.0.0.1:9 --dry-run";
    let steps = b2b(&format!("load {target} --caller 'dial 1; hang up'"));
    assert_eq!(steps.status.code(), Some(0));
    let said = String::from_utf8(steps.stdout).expect("UTF-8");
    assert!(
        said.contains("target    sip:1000@127.0.0.1:9") && said.contains("caller    dial 1; hang up"),
        "{said}"
    );
    let xml = b2b(&format!("load {target} --scenario {scenario} --scenario-key rtcp=a=rtcp-mux"));
    let said = String::from_utf8(xml.stdout).expect("UTF-8");
    assert!(xml.status.success() && said.contains("caller.xml, ") && said.contains("it calls"), "{said}");
    assert_eq!(
        b2b(&format!("load {target} --scenario {scenario}")).status.code(),
        Some(64),
        "a key is missing"
    );
}

#[test]
fn every_role_is_named_where_one_is_none() {
    let message = refused("--role b2b");
    for role in b2b::config::RoleName::ALL {
        assert!(message.contains(role.as_str()), "{role}: {message}");
    }
}

#[test]
fn every_role_colours_its_lines_where_that_is_wanted() {
    let folder = tempfile::tempdir().expect("folder");
    let nothing = folder.path().join("nothing").display().to_string();
    let lines = [
        ("source", "--target sip:a@127.0.0.1:9 --audio-file NOTHING"),
        ("mixer", "--target sip:a@127.0.0.1:9 --sip-bind 192.0.2.1:0"),
        ("sink", "--sip-bind 192.0.2.1:0"),
        ("b2bua", "--config NOTHING"),
        ("phone", "--identity sip:a@127.0.0.1 --sip-bind 192.0.2.1:0 --steps 'dial a'"),
        ("media", "--listen 192.0.2.1:0 --token-file NOTHING"),
        ("load", "--callee answer --sip-bind 192.0.2.1:0"),
        ("orchestrator", "--plan NOTHING"),
    ];
    for (role, flags) in lines {
        let flags = flags.replace("NOTHING", &nothing);
        for (color, no_color, is_coloured) in
            [("always", "1", true), ("never", "", false), ("auto", "", false), ("auto", "1", false)]
        {
            let words = shlex::split(&format!("{role} {flags} --color {color}")).expect("quotes");
            let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
            let output = command.args(words).env("NO_COLOR", no_color).output().expect("run");
            let stderr = String::from_utf8(output.stderr).expect("UTF-8");
            assert!(stderr.contains("ERROR"), "{role}: {stderr}");
            assert_eq!(
                stderr.contains(&format!("m{role}\u{1b}[39m ")),
                is_coloured,
                "--color {color}: {stderr}"
            );
            assert_eq!(
                stderr.contains("\u{1b}[31mERROR\u{1b}[39m"),
                is_coloured,
                "--color {color}: {stderr}"
            );
        }
    }
}

#[test]
fn a_failure_that_nobody_sent_is_told_in_words() {
    let audio = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample.mp3");
    let output = b2b(&format!("--role source --target sip:x@127.0.0.1:9 --audio-file {audio}"));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(65), "{stderr}");
    assert!(stderr.contains("failed: no answer from that address") && !stderr.contains("503"), "{stderr}");
}

#[test]
fn plan_errors_name_file_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().expect("folder");
    let plan = folder.path().join("my plan.toml");
    std::fs::write(&plan, "[topology]\nsource.audio_file = \"a.mp3\"\nsink.sip_bnd = \"127.0.0.1:0\"\n")
        .expect("write");
    let message = refused(&format!("--role orchestrator --plan '{}'", plan.display()));
    assert!(message.contains("my plan.toml:3:"), "{message}");
    assert!(message.contains("`sink.sip_bind`"), "{message}");
}

#[test]
fn a_dry_run_prints_command_lines_that_a_shell_reads_back() {
    let folder = tempfile::tempdir().expect("folder");
    let plan = folder.path().join("plan.toml");
    let text = "[topology]\nsource.audio_file = \"/no such/a's.mp3\"\nmixer.dtmf_seq = \"+44 (0) 1\"\nsink.output = \"null\"\n";
    std::fs::write(&plan, text).expect("write");
    let output = b2b(&format!("--role orchestrator --plan '{}' --dry-run", plan.display()));
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let commands: Vec<Vec<String>> = stdout
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| shlex::split(line).expect("quotes"))
        .collect();
    let roles: Vec<&str> = commands.iter().map(|words| words[2].as_str()).collect();
    assert_eq!(roles, ["sink", "mixer", "source"]);
    assert!(commands[1].contains(&"+44 (0) 1".to_string()));
    assert!(commands[2].contains(&"/no such/a's.mp3".to_string()));
    assert!(commands.iter().all(|words| words[0] == env!("CARGO_BIN_EXE_b2b")));
}

#[test]
fn every_table_of_the_server_is_known_to_plans_as_none_of_theirs() {
    let tables =
        b2b::server::config::sections::SECTIONS.into_iter().filter(|table| table.written.starts_with('['));
    let mut names: Vec<&str> = tables.map(|table| table.name).filter(|name| !name.contains('.')).collect();
    let mut known = b2b::lab::config::plan::OF_THE_SERVER.to_vec();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, names);
}

#[test]
fn every_shipped_plan_is_a_good_plan() {
    let mut plans = 0;
    for folder in ["plans", "plans/strict"] {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            // the plan of a load is not for the orchestrator
            let of_load = path.file_name().is_some_and(|name| name == "load.plan.toml");
            if path.to_string_lossy().ends_with(".plan.toml") && !of_load {
                let output = b2b(&format!("--role orchestrator --plan '{}' --dry-run", path.display()));
                assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
                plans += 1;
            }
        }
    }
    assert!(plans >= 3);
}

/// A build without the engine reports it before it opens, writes or starts anything.
#[cfg(not(feature = "baresip"))]
#[test]
fn an_engine_that_was_not_built_is_exit_64_and_says_how_to_build_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let plan = |name: &str, mixer: &str| {
        let text = format!(
            "[topology]\nsource.audio_file = \"/no/such.mp3\"\nsink.wav = \"{}\"\n{mixer}\n",
            path("plan.wav")
        );
        std::fs::write(path(name), text).expect("write");
        path(name)
    };
    let (plain, mixed) = (plan("plain.toml", ""), plan("mixed.toml", "mixer.engine = \"baresip\""));
    let written = format!("--record '{0}' --sip-trace '{0}.sip' --engine baresip", path("record"));
    for line in [
        format!("--role source --target sip:a@127.0.0.1 --audio-file /no/such.mp3 {written}"),
        format!("--role source {written}"),
        format!("--role mixer --target sip:a@127.0.0.1 {written}"),
        format!("--role sink --output null --wav '{}' {written}", path("heard.wav")),
        format!("--role orchestrator --plan '{plain}' --engine baresip --report '{}'", path("report")),
        format!("--role orchestrator --plan '{mixed}' --report '{}'", path("report")),
        format!("--role orchestrator --plan '{mixed}' --dry-run"),
    ] {
        let message = refused(&line);
        for text in ["no baresip engine", "libbaresip 4.0", "cargo build --release --features baresip"] {
            assert!(message.contains(text), "{line}: {message}");
        }
        assert_eq!(
            message.contains("mixed.toml:4: `mixer.engine`"),
            line.contains("mixed.toml"),
            "{message}"
        );
        assert_eq!(message.lines().count(), 1, "no child was started: {message}");
    }
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("folder").map(|it| it.expect("entry").file_name()).collect();
    left.sort();
    assert_eq!(left, ["mixed.toml", "plain.toml"], "nothing was written");
}

#[test]
fn the_orchestrator_s_engine_is_that_of_every_role_whatever_the_plan_says() {
    let folder = tempfile::tempdir().expect("folder");
    let plan = folder.path().join("plan.toml");
    let text =
        "[topology]\nsource.audio_file = \"a.mp3\"\nmixer.engine = \"baresip\"\nsink.output = \"null\"\n";
    std::fs::write(&plan, text).expect("write");
    let engines = |flags: &str| {
        let output = b2b(&format!("--role orchestrator --plan '{}' --dry-run {flags}", plan.display()));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let commands = stdout.lines().filter(|line| !line.starts_with('#'));
        let named =
            |line: &str| line.split("--engine ").nth(1).map(|rest| rest.split(' ').next().map(str::to_owned));
        commands.map(|line| named(line).flatten()).collect::<Vec<_>>()
    };
    let all = |engine: &str| vec![Some(engine.to_owned()); 3];
    // A plan for an engine that this build lacks can run on the one that it has.
    assert_eq!(engines("--engine native"), all("native"));
    if cfg!(feature = "baresip") {
        assert_eq!(engines("--engine baresip"), all("baresip"));
        assert_eq!(engines(""), [None, Some("baresip".to_owned()), None]);
    }
    let plan_wide = format!("{text}[orchestrator]\nengine = \"native\"\n");
    std::fs::write(&plan, plan_wide).expect("write");
    let message = refused(&format!("--role orchestrator --plan '{}'", plan.display()));
    assert!(message.contains("plan.toml:6: there is no `orchestrator.engine`"), "{message}");
}
