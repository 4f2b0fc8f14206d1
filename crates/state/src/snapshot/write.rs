//! A state as a stream of rows.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde::Serialize;

use super::{
    End, FORMAT, Header, Include, LockDelay, NamedIndex, OfNode, OfService, ROW_HEAD_LEN,
    TableIndexes, number,
};
use crate::catalog::Catalog;
use crate::row::Session;
use crate::state::Tables;
use crate::{Index, State};

/// The state as chunks of about `target_bytes`. Owns what it reads: it may run beside later writes.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    include: Include,
    target_bytes: usize,
    section: Section,
    rows: u64,
}

#[derive(Debug)]
enum Section {
    Header,
    Tables(Walk),
    StagedHead,
    Staged(Walk),
    End,
    Done,
}

/// Where in which table the writer is.
#[derive(Debug, Default)]
struct Walk {
    table: usize,
    after: Option<String>,
    after_pair: Option<(Arc<str>, Arc<str>)>,
}

impl State {
    /// The state as a stream of chunks. Chunks are cut between rows; a row longer than `target_bytes` makes a longer chunk.
    pub fn chunks(&self, target_bytes: usize, include: Include) -> Chunks {
        Chunks {
            state: self.clone(),
            include,
            target_bytes,
            section: Section::Header,
            rows: 0,
        }
    }

