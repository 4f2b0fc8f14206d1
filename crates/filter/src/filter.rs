//! An expression bound to a type of row: selectors resolved to getters, values read as what the fields hold.

use std::fmt;

use regex::RegexBuilder;

use crate::expression::{Expression, Match, Operator, ParseError};
use crate::field::{Field, Kind};
use crate::number::{parse_bool, parse_int};
use crate::quote::quote;

/// Most bytes that a pattern may compile to: `(a{1000}){1000}` is short as text. Matching takes time linear in the text.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a text is no filter for these rows. The words are Consul's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub enum FilterError {
    /// No expression.
    Parse(ParseError),
    /// An expression that does not suit the rows: an unknown selector, an operator or a value that its field does not have.
    Unsuitable(String),
}

impl FilterError {
    pub(crate) fn operator(comparison: &Match) -> Self {
        let operator = quote(comparison.operator.name());
        let selector = quote(&comparison.selector.join("."));
        FilterError::Unsuitable(format!(
            "Invalid match operator {operator} for selector {selector}"
        ))
    }
}

/// A comparison, ready for rows.
pub type Test<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

/// An expression that can be asked about rows.
pub struct Filter<T> {
    root: Node<T>,
}

enum Node<T> {
    Or(Vec<Node<T>>),
    And(Vec<Node<T>>),
    Not(Box<Node<T>>),
    Test(Test<T>),
}

impl<T> fmt::Debug for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

impl<T: 'static> Filter<T> {
    /// Parses a text and checks it against the fields of the rows.
    ///
    /// # Errors
    /// The text is no expression, or does not suit the rows.
    pub fn new(text: &str, fields: &'static [Field<T>]) -> Result<Self, FilterError> {
        let expression = Expression::parse(text).map_err(FilterError::Parse)?;
        Self::bind(&expression, fields)
    }

    /// Checks an expression against the fields of the rows.
    ///
    /// # Errors
    /// It does not suit the rows.
    pub fn bind(expression: &Expression, fields: &'static [Field<T>]) -> Result<Self, FilterError> {
        let root = node(expression, fields)?;
        Ok(Filter { root })
    }

    /// Whether the expression holds for a row.
    pub fn matches(&self, row: &T) -> bool {
        self.root.holds(row)
    }
}

impl<T> Node<T> {
    fn holds(&self, row: &T) -> bool {
        match self {
            Node::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Node::And(parts) => parts.iter().all(|part| part.holds(row)),
            Node::Not(part) => !part.holds(row),
            Node::Test(test) => test(row),
        }
    }
}

fn node<T>(expression: &Expression, fields: &'static [Field<T>]) -> Result<Node<T>, FilterError> {
    let all = |parts: &[Expression]| -> Result<Vec<_>, _> {
        parts.iter().map(|part| node(part, fields)).collect()
    };
    Ok(match expression {
        Expression::Or(parts) => Node::Or(all(parts)?),
        Expression::And(parts) => Node::And(all(parts)?),
        Expression::Not(part) => Node::Not(Box::new(node(part, fields)?)),
        Expression::Match(comparison) => Node::Test(compile(fields, comparison, 0)?),
    })
}

/// Compiles a comparison whose selector goes on at `depth` with one of these fields.
pub(crate) fn compile<T>(
    fields: &'static [Field<T>],
    comparison: &Match,
    depth: usize,
) -> Result<Test<T>, FilterError> {
    let name = comparison.selector.get(depth);
    let Some(field) = fields
        .iter()
        .find(|field| Some(field.name) == name.map(String::as_str))
    else {
        return Err(invalid_selector(comparison, depth));
    };
    let next = depth + 1;
    let is_last = next == comparison.selector.len();
    match field.kind {
        Kind::Inner(inner) => inner.compile(comparison, next),
        Kind::TextMap { get, is_empty } => text_map(comparison, next, get, is_empty),
        _ if !is_last => Err(invalid_selector(comparison, next)),
        Kind::Text(get) => text(comparison, move |row, test| test(get(row))),
        Kind::Bool(get) => {
            let wanted = coerce(comparison, parse_bool)?;
            equal(comparison, move |row| get(row) == wanted)
        }
        Kind::Int(get) => {
            let wanted = coerce(comparison, parse_int)?;
            equal(comparison, move |row| get(row) == wanted)
        }
        Kind::Texts(any) => {
            let value = comparison.value.clone();
            let is_empty = move |row: &T| !any(row, &mut |_| true);
            map_test(comparison, is_empty, move |row| {
                any(row, &mut |text| text == value)
            })
        }
    }
}

