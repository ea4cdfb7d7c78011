//! The code in the guide for users of other libraries is that of the examples.

const GUIDE: &str = include_str!("../../docs/client.md");
const EXAMPLES: [&str; 3] = [
    include_str!("../../examples/call.rs"),
    include_str!("../../examples/answer.rs"),
    include_str!("../../examples/echo_bot.rs"),
];

#[test]
fn each_block_of_code_is_of_an_example_that_is_compiled() {
    let blocks: Vec<&str> =
        GUIDE.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), EXAMPLES.len());
    for (block, example) in blocks.iter().zip(EXAMPLES) {
        let mut lines = example.lines();
        for line in block.lines() {
            assert!(
                lines.any(|of_example| of_example == line),
                "{line:?} is not there, or not in this order"
            );
        }
    }
}
