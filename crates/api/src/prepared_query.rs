//! Prepared queries: their definitions as clients send them and as answers show them.

use std::sync::Arc;

use serde::Serialize;

use crate::SortedMap;
use crate::decode::{DecodeError, Fields, parse};
use crate::duration::GoDuration;

/// A definition as it was sent.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Consul's fields
pub struct Definition {
    pub id: String,
    pub name: String,
    pub session: String,
    pub token: String,
    pub template_type: String,
    pub service: String,
    pub sameness_group: String,
    pub nearest_n: i64,
    pub datacenters: Option<Vec<String>>,
    pub has_targets: bool,
    pub only_passing: bool,
    pub ignore_check_ids: Option<Vec<String>>,
    pub near: String,
    pub tags: Option<Vec<String>>,
    pub node_meta: Option<SortedMap>,
    pub service_meta: Option<SortedMap>,
    pub connect: bool,
    pub peer: String,
    pub dns_ttl: String,
}

impl Definition {
    /// Reads a body; an empty one defines nothing.
    ///
    /// # Errors
    /// It is no JSON, or a field has another type. Go's words.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() {
            return Ok(Definition::default());
        }
        let value = parse(body)?;
        let fields = Fields::of(&value, "structs.PreparedQuery")?;
        let mut definition = Definition {
            id: fields.string("ID")?,
            name: fields.string("Name")?,
            session: fields.string("Session")?,
            token: fields.string("Token")?,
            ..Definition::default()
        };
        if let Some(template) = fields.object("Template", "structs.QueryTemplateOptions")? {
            definition.template_type = template.string("Type")?;
        }
        if let Some(service) = fields.object("Service", "structs.ServiceQuery")? {
            definition.read_service(&service)?;
        }
        if let Some(dns) = fields.object("DNS", "structs.QueryDNSOptions")? {
            definition.dns_ttl = dns.string("TTL")?;
        }
        Ok(definition)
    }

    fn read_service(&mut self, service: &Fields<'_>) -> Result<(), DecodeError> {
        self.service = service.string("Service")?;
        self.sameness_group = service.string("SamenessGroup")?;
        self.only_passing = service.bool("OnlyPassing")?;
        self.ignore_check_ids = service.strings("IgnoreCheckIDs")?;
        self.near = service.string("Near")?;
        self.tags = service.strings("Tags")?;
        self.node_meta = service.string_map("NodeMeta")?.map(Into::into);
        self.service_meta = service.string_map("ServiceMeta")?.map(Into::into);
        self.connect = service.bool("Connect")?;
        self.peer = service.string("Peer")?;
        if let Some(failover) = service.object("Failover", "structs.QueryFailoverOptions")? {
            self.nearest_n = failover.i64("NearestN")?;
            self.datacenters = failover.strings("Datacenters")?;
            let targets = failover.objects("Targets", "structs.QueryFailoverTarget")?;
            self.has_targets = targets.is_some_and(|targets| !targets.is_empty());
        }
        Ok(())
    }

    /// Whether it makes a query. The words are Consul's, but for what we do not have.
    ///
    /// # Errors
    /// In words that follow "Invalid prepared query: ".
    pub fn validate(&self) -> Result<(), String> {
        let not_here = |what| Err(format!("{what} are not supported by this server"));
        if self.name.is_empty() && self.template_type.is_empty() && self.session.is_empty() {
            return Err("Must be bound to a session".to_owned());
        }
        if self.service.is_empty() {
            return Err("Must provide a Service name to query".to_owned());
        }
        if self.nearest_n < 0 {
            return Err(format!("Bad NearestN '{}', must be >= 0", self.nearest_n));
        }
        if !self.dns_ttl.is_empty() {
            let ttl: GoDuration = (self.dns_ttl.parse())
                .map_err(|error| format!("Bad DNS TTL '{}': {error}", self.dns_ttl))?;
            if ttl.0 < 0 {
                return Err(format!("DNS TTL '{}', must be >=0", ttl.0));
            }
        }
        if !self.template_type.is_empty() {
            return not_here("templates");
        }
        if !self.peer.is_empty() || !self.sameness_group.is_empty() || self.has_targets {
            return not_here("peers and failover targets");
        }
        Ok(())
    }
}

/// A query as answers show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Query<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub name: &'a str,
    pub session: &'a str,
    pub token: &'a str,
    pub template: Template,
    pub service: Service<'a>,
    #[serde(rename = "DNS")]
    pub dns: Dns<'a>,
    pub create_index: u64,
    pub modify_index: u64,
}

/// What a query without a template shows of one.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Template {
    pub r#type: &'static str,
    pub regexp: &'static str,
    pub remove_empty_tags: bool,
}

/// What a query looks for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Service<'a> {
    pub service: &'a str,
    pub sameness_group: &'a str,
    pub failover: Failover<'a>,
    pub only_passing: bool,
    #[serde(rename = "IgnoreCheckIDs")]
    pub ignore_check_ids: Option<&'a [Arc<str>]>,
    pub near: &'a str,
    pub tags: Option<&'a [Arc<str>]>,
    pub node_meta: Option<&'a SortedMap>,
    pub service_meta: Option<&'a SortedMap>,
    pub connect: bool,
    pub peer: &'a str,
}

/// Where else a query looks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Failover<'a> {
    pub nearest_n: i64,
    pub datacenters: Option<&'a [Arc<str>]>,
    /// Always `null`.
    pub targets: (),
}

/// How DNS answers it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dns<'a> {
    /// As the client spelt it.
    #[serde(rename = "TTL")]
    pub ttl: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(body: &str) -> Option<String> {
        let definition = Definition::decode(body.as_bytes()).expect("must be understood");
        definition.validate().err()
    }

    #[test]
    fn what_makes_no_query_is_said_in_consuls_words() {
        for (body, expected) in [
            (r#"{"Service": {}}"#, Some("Must be bound to a session")),
            (
                r#"{"Name": "q"}"#,
                Some("Must provide a Service name to query"),
            ),
            (
                r#"{"Name": "q", "Service": {"Service": "s", "Failover": {"NearestN": -1}}}"#,
                Some("Bad NearestN '-1', must be >= 0"),
            ),
            (
                r#"{"Name": "q", "Service": {"Service": "s"}, "DNS": {"TTL": "soon"}}"#,
                Some("Bad DNS TTL 'soon': time: invalid duration \"soon\""),
            ),
            (
                r#"{"name": "q", "template": {"type": "name_prefix_match"}, "service": {"service": "s"}}"#,
                Some("templates are not supported by this server"),
            ),
            (
                r#"{"name": "q", "service": {"service": "s"}, "dns": {"ttl": "10s"}}"#,
                None,
            ),
        ] {
            assert_eq!(words(body).as_deref(), expected, "{body}");
        }
    }
}
