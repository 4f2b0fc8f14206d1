//! A stream of rows as a state.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{
    End, FORMAT, Header, Include, LockDelay, NamedIndex, OfNode, OfService, ROW_HEAD_LEN,
    ROW_LEN_MAX, SnapshotError, StagedHead, TableIndexes, number,
};
use crate::catalog::CatalogIndexes;
use crate::restore::Staged;
use crate::row::{Check, KvEntry, Node, Query, Service, Session};
use crate::state::Tables;
use crate::{Index, State};

/// Builds a state from a snapshot's bytes. Cloning one is cheap: it is part of the state while a restore is under way.
#[derive(Debug, Clone, Default)]
pub struct Loader {
    header: Option<Header>,
    pub(crate) tables: Tables,
    staged: Option<Box<Staged>>,
    rows: u64,
    max_index: Index,
    ended: bool,
    /// The snapshot brought the catalog's indexes; rows then raise none.
    keeps_indexes: bool,
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
            (number::TABLE_INDEXES, Some(_)) => {
                let row: TableIndexes = decode(number, body)?;
                self.keeps_indexes = row.names_changed.is_some();
                put_table_indexes(&mut self.tables, row);
            }
            (_, Some(_)) => {
                let staged = self.staged.is_some();
                let into = match &mut self.staged {
                    Some(staged) => &mut staged.loader.tables,
                    None => &mut self.tables,
                };
                let kept = into.catalog.indexes;
                let index = put_row(into, number, body)?;
                if self.keeps_indexes && !staged {
                    // They say more than rows do, whose order here is not the order in which they were written.
                    into.catalog.indexes = kept;
                }
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

impl Staged {
    /// What a snapshot says of it before its rows.
    pub(super) fn head(&self) -> StagedHead {
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

fn row_head(bytes: &[u8]) -> Result<Option<(u16, usize)>, SnapshotError> {
    let Some(head) = bytes.first_chunk::<ROW_HEAD_LEN>() else {
        return Ok(None);
    };
    let number = u16::from_le_bytes([head[0], head[1]]);
    let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
    if !(number::HEADER..=number::LAST).contains(&number) {
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
            let since = node.create_index;
            tables.catalog.put_node(node, since);
            Ok(index)
        }
        number::SERVICE => {
            let service: Service = decode(number, body)?;
            let index = service.modify_index;
            tables.catalog.put_service(service, index);
            Ok(index)
        }
        number::CHECK => {
            let check: Check = decode(number, body)?;
            let index = check.modify_index;
            tables.catalog.put_check(check, index);
            Ok(index)
        }
        number::QUERY => {
            let query: Query = decode(number, body)?;
            let index = query.modify_index;
            tables.queries.put(Arc::new(query));
            Ok(index)
        }
        _ => put_index_row(tables, number, body),
    }
}

fn put_table_indexes(tables: &mut Tables, row: TableIndexes) {
    tables.kv.graves.raise_watermark(row.kv_watermark);
    tables
        .sessions
        .raise(row.sessions_changed, row.sessions_ended);
    tables
        .queries
        .raise(row.queries_changed, row.queries_removed);
    let catalog = &mut tables.catalog;
    catalog.indexes.raise(CatalogIndexes {
        nodes: row.nodes_changed,
        names: row.names_changed.unwrap_or(0),
        instances: row.instances_changed,
        checks: row.checks_changed,
        removed: row.catalog_removed,
        states_left: row.states_left,
    });
    catalog.gone_nodes.raise_watermark(row.nodes_watermark);
    catalog
        .gone_services
        .raise_watermark(row.services_watermark);
}

/// Rows that only a snapshot of everything has.
fn put_index_row(tables: &mut Tables, number: u16, body: &[u8]) -> Result<Index, SnapshotError> {
    match number {
        number::OF_NODE => {
            let row: OfNode<String> = decode(number, body)?;
            if let Some(node) = tables.catalog.nodes.get_mut(&*row.name) {
                node.indexes.services = row.services;
                node.indexes.node_checks = row.node_checks;
            }
            Ok(row.services.max(row.node_checks))
        }
        number::OF_SERVICE => {
            let row: OfService<String> = decode(number, body)?;
            if let Some(of_service) = tables.catalog.of_service.get_mut(&*row.name) {
                of_service.instances = row.instances;
                of_service.checks = row.checks;
            }
            Ok(row.instances.max(row.checks))
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
                number::CHECKS_OF_NODE => {
                    if let Some(node) = tables.catalog.nodes.get_mut(&*name) {
                        // A rename may have left a row with a later CreateIndex than this.
                        node.indexes.checks = index;
                    }
                }
                number::OF_STATUS => tables.catalog.raise_status(name.into(), index),
                number::GONE_NODE => tables.catalog.gone_nodes.bury(name.into(), index),
                number::GONE_SERVICE => tables.catalog.gone_services.bury(name.into(), index),
                _ => return Err(SnapshotError::UnknownRow(number)),
            }
            Ok(index)
        }
    }
}
