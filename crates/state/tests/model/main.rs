//! The state against a naive model: every read, its answer, its index, and who wakes, after every command.
//!
//! For each read of a pool: the answer equals a scan of the model, the index is the one the rules give, and
//! "the answer changed ⇔ its index moved ⇔ its topic was touched" (for what is absent the index may also rise when
//! tombstones are collected, and never falls).

mod answers;
mod commands;
mod naive;
mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use commands::Step;
use naive::{Naive, Shown};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use reads::Read;
use rollcall_state::command::*;
use rollcall_state::reply::TxnResult;
use rollcall_state::{Changes, Command, Context, Include, Loader, Proposal, Reply, Stamp, State};

/// The term and leader of every log entry; expiries that name others are void.
const TERM: u64 = 1;
const LEADER: u128 = 1;

#[derive(Default)]
struct Run {
    state: State,
    model: Naive,
    /// What the pool of reads answered last.
    reads: BTreeMap<String, Read>,
    log_index: u64,
    saved: Option<(Vec<Bytes>, Naive)>,
    /// All commands as a log holds them, for the replay.
    log: Vec<(u64, Bytes)>,
}

impl Run {
    fn apply(&mut self, command: Command) -> (Reply, Changes) {
        self.log_index += 1;
        // Time goes on by 0, 1 or 2 ms.
        let at = Stamp(self.model.now + self.log_index % 3);
        let proposal = Proposal { at, command };
        self.log.push((self.log_index, proposal.encode()));
        let context = Context {
            log_index: self.log_index,
            term: TERM,
            leader: LEADER,
            at,
        };
        self.model.now = at.0;
        self.model.index = self.log_index + self.state.offset();
        self.state.apply(context, &proposal.command)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Command(draft) => {
                let command = draft.ready(&self.model);
                let exact = self.writes_each_thing_once(&command);
                let (reply, changes) = self.apply(command.clone());
                prop_assert_eq!(reply, self.model_reply(&command), "{:?}", command);
                self.check_moves(&changes, exact, false)?;
            }
            Step::Reap(back) => {
                let up_to = self.state.index().saturating_sub(back);
                let (_, changes) = self.apply(Command::TombstoneReap(TombstoneReap { up_to }));
                self.model.reap(up_to);
                prop_assert!(changes.is_empty());
                self.check_moves(&changes, true, true)?;
            }
            Step::Save => {
                let chunks = self.state.chunks(100, Include::LiveOnly).collect();
                self.saved = Some((chunks, self.model.clone()));
            }
            Step::Restore(target) => self.restore(target)?,
            Step::Reload(target) => self.reload(target)?,
        }
        answers::check(&self.state, &self.model)
    }

    /// What one command writes twice may end as it was. A check is written twice when it follows its service too.
    fn writes_each_thing_once(&self, command: &Command) -> bool {
        match command {
            Command::Txn(_) => false,
            Command::Register(register) => {
                let ids = register.checks.iter().map(|c| c.check_id.to_lowercase());
                let ids: BTreeSet<String> = ids.collect();
                let service = register.service.as_ref().map(|s| s.id.to_lowercase());
                let follows = |id: &String| {
                    let key = (register.node.node.to_lowercase(), id.clone());
                    let row = self.model.checks.get(&key);
                    row.is_some_and(|c| Some(c.spec.service_id.to_lowercase()) == service)
                };
                // A rename takes the services off the old name, and may put one of them back under the new one.
                let known = self.model.node_by_id(&register.node.id);
                let renames =
                    known.is_some_and(|n| !n.spec.node.eq_ignore_ascii_case(&register.node.node));
                ids.len() == register.checks.len()
                    && !ids.iter().any(follows)
                    && !(renames && service.is_some())
            }
            _ => true,
        }
    }

    /// Goes on with what a snapshot of everything holds, a restore under way included.
    fn reload(&mut self, target: usize) -> Result<(), TestCaseError> {
        let digest = self.state.digest();
        let mut loader = Loader::new();
        for chunk in self.state.chunks(target, Include::Everything) {
            loader.push(&chunk).expect("own snapshot must load");
        }
        self.state = loader.finish().expect("own snapshot must be whole");
        prop_assert_eq!(self.state.digest(), digest);
        Ok(())
    }

    fn check_moves(
        &mut self,
        changes: &Changes,
        single: bool,
        reap: bool,
    ) -> Result<(), TestCaseError> {
        let before = std::mem::replace(&mut self.reads, reads::all(&self.state));
        reads::check_moves(&before, &self.reads, changes, single, reap)
    }

    fn restore(&mut self, target: usize) -> Result<(), TestCaseError> {
        let Some((chunks, saved)) = self.saved.clone() else {
            return Ok(());
        };
        // Cut anew: chunks need not end where rows end.
        let whole: Vec<u8> = chunks.concat();
        let id = "r".to_owned();
        let mut sum = crc32fast::Hasher::new();
        self.apply(Command::RestoreBegin(RestoreBegin { id: id.clone() }));
        let mut count = 0;
        for piece in whole.chunks(target) {
            sum.update(piece);
            let rows = Bytes::copy_from_slice(piece);
            let chunk = RestoreChunk {
                id: id.clone(),
                sequence: count,
                rows,
            };
            let (reply, changes) = self.apply(Command::RestoreChunk(chunk));
            prop_assert_eq!(reply, Reply::None);
            prop_assert!(changes.is_empty());
            if count % 8 == 0 {
                self.reload(target)?;
            }
            count += 1;
        }
        prop_assert_eq!(
            &self.reads,
            &reads::all(&self.state),
            "staging must not show"
        );
        let index_before = self.state.index();
        let swap = RestoreSwap {
            id,
            chunks: count,
            checksum: sum.finalize(),
        };
        let (reply, changes) = self.apply(Command::RestoreSwap(swap));
        prop_assert_eq!(reply, Reply::None);
        prop_assert!(changes.everything);
        prop_assert!(self.state.index() > index_before.max(saved.index));
        self.model.restore(&saved, self.state.index());
        self.reads = reads::all(&self.state);
        Ok(())
    }

    /// Applies the command to the model and says what the state must answer.
    fn model_reply(&mut self, command: &Command) -> Reply {
        let model = &mut self.model;
        let refused = |result: Result<bool, String>, reply: &dyn Fn(String) -> Reply| match result {
            Ok(ok) => Reply::Bool(ok),
            Err(words) => reply(words),
        };
        let other = |words: String| {
            use rollcall_state::reply::Refusal::*;
            let quoted = |from: &str| words.strip_prefix(from).map(|w| w.to_owned());
            Reply::Refused(if words == "Missing node registration" {
                MissingNode
            } else if let Some(rest) = quoted("invalid session \"") {
                InvalidSession(rest.trim_end_matches('"').to_owned())
            } else if let Some(rest) = quoted("Missing check '") {
                MissingCheck(rest.trim_end_matches("' registration").to_owned())
            } else if let Some(rest) = quoted("Check '") {
                CriticalCheck(rest.trim_end_matches("' is in critical state").to_owned())
            } else {
                Other(words)
            })
        };
        match command {
            Command::KvSet(set) => refused(model.set(set), &other),
            Command::KvDelete(delete) => Reply::Bool(model.delete_if(&delete.key, delete.cas)),
            Command::KvDeleteTree(tree) => {
                model.delete_tree(&tree.prefix);
                Reply::Bool(true)
            }
            Command::SessionCreate(create) => {
                refused(model.session_create(create).map(|()| true), &other)
            }
            Command::SessionDestroy(destroy) => {
                model.session_end(&destroy.id);
                Reply::Bool(true)
            }
            Command::SessionExpire(expire) => {
                if (expire.term, expire.leader) == (TERM, LEADER) {
                    for id in &expire.ids {
                        model.session_end(id);
                    }
                }
                Reply::None
            }
            Command::Register(register) => refused(model.register(register).map(|()| true), &other),
            Command::Deregister(deregister) => Reply::Bool(model.deregister(deregister)),
            Command::QuerySet(set) => refused(model.query_set(set).map(|()| true), &other),
            Command::QueryDelete(delete) => {
                refused(model.query_delete(&delete.id).map(|()| true), &other)
            }
            Command::Txn(txn) => Reply::Txn(match model.txn(txn) {
                Ok(shown) => Ok(shown.into_iter().map(as_result).collect()),
                Err(errors) => Err(errors
                    .into_iter()
                    .map(|(op_index, what)| rollcall_state::reply::TxnError { op_index, what })
                    .collect()),
            }),
            Command::TombstoneReap(_)
            | Command::RestoreBegin(_)
            | Command::RestoreChunk(_)
            | Command::RestoreSwap(_)
            | Command::RestoreAbort(_)
            | Command::ClusterInit(_) => unreachable!("not drawn as a plain command"),
        }
    }
}

