//! Pending futures of a switch: each is polled only when woken, since a storm has thousands of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use b2b_call::switch::Task;

type Done = <Task as Future>::Output;

/// The woken tasks, in order of waking.
#[derive(Default)]
struct Woken(Mutex<Vec<u64>>);

struct Wakes {
    number: u64,
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::SeqCst) {
            self.woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Tasks {
    waiting: BTreeMap<u64, (Task, Arc<Wakes>)>,
    last: u64,
    woken: Arc<Woken>,
}

impl Tasks {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn extend(&mut self, tasks: impl Iterator<Item = Task>) {
        for task in tasks {
            self.last += 1;
            let wakes = Arc::new(Wakes {
                number: self.last,
                is_woken: AtomicBool::new(false),
                woken: self.woken.clone(),
            });
            wakes.clone().wake();
            self.waiting.insert(self.last, (task, wakes));
        }
    }

    /// The results of completed tasks.
    pub fn done(&mut self) -> Vec<Done> {
        let mut woken = std::mem::take(&mut *self.woken.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Polled in the order of their start, as if all were polled.
        woken.sort_unstable();
        let mut done = Vec::new();
        for number in woken {
            let Some((task, wakes)) = self.waiting.get_mut(&number) else { continue };
            wakes.is_woken.store(false, Ordering::SeqCst);
            let waker = Waker::from(wakes.clone());
            if let Poll::Ready(it) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.waiting.remove(&number);
                done.push(it);
            }
        }
        done
    }
}
