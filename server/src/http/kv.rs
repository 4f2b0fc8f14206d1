//! `/v1/kv`: the hot path. Order of checks, statuses and words as Consul's.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Response, StatusCode, Version};
use rollcall_api::json;
use rollcall_api::kv::KvRef;
use rollcall_api::query::{Query, ReadOptions, encode_query, parse_u64};
use rollcall_edge::{Body, Error, Meta, answer, body};
use rollcall_state::command::{KvDelete, KvDeleteTree, KvMode, KvSet};
use rollcall_state::row::KvEntry;
use rollcall_state::{Command, Reply, Topic};
use tokio::sync::mpsc;

use super::blocking::read;
use super::call::Call;
use super::error::refused;
use crate::rt;

/// Lists longer than this are sent as they are written: a million keys need not stand in memory as JSON.
const KEYS_AT_ONCE: usize = 1_000;
/// Bytes of JSON per piece of such a list.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces written ahead of a slow client.
const PIECES_AHEAD: usize = 2;
/// Usual length of a key's JSON beside its value.
const ENTRY_BYTES: usize = 160;

/// `/v1/kv/KEY`.
pub(super) async fn kv(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    match call.head.method {
        Method::PUT => put(call, body).await,
        Method::DELETE => delete(call).await,
        _ => get(call).await,
    }
}

async fn get(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let (key, query) = (call.rest, call.query);
    let options = ReadOptions::parse(query)?;
    if query.has("keys") {
        return keys(call, options).await;
    }
    if query.has("recurse") {
        return list(call, options).await;
    }
    if key.is_empty() {
        return Err(missing_key());
    }
    let topics = || vec![Topic::KvKey(key.into())];
    let (meta, entry) = read(call, options, topics, |state| state.kv_get(key)).await?;
    let mut response = match entry {
        None => answer::not_found(),
        Some(entry) if query.has("raw") => {
            let value = Bytes::copy_from_slice(entry.value());
            let kind = HeaderValue::from_static("text/plain");
            answer::content(StatusCode::OK, kind, Body::Whole(value))
        }
        Some(entry) => {
            let mut out = Vec::with_capacity(ENTRY_BYTES + key.len() + entry.value().len() * 4 / 3);
            out.push(b'[');
            write_entry(&mut out, &entry);
            out.push(b']');
            call.json_bytes(StatusCode::OK, out)
        }
    };
    meta.add_to(&mut response);
    Ok(response)
}

async fn list(call: &Call<'_>, options: ReadOptions) -> Result<Response<Body>, Error> {
    let prefix = call.rest;
    let topics = || vec![Topic::KvPrefix(prefix.into())];
    let (meta, entries) = read(call, options, topics, |state| state.kv_list(prefix)).await?;
    let mut response = if entries.is_empty() {
        answer::not_found()
    } else if entries.len() > KEYS_AT_ONCE
        // HTTP/1.0 needs a length, and indenting the whole.
        && call.head.version != Version::HTTP_10
        && !call.query.has("pretty")
    {
        let kind = HeaderValue::from_static("application/json");
        answer::content(StatusCode::OK, kind, stream(entries))
    } else {
        let mut out = Vec::with_capacity(entries.len() * 2 * ENTRY_BYTES);
        out.push(b'[');
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_entry(&mut out, entry);
        }
        out.push(b']');
        call.json_bytes(StatusCode::OK, out)
    };
    meta.add_to(&mut response);
    Ok(response)
}

/// The list as JSON, written while it is sent. The task ends when the client has all or is gone.
fn stream(entries: Vec<Arc<KvEntry>>) -> Body {
    let (pieces, body) = mpsc::channel(PIECES_AHEAD);
    rt::spawn(async move {
        let mut out = vec![b'['];
        let mut entries = entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            write_entry(&mut out, &entry);
            out.push(if entries.peek().is_some() { b',' } else { b']' });
            if out.len() >= PIECE_BYTES {
                let piece = Bytes::from(std::mem::take(&mut out));
                if pieces.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        }
        // The client may be gone: then nobody needs the rest.
        let _ = pieces.send(Ok(out.into())).await;
    });
    Body::Stream(body)
}

