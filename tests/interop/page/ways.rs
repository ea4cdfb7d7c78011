//! Routes on the page, and a call started there.

use serde_json::json;

use super::browser::Tab;
use super::{is_narrow_enough, only_call, server};
use crate::server_support::phone::Phone;

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_lists_routes_and_explains_a_number_by_keyboard() {
    let mut tab = Tab::new();
    tab.size(360, 760);
    let server = server(
        "[[user]]\nname = \"1001\"\npassword = \"x\"\n\
         [[route]]\nname = \"out\"\ncalled = '0\\d+'\nclass = \"internal\"\nto = \"sip:$0@192.0.2.1\"\n\
         [[route]]\nname = \"rest\"\nreject = 404\n",
    );
    tab.open(&format!("http://{}/", server.http));
    tab.until("live events", "document.querySelector('#link').dataset.link === 'live'");
    tab.press("0");
    tab.reads("class internal");
    tab.reads("answer 404");
    tab.value("document.querySelector('form.fields input').focus()");
    tab.types("0123");
    tab.press("Tab");
    tab.types("1001");
    tab.press("Enter");
    tab.reads("MATCH");
    // The result is announced to screen readers, too.
    let told = tab.value("document.querySelector('p[role=status].figure').innerText");
    assert!(told.as_str().is_some_and(|it| it.contains("dial sip:0123@192.0.2.1")), "{told}");
    is_narrow_enough(&mut tab, "an explanation");
    tab.value("document.querySelectorAll('form.fields input')[2].focus()");
    tab.types("nowhere");
    tab.press("Enter");
    tab.reads("the query takes called=");
    tab.trouble.retain(|it| !it.contains("400"));
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_starts_a_call_and_shows_why_one_cannot_be_started() {
    let mut tab = Tab::new();
    tab.size(360, 760);
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let server = server("[[user]]\nname = \"1001\"\npassword = \"x\"\n");
    tab.open(&format!("http://{}/", server.http));
    tab.reads("Start a call");
    tab.press("n");
    tab.until("the form", "document.activeElement.id.startsWith('field-')");
    tab.types("user/nobody");
    tab.press("Tab");
    tab.types(&bob.uri());
    tab.press("Enter");
    tab.reads("nobody");
    tab.until("the error", "document.querySelector('.problem').innerText.length > 10");
    is_narrow_enough(&mut tab, "an error");
    tab.value("document.querySelector('form.fields input').focus()");
    tab.value("document.querySelector('form.fields input').value = ''");
    tab.types(&ann.uri());
    tab.press("Enter");
    ann.hear("INVITE");
    let id = only_call(&server);
    tab.until("the call", &format!("location.hash === '#call/{id}'"));
    tab.trouble.retain(|it| !it.contains("404"));
    tab.is_sound();
}

#[test]
#[ignore = "needs chromium; .ci/run installs it"]
fn interop_page_offers_no_call_to_a_token_that_may_start_none() {
    let mut tab = Tab::new();
    let server = server("[[http.tokens]]\nname = \"look\"\ntoken = \"look-token-1\"\nscopes = [\"read\"]\n");
    tab.open(&format!("http://{}/", server.http));
    tab.until("the question", "document.querySelector('#token').open");
    tab.value("document.querySelector('#token-text').focus()");
    tab.types("look-token-1");
    tab.press("Enter");
    tab.reads("There are no active calls.");
    tab.until(
        "its scopes",
        "performance.getEntriesByType('resource').some((it) => it.name.endsWith('/token'))",
    );
    tab.press("n");
    assert_eq!(tab.value("document.querySelector('main details').hidden"), json!(true));
    tab.trouble.retain(|it| !it.contains("401"));
    tab.is_sound();
}
