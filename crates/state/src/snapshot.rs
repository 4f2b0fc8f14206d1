//! Snapshots: the state as a stream of rows, and back.
//!
//! A row is `[u16 LE number][u32 LE length][MessagePack map by field name]`. Numbers and field names live for ever; fields may be added with a
//! default; an unknown number is an error. The first row is a header that carries the format's version, the last one the number of rows. The
//! bytes carry no checksum: files and commands that carry them do. The stream is cut anywhere; the loader waits for
//! the rest of a row.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::restore::Staged;
use crate::row::{Check, KvEntry, Node, Service, Session};
use crate::state::Tables;
use crate::{Index, Stamp, State};

/// Version of the format. It changes only when old readers would misread new files.
const FORMAT: u32 = 1;

/// A row is at most so long. A value is at most 512 KiB; what is longer is a damaged length.
const ROW_LEN_MAX: usize = 64 << 20;

const ROW_HEAD_LEN: usize = 6;

/// What a snapshot carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Include {
    /// All that makes servers equal: also tombstones, marks, lock-delays, a restore under way. Raft's snapshots.
    Everything,
    /// What lives. Users' backups.
    LiveOnly,
}

/// Why a snapshot cannot be read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SnapshotError {
    #[error("snapshot format {0} is not known to this version (it knows {FORMAT})")]
    UnknownFormat(u32),
    #[error("snapshot row number {0} is not known to this version")]
    UnknownRow(u16),
    #[error("snapshot row {number} does not decode: {why}")]
    Row { number: u16, why: String },
    #[error("snapshot does not begin with its header")]
    NoHeader,
    #[error("snapshot goes on after its end, or has a row where none may be")]
    Misplaced,
    #[error("snapshot ends too early, after {rows} rows")]
    Truncated { rows: u64 },
    #[error("snapshot has {found} rows of {expected}")]
    Count { found: u64, expected: u64 },
    #[error("snapshot row of {0} bytes is longer than {ROW_LEN_MAX}")]
    RowTooLong(usize),
}

// === rows beside those of the tables ===

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    format: u32,
    include: Include,
    index: Index,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    stamp: Stamp,
    #[serde(default)]
    cluster_id: Option<String>,
}

/// Of a key or of a prefix: tombstones and marks.
#[derive(Serialize, Deserialize)]
struct NamedIndex<S> {
    name: S,
    index: Index,
}

#[derive(Serialize, Deserialize)]
struct LockDelay<S> {
    key: S,
    end: Stamp,
}

/// Indexes of whole tables.
#[derive(Serialize, Deserialize)]
struct TableIndexes {
    #[serde(default)]
    kv_watermark: Index,
    #[serde(default)]
    sessions_changed: Index,
    #[serde(default)]
    sessions_ended: Index,
    #[serde(default)]
    nodes_changed: Index,
    #[serde(default)]
    catalog_removed: Index,
}

#[derive(Serialize, Deserialize)]
struct StagedHead {
    id: String,
    next_sequence: u64,
    checksum: u32,
    bytes: u64,
    #[serde(default)]
    header: Option<Header>,
    rows: u64,
    max_index: Index,
    ended: bool,
    #[serde(default)]
    partial: Bytes,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: u64,
}

mod number {
    //! Numbers of rows: for ever.
    pub(super) const HEADER: u16 = 1;
    pub(super) const KV: u16 = 2;
    pub(super) const TOMBSTONE: u16 = 3;
    pub(super) const MARK: u16 = 4;
    pub(super) const LOCK_DELAY: u16 = 5;
    pub(super) const SESSION: u16 = 6;
    pub(super) const NODE: u16 = 7;
    pub(super) const SERVICE: u16 = 8;
    pub(super) const CHECK: u16 = 9;
    pub(super) const TABLE_INDEXES: u16 = 10;
    pub(super) const SESSIONS_OF_NODE: u16 = 11;
    pub(super) const CHECKS_OF_NODE: u16 = 12;
    /// The rows after it belong to a restore that is under way.
    pub(super) const STAGED: u16 = 13;
    pub(super) const END: u16 = 14;
}

