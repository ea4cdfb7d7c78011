//! Flags and their roles.

use super::*;

fn parsed(line: &str) -> Result<(RoleName, Flags), clap::Error> {
    parse(shlex::split(&format!("b2b {line}")).unwrap().into_iter().map(OsString::from))
}

fn refused(line: &str) -> String {
    parsed(line).unwrap_err().to_string()
}

#[test]
fn the_command_is_well_formed() {
    flags::command().debug_assert();
}

#[test]
fn help_groups_flags_shows_defaults_and_says_what_is_missing() {
    let help = flags::command().render_long_help().to_string();
    for text in [
        "Orchestrator:",
        "Sink and mixer:",
        "Source:",
        "[default: 60]",
        "no authentication and no TLS",
        "Examples:",
    ] {
        assert!(help.contains(text), "{text} in {help}");
    }
}

#[test]
fn a_flag_of_another_role_names_its_owner() {
    let message = refused("--role sink --audio-file a.mp3");
    assert!(message.contains("--audio-file is not a flag of the sink: it belongs to source"), "{message}");
    let message = refused("--role source --target sip:a@b --audio-file a --jitter-ms 80");
    assert!(message.contains("belongs to sink and mixer"), "{message}");
    assert!(parsed("--role sink --jitter-ms 80").is_ok());
}

#[test]
fn a_missing_role_is_guessed_from_the_flags() {
    assert!(refused("--plan x").contains("write b2b orchestrator"));
    assert!(refused("--wav x.wav").contains("write b2b sink"));
    assert!(refused("").contains("no role given"));
    assert!(refused("--role snik").contains("choose one of"));
    assert!(refused("snik").contains("there is no role snik; choose one of orchestrator, source"));
}
