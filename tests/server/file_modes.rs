//! Files written by the server are accessible to its own user only, whatever the umask, and are never written
//! through links.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::server_support::child::B2b;
use crate::server_support::phone::Phone;
use crate::server_support::{configured, start, until};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn the_database_the_records_and_the_trace_have_the_mode_of_the_configuration() {
    for (line, expected) in [("", 0o600), ("file_mode = \"0640\"\n", 0o640)] {
        let folder = configured("[log]\nsip_trace = \"trace.txt\"\n[[route]]\napp = \"echo\"\n");
        let file = folder.path().join("b2bua.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        let text = text.replace("store = \"memory\"\n", &format!("store = \"sqlite:b2b.sqlite\"\n{line}"));
        std::fs::write(&file, text).expect("a file");
        let (server, ann) = (start(folder), Phone::new("ann"));
        let dialog = ann.call(server.sip, "1");
        ann.hang_up(&dialog);
        let path = |name: &str| server.folder.path().join(name);
        until("a record", || std::fs::metadata(path("cdr.jsonl")).is_ok_and(|it| it.len() > 0).then_some(()));
        for name in ["cdr.jsonl", "trace.txt", "b2b.sqlite"] {
            assert_eq!(mode(&path(name)), expected, "{name}");
        }
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    for (lines, name) in [("", "cdr.jsonl"), ("[log]\nsip_trace = \"trace.txt\"\n", "trace.txt")] {
        let folder = configured(lines);
        let theirs = folder.path().join("theirs");
        std::fs::write(&theirs, "theirs").expect("a file");
        symlink(&theirs, folder.path().join(name)).expect("a link");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
        command.args(["--role", "b2bua", "--config"]).arg(folder.path().join("b2bua.toml"));
        let mut process = B2b::start(&mut command);
        process.wait_for_line("it is a link, which is not followed");
        process.wait();
        assert_eq!(std::fs::read(&theirs).expect("a file"), b"theirs", "{name}");
    }
}

#[test]
fn the_realms_of_gateways_have_the_mode_of_the_configuration() {
    for (line, expected) in [("", 0o600), ("file_mode = \"0640\"\n", 0o640)] {
        let carrier = Phone::new("carrier");
        let at = carrier.uri().rsplit('@').next().expect("a host").to_owned();
        let folder = configured(&format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\nregister = true\nusername = \"u\"\n\
             password = \"secret-of-u\"\noptions_s = 0\n"
        ));
        let file = folder.path().join("b2bua.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        let text = text.replace("store = \"memory\"\n", &format!("store = \"sqlite:b2b.sqlite\"\n{line}"));
        std::fs::write(&file, text).expect("a file");
        let server = start(folder);
        let (register, from) = carrier.hear("REGISTER");
        carrier.challenge(&register, from, "carrier.example");
        let path = server.folder.path().join("b2b.sqlite.realms");
        let text = until("the realms", || std::fs::read_to_string(&path).ok());
        assert!(text.contains("carrier.example"), "{text}");
        assert_eq!(mode(&path), expected);
    }
}
