//! `examples/python/remote.py` behaves as documented in `docs/control.md`.

use std::process::{Child, Command, Stdio};

use crate::server::control::all_quiet;
use crate::server::remote::{PATIENT, application};
use crate::server_support::phone::Phone;
use crate::server_support::{server, until};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs python3"]
fn the_python_program_asks_for_a_digit_and_sends_the_caller_where_it_says() {
    let server = server(&format!(
        "[[remote]]\nname = \"agent\"\nfallback = \"echo\"\n{PATIENT}\
         [[conference]]\nname = \"blue\"\nannounced = false\n\
         [[route]]\ncalled = \"200\"\napp = \"remote/agent\"\n"
    ));
    let child = Command::new("python3")
        .args(["examples/python/remote.py", &server.http.to_string(), "agent", "conference/blue"])
        .stdout(Stdio::null())
        .spawn();
    let mut child = Killed(child.expect("python3"));
    until("the program", || (server.metric("b2b_remote_programs") == 1.0).then_some(()));
    let mut done = 0.0;
    for (key, place) in [('1', "conference/blue"), ('5', "echo")] {
        let ann = Phone::new("ann");
        let (from, call_id) = ann.ask_for(server.sip, "200");
        let answer = ann.hear("SIP/2.0 200").0;
        let dialog = ann.confirmed(&answer, (from, call_id), server.sip);
        done += 1.0;
        // Its `answer` is done, so the command in progress is its question.
        until("the question", || {
            let over = server.metric("b2b_commands_total{result=\"completed\"}") == done;
            (over && server.metric("b2b_held{what=\"commands\"}") == 1.0).then_some(())
        });
        ann.press(&dialog, 10, key);
        until(place, || (application(&server) == place).then_some(()));
        done += 1.0;
        ann.hang_up(&dialog);
        all_quiet(&server);
    }
    assert!(child.0.try_wait().expect("waitable").is_none(), "it goes on");
    assert_eq!(server.metric("b2b_remote_calls_total{result=\"decided\"}"), 2.0);
}
