//! Parsing of load plans.

use super::*;
use crate::load::hearing::Hears;

fn parse(text: &str) -> Result<LoadPlan, PlanError> {
    LoadPlan::parse(Path::new("plans/load.toml"), text)
}

#[test]
fn a_plan_says_what_flags_say_and_more() {
    let plan = parse(
        r#"
        [load]
        target = "sip:1000@127.0.0.1"
        hold_s = "uniform 1 2"
        codecs = ["opus", "PCMU"]
        ears = "echo sample=10%"
        impair = "loss=2,jitter=40"
        [[stage]]
        rate = 10
        ramp_s = 5
        hold_s = 20
        [[stage]]
        rate = 0
        ramp_s = 1
        [caller]
        steps = ["dial 1000", "30 %: press 1", "play a.wav", "stay", "hang up"]
        [expect]
        max_setup_p99_ms = 200
        "#,
    )
    .unwrap();
    assert_eq!(plan.stages.len(), 2);
    let steps = plan.callers[0].steps.clone().unwrap();
    assert_eq!((steps.len(), &steps[2].deed), (5, &Deed::Play("plans/a.wav".to_owned())));
    assert_eq!(plan.ears, Some(Ears { hears: Hears::Echo, sample: Some(0.1) }));
    assert_eq!(plan.impair.map(|it| (it.loss_pct, it.jitter_ms)), Some((2.0, 40.0)));
    assert_eq!(plan.holding, Some(Holding::Uniform(1.0, 2.0)));
    assert_eq!(plan.codecs, Some(vec![Codec::Opus, Codec::Pcmu]));
    assert_eq!((plan.expect.max_setup_p99_ms, plan.expect.min_done_pct), (Some(200.0), 100.0));
}

#[test]
fn several_kinds_have_names_and_shares() {
    let plan = parse(
        r#"
        [[caller]]
        name = "short"
        share = 3
        steps = ["dial 1", "hang up"]
        [[caller]]
        name = "refused"
        steps = ["dial 2", "expect 486"]
        [[callee]]
        name = "phone"
        called = ["1", "4*"]
        steps = ["answer", "hung up"]
        "#,
    )
    .unwrap();
    let callers: Vec<_> = plan.callers.iter().map(|it| (it.name.as_str(), it.share)).collect();
    assert_eq!(callers, [("short", 3.0), ("refused", 1.0)]);
    assert_eq!(plan.callees[0].called, ["1", "4*"]);
}

#[test]
fn what_is_wrong_says_where_and_what_to_write() {
    for (text, said) in [
        ("[load]\ntarge = 1", "unknown field `targe`"),
        ("[load]\nhold_s = \"long\"", "load.hold_s: \"long\" is no length"),
        ("[load]\ncodecs = [\"g729\"]", "use opus, g722, pcmu or pcma"),
        ("[load]\nears = \"sample=10\"", "load.ears: not a part of the calls"),
        ("[[stage]]\nrate = -1", "stage.rate: -1 is no rate"),
        ("[caller]\nsteps = [\"jump\"]", "caller.steps: the step `jump`"),
        ("[expect]\nmin_done = 3", "unknown field `min_done`"),
        ("[load]\nroutes = [\"\"]", "load.routes: \"\" is not a route"),
        ("[load]\ntransport = \"sctp\"", "expected one of `udp`, `tcp`, `tls`"),
        ("[load]\nsrtp = true", "srtp"),
        ("[callee]\nregister_per_s = 0", "callee.register_per_s: 0 is no rate"),
        ("[callee]\nregistrar = \"here\"", "callee.registrar: bad SIP URI"),
        ("[callee]\nstep = 1", "unknown field `step`"),
        ("[[callee]]\nstep = 1", "unknown field `step`"),
        ("[callee]\ncalled = [\"1\"]", "callee.steps: there are none"),
        ("[[caller]]\nname = \"a\"\n[[caller]]", "caller.name: one of several [[caller]] has none"),
        ("[[caller]]\nname = \"a\"\n[[caller]]\nname = \"a\"", "caller.name: there are two \"a\""),
        ("[caller]\nname = \"a\"\n[callee]\nname = \"a\"\nsteps = [\"answer\"]", "is a caller's name, too"),
        ("[caller]\nshare = -1", "caller.share: -1 is no share"),
        ("[caller]\nshare = 0", "caller.share: no calls are made"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("load.toml"), "{text}: {error}");
    }
}
