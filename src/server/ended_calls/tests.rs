use std::net::SocketAddr;

use tempfile::TempDir;

use super::row::Row;
use super::*;
use b2b_call::call_fsm::CallDirection;
use b2b_call::cdr::{Disposition, Ending, HangupBy, VoiceAgentSums};
use b2b_call::event::Quality;
use b2b_call::verdict::Audio;
use b2b_call::{CallId, LegId};

const PATIENCE: Duration = Duration::from_secs(60);
const LIMIT: usize = 100;

fn keeping(store: Store) -> EndedCalls {
    EndedCalls { store, calls: 1_000, age: None }
}

fn wanted() -> Wanted {
    Wanted { limit: LIMIT, ..Wanted::default() }
}

/// A caller's leg, which was answered after 3 s and hung up by the caller after 10 s.
fn caller(call: u64) -> Cdr {
    Cdr {
        call: CallId(call),
        linked: CallId(call),
        leg: LegId(call),
        resumed: 0,
        direction: CallDirection::Inbound,
        sip_call_id: format!("{call}@192.0.2.1"),
        caller: "1001".to_owned(),
        caller_name: Some("Alice".to_owned()),
        callee: "1002".to_owned(),
        gateway: None,
        remote: Some("192.0.2.1:5060".parse::<SocketAddr>().unwrap()),
        variables: vec![("recording".to_owned(), "day/one.wav".to_owned())],
        codec: Some("opus".to_owned()),
        start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + call),
        rang: Some(Duration::from_secs(1)),
        answered: Some(Duration::from_secs(3)),
        ended: Duration::from_secs(10),
        ending: ending(Disposition::Answered, 16, HangupBy::Remote),
        audio: Some(Audio::BothWays),
        quality: Some(quality(100, 0, 4.4)),
        voice_agent: None,
        route: Some("internal".to_owned()),
        diverted_by: None,
        verstat: None,
    }
}

/// The leg that it was joined with.
fn callee(call: u64) -> Cdr {
    Cdr {
        leg: LegId(call + 1),
        direction: CallDirection::Outbound,
        callee: "sip:1002@192.0.2.2:5062".to_owned(),
        gateway: Some("carrier".to_owned()),
        remote: None,
        variables: Vec::new(),
        codec: Some("PCMU".to_owned()),
        start: caller(call).start + Duration::from_millis(2),
        ending: ending(Disposition::Answered, 16, HangupBy::Local),
        quality: Some(quality(98, 2, 3.9)),
        ..caller(call)
    }
}

fn ending(disposition: Disposition, q850: u8, by: HangupBy) -> Ending {
    Ending { disposition, q850, sip_status: Some(200), by }
}

fn quality(packets_received: u64, packets_lost: u64, mos: f64) -> Quality {
    Quality { packets_received, packets_lost, mos: Some(mos), ..Quality::default() }
}

fn row(records: &[&Cdr]) -> EndedCall {
    let mut row = Row::default();
    records.iter().for_each(|record| row.add(record));
    row.shown(1, true)
}

async fn found(store: &EndedCallStore, wanted: Wanted) -> Vec<u64> {
    store.find(wanted).await.expect("an answer").calls.iter().map(|call| call.call).collect()
}

#[test]
fn a_call_is_the_same_in_whatever_order_its_legs_end() {
    let (first, other) = (caller(4), callee(4));
    let call = row(&[&first, &other]);
    assert_eq!(call, row(&[&other, &first]));
    assert_eq!((call.from.as_str(), call.to.as_str()), ("1001", "1002"));
    assert_eq!(call.called.as_deref(), Some("sip:1002@192.0.2.2:5062"));
    assert_eq!((call.duration_ms, call.ring_ms, call.talk_ms), (10_000, Some(1_000), Some(7_000)));
    assert_eq!((call.gateway_in, call.gateway_out.as_deref()), (None, Some("carrier")));
    assert_eq!((call.codec.as_deref(), call.codec_out.as_deref()), (Some("opus"), Some("PCMU")));
    assert_eq!((call.mos, call.lost_pct, call.audio), (Some(3.9), Some(2.0), Some(Audio::BothWays)));
    assert_eq!((call.ended_by, call.legs), (EndedBy::Caller, 2));
    assert_eq!(
        (call.disposition, call.cause, call.recording.as_deref()),
        ("answered", "NORMAL_CLEARING", Some("day/one.wav"))
    );
}

