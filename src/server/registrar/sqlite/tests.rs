use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::registrar::binding::{BindingFlow, BindingId};
use crate::registrar::{NextHop, SentBy, Trusted};
use b2b_sip::endpoint::{FlowId, Transport};

const PATIENCE: Duration = Duration::from_secs(60);

fn aor(user: u32) -> Aor {
    format!("{user}@b2b.example").parse().unwrap()
}

fn binding(id: u64, lifetime: Duration) -> Arc<Binding> {
    Arc::new(Binding {
        id: BindingId(id),
        contact: (*b"sip:\xc3\xa9%201001@10.0.0.5:5062;transport=tcp").into(),
        params: (*b";q=0.5;+sip.instance=\"<urn:uuid:1>\";reg-id=1").into(),
        q: 500,
        expires: Instant::now() + lifetime,
        call_id: (*b"call@10.0.0.5").into(),
        cseq: u32::MAX,
        path: (*b"<sip:p1;lr>, <sip:p2;lr>").into(),
        flow: BindingFlow {
            transport: Transport::Tls,
            local: "[2001:db8::1]:5061".parse().unwrap(),
            remote: "198.51.100.7:40123".parse().unwrap(),
            id: Some(FlowId(99)),
        },
        source: "203.0.113.9:5062".parse().unwrap(),
        sent_by: SentBy::Proxy,
        instance: Some((*b"\"<urn:uuid:1>\"").into()),
        reg_id: Some(1),
        user_agent: "Phone 1.0 é".into(),
    })
}

const HOUR: Duration = Duration::from_secs(3_600);

struct Folder {
    _folder: TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Folder { path: folder.path().join("registrations.db"), _folder: folder }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path).unwrap()
    }
}

fn all(store: &SqliteStore) -> Vec<(Aor, BindingId)> {
    let mut all = Vec::new();
    store.visit(&mut |aor, bindings| all.extend(bindings.iter().map(|it| (aor.clone(), it.id))));
    all.sort();
    all
}

#[test]
fn a_binding_comes_back_as_it_was_without_its_flow_number() {
    let folder = Folder::new();
    let mut store = folder.open();
    let before = binding(7, HOUR);
    store.apply(&aor(1001), vec![Change::Put(before.clone())]);
    assert_eq!(store.bindings(&aor(1001)), std::slice::from_ref(&before), "at once");
    drop(store);
    let store = folder.open();
    let [after] = store.bindings(&aor(1001)) else { panic!("one binding") };
    // Stored in milliseconds by the wall's clock.
    let early = before.expires.saturating_duration_since(after.expires);
    let late = after.expires.saturating_duration_since(before.expires);
    assert!(early < HOUR / 2 && late < HOUR / 2);
    let flow = BindingFlow { id: None, ..before.flow };
    assert_eq!(**after, Binding { expires: after.expires, flow, ..(*before).clone() });
    assert_eq!(store.skipped(), 0);
}

#[test]
fn what_was_removed_or_has_expired_does_not_come_back() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(&aor(1001), vec![Change::Put(binding(1, HOUR)), Change::Put(binding(2, HOUR))]);
    store.apply(&aor(1002), vec![Change::Put(binding(3, Duration::ZERO))]);
    assert!(store.flush(PATIENCE));
    store.apply(&aor(1001), vec![Change::Remove(BindingId(1))]);
    drop(store);
    let store = folder.open();
    assert_eq!(all(&store), [(aor(1001), BindingId(2))]);
    assert_eq!(store.len(), 1);
}

#[test]
fn the_last_state_of_a_binding_is_what_is_kept() {
    let folder = Folder::new();
    let mut store = folder.open();
    for cseq in 0..1_000 {
        let refreshed = Binding { cseq, ..(*binding(1, HOUR)).clone() };
        store.apply(&aor(1001), vec![Change::Put(Arc::new(refreshed))]);
    }
    store.apply(&aor(1002), vec![Change::Put(binding(2, HOUR))]);
    store.apply(&aor(1002), vec![Change::Remove(BindingId(2))]);
    assert!(store.flush(PATIENCE));
    assert!(store.written() < 1_000, "writes of one binding are gathered: {}", store.written());
    drop(store);
    let store = folder.open();
    assert_eq!(store.bindings(&aor(1001))[0].cseq, 999);
    assert_eq!(store.len(), 1);
}

