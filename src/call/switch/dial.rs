//! Dialling as a state machine: stages one after the other (the targets of a route: a user's phones, a
//! gateway's hosts, a group), within a stage rounds one after the other, the targets of a round in parallel;
//! the first 2xx wins. No I/O; time is an argument.
//!
//! Within a stage every failure below 600 leads to the next round, except that a number refused behind one
//! host of a gateway is not tried behind the next. A 6xx ends everything, or only the other targets of the same
//! member, if the target is one of several members. The next stage follows if [`Stage::failover`] allows it
//! for the best failure response of the stage; a stage without any response always leads on.
//!
//! Events of branches go in, actions come out of [`Dial::poll`], in order; [`DialOutput::Won`] or
//! [`DialOutput::Failed`] is the last one and comes once, after every other branch has been cancelled.
//!
//! | branch \ event | 18x | 2xx | 3xx | 4xx, 5xx, silence | 6xx | time-out, caller gone |
//! |---|---|---|---|---|---|---|
//! | open | told | wins | its contacts are next | over | all over, or all of its member | CANCEL, over |
//! | over | – | ignored: the usage ends it with BYE | – | – | – | – |

mod branch;
mod stage;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use stage::{DialTarget, Stage};

use crate::failure::{DialFailure, Failover, is_trouble, rank};
use b2b_base::util::unheard;
use branch::Branch;
pub use branch::Silence;

/// Number of a branch, from 0 in the order of starting.
pub type BranchNo = u16;

/// Maximum number of branches of one dialling: bounds the growth by redirects.
const MAX_BRANCHES: usize = 64;

/// The limits of a dialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialLimits {
    /// Ringing time of a target without one of its own.
    pub ring: Duration,
    /// Maximum time without any response, for a target without one of its own; `None`: until [`Dial::silent`]
    /// is called.
    pub trying: Option<Duration>,
    /// Maximum duration of the whole dialling.
    pub total: Duration,
    /// Maximum number of 3xx followed.
    pub redirects: u8,
}

/// Why a branch is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum WhyCancelled {
    /// Another branch has answered.
    AnsweredElsewhere,
    /// Another branch has declined for all targets.
    Declined,
    /// The target rang too long.
    NoAnswer,
    /// The target sent no response at all.
    Silent,
    /// The caller has gone.
    CallerGone,
}

/// An action that a dialling requests.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum DialOutput<T> {
    /// Send an INVITE with its own Call-ID.
    Start(BranchNo, T),
    /// Cancel the branch.
    Cancel(BranchNo, WhyCancelled),
    /// Report progress to the caller. `early_media`: from now on the caller hears this branch's session.
    Progress { branch: BranchNo, status: u16, early_media: bool },
    /// This branch gets the call.
    Won(BranchNo),
    /// No branch answered.
    Failed(DialFailure),
}

/// What is known of a branch that is over: whom it belonged to, and when it would have ended.
struct Closed {
    kin: Option<Arc<str>>,
    member: Option<Arc<str>>,
    ends: Instant,
}

/// A dialling.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Dial<T> {
    stages: VecDeque<Stage<T>>,
    /// Of the current stage: the rounds to come, what leads to the next stage, when it ends, and the best
    /// failure response.
    rounds: VecDeque<Vec<DialTarget<T>>>,
    failover: Failover,
    #[serde(with = "b2b_base::ages::option")]
    stage_ends: Option<Instant>,
    said: Option<DialFailure>,
    branches: Vec<Branch>,
    limits: DialLimits,
    redirects: u8,
    #[serde(with = "b2b_base::ages")]
    ends: Instant,
    /// The branch whose early media the caller hears.
    early: Option<BranchNo>,
    last_progress: u16,
    best: Option<DialFailure>,
    over: bool,
    outputs: VecDeque<DialOutput<T>>,
    /// Events of branches that were over, since the last [`Dial::take_late`].
    late: u64,
}

impl<T> Dial<T> {
    /// Starts the first round. Without any target the dialling fails at once with 404.
    pub fn new(now: Instant, stages: Vec<Stage<T>>, limits: DialLimits) -> Self {
        let mut dial = Dial {
            stages: stages.into(),
            rounds: VecDeque::new(),
            failover: Failover::default(),
            stage_ends: None,
            said: None,
            branches: Vec::new(),
            limits,
            redirects: 0,
            ends: now + limits.total,
            early: None,
            last_progress: 0,
            best: None,
            over: false,
            outputs: VecDeque::new(),
            late: 0,
        };
        dial.next_round(now);
        dial
    }

    /// The next action.
    pub fn poll(&mut self) -> Option<DialOutput<T>> {
        self.outputs.pop_front()
    }

