//! The table of the lab's settings, and the constraints between them.

use std::path::PathBuf;

use b2b_config::keys;
use b2b_config::keys::{Keys, SHARED};
use b2b_config::role_name::RoleName::{self, B2bua, Load, Mixer, Orchestrator, Sink, Source};
use b2b_media::dtmf::Sequence;
use b2b_media::resample::Method;
use b2b_ua::{Codec, Engine, ImpairConfig};

use super::value::{self, Scenario};
use crate::load::hearing::Ears;
use crate::load::holding::Holding;
use crate::role::player::PlayerCommand;
use crate::role::sink::Output;

const LAB_ROLES: &[RoleName] = &[Orchestrator, Source, Mixer, Sink];
const CALLS: &[RoleName] = &[Source, Mixer, Sink];

keys! {
    /// Settings of the lab's roles besides [`SHARED`].
    LAB, LabFlags, "":
    one engine: Engine = "native", LAB_ROLES, Text "NAME" engine,
        "Engine for SIP and RTP: native, or baresip in a build with that feature. With the orchestrator it applies to every role and overrides the plan";
    one rtp_timeout_s: f64 = "20", CALLS, Number "SECONDS" seconds,
        "End a call that gets no RTP for this long";
    maybe audio_file: PathBuf, &[Source], InputPath "FILE" path,
        "The file to play: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm (required)";
    one prebuffer_ms: u32 = "1000", &[Source], Integer "MS" prebuffer_ms,
        "Audio that is decoded before dialling; 1000 to 4000";
    one ptime_ms: u32 = "20", &[Source, Load], Integer "MS" ptime_ms,
        "Packet time: 10 to 60 in steps of 10";
    one codec: Codec = "pcmu", &[Source, Load], Text "CODEC" codec,
        "The codec to offer first: pcmu or pcma";
    one resampler: Method = "sinc", &[Source], Text "METHOD" resampler,
        "Resampling to 8 kHz: sinc (band-limited) or linear (cheap, aliases)";
    switch r#loop, &[Source], Switch,
        "Repeat the file";
    maybe duration_s: f64, &[Source, Load], Number "SECONDS" seconds,
        "Source: hang up after this much audio. Load: start no call after this time";
    one aplay_cmd: PlayerCommand = "aplay -f S16_LE -r 8000 -c 1", &[Sink], Text "COMMAND" command,
        "Player command, which reads S16_LE, 8 kHz, mono from standard input. Split like a shell command, but run without a shell";
    one output: Output = "auto", &[Sink], Text "WHERE" output,
        "aplay: play, or end with exit code 66, as with --aplay-cmd alone; auto: play if there is a player and a sound card; null: do not play";
    maybe wav: PathBuf, &[Sink], OutputPath "FILE" path,
        "Write the received audio to this WAV file";
    maybe calls: u32, &[Sink, Load], Integer "NUMBER" calls,
        "Sink: end after this many calls, [default: 1]. Load: make this many calls at most";
    maybe dtmf_seq: Sequence, &[Mixer], Text "DIGITS" dtmf_seq,
        "Digits to play: 0-9 * # A-D. Punctuation of numbers (+ - . ( ) and spaces) is skipped";
    one dtmf_period_ms: u32 = "2000", &[Mixer], Integer "MS" dtmf_period_ms,
        "Period between the starts of two sequences";
    one mix_gain_in: f64 = "0.5", &[Mixer], Number "FACTOR" gain,
        "Gain of the caller's audio, a factor";
    one mix_gain_dtmf: f64 = "0.5", &[Mixer], Number "FACTOR" gain,
        "Gain of the tones, a factor";
    one jitter_ms: u32 = "60", &[Sink, Mixer], Integer "MS" jitter_ms,
        "Minimum playout delay of the jitter buffer; below 60 only with --force";
    switch force, &[Sink, Mixer], Switch,
        "Allow a --jitter-ms below 60";
    maybe impair: ImpairConfig, &[Sink, Mixer, Load], Text "LIST" impair,
        "Impair received RTP (load: and sent RTP), with a seed: loss=1,jitter=20,reorder=0.5,dup=0.1,seed=7 (percent; jitter in ms)";
    maybe plan: PathBuf, &[Orchestrator, Load], InputPath "FILE" path,
        "The plan to run, TOML (orchestrator: required)";
    one grace_ms: u64 = "5000", &[Orchestrator], Integer "MS" wait_ms,
        "How long to wait for roles to exit by themselves";
    one kill_ms: u64 = "15000", &[Orchestrator], Integer "MS" wait_ms,
        "Send SIGKILL to roles that still run this long after SIGTERM";
    one ready_ms: u64 = "10000", &[Orchestrator], Integer "MS" wait_ms,
        "How long to wait for a role to be READY";
    maybe report: PathBuf, &[Orchestrator, Load], OutputPath "FOLDER" path,
        "Write report.json and report.html (orchestrator) or load.json (load), and junit.xml, into this folder";
    one rate: f64 = "1", &[Load], Number "CALLS" rate,
        "New calls per second";
    maybe ramp_s: f64, &[Load], Number "SECONDS" seconds,
        "Increase the rate linearly to --rate over this time";
    one hold_s: Holding = "10", &[Load], Text "SECONDS" holding,
        "Duration of calls: 10, \"uniform 5 15\", \"exponential 20\"";
    maybe at_once: u32, &[Load], Integer "CALLS" calls,
        "Limit of concurrent calls; further callers wait, and are measured from their scheduled time";
    maybe caller: Scenario, &[Load], Text "STEPS" caller,
        "Steps of each caller. Without it: \"dial TARGET; say mark; stay; hang up\". docs/load.md lists the steps";
    maybe callee: Scenario, &[Load], Text "STEPS" callee,
        "Steps of each callee, like \"ring; wait 1 s; answer; say mark; hung up\". Without --target the load only answers";
    maybe scenario: PathBuf, &[Load], InputPath "FILE" path,
        "A SIPp scenario (XML) instead of --caller or --callee: it calls if its first message is a <send>";
    many scenario_key: (String, String), &[Load], Text "NAME=VALUE" scenario_key,
        "Value of [NAME] in the scenario, as SIPp's -key; may be repeated";
    many scenario_fields: PathBuf, &[Load], InputPath "FILE" path,
        "Values of [field0], [field1] … in the scenario, a line for each call, as SIPp's -inf; may be repeated";
    switch rtp_echo, &[Load], Switch,
        "Echo the RTP that the scenario's [media_port] receives";
    maybe ears: Ears, &[Load], Text "WHAT" ears,
        "Expected audio of legs that `say mark`: mark (the far end's mark, if it is a load too; the default), echo (their own, if the far end echoes), none; sample=10% after it or alone: this share of calls is checked";
    switch signalling_only, &[Load], Switch,
        "Send no audio: session descriptions have a port that is not read";
    maybe watch_pid: u32, &[Load], Integer "PID" pid,
        "Process ID of the system under test on this machine: its CPU time and memory are measured";
    one seed: u64 = "1", &[Load], Integer "NUMBER" seed,
        "Seed of random choices: the same seed makes the same choices";
    switch target_is_mine, &[Load], Switch,
        "Confirm that you may load a target that is neither on this machine's loopback nor in a network namespace";
}

