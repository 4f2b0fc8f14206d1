//! What `?filter=` may select from an agent's services and checks: Consul's fields. Those of the mesh are there and empty,
//! because people write `Kind == ""` against any registry.

use rollcall_edge::{Call, Error};
use rollcall_filter::{Field, Filter, Kind, Record, RecordMap};

use crate::local::{LocalCheck, LocalService};
use crate::rows::{TaggedAddress, Weights};

/// A check with what its row does not have.
pub(super) struct CheckRow<'a> {
    pub(super) node: &'a str,
    pub(super) check: &'a LocalCheck,
}

/// A service with the same.
pub(super) struct ServiceRow<'a> {
    pub(super) service: &'a LocalService,
    pub(super) datacenter: &'a str,
}

/// Owned forms: the language's tables speak of types without lifetimes.
pub(super) struct OwnedCheck {
    node: String,
    interval: String,
    timeout: String,
    check: LocalCheck,
}

pub(super) struct OwnedService {
    service: LocalService,
    datacenter: String,
}

static ADDRESS: [Field<TaggedAddress>; 2] = [
    Field::new("Address", Kind::Text(|at| &at.address)),
    Field::new("Port", Kind::Int(|at| at.port.into())),
];

static WEIGHTS: [Field<Weights>; 2] = [
    Field::new("Passing", Kind::Int(|weights| weights.passing.into())),
    Field::new("Warning", Kind::Int(|weights| weights.warning.into())),
];

static SERVICE: [Field<OwnedService>; 13] = [
    Field::new("Kind", Kind::Text(|_| "")),
    Field::new("ID", Kind::Text(|row| &row.service.spec.id)),
    Field::new("Service", Kind::Text(|row| &row.service.spec.service)),
    Field::new(
        "Tags",
        Kind::Texts(|row, is_it| row.service.spec.tags.iter().any(|tag| is_it(tag))),
    ),
    Field::new(
        "Meta",
        Kind::TextMap {
            get: |row, key| row.service.spec.meta.get(key).map(String::as_str),
            is_empty: |row| row.service.spec.meta.is_empty(),
        },
    ),
    Field::new("Port", Kind::Int(|row| row.service.spec.port.into())),
    Field::new("Address", Kind::Text(|row| &row.service.spec.address)),
    Field::new("SocketPath", Kind::Text(|_| "")),
    Field::new(
        "TaggedAddresses",
        Kind::Inner(&RecordMap {
            get: |row: &OwnedService, key| row.service.spec.tagged_addresses.get(key),
            is_empty: |row: &OwnedService| row.service.spec.tagged_addresses.is_empty(),
            fields: &ADDRESS,
        }),
    ),
    Field::new(
        "Weights",
        Kind::Inner(&Record {
            get: |row: &OwnedService| &row.service.spec.weights,
            fields: &WEIGHTS,
        }),
    ),
    Field::new(
        "EnableTagOverride",
        Kind::Bool(|row| row.service.spec.enable_tag_override),
    ),
    Field::new("ContentHash", Kind::Text(|_| "")),
    Field::new("Datacenter", Kind::Text(|row| &row.datacenter)),
];

static CHECK: [Field<OwnedCheck>; 14] = [
    Field::new("Node", Kind::Text(|row| &row.node)),
    Field::new("CheckID", Kind::Text(|row| &row.check.definition.id)),
    Field::new("Name", Kind::Text(|row| &row.check.definition.name)),
    Field::new("Status", Kind::Text(|row| row.check.status.as_str())),
    Field::new("Notes", Kind::Text(|row| &row.check.definition.notes)),
    Field::new("Output", Kind::Text(|row| &row.check.output)),
    Field::new(
        "ServiceID",
        Kind::Text(|row| &row.check.definition.service_id),
    ),
    Field::new("ServiceName", Kind::Text(|row| &row.check.service_name)),
    Field::new(
        "ServiceTags",
        Kind::Texts(|row, is_it| row.check.service_tags.iter().any(|tag| is_it(tag))),
    ),
    Field::new("Type", Kind::Text(|row| row.check.definition.type_name())),
    Field::new("Interval", Kind::Text(|row| &row.interval)),
    Field::new("Timeout", Kind::Text(|row| &row.timeout)),
    Field::new("ExposedPort", Kind::Int(|_| 0)),
    Field::new("PeerName", Kind::Text(|_| "")),
];

/// Which services a request wants. `None`: all.
pub(super) fn services(call: &Call<'_>) -> Result<Option<Filter<OwnedService>>, Error> {
    filter(call, &SERVICE)
}

/// Which checks a request wants. `None`: all.
pub(super) fn checks(call: &Call<'_>) -> Result<Option<Filter<OwnedCheck>>, Error> {
    filter(call, &CHECK)
}

fn filter<T: 'static>(
    call: &Call<'_>,
    fields: &'static [Field<T>],
) -> Result<Option<Filter<T>>, Error> {
    match call.query.get("filter") {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Filter::new(&text, fields)
            .map(Some)
            .map_err(|error| Error::internal(error.to_string())),
    }
}

impl ServiceRow<'_> {
    pub(super) fn passes(&self, filter: Option<&Filter<OwnedService>>) -> bool {
        filter.is_none_or(|filter| {
            filter.matches(&OwnedService {
                service: self.service.clone(),
                datacenter: self.datacenter.to_owned(),
            })
        })
    }
}

impl CheckRow<'_> {
    pub(super) fn passes(&self, filter: Option<&Filter<OwnedCheck>>) -> bool {
        filter.is_none_or(|filter| {
            filter.matches(&OwnedCheck {
                node: self.node.to_owned(),
                interval: self.check.interval_text(),
                timeout: self.check.timeout_text(),
                check: self.check.clone(),
            })
        })
    }
}
