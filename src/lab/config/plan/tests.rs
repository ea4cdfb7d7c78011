//! Every plan error, and the result of a valid plan.

use super::*;

const GOOD: &str = r#"
[topology]
source.sip_target = "sip:mixer@127.0.0.1:0"
source.audio_file = "a.mp3"
source.loop = true
mixer.sip_bind = "127.0.0.1:0"
mixer.target = "sip:sink@127.0.0.1:0"
mixer.dtmf_seq = "+44"
mixer.mix_gain_in = 1
sink.sip_bind = "YOUR_HOST_IP:5060"
sink.jitter_ms = 0x50

[expect]
max_loss_pct = 0
min_mos = 4.3

[orchestrator]
grace_ms = 100
"#;

/// A plan with these lines in `[topology]`, from line 4 on.
fn with(lines: &str) -> Result<Plan, ConfigErrors> {
    parse(&format!("[topology]\nsource.audio_file = \"a.mp3\"\nsink.wav = \"x.wav\"\n{lines}\n"))
}

fn problem(result: Result<Plan, ConfigErrors>) -> (usize, String) {
    let error = result.unwrap_err().first;
    (error.line, error.problem.to_string())
}

#[test]
fn a_good_plan_becomes_flags_in_call_order() {
    let plan = parse(GOOD).unwrap();
    let roles: Vec<_> = plan.roles.iter().map(|plan| plan.role).collect();
    assert_eq!(roles, [RoleName::Source, RoleName::Mixer, RoleName::Sink]);
    let flags: Vec<_> = plan.roles.iter().map(RolePlan::flags).collect();
    assert_eq!(flags[0], ["--target", "sip:mixer@127.0.0.1:0", "--audio-file", "a.mp3", "--loop"]);
    assert_eq!(plan.role(RoleName::Mixer).unwrap().get("mix_gain_in"), Some("1"));
    assert_eq!(plan.role(RoleName::Sink).unwrap().get("jitter_ms"), Some("80"));
    assert_eq!(plan.expect.max_loss_pct, Some(0.0));
    assert_eq!(plan.orchestrator[0].name, "grace_ms");
}

#[test]
fn without_a_mixer_it_is_source_to_sink() {
    let plan = with("").unwrap();
    assert_eq!(
        plan.roles.iter().map(|plan| plan.role).collect::<Vec<_>>(),
        [RoleName::Source, RoleName::Sink]
    );
}

#[cfg(feature = "server")]
#[test]
fn a_b2bua_stands_before_the_sink_and_needs_its_configuration() {
    let plan = with("b2bua.config = \"b.toml\"\nb2bua.sip_bind = \"127.0.0.1:0\"").unwrap();
    let roles: Vec<_> = plan.roles.iter().map(|plan| plan.role).collect();
    assert_eq!(roles, [RoleName::Source, RoleName::B2bua, RoleName::Sink]);
    let (line, text) = problem(with("b2bua.sip_bind = \"127.0.0.1:0\""));
    assert_eq!(line, 4);
    assert!(text.contains("`b2bua.config` is missing"), "{text}");
    for no_key in [
        "b2bua.explain = \"1\"",
        "b2bua.explain_gateway = \"carrier\"",
        "b2bua.dry_run = true",
        "b2bua.print_schema = true",
        "b2bua.keep = true",
        "b2bua.engine = \"native\"",
    ] {
        assert!(problem(with(&format!("b2bua.config = \"b.toml\"\n{no_key}"))).0 == 5, "{no_key}");
    }
    let mut plan = plan;
    plan.roles.iter_mut().for_each(|role| role.set_engine(b2b_ua::Engine::Baresip));
    assert!(plan.role(RoleName::B2bua).unwrap().get("engine").is_none());
}

#[test]
fn values_that_look_like_flags_stay_values() {
    let plan = with("sink.aplay_cmd = \"-x\"").unwrap();
    assert!(plan.role(RoleName::Sink).unwrap().flags().contains(&"--aplay-cmd=-x".to_string()));
}

#[test]
fn a_false_switch_is_no_flag() {
    let plan = with("source.loop = false").unwrap();
    assert!(!plan.role(RoleName::Source).unwrap().flags().contains(&"--loop".to_string()));
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let (line, text) = problem(parse("[topology]\nsource.audio_file = \n"));
    assert_eq!(line, 2);
    assert!(text.starts_with("this is not TOML"), "{text}");
    assert!(parse("\u{feff}\0").is_err());
}

#[test]
fn a_configuration_of_the_server_is_told_as_one() {
    let text = parse("[server]\nlisten = \"udp:127.0.0.1:0\"\n").unwrap_err().to_string();
    assert!(
        text.contains("this is a configuration of the server; run it with --role b2bua --config"),
        "{text}"
    );
}

#[test]
fn unknown_keys_name_the_nearest_valid_one() {
    for (lines, nearest) in [
        ("sink.sip_bnd = \"127.0.0.1:0\"", "`sink.sip_bind`"),
        ("source.sip_taget = \"sip:a@b\"", "`source.sip_target`"),
        ("mixr.dtmf_seq = \"1\"", "`mixer`"),
        ("[expect]\nmax_loss = 1", "`expect.max_loss_pct`"),
        ("[orchestrator]\ngrace = 1", "`orchestrator.grace_ms`"),
        ("[orchestrator]\nplan = \"x\"", "the nearest valid key"),
        ("[expects]\nmax_loss_pct = 1", "`expect`"),
    ] {
        let (line, text) = problem(with(lines));
        assert!(text.contains(nearest), "{text}");
        assert_eq!(
            line,
            4 + lines.lines().count() - 1 - usize::from(lines.starts_with("[expects")),
            "{text}"
        );
    }
}

