//! Why a text is no expression, and how far an expression may go.

/// Longest text. A request's head has 64 KiB at most; a filter that long is a mistake.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of parentheses and `not`: each level takes stack, here and when rows are compared.
pub const DEPTH_MAX: usize = 64;
/// Most comparisons: each is made for each row.
pub const MATCHES_MAX: usize = 256;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not the grammar: place, and what was expected there. The words are go-bexpr's.
    #[error("{0}")]
    Syntax(String),
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("the expression has {0} bytes, the limit is {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("{0}: the expression is nested deeper than {DEPTH_MAX} levels")]
    TooDeep(Place),
    /// More comparisons than [`MATCHES_MAX`].
    #[error("{0}: the expression has more than {MATCHES_MAX} comparisons")]
    TooMany(Place),
}

/// Line, column (both from 1, in characters) and offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) offset: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} ({})", self.line, self.column, self.offset)
    }
}