// === writing ===

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
                    out.put(number::NODE, &**n)
                }),
                4 => self.pairs(&tables.catalog.services, out, |s, out| {
                    out.put(number::SERVICE, &**s)
                }),
                5 => self.pairs(&tables.catalog.checks, out, |c, out| {
                    out.put(number::CHECK, &**c)
                }),
                _ if !everything => return true,
                6 => self.rows(tables.kv.graves.tombstones(), out, |key, index, out| {
                    out.put(number::TOMBSTONE, &named(key, *index))
                }),
                7 => self.rows(tables.kv.graves.marks(), out, |prefix, index, out| {
                    out.put(number::MARK, &named(prefix, *index))
                }),
                8 => self.rows(tables.sessions.delays(), out, |key, end, out| {
                    out.put(
                        number::LOCK_DELAY,
                        &LockDelay {
                            key: &**key,
                            end: *end,
                        },
                    )
                }),
                9 => self.rows(tables.sessions.by_node(), out, |node, of_node, out| {
                    out.put(number::SESSIONS_OF_NODE, &named(node, of_node.index))
                }),
                10 => self.rows(&tables.catalog.checks_changed, out, |node, index, out| {
                    out.put(number::CHECKS_OF_NODE, &named(node, *index))
                }),
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
            nodes_changed: self.catalog.nodes_changed,
            catalog_removed: self.catalog.removed,
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

impl Staged {
    fn head(&self) -> StagedHead {
        StagedHead {
            id: self.id.clone(),
            next_sequence: self.next_sequence,
            checksum: self.checksum,
            bytes: self.bytes,
            header: self.loader.header.clone(),
            rows: self.loader.rows,
            max_index: self.loader.max_index,
            ended: self.loader.ended,
            partial: Bytes::copy_from_slice(&self.loader.partial),
        }
    }
}

// === reading ===

/// Builds a state from a snapshot's bytes. Cloning one is cheap: it is part of the state while a restore is under way.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    header: Option<Header>,
    pub(crate) tables: Tables,
    staged: Option<Box<Staged>>,
    rows: u64,
    max_index: Index,
    ended: bool,
    /// The beginning of a row whose rest has not come yet.
    partial: Vec<u8>,
}

impl Loader {
    /// An empty one.
    pub fn new() -> Self {
        Loader::default()
    }

