//! Calls as they are kept for another process, in pieces: run again, each is the call that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmpv::Value;

use super::{Harness, Turn};
use b2b_call::CallId;
use b2b_call::switch::keep::{CallStore, WrittenCall};
use b2b_call::switch::restore::{KeptPiece, Surviving};

/// What was kept of each call; clones share it.
#[derive(Clone, Default)]
pub struct Pieces(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    calls: BTreeMap<CallId, Vec<bytes::Bytes>>,
    /// Those that have been written since they were compared.
    new: BTreeSet<CallId>,
}

impl Pieces {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallStore for Pieces {
    fn keep(&mut self, call: CallId, written: Option<WrittenCall<'_>>) -> bool {
        let mut all = self.all();
        all.new.insert(call);
        match written {
            Some(WrittenCall { octets, goes_on, .. }) => {
                let pieces = all.calls.entry(call).or_default();
                if !goes_on {
                    pieces.clear();
                }
                pieces.push(bytes::Bytes::copy_from_slice(octets));
            }
            None => drop(all.calls.remove(&call)),
        }
        true
    }
}

impl Harness {
    /// From now on, keeps calls in pieces, and asserts after each step that each is in them as it is.
    pub fn keep_pieces(&mut self) {
        let pieces = Pieces::default();
        let turn = &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        Surviving { store: Some(Box::new(pieces.clone())), ..Surviving::default() }
            .go_on(&mut self.switch, turn);
        self.pieces = Some(pieces);
    }

    /// Compares what is kept with the calls as they are.
    pub(super) fn compare_pieces(&mut self) {
        let Some(pieces) = self.pieces.clone() else { return };
        let now = self.now;
        let mut all = pieces.all();
        let new = std::mem::take(&mut all.new);
        let new: Vec<_> =
            new.into_iter().filter_map(|call| Some((call, all.calls.get(&call)?.clone()))).collect();
        drop(all);
        for (call, pieces) in new {
            let octets = |octets| KeptPiece { octets, written: now };
            let pieces: Vec<_> = pieces.into_iter().map(octets).collect();
            let turn = &mut Turn { now, wall: self.wall, sip: &mut self.endpoint };
            let run = match self.switch.run_pieces(turn, &pieces, Duration::ZERO) {
                Ok(Some((run, _))) => run,
                Ok(None) => continue,
                Err(error) => panic!("call {}: {error}", call.0),
            };
            let is =
                self.switch.write_call(now, &self.endpoint, call).unwrap_or_else(|error| panic!("{error}"));
            let mut differs = Vec::new();
            compare("", &tree(&is), &tree(&run), &mut differs);
            assert!(differs.is_empty(), "call {}, {} pieces: {differs:#?}", call.0, pieces.len());
        }
    }
}

fn tag(usage: &Value) -> Option<&Value> {
    let field = |value: &'_ Value, name: &str| -> Option<usize> {
        value.as_map()?.iter().position(|(key, _)| key.as_str() == Some(name))
    };
    let inner = &usage.as_map()?.get(field(usage, "usage")?)?.1;
    Some(&inner.as_map()?.get(field(inner, "local_tag")?)?.1)
}

/// Hashes by a secret of the endpoint, and numbers that it has given.
const OTHERS: [&str; 17] = [
    "merge_key",
    "slot",
    "generation",
    "id",
    "refer",
    "Notify",
    "Refer",
    "Request",
    "last_request",
    "lingering",
    "generations",
    "refers",
    "request",
    "early",
    "start",
    "requests",
    "passed_refers",
];

fn tree(octets: &[u8]) -> Value {
    fn opened(value: Value) -> Value {
        match value {
            Value::Binary(octets) => {
                let mut rest = &octets[..];
                match rmpv::decode::read_value(&mut rest) {
                    Ok(inner @ (Value::Map(_) | Value::Array(_))) if rest.is_empty() => opened(inner),
                    _ => Value::Binary(octets),
                }
            }
            Value::Array(all) => Value::Array(all.into_iter().map(opened).collect()),
            Value::Map(all) => Value::Map(all.into_iter().map(|(key, value)| (key, opened(value))).collect()),
            other => other,
        }
    }
    let mut rest = octets;
    opened(rmpv::decode::read_value(&mut rest).unwrap_or_else(|error| panic!("{error}")))
}

fn compare(path: &str, is: &Value, run: &Value, differs: &mut Vec<String>) {
    match (is, run) {
        (Value::Map(one), Value::Map(other)) if one.len() == other.len() => {
            for ((name, one), (other_name, other)) in one.iter().zip(other) {
                if name != other_name {
                    return differs.push(format!("{path}: {name} and {other_name}"));
                }
                if !OTHERS.contains(&name.as_str().unwrap_or_default()) {
                    compare(&format!("{path}.{}", name.as_str().unwrap_or("?")), one, other, differs);
                }
            }
        }
        // One that is over has more of them.
        (Value::Array(one), Value::Array(other)) if path == ".usages" => {
            for one in one {
                let same = other.iter().find(|other| tag(other) == tag(one));
                compare(".usage", one, same.unwrap_or(&Value::Nil), differs);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (n, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}.{n}"), one, other, differs);
            }
        }
        _ if is == run => {}
        _ => differs.push(format!("{path}: {is:.300} is run as {run:.300}")),
    }
}
