//! `/v1/kv`.

use bytes::Bytes;
use hyper::Method;

use crate::error::Error;
use crate::http::{Answer, Call, Client, ReadOptions, escaped};
use crate::poll::LongPoll;
use crate::{KvPair, TxnOp, TxnOutcome};

/// The key/value store.
#[derive(Debug, Clone)]
pub struct Kv<'a>(pub(crate) &'a Client);

/// Under which condition a key is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    #[default]
    Always,
    /// Only if its ModifyIndex is this one; 0: only if it is not there.
    Unchanged(u64),
    /// Only if this session gets or has its lock.
    Acquire(String),
    /// Only if this session has its lock, which it gives back.
    Release(String),
}

/// Options of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Opaque to the server.
    pub flags: u64,
    /// When.
    pub condition: Condition,
}

impl Client {
    /// The key/value store.
    pub fn kv(&self) -> Kv<'_> {
        Kv(self)
    }
}

impl Kv<'_> {
    fn read(&self, key: &str, options: &ReadOptions) -> Call {
        Call::new(Method::GET, format!("kv/{}", escaped(key))).read(options)
    }

    /// One key.
    pub async fn get(
        &self,
        key: &str,
        options: &ReadOptions,
    ) -> Result<Answer<Option<KvPair>>, Error> {
        let answer = self
            .0
            .json_if_there::<Vec<KvPair>>(&self.read(key, options))
            .await?;
        Ok(answer.map(|pairs| pairs.and_then(|pairs| pairs.into_iter().next())))
    }

    /// All keys with a prefix, with their values, in order.
    pub async fn list(
        &self,
        prefix: &str,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<KvPair>>, Error> {
        let answer = self
            .0
            .json_if_there(&self.read(prefix, options).flag("recurse"))
            .await?;
        Ok(answer.map(Option::unwrap_or_default))
    }

    /// The names of all keys with a prefix, in order; with a separator cut off after its first place behind the prefix.
    pub async fn keys(
        &self,
        prefix: &str,
        separator: Option<&str>,
        options: &ReadOptions,
    ) -> Result<Answer<Vec<String>>, Error> {
        let mut call = self.read(prefix, options).flag("keys");
        if let Some(separator) = separator {
            call = call.with("separator", separator);
        }
        Ok(self
            .0
            .json_if_there(&call)
            .await?
            .map(Option::unwrap_or_default))
    }

    /// Writes a key. `false`: the condition did not hold.
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        options: &PutOptions,
    ) -> Result<bool, Error> {
        let mut call = Call::new(Method::PUT, format!("kv/{}", escaped(key))).body(value);
        if options.flags != 0 {
            call = call.with("flags", options.flags);
        }
        call = match &options.condition {
            Condition::Always => call,
            Condition::Unchanged(index) => call.with("cas", index),
            Condition::Acquire(session) => call.with("acquire", session),
            Condition::Release(session) => call.with("release", session),
        };
        self.0.decision(&call).await
    }

    /// Deletes a key; with an index only if its ModifyIndex is this one. `false`: it was another.
    pub async fn delete(&self, key: &str, unchanged: Option<u64>) -> Result<bool, Error> {
        let mut call = Call::new(Method::DELETE, format!("kv/{}", escaped(key)));
        if let Some(index) = unchanged {
            call = call.with("cas", index);
        }
        self.0.decision(&call).await
    }

    /// Deletes all keys with a prefix.
    pub async fn delete_tree(&self, prefix: &str) -> Result<(), Error> {
        let call = Call::new(Method::DELETE, format!("kv/{}", escaped(prefix))).flag("recurse");
        self.0.decision(&call).await.map(drop)
    }

    /// Reads and writes at once, all or nothing; at most 128 operations.
    pub async fn transaction(&self, operations: &[TxnOp]) -> Result<TxnOutcome, Error> {
        crate::txn::send(self.0, operations).await
    }

    /// A key, again at every change.
    pub fn watch(&self, key: &str, options: ReadOptions) -> LongPoll<Option<KvPair>> {
        let call = Call::new(Method::GET, format!("kv/{}", escaped(key)));
        LongPoll::new(
            self.0.clone(),
            call,
            options,
            |body: Option<Vec<KvPair>>| body.and_then(|pairs| pairs.into_iter().next()),
        )
    }

    /// All keys with a prefix, again at every change.
    pub fn watch_prefix(&self, prefix: &str, options: ReadOptions) -> LongPoll<Vec<KvPair>> {
        let call = Call::new(Method::GET, format!("kv/{}", escaped(prefix))).flag("recurse");
        LongPoll::new(self.0.clone(), call, options, Option::unwrap_or_default)
    }
}
