//! What is wrong with menu trees, with line and fix.

use crate::parse_made;

/// A tree whose first node is this, from line 3 on; a node `bye` stands behind it.
fn error(node: &str) -> String {
    let text = format!(
        "[[ivr]]\nname = \"main\"\n[[ivr.node]]\n{node}\n[[ivr.node]]\nname = \"bye\"\nkind = \"hangup\"\n"
    );
    match parse_made(&text) {
        Ok(config) => panic!("{:?}", config.apps.ivrs),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_have_the_line_of_the_node_and_a_fix() {
    for (node, words) in [
        ("kind = \"hangup\"", "line 3: `ivr.node.name` is missing"),
        (
            "name = \"a\"\nkind = \"dial\"",
            "line 5: `ivr.node.kind` = \"dial\": no such kind; choose play_prompt",
        ),
        (
            "name = \"a\"\nkind = \"hangup\"\nnext = \"bye\"",
            "line 6: `ivr.node.next` = \"…\": a node of the kind hangup has no such key",
        ),
        ("name = \"a\"\nkind = \"play_prompt\"", "line 3: `ivr.node.prompt` is missing"),
        (
            "name = \"a\"\nkind = \"play_prompt\"\nprompt = \"missing.wav\"\nnext = \"bye\"",
            "line 3: `ivr.node.name` = \"a\": there is no file /etc/b2b/prompts/missing.wav",
        ),
        (
            "name = \"a\"\nkind = \"play_prompt\"\nprompt = \"tone:5:5\"\nnext = \"bye\"",
            "line 6: `ivr.node.prompt` = \"tone:5:5\": it is not a prompt; write a file's name",
        ),
        (
            "name = \"a\"\nkind = \"play_prompt\"\nprompt = \"x.wav\"\nnext = \"by\"",
            "line 3: `ivr.node.name` = \"a\": it leads to \"by\", which is not a node of the flow",
        ),
        (
            "name = \"a\"\nkind = \"play_prompt\"\nprompt = \"x.wav\"",
            "line 7: `ivr.node.name` = \"bye\": the node is unreachable",
        ),
        (
            "name = \"a\"\nkind = \"transfer\"\nto = \"user/1\"\nfailed = \"bye\"",
            "line 6: `ivr.node.to`: there is no user \"1\"",
        ),
        (
            "name = \"a\"\nkind = \"queue\"\nto = \"sales\"",
            "line 6: `ivr.node.to`: there is no application \"queue/sales\"; did you mean \"ivr/main\"?",
        ),
        (
            "name = \"a\"\nkind = \"set\"\nvalues = { x = \"${y\" }\nnext = \"bye\"",
            "line 6: `ivr.node.values` = \"${y\": a ${ without }",
        ),
        (
            "name = \"a\"\nkind = \"http\"\nurl = \"http://${host}/\"\nfailed = \"bye\"",
            "line 6: `ivr.node.url` = \"http://${host}/\": not a URL",
        ),
        (
            "name = \"a\"\nkind = \"menu\"\nchoices = { 1 = 2 }",
            "line 6: `ivr.node.choices` is a whole number, but takes text in quotes",
        ),
    ] {
        let error = error(node);
        assert!(error.starts_with(words), "{error}\nfor\n{node}");
    }
}

#[test]
fn a_tree_has_a_name_of_its_own_and_nodes() {
    let error = |text: &str| parse_made(text).unwrap_err().to_string();
    assert!(error("[[ivr]]\n").starts_with("line 1: `ivr.name` is missing"));
    assert!(error("[[ivr]]\nname = \"a\"\n").contains("`ivr.node` is missing"));
    let tree = "[[ivr]]\nname = \"a\"\nnode = [{ name = \"x\", kind = \"hangup\" }]\n";
    assert!(
        error(&format!("{tree}{tree}")).contains("the application \"ivr/a\" is there already, on line 2")
    );
    let routed = |app: &str| format!("{tree}[[route]]\napp = \"{app}\"\n");
    assert!(parse_made(&routed("ivr/a")).is_ok());
    let unknown = error(&routed("ivr/b"));
    assert!(
        unknown.starts_with("line 5: `route.app`: there is no application \"ivr/b\"; did you mean"),
        "{unknown}"
    );
    assert!(error(&routed("a b")).contains("write it like ivr/main"));
}
