//! Simulated calls by seed, as many as time permits: `scripts/simulate.sh` (designs/0023).

mod deaths;
mod deeds;
mod house;
mod numbers;
mod plan;
mod program;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use b2b_test_support::seeds::{self, number};
use b2b_testkit::Rows;
use plan::Mix;
use world::{Outcome, Which, calls, live};

const USAGE: &str = "\
usage: simulate [--seed N] [--calls N] [--minutes N] [--jobs N] [--mix NAME] [--replay]
                [--deaths] [--world N] [--only 3,7] [--twice] [--restart N]

Runs worlds of 20 to 100 calls each in virtual time, from the first seed on, until so many calls
are made or so many minutes are over; then says how often each field of the tables of states was
asked for. What fails is printed with its seed and the fewest calls that fail as well: exit code 1.

  --seed N      the first seed (1)
  --calls N     so many calls, in all worlds together
  --minutes N   so many minutes
  --jobs N      on so many threads (2)
  --mix NAME    all, basic, apps, transfers (all)
  --replay      every world's calls are run again from their journals, and have to come to the same; else those of
                one in ten, and what does not is told
  --deaths      in each world the server dies up to six times, in or between two turns, and its calls go on in the
                next one; nothing is replayed
  --world N     one world, of the first seed, of N calls
  --only LIST   of that world only these calls
  --go-on       a failure is told in a line, and the next world follows
  --trace       every message is printed
  --twice       every world is run twice and has to send the same messages at the same moments
  --restart N   the second time its calls are written, and read into another switch and endpoint, after every Nth step;
                for worlds of one call, or of basic calls: programs and operators choose by the numbers of legs
";

thread_local! {
    /// The last panic of this thread, with its location.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Args {
    seed: u64,
    calls: u64,
    minutes: Option<f64>,
    jobs: usize,
    mix: Mix,
    replays: bool,
    world: Option<usize>,
    only: Option<Vec<usize>>,
    twice: bool,
    restarts: Option<usize>,
    goes_on: bool,
    traces: bool,
    deaths: bool,
}

