//! Lifetimes and other lengths of time, as `ttl`, `negative_ttl`, `stale` and `wait` take them.

use std::time::Duration;

use quote::ToTokens as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprBinary, ExprClosure, ExprLit, ExprUnary, Lit, Result, UnOp};

use super::value::{expr, one_argument, plain_number, split_unit};

/// How long a stored value may be served.
#[derive(Debug, Clone)]
pub(crate) enum Lifetime {
    /// The same for every value.
    Same(Period),
    /// `|value| Duration`: each value decides.
    PerValue(ExprClosure),
}

/// A length of time, known now or when the program runs.
#[derive(Debug, Clone)]
pub(crate) enum Period {
    /// `60`, `1.5`, `"5m"`; never zero.
    Fixed(Duration),
    /// Any other expression, of type `Duration`.
    Expr(Expr),
}

/// `ttl`: a period, or a closure over the value.
pub(super) fn lifetime(input: ParseStream) -> Result<Lifetime> {
    match expr(input)? {
        Expr::Closure(closure) => one_argument(&closure).map(|()| Lifetime::PerValue(closure)),
        other => period_of(other, NO_TTL).map(Lifetime::Same),
    }
}

/// `negative_ttl`: there is no value for a closure to look at.
pub(super) fn period(input: ParseStream) -> Result<Period> {
    match expr(input)? {
        Expr::Closure(closure) => Err(Error::new_spanned(
            closure,
            "`None` and `Err` share one lifetime: write a number of seconds, a string such as \"5s\", or an expression \
             of type `Duration`",
        )),
        other => period_of(other, NO_TTL),
    }
}

/// `stale`, `on_error` and `idle`: a window is the function's, not the value's.
pub(super) fn window(input: ParseStream) -> Result<Period> {
    match expr(input)? {
        Expr::Closure(closure) => Err(Error::new_spanned(
            closure,
            "the window is the same for all values: write a number of seconds, a string such as \"30s\", or an \
             expression of type `Duration`",
        )),
        other => period_of(other, "zero would mean no window: leave the option out"),
    }
}

const NO_TTL: &str =
    "zero would mean never: leave `ttl` out for no expiry, or remove the attribute to cache nothing";

/// Reads a period; `zero` is the message for zero.
pub(super) fn period_of(expr: Expr, zero: &str) -> Result<Period> {
    const FORMS: &str = "write a positive number of seconds (`60`, `1.5`), a string of a number and \
                         ms, s, m, h or d (\"250ms\", \"5m\"), or an expression of type `Duration`";
    let literal = match &expr {
        Expr::Lit(ExprLit { lit, .. }) => lit,
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr: inner, .. }) if matches!(**inner, Expr::Lit(_)) => {
            return Err(Error::new_spanned(&expr, format!("a lifetime can't be negative: {FORMS}")));
        }
        Expr::Binary(_) if is_number(&expr) => {
            let sum = expr.to_token_stream();
            let message = format!("an expression has to be a `Duration`: write `Duration::from_secs({sum})`");
            return Err(Error::new_spanned(expr, message));
        }
        _ => return Ok(Period::Expr(expr)),
    };
    let seconds = match literal {
        Lit::Int(number) if number.suffix().is_empty() => number.base10_parse().ok(),
        Lit::Float(number) if number.suffix().is_empty() => plain_number(number.base10_digits()),
        Lit::Int(number) if seconds_in(number.suffix()).is_some() => {
            return Err(Error::new(number.span(), format!("put it in quotes: \"{}\"", number.token())));
        }
        Lit::Str(text) if text.value().contains("::") => {
            return Err(Error::new(
                text.span(),
                format!("an expression has no quotes: write `{}`", text.value()),
            ));
        }
        Lit::Str(text) => seconds(&text.value()),
        _ => None,
    };
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(Duration::ZERO) => Err(Error::new(literal.span(), zero)),
        Some(period) => Ok(Period::Fixed(period)),
        None => Err(Error::new(literal.span(), format!("not a lifetime: {FORMS}"))),
    }
}

/// `60 * 60`
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Int(_), .. }) => true,
        Expr::Binary(ExprBinary { left, right, .. }) => is_number(left) && is_number(right),
        Expr::Paren(paren) => is_number(&paren.expr),
        _ => false,
    }
}

/// `"5m"` -> 300.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text);
    Some(plain_number(number)? * seconds_in(unit)?)
}

fn seconds_in(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3_600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}
