//! `b2b-public-api JSON…`: one line for each public item of a crate, sorted, without what every type has
//! (blanket and auto traits, derived ones). scripts/public-api.sh makes the JSON and compares the lines.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for json in std::env::args().skip(1) {
        let api = public_api::Builder::from_rustdoc_json(&json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()?;
        for item in api.items() {
            println!("{item}");
        }
    }
    Ok(())
}
