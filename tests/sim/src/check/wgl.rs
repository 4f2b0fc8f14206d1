//! Is there an order of these calls, one at a time and each between its start and its end, that a model allows?
//!
//! The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of
//! configurations seen ("Testing for linearizability", 2017). A call without an end has an unknown outcome: it may
//! take effect at any time after its start, or never. Two things keep the search short: a configuration is cut off
//! when one with the same calls done, the same state and fewer unknown calls spent was already tried (it could do
//! all that this one can); and a search that grows past [`CONFIGURATIONS_MAX`] ends as [`Verdict::Undecided`], which
//! callers must count as a failure.

use std::collections::HashMap;
use std::hash::Hash;

/// What the calls act on.
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash + std::fmt::Debug;
    /// A call with what its caller saw, if it saw an answer.
    type Op: std::fmt::Debug;
    /// The state before any call.
    fn initial(&self) -> Self::State;
    /// Every state the call may lead to; none when what the caller saw is impossible here.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Vec<Self::State>;
}

/// A call in a history. Points in time are positions in one total order of events.
#[derive(Debug, Clone)]
pub struct Call<Op> {
    /// When it was sent.
    pub invoked: u64,
    /// When its answer came; `None`: outcome unknown.
    pub returned: Option<u64>,
    /// The call.
    pub op: Op,
}

/// Configurations a search may visit. A history of a few hundred calls on a handful of keys needs thousands; more
/// than this means that the history is wrong in a way that is costly to prove, or that the workload is too wild.
pub const CONFIGURATIONS_MAX: usize = 400_000;

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The words show the furthest the search came.
    Violation(String),
    /// Given up.
    Undecided(String),
}

impl Verdict {
    /// Whether the history is surely fine.
    pub fn is_ok(&self) -> bool {
        matches!(self, Verdict::Linearizable)
    }
}

/// Searches for a linearization.
pub fn check<M: Model>(model: &M, calls: &[Call<M::Op>]) -> Verdict {
    Search::new(model, calls).run()
}

/// A set of calls by position.
type Set = Vec<u64>;

fn insert(set: &mut Set, at: usize) {
    set[at / 64] |= 1 << (at % 64);
}

fn remove(set: &mut Set, at: usize) {
    set[at / 64] &= !(1 << (at % 64));
}

fn has(set: &Set, at: usize) -> bool {
    set[at / 64] & (1 << (at % 64)) != 0
}

fn is_subset(a: &Set, b: &Set) -> bool {
    a.iter().zip(b).all(|(a, b)| a & !b == 0)
}