#[test]
fn a_write_is_pending_until_it_is_kept_and_progress_is_told() {
    let folder = Folder::new();
    let mut store = folder.open();
    let mut progress = store.progress().unwrap();
    assert_eq!(store.outcome(store.latest()), Outcome::Kept, "nothing to wait for");
    store.apply(&aor(1001), vec![Change::Put(binding(1, HOUR))]);
    let first = store.latest();
    assert_eq!(store.outcome(Commit(first.0 + 1)), Outcome::Pending);
    assert!(store.flush(PATIENCE));
    assert_eq!(store.outcome(first), Outcome::Kept);
    assert!(progress.has_changed().unwrap());
    assert_eq!(*progress.borrow_and_update(), first.0);
    // What is kept is in the file, also for who looks at a copy.
    let copy = Folder::new();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::copy(name(&folder.path), name(&copy.path)).unwrap();
    }
    assert_eq!(all(&copy.open()), [(aor(1001), BindingId(1))]);
}

#[test]
fn two_servers_cannot_have_one_file() {
    let folder = Folder::new();
    let _store = folder.open();
    let connection = Connection::open(&folder.path).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    assert!(database::prepare(&connection, &rows::KIND).is_err());
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = Folder::new();
    let other = Connection::open(&folder.path).unwrap();
    other.execute_batch("CREATE TABLE binding (x); INSERT INTO binding VALUES (1)").unwrap();
    drop(other);
    let error = SqliteStore::open(&folder.path).unwrap_err();
    assert!(matches!(error, StoreError::Database(DatabaseError::Foreign { .. })), "{error}");
    std::fs::write(
        &folder.path,
        "no database at all, and longer than a header of one hundred bytes ".repeat(9),
    )
    .unwrap();
    let error = SqliteStore::open(&folder.path).unwrap_err();
    assert!(matches!(error, StoreError::Database(DatabaseError::Open { .. })), "{error}");
    let nowhere = folder.path.join("no").join("such.db");
    assert!(matches!(SqliteStore::open(&nowhere), Err(StoreError::Database(DatabaseError::Open { .. }))));
}

#[test]
fn rows_that_make_no_sense_are_skipped() {
    let folder = Folder::new();
    let mut store = folder.open();
    for id in 1..=7 {
        store.apply(&aor(1001), vec![Change::Put(binding(id, HOUR))]);
    }
    drop(store);
    let connection = Connection::open(&folder.path).unwrap();
    for (id, change) in [
        (1, "aor = 'x'"),
        (2, "remote = 'x'"),
        (3, "transport = 'x'"),
        (4, "contact = x'00'"),
        (5, "cseq = -1"),
        (6, "q = 'x'"),
    ] {
        connection.execute_batch(&format!("UPDATE binding SET {change} WHERE id = {id}")).unwrap();
    }
    drop(connection);
    let store = folder.open();
    assert_eq!(all(&store), [(aor(1001), BindingId(7))]);
    assert_eq!(store.skipped(), 6);
}

#[test]
fn a_disk_that_fails_is_told_and_what_it_missed_is_written_later() {
    let folder = Folder::new();
    let mut store = folder.open();
    store.apply(&aor(1001), vec![Change::Put(binding(1, HOUR))]);
    assert!(store.flush(PATIENCE));
    let kept = store.latest();
    assert!(store.fail(true));
    store.apply(&aor(1002), vec![Change::Put(binding(2, HOUR))]);
    let lost = store.latest();
    assert!(store.flush(PATIENCE));
    assert_eq!([kept, lost].map(|it| store.outcome(it)), [Outcome::Kept, Outcome::Failed]);
    assert_eq!(store.bindings(&aor(1002)).len(), 1, "it stands in memory");
    assert!(store.fail(false));
    store.apply(&aor(1003), vec![Change::Put(binding(3, HOUR))]);
    assert!(store.flush(PATIENCE));
    assert_eq!(store.outcome(store.latest()), Outcome::Kept);
    drop(store);
    assert_eq!(
        all(&folder.open()),
        [(aor(1001), BindingId(1)), (aor(1002), BindingId(2)), (aor(1003), BindingId(3))]
    );
}

#[test]
fn a_disk_that_does_not_keep_up_is_told_before_the_memory_is_full() {
    let folder = Folder::new();
    let mut store = folder.open();
    let stop = store.pause();
    let change = || vec![Change::Remove(BindingId(1))];
    for _ in 0..MAX_QUEUED {
        store.apply(&aor(1001), change());
    }
    assert!(!store.accepts());
    drop(stop);
    assert!(store.flush(PATIENCE));
    assert!(store.accepts());
}

#[test]
fn a_transaction_does_not_wait_for_the_disk() {
    let folder = Folder::new();
    let connection = database::open(&folder.path, &rows::KIND).unwrap();
    let level = connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i32>(0));
    assert_eq!(level.unwrap(), 1, "NORMAL");
}

