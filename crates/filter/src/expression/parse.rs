//! The grammar: a recursive descent that tries what go-bexpr's parser tries, in its order, so that an error names the same
//! place and the same expectations.
//!
//! The original is generated from a PEG without memory: it parses `(` three times at each level, so thirty parentheses take it
//! minutes. Here alternatives that begin alike are parsed once; what they expect is the same. The farthest place where
//! something was expected makes the error, unless a rule knows better ([`Failure::Broken`], which ends the parse at once).

use std::collections::BTreeSet;

use super::error::{DEPTH_MAX, MATCHES_MAX, ParseError, Place, TEXT_BYTES_MAX};
use super::{Expression, Match, Operator};
use crate::quote::unquote;

pub(super) fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ParseError::TooLong(text.len()));
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        matches: 0,
        farthest: 0,
        expected: BTreeSet::new(),
    };
    match parser.input() {
        Ok(expression) => Ok(expression),
        Err(Failure::Broken(error)) => Err(error),
        Err(Failure::Elsewhere) => Err(ParseError::Syntax(parser.no_match())),
    }
}

/// Why a rule did not match.
#[derive(Debug)]
enum Failure {
    /// Something else may stand there.
    Elsewhere,
    /// Nothing else could: the parse is over.
    Broken(ParseError),
}

type Parsed<T> = Result<T, Failure>;

const BLANK: &str = "[ \\t\\r\\n]";
const END: &str = "!.";

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    matches: usize,
    farthest: usize,
    expected: BTreeSet<&'static str>,
}

impl<'a> Parser<'a> {
    // === rules ===

    fn input(&mut self) -> Parsed<Expression> {
        self.blanks();
        let expression = self.or()?;
        self.blanks();
        if self.at < self.text.len() {
            return self.expect(END);
        }
        Ok(expression)
    }

    fn or(&mut self) -> Parsed<Expression> {
        let first = self.and()?;
        self.chain(first, "or", "\"or\"", Self::and, Expression::Or)
    }

    fn and(&mut self) -> Parsed<Expression> {
        let first = self.not()?;
        self.chain(first, "and", "\"and\"", Self::not, Expression::And)
    }

    /// What follows the first part of a chain; without a second part it is that part itself.
    fn chain(
        &mut self,
        first: Expression,
        word: &'static str,
        want: &'static str,
        part: fn(&mut Self) -> Parsed<Expression>,
        whole: fn(Vec<Expression>) -> Expression,
    ) -> Parsed<Expression> {
        let mut parts = vec![first];
        loop {
            let before = self.at;
            let next = if self.blanks() && self.literal(word, want) && self.blanks() {
                part(self)
            } else {
                Err(Failure::Elsewhere)
            };
            match next {
                Ok(expression) => parts.push(expression),
                Err(Failure::Broken(error)) => return Err(Failure::Broken(error)),
                Err(Failure::Elsewhere) => {
                    self.at = before;
                    break;
                }
            }
        }
        if parts.len() > 1 {
            return Ok(whole(parts));
        }
        Ok(parts.pop().expect("a chain must have its first part"))
    }

    fn not(&mut self) -> Parsed<Expression> {
        let before = self.at;
        if self.literal("not", "\"not\"") && self.blanks() {
            self.deeper()?;
            let inner = self.not();
            self.depth -= 1;
            match inner {
                Ok(Expression::Not(inner)) => return Ok(*inner),
                Ok(inner) => return Ok(Expression::Not(Box::new(inner))),
                Err(Failure::Broken(error)) => return Err(Failure::Broken(error)),
                Err(Failure::Elsewhere) => {}
            }
        }
        // A field may be called `not`.
        self.at = before;
        self.grouping()
    }

    fn grouping(&mut self) -> Parsed<Expression> {
        let before = self.at;
        if !self.literal("(", "\"(\"") {
            return self.comparison();
        }
        self.blanks();
        self.deeper()?;
        let inner = self.or();
        self.depth -= 1;
        if let Ok(expression) = inner {
            self.blanks();
            if self.literal(")", "\")\"") {
                return Ok(expression);
            }
            return self.broken("grouping", "Unmatched parentheses");
        }
        self.at = before;
        inner
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        self.matches += 1;
        if self.matches > MATCHES_MAX {
            return Err(Failure::Broken(ParseError::TooMany(self.place(self.at))));
        }
        let before = self.at;
        let found = (self.selector_first())
            .or_else(|failure| self.after(failure, before, Self::value_first));
        if found.is_err() {
            // It was none: a field may be called `not`, and then the same text is tried again.
            self.matches -= 1;
        }
        found.map(Expression::Match)
    }

