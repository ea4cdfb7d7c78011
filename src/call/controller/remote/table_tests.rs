//! Which server takes what, and what becomes of it when one dies. Nobody speaks with a server here.

use super::*;
use crate::call::controller::{AddressFamily, EndpointSpec};

struct Bench {
    table: Table,
    queues: Vec<Queue>,
    events: mpsc::UnboundedReceiver<MediaEvent>,
    now: Instant,
}

fn load(accepting: bool) -> Load {
    Load { accepting, ..Load::default() }
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
        let mut answer = self.table.ask(&About::Endpoint(endpoint), Verb::Allocate { endpoint, spec })?;
        let asked =
            self.queues.iter_mut().enumerate().find_map(|(at, queue)| Some((at, queue.try_recv().ok()?)));
        let (server, Numbered { id, .. }) = asked.expect("a verb");
        let result = Ok(Answer::Allocated { rtp: ([127, 0, 0, 1], 4_000).into() });
        let answered = Answered { id, result, described: Vec::new() };
        self.table.happened(server, Happening::Answer(Box::new(answered)), self.now);
        assert!(matches!(answer.try_recv(), Ok(Ok(Answer::Allocated { .. }))));
        Ok((endpoint, server))
    }
}

#[test]
fn new_calls_stay_where_the_last_one_went_until_that_server_dies_or_is_full() {
    let mut bench = Bench::new(3);
    assert_eq!(bench.endpoint(None), Err(MediaError::Stopped));
    bench.table.up(1, load(true));
    assert_eq!(bench.endpoint(None).map(|it| it.1), Ok(1));
    bench.table.up(0, load(true));
    bench.table.up(2, load(true));
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
    bench.table.up(0, load(true));
    let (lost, _) = bench.endpoint(None).expect("up");
    bench.table.up(1, load(true));
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
    bench.table.up(0, load(true));
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
