//! Media in virtual time, by seeds: relay machines with parties of all kinds, and jitter buffers,
//! over networks that lose, delay, reorder and duplicate packets, with differing clocks
//! (scripts/simulate-media.sh, designs/0004).

mod belief;
mod joints;
mod network;
mod party;
mod playout;
mod queue;
mod stream;
mod talk;
mod total;
mod wire;
mod world;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use b2b_test_support::seeds;
use network::SECOND;
use total::Total;

const USAGE: &str = "\
usage: simulate-media [--seed N] [--hours N] [--jobs N] [--only] [--trace]

Runs worlds of 10 minutes in virtual time: 2 to 6 endpoints of a relay machine, one with a source and a sink of frames,
and a jitter buffer each, from the first seed on, until they have lived so many hours. What fails is printed with its seed: exit code 1.

  --seed N     the first seed (1)
  --hours N    so many hours (0.5)
  --jobs N     on so many threads (2)
  --only       the first seed alone
  --trace      what parties are joined with is printed
";

/// The duration of a world.
const SPAN: u64 = 600 * SECOND;
const HOUR: f64 = 3_600.0 * SECOND as f64;

struct Args {
    seed: u64,
    hours: f64,
    jobs: usize,
    only: bool,
    traces: bool,
}

fn args() -> Result<Args, ExitCode> {
    // As a test among others, it is brief.
    let mut args = Args { seed: 1, hours: 0.5, jobs: 2, only: false, traces: false };
    seeds::flags(USAGE, |name, value| {
        match name {
            "--seed" => args.seed = seeds::number(value()?)?,
            "--hours" => args.hours = seeds::number(value()?)?,
            "--jobs" => args.jobs = seeds::number(value()?)?,
            "--only" => args.only = true,
            "--trace" => args.traces = true,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let (begun, failed) = (Instant::now(), AtomicBool::new(false));
    let total = Mutex::new((Total::default(), 0_u64));
    let lived = || total.lock().map_or(0.0, |total| total.0.lived as f64 / HOUR);
    seeds::each(args.seed, args.jobs, |seed| {
        if lived() >= args.hours || args.only && seed > args.seed {
            return ControlFlow::Break(());
        }
        let all = || {
            [
                world::World::new(seed, args.traces).live(SPAN),
                talk::talk(seed, SPAN),
                playout::listen(seed, SPAN),
            ]
        };
        match (catch_unwind(AssertUnwindSafe(all)), total.lock()) {
            (Ok(all), Ok(mut total)) => {
                all.into_iter().for_each(|one| total.0 += one);
                total.1 += 1;
                ControlFlow::Continue(())
            }
            _ => {
                failed.store(true, Ordering::Relaxed);
                println!("seed {seed} failed: scripts/simulate-media.sh --seed {seed} --only --trace");
                ControlFlow::Break(())
            }
        }
    });
    let hours = lived();
    let (total, worlds) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{hours:.1} hours in {worlds} worlds, {seconds:.1} s: {:.1} a second", hours / seconds);
    let Total { packets, sent, reports, joins, frames, concealed, corrections, .. } = total;
    println!("{packets} packets came, {sent} left, {reports} reports, {joins} changes of what is joined");
    println!("{frames} frames played, {concealed} concealed, {corrections} corrections");
    ExitCode::from(u8::from(failed.into_inner()))
}