fn args() -> Result<Args, ExitCode> {
    // As one of many tests, it is short.
    let mut args = Args {
        seed: 1,
        calls: 1_000,
        minutes: None,
        jobs: 2,
        mix: Mix::All,
        replays: false,
        world: None,
        only: None,
        twice: false,
        restarts: None,
        goes_on: false,
        traces: false,
        deaths: false,
    };
    let mut has_calls = false;
    seeds::flags(USAGE, |name, value| {
        match name {
            "--seed" => args.seed = number(value()?)?,
            "--calls" => (args.calls, has_calls) = (number(value()?)?, true),
            "--minutes" => args.minutes = Some(number(value()?)?),
            "--jobs" => args.jobs = number::<usize>(value()?)?.max(1),
            "--replay" => args.replays = true,
            "--world" => args.world = Some(number(value()?)?),
            "--twice" => args.twice = true,
            "--restart" => (args.restarts, args.twice) = (Some(number::<usize>(value()?)?.max(1)), true),
            "--deaths" => args.deaths = true,
            "--trace" => args.traces = true,
            "--go-on" => args.goes_on = true,
            "--only" => {
                args.only =
                    Some(value()?.split(',').map(|it| number(it.to_owned())).collect::<Result<_, _>>()?)
            }
            "--mix" => {
                let name = value()?;
                let mix = Mix::ALL.iter().find(|(it, _)| *it == name);
                args.mix = mix.map(|(_, mix)| *mix).ok_or(format!("there is no mix '{name}'"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if args.minutes.is_some() && !has_calls {
        args.calls = u64::MAX;
    }
    Ok(args)
}

/// Why a world fails; `None` if it does not.
fn fails(which: &Which) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| live(which))).map_err(|_| LAST.take())
}

/// The kind of a failure: its text without numbers, except 0, whose meaning differs from that of others.
fn kind(why: &str) -> String {
    let words = why.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty());
    let number = |word: &str| word.bytes().all(|it| it.is_ascii_digit());
    let words = words.map(|word| if number(word) && word != "0" { "N" } else { word });
    words.take(30).collect::<Vec<_>>().join(" ")
}

/// The smallest set of calls of a world that fails in the same way.
fn shrunk(which: &Which, why: &str, patience: Duration) -> Which {
    let begun = Instant::now();
    let same = |which: &Which| fails(which).is_err_and(|it| kind(&it) == kind(why));
    let of = |only: &[usize]| Which { calls: Some(calls(which)), only: Some(only.to_vec()), ..which.clone() };
    let mut left: Vec<usize> = which.only.clone().unwrap_or_else(|| (0..calls(which)).collect());
    let mut size = left.len().div_ceil(2);
    while size > 0 && left.len() > 1 && begun.elapsed() < patience {
        let mut at = 0;
        while at < left.len() && left.len() > 1 {
            let end = (at + size).min(left.len());
            let fewer = [&left[..at], &left[end..]].concat();
            if !fewer.is_empty() && same(&of(&fewer)) {
                left = fewer;
            } else {
                at = end;
            }
        }
        size = if size == 1 { 0 } else { size / 2 };
    }
    of(&left)
}

fn command(which: &Which, name: &str) -> String {
    let list = |only: &Vec<usize>| only.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let only = which.only.as_ref().map(|only| format!(" --only {}", list(only))).unwrap_or_default();
    let replay = if which.replays { " --replay" } else { "" };
    let deaths = if which.deaths { " --deaths" } else { "" };
    let (seed, calls) = (which.seed, calls(which));
    format!("scripts/simulate.sh --seed {seed} --mix {name} --world {calls}{only}{replay}{deaths}")
}

fn tell_failure(which: &Which, why: &str, name: &str) {
    println!("seed {} failed: {why}", which.seed);
    println!("  {}", command(which, name));
    let least = shrunk(which, why, Duration::from_secs(60));
    match fails(&least) {
        Err(why) => {
            println!("seed {} with the fewest calls: {why}", which.seed);
            println!("  {}", command(&least, name));
            if least.deaths {
                println!("  deaths: {:?}", deaths::plan(which.seed));
            }
            for call in least.only.iter().flatten() {
                println!("  call {call}: {:?}", plan::plan(which.seed, *call, which.mix));
            }
        }
        Ok(_) => println!("  it does not fail again: what it depends on is not in the seed"),
    }
}

fn tell_rows(rows: &Rows) {
    println!("\nhow often each field of the tables (designs/0024) was asked for:");
    for row in rows.all().iter().filter(|row| row.is_legal || row.count > 0) {
        let word = if row.is_legal { "" } else { "  illegal" };
        println!("  {:<6} {:<14} {:<18} {:>9}{word}", row.table, row.state, row.event, row.count);
    }
    let rows = rows.all();
    let legal: Vec<_> = rows.iter().filter(|row| row.is_legal).collect();
    let rare: Vec<String> = legal
        .iter()
        .filter(|row| row.count < 100)
        .map(|row| format!("{} {} {} ({})", row.table, row.state, row.event, row.count))
        .collect();
    println!("{} of {} legal fields less than 100 times: {}", rare.len(), legal.len(), rare.join(", "));
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(|it| format!("{}:{}", it.file(), it.line())).unwrap_or_default();
        LAST.set(format!("{place}: {text}"));
    }));
    let name = Mix::ALL.iter().find(|(_, mix)| *mix == args.mix).map_or("all", |(name, _)| *name);
    let which = |seed| Which {
        seed,
        mix: args.mix,
        calls: args.world,
        only: args.only.clone(),
        replays: args.replays && !args.deaths,
        deaths: args.deaths,
        traces: args.traces,
        restarts: None,
    };
    let begun = Instant::now();
    let end = args.minutes.map(|minutes| begun + Duration::from_secs_f64(minutes * 60.0));
    let (made, failed, wrong) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let total = Mutex::new((Outcome::default(), 0_usize, 0_usize, BTreeMap::<String, (usize, u64)>::new()));
    seeds::each(args.seed, args.jobs, |seed| {
        let is_late = end.is_some_and(|end| Instant::now() >= end);
        let is_other = args.world.is_some() && seed > args.seed;
        let is_enough = failed.load(Ordering::Relaxed) || made.load(Ordering::Relaxed) >= args.calls;
        if is_late || is_other || is_enough {
            return ControlFlow::Break(());
        }
        let which = which(seed);
        let mut outcome = fails(&which);
        if args.twice
            && let Ok(one) = &outcome
        {
            let again = fails(&Which { restarts: args.restarts, ..which.clone() });
            outcome = match again.map(|it| (it.digest, it.rows)) {
                Ok(again) if again == (one.digest, one.rows.clone()) => outcome,
                Ok(_) => Err("it runs otherwise when it is run again".to_owned()),
                Err(why) => Err(why),
            };
        }
        match outcome {
            Ok(outcome) => {
                made.fetch_add(outcome.calls as u64, Ordering::Relaxed);
                let Ok(mut total) = total.lock() else { return ControlFlow::Break(()) };
                total.0.rows.add(&outcome.rows);
                total.0.calls += outcome.calls;
                total.0.legs += outcome.legs;
                total.0.messages += outcome.messages;
                total.0.panics += outcome.panics;
                total.0.late += outcome.late;
                total.0.deaths += outcome.deaths;
                total.1 += 1;
                total.2 += usize::from(outcome.replayed);
                for why in outcome.otherwise {
                    let (_, what) = why.split_once("what: \"").unwrap_or(("", &why));
                    let what = what.split('"').next().unwrap_or(what);
                    let seen = total.3.entry(kind(what)).or_insert((0, which.seed));
                    seen.0 += 1;
                }
            }
            Err(why) if args.goes_on => {
                wrong.store(true, Ordering::Relaxed);
                let why = why.replace('\n', " ");
                println!("seed {} failed: {}", which.seed, why.get(..2500).unwrap_or(&why));
            }
            Err(why) => {
                failed.store(true, Ordering::Relaxed);
                let _one_at_a_time = total.lock();
                tell_failure(&which, &why, name);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    });
    let seconds = begun.elapsed().as_secs_f64();
    let total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !failed.load(Ordering::Relaxed) {
        tell_rows(&total.0.rows);
    }
    println!("\nmix {name}: {}", args.mix.words());
    println!(
        "{} calls, {} legs, {} messages, {} handlers panicked, {} late events, in {} worlds; {} of them were replayed, \
         {} of their calls otherwise{}",
        total.0.calls,
        total.0.legs,
        total.0.messages,
        total.0.panics,
        total.0.late,
        total.1,
        total.2,
        total.3.values().map(|(count, _)| count).sum::<usize>(),
        if args.deaths { format!("; {} deaths", total.0.deaths) } else { String::new() }
    );
    for (what, (count, seed)) in &total.3 {
        println!("  replayed otherwise: {count} calls, the first of seed {seed} (--replay): {what}");
    }
    println!(
        "{seconds:.1} s: {:.0} calls a second, {:.0} a thread",
        total.0.calls as f64 / seconds,
        total.0.calls as f64 / seconds / args.jobs as f64
    );
    ExitCode::from(u8::from(failed.into_inner() || wrong.into_inner()))
}
