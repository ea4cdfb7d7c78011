//! Validation by the builder.

use super::*;
use crate::Tls;

#[test]
fn a_realm_without_credentials_is_a_mistake_and_a_password_is_not_shown() {
    let builder = ClientBuilder::new().identity("sip:a@127.0.0.1").realm("example.com");
    let error = builder.clone().build().expect_err("no credentials");
    assert_eq!(error.mistakes[0].key, "realm");
    let builder = builder.credentials("a", "secret");
    assert!(!format!("{builder:?}").contains("secret"));
    let settings = builder.settings().expect("good");
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn all_mistakes_come_together_each_with_its_fix() {
    let built = ClientBuilder::new()
        .identity("sip:nobody")
        .bind("localhost")
        .codecs([Codec::Pcmu, Codec::Pcmu])
        .rate_hz(44_100)
        .ptime_ms(30)
        .jitter_ms(5_000)
        .rtp_timeout(Duration::ZERO)
        .event_buffer(0)
        .max_calls(0)
        .digit_ms(10)
        .display_name("a\nb")
        .credentials("", "secret")
        .registrar("tel:+1")
        .register_expires(Duration::ZERO)
        .register_retry(Duration::ZERO, Duration::ZERO)
        .keep_alive(Duration::from_millis(1))
        .instance("my phone")
        .outbound_proxy("proxy")
        .tls(Tls::ca_file("/nowhere/ca.pem"))
        .header("From", "me")
        .build();
    let error = built.expect_err("many mistakes");
    let fix = &error.mistakes[0].fix;
    assert!(fix.contains("taken for its host") && fix.contains("write sip:nobody@HOST"), "{fix}");
    let keys: Vec<_> = error.mistakes.iter().map(|mistake| mistake.key).collect();
    let all = [
        "identity",
        "bind",
        "codecs",
        "rate_hz",
        "ptime_ms",
        "jitter_ms",
        "rtp_timeout",
        "event_buffer",
        "max_calls",
        "digit_ms",
        "display_name",
        "credentials",
        "registrar",
        "register_expires",
        "register_retry",
        "keep_alive",
        "instance",
        "outbound_proxy",
        "tls",
        "header",
    ];
    assert_eq!(keys, all);
    assert!(error.mistakes.iter().all(|mistake| !mistake.fix.is_empty()));
    assert_eq!(error.to_string().lines().count(), all.len(), "{error}");
}

#[test]
fn an_identity_on_loopback_stays_there_and_another_one_does_not() {
    let bind = |identity: &str| {
        ClientBuilder::new().identity(identity).settings().expect("settings").agent.bind.to_string()
    };
    assert_eq!(bind("sip:a@127.0.0.7:5060"), "127.0.0.7:0");
    assert_eq!(bind("sip:a@[::1]"), "[::1]:0");
    assert_eq!(bind("sip:a@192.0.2.1"), "0.0.0.0:0");
    assert_eq!(bind("sip:a@example.com"), "0.0.0.0:0");
}

/// The audio settings of a client: devices, levels, rate.
fn sound(builder: ClientBuilder) -> (bool, bool, u32) {
    (matches!(builder.audio, Audio::Devices(_)), builder.levels, builder.rate_hz)
}

#[test]
fn presets_have_the_devices_levels_and_rate_that_they_are_for() {
    let of = || ClientBuilder::new().identity("sip:a@127.0.0.1");
    assert_eq!(sound(of().softphone()), (true, true, 16_000));
    assert_eq!(sound(of().agent()), (true, true, 16_000));
    assert_eq!(sound(of().softphone().headless()), (false, false, 8_000));
    assert_eq!(sound(of()), (false, false, 16_000), "nobody is listened to unasked");
    assert_eq!(sound(ClientBuilder::of_a_person("sip:a@127.0.0.1")), (true, false, 16_000));
    assert_eq!(sound(of().softphone().audio(Audio::None)), (false, true, 16_000));
}

#[cfg(feature = "processing")]
#[test]
fn presets_process_what_they_are_for() {
    let of = || ClientBuilder::new().identity("sip:a@127.0.0.1");
    assert_eq!(of().softphone().processing, Processing::ALL);
    assert_eq!(of().agent().processing, Processing { echo: false, ..Processing::ALL });
    assert_eq!(of().softphone().headless().processing, Processing::NONE);
    assert_eq!(ClientBuilder::of_a_person("sip:a@127.0.0.1").processing, Processing::ALL);
}
