//! `/v1/catalog`: who is there.

use std::collections::BTreeMap;

use hyper::Method;

use crate::entry::{CatalogService, Node, NodeServices};
use crate::error::Error;
use crate::http::{Answer, Call, Client, ReadOptions, escaped};
use crate::poll::LongPoll;

/// Nodes and services.
#[derive(Debug, Clone)]
pub struct Catalog<'a>(pub(crate) &'a Client);

/// Which entries of a list are asked for. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A filter expression of Consul's language.
    pub filter: Option<String>,
    /// The node's meta has all of these.
    pub node_meta: Vec<(String, String)>,
    /// The instance has all of these tags.
    pub tags: Vec<String>,
}

/// Names of services, each with the tags that its instances have.
pub type ServiceTags = BTreeMap<String, Vec<String>>;

impl Call {
    pub(crate) fn select(mut self, selection: &Selection) -> Call {
        let Selection {
            filter,
            node_meta,
            tags,
        } = selection;
        for (key, value) in node_meta {
            self = self.with("node-meta", format!("{key}:{value}"));
        }
        for tag in tags {
            self = self.with("tag", tag);
        }
        match filter {
            Some(filter) => self.with("filter", filter),
            None => self,
        }
    }
}

impl Client {
    /// Nodes and services.
    pub fn catalog(&self) -> Catalog<'_> {
        Catalog(self)
    }

    /// A list; `null` and a 404 without words are an empty one.
    pub(crate) async fn list<T>(
        &self,
        call: Call,
        options: &ReadOptions,
    ) -> Result<Answer<T>, Error>
    where
        T: serde::de::DeserializeOwned + Default,
    {
        let answer = self.json_if_there::<Option<T>>(&call.read(options)).await?;
        Ok(answer.map(|list| list.flatten().unwrap_or_default()))
    }

    /// A list, again at every change.
    pub(crate) fn watch_list<T>(&self, call: Call, options: ReadOptions) -> LongPoll<T>
    where
        T: serde::de::DeserializeOwned + Default + Send + 'static,
    {
        LongPoll::new(self.clone(), call, options, |list: Option<Option<T>>| {
            list.flatten().unwrap_or_default()
        })
    }
}

fn nodes(selection: &Selection) -> Call {
    Call::new(Method::GET, "catalog/nodes").select(selection)
}

fn services(selection: &Selection) -> Call {
    Call::new(Method::GET, "catalog/services").select(selection)
}

impl Catalog<'_> {
    /// The datacenters, the asked one first.
    pub async fn datacenters(&self) -> Result<Vec<String>, Error> {
        let call = Call::new(Method::GET, "catalog/datacenters");
        Ok(self.0.list(call, &ReadOptions::default()).await?.value)
    }

    /// The nodes, by name.
    pub async fn nodes(
        &self,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<Node>>, Error> {
        self.0.list(nodes(selection), options).await
    }

    /// The services with their tags. `tags` of the selection mean nothing here.
    pub async fn services(
        &self,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<ServiceTags>, Error> {
        self.0.list(services(selection), options).await
    }

    /// The instances of a service.
    pub async fn service(
        &self,
        name: &str,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<CatalogService>>, Error> {
        let path = format!("catalog/service/{}", escaped(name));
        let call = Call::new(Method::GET, path).select(selection);
        self.0.list(call, options).await
    }

    /// A node with its instances; without a node when there is none of that name.
    pub async fn node_services(
        &self,
        node: &str,
        selection: &Selection,
        options: &ReadOptions,
    ) -> Result<Answer<NodeServices>, Error> {
        let path = format!("catalog/node-services/{}", escaped(node));
        let call = Call::new(Method::GET, path).select(selection);
        self.0.list(call, options).await
    }

    /// A node with its instances, again at every change.
    pub fn watch_node_services(&self, node: &str, options: ReadOptions) -> LongPoll<NodeServices> {
        let path = format!("catalog/node-services/{}", escaped(node));
        self.0.watch_list(Call::new(Method::GET, path), options)
    }

    /// The nodes, again at every change.
    pub fn watch_nodes(&self, selection: &Selection, options: ReadOptions) -> LongPoll<Vec<Node>> {
        self.0.watch_list(nodes(selection), options)
    }

    /// The services with their tags, again at every change.
    pub fn watch_services(
        &self,
        selection: &Selection,
        options: ReadOptions,
    ) -> LongPoll<ServiceTags> {
        self.0.watch_list(services(selection), options)
    }
}