#[test]
fn who_hung_up_is_the_party_whose_leg_ended_first() {
    let by = |first: HangupBy, other: HangupBy, answered: bool| {
        let mut legs = [caller(4), callee(4)];
        (legs[0].ending.by, legs[1].ending.by) = (first, other);
        if !answered {
            legs.iter_mut().for_each(|leg| leg.answered = None);
        }
        let [a, b] = &legs;
        let ended_by = row(&[a, b]).ended_by;
        assert_eq!(ended_by, row(&[b, a]).ended_by);
        ended_by
    };
    assert_eq!(by(HangupBy::Remote, HangupBy::Local, true), EndedBy::Caller);
    assert_eq!(by(HangupBy::Local, HangupBy::Remote, true), EndedBy::Callee);
    assert_eq!(by(HangupBy::Local, HangupBy::Local, true), EndedBy::Server);
    assert_eq!(by(HangupBy::Local, HangupBy::Remote, false), EndedBy::Callee);
    // One phone of a group refuses, another one talks until the limit.
    let refused =
        Cdr { answered: None, ending: ending(Disposition::Busy, 17, HangupBy::Remote), ..callee(4) };
    let mut first = caller(4);
    first.ending.by = HangupBy::Local;
    let refused = Cdr { callee: "sip:1003@192.0.2.3".to_owned(), ..refused };
    let call = row(&[&refused, &first, &callee(4)]);
    assert_eq!(call.ended_by, EndedBy::Server);
    assert_eq!(call.called.as_deref(), Some("sip:1002@192.0.2.2:5062"), "who talked, not who refused");
}

#[test]
fn a_call_that_began_here_is_from_the_party_that_was_called_first() {
    let first = Cdr { callee: "sip:1001@192.0.2.1".to_owned(), start: caller(4).start, ..callee(4) };
    let call = row(&[&callee(4), &first]);
    assert_eq!((call.from.as_str(), call.to.as_str()), ("sip:1001@192.0.2.1", "sip:1002@192.0.2.2:5062"));
}

/// A caller's leg with an agent.
fn with_agent(call: u64) -> Cdr {
    let (utterances, interruptions) = (7, 2);
    let [first_response_ms, median_response_ms, worst_response_ms] = [820, 640, 1_900].map(Some);
    let sums = VoiceAgentSums {
        utterances,
        interruptions,
        first_response_ms,
        median_response_ms,
        worst_response_ms,
    };
    Cdr { voice_agent: Some(sums), ..caller(call) }
}

#[tokio::test]
async fn the_sums_of_an_agent_are_kept_also_in_a_file_of_an_earlier_version() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("calls.sqlite");
    let place = keeping(Store::Sqlite(path.clone()));
    let store = EndedCallStore::open(place.clone(), SystemTime::UNIX_EPOCH).unwrap();
    store.submit(Box::new(caller(4)));
    assert!(store.finish(PATIENCE));
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("ALTER TABLE call DROP COLUMN voice_agent; PRAGMA user_version = 2").unwrap();
    drop(file);
    let store = EndedCallStore::open(place, SystemTime::now()).unwrap();
    store.submit(Box::new(with_agent(5)));
    store.submit(Box::new(callee(5)));
    let calls = store.find(wanted()).await.unwrap().calls;
    let sums: Vec<_> = calls.iter().map(|call| call.voice_agent).collect();
    assert_eq!(sums, [with_agent(5).voice_agent, None]);
    assert_eq!(row(&[&with_agent(5), &callee(5)]), row(&[&callee(5), &with_agent(5)]));
}

