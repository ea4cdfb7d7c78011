//! The player thread with well-behaved and misbehaving children.

use std::time::{Duration, Instant};

use super::player::*;
use b2b_media::tap::Age;

fn command(text: &str) -> PlayerCommand {
    text.parse().unwrap()
}

fn wait_for_failure(player: &Player) -> PlayerError {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if let Some(failure) = player.failure() {
            return failure.clone();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the player's end was not noticed");
}

#[test]
fn a_command_is_split_as_a_shell_would() {
    let parsed = command(r#"play "two words" -c 1 '$HOME;rm'"#);
    assert_eq!(parsed.to_string(), "play two words -c 1 $HOME;rm");
    assert_eq!(command("aplay -f S16_LE -r 8000 -c 1"), PlayerCommand::default());
    assert_eq!("  ".parse::<PlayerCommand>(), Err(PlayerCommandError::Empty));
    assert!(matches!("aplay 'x".parse::<PlayerCommand>(), Err(PlayerCommandError::Quotes(_))));
}

#[test]
fn a_program_exists_on_the_path_or_not() {
    assert!(command("sh").exists());
    assert!(command("/bin/sh").exists());
    assert!(!command("no-such-player-anywhere").exists());
    assert!(!command("/etc/passwd").exists());
}

#[test]
fn what_goes_into_the_tap_comes_out_of_the_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heard.raw");
    let (player, mut tap) = Player::start(&command(&format!("dd of={}", path.display()))).unwrap();
    let captured = b2b_base::util::ntp::NtpTime::from_system(std::time::SystemTime::now());
    let age = Age { captured_at: Some(captured), heard_at: std::time::SystemTime::now() };
    (0..20i16).for_each(|n| tap.push(&[n; 160], Some(age)));
    while player.latency().p50_p95_ms().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    player.finish();
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes.len(), 20 * 320);
    assert_eq!(&bytes[320..324], &[1, 0, 1, 0]);
}

#[test]
fn a_missing_player_is_an_error_at_the_start() {
    let error = Player::start(&command("no-such-player-anywhere -x")).unwrap_err();
    assert!(matches!(&error, PlayerError::Start { command, .. } if command.starts_with("no-such")));
}

#[test]
fn a_player_that_ends_at_once_is_an_error_with_its_last_words() {
    let error = Player::start(&command("sh -c 'echo no sound card >&2; exit 3'")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit status: 3") && text.contains("no sound card"), "{text}");
}

#[test]
fn a_player_that_dies_later_is_noticed() {
    let (player, mut tap) = Player::start(&command("sh -c 'sleep 0.5; echo unplugged >&2; exit 1'")).unwrap();
    (0..10).for_each(|_| tap.push(&[1; 160], None));
    let error = wait_for_failure(&player);
    assert!(error.to_string().contains("unplugged"), "{error}");
    player.finish();
}

#[test]
fn a_player_that_never_reads_delays_neither_the_tap_nor_the_end() {
    let (player, mut tap) = Player::start(&command("sleep 600")).unwrap();
    // Ten seconds of audio: pipe and ring are full, the rest is dropped at once.
    (0..500).for_each(|_| tap.push(&[1; 160], None));
    let start = Instant::now();
    player.finish();
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_player_that_ignores_sigterm_is_killed() {
    let script = "trap \"\" TERM; while true; do sleep 1 || true; done";
    let (player, _tap) = Player::start(&command(&format!("sh -c '{script}'"))).unwrap();
    let start = Instant::now();
    player.finish();
    assert!(start.elapsed() < Duration::from_secs(60));
}
