//! Filter expressions (`?filter=`): the language of hashicorp/go-bexpr as Consul 1.20 speaks it (v0.1.2: no `any`, no
//! `all`, no JSON pointers), with its words for errors.
//!
//! ```text
//! text ──▶ parse ──▶ Expression ──▶ Filter<T> (selectors checked against T's fields) ──▶ matches(&row)
//! ```
//! Pure: no clock, no I/O. A row is any Rust type with a static table of its [`Field`]s; the same table says which selectors
//! are valid (before any row is read) and how they are read (no name is looked up and no JSON is built per row). Rejected:
//! a trait that rows implement, because the rows of the state and of the agent are types of other crates.
//!
//! Text, nesting, comparisons and patterns are bounded, and every step is linear in the text: a filter is a stranger's program.

mod expression;
mod field;
mod filter;
mod number;
mod quote;

pub use expression::{
    DEPTH_MAX, Expression, MATCHES_MAX, Match, Operator, ParseError, Place, TEXT_BYTES_MAX,
};
pub use field::{Any, Field, GetText, Inner, Kind, Record, RecordMap, Records, selectors};
pub use filter::{Filter, FilterError, PATTERN_BYTES_MAX, Test};
