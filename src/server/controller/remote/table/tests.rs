//! The assignment of endpoints to servers, also when a server fails. No server is contacted.

use super::*;
use b2b_call::controller::{AddressFamily, EndpointSpec};

struct Bench {
    table: Table,
    queues: Vec<Queue>,
    events: mpsc::UnboundedReceiver<MediaEvent>,
    now: Instant,
}

fn load(accepting: bool) -> Load {
    Load { accepting, ..Load::default() }
}

fn welcome(accepting: bool) -> Welcome {
    let (session, capabilities) = ("k".to_owned(), Vec::new());
    Welcome { version: 4, session, lease_ms: 6_000, capabilities, load: load(accepting), resumed: None }
}

impl Bench {
    fn new(servers: usize) -> Bench {
        let (told, events) = mpsc::unbounded_channel();
        let (table, queues) = Table::new((0..servers).map(|n| format!("m{n}:1")).collect(), told);
        Bench { table, queues, events, now: Instant::now() }
    }

    /// An endpoint that its server has; which server that is.
    fn endpoint(&mut self, near: Option<EndpointId>) -> Result<(EndpointId, usize), MediaError> {
        let endpoint = self.table.place(near)?;
        let spec = EndpointSpec::new(AddressFamily::V4);
        let mut answer = self.table.ask(
            &About::Endpoint(endpoint),
            Verb::Allocate { endpoint: Some(endpoint), spec: Box::new(spec) },
        )?;
        let (server, verbs) = self.request().expect("a verb");
        let [Numbered { id, .. }] = verbs[..] else { panic!("{verbs:?}") };
        self.answer(
            server,
            id,
            Ok(Answer::Allocated { endpoint: None, rtp: ([127, 0, 0, 1], 4_000).into() }),
        );
        assert!(matches!(answer.try_recv(), Ok(Ok(Answer::Allocated { .. }))));
        Ok((endpoint, server))
    }
}

impl Bench {
    /// The next request, and whom it goes to.
    fn request(&mut self) -> Option<(usize, Vec<Numbered>)> {
        self.queues.iter_mut().enumerate().find_map(|(at, queue)| Some((at, queue.try_recv().ok()?)))
    }

    fn answer(&self, server: usize, id: u64, result: Result<Answer<Stats>, MediaError>) {
        let answered = Answered { id, result, described: Vec::new() };
        self.table.happened(server, Happening::Answer(Box::new(answered)), self.now);
    }

    fn closed(&mut self, endpoint: EndpointId) -> bool {
        matches!(self.events.try_recv(), Ok(MediaEvent::Closed { endpoint: it, .. }) if it == endpoint)
    }
}

fn spec() -> EndpointSpec {
    EndpointSpec::new(AddressFamily::V4)
}

#[test]
fn endpoints_are_named_at_once_and_asked_for_with_what_is_asked_of_them() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.table.open(spec()), Err(MediaError::Stopped));
    bench.table.up(0, welcome(true));
    let a = bench.table.open(spec()).expect("up");
    let b = bench.table.open(spec().near(a)).expect("up");
    assert!(bench.request().is_none(), "nobody waits for anything");
    let bridge = Verb::Bridge { a, b };
    drop(bench.table.ask(&About::Endpoint(a), bridge.clone()).expect("asked"));
    let (_, verbs) = bench.request().expect("one request");
    let allocate = |endpoint, spec| Verb::Allocate { endpoint: Some(endpoint), spec: Box::new(spec) };
    let all = [allocate(a, spec()), allocate(b, spec().near(a)), bridge];
    assert_eq!(verbs.iter().map(|it| it.verb.clone()).collect::<Vec<_>>(), all);
    // What is asked of an endpoint that has been asked for leaves at once.
    drop(bench.table.ask(&About::Endpoint(a), Verb::Stats { endpoint: a }).expect("asked"));
    assert_eq!(bench.request().map(|it| it.1.len()), Some(1));
}

#[test]
fn what_is_asked_of_an_endpoint_that_cannot_be_is_answered_with_the_reason() {
    let mut bench = Bench::new(1);
    bench.table.up(0, welcome(true));
    let a = bench.table.open(spec()).expect("up");
    let mut offer = bench.table.ask(&About::Endpoint(a), Verb::RepeatOffer { endpoint: a }).expect("asked");
    let (_, verbs) = bench.request().expect("a request");
    bench.answer(0, verbs[0].id, Err(MediaError::NoPorts));
    bench.answer(0, verbs[1].id, Err(MediaError::NoSuchEndpoint(a)));
    assert_eq!(offer.try_recv(), Ok(Err(MediaError::NoPorts)));
    // Nor is it asked again; released, it has its last word.
    let refused = bench.table.ask(&About::Endpoint(a), Verb::Stats { endpoint: a });
    assert_eq!(refused.map(drop), Err(MediaError::NoPorts));
    assert!(bench.table.ask(&About::Endpoint(a), Verb::Release { endpoint: a }).is_err());
    assert!(bench.closed(a) && bench.request().is_none());
    // So has one that is released before that is known.
    let b = bench.table.open(spec()).expect("up");
    drop(bench.table.ask(&About::Endpoint(b), Verb::Release { endpoint: b }).expect("asked"));
    let (_, verbs) = bench.request().expect("a request");
    bench.answer(0, verbs[0].id, Err(MediaError::NoPorts));
    bench.answer(0, verbs[1].id, Err(MediaError::NoSuchEndpoint(b)));
    assert!(bench.closed(b) && bench.events.try_recv().is_err());
    assert_eq!((bench.table.endpoints(), bench.table.waiting()), (0, 0));
}