/// All settings: those that a plan may contain, and those of other roles.
pub const ALL: Keys = Keys(&[
    SHARED,
    LAB,
    #[cfg(feature = "server")]
    b2b_server_config::flags::SERVER,
    #[cfg(feature = "phone")]
    b2b_phone::flags::PHONE,
    #[cfg(feature = "phone")]
    b2b_phone::flags::SCRIPTED,
]);

/// Settings with constraints between them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Together {
    /// Whether a file to play is set.
    pub audio_file: bool,
    /// Whether a configuration is set.
    pub config: bool,
    /// The requested playout delay.
    pub jitter_ms: Option<u32>,
    /// Whether `force` is set.
    pub forced: bool,
}

/// Checks the constraints between the settings of a role.
///
/// # Errors
/// The missing or invalid key, and the remedy.
pub fn check_together(role: RoleName, settings: Together) -> Result<(), (&'static str, String)> {
    if role == Source && !settings.audio_file {
        return Err((
            "audio_file",
            "a source needs a file to play: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm"
                .to_string(),
        ));
    }
    if role == B2bua && !settings.config {
        return Err(("config", "a b2bua needs its configuration, like b2bua.toml".to_string()));
    }
    if settings.jitter_ms.is_some_and(|ms| ms < 60) && !settings.forced {
        let why = "a playout delay below 60 ms breaks up on ordinary networks; use at least 60, or force it: --force, in a plan force = true";
        return Err(("jitter_ms", why.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_jitter_needs_force() {
        let low = Together { jitter_ms: Some(20), ..Together::default() };
        assert_eq!(check_together(Sink, low).unwrap_err().0, "jitter_ms");
        assert_eq!(check_together(Sink, Together { forced: true, ..low }), Ok(()));
    }
}
