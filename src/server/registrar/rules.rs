//! Changes of the bindings of an address of record (RFC 3261 §10.3 steps 6 and 7): all that a REGISTER
//! requests, or none.

use std::sync::Arc;

use super::binding::Binding;
use super::operation::{Operation, Refusal, Wanted};

/// One change. Indices are those of the bindings and of the requested contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Add {
        wanted: usize,
    },
    Replace {
        binding: usize,
        wanted: usize,
    },
    Remove {
        binding: usize,
    },
    /// Removes one in favour of an added one.
    Evict {
        binding: usize,
    },
}

/// How many contacts there may be, and which give way to a new one.
pub(super) struct Room<'a> {
    pub max: usize,
    /// Whether a new one takes the place of another one.
    pub replaces: bool,
    /// Whether the connection of a binding is gone.
    pub is_lost: &'a dyn Fn(&Binding) -> bool,
}

/// The client that sent the REGISTER.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub call_id: &'a [u8],
    pub cseq: u32,
    /// As in [`super::Sender`].
    pub challenged: bool,
}

/// The changes from the present bindings to the requested ones.
pub(super) fn steps(
    bindings: &[Arc<Binding>],
    operation: &Operation<'_>,
    asker: Asker<'_>,
    room: &Room<'_>,
) -> Result<Vec<Step>, Refusal> {
    let in_order = |binding: &Binding| {
        asker.challenged || *binding.call_id != *asker.call_id || asker.cseq > binding.cseq
    };
    let contacts = match operation {
        Operation::Query => return Ok(Vec::new()),
        Operation::RemoveAll => {
            return match bindings.iter().all(|binding| in_order(binding)) {
                true => Ok((0..bindings.len()).map(|binding| Step::Remove { binding }).collect()),
                false => Err(Refusal::OutOfOrder),
            };
        }
        Operation::Update(contacts) => contacts,
    };
    let mut steps = Vec::with_capacity(contacts.len());
    let mut taken = vec![false; bindings.len()];
    let (mut added, mut removed) = (0, 0);
    for (wanted, contact) in contacts.iter().enumerate() {
        let mut found = false;
        for (binding, old) in bindings.iter().enumerate() {
            let Some(taken) = taken.get_mut(binding).filter(|taken| !**taken) else { continue };
            if !is_same(old, contact, contacts) {
                continue;
            }
            if !in_order(old) {
                return Err(Refusal::OutOfOrder);
            }
            *taken = true;
            // Two old bindings may both be equivalent to it, but not to each other.
            if contact.expires == 0 || found {
                steps.push(Step::Remove { binding });
                removed += 1;
            } else {
                steps.push(Step::Replace { binding, wanted });
            }
            found = true;
        }
        if !found && contact.expires > 0 {
            steps.push(Step::Add { wanted });
            added += 1;
        }
    }
    let excess = if added > 0 { (bindings.len() + added - removed).saturating_sub(room.max) } else { 0 };
    let others = bindings.iter().enumerate().zip(taken).filter(|(_, taken)| !taken);
    let mut evicted: Vec<_> = others
        .map(|((binding, old), _)| (!(room.is_lost)(old), old.expires, binding))
        .filter(|(alive, ..)| !alive || room.replaces)
        .collect();
    if evicted.len() < excess {
        return Err(Refusal::TooManyContacts);
    }
    // Lost ones first, then the one that expires first.
    evicted.sort_unstable();
    steps.splice(0..0, evicted.into_iter().take(excess).map(|(.., binding)| Step::Evict { binding }));
    Ok(steps)
}

/// Whether a requested contact is that of a binding: with a reg-id, the same flow of the same phone, even
/// with a changed URI (RFC 5626 §6); else by URI. A phone without reg-ids, now or before, has one flow, so a new
/// URI takes the place of the old one, unless it requests that one as well.
fn is_same(binding: &Binding, wanted: &Wanted<'_>, all: &[Wanted<'_>]) -> bool {
    let uri = binding.uri();
    let at = |wanted: &Wanted<'_>| uri.as_ref().is_some_and(|uri| uri.equivalent(&wanted.contact.uri));
    match (wanted.instance, wanted.reg_id, &binding.instance, binding.reg_id) {
        (Some(instance), Some(reg_id), Some(old), Some(old_id)) => instance == &**old && reg_id == old_id,
        (Some(instance), _, Some(old), _) if wanted.expires > 0 && instance == &**old => {
            at(wanted) || !all.iter().any(at)
        }
        _ => at(wanted),
    }
}
