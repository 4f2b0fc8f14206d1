//! What is printed is parsed again; nothing panics, whatever stands there. How texts are understood, and the words for those
//! that are not, is compared with go-bexpr's own answers in `tests/go_bexpr.rs`.

use proptest::prelude::*;

use super::*;

#[test]
fn what_nests_too_deep_or_compares_too_much_is_refused_with_its_place() {
    let nested = |levels: usize| format!("{}a == 1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Expression::parse(&nested(DEPTH_MAX)).is_ok());
    let words = Expression::parse(&nested(DEPTH_MAX + 1))
        .expect_err("must be refused")
        .to_string();
    assert_eq!(
        words,
        "1:66 (65): the expression is nested deeper than 64 levels"
    );
    assert!(Expression::parse(&"not ".repeat(5_000)).is_err());

    let many = |count: usize| vec!["a == 1"; count].join(" or ");
    assert!(Expression::parse(&many(MATCHES_MAX)).is_ok());
    let words = Expression::parse(&many(MATCHES_MAX + 1))
        .expect_err("must be refused")
        .to_string();
    assert_eq!(
        words,
        "1:2561 (2560): the expression has more than 256 comparisons"
    );

    let words = Expression::parse(&"a".repeat(TEXT_BYTES_MAX + 1))
        .expect_err("must be refused")
        .to_string();
    assert_eq!(words, "the expression has 16385 bytes, the limit is 16384");
}

#[test]
fn open_parentheses_without_end_cost_no_more_than_their_length() {
    // The original parses each of them three times: this one would take it longer than the universe has lasted.
    let text = "(".repeat(DEPTH_MAX) + "x";
    let words = Expression::parse(&text)
        .expect_err("must be refused")
        .to_string();
    assert!(
        words.starts_with("1:66 (65): no match found, expected: "),
        "{words}"
    );
}

fn operator() -> impl Strategy<Value = Operator> {
    proptest::sample::select(vec![
        Operator::Equal,
        Operator::NotEqual,
        Operator::In,
        Operator::NotIn,
        Operator::IsEmpty,
        Operator::IsNotEmpty,
        Operator::Matches,
        Operator::NotMatches,
    ])
}

fn comparison() -> impl Strategy<Value = Expression> {
    // A field called `not` is left out: `not not in x` reads as the opposite of a comparison of `not`.
    let first = "[a-zA-Z][a-zA-Z0-9_]{0,6}".prop_filter("no keyword", |name| name != "not");
    let names = proptest::collection::vec(prop_oneof![first.clone(), any::<String>()], 0..3);
    (first, names, operator(), any::<String>()).prop_map(|(first, names, operator, value)| {
        let needs_none = matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
        Expression::Match(Match {
            selector: std::iter::once(first).chain(names).collect(),
            operator,
            value: if needs_none { String::new() } else { value },
        })
    })
}

fn expression() -> impl Strategy<Value = Expression> {
    comparison().prop_recursive(4, 24, 4, |inner| {
        let several = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expression::Or),
            several.prop_map(Expression::And),
            inner.prop_map(|inner| match inner {
                Expression::Not(twice) => *twice,
                once => Expression::Not(Box::new(once)),
            }),
        ]
    })
}

/// Texts that are nearly expressions.
fn tokens() -> impl Strategy<Value = String> {
    let token = proptest::sample::select(vec![
        "a",
        "b.c",
        "x[\"y\"]",
        "==",
        "!=",
        " in ",
        " not ",
        " and ",
        " or ",
        "(",
        ")",
        " is ",
        "empty",
        " contains ",
        " matches ",
        "\"s\"",
        "`r`",
        "1",
        "-0.5",
        "\"",
        "`",
        "[",
        "]",
        ".",
        " ",
        "\n",
        "é",
        "\\",
        "not",
    ]);
    proptest::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_again(expression in expression()) {
        let text = expression.to_string();
        prop_assert_eq!(Expression::parse(&text), Ok(expression), "{}", text);
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), tokens()]) {
        // An error's place lies within the text, and the text up to there is what was understood.
        if let Err(error) = Expression::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn what_parses_prints_to_the_same(text in tokens()) {
        if let Ok(expression) = Expression::parse(&text) {
            prop_assert_eq!(Expression::parse(&expression.to_string()), Ok(expression));
        }
    }
}
