//! `group/sales`: several targets that are called as one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::rest;
use crate::lookup::{
    LookupError, LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver,
};

/// Maximum nesting depth of groups.
const MAX_DEPTH: usize = 8;
/// Maximum number of contacts of a group.
const MAX_CONTACTS: usize = 64;

/// A group of targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub members: Vec<Member>,
    /// The ring timeout of a member; `None` for that of the dial request.
    pub ring: Option<Duration>,
    /// How long all members may ring together; `None`: each as long as it rings.
    pub lasts: Option<Duration>,
    /// A 6xx of one member ends all of them, not only that member.
    pub declines_for_all: bool,
}

impl Group {
    /// A group whose members are dialled at once.
    pub fn parallel<'a>(members: impl IntoIterator<Item = &'a str>) -> Self {
        let members = members.into_iter().map(|target| Member::new(target, 0)).collect();
        Group { members, ..Group::default() }
    }

    /// A group whose members are dialled one after another.
    pub fn serial<'a>(members: impl IntoIterator<Item = &'a str>) -> Self {
        let members = (0..).zip(members).map(|(at, target)| Member::new(target, at)).collect();
        Group { members, ..Group::default() }
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Any target, including another group.
    pub target: String,
    /// Lower is dialled first; members of equal priority are dialled together.
    pub priority: u16,
}

impl Member {
    /// A member.
    pub fn new(target: &str, priority: u16) -> Self {
        Member { target: target.to_owned(), priority }
    }
}

/// Resolves `group/<name>`. Unreachable members are left out.
pub struct GroupResolver {
    groups: HashMap<String, Group>,
    /// Resolves members that are not groups.
    others: Arc<dyn Resolver>,
}

impl GroupResolver {
    /// A resolver of these groups, whose other members `others` resolves.
    ///
    /// # Errors
    /// A group contains itself, contains a group that does not exist, or is nested too deeply.
    pub fn new(
        groups: impl IntoIterator<Item = (String, Group)>,
        others: Arc<dyn Resolver>,
    ) -> Result<Self, LookupError> {
        let resolver = GroupResolver { groups: groups.into_iter().collect(), others };
        let mut names: Vec<&String> = resolver.groups.keys().collect();
        names.sort(); // makes the error deterministic
        let mut heights = HashMap::new();
        for name in names {
            if resolver.height(name, &mut Vec::new(), &mut heights)? > MAX_DEPTH {
                return Err(LookupError::GroupTooDeep { group: name.clone(), limit: MAX_DEPTH });
            }
        }
        Ok(resolver)
    }

    /// The number of nested levels below and including this group; `path` leads to it.
    fn height<'a>(
        &'a self,
        name: &'a str,
        path: &mut Vec<&'a str>,
        heights: &mut HashMap<&'a str, usize>,
    ) -> Result<usize, LookupError> {
        if let Some(height) = heights.get(name) {
            return Ok(*height);
        }
        if path.contains(&name) {
            path.push(name);
            return Err(LookupError::GroupCycle { group: name.to_owned(), path: path.join(" → ") });
        }
        let unknown = || LookupError::UnknownGroup { group: name.to_owned() };
        let group = self.groups.get(name).ok_or_else(unknown)?;
        path.push(name);
        let mut height = 1;
        for nested in group.members.iter().filter_map(|member| rest(&member.target, "group")) {
            height = height.max(1 + self.height(nested, path, heights)?);
        }
        path.pop();
        heights.insert(name, height);
        Ok(height)
    }

    async fn resolve(&self, name: &str, request: &LookupRequest) -> Result<LookupResult, LookupError> {
        if !self.groups.contains_key(name) {
            return Err(LookupError::UnknownGroup { group: name.to_owned() });
        }
        let mut expansion = Expansion { resolver: self, request, missed: Vec::new(), known: HashMap::new() };
        let tiers = expansion.group(name).await;
        let mut contacts: Vec<ResolvedContact> = Vec::new();
        for tier in tiers {
            let priority = contacts.last().map_or(0, |last| last.priority + 1);
            for contact in tier {
                // A contact that is in two groups rings once, at its first turn.
                let known = contacts.iter().any(|other| other.is_at(&contact));
                if !known && contacts.len() < MAX_CONTACTS {
                    contacts.push(ResolvedContact { priority, ..contact });
                }
            }
        }
        if contacts.is_empty() {
            let missed = expansion.missed;
            let why = if missed.is_empty() { "it has no members".to_owned() } else { missed.join("; ") };
            return Err(LookupError::GroupUnreachable { group: name.to_owned(), why });
        }
        let lasts = self.groups.get(name).and_then(|group| group.lasts);
        Ok(LookupResult { lasts, ..LookupResult::new(LookupKind::Group, &request.target, contacts) })
    }
}

