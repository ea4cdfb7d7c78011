//! Cost of a routing decision with 10 and 200 routes, of which the last one matches.
//!
//! `cargo bench --bench routing [-- --quick]`. CPU time, median of rounds, and allocations. Exits with 1 if a
//! decision allocates for routes that do not match; times are printed only.

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use b2b::server::config::{Verstat, parse_alone};
use b2b::server::origin::Origin;
use b2b::server::routing::{RouteRequest, Router};
use b2b::sip::msg::Method;
use nix::time::{ClockId, clock_gettime};

fn router(routes: usize) -> Router {
    let mut text = String::from("[[gateway]]\nname = \"carrier\"\nhosts = \"192.0.2.1\"\n");
    for index in 1..routes {
        let _ = write!(
            text,
            "[[route]]\ncalled = '\\+44(20|161){index:04}(\\d{{2,8}})'\nto = \"gateway/carrier/0$2\"\n"
        );
    }
    text.push_str("[[route]]\ncalled = '\\+(\\d+)'\nset_called = \"00$1\"\nto = \"gateway/carrier\"\n");
    Router::new(&parse_alone(&text).expect("a configuration"))
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock").into()
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, decisions) = if quick { (5, 2_000) } else { (15, 20_000) };
    let method = Method::Invite;
    let request = RouteRequest {
        method: &method,
        called: "+442083661177",
        caller: "1001",
        class: Some("internal"),
        origin: Origin::User("1001"),
        verstat: Verstat::None,
        address: [192, 0, 2, 7].into(),
    };
    let mut allocations = Vec::new();
    for routes in [1, 10, 200] {
        let router = router(routes);
        let decision = router.route(&request);
        assert_eq!(decision.route, Some(routes - 1));
        let mut times: Vec<Duration> = (0..rounds)
            .map(|_| {
                let begun = cpu();
                for _ in 0..decisions {
                    black_box(router.route(black_box(&request)));
                }
                (cpu() - begun) / decisions
            })
            .collect();
        times.sort();
        let counted = allocation_counter::measure(|| drop(black_box(router.route(&request)))).count_total;
        println!(
            "{routes:>4} routes  {:>7} ns a decision  {counted} allocations",
            times[rounds / 2].as_nanos()
        );
        allocations.push(counted);
    }
    // one more for the trail of non-matching routes, whatever their number
    let [alone, few, many] = allocations[..] else { return ExitCode::FAILURE };
    if few > alone + 1 || many > few {
        println!("a route that does not match must not allocate");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
