//! The server's configuration as its users see it: output of the program, the shipped example, and the
//! documentation.
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use b2b::config::table::Applies;
use b2b::server::config::{Action, load, sections};

use crate::server_support;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn b2bua(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.current_dir(root()).args(["--role", "b2bua"]).args(arguments).output().expect("run")
}

fn answer(arguments: &[&str]) -> String {
    let output = b2bua(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn refused(arguments: &[&str]) -> String {
    let output = b2bua(arguments);
    assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

const EXAMPLE: &str = "plans/b2bua.toml";

/// Writes a configuration into its own folder.
fn written(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("my server.toml");
    std::fs::write(&path, text).expect("write");
    let path = path.to_string_lossy().into_owned();
    (folder, path)
}

#[test]
fn the_example_is_safe() {
    let config = load(&root().join(EXAMPLE)).expect("the example");
    assert!(config.server.listen.iter().all(|listener| listener.bind.ip().is_loopback()));
    assert!(config.http.as_ref().is_some_and(|http| http.bind.ip().is_loopback()));
    assert!(config.server.trusted.is_empty());
    // It is for trials, and warns about that.
    assert!(matches!(&config.warnings()[..], [one] if one.starts_with("http.token is \"off\"")));
    assert!(matches!(config.routes.last().expect("routes").action, Action::Reject { status: 404, .. }));
}

#[test]
fn the_lab_s_configuration_trusts_this_machine_and_nobody_else() {
    let config = load(&root().join("plans/sbk.b2bua.toml")).expect("the lab's");
    assert!(config.server.trusted.iter().all(|net| net.addr().is_loopback()));
    assert!(!config.server.trusted.is_empty());
}

#[test]
fn a_dry_run_sums_the_configuration_up() {
    let summary = answer(&["--config", EXAMPLE, "--dry-run"]);
    let lines: Vec<&str> = summary.lines().collect();
    assert_eq!(lines[0], "listen    udp:127.0.0.1:5060, tcp:127.0.0.1:5060");
    assert_eq!(lines[3], "trusted   none: every caller gives a password or is a gateway");
    for line in [
        "users     3: 3 internal",
        "gateway   carrier: 127.0.0.1:5090; 10 channels; calls from 127.0.0.90/32",
        "group     all: parallel, user/1001, user/1002, user/1003",
        r"route     out (line 108): called 0([1-9]\d{5,}), class internal -> gateway/carrier",
    ] {
        assert!(lines.contains(&line), "{line}\nin\n{summary}");
    }
    assert!(
        lines.iter().any(
            |line| line.starts_with("capacity  100 calls fit: 100 by limits.calls, 12288 by media.ports")
        )
    );
    assert!(!summary.contains("b2b-example"), "a password");
}

#[test]
fn explain_says_which_route_matches_and_why_the_others_do_not() {
    let explained = answer(&["--config", EXAMPLE, "--explain", "02083661177", "--from", "1001"]);
    let expected = r"call    1001 -> 02083661177
from    user 1001, class internal, at 127.0.0.1

#  route               line  result
1  extensions            89  no: 02083661177 does not match called = 1\d{3}|alice|bob|carol
2  everybody             94  no: 02083661177 does not match called = 200
3  in                   100  no: the call does not come from gateway/carrier
4  out                  108  MATCH
5  out, international   115  not evaluated: an earlier route matched
6  the rest             121  not evaluated: an earlier route matched

dial    gateway/carrier/+442083661177  (as +442083661177 from 1001, to 127.0.0.1:5090)
called  +442083661177
caller  1001
bridge  intercepting, media relay
ring    at most 60 s
";
    assert_eq!(explained, expected);
}

#[test]
fn explain_says_who_takes_a_caller_whom_nobody_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2bua.toml");
    let text = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\n\
                [[user]]\nname = \"1001\"\npassword = \"x\"\n[voicemail]\nfolder = \"voicemail\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n\
                [[route]]\ncalled = '1\\d{3}'\nto = \"user/$0\"\nunanswered = \"voicemail/$0\"\n";
    std::fs::write(&path, text).expect("a file");
    let config = path.to_str().expect("UTF-8");
    let explained = answer(&["--config", config, "--explain", "1001", "--from", "1001"]);
    assert!(explained.contains("\nthen    voicemail/1001, if unanswered\n"), "{explained}");
}

#[test]
fn explain_reads_a_number_as_a_call_does() {
    let plain = answer(&["--config", EXAMPLE, "--explain", "+442083661177", "--from", "1001"]);
    for spelt in ["tel:+44-20-8366-1177", "+44(20)8366.1177", "+442083661177;npdi"] {
        assert_eq!(answer(&["--config", EXAMPLE, "--explain", spelt, "--from", "1001"]), plain, "{spelt}");
    }
}

#[test]
fn explain_knows_callers_by_their_address() {
    let explain = |source: &str| {
        answer(&["--config", EXAMPLE, "--explain", "+442083661177", "--from", "07700", "--source", source])
    };
    let gateway = explain("127.0.0.90");
    assert!(gateway.contains("from    gateway carrier, class external, at 127.0.0.90"), "{gateway}");
    assert!(
        gateway.contains("dial    group/all  (parallel, 25 s: user/1001, user/1002, user/1003)"),
        "{gateway}"
    );
    let by_name = answer(&["--config", EXAMPLE, "--explain", "1", "--from", "gateway/carrier"]);
    assert!(by_name.contains("known by their address; name it with --source"), "{by_name}");
    let stranger = explain("192.0.2.7");
    assert!(stranger.contains("from    an unknown caller, at 192.0.2.7"), "{stranger}");
    assert!(stranger.contains("asks such a caller for a password (407)"), "{stranger}");
    assert!(stranger.contains("no: the caller has no class, the route takes internal"), "{stranger}");
    assert!(stranger.contains("answer  404"), "{stranger}");
}

#[test]
fn errors_are_exit_64_with_file_line_and_fix() {
    let (_folder, path) = written("[server]\nlisten = \"udp:127.0.0.1:0\"\n\n[limits]\ncals = 1\n");
    for question in [&["--dry-run"][..], &["--explain", "1"], &[]] {
        let message = refused(&[&["--config", &path], question].concat());
        let expected = "my server.toml:5: there is no `limits.cals`; did you mean `calls`?";
        assert!(message.contains(expected), "{message}");
    }
    assert!(refused(&[]).contains("--config is missing"));
    assert!(refused(&["--config", "/no/such/file"]).contains("cannot read the configuration /no/such/file"));
    assert!(refused(&["--config", EXAMPLE, "--explain", "a b"]).contains("write it like +442083661177"));
    assert!(refused(&["--config", EXAMPLE, "--from", "1001"]).contains("--explain NUMBER"));
    assert!(refused(&["--config", EXAMPLE, "--sip-bind", "x"]).contains("write it like 127.0.0.1:5060"));
}

#[test]
fn every_error_is_told_with_its_line_by_all_who_read_the_file() {
    let (_folder, path) =
        written("[server]\nlisten = \"udp:127.0.0.1:0\"\ndrain_s = -1\n[limits]\ncals = 1\n");
    for question in [&["--dry-run"][..], &["--explain", "1"], &[]] {
        let message = refused(&[&["--config", &path], question].concat());
        for expected in [
            "my server.toml:3: `server.drain_s` = -1: not a whole number from 0 to 86400",
            "my server.toml:5: there is no `limits.cals`; did you mean `calls`?",
        ] {
            assert!(message.lines().any(|line| line.ends_with(expected)), "{message}");
        }
    }
}

const UNPLAYABLE: &str = "[[user]]\nname = \"1\"\npassword = \"x of ten letters\"\n\
    [[mailbox]]\nname = \"1\"\npin = \"998877\"\ngreeting = \"hello.wav\"\n\
    [[ivr]]\nname = \"main\"\n[[ivr.node]]\nname = \"a\"\nkind = \"play_prompt\"\nprompt = \"hello.wav\"\n\
    [[music]]\nname = \"default\"\nfile = \"hello.wav\"\n[[music]]\nname = \"none\"\nfolder = \"empty\"\n";

/// Prompts in this folder, of which one cannot be played, and a folder without any.
fn unplayable(folder: &Path) {
    std::fs::create_dir_all(folder.join("prompts/empty")).expect("folder");
    std::fs::write(folder.join("prompts/hello.wav"), "no sound").expect("write");
}

#[test]
fn a_sound_file_that_cannot_be_played_is_refused_by_a_dry_run() {
    let (folder, path) = written(&format!("[server]\nlisten = \"udp:127.0.0.1:0\"\n{UNPLAYABLE}"));
    unplayable(folder.path());
    for question in [&["--dry-run"][..], &["--explain", "1"]] {
        let message = refused(&[&["--config", &path], question].concat());
        for (line, file) in [
            ("9: `mailbox.greeting`", "hello.wav ("),
            ("12: `ivr.node.name`", "hello.wav ("),
            ("18: `music.file`", "hello.wav ("),
            ("21: `music.folder`", "empty (no audio file"),
        ] {
            let of = message.lines().find(|it| it.contains(&format!("my server.toml:{line}")));
            let of = of.unwrap_or_else(|| panic!("no {line} in {message}"));
            assert!(of.contains(file) && of.contains("cannot be played; correct the file"), "{of}");
        }
    }
}

#[test]
fn a_sound_file_that_cannot_be_played_is_told_by_a_start_and_keeps_nobody_out() {
    let folder = server_support::configured(UNPLAYABLE);
    unplayable(folder.path());
    let server = server_support::start(folder);
    server_support::until("the alarms", || {
        let alarms = server.get("/alarms").text();
        let told = ["hello.wav (text", "empty (no audio file"].iter().all(|file| alarms.contains(file));
        (told && alarms.contains("sound_unplayable")).then_some(())
    });
    let log = server.process.stderr().join("\n");
    assert!(log.contains("WARN") && log.contains("hello.wav (text"), "{log}");
    let alarms = || server.get("/alarms").json()["alarms"].as_array().expect("alarms").clone();
    let unplayable = |it: &serde_json::Value| it["name"] == "sound_unplayable";
    let alarm = alarms().into_iter().find(unplayable).expect("an alarm");
    assert_eq!(alarm["acknowledged"], false);
    let seen = |subject: &str| {
        let subject: String = subject.bytes().map(|octet| format!("%{octet:02x}")).collect();
        server.ask("POST", &format!("/alarms/sound_unplayable/acknowledge?subject={subject}")).status
    };
    assert_eq!(seen(alarm["subject"].as_str().expect("a subject")), 204);
    let same = |it: &serde_json::Value| unplayable(it) && it["subject"] == alarm["subject"];
    assert_eq!(alarms().into_iter().find(same).expect("it stands")["acknowledged"], true);
    assert_eq!(seen("somebody else"), 404);
    // Files are replaced, and the configuration stays as it is.
    for file in ["hello.wav", "empty/a.ulaw"] {
        let sound = root().join("tests/data/audio/tone.mp3");
        std::fs::copy(sound, server.folder.path().join("prompts").join(file)).expect("a copy");
    }
    server.process.signal(nix::sys::signal::Signal::SIGHUP);
    server_support::until("the end of the alarms", || {
        (!server.get("/alarms").text().contains("sound_unplayable")).then_some(())
    });
}

#[test]
fn what_rtpengine_cannot_do_is_refused_with_every_line() {
    let (_folder, path) = written(
        "[media]\ncontroller = \"rtpengine://127.0.0.1:2223\"\n[[gateway]]\nname = \"g\"\nhosts = \"192.0.2.1\"\n\
         dtmf = \"inband\"\n[[route]]\nto = \"gateway/g\"\nmedia = \"direct\"\n",
    );
    let message = refused(&["--config", &path, "--dry-run"]);
    for expected in [
        "my server.toml:6: gateway \"g\" needs digits out of tones (dtmf = \"inband\"), which the media \
         engine does not support; write dtmf = \"events\"",
        "my server.toml:9: [[route]] needs media without a relay (media = \"direct\"), which the media \
         engine does not support; choose media = \"relay\"",
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_schema_is_json_and_needs_no_configuration() {
    let schema: serde_json::Value = serde_json::from_str(&answer(&["--print-schema"])).expect("JSON");
    let tables = schema["definitions"].as_object().expect("tables");
    for table in sections::SECTIONS {
        let keys = tables[table.name]["properties"].as_object().expect(table.name);
        assert!(table.keys.iter().all(|row| keys.contains_key(row.name)), "{}", table.name);
        assert_eq!(keys.len(), table.keys.len(), "{}", table.name);
    }
}

#[test]
fn a_target_takes_every_call_before_the_routes_do() {
    let target = ["--target", "sip:sink@127.0.0.1:5070"];
    let explained = answer(&[&["--config", EXAMPLE, "--explain", "1001"], &target[..]].concat());
    assert!(explained.contains("dial    sip:sink@127.0.0.1:5070\n"), "{explained}");
    let summary =
        answer(&[&["--config", EXAMPLE, "--dry-run", "--sip-bind", "127.0.0.1:0"], &target[..]].concat());
    assert!(summary.starts_with("listen    udp:127.0.0.1:0, tcp:127.0.0.1:0\n"), "{summary}");
}

#[test]
fn calls_to_a_number_go_where_a_flag_says_and_other_calls_do_not() {
    let flags = ["--target", "sip:sink@127.0.0.1:5070", "--route", "a.b=sip:crowd@127.0.0.1:5072"];
    let dial = |number: &str| answer(&[&["--config", EXAMPLE, "--explain", number], &flags[..]].concat());
    assert!(dial("a.b").contains("dial    sip:crowd@127.0.0.1:5072\n"), "{}", dial("a.b"));
    assert!(dial("aab").contains("dial    sip:sink@127.0.0.1:5070\n"), "{}", dial("aab"));
}

/// The tables of docs/server.md match the code. With `B2B_WRITE_DOCS` set, this test writes them.
#[test]
fn the_documentation_has_every_key() {
    const BEGIN: &str = "<!-- keys: written by tests/server/config.rs -->\n";
    const END: &str = "<!-- end of keys -->";
    let path = root().join("docs/server.md");
    let text = std::fs::read_to_string(&path).expect("the documentation");
    let (before, rest) = text.split_once(BEGIN).expect("where the tables begin");
    let (tables, after) = rest.split_once(END).expect("where they end");
    let wanted = format!("\n{}", markdown());
    if std::env::var_os("B2B_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("write");
        return;
    }
    assert!(tables == wanted, "docs/server.md is behind the code: run this test with B2B_WRITE_DOCS=1");
}

/// The tables as Markdown.
fn markdown() -> String {
    let mut text = String::new();
    for section in sections::SECTIONS {
        let _ = write!(text, "### {}\n\n{}\n\n", heading(section.written), section.about);
        text.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            // The compiler has broken long ones into lines.
            let default = key.default.replace('\n', " ");
            let default = if default.is_empty() { default } else { format!("`{default}`") };
            let restart = if key.applies == Applies::AtRestart { " *Takes a restart.*" } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {} | {default} | {}{restart} |",
                key.name,
                key.takes.words(),
                key.about
            );
        }
        text.push('\n');
    }
    text
}

fn heading(written: &str) -> String {
    if written.contains('`') { written.to_string() } else { format!("`{written}`") }
}
