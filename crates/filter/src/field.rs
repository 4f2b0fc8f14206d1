//! What a row's fields are called, what they hold, and how they are read.
//!
//! One static table per type of row. Getters are plain functions, so a table costs nothing until it is used, and what an
//! expression may select is data that a test can list ([`selectors`]). Mirrors what go-bexpr derives from Go structs.

use std::fmt;

use crate::expression::{Match, Operator};
use crate::filter::{self, FilterError, Test};

/// One field of a `T`.
#[derive(Debug)]
pub struct Field<T: 'static> {
    /// Its name in expressions: Consul's spelling, case and all.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind<T>,
}

impl<T> Field<T> {
    /// For tables.
    pub const fn new(name: &'static str, kind: Kind<T>) -> Self {
        Field { name, kind }
    }
}

/// Gets a text from a row's map by its key.
pub type GetText<T> = for<'a> fn(&'a T, &str) -> Option<&'a str>;

/// Calls its argument with each of a row's values until that answers true, and tells whether it did.
pub type Any<T, U> = fn(&T, &mut dyn FnMut(&U) -> bool) -> bool;

/// What a field holds.
pub enum Kind<T: 'static> {
    /// Text: equal, contains, matches.
    Text(fn(&T) -> &str),
    /// A truth value: equal.
    Bool(fn(&T) -> bool),
    /// A number: equal.
    Int(fn(&T) -> i64),
    /// A list of texts: contains, is empty.
    Texts(Any<T, str>),
    /// A map from text to text: by key; contains (a key), is empty.
    TextMap {
        /// The value of a key.
        get: GetText<T>,
        /// Whether there is no key.
        is_empty: fn(&T) -> bool,
    },
    /// Something whose values have fields of their own.
    Inner(&'static dyn Inner<T>),
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text(_) => "Text",
            Kind::Bool(_) => "Bool",
            Kind::Int(_) => "Int",
            Kind::Texts(_) => "Texts",
            Kind::TextMap { .. } => "TextMap",
            Kind::Inner(_) => "Inner",
        })
    }
}

/// A field with fields, whatever the type of its values: [`Record`], [`Records`], [`RecordMap`].
pub trait Inner<T>: Sync {
    /// Compiles a comparison whose selector has come `depth` names far, to this field.
    ///
    /// # Errors
    /// The rest of the selector, the operator or the value does not suit.
    fn compile(&self, comparison: &Match, depth: usize) -> Result<Test<T>, FilterError>;

    /// Lists what can be selected from here on.
    fn list(&self, path: &str, out: &mut Vec<String>);
}

/// One value with fields. It cannot be compared itself.
#[derive(Debug)]
pub struct Record<T: 'static, U: 'static> {
    /// The value.
    pub get: fn(&T) -> &U,
    /// Its fields.
    pub fields: &'static [Field<U>],
}

/// A list of values with fields: a comparison holds if it holds for any of them. Itself it can be empty.
pub struct Records<T: 'static, U: 'static> {
    /// Its values.
    pub any: Any<T, U>,
    /// The fields of each.
    pub fields: &'static [Field<U>],
}

/// A map from text to values with fields: by key; contains (a key), is empty.
pub struct RecordMap<T: 'static, U: 'static> {
    /// The value of a key.
    pub get: for<'a> fn(&'a T, &str) -> Option<&'a U>,
    /// Whether there is no key.
    pub is_empty: fn(&T) -> bool,
    /// The fields of each value.
    pub fields: &'static [Field<U>],
}

impl<T, U> Inner<T> for Record<T, U> {
    fn compile(&self, comparison: &Match, depth: usize) -> Result<Test<T>, FilterError> {
        if depth == comparison.selector.len() {
            return Err(FilterError::operator(comparison));
        }
        let test = filter::compile(self.fields, comparison, depth)?;
        let get = self.get;
        Ok(Box::new(move |row| test(get(row))))
    }

    fn list(&self, path: &str, out: &mut Vec<String>) {
        list(self.fields, path, out);
    }
}

impl<T, U> Inner<T> for Records<T, U> {
    fn compile(&self, comparison: &Match, depth: usize) -> Result<Test<T>, FilterError> {
        let any = self.any;
        if depth < comparison.selector.len() {
            let test = filter::compile(self.fields, comparison, depth)?;
            return Ok(Box::new(move |row| any(row, &mut |inner| test(inner))));
        }
        match comparison.operator {
            Operator::IsEmpty => Ok(Box::new(move |row| !any(row, &mut |_| true))),
            Operator::IsNotEmpty => Ok(Box::new(move |row| any(row, &mut |_| true))),
            _ => Err(FilterError::operator(comparison)),
        }
    }

    fn list(&self, path: &str, out: &mut Vec<String>) {
        out.push(format!("{path}: empty"));
        list(self.fields, path, out);
    }
}

impl<T, U> Inner<T> for RecordMap<T, U> {
    fn compile(&self, comparison: &Match, depth: usize) -> Result<Test<T>, FilterError> {
        let (get, is_empty, operator) = (self.get, self.is_empty, comparison.operator);
        let Some(key) = comparison.selector.get(depth).cloned() else {
            let value = comparison.value.clone();
            return filter::map_test(comparison, is_empty, move |row| get(row, &value).is_some());
        };
        if depth + 1 == comparison.selector.len() {
            return Err(FilterError::operator(comparison));
        }
        let test = filter::compile(self.fields, comparison, depth + 1)?;
        Ok(Box::new(move |row| match get(row, &key) {
            Some(inner) => test(inner),
            None => operator.of_absent_key(),
        }))
    }

    fn list(&self, path: &str, out: &mut Vec<String>) {
        out.push(format!("{path}: empty, in"));
        list(self.fields, &format!("{path}.<any>"), out);
    }
}

/// Everything that can be selected from rows with these fields, with what each can be compared by, sorted. For tests and
/// documentation.
pub fn selectors<T>(fields: &'static [Field<T>]) -> Vec<String> {
    let mut out = Vec::new();
    list(fields, "", &mut out);
    out.sort();
    out
}

fn list<T>(fields: &[Field<T>], path: &str, out: &mut Vec<String>) {
    for field in fields {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}", field.name);
        match &field.kind {
            Kind::Text(_) => out.push(format!("{path}: equal, in, matches")),
            Kind::Bool(_) | Kind::Int(_) => out.push(format!("{path}: equal")),
            Kind::Texts(_) => out.push(format!("{path}: empty, in")),
            Kind::TextMap { .. } => {
                out.push(format!("{path}: empty, in"));
                out.push(format!("{path}.<any>: equal, in, matches"));
            }
            Kind::Inner(inner) => inner.list(&path, out),
        }
    }
}
