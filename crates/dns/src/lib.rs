//! DNS over the catalog: names to records, over udp and tcp.
//!
//! ```text
//! udp, tcp ──▶ respond (one message) ──▶ question (what is asked) ──▶ Lookup (who is there) ──▶ reply (records, truncation)
//!                     └──▶ recursor, for names that are not ours
//! ```
//! `question`, `respond` and `reply` are pure: a message, a lookup and random numbers in, a message out. Sockets stand in `serve`,
//! `udp`, `tcp` and `recursor` alone. What is known comes through [`Lookup`], which a server fills from its state and an agent from its parked
//! reads. Messages are parsed and built by the crate `domain`; an answer is built into a buffer that its socket keeps.
//!
//! Not here: zone transfers, DNSSEC, updates. Nothing here asks Raft or a disk, and no lock is held while an answer is built.

mod config;
mod limit;
mod lookup;
mod question;
mod records;
mod recursor;
mod reply;
mod respond;
mod serve;
mod shuffle;
mod tcp;
mod udp;

pub use self::config::{Config, ConfigError, Ttls, domain, label};
/// Labels as a lookup says them.
pub type LabelText = domain::base::name::RelativeName<Vec<u8>>;

pub use self::lookup::{
    Boxed, Host, Instance, Lookup, Node, Pointer, Prepared, Service, Unavailable,
};
pub use self::respond::{Outcome, Responder, Transport};

pub use self::serve::{ServeError, Serving, serve};
pub use self::shuffle::Shuffle;
