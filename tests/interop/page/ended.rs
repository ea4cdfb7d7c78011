//! The ended calls on the page: their table, names and filter by time.

use serde_json::json;

use super::browser::Tab;
use super::parties::untrusting;
use crate::server_support::phone::Phone;
use crate::server_support::until;

/// A number, a time or a word of a cell that is not on one line.
const BROKEN: &str = "[...document.querySelectorAll('.ended tbody td')].flatMap((cell) => {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    const broken = [];
    while (walker.nextNode()) for (const word of walker.currentNode.data.matchAll(/[^ ]+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(`${cell.dataset.label}: ${word[0]}`);
    }
    return broken;
  })";

/// An office's numbers: a trunk's called number, and a long reason in each failed row.
const OFFICE: &str = "[[user]]\nname = \"1001\"\npassword = \"one\"\ndisplay_name = \"Ann Archer\"\n\
    [[user]]\nname = \"1003\"\npassword = \"three\"\n\
    [[route]]\nname = \"users\"\ncalled = '1\\d\\d\\d'\nto = \"user/$0\"\n";

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_breaks_no_number_of_an_ended_call_names_parties_and_filters() {
    let mut tab = Tab::new();
    tab.ask("Emulation.setTimezoneOverride", json!({ "timezoneId": "America/New_York" }));
    let server = untrusting(OFFICE);
    tab.open(&format!("http://{}/", server.http));
    for (user, password, number, status) in [
        ("1001", "one", "+442079460000", "404"),
        ("1001", "one", "1003", "480"),
        ("1003", "three", "1001", "480"),
    ] {
        let phone = Phone::new(user);
        phone.ask_as_user(server.sip, number, password);
        phone.hear(&format!("SIP/2.0 {status}"));
    }
    until("three ended calls", || {
        (server.get("/calls/ended").json()["calls"].as_array().map(Vec::len) == Some(3)).then_some(())
    });
    tab.reads("failed: unallocated number");
    tab.reads("1001 (Ann Archer)");
    let cells = |name: &str| {
        format!(
            "[...document.querySelectorAll('.ended td[data-label=\"{name}\"]')].map((it) => it.innerText)"
        )
    };
    assert_eq!(tab.value(&cells("from")), json!(["1003", "1001 (Ann Archer)", "1001 (Ann Archer)"]));
    assert_eq!(tab.value(&cells("to")), json!(["1001 (Ann Archer)", "1003", "+442079460000"]));
    for width in [1_280, 1_366, 1_600] {
        tab.size(width, 800);
        assert_eq!(tab.value(BROKEN), json!([]), "at {width} px");
    }

    let shown = "document.querySelector('.ended .figure').innerText";
    for (minutes, count) in [(60, 0), (-60, 3)] {
        // The field is in the time of the browser, which is hours from the server's.
        tab.value(&format!(
            "(() => {{ const local = new Date(Date.now() + ({minutes} - new Date().getTimezoneOffset()) * 60000); \
             const field = document.querySelector('.ended input[type=datetime-local]'); \
             field.value = local.toISOString().slice(0, 16); field.dispatchEvent(new Event('input')); }})()"
        ));
        tab.until("the filter", &format!("{shown}.startsWith('{count} shown')"));
    }
    tab.is_sound();
}