/// Contacts in dialling order, those of one turn together.
type Tiers = Vec<Vec<ResolvedContact>>;

/// One lookup of a group.
struct Expansion<'a> {
    resolver: &'a GroupResolver,
    request: &'a LookupRequest,
    /// The errors of unreachable members.
    missed: Vec<String>,
    /// Results of targets that were looked up already.
    known: HashMap<&'a str, Tiers>,
}

impl<'a> Expansion<'a> {
    /// Of members of equal priority first the first choices of all, then the second ones, and so on; then the
    /// members of the next priority.
    fn group(&mut self, name: &'a str) -> Pin<Box<dyn Future<Output = Tiers> + Send + '_>> {
        Box::pin(async move {
            // Every nested group exists: `GroupResolver::new` has checked.
            let group = self.resolver.groups.get(name);
            let members = group.map_or(&[][..], |group| &group.members);
            let (ring, for_all) = group.map_or((None, false), |group| (group.ring, group.declines_for_all));
            let mut members: Vec<&Member> = members.iter().collect();
            members.sort_by_key(|member| member.priority);
            let mut tiers = Tiers::new();
            for together in members.chunk_by(|a, b| a.priority == b.priority) {
                let first = tiers.len();
                for member in together {
                    for (turn, mut contacts) in self.member(&member.target).await.into_iter().enumerate() {
                        for contact in &mut contacts {
                            let own =
                                || contact.member.take().unwrap_or_else(|| member.target.as_str().into());
                            contact.member = (!for_all).then(own);
                        }
                        match tiers.get_mut(first + turn) {
                            Some(tier) => tier.extend(contacts),
                            None => tiers.push(contacts),
                        }
                    }
                }
            }
            for tier in &mut tiers {
                tier.truncate(MAX_CONTACTS);
                for contact in tier {
                    // The shorter of the timeouts of this group and a nested one.
                    contact.ring = contact.ring.into_iter().chain(ring).min();
                }
            }
            tiers.truncate(MAX_CONTACTS);
            tiers
        })
    }

    async fn member(&mut self, target: &'a str) -> Tiers {
        if let Some(known) = self.known.get(target) {
            return known.clone();
        }
        let tiers = match rest(target, "group") {
            Some(nested) => self.group(nested).await,
            None => match self.resolver.others.lookup(&self.request.with_target(target)).await {
                Ok(Some(found)) => found.tiers().map(<[_]>::to_vec).collect(),
                Ok(None) => {
                    self.missed.push(format!("'{target}' is unknown"));
                    Tiers::new()
                }
                Err(error) => {
                    self.missed.push(error.to_string());
                    Tiers::new()
                }
            },
        };
        self.known.insert(target, tiers.clone());
        tiers
    }
}

impl Resolver for GroupResolver {
    fn name(&self) -> &str {
        "group"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(async move {
            match rest(&request.target, "group") {
                None => Ok(None),
                Some(name) => self.resolve(name, request).await.map(Some),
            }
        })
    }
}