    /// `selector operator value` and `selector is empty`.
    fn selector_first(&mut self) -> Parsed<Match> {
        let selector = self.selector()?;
        let before = self.at;
        for (word, operator) in OPERATORS {
            self.at = before;
            if self.operator(word) {
                let value = self.value()?;
                return Ok(Match {
                    selector,
                    operator,
                    value,
                });
            }
        }
        for (words, operator) in EMPTINESS {
            self.at = before;
            if self.words(words) {
                let value = String::new();
                return Ok(Match {
                    selector,
                    operator,
                    value,
                });
            }
        }
        Err(Failure::Elsewhere)
    }

    /// `value in selector`.
    fn value_first(&mut self) -> Parsed<Match> {
        let value = self.value()?;
        let before = self.at;
        for (words, operator) in MEMBERSHIP {
            self.at = before;
            if self.words(words) && self.blanks() {
                let start = self.at;
                return match self.selector() {
                    Ok(selector) => Ok(Match {
                        selector,
                        operator,
                        value,
                    }),
                    Err(Failure::Elsewhere) => {
                        self.at = start;
                        self.broken("match", "Invalid selector")
                    }
                    Err(broken) => Err(broken),
                };
            }
        }
        Err(Failure::Elsewhere)
    }

    /// `==` and `!=` need no blanks around them, words do.
    fn operator(&mut self, (words, want): (&[&'static str], Option<&'static str>)) -> bool {
        match want {
            Some(want) => {
                self.blanks();
                let found = self.literal(words[0], want);
                if found {
                    self.blanks();
                }
                found
            }
            None => self.words(words) && self.blanks(),
        }
    }

    /// Each word after blanks.
    fn words(&mut self, words: &[&'static str]) -> bool {
        (words.iter()).all(|word| self.blanks() && self.literal(word, quoted_word(word)))
    }

    fn selector(&mut self) -> Parsed<Vec<String>> {
        let mut names = vec![self.identifier()?];
        loop {
            let before = self.at;
            let next = if self.literal(".", "\".\"") {
                self.identifier()
            } else {
                Err(Failure::Elsewhere)
            };
            match next.or_else(|failure| self.after(failure, before, Self::index)) {
                Ok(name) => names.push(name),
                Err(Failure::Broken(error)) => return Err(Failure::Broken(error)),
                Err(Failure::Elsewhere) => {
                    self.at = before;
                    return Ok(names);
                }
            }
        }
    }

    fn identifier(&mut self) -> Parsed<String> {
        let start = self.at;
        if !self.class(|c| c.is_ascii_alphabetic(), "[a-zA-Z]") {
            return Err(Failure::Elsewhere);
        }
        while self.class(|c| c.is_ascii_alphanumeric() || c == '_', "[a-zA-Z0-9_]") {}
        Ok(self.text[start..self.at].to_owned())
    }

    /// `["name"]`.
    fn index(&mut self) -> Parsed<String> {
        if !self.literal("[", "\"[\"") {
            return Err(Failure::Elsewhere);
        }
        self.blanks();
        let before = self.at;
        match self.string() {
            Ok(name) => {
                self.blanks();
                if self.literal("]", "\"]\"") {
                    return Ok(name);
                }
                self.broken("index", "Unclosed index expression")
            }
            Err(Failure::Elsewhere) => {
                self.at = before;
                self.broken("index", "Invalid index")
            }
            Err(broken) => Err(broken),
        }
    }

    /// A bare word, a number or a string.
    fn value(&mut self) -> Parsed<String> {
        let before = self.at;
        (self.selector().map(|names| names.join(".")))
            .or_else(|failure| self.after(failure, before, Self::number))
            .or_else(|failure| self.after(failure, before, Self::string))
    }

    fn number(&mut self) -> Parsed<String> {
        let start = self.at;
        self.literal("-", "\"-\"");
        if !self.literal("0", "\"0\"") {
            if !self.class(|c| matches!(c, '1'..='9'), "[1-9]") {
                return Err(Failure::Elsewhere);
            }
            self.digits();
        }
        let whole = self.at;
        if !(self.literal(".", "\".\"") && self.digits()) {
            self.at = whole;
        }
        let end = self.at;
        let goes_on = !self.blanks() && self.at < self.text.len() && {
            self.record(END);
            !self.literal(")", "\")\"")
        };
        self.at = end;
        if goes_on {
            return self.broken("number", "Invalid number literal");
        }
        Ok(self.text[start..end].to_owned())
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while self.class(|c| c.is_ascii_digit(), "[0-9]") {}
        self.at > start
    }

    fn string(&mut self) -> Parsed<String> {
        let start = self.at;
        let quote = if self.literal("`", "\"`\"") {
            '`'
        } else if self.literal("\"", "\"\\\"\"") {
            '"'
        } else {
            return Err(Failure::Elsewhere);
        };
        let Some(length) = self.text[self.at..].find(quote) else {
            self.at = self.text.len();
            return self.broken("string", "Unterminated string literal");
        };
        self.at += length + 1;
        match unquote(&self.text[start..self.at]) {
            Some(text) => Ok(text),
            None => {
                self.at = start;
                self.broken("string", "invalid syntax")
            }
        }
    }

    // === what stands there ===

    /// One or more blanks.
    fn blanks(&mut self) -> bool {
        let start = self.at;
        while self.class(|c| matches!(c, ' ' | '\t' | '\r' | '\n'), BLANK) {}
        self.at > start
    }

    fn literal(&mut self, text: &str, want: &'static str) -> bool {
        if self.text[self.at..].starts_with(text) {
            self.at += text.len();
            return true;
        }
        self.record(want);
        false
    }

    fn class(&mut self, is_in: impl Fn(char) -> bool, want: &'static str) -> bool {
        match self.text[self.at..].chars().next().filter(|c| is_in(*c)) {
            Some(c) => {
                self.at += c.len_utf8();
                true
            }
            None => {
                self.record(want);
                false
            }
        }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Failure::Broken(ParseError::TooDeep(self.place(self.at))));
        }
        Ok(())
    }