#[test]
fn times_are_the_same_by_both_clocks() {
    let clocks = Clocks { steady: Instant::now() + HOUR, wall_ms: 1_000_000 };
    for (ahead, wall) in [(1, 1_000_001), (3_600_000, 4_600_000)] {
        let at = clocks.steady + Duration::from_millis(ahead);
        assert_eq!(clocks.to_wall(at), wall);
        assert_eq!(clocks.to_steady(wall), Some(at));
    }
    assert_eq!(clocks.to_wall(clocks.steady - Duration::from_secs(1)), 999_000);
    assert_eq!(clocks.to_steady(1_000_000), None);
    assert_eq!(clocks.to_steady(i64::MIN), None);
}

#[test]
fn a_database_of_the_first_version_opens_and_its_bindings_keep_to_their_flow() {
    let folder = Folder::new();
    let old = rusqlite::Connection::open(&folder.path).unwrap();
    let soon = Clocks::read().to_wall(Instant::now() + HOUR);
    old.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA application_id = {};
         PRAGMA user_version = 1;
         CREATE TABLE binding (
             id INTEGER PRIMARY KEY, aor TEXT NOT NULL, contact BLOB NOT NULL, params BLOB NOT NULL,
             q INTEGER NOT NULL, expires_ms INTEGER NOT NULL, call_id BLOB NOT NULL, cseq INTEGER NOT NULL,
             path BLOB NOT NULL, transport TEXT NOT NULL, local TEXT NOT NULL, remote TEXT NOT NULL,
             via_proxy INTEGER NOT NULL, instance BLOB, reg_id INTEGER, user_agent TEXT NOT NULL
         );
         INSERT INTO binding VALUES (1, '1001@b2b.example', CAST('sip:1001@203.0.113.9' AS BLOB), x'', 1000,
             {soon}, CAST('a' AS BLOB), 1, x'', 'UDP', '192.0.2.1:5060', '198.51.100.7:40123', 1, NULL, NULL, 'x');
         INSERT INTO binding VALUES (2, '1002@b2b.example', CAST('sip:1002@10.0.0.5' AS BLOB), x'', 1000,
             {soon}, CAST('b' AS BLOB), 1, CAST('<sip:203.0.113.9;lr>' AS BLOB), 'UDP', '192.0.2.1:5060',
             '198.51.100.8:40123', 0, NULL, NULL, 'x');",
        0x6232_6252
    ))
    .unwrap();
    drop(old);
    // Twice: it is of the new version then.
    for _ in 0..2 {
        let store = folder.open();
        assert_eq!((store.skipped(), store.agents().found().len()), (0, 0));
        for (user, remote, sent_by) in
            [(1001, "198.51.100.7:40123", SentBy::Proxy), (1002, "198.51.100.8:40123", SentBy::Elsewhere)]
        {
            let [binding] = store.bindings(&aor(user)) else { panic!("one binding of {user}") };
            assert_eq!((binding.source, binding.sent_by), (remote.parse().unwrap(), sent_by));
            // No origin is known that the second Via, or the Path, could have come from.
            let way = binding.next_hop(&Trusted::default());
            assert_eq!(way, NextHop::Flow(binding.flow, b""));
            assert_eq!(binding.flow.remote, remote.parse().unwrap());
        }
    }
}

#[test]
fn what_agents_have_said_is_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    let saved = |state: &str| SavedAgent { configured: "available".to_owned(), state: state.to_owned() };
    let (store, agents) = {
        let store = folder.open();
        let agents = store.agents();
        (store, agents)
    };
    assert!(agents.is_kept() && agents.found().is_empty());
    agents.set("1001", Some(saved("logged_out")));
    agents.set("1001", Some(saved("paused")));
    agents.set("1002", Some(saved("paused")));
    // It writes all that it was told, though others could still tell it more.
    drop(store);
    let store = folder.open();
    let found = store.agents();
    assert_eq!(found.found().len(), 2);
    assert_eq!(found.found()["1001"], saved("paused"));
    found.set("1002", None);
    drop(store);
    agents.set("1003", Some(saved("paused")));
    assert_eq!(folder.open().agents().found().keys().collect::<Vec<_>>(), ["1001"]);
    assert!(!SavedAgents::default().is_kept());
}

#[test]
fn who_has_got_in_with_a_pin_is_there_when_the_file_is_opened_again() {
    let folder = Folder::new();
    let pin = |user: &str, all| SavedPin { place: "rooms".to_owned(), user: user.to_owned(), all };
    let store = folder.open();
    let pins = store.pins();
    for saved in [pin("1001", false), pin("1002", false), pin("1001", true)] {
        pins.save(saved);
        assert!(store.flush(Duration::MAX));
    }
    drop(store);
    let mut found: Vec<_> = folder.open().pins().found;
    found.sort();
    assert!(found.iter().all(|(_, age)| *age < Duration::from_secs(3_600)));
    assert_eq!(
        found.into_iter().map(|(pin, _)| pin).collect::<Vec<_>>(),
        [pin("1001", true), pin("1002", false)]
    );
}
