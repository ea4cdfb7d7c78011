//! The configurations that are made from flags.

use super::*;

/// The flags of a line, split like a shell command.
pub(super) fn flags(line: &str) -> Flags {
    let line = CommandLine::of_words(keys::ALL, shlex::split(line).expect("words"));
    Flags::read(&line.expect("flags")).expect("values")
}

#[test]
fn flags_become_the_configuration_of_a_role() {
    let source = flags("--target sip:a@127.0.0.1 --audio-file a --codec pcma --loop").source().unwrap();
    assert_eq!(source.ua.config.codecs, [b2b_ua::Codec::Pcma, b2b_ua::Codec::Pcmu]);
    assert!(source.repeat);
    let sink = flags("--sip-bind '[::1]:0' --impair loss=1").sink().unwrap();
    assert!(sink.ua.config.bind.is_ipv6());
    assert_eq!(sink.ua.config.impairment.unwrap().loss_pct, 1.0);
    assert_eq!(sink.ua.config.rtp_timeout, b2b_base::rtp_timeout::LAB, "the default of every engine");
}

#[test]
fn what_is_missing_or_does_not_fit_is_exit_64() {
    let source = |line| flags(line).source().unwrap_err();
    let mixer = |line| flags(line).mixer().unwrap_err();
    let sink = |line| flags(line).sink().unwrap_err();
    let orchestrator = |line| flags(line).orchestrator().unwrap_err();
    for (failure, text) in [
        (source("--audio-file a"), "--target is missing"),
        (source("--target sip:a@b"), "--audio-file"),
        (mixer(""), "--target is missing"),
        (sink("--jitter-ms 20"), "force it"),
        (orchestrator(""), "--plan is missing"),
        (orchestrator("--plan /no/such/plan.toml"), "cannot read the plan"),
    ] {
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains(text), "{}", failure.message);
    }
    assert!(flags("--jitter-ms 20 --force").sink().is_ok());
}

#[test]
fn given_flags_win_over_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("p.toml");
    let text = "[topology]\nsource.audio_file = \"a\"\nsink.output = \"null\"\n\
                [orchestrator]\ngrace_ms = 111\nready_ms = 222\n";
    std::fs::write(&plan, text).unwrap();
    let config = flags(&format!("--plan {} --ready-ms 333", plan.display())).orchestrator().unwrap();
    assert_eq!((config.run.grace.as_millis(), config.run.ready.as_millis()), (111, 333));
    let flags = flags(&format!("--plan {} --kill-ms 100", plan.display()));
    assert!(flags.orchestrator().unwrap_err().message.contains("below --grace-ms"));
}

#[test]
fn only_addresses_that_others_reach_are_exposed() {
    let exposure = |bind: &str| flags(&format!("--sip-bind {bind}")).exposure();
    assert_eq!(exposure("127.0.0.2:5060"), None);
    assert!(exposure("0.0.0.0:5060").unwrap().contains("without authentication"));
    assert!(exposure("0.0.0.0:5060").unwrap().contains("reaches any address of this host"));
    assert!(exposure("192.0.2.1:5060").is_some());
}