    /// Tries another rule at the same place, unless the parse is over.
    fn after<T>(
        &mut self,
        failure: Failure,
        place: usize,
        rule: fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        match failure {
            Failure::Broken(_) => Err(failure),
            Failure::Elsewhere => {
                self.at = place;
                rule(self)
            }
        }
    }

    // === errors ===

    fn expect<T>(&mut self, want: &'static str) -> Parsed<T> {
        self.record(want);
        Err(Failure::Elsewhere)
    }

    fn record(&mut self, want: &'static str) {
        if self.at < self.farthest {
            return;
        }
        if self.at > self.farthest {
            self.farthest = self.at;
            self.expected.clear();
        }
        self.expected.insert(want);
    }

    fn broken<T>(&self, rule: &str, words: &str) -> Parsed<T> {
        let place = self.place(self.at);
        let words = format!("{place}: rule \"{rule}\": {words}");
        Err(Failure::Broken(ParseError::Syntax(words)))
    }

    fn no_match(mut self) -> String {
        let end = self.expected.remove(END).then_some("EOF");
        let expected: Vec<&str> = self.expected.iter().copied().chain(end).collect();
        let list = match expected.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            Some((last, _)) => (*last).to_owned(),
            None => String::new(),
        };
        format!(
            "{}: no match found, expected: {list}",
            self.place(self.farthest)
        )
    }

    /// As Go's parser counts: a line break belongs to the next line, as its column 0.
    fn place(&self, offset: usize) -> Place {
        let through = match self.text[offset..].chars().next() {
            Some(c) => &self.text[..offset + c.len_utf8()],
            None => self.text,
        };
        let at_end = usize::from(offset == self.text.len());
        let line = 1 + through.matches('\n').count();
        let since = through.rfind('\n').map_or(through, |at| &through[at + 1..]);
        Place {
            line,
            column: since.chars().count() + at_end,
            offset,
        }
    }
}

/// Words of an operator, and for signs what an error calls them.
type Words = (&'static [&'static str], Option<&'static str>);

const OPERATORS: [(Words, Operator); 6] = [
    ((&["=="], Some("\"==\"")), Operator::Equal),
    ((&["!="], Some("\"!=\"")), Operator::NotEqual),
    ((&["contains"], None), Operator::In),
    ((&["not", "contains"], None), Operator::NotIn),
    ((&["matches"], None), Operator::Matches),
    ((&["not", "matches"], None), Operator::NotMatches),
];

const EMPTINESS: [(&[&str], Operator); 2] = [
    (&["is", "empty"], Operator::IsEmpty),
    (&["is", "not", "empty"], Operator::IsNotEmpty),
];

const MEMBERSHIP: [(&[&str], Operator); 2] =
    [(&["in"], Operator::In), (&["not", "in"], Operator::NotIn)];

fn quoted_word(word: &str) -> &'static str {
    match word {
        "contains" => "\"contains\"",
        "matches" => "\"matches\"",
        "is" => "\"is\"",
        "in" => "\"in\"",
        "not" => "\"not\"",
        _ => "\"empty\"",
    }
}