    /// Takes the next bytes, cut anywhere. After an error the loader is of no more use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<&mut Self, SnapshotError> {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            &joined[..]
        };
        while let Some((number, len)) = row_head(rest)? {
            let Some(body) = rest.get(ROW_HEAD_LEN..ROW_HEAD_LEN + len) else {
                break;
            };
            self.row(number, body)?;
            rest = &rest[ROW_HEAD_LEN + len..];
        }
        self.partial = rest.to_vec();
        Ok(self)
    }

    /// The state, if all of it came.
    pub fn finish(self) -> Result<State, SnapshotError> {
        if !self.ended || !self.partial.is_empty() {
            return Err(SnapshotError::Truncated { rows: self.rows });
        }
        let header = self.header.ok_or(SnapshotError::NoHeader)?;
        Ok(State {
            index: header.index,
            offset: header.offset,
            stamp: header.stamp,
            cluster_id: header.cluster_id.map(Arc::from),
            tables: self.tables,
            staged: self.staged.map(Arc::from),
        })
    }

    /// What the snapshot carries, once its header came.
    pub fn include(&self) -> Option<Include> {
        self.header.as_ref().map(|header| header.include)
    }

    /// The largest index of any row so far.
    pub(crate) fn max_index(&self) -> Index {
        self.max_index
    }

    fn row(&mut self, number: u16, body: &[u8]) -> Result<(), SnapshotError> {
        if self.ended {
            return Err(SnapshotError::Misplaced);
        }
        match (number, &self.header) {
            (number::HEADER, None) => self.take_header(decode(number, body)?)?,
            (number::HEADER, Some(_)) => return Err(SnapshotError::Misplaced),
            (_, None) => return Err(SnapshotError::NoHeader),
            (number::STAGED, Some(_)) => self.take_staged(decode(number, body)?)?,
            (number::END, Some(_)) => {
                let End { rows } = decode(number, body)?;
                if rows != self.rows {
                    return Err(SnapshotError::Count {
                        found: self.rows,
                        expected: rows,
                    });
                }
                self.ended = true;
            }
            (_, Some(_)) => {
                let into = match &mut self.staged {
                    Some(staged) => &mut staged.loader.tables,
                    None => &mut self.tables,
                };
                let index = put_row(into, number, body)?;
                self.max_index = self.max_index.max(index);
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn take_header(&mut self, header: Header) -> Result<(), SnapshotError> {
        if header.format != FORMAT {
            return Err(SnapshotError::UnknownFormat(header.format));
        }
        self.max_index = header.index;
        self.header = Some(header);
        Ok(())
    }

    fn take_staged(&mut self, head: StagedHead) -> Result<(), SnapshotError> {
        if self.staged.is_some() {
            return Err(SnapshotError::Misplaced);
        }
        self.staged = Some(Box::new(Staged {
            id: head.id,
            next_sequence: head.next_sequence,
            checksum: head.checksum,
            bytes: head.bytes,
            loader: Loader {
                header: head.header,
                rows: head.rows,
                max_index: head.max_index,
                ended: head.ended,
                partial: head.partial.to_vec(),
                ..Loader::default()
            },
        }));
        Ok(())
    }
}

fn row_head(bytes: &[u8]) -> Result<Option<(u16, usize)>, SnapshotError> {
    let Some(head) = bytes.first_chunk::<ROW_HEAD_LEN>() else {
        return Ok(None);
    };
    let number = u16::from_le_bytes([head[0], head[1]]);
    let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    if !(number::HEADER..=number::END).contains(&number) {
        return Err(SnapshotError::UnknownRow(number));
    }
    if len > ROW_LEN_MAX {
        return Err(SnapshotError::RowTooLong(len));
    }
    Ok(Some((number, len)))
}

fn decode<'a, T: Deserialize<'a>>(number: u16, body: &'a [u8]) -> Result<T, SnapshotError> {
    rmp_serde::from_slice(body).map_err(|e| SnapshotError::Row {
        number,
        why: e.to_string(),
    })
}

/// Puts a row into its table, with what is derived from it. Returns the largest index it carries.
fn put_row(tables: &mut Tables, number: u16, body: &[u8]) -> Result<Index, SnapshotError> {
    match number {
        number::KV => {
            let entry: KvEntry = decode(number, body)?;
            let index = entry.modify_index;
            if let Some(session) = entry.session() {
                tables.sessions.hold(session, entry.key_arc());
            }
            tables.kv.insert(Arc::new(entry));
            Ok(index)
        }
        number::SESSION => {
            let session: Session = decode(number, body)?;
            let index = session.modify_index;
            tables.sessions.insert(Arc::new(session));
            Ok(index)
        }
        number::NODE => {
            let node: Node = decode(number, body)?;
            let index = node.modify_index;
            tables.catalog.insert_node(Arc::new(node));
            Ok(index)
        }
        number::SERVICE => {
            let service: Service = decode(number, body)?;
            let index = service.modify_index;
            tables.catalog.insert_service(Arc::new(service));
            Ok(index)
        }
        number::CHECK => {
            let check: Check = decode(number, body)?;
            let index = check.modify_index;
            let key = crate::catalog::check_key(&check.spec);
            tables.catalog.insert_check(key, Arc::new(check));
            Ok(index)
        }
        _ => put_index_row(tables, number, body),
    }
}

/// Rows that only a snapshot of everything has.
fn put_index_row(tables: &mut Tables, number: u16, body: &[u8]) -> Result<Index, SnapshotError> {
    match number {
        number::TABLE_INDEXES => {
            let row: TableIndexes = decode(number, body)?;
            tables.kv.graves.raise_watermark(row.kv_watermark);
            tables
                .sessions
                .raise(row.sessions_changed, row.sessions_ended);
            tables.catalog.nodes_changed = row.nodes_changed;
            tables.catalog.removed = row.catalog_removed;
            Ok(0)
        }
        number::LOCK_DELAY => {
            let row: LockDelay<String> = decode(number, body)?;
            tables.sessions.delay(row.key.into(), row.end);
            Ok(0)
        }
        _ => {
            let NamedIndex { name, index }: NamedIndex<String> = decode(number, body)?;
            match number {
                number::TOMBSTONE => tables.kv.graves.bury(name.into(), index),
                number::MARK => tables.kv.graves.set_mark(name.into(), index),
                number::SESSIONS_OF_NODE => tables.sessions.raise_node(&name, index),
                number::CHECKS_OF_NODE => tables.catalog.raise_checks(&name.into(), index),
                _ => return Err(SnapshotError::UnknownRow(number)),
            }
            Ok(index)
        }
    }
}