/// A point on the way where the search may come back to.
struct Frame<S> {
    /// Choices not tried yet with the states they lead to, the next one last.
    choices: Vec<(usize, S)>,
    /// The choice taken last.
    taken: Option<usize>,
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Op>],
    /// Positions, sorted by start.
    order: Vec<usize>,
    /// Calls with an answer that are placed.
    done: Set,
    /// Calls without an answer that are placed.
    spent: Set,
    seen: HashMap<(Set, M::State), Vec<Set>>,
    visited: usize,
    /// How far the search came: calls placed, which, and the state then.
    deepest: Option<(usize, Set, Set, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<M::Op>]) -> Self {
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_by_key(|&at| calls[at].invoked);
        let words = calls.len().div_ceil(64).max(1);
        Search {
            model,
            calls,
            order,
            done: vec![0; words],
            spent: vec![0; words],
            seen: HashMap::new(),
            visited: 0,
            deepest: None,
        }
    }

    fn run(mut self) -> Verdict {
        let answered = self.calls.iter().filter(|c| c.returned.is_some()).count();
        let mut placed = 0;
        let mut state = self.model.initial();
        let mut stack: Vec<Frame<M::State>> = Vec::new();
        loop {
            if placed == answered {
                return Verdict::Linearizable;
            }
            if self.is_new(&state) {
                self.visited += 1;
                if self.visited > CONFIGURATIONS_MAX {
                    return Verdict::Undecided(format!(
                        "more than {CONFIGURATIONS_MAX} configurations; {}",
                        self.furthest()
                    ));
                }
                self.note_depth(placed, &state);
                stack.push(Frame {
                    choices: self.choices(&state),
                    taken: None,
                });
            }
            match self.advance(&mut stack, &mut placed) {
                Some(next) => state = next,
                None => return Verdict::Violation(self.furthest()),
            }
        }
    }

    /// Takes the next choice of the topmost frame that has one, undoing what was taken before it.
    fn advance(
        &mut self,
        stack: &mut Vec<Frame<M::State>>,
        placed: &mut usize,
    ) -> Option<M::State> {
        while let Some(frame) = stack.last_mut() {
            if let Some(at) = frame.taken.take() {
                if self.calls[at].returned.is_some() {
                    remove(&mut self.done, at);
                    *placed -= 1;
                } else {
                    remove(&mut self.spent, at);
                }
            }
            if let Some((at, state)) = frame.choices.pop() {
                frame.taken = Some(at);
                if self.calls[at].returned.is_some() {
                    insert(&mut self.done, at);
                    *placed += 1;
                } else {
                    insert(&mut self.spent, at);
                }
                return Some(state);
            }
            stack.pop();
        }
        None
    }

    /// Remembers the configuration; false if one at least as good was there before.
    fn is_new(&mut self, state: &M::State) -> bool {
        let seen = self
            .seen
            .entry((self.done.clone(), state.clone()))
            .or_default();
        if seen.iter().any(|earlier| is_subset(earlier, &self.spent)) {
            return false;
        }
        seen.retain(|earlier| !is_subset(&self.spent, earlier));
        seen.push(self.spent.clone());
        true
    }

    /// Calls that may come next with the states they lead to, the most promising one last.
    fn choices(&self, state: &M::State) -> Vec<(usize, M::State)> {
        let (candidates, optional) = self.candidates();
        let mut choices = Vec::new();
        for at in optional.into_iter().rev() {
            for next in self.model.step(state, &self.calls[at].op) {
                // Placing a call that changes nothing and was not seen helps nobody.
                if next != *state {
                    choices.push((at, next));
                }
            }
        }
        for at in candidates.into_iter().rev() {
            for next in self.model.step(state, &self.calls[at].op) {
                choices.push((at, next));
            }
        }
        choices
    }

    /// Calls that started before the first unplaced answer: answered ones (earliest answer first) and unknown ones.
    fn candidates(&self) -> (Vec<usize>, Vec<usize>) {
        let mut answered = Vec::new();
        let mut unknown = Vec::new();
        let mut first_answer = u64::MAX;
        for &at in &self.order {
            let call = &self.calls[at];
            if call.invoked > first_answer {
                break;
            }
            match call.returned {
                Some(returned) if !has(&self.done, at) => {
                    first_answer = first_answer.min(returned);
                    answered.push(at);
                }
                None if !has(&self.spent, at) => unknown.push(at),
                _ => {}
            }
        }
        answered.retain(|&at| self.calls[at].invoked < first_answer);
        unknown.retain(|&at| self.calls[at].invoked < first_answer);
        answered.sort_by_key(|&at| self.calls[at].returned);
        (answered, unknown)
    }

    fn note_depth(&mut self, placed: usize, state: &M::State) {
        if self
            .deepest
            .as_ref()
            .is_none_or(|(most, ..)| placed > *most)
        {
            self.deepest = Some((placed, self.done.clone(), self.spent.clone(), state.clone()));
        }
    }

    /// Where the search came furthest, in words.
    fn furthest(&mut self) -> String {
        let Some((placed, done, spent, state)) = self.deepest.take() else {
            return String::from("nothing could be placed");
        };
        self.done = done;
        self.spent = spent;
        let (answered, unknown) = self.candidates();
        let show = |positions: &[usize]| {
            positions
                .iter()
                .map(|&at| format!("\n    {:?}", self.calls[at]))
                .collect::<String>()
        };
        format!(
            "{placed} answered calls placed, state then {state:?}; none of these fits next:{}\n  and of unknown outcome:{}",
            show(&answered),
            show(&unknown)
        )
    }
}

#[cfg(test)]
mod tests;