#[test]
fn with_a_server_endpoints_end_that_were_only_named_or_had_no_last_word_yet() {
    let mut bench = Bench::new(1);
    bench.table.up(0, welcome(true));
    let (going, _) = bench.endpoint(None).expect("up");
    drop(bench.table.ask(&About::Endpoint(going), Verb::Release { endpoint: going }).expect("asked"));
    assert_eq!(bench.request().map(|it| it.1.len()), Some(1));
    let named = bench.table.open(spec()).expect("up");
    assert_eq!(bench.table.down(0, "killed", bench.now), 1);
    assert!(bench.closed(going));
    let failed = MediaEvent::Failed { endpoint: named, reason: "killed".to_owned() };
    assert_eq!(bench.events.try_recv(), Ok(failed));
    // What was held for it is not said to its successor.
    bench.table.up(0, welcome(true));
    let next = bench.table.open(spec()).expect("up");
    drop(bench.table.ask(&About::Endpoint(next), Verb::Stats { endpoint: next }).expect("asked"));
    assert_eq!(bench.request().map(|it| it.1.len()), Some(2));
    assert!(bench.table.ask(&About::Endpoint(named), Verb::Release { endpoint: named }).is_err());
    assert!(bench.closed(named));
}

#[test]
fn new_calls_stay_where_the_last_one_went_until_that_server_dies_or_is_full() {
    let mut bench = Bench::new(3);
    assert_eq!(bench.endpoint(None), Err(MediaError::Stopped));
    bench.table.up(1, welcome(true));
    assert_eq!(bench.endpoint(None).map(|it| it.1), Ok(1));
    bench.table.up(0, welcome(true));
    bench.table.up(2, welcome(true));
    assert_eq!(bench.endpoint(None).map(|it| it.1), Ok(1), "it stays");
    bench.table.loaded(1, load(false));
    let (first, at) = bench.endpoint(None).expect("there is another one");
    assert_eq!(at, 0, "the first of the list");
    bench.table.down(0, "gone", bench.now);
    let (second, at) = bench.endpoint(None).expect("there is another one");
    assert_eq!(at, 2);
    // Who belongs to a call is with it, full or not; near to what is gone is nowhere.
    bench.table.loaded(2, load(false));
    assert_eq!(bench.endpoint(Some(second)).map(|it| it.1), Ok(2));
    assert_eq!(bench.endpoint(Some(first)), Err(MediaError::NoPorts), "all are full");
    bench.table.loaded(1, load(true));
    assert_eq!(bench.endpoint(Some(first)).map(|it| it.1), Ok(1));
}

#[test]
fn with_a_server_its_endpoints_fail_and_no_others_and_who_waits_is_answered() {
    let mut bench = Bench::new(2);
    bench.table.up(0, welcome(true));
    let (lost, _) = bench.endpoint(None).expect("up");
    bench.table.up(1, welcome(true));
    bench.table.loaded(0, load(false));
    let (other, at) = bench.endpoint(None).expect("up");
    assert_eq!(at, 1);
    let mut waits = bench.table.ask(&About::Endpoint(lost), Verb::Stats { endpoint: lost }).expect("asked");
    let mut goes_on =
        bench.table.ask(&About::Endpoint(other), Verb::Stats { endpoint: other }).expect("asked");
    let early = bench.table.place(Some(lost)).expect("a place");
    assert_eq!(bench.table.down(0, "killed", bench.now), 1);
    assert_eq!(waits.try_recv(), Ok(Err(MediaError::Stopped)));
    assert!(goes_on.try_recv().is_err(), "nothing has happened there");
    let failed = MediaEvent::Failed { endpoint: lost, reason: "killed".to_owned() };
    assert_eq!(bench.events.try_recv(), Ok(failed));
    assert!(bench.events.try_recv().is_err(), "and nothing else");
    // It is back, and knows nothing of what it held.
    bench.table.up(0, welcome(true));
    let refused = |id| bench.table.ask(&About::Endpoint(id), Verb::Stats { endpoint: id }).map(drop);
    assert_eq!(refused(lost), Err(MediaError::Stopped));
    assert_eq!(refused(early), Err(MediaError::NoSuchEndpoint(early)));
    // Released, it has its last word, and is forgotten.
    let released = bench.table.ask(&About::Endpoint(lost), Verb::Release { endpoint: lost });
    assert!(released.is_err());
    assert!(matches!(bench.events.try_recv(), Ok(MediaEvent::Closed { endpoint, .. }) if endpoint == lost));
    assert_eq!(refused(lost), Err(MediaError::NoSuchEndpoint(lost)));
    assert_eq!((bench.table.endpoints(), bench.table.waiting()), (1, 1));
}
