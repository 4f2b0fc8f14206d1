//! An expression as text that parses to the same expression.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Expression, Match, Operator};
use crate::quote::literal;

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Or(parts) => join(f, parts, " or "),
            Expression::And(parts) => join(f, parts, " and "),
            Expression::Not(inner) => {
                f.write_str("not ")?;
                part(f, inner)
            }
            Expression::Match(comparison) => comparison.fmt(f),
        }
    }
}

fn join(f: &mut Formatter<'_>, parts: &[Expression], word: &str) -> fmt::Result {
    for (i, inner) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(word)?;
        }
        part(f, inner)?;
    }
    Ok(())
}

/// A part of a larger expression: in parentheses unless it is a comparison.
fn part(f: &mut Formatter<'_>, inner: &Expression) -> fmt::Result {
    match inner {
        Expression::Match(comparison) => comparison.fmt(f),
        Expression::Or(_) | Expression::And(_) | Expression::Not(_) => write!(f, "({inner})"),
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = || literal(&self.value);
        let word = match self.operator {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Matches => "matches",
            Operator::NotMatches => "not matches",
            Operator::In => return write!(f, "{} in {}", value(), Selector(&self.selector)),
            Operator::NotIn => return write!(f, "{} not in {}", value(), Selector(&self.selector)),
            Operator::IsEmpty => return write!(f, "{} is empty", Selector(&self.selector)),
            Operator::IsNotEmpty => return write!(f, "{} is not empty", Selector(&self.selector)),
        };
        write!(f, "{} {word} {}", Selector(&self.selector), value())
    }
}

struct Selector<'a>(&'a [String]);

impl Display for Selector<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            if i == 0 {
                f.write_str(name)?;
            } else if is_identifier(name) {
                f.write_char('.')?;
                f.write_str(name)?;
            } else {
                write!(f, "[{}]", literal(name))?;
            }
        }
        Ok(())
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