fn invalid_selector(comparison: &Match, depth: usize) -> FilterError {
    let upto = &comparison.selector[..comparison.selector.len().min(depth + 1)];
    FilterError::Unsuitable(format!("Selector {} is not valid", quote(&upto.join("."))))
}

/// The operator is checked before the value is read, as in go-bexpr.
fn coerce<V>(comparison: &Match, read: fn(&str) -> Result<V, String>) -> Result<V, FilterError> {
    if !matches!(comparison.operator, Operator::Equal | Operator::NotEqual) {
        return Err(FilterError::operator(comparison));
    }
    read(&comparison.value).map_err(|words| {
        let (value, selector) = (
            quote(&comparison.value),
            quote(&comparison.selector.join(".")),
        );
        FilterError::Unsuitable(format!(
            "Failed to coerce value {value} for selector {selector}: {words}"
        ))
    })
}

fn equal<T>(
    comparison: &Match,
    is_equal: impl Fn(&T) -> bool + Send + Sync + 'static,
) -> Result<Test<T>, FilterError> {
    match comparison.operator {
        Operator::Equal => Ok(Box::new(is_equal)),
        Operator::NotEqual => Ok(Box::new(move |row| !is_equal(row))),
        _ => Err(FilterError::operator(comparison)),
    }
}

/// Comparisons of one text. `with` calls the test with the text, or answers itself where there is none.
fn text<T: 'static>(
    comparison: &Match,
    with: impl Fn(&T, &dyn Fn(&str) -> bool) -> bool + Send + Sync + 'static,
) -> Result<Test<T>, FilterError> {
    let value = comparison.value.clone();
    Ok(match comparison.operator {
        Operator::Equal => Box::new(move |row| with(row, &|text| text == value)),
        Operator::NotEqual => Box::new(move |row| with(row, &|text| text != value)),
        Operator::In => Box::new(move |row| with(row, &|text| text.contains(&value))),
        Operator::NotIn => Box::new(move |row| with(row, &|text| !text.contains(&value))),
        Operator::Matches | Operator::NotMatches => {
            let pattern = pattern(&value)?;
            let wanted = !comparison.operator.is_negative();
            Box::new(move |row| with(row, &|text| pattern.is_match(text) == wanted))
        }
        Operator::IsEmpty | Operator::IsNotEmpty => return Err(FilterError::operator(comparison)),
    })
}

fn pattern(text: &str) -> Result<regex::Regex, FilterError> {
    let built = RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    built.map_err(|error| {
        let words = match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("it compiles to more than {limit} bytes")
            }
            // The last line says what is wrong; those before draw it.
            other => {
                let drawn = other.to_string();
                let last = drawn.lines().last().unwrap_or_default();
                format!(
                    "error parsing regexp: {}",
                    last.trim_start_matches("error: ")
                )
            }
        };
        let text = quote(text);
        FilterError::Unsuitable(format!(
            "Failed to compile regular expression {text}: {words}"
        ))
    })
}

fn text_map<T: 'static>(
    comparison: &Match,
    depth: usize,
    get: crate::field::GetText<T>,
    is_empty: fn(&T) -> bool,
) -> Result<Test<T>, FilterError> {
    let Some(key) = comparison.selector.get(depth).cloned() else {
        let value = comparison.value.clone();
        return map_test(comparison, is_empty, move |row| get(row, &value).is_some());
    };
    if depth + 1 < comparison.selector.len() {
        return Err(invalid_selector(comparison, depth + 1));
    }
    let absent = comparison.operator.of_absent_key();
    text(comparison, move |row, test| {
        get(row, &key).map_or(absent, test)
    })
}

/// Comparisons of lists and of the keys of maps.
pub(crate) fn map_test<T>(
    comparison: &Match,
    is_empty: impl Fn(&T) -> bool + Send + Sync + 'static,
    contains: impl Fn(&T) -> bool + Send + Sync + 'static,
) -> Result<Test<T>, FilterError> {
    Ok(match comparison.operator {
        Operator::IsEmpty => Box::new(is_empty),
        Operator::IsNotEmpty => Box::new(move |row| !is_empty(row)),
        Operator::In => Box::new(contains),
        Operator::NotIn => Box::new(move |row| !contains(row)),
        Operator::Equal | Operator::NotEqual | Operator::Matches | Operator::NotMatches => {
            return Err(FilterError::operator(comparison));
        }
    })
}