#[test]
fn a_configuration_of_the_server_is_told_once() {
    let text = "[log]\nlevel = \"info\"\n[limits]\ncalls = 1\n[server]\nstore = \"memory\"\n[[user]]\nname = \"a\"\n";
    let errors = parse(text).unwrap_err().to_string();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("no `log` here: this is a configuration of the server"), "{errors}");
    // A plan that contains one of the server's tables is still treated as a plan.
    assert!(with("[log]\nlevel = \"info\"").unwrap_err().to_string().contains("`log`"));
}

#[test]
fn keys_of_other_roles_name_their_owner() {
    let (line, text) = problem(with("sink.audio_file = \"a.mp3\""));
    assert_eq!(line, 4);
    assert!(text.contains("not for the sink: it belongs to source"), "{text}");
    let (_, text) = problem(with("sink.plan = \"a\""));
    assert!(text.contains("orchestrator"), "{text}");
}

#[test]
fn wrong_types_say_what_is_wanted() {
    for (lines, wanted) in [
        ("mixer.dtmf_seq = 123", "takes a string in quotes"),
        ("source.ptime_ms = \"20\"", "takes a whole number"),
        ("source.ptime_ms = 20.0", "takes a whole number"),
        ("source.loop = \"yes\"", "takes true or false"),
        ("mixer.mix_gain_in = true", "takes a number"),
        ("sink.wavs = [1]", "no `sink.wavs`"),
        ("sink.calls = 99999999999999999999", "which is too large"),
        ("mixer = 1", "takes a table"),
        ("[expect]\nmin_mos = \"4\"", "takes a number"),
        ("[orchestrator]\nreport = 1", "takes a path"),
    ] {
        let (line, text) = problem(with(lines));
        assert!(text.contains(wanted), "{text}");
        assert_eq!(line, 3 + lines.lines().count(), "{text}");
    }
    assert!(problem(parse("topology = 1")).1.contains("takes a table"));
}

#[test]
fn bad_values_say_how_to_write_them() {
    for (lines, reason) in [
        ("sink.sip_bind = \"localhost\"", "write it like"),
        ("source.sip_target = \"127.0.0.1\"", "not a SIP URI"),
        ("source.sip_target = \"sip:a@0.0.0.0:5060\"", "no address to call"),
        ("source.prebuffer_ms = 10", "from 1000 to 4000"),
        ("mixer.dtmf_seq = \"12x\"", "'x'"),
        ("sink.impair = \"los=1\"", "unknown key"),
        ("sink.calls = 0", "from 1"),
        ("[expect]\nmin_mos = 9", "from 1 to 5"),
        ("[expect]\nmax_loss_pct = nan", "from 0 to 100"),
        ("[orchestrator]\ngrace_ms = -1", "from 1"),
    ] {
        let (line, text) = problem(with(lines));
        assert!(text.contains(reason), "{text}");
        assert_eq!(line, 3 + lines.lines().count(), "{text}");
    }
}

#[test]
fn low_jitter_needs_force() {
    let (line, text) = problem(with("\nsink.jitter_ms = 20"));
    assert_eq!(line, 5);
    assert!(text.contains("force it"), "{text}");
    assert!(with("sink.jitter_ms = 20\nsink.force = true").is_ok());
}

#[test]
fn a_setting_under_both_its_names_is_refused() {
    let (line, text) = problem(with("source.sip_target = \"sip:a@b\"\nsource.target = \"sip:c@d\""));
    assert_eq!(line, 5);
    assert!(text.contains("as `source.sip_target`"), "{text}");
}

#[test]
fn missing_parts_are_named() {
    assert!(problem(parse("")).1.contains("`topology` is missing"));
    assert!(problem(parse("[topology]\nsink.wav = \"x\"")).1.contains("`source.*` is missing"));
    assert!(problem(parse("[topology]\nsource.audio_file = \"x\"")).1.contains("`sink.*` is missing"));
    let (line, text) = problem(parse("[topology]\nsink.wav = \"x\"\nsource.codec = \"pcmu\""));
    assert_eq!(line, 3);
    assert!(text.contains("`source.audio_file` is missing"), "{text}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_by_line() {
    let text = "[topology]\nsource.audio_fle = \"a.mp3\"\nsource.ptime_ms = \"20\"\nsink.calls = 0\nmixr.x = 1\n\
        [expect]\nmin_mos = 9\nmax_loss = 1\n[orchestrator]\ngrace_ms = -1\n";
    let lines: Vec<usize> = parse(text).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 7, 8, 10]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = with(&text);
    }
}

#[test]
fn a_load_stands_beside_the_chain_and_nobody_gives_it_a_cue() {
    let load = "[[load]]\nname = \"crowd\"\ncallee = \"answer\"\n";
    let plan = with(load).unwrap();
    assert_eq!((plan.roles.len(), plan.loads[0].name.as_str()), (2, "crowd"));
    let (line, text) = problem(with(&format!("{load}on = \"there\"")));
    assert!(line == 7 && text.contains("start_after_s"), "{line}: {text}");
}