async fn keys(call: &Call<'_>, options: ReadOptions) -> Result<Response<Body>, Error> {
    let (prefix, query) = (call.rest, call.query);
    // Consul once misspelt it and reads both.
    let separator = query.get("separator").or_else(|| query.get("seperator"));
    let separator = separator.as_deref().filter(|text| !text.is_empty());
    let topics = || vec![Topic::KvKeys(prefix.into())];
    let listed = read(call, options, topics, |state| {
        state.kv_keys(prefix, separator)
    });
    let (meta, keys) = listed.await?;
    // All keys of an empty store are a list, all keys below an empty prefix are not there.
    if keys.is_empty() && !prefix.is_empty() {
        return Ok(with_meta(answer::not_found(), meta));
    }
    let mut out = Vec::with_capacity(keys.len() * 32 + 2);
    out.push(b'[');
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::write_str(&mut out, key);
    }
    out.push(b']');
    Ok(with_meta(call.json_bytes(StatusCode::OK, out), meta))
}

fn with_meta(mut response: Response<Body>, meta: Meta) -> Response<Body> {
    meta.add_to(&mut response);
    response
}

async fn put(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let (key, query) = (call.rest, call.query);
    ReadOptions::parse(query)?;
    if key.is_empty() {
        return Err(missing_key());
    }
    conflicting(query, &["cas", "acquire", "release"])?;
    let flags = match query.get("flags") {
        Some(flags) => parse_u64(&flags)?,
        None => 0,
    };
    let mode = if query.0.is_empty() {
        KvMode::Set
    } else if let Some(index) = query.get("cas") {
        KvMode::Cas(parse_u64(&index)?)
    } else if let Some(session) = query.get("acquire") {
        KvMode::Acquire(session.into_owned())
    } else if let Some(session) = query.get("release") {
        KvMode::Release(session.into_owned())
    } else {
        KvMode::Set
    };
    let limit = call.api.config.value_bytes;
    let too_large = |size| too_large(size, limit, "kv_max_value_size");
    let value = body::read(body, limit, &too_large).await?;
    let command = Command::KvSet(KvSet {
        key: key.to_owned(),
        value,
        flags,
        mode,
    });
    write(call, command).await
}

async fn delete(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let (key, query) = (call.rest, call.query);
    ReadOptions::parse(query)?;
    conflicting(query, &["recurse", "cas"])?;
    let command = if query.has("recurse") {
        Command::KvDeleteTree(KvDeleteTree {
            prefix: key.to_owned(),
        })
    } else if key.is_empty() {
        return Err(missing_key());
    } else {
        let cas = query
            .get("cas")
            .map(|index| parse_u64(&index))
            .transpose()?;
        Command::KvDelete(KvDelete {
            key: key.to_owned(),
            cas,
        })
    };
    write(call, command).await
}

async fn write(call: &Call<'_>, command: Command) -> Result<Response<Body>, Error> {
    match call.propose(command).await? {
        Reply::Bool(done) => Ok(answer::truth(done)),
        Reply::None => Ok(answer::truth(true)),
        Reply::Refused(why) => Err(refused("raft apply failed", &why)),
        Reply::Txn(_) => Err(Error::internal(
            "a write of a key was answered as a transaction",
        )),
    }
}

fn missing_key() -> Error {
    Error::bad_request("Missing key name")
}

/// Consul's words for a body over its limit.
pub(super) fn too_large(size: u64, limit: usize, setting: &str) -> String {
    format!(
        "Request body({size} bytes) too large, max size: {limit} bytes. \
         See https://www.consul.io/docs/agent/config/config-files#{setting}."
    )
}

/// Options that exclude each other. The words list all options, sorted, as Go writes them.
fn conflicting(query: Query<'_>, options: &[&str]) -> Result<(), Error> {
    if options.iter().filter(|option| query.has(option)).count() < 2 {
        return Ok(());
    }
    let mut pairs: Vec<_> = query.pairs().collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode_query(name), encode_query(value)))
        .collect();
    let words = format!("Conflicting flags: {}\n", pairs.join("&"));
    Err(Error::bad_request(words))
}

fn write_entry(out: &mut Vec<u8>, entry: &KvEntry) {
    as_ref(entry).write(out);
}

/// The key as it is shown.
pub(super) fn as_ref(entry: &KvEntry) -> KvRef<'_> {
    KvRef {
        lock_index: entry.lock_index(),
        key: entry.key(),
        flags: entry.flags,
        value: entry.value(),
        session: entry.session().map(|session| &**session),
        create_index: entry.create_index,
        modify_index: entry.modify_index,
    }
}