    /// Number of events of branches that were over, since the last call of this function.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// Whether `Won` or `Failed` has been decided.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// When to call [`Dial::timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let ringing = self.branches.iter().filter_map(|branch| match branch {
            Branch::Open { ends, .. } => Some(branch.silent_until().map_or(*ends, |at| at.min(*ends))),
            Branch::Over => None,
        });
        ringing.chain(self.stage_ends).chain([self.ends]).min()
    }

    /// The INVITE of a branch is sent after this delay: its time limits move by as much.
    pub fn waits(&mut self, branch: BranchNo, wait: Duration) {
        if let Some(Branch::Open { ends, silent_since, .. }) = self.branches.get_mut(usize::from(branch)) {
            *ends += wait;
            *silent_since += wait;
        }
    }

    /// Takes what is known of a branch of [`Dial::silent_at`].
    pub fn silence(&mut self, branch: BranchNo, silence: Silence) {
        if let Some(it) = self.branches.get_mut(usize::from(branch)) {
            it.silence(silence);
        }
    }

    /// The status of the best failure so far; `None`: nothing has failed.
    pub fn failed_with(&self) -> Option<u16> {
        self.best.as_ref().map(|best| best.status)
    }

    /// Branches that are about to be given up for lack of any response.
    pub fn silent_at(&self, now: Instant) -> Vec<BranchNo> {
        let silent = |branch: &Branch| branch.silent_until().is_some_and(|until| until <= now);
        (0..).zip(&self.branches).filter(|(_, branch)| silent(branch)).map(|(number, _)| number).collect()
    }

    /// A provisional response, 101 to 199, on a branch.
    pub fn provisional(&mut self, branch: BranchNo, status: u16, has_session: bool) {
        match self.branches.get_mut(usize::from(branch)) {
            Some(Branch::Open { rang, trying, .. }) if !self.over => {
                (*rang, *trying) = (true, None);
            }
            _ => return self.late += 1,
        }
        // The caller hears the first branch with early media, and of no other one then.
        if self.early.is_some_and(|early| early != branch) || !has_session && status == self.last_progress {
            return;
        }
        if has_session {
            self.early = Some(branch);
        }
        self.last_progress = status;
        self.outputs.push_back(DialOutput::Progress { branch, status, early_media: has_session });
    }

    /// A 2xx on a branch.
    pub fn answered(&mut self, branch: BranchNo) {
        if self.close(branch).is_none() {
            return self.late += 1;
        }
        self.cancel_all(WhyCancelled::AnsweredElsewhere, |_| true);
        self.over = true;
        self.outputs.push_back(DialOutput::Won(branch));
    }

    /// The caller is taken elsewhere: all branches are cancelled, and no further output follows.
    pub fn given_away(&mut self) {
        self.cancel_all(WhyCancelled::AnsweredElsewhere, |_| true);
        self.over = true;
    }

    /// Whether another 3xx would be followed.
    pub fn follows_redirects(&self) -> bool {
        self.redirects < self.limits.redirects
    }

    /// A 3xx on a branch: its contacts replace it, those of a round in parallel. The first round starts
    /// beside the branches that ring, the others follow.
    pub fn redirected(
        &mut self,
        now: Instant,
        branch: BranchNo,
        failure: DialFailure,
        rounds: Vec<Vec<impl Into<DialTarget<T>>>>,
    ) {
        if rounds.is_empty() || !self.follows_redirects() {
            return self.failed(now, branch, failure);
        }
        let Some(Closed { kin, member, ends }) = self.close(branch) else { return self.late += 1 };
        self.redirects += 1;
        self.remember(failure);
        // The gateway has answered: its other hosts would say the same.
        if kin.is_some() && self.failover != Failover::Whatever {
            self.rounds.iter_mut().for_each(|round| round.retain(|target| target.kin != kin));
        }
        let mut rounds = rounds.into_iter().map(|round| {
            let targets = round.into_iter().map(Into::<DialTarget<T>>::into);
            targets
                .map(|it| {
                    let member = member.clone().or_else(|| it.member.clone());
                    DialTarget { member, ..it }
                })
                .collect::<Vec<_>>()
        });
        let first = rounds.next().unwrap_or_default();
        for round in rounds.rev() {
            self.rounds.push_front(round);
        }
        for target in first {
            self.start(now, target, ends);
        }
        self.round_over(now);
    }

    /// A final response, 300 to 699, on a branch.
    pub fn failed(&mut self, now: Instant, branch: BranchNo, failure: DialFailure) {
        self.branch_over(now, branch, failure, true);
    }

    /// A branch has failed without a final response: silence, or no route.
    pub fn silent(&mut self, now: Instant, branch: BranchNo, failure: DialFailure) {
        self.branch_over(now, branch, failure, false);
    }

    fn branch_over(&mut self, now: Instant, branch: BranchNo, failure: DialFailure, said: bool) {
        let Some(Closed { kin, member, .. }) = self.close(branch) else { return self.late += 1 };
        let status = failure.status;
        if said {
            // For what comes after the others a member that declines is as good as busy.
            let noted = if status >= 600 && member.is_some() { 486 } else { status };
            self.note_said(&DialFailure { status: noted, ..failure.clone() });
        }
        self.remember(failure);
        if said && status >= 600 && self.failover != Failover::Whatever {
            // A 6xx speaks for the callee wherever they are (RFC 3261 §21.6): for a member, not for the others.
            let same = |of: &Option<Arc<str>>| member.is_none() || *of == member;
            self.cancel_all(
                WhyCancelled::Declined,
                |branch| matches!(branch, Branch::Open { member, .. } if same(member)),
            );
            for round in &mut self.rounds {
                round.retain(|target| !same(&target.member));
            }
            if member.is_none() {
                self.stages.clear();
            }
        } else if said && kin.is_some() && !is_trouble(status) && self.failover != Failover::Whatever {
            for round in &mut self.rounds {
                round.retain(|target| target.kin != kin);
            }
        }
        self.round_over(now);
    }

    /// The caller has gone.
    pub fn cancel(&mut self) {
        if self.over {
            return;
        }
        self.cancel_all(WhyCancelled::CallerGone, |_| true);
        self.fail(DialFailure::new(487, "Request Terminated"));
    }

    /// Handles elapsed time. First call [`Dial::silence`] for the branches of [`Dial::silent_at`].
    pub fn timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        for number in self.silent_at(now) {
            self.cancel_branch(number, WhyCancelled::Silent);
            self.remember(DialFailure::new(408, unheard::SILENT));
        }
        let failure = || DialFailure { q850: Some(19), ..DialFailure::new(408, "Request Timeout") };
        let all = self.ends <= now;
        let stage = all || self.stage_ends.is_some_and(|at| at <= now);
        let (mut expired, mut someone_rang) = (false, false);
        for number in 0..self.branches.len() {
            if let Branch::Open { ends, rang, .. } = self.branches[number]
                && (stage || ends <= now)
            {
                (expired, someone_rang) = (true, someone_rang || rang);
                self.cancel_branch(number as BranchNo, WhyCancelled::NoAnswer);
            }
        }
        if someone_rang {
            self.note_said(&failure());
        }
        if expired {
            self.remember(failure());
        }
        if stage {
            self.rounds.clear();
        }
        if all {
            self.stages.clear();
        }
        self.round_over(now);
    }

    fn round_over(&mut self, now: Instant) {
        if !self.over && !self.is_ringing() {
            self.next_round(now);
        }
    }

    fn is_ringing(&self) -> bool {
        self.branches.iter().any(|branch| matches!(branch, Branch::Open { .. }))
    }

    fn next_round(&mut self, now: Instant) {
        loop {
            while let Some(targets) = self.rounds.pop_front() {
                let before = self.branches.len();
                for target in targets {
                    let ends = now + target.ring.unwrap_or(self.limits.ring);
                    self.start(now, target, ends);
                }
                if self.branches.len() > before {
                    return;
                }
            }
            if self.said.take().is_some_and(|said| !self.failover.leads_on(said.status)) {
                self.stages.clear();
            }
            let Some(stage) = self.stages.pop_front() else { break };
            self.rounds = stage.rounds.into();
            self.failover = stage.failover;
            self.stage_ends = stage.lasts.map(|lasts| now + lasts);
        }
        let failure = self.best.take().unwrap_or_else(|| DialFailure::new(404, "Not Found"));
        self.fail(failure);
    }

    fn start(&mut self, now: Instant, target: DialTarget<T>, ends: Instant) {
        if self.branches.len() < MAX_BRANCHES {
            let branch = self.branches.len() as BranchNo;
            let trying = target.trying.or(self.limits.trying);
            let (kin, member) = (target.kin, target.member);
            self.branches.push(Branch::Open { kin, member, ends, silent_since: now, trying, rang: false });
            self.outputs.push_back(DialOutput::Start(branch, target.target));
        }
    }

    fn fail(&mut self, failure: DialFailure) {
        self.over = true;
        self.outputs.push_back(DialOutput::Failed(failure));
    }

    fn cancel_all(&mut self, why: WhyCancelled, which: impl Fn(&Branch) -> bool) {
        for number in 0..self.branches.len() {
            if which(&self.branches[number]) {
                self.cancel_branch(number as BranchNo, why);
            }
        }
    }

    fn cancel_branch(&mut self, branch: BranchNo, why: WhyCancelled) {
        if self.close(branch).is_some() {
            self.outputs.push_back(DialOutput::Cancel(branch, why));
        }
    }

    /// Closes an open branch, whose early media then ends. `None`: it was closed before.
    fn close(&mut self, branch: BranchNo) -> Option<Closed> {
        let it = self.branches.get_mut(usize::from(branch)).filter(|_| !self.over)?;
        self.early = self.early.filter(|early| *early != branch);
        match std::mem::replace(it, Branch::Over) {
            Branch::Open { kin, member, ends, .. } => Some(Closed { kin, member, ends }),
            Branch::Over => None,
        }
    }

    fn note_said(&mut self, failure: &DialFailure) {
        if self.said.as_ref().is_none_or(|said| rank(failure.status) < rank(said.status)) {
            self.said = Some(failure.clone());
        }
    }

    fn remember(&mut self, failure: DialFailure) {
        if self.best.as_ref().is_none_or(|best| rank(failure.status) < rank(best.status)) {
            self.best = Some(failure);
        }
    }
}

#[cfg(test)]
mod tests;