#[tokio::test]
async fn calls_are_found_by_every_filter_latest_first() {
    let store = EndedCallStore::open(keeping(Store::Memory), SystemTime::now()).unwrap();
    for call in 1..=3 {
        store.submit(Box::new(caller(call)));
    }
    store.submit(Box::new(callee(2)));
    let busy = Cdr { ending: ending(Disposition::Busy, 17, HangupBy::Local), answered: None, ..caller(9) };
    store.submit(Box::new(Cdr {
        caller: "sip:%_@x".to_owned(),
        caller_name: None,
        audio: Some(Audio::Nobody),
        ..busy
    }));
    let at = |call: u64| Some(caller(call).start);
    let text = |it: &str| Some(it.to_owned());
    for (filter, expected) in [
        (wanted(), vec![9, 3, 2, 1]),
        (Wanted { party: text("ALICE"), ..wanted() }, vec![3, 2, 1]),
        (Wanted { party: text("192.0.2.2"), ..wanted() }, vec![2]),
        // What is asked for is no pattern.
        (Wanted { party: text("%_"), ..wanted() }, vec![9]),
        (Wanted { party: text("%"), since: at(10), ..wanted() }, vec![]),
        (Wanted { since: at(2), until: at(9), ..wanted() }, vec![3, 2]),
        (Wanted { gateway: text("carrier"), ..wanted() }, vec![2]),
        (Wanted { route: text("internal"), ..wanted() }, vec![9, 3, 2, 1]),
        (Wanted { route: text("intern"), ..wanted() }, vec![]),
        (Wanted { mos_below: Some(4.0), ..wanted() }, vec![2]),
        (Wanted { disposition: Some(2), cause: Some(17), ..wanted() }, vec![9]),
        (Wanted { cause: Some(16), ..wanted() }, vec![3, 2, 1]),
        (Wanted { audio: vec![1, 2, 3], ..wanted() }, vec![9]),
    ] {
        assert_eq!(found(&store, filter.clone()).await, expected, "{filter:?}");
    }
    let page = store.find(Wanted { limit: 2, ..wanted() }).await.unwrap();
    assert_eq!((page.total, page.calls.len()), (4, 2));
    let rest = store.find(Wanted { limit: 2, before: page.next, ..wanted() }).await.unwrap();
    assert_eq!((rest.calls.iter().map(|it| it.call).collect::<Vec<_>>(), rest.next), (vec![2, 1], None));
    assert_eq!(store.counters(), EndedCallsCounters { written: 5, lost: 0, failures: 0 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_query_sees_every_record_that_was_submitted_before_it() {
    const CALLS: u64 = 5_000;
    let keeping = EndedCalls { calls: 5_000, ..keeping(Store::Memory) };
    let store = EndedCallStore::open(keeping, SystemTime::now()).unwrap();
    let submitted = Arc::new(AtomicU64::new(0));
    // A query that comes while the thread writes for another one is answered in the same turn.
    let queries: Vec<_> = (0..2)
        .map(|_| {
            let (store, submitted) = (store.clone(), submitted.clone());
            tokio::spawn(async move {
                let mut before = 0;
                while before < CALLS {
                    before = submitted.load(Ordering::Acquire);
                    let total = store.find(Wanted { limit: 1, ..wanted() }).await.unwrap().total;
                    assert!(total >= before, "{total} of {before}");
                }
            })
        })
        .collect();
    for call in 1..=CALLS {
        store.submit(Box::new(caller(call)));
        submitted.store(call, Ordering::Release);
        tokio::task::yield_now().await;
        if call % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for query in queries {
        query.await.unwrap();
    }
}

#[tokio::test]
async fn a_file_has_the_calls_of_every_run_and_tells_them_apart() {
    let folder = TempDir::new().unwrap();
    let place = Store::Sqlite(folder.path().join("calls.sqlite"));
    for run in 0..2 {
        // A file may be of a version whose numbers began anew with each process.
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(run);
        let store = EndedCallStore::open(keeping(place.clone()), began).unwrap();
        store.submit(Box::new(caller(4)));
        store.submit(Box::new(callee(4)));
        let calls = store.find(wanted()).await.unwrap().calls;
        let accounts: Vec<bool> = calls.iter().map(|call| call.account).collect();
        assert_eq!(accounts, if run == 0 { vec![true] } else { vec![true, false] });
        assert!(calls.iter().all(|call| call.legs == 2));
        assert!(store.finish(PATIENCE));
        store.submit(Box::new(caller(5)));
        assert_eq!(store.counters().lost, 1);
        assert_eq!(store.find(wanted()).await, Err(FindError::Stopping));
    }
}

#[tokio::test]
async fn an_account_is_there_for_later_processes_as_long_as_its_call_is_listed() {
    let folder = TempDir::new().unwrap();
    let keeping = EndedCalls { calls: 2, ..keeping(Store::Sqlite(folder.path().join("calls.sqlite"))) };
    let began = |run: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(run);
    let store = EndedCallStore::open(keeping.clone(), began(0)).unwrap();
    store.submit(Box::new(caller(4)));
    let body = b"call 4 is over".repeat(100);
    store.keep(vec![Account { call: CallId(4), part: Part::Text, body: body.clone() }], PATIENCE);
    assert!(store.outlives() && store.finish(PATIENCE));
    let store = EndedCallStore::open(keeping, began(1)).unwrap();
    assert!(store.find(wanted()).await.unwrap().calls[0].account);
    assert_eq!(store.account(CallId(4), Part::Text).await, Ok(Some(body)));
    assert_eq!(store.account(CallId(4), Part::Pcap).await, Ok(None));
    assert_eq!(store.account(CallId(5), Part::Text).await, Ok(None));
    for call in 5..=6 {
        store.submit(Box::new(caller(call)));
    }
    assert_eq!(found(&store, wanted()).await, [6, 5]);
    assert_eq!(store.account(CallId(4), Part::Text).await, Ok(None), "it went with its call");
}

#[tokio::test]
async fn the_oldest_calls_go_where_there_are_too_many_or_their_time_is_over() {
    let store =
        EndedCallStore::open(EndedCalls { calls: 3, ..keeping(Store::Memory) }, SystemTime::now()).unwrap();
    for call in 1..=9 {
        store.submit(Box::new(caller(call)));
    }
    assert_eq!(found(&store, wanted()).await, [9, 8, 7]);
    let day = Duration::from_secs(86_400);
    let store =
        EndedCallStore::open(EndedCalls { age: Some(day), ..keeping(Store::Memory) }, SystemTime::now())
            .unwrap();
    store.submit(Box::new(caller(1)));
    store.submit(Box::new(Cdr { start: SystemTime::now(), ..caller(2) }));
    assert_eq!(found(&store, wanted()).await, [2]);
}

#[test]
fn what_the_database_does_not_take_is_tried_again_and_questions_are_answered_meanwhile() {
    let connection = table::in_memory().unwrap();
    let shared = Shared::default();
    let (records, queue) = crossbeam_channel::unbounded();
    let (questions, asked) = crossbeam_channel::unbounded();
    connection.execute_batch("PRAGMA query_only = 1").unwrap();
    let keeping = keeping(Store::Memory);
    std::thread::scope(|scope| {
        let (shared, keeping) = (&shared, &keeping);
        let thread = scope.spawn(move || writer::run(&connection, 7, keeping, &queue, &asked, shared));
        records.send(Box::new(caller(1))).unwrap();
        let ask = || {
            let (answer, wait) = tokio::sync::oneshot::channel();
            questions.send(Question::Find { wanted: wanted(), answer }).unwrap();
            wait.blocking_recv().expect("an answer").expect("the table can be read").total
        };
        while shared.failures.load(Ordering::Relaxed) < 2 {
            assert_eq!(ask(), 0);
        }
        assert_eq!(shared.written.load(Ordering::Relaxed), 0);
        // Closed while the disk refuses writes: the thread does not wait for it.
        drop((records, questions));
        thread.join().unwrap();
    });
}
