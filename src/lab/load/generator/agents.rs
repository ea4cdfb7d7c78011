//! The agents of a load: one at each of its addresses, all on the generator's thread.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::load::config::LoadConfig;
use b2b_call::LegId;
use b2b_call::agent::{AgentError, AgentEvent, AgentService, Registrations, UserAccount, UsersConfig};

/// Which agent has a leg, and its name there: names are an agent's own.
pub type Line = (usize, LegId);

/// How long users may take to be registered beside the time that their number takes: a request without an
/// answer is given up after 32 s (RFC 3261 §17.1.2.2).
const PATIENCE: Duration = Duration::from_secs(40);
/// How often it is looked at whether all of them are gone.
const LOOK: Duration = Duration::from_millis(50);
/// How long that may take.
const LEAVING: Duration = Duration::from_secs(5);

/// Agents; there is at least one.
pub struct Agents {
    first: AgentService,
    others: Vec<AgentService>,
    /// Which is asked first for news.
    turn: usize,
}

impl Agents {
    /// One at each address.
    pub fn start(config: &LoadConfig) -> Result<Self, AgentError> {
        let mut agents = Vec::new();
        for (n, bind) in config.binds.iter().enumerate() {
            agents.push(AgentService::start(config.agent(n, *bind))?);
        }
        let mut agents = agents.into_iter();
        let first = agents.next();
        let first = first.ok_or_else(|| AgentError::Media("no address is named".to_owned()))?;
        Ok(Agents { first, others: agents.collect(), turn: 0 })
    }

    /// How many.
    fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The one whose turn is the call of this number, from 1 on.
    pub fn turn(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(1)).unwrap_or_default() % self.count()
    }

    /// An agent; the first one for what is none.
    pub fn at(&mut self, n: usize) -> &mut AgentService {
        match n.checked_sub(1).and_then(|n| self.others.get_mut(n)) {
            Some(agent) => agent,
            None => &mut self.first,
        }
    }

    fn all(&self) -> impl Iterator<Item = &AgentService> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Where they listen.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.all().map(AgentService::local).collect()
    }

    /// What happens next, and to which of them. Nothing is lost when the future is dropped half way.
    pub async fn next_event(&mut self) -> (usize, AgentEvent) {
        if self.others.is_empty() {
            return (0, self.first.next_event().await);
        }
        // what one turn of an agent has brought is taken before all of them are asked again
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others).enumerate();
        if let Some(news) = all.find_map(|(n, agent)| agent.take_news().map(|event| (n, event))) {
            return news;
        }
        let mut futures = Vec::with_capacity(self.count());
        for (n, agent) in std::iter::once(&mut self.first).chain(&mut self.others).enumerate() {
            futures.push((n, Box::pin(agent.next_event())));
        }
        // each comes first once: one that always has news must not keep the others from telling theirs
        self.turn = (self.turn + 1) % futures.len();
        futures.rotate_left(self.turn);
        let next = poll_fn(|context| {
            for (n, future) in &mut futures {
                if let Poll::Ready(event) = future.as_mut().poll(context) {
                    return Poll::Ready((*n, event));
                }
            }
            Poll::Pending
        });
        pin!(next).await
    }

    /// Registers the users that are to be called, each at one of the agents in turn.
    pub fn enrol(&mut self, config: &LoadConfig) -> Result<(), AgentError> {
        let Some(enrolment) = &config.enrolment else { return Ok(()) };
        let count = self.count();
        let how = UsersConfig {
            registrar: format!("sip:{}", config.domain),
            way: Some(enrolment.registrar.clone()),
            expires_s: enrolment.expires_s,
            per_second: enrolment.per_second / count as f64,
        };
        for n in 0..count {
            let users = enrolment.users.iter().skip(n).step_by(count);
            let accounts: Vec<UserAccount> = users
                .map(|user| UserAccount {
                    identity: user.uri(&config.domain),
                    user: user.name.clone(),
                    credentials: user.credentials(),
                })
                .collect();
            self.at(n).register_users(&accounts, &how)?;
        }
        Ok(())
    }

    /// How long all of them may take.
    pub fn patience(&self, config: &LoadConfig) -> Duration {
        let Some(enrolment) = &config.enrolment else { return PATIENCE };
        PATIENCE + Duration::from_secs_f64(enrolment.users.len() as f64 / enrolment.per_second.max(0.1))
    }

    /// What became of them.
    pub fn registrations(&self) -> Registrations {
        let mut sum = Registrations::default();
        for one in self.all().map(AgentService::registrations) {
            sum.users += one.users;
            sum.registered += one.registered;
            sum.given_up += one.given_up;
            for (why, count) in one.failures {
                *sum.failures.entry(why).or_default() += count;
            }
        }
        sum
    }

    /// Ends what is left.
    pub async fn close(mut self) {
        for n in 0..self.count() {
            self.at(n).drain();
        }
        let until = Instant::now() + LEAVING;
        let users = self.registrations().users > 0;
        while users && Instant::now() < until && !self.all().all(AgentService::is_idle) {
            // that the last of them is gone is no event
            let _ = tokio::time::timeout(LOOK, self.next_event()).await;
        }
        self.first.close().await;
        for agent in self.others {
            agent.close().await;
        }
    }
}

/// Who is not registered, and why.
pub fn missing(found: &Registrations) -> String {
    let why: Vec<String> = found.failures.iter().map(|(why, count)| format!("{count} times {why}")).collect();
    format!(
        "{} of {} users of [callee] are not registered ({}), so the load does not begin; look at their passwords \
         and at the registrar, or lower register_per_s",
        found.users - found.registered,
        found.users,
        if why.is_empty() { "nothing was answered".to_owned() } else { why.join(", ") }
    )
}
