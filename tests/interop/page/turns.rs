//! The turns of a voice agent in the view of a call.

use serde_json::{Value, json};

use super::browser::Tab;
use super::is_narrow_enough;
use crate::server_support::server;

/// The account of a call with an agent.
fn account() -> Value {
    let of = |at_ms: f64, more: Value| {
        let mut record = json!({"at_ms": at_ms, "leg": 1, "kind": "utterance"});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let sums = json!({"utterances": 2, "interruptions": 1, "first_response_ms": 703,
                      "median_response_ms": 703, "worst_response_ms": 703});
    json!({
        "call": 7, "over": true, "began": "2027-01-15T08:00:00Z", "duration_ms": 12_000, "route": null,
        "legs": [{"leg": 1, "party": "ann", "gateway": null, "signalling": null, "codec": "PCMA", "media": null,
                  "voice_agent": sums,
                  "loudness": {"from_ms": 500, "step_ms": 200, "party": "0000000000000008f0", "agent": "0005ffffffffffffff"}}],
        "verdicts": [], "messages_left_out": 0, "now": null,
        "timeline": {"call": 7, "began": "2027-01-15T08:00:00Z", "legs": [{"leg": 1, "name": "ann"}],
            "records": [
                of(1_000.0, json!({"utterance": 1, "state": "interrupted", "sent_ms": 3_000, "heard_ms": [2_000, 2_140]})),
                of(6_000.0, json!({"utterance": 2, "state": "sent", "response_ms": 703, "sent_ms": 1_500})),
                {"at_ms": 7_000.0, "leg": null, "kind": "decision", "what": "voice_agent/ada",
                 "note": "more marks and clears", "times": 44},
            ],
            "left_out": 0, "left_out_after": 3},
    })
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_shows_the_turns_of_an_agent_and_what_was_not_heard() {
    let mut tab = Tab::new();
    tab.size(1_400, 800);
    let server = server("");
    tab.before_each(&format!(
        "const ask = window.fetch;
         window.fetch = async (url, ...more) => String(url).endsWith('calls/7') ? new Response({}) : ask(url, ...more);",
        json!(account().to_string())
    ));
    tab.open(&format!("http://{}/#call/7", server.http));
    tab.until("the turns", "document.querySelectorAll('svg.turns rect').length === 4");
    let bar =
        |kind: &str, at: u32| format!("[...document.querySelectorAll('svg.turns .{kind}')][{at}].getBBox()");
    // A second of the second utterance is as wide as one of the first.
    let ratio = tab.value(&format!("{}.width / {}.width", bar("spoken", 0), bar("spoken", 1))).as_f64();
    assert!(ratio.is_some_and(|it| (1.99..2.01).contains(&it)), "{ratio:?}");
    let ends = tab.value(&format!(
        "((said, unheard) => said.x + said.width - unheard.x - unheard.width)({}, {})",
        bar("spoken", 0),
        bar("unheard", 0)
    ));
    assert!(ends.as_f64().is_some_and(|it| it.abs() < 0.1), "{ends}");
    // Silence has no stroke, and a second of sound stands above the bar of its utterance.
    let strokes = |kind: &str| {
        format!("document.querySelector('svg.turns path.{kind}').getAttribute('d').split('M').length - 1")
    };
    assert_eq!([tab.value(&strokes("party")), tab.value(&strokes("agent"))], [2, 15]);
    let begins = tab.value(&format!(
        "document.querySelector('svg.turns path.agent').getBBox().x - {}.x",
        bar("spoken", 0)
    ));
    assert!(begins.as_f64().is_some_and(|it| it.abs() < 30.0), "{begins}");
    let words = tab.value("document.querySelector('ol.words').textContent");
    for part in [
        "1.000 s agent speaks: utterance 1; interrupted, 2000 to 2140 of 3000 ms were heard, to ann",
        "agent speaks: utterance 2, 703 ms after the party; all 1500 ms were sent",
        "voice_agent/ada (44 times): more marks and clears",
    ] {
        assert!(words.as_str().is_some_and(|it| it.contains(part)), "{words}");
    }
    tab.reads("2 times, 1 interrupted");
    tab.reads("703, 703, 703 ms");
    tab.size(360, 760);
    is_narrow_enough(&mut tab, "the turns of an agent");
    tab.is_sound();
}
