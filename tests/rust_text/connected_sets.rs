//! Strongly connected sets of a graph.

struct Search<'a> {
    calls: &'a [Vec<usize>],
    /// When a node was visited, and the earliest node reachable from it.
    met: Vec<Option<(usize, usize)>>,
    open: Vec<usize>,
    is_open: Vec<bool>,
    next: usize,
    sets: Vec<Vec<usize>>,
}

/// The sets of nodes that all reach each other, of a graph given by the targets of each node (Tarjan).
pub fn connected_sets(calls: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let (met, is_open) = (vec![None; calls.len()], vec![false; calls.len()]);
    let mut search = Search { calls, met, open: Vec::new(), is_open, next: 0, sets: Vec::new() };
    for node in 0..calls.len() {
        if search.met[node].is_none() {
            search.visit(node);
        }
    }
    search.sets
}

impl Search<'_> {
    /// Returns the earliest node reachable from this one.
    fn visit(&mut self, node: usize) -> usize {
        let own = self.next;
        self.next += 1;
        self.met[node] = Some((own, own));
        self.open.push(node);
        self.is_open[node] = true;
        let mut earliest = own;
        for &to in &self.calls[node] {
            earliest = earliest.min(match self.met[to] {
                None => self.visit(to),
                Some((at, _)) if self.is_open[to] => at,
                Some(_) => continue,
            });
        }
        self.met[node] = Some((own, earliest));
        if earliest == own {
            let from = self.open.iter().position(|it| *it == node).unwrap_or_default();
            let set = self.open.split_off(from);
            set.iter().for_each(|it| self.is_open[*it] = false);
            self.sets.push(set);
        }
        earliest
    }
}
