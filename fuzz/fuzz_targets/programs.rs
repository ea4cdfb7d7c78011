#![no_main]
//! JSON from other programs: responses of web servers queried by menu trees, commands, and messages of voice
//! agents. The first octet selects the recipient.

use std::time::{Duration, Instant};

use b2b::app::ivr::read_answer;
use b2b::server::control::Order;
use b2b::server::voice::session::Session;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&to, rest)) = data.split_first() else { return };
    match to % 3 {
        0 => {
            if let Ok(told) = read_answer(rest) {
                let clean = |value: &String| !value.contains(|c: char| c.is_control());
                assert!(told.variables.values().all(clean));
            }
        }
        1 => {
            let Ok(value) = serde_json::from_slice(rest) else { return };
            match Order::parse(value) {
                // A parsed order is serialised in a form that parses to the same order.
                Ok(order) => {
                    let written = serde_json::to_value(&order).expect("JSON");
                    assert_eq!(Order::parse(written), Ok(order));
                }
                Err(why) => assert!(!why.is_empty()),
            }
        }
        _ => {
            let (mut session, begins, mut samples) = (Session::default(), Instant::now(), Vec::new());
            for (n, message) in rest.split(|&octet| octet == 0).enumerate() {
                let at = begins + Duration::from_millis(n as u64 * 7);
                let said = match std::str::from_utf8(message) {
                    Ok(text) => session.text(at, text, n).map(drop),
                    Err(_) => session.sound(at, message, &mut samples),
                };
                if let Err(fault) = said {
                    assert!(!fault.word().is_empty() && fault.code() >= 1_000);
                }
                // An odd octet waits for the next message.
                assert!(samples.len() <= rest.len() / 2 + 1);
                let _ = session.transfer();
            }
        }
    }
});