fn as_result(shown: Shown) -> TxnResult {
    match shown {
        Shown::Key(key, row, with_value) => TxnResult::Kv {
            entry: answers::entry(&key, &row),
            with_value,
        },
        Shown::Node(row) => TxnResult::Node(Arc::new(row)),
        Shown::Service(row) => TxnResult::Service(Arc::new(row)),
        Shown::Check(row) => TxnResult::Check(Arc::new(row)),
    }
}

proptest! {
    // More with PROPTEST_CASES=10000.
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_read_is_the_models_and_moves_exactly_when_its_topic_is_touched(
        steps in commands::steps()
    ) {
        let mut run = Run::default();
        // As in a cluster the first command names it: index 1 is what absent things answer from the beginning.
        run.apply(Command::ClusterInit(ClusterInit { id: "c".into() }));
        run.reads = reads::all(&run.state);
        for step in steps {
            run.step(step)?;
        }
        // A replay of the log, without the reloads, ends in the same state.
        let mut replayed = State::default();
        for (log_index, bytes) in &run.log {
            let Proposal { at, command } = Proposal::decode(bytes).expect("own bytes must decode");
            replayed.apply(Context { log_index: *log_index, term: TERM, leader: LEADER, at }, &command);
        }
        prop_assert_eq!(replayed.digest(), run.state.digest());
    }
}