    /// A number that is equal on servers whose states are equal, and (almost surely) on no others: FNV-1a over all rows. It reads everything.
    pub fn digest(&self) -> u64 {
        const CHUNK: usize = 1 << 20;
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for chunk in self.chunks(CHUNK, Include::Everything) {
            for byte in chunk {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        hash
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = RowWriter {
            buffer: Vec::new(),
            target: self.target_bytes,
            rows: self.rows,
        };
        while !out.is_full() {
            match &mut self.section {
                Section::Header => {
                    out.put(number::HEADER, &self.state.header(self.include));
                    self.section = Section::Tables(Walk::default());
                }
                Section::Tables(walk) => {
                    if walk.advance(&self.state.tables, self.include, &mut out) {
                        self.section = Section::StagedHead;
                    }
                }
                Section::StagedHead => {
                    self.section = Section::End;
                    if let (Some(staged), Include::Everything) = (&self.state.staged, self.include)
                    {
                        out.put(number::STAGED, &staged.head());
                        self.section = Section::Staged(Walk::default());
                    }
                }
                Section::Staged(walk) => {
                    let staged = self
                        .state
                        .staged
                        .as_ref()
                        .expect("what is staged must be there");
                    if walk.advance(&staged.loader.tables, Include::LiveOnly, &mut out) {
                        self.section = Section::End;
                    }
                }
                Section::End => {
                    let rows = out.rows;
                    out.put(number::END, &End { rows });
                    self.section = Section::Done;
                }
                Section::Done => break,
            }
        }
        self.rows = out.rows;
        (!out.buffer.is_empty()).then(|| Bytes::from(out.buffer))
    }
}

struct RowWriter {
    buffer: Vec<u8>,
    target: usize,
    rows: u64,
}

impl RowWriter {
    fn is_full(&self) -> bool {
        self.buffer.len() >= self.target.max(1)
    }

    fn put(&mut self, number: u16, row: &impl Serialize) {
        let head = self.buffer.len();
        self.buffer.extend_from_slice(&number.to_le_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        rmp_serde::encode::write_named(&mut self.buffer, row)
            .expect("a row must encode into memory");
        let len = (self.buffer.len() - head - ROW_HEAD_LEN) as u32;
        self.buffer[head + 2..head + ROW_HEAD_LEN].copy_from_slice(&len.to_le_bytes());
        self.rows += 1;
    }
}

impl Walk {
    /// Writes until the chunk is full or the tables end; `true`: they ended.
    fn advance(&mut self, tables: &Tables, include: Include, out: &mut RowWriter) -> bool {
        let everything = include == Include::Everything;
        while !out.is_full() {
            let table_ended = match self.table {
                0 => {
                    if everything {
                        out.put(number::TABLE_INDEXES, &tables.indexes());
                    }
                    true
                }
                1 => self.rows(tables.kv.entries(), out, |_, e, out| {
                    out.put(number::KV, &**e)
                }),
                2 => self.rows(&tables.sessions_rows(), out, |_, s, out| {
                    out.put(number::SESSION, &**s)
                }),
                3 => self.rows(&tables.catalog.nodes, out, |_, n, out| {
                    out.put(number::NODE, &*n.row)
                }),
                4 => self.pairs(&tables.catalog.services, out, |s, out| {
                    out.put(number::SERVICE, &**s)
                }),
                5 => self.pairs(&tables.catalog.checks, out, |c, out| {
                    out.put(number::CHECK, &**c)
                }),
                6 => self.rows(tables.queries.rows(), out, |_, q, out| {
                    out.put(number::QUERY, &**q)
                }),
                _ if !everything => return true,
                7 => self.rows(tables.kv.graves.tombstones(), out, |key, index, out| {
                    out.put(number::TOMBSTONE, &named(key, *index))
                }),
                8 => self.rows(tables.kv.graves.marks(), out, |prefix, index, out| {
                    out.put(number::MARK, &named(prefix, *index))
                }),
                9 => self.rows(tables.sessions.delays(), out, |key, end, out| {
                    out.put(
                        number::LOCK_DELAY,
                        &LockDelay {
                            key: &**key,
                            end: *end,
                        },
                    )
                }),
                10 => self.rows(tables.sessions.by_node(), out, |node, of_node, out| {
                    out.put(number::SESSIONS_OF_NODE, &named(node, of_node.index))
                }),
                11 => self.rows(&tables.catalog.nodes, out, |name, node, out| {
                    out.put(number::CHECKS_OF_NODE, &named(name, node.indexes.checks))
                }),
                12..=16 => self.catalog_rows(&tables.catalog, out),
                _ => return true,
            };
            if table_ended {
                *self = Walk {
                    table: self.table + 1,
                    after: None,
                    after_pair: None,
                };
            }
        }
        false
    }

    /// What only the indexes of the catalog know.
    fn catalog_rows(&mut self, catalog: &Catalog, out: &mut RowWriter) -> bool {
        match self.table {
            12 => self.rows(&catalog.nodes, out, |name, node, out| {
                let row = OfNode {
                    name: &**name,
                    services: node.indexes.services,
                    node_checks: node.indexes.node_checks,
                };
                out.put(number::OF_NODE, &row)
            }),
            13 => self.rows(&catalog.of_service, out, |name, of_service, out| {
                let row = OfService {
                    name: &**name,
                    instances: of_service.instances,
                    checks: of_service.checks,
                };
                out.put(number::OF_SERVICE, &row)
            }),
            14 => self.rows(&catalog.of_status, out, |name, index, out| {
                out.put(number::OF_STATUS, &named(name, *index))
            }),
            15 => self.rows(catalog.gone_nodes.tombstones(), out, |name, index, out| {
                out.put(number::GONE_NODE, &named(name, *index))
            }),
            _ => self.rows(
                catalog.gone_services.tombstones(),
                out,
                |name, index, out| out.put(number::GONE_SERVICE, &named(name, *index)),
            ),
        }
    }

    fn rows<V: Clone>(
        &mut self,
        table: &OrdMap<Arc<str>, V>,
        out: &mut RowWriter,
        put: impl Fn(&Arc<str>, &V, &mut RowWriter),
    ) -> bool {
        let from = match &self.after {
            Some(after) => Bound::Excluded(&**after),
            None => Bound::Unbounded,
        };
        for (key, row) in table.range::<_, str>((from, Bound::Unbounded)) {
            put(key, row, out);
            if out.is_full() {
                self.after = Some(key.to_string());
                return false;
            }
        }
        true
    }

    fn pairs<V: Clone>(
        &mut self,
        table: &OrdMap<(Arc<str>, Arc<str>), V>,
        out: &mut RowWriter,
        put: impl Fn(&V, &mut RowWriter),
    ) -> bool {
        let from = match &self.after_pair {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Unbounded,
        };
        for (key, row) in table.range((from, Bound::Unbounded)) {
            put(row, out);
            if out.is_full() {
                self.after_pair = Some(key.clone());
                return false;
            }
        }
        true
    }
}

fn named(name: &str, index: Index) -> NamedIndex<&str> {
    NamedIndex { name, index }
}

impl Tables {
    fn sessions_rows(&self) -> OrdMap<Arc<str>, Arc<Session>> {
        self.sessions.rows().clone()
    }

    fn indexes(&self) -> TableIndexes {
        TableIndexes {
            kv_watermark: self.kv.graves.watermark(),
            sessions_changed: self.sessions.changed(),
            sessions_ended: self.sessions.ended(),
            nodes_changed: self.catalog.indexes.nodes,
            catalog_removed: self.catalog.indexes.removed,
            names_changed: Some(self.catalog.indexes.names),
            instances_changed: self.catalog.indexes.instances,
            checks_changed: self.catalog.indexes.checks,
            states_left: self.catalog.indexes.states_left,
            nodes_watermark: self.catalog.gone_nodes.watermark(),
            queries_changed: self.queries.changed(),
            queries_removed: self.queries.removed(),
            services_watermark: self.catalog.gone_services.watermark(),
        }
    }
}

impl State {
    fn header(&self, include: Include) -> Header {
        Header {
            format: FORMAT,
            include,
            index: self.index,
            offset: self.offset,
            stamp: self.stamp,
            cluster_id: self.cluster_id.as_deref().map(str::to_owned),
        }
    }
}
