//! What an expression says, apart from what its selectors mean.

mod error;
mod parse;
mod print;

pub use error::{DEPTH_MAX, MATCHES_MAX, ParseError, Place, TEXT_BYTES_MAX};

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// Any of two or more.
    Or(Vec<Expression>),
    /// All of two or more.
    And(Vec<Expression>),
    /// The opposite. Never of another `Not`: two of them are none.
    Not(Box<Expression>),
    /// A comparison.
    Match(Match),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Names that lead to a field; at least one.
    pub selector: Vec<String>,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for the operators that need nothing.
    pub value: String,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Operator {
    Equal,
    NotEqual,
    /// `value in selector` and `selector contains value`.
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    /// Whether it asks for the opposite of its positive twin.
    pub fn is_negative(self) -> bool {
        match self {
            Operator::NotEqual | Operator::NotIn | Operator::IsNotEmpty | Operator::NotMatches => {
                true
            }
            Operator::Equal | Operator::In | Operator::IsEmpty | Operator::Matches => false,
        }
    }

    /// The answer where a map has no such key, as in go-bexpr: also `matches` is then true.
    pub(crate) fn of_absent_key(self) -> bool {
        !matches!(self, Operator::Equal | Operator::IsNotEmpty | Operator::In)
    }

    /// Its name in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Operator::Equal => "Equal",
            Operator::NotEqual => "Not Equal",
            Operator::In => "In",
            Operator::NotIn => "Not In",
            Operator::IsEmpty => "Is Empty",
            Operator::IsNotEmpty => "Is Not Empty",
            Operator::Matches => "Matches",
            Operator::NotMatches => "Not Matches",
        }
    }
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// Says where the text stops making sense and what could stand there, in go-bexpr's words.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }
}

#[cfg(test)]
mod tests;
