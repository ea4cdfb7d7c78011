//! Profiles of providers: their page, and their explanation by `--explain-gateway`.

mod page;

use std::path::Path;
use std::process::Command;

/// docs/providers.md is generated from the data of the profiles. With `B2B_WRITE_DOCS` set, this test writes
/// it.
#[test]
fn the_page_of_providers_is_that_of_the_profiles() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md");
    let wanted = page::markdown();
    if std::env::var_os("B2B_WRITE_DOCS").is_some() {
        std::fs::write(&path, wanted).expect("write");
        return;
    }
    let found = std::fs::read_to_string(&path).expect("the page");
    assert!(
        found == wanted,
        "docs/providers.md is behind profiles.toml: run this test with B2B_WRITE_DOCS=1"
    );
}

#[test]
fn an_explanation_says_which_keys_come_from_the_profile() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2bua.toml");
    let config = "[server]\nlisten = [\"udp:192.0.2.1:5060\"]\nstore = \"memory\"\n\
                  [[gateway]]\nname = \"s\"\nprofile = \"sipgate\"\nusername = \"1234567t0\"\npassword = \"a secret\"\n\
                  country = \"49\"\nnumber_format = \"00\"\n";
    std::fs::write(&path, config).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--config"]).arg(&path);
    let output =
        command.args(["--explain-gateway", "s", "--to", "0301234567"]).output().expect("the program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("profile  sipgate, which gives hosts, register, from_user, identity, called_from\n"),
        "{text}"
    );
    assert!(
        text.contains("  INVITE sip:0049301234567@sipconnect.sipgate.de"),
        "what is written wins: {text}"
    );
    assert!(text.contains("  From: <sip:1234567t0@sipconnect.sipgate.de>"), "{text}");
    assert!(text.contains("  P-Preferred-Identity: <sip:"), "{text}");
}
