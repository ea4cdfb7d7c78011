//! Flags: their roles, and the configurations made from them.

use std::collections::BTreeSet;

use super::*;
use b2b_base::util::exit::Exit;

fn parsed(line: &str) -> Result<(RoleName, Flags), clap::Error> {
    parse(shlex::split(&format!("b2b {line}")).unwrap().into_iter().map(OsString::from))
}

fn refused(line: &str) -> String {
    parsed(line).unwrap_err().to_string()
}

#[test]
fn the_flags_and_the_table_of_keys_are_the_same() {
    let command = Flags::command();
    let flags: BTreeSet<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    let expected: BTreeSet<&str> = keys::ALL.all().map(|key| key.name).chain(["role"]).collect();
    assert_eq!(flags, expected);
    for arg in command.get_arguments().filter(|arg| arg.get_id() != "role") {
        let key = keys::ALL.find(arg.get_id().as_str()).unwrap();
        assert_eq!(format!("--{}", arg.get_long().unwrap()), key.flag());
        let takes_value = arg.get_action().takes_values();
        assert_eq!(takes_value, key.kind != b2b_config::keys::Kind::Switch, "{}", key.name);
        for default in arg.get_default_values().iter().filter(|_| takes_value) {
            assert_eq!((key.check)(default.to_str().unwrap()), Ok(()), "{}", key.name);
        }
    }
}

#[test]
fn the_command_is_well_formed() {
    Flags::command().debug_assert();
}

#[test]
fn help_groups_flags_shows_defaults_and_says_what_is_missing() {
    let help = Flags::command().render_long_help().to_string();
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

#[test]
fn flags_become_the_configuration_of_a_role() {
    let (role, flags) =
        parsed("--role source --target sip:a@127.0.0.1 --audio-file a --codec pcma --loop").unwrap();
    assert_eq!(role, RoleName::Source);
    let source = flags.source().unwrap();
    assert_eq!(source.ua.config.codecs, [b2b_ua::Codec::Pcma, b2b_ua::Codec::Pcmu]);
    assert!(source.repeat);
    let (_, flags) = parsed("--role sink --sip-bind '[::1]:0' --impair loss=1").unwrap();
    let sink = flags.sink().unwrap();
    assert!(sink.ua.config.bind.is_ipv6());
    assert_eq!(sink.ua.config.impairment.unwrap().loss_pct, 1.0);
}

#[test]
fn what_is_missing_or_does_not_fit_is_exit_64() {
    let failure = |line: &str| {
        let (role, flags) = parsed(line).unwrap();
        match role {
            RoleName::Source => flags.source().unwrap_err(),
            RoleName::Mixer => flags.mixer().unwrap_err(),
            RoleName::Sink => flags.sink().unwrap_err(),
            RoleName::Orchestrator => flags.orchestrator().unwrap_err(),
            RoleName::B2bua | RoleName::Phone | RoleName::Media | RoleName::Load => {
                unreachable!("not a role of a chain")
            }
        }
    };
    for (line, text) in [
        ("--role source --audio-file a", "--target is missing"),
        ("--role source --target sip:a@b", "--audio-file"),
        ("--role mixer", "--target is missing"),
        ("--role sink --jitter-ms 20", "force it"),
        ("--role orchestrator", "--plan is missing"),
        ("--role orchestrator --plan /no/such/plan.toml", "cannot read the plan"),
    ] {
        let failure = failure(line);
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(text), "{}", failure.message);
    }
    assert!(parsed("--role sink --jitter-ms 20 --force").unwrap().1.sink().is_ok());
}

#[test]
fn given_flags_win_over_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("p.toml");
    let text = "[topology]\nsource.audio_file = \"a\"\nsink.output = \"null\"\n\
                [orchestrator]\ngrace_ms = 111\nready_ms = 222\n";
    std::fs::write(&plan, text).unwrap();
    let (_, flags) =
        parsed(&format!("--role orchestrator --plan {} --ready-ms 333", plan.display())).unwrap();
    let config = flags.orchestrator().unwrap();
    assert_eq!((config.grace.as_millis(), config.ready.as_millis()), (111, 333));
    let (_, flags) = parsed(&format!("--role orchestrator --plan {} --kill-ms 100", plan.display())).unwrap();
    assert!(flags.orchestrator().unwrap_err().message.contains("below --grace-ms"));
}

#[test]
fn only_addresses_that_others_reach_are_exposed() {
    let exposure = |bind: &str| parsed(&format!("--role sink --sip-bind {bind}")).unwrap().1.exposure();
    assert_eq!(exposure("127.0.0.2:5060"), None);
    assert!(exposure("0.0.0.0:5060").unwrap().contains("without authentication"));
    assert!(exposure("0.0.0.0:5060").unwrap().contains("reaches any address of this host"));
    assert!(exposure("192.0.2.1:5060").is_some());
}
