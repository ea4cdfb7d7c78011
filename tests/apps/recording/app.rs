//! Recording of a call to an application: `record = true` with `app`.

use b2b::client::{Codec, EndCause};

use super::{FOLDER, channels, files, with_tone};
use crate::apps::parties::{Party, within};
use crate::server_support::{server, until};

const CALLER: f64 = 700.0;
const PROMPT: f64 = 900.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_is_recorded_with_what_it_says_and_what_the_caller_says() {
    let server = server(&format!(
        "{FOLDER}[[route]]\ncalled = \"menu\"\napp = \"ivr/menu\"\nrecord = true\n\
         [[route]]\ncalled = \"quiet\"\napp = \"ivr/menu\"\n\
         [[ivr]]\nname = \"menu\"\n[[ivr.node]]\nname = \"hello\"\nkind = \"play_prompt\"\nprompt = \"tone:900:2000\"\n"
    ));
    for number in ["quiet", "menu"] {
        let ann = Party::calls("ann", Codec::Pcma, number, server.sip, CALLER).await;
        assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    }
    let folder = server.folder.path().join("rec");
    let all = until("the recording", || {
        let found = files(&folder);
        found.iter().any(|path| path.extension().is_some_and(|end| end == "wav")).then_some(found)
    });
    assert_eq!(all.len(), 1, "{all:?}");
    let [left, right] = channels(&all[0]);
    assert!(left.len() > 8_000, "{} samples", left.len());
    assert!(with_tone(&left, CALLER) > 10 && with_tone(&right, CALLER) < 5);
    assert!(with_tone(&right, PROMPT) > 10 && with_tone(&left, PROMPT) < 5);
}
