//! The example stays as short as it is said to be.

#[test]
fn a_handler_that_dials_and_bridges_has_under_20_lines() {
    let text = include_str!("../../examples/inbound_bridge.rs");
    let handler =
        text.split("// handler: begin").nth(1).and_then(|rest| rest.split("// handler: end").next());
    let lines = handler.expect("a handler").lines().filter(|line| !line.trim().is_empty()).count();
    assert!((5..20).contains(&lines), "{lines} lines");
}
