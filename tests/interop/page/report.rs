//! The report of a run in Chromium, with the width of a mobile phone.

use std::path::Path;
use std::process::Command;

use super::browser::Tab;
use crate::common::audio::{speech_like, write_wav};

/// The page of a run of four seconds, with a limit of each kind.
fn report(folder: &Path) -> String {
    write_wav(&folder.join("speech.wav"), 8_000, &speech_like(8_000, 4.0));
    let plan = "[topology]\nsource.audio_file = \"speech.wav\"\nsink.output = \"null\"\nsink.wav = \"heard.wav\"\n\
                sink.sip_bind = \"127.0.0.1:0\"\n[expect]\nmin_duration_s = 3\nmax_arrival_gap_ms = 10000\n\
                max_latency_ms = 10000\nmin_mos = 5\nmin_intact_pct = 1\n";
    let path = folder.join("short.plan.toml");
    std::fs::write(&path, plan).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["orchestrator", "--plan"]).arg(&path).arg("--report").arg(folder.join("report"));
    let output = command.output().expect("the program");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    format!("file://{}", folder.join("report/report.html").display())
}

#[test]
#[ignore = "needs chromium"]
fn the_report_of_a_short_run_is_read_on_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut tab = Tab::new();
    let page = report(folder.path());
    for width in [360, 400] {
        tab.size(width, 800);
        tab.open(&page);
        tab.reads("Expected and measured");
        tab.until("the width", &format!("innerWidth === {width}"));
        let wide = tab.value("[document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(wide[0], wide[1], "the page scrolls sideways");
        // Measured values are visible without scrolling; diagrams and long tables indicate that they
        // continue.
        let limits = "document.querySelector('.limits').closest('.scroll')";
        let widths = tab.value(&format!("[{limits}.scrollWidth, {limits}.clientWidth]"));
        assert_eq!(widths[0], widths[1], "the table of limits is cut at {width}");
        let cut = "[...document.querySelectorAll('.scroll')].filter((it) => it.scrollWidth > it.clientWidth)";
        assert!(tab.value(&format!("{cut}.length")).as_u64() > Some(0), "nothing is wider than a phone");
        let shadow = "getComputedStyle(it).backgroundImage.includes('gradient') && it.tabIndex === 0";
        assert_eq!(tab.value(&format!("{cut}.every((it) => {shadow})")), true, "a cut table looks whole");
    }
    tab.is_sound();
}
