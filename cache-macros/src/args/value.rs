//! The values an option can take, each parsed from what stands behind its `=`: lifetimes, sizes, codecs, texts.
//!
//! Knows the accepted spellings and the message for each other one; knows neither options nor functions.

use std::time::Duration;

use proc_macro2::Span;
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{
    Error, Expr, ExprBinary, ExprClosure, ExprLit, ExprUnary, Ident, Lit, LitBool, LitStr, Path, Result,
    Token, UnOp,
};

use crate::diagnostic::{list, nearest};

/// How long a stored value counts.
#[derive(Debug, Clone)]
pub(crate) enum Lifetime {
    /// The same for every value.
    Same(Period),
    /// `|value| Duration`: decided by each value.
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

/// The value formats of remote backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Bincode,
    Postcard,
    Msgpack,
    Json,
}

impl Codec {
    pub(crate) const ALL: [Codec; 4] = [Codec::Bincode, Codec::Postcard, Codec::Msgpack, Codec::Json];

    /// As written in the attribute; the feature has the same name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::Bincode => "bincode",
            Codec::Postcard => "postcard",
            Codec::Msgpack => "msgpack",
            Codec::Json => "json",
        }
    }

    /// Whether the runtime was built with it.
    pub(crate) fn compiled_in(self) -> bool {
        match self {
            Codec::Bincode => cfg!(feature = "bincode"),
            Codec::Postcard => cfg!(feature = "postcard"),
            Codec::Msgpack => cfg!(feature = "msgpack"),
            Codec::Json => cfg!(feature = "json"),
        }
    }
}

/// Which calls of a key share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SingleFlight {
    Off,
    Process,
    Cluster,
}

/// `ttl`: a period, or a closure over the value.
pub(crate) fn lifetime(input: ParseStream) -> Result<Lifetime> {
    match expr(input)? {
        Expr::Closure(closure) => one_argument(&closure).map(|()| Lifetime::PerValue(closure)),
        other => period_of(other, NO_TTL).map(Lifetime::Same),
    }
}

/// `negative_ttl`: there is no value for a closure to look at.
pub(crate) fn period(input: ParseStream) -> Result<Period> {
    match expr(input)? {
        Expr::Closure(closure) => Err(Error::new_spanned(
            closure,
            "`None` and `Err` share one lifetime: write it as a number of seconds, a text such as \"5s\", \
             or an expression of type `Duration`",
        )),
        other => period_of(other, NO_TTL),
    }
}

/// `stale`: there may be a value, but the window is the function's.
pub(crate) fn window(input: ParseStream) -> Result<Period> {
    match expr(input)? {
        Expr::Closure(closure) => Err(Error::new_spanned(
            closure,
            "the window is the same for all values: write it as a number of seconds, a text such as \"30s\", or an \
             expression of type `Duration`",
        )),
        other => period_of(other, "zero would mean no window: leave `stale` out"),
    }
}

/// `early`: how eagerly; `true` is 1.
pub(crate) fn eagerness(input: ParseStream) -> Result<f64> {
    let eagerness = expr(input)?;
    let given = match &eagerness {
        Expr::Lit(ExprLit { lit: Lit::Bool(on), .. }) if on.value => Some(1.0),
        other => number(other),
    };
    given.filter(|eagerness| *eagerness > 0.0).ok_or_else(|| {
        let message = "write `true`, or how eagerly to renew as a positive number, such as `early = 2`: 1 is the \
                       default, and more is earlier";
        Error::new_spanned(eagerness, message)
    })
}

/// `jitter`: a part of the whole.
pub(crate) fn part(input: ParseStream) -> Result<f64> {
    let part = expr(input)?;
    number(&part).filter(|part| *part > 0.0 && *part < 1.0).ok_or_else(|| {
        let message = "write the part of a lifetime that chance may take away, such as `jitter = 0.1` for up to a tenth";
        Error::new_spanned(part, message)
    })
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.suffix().is_empty() => {
            plain_number(number.base10_digits())
        }
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) if number.suffix().is_empty() => {
            plain_number(number.base10_digits())
        }
        _ => None,
    }
}

const NO_TTL: &str =
    "zero would mean never: leave `ttl` out for no expiry, or remove the attribute to cache nothing";

fn period_of(expr: Expr, zero: &str) -> Result<Period> {
    const FORMS: &str = "write a positive number of seconds (`60`, `1.5`), a text of a number and \
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

/// Digits and at most one point: `f64` alone would also take `inf` and exponents.
fn plain_number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| text.parse().ok()).flatten()
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `max_bytes`: a number, or a text with a unit.
pub(crate) fn bytes(input: ParseStream) -> Result<u64> {
    let (size, span) = if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        (bytes_in(&text.value()), text.span())
    } else {
        whole(input)
    };
    size.filter(|size| *size > 0).ok_or_else(|| {
        let forms = "write a positive number of bytes, or a text of a whole number and \
                     KB, MB, GB, KiB, MiB or GiB (\"64MiB\")";
        Error::new(span, format!("not a size: {forms}"))
    })
}

fn bytes_in(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let unit: u64 = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// `capacity`
pub(crate) fn count(input: ParseStream) -> Result<u64> {
    let (number, span) = whole(input);
    number.filter(|count| *count > 0).ok_or_else(|| {
        Error::new(span, "not a capacity: write a positive whole number of entries, such as `10_000`")
    })
}

/// `version`
pub(crate) fn version(input: ParseStream) -> Result<u32> {
    let (number, span) = whole(input);
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| {
        Error::new(
            span,
            format!("not a version: write a whole number up to {}, and raise it by hand", u32::MAX),
        )
    })
}

/// A whole number, if there is one here, and where.
fn whole(input: ParseStream) -> (Option<u64>, Span) {
    let span = input.span();
    match input.parse::<Lit>() {
        Ok(Lit::Int(number)) if number.suffix().is_empty() => (number.base10_parse().ok(), number.span()),
        Ok(other) => (None, other.span()),
        Err(_) => (None, span),
    }
}

/// `backend`, `namespace`
pub(crate) fn text(input: ParseStream) -> Result<LitStr> {
    let span = input.span();
    input.parse().map_err(|_| match input.parse::<Ident>() {
        Ok(bare) => Error::new(span, format!("put it in quotes: \"{bare}\"")),
        Err(_) => Error::new(span, "write a text in quotes"),
    })
}

/// `cache_none`, `cache_err`
pub(crate) fn flag(input: ParseStream) -> Result<bool> {
    let span = input.span();
    let flag: LitBool = input.parse().map_err(|_| Error::new(span, "write `true` or `false`"))?;
    Ok(flag.value)
}

/// `codec`
pub(crate) fn codec(input: ParseStream) -> Result<Codec> {
    let written = text(input)?;
    let name = written.value();
    let names = Codec::ALL.map(Codec::name);
    Codec::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
        let message = match nearest(&name, names) {
            Some(meant) => format!("no codec is called `{name}`: did you mean \"{meant}\"?"),
            None => format!("no codec is called `{name}`: there are {}", list(names)),
        };
        Error::new(written.span(), message)
    })
}

/// `cache_if`: a closure, or the path of a function.
pub(crate) fn predicate(input: ParseStream) -> Result<Expr> {
    let predicate = expr(input)?;
    match &predicate {
        Expr::Closure(closure) => one_argument(closure).map(|()| predicate),
        Expr::Path(_) => Ok(predicate),
        _ => Err(Error::new_spanned(
            predicate,
            "write a closure, `|value| …`, or the path of a function that takes the value by reference",
        )),
    }
}

fn one_argument(closure: &ExprClosure) -> Result<()> {
    if closure.inputs.len() == 1 {
        return Ok(());
    }
    let ExprClosure { inputs_begin, inputs, inputs_end, .. } = closure;
    let arguments = quote!(#inputs_begin #inputs #inputs_end);
    Err(Error::new_spanned(arguments, "the closure is called with the value alone: write `|value| …`"))
}

/// `single_flight`: which calls of a key share a run.
pub(crate) fn single_flight(input: ParseStream) -> Result<SingleFlight> {
    let mode = text(input)?;
    match mode.value().as_str() {
        "process" => Ok(SingleFlight::Process),
        "cluster" => Ok(SingleFlight::Cluster),
        "off" => Ok(SingleFlight::Off),
        _ => Err(Error::new_spanned(
            mode,
            "write \"process\" or \"cluster\", where all calls of a key share a run, or \"off\"",
        )),
    }
}

/// `single_flight(wait = "2s")`, with or without a text in front.
pub(crate) fn shared_run(input: ParseStream) -> Result<(SingleFlight, Option<Period>)> {
    let mode = match input.peek(LitStr) {
        true => {
            let mode = single_flight(input)?;
            input.parse::<Option<Token![,]>>()?;
            mode
        }
        false => SingleFlight::Process,
    };
    if input.is_empty() {
        return Ok((mode, None));
    }
    let name = input.call(Ident::parse_any)?;
    if name != "wait" {
        return Err(Error::new(
            name.span(),
            "write how long a call waits for another's run: `wait = \"2s\"`",
        ));
    }
    input.parse::<Token![=]>()?;
    let wait = expr(input)?;
    input.parse::<Option<Token![,]>>()?;
    if !input.is_empty() {
        return Err(input.error("`single_flight` takes `\"process\"` or `\"cluster\"`, and `wait`, no more"));
    }
    if mode == SingleFlight::Off {
        return Err(Error::new(name.span(), "nobody waits where `single_flight` is \"off\": remove `wait`"));
    }
    period_of(wait, "zero would mean not to wait: write `single_flight = \"off\"`")
        .map(|wait| (mode, Some(wait)))
}

/// `companions`: `None` is `false`.
pub(crate) fn companions(input: ParseStream) -> Result<Option<Ident>> {
    let span = input.span();
    if input.peek(LitBool) && !flag(input)? {
        return Ok(None);
    }
    if input.peek(Token![Self]) {
        return input.call(Ident::parse_any).map(Some);
    }
    let name: Result<Ident> = input.parse();
    name.map(Some).map_err(|_| {
        Error::new(
            span,
            "write `false` for no companions, a name for their struct, or `Self` for siblings in an `impl`; they are on by default",
        )
    })
}

/// `crate`
pub(crate) fn path(input: ParseStream) -> Result<Path> {
    let span = input.span();
    // Generated code imports from it, and there are no imports from a type.
    match Path::parse_mod_style(input) {
        Ok(path) if path.segments.iter().all(|segment| segment.ident != "Self") => Ok(path),
        _ => Err(Error::new(
            span,
            "write the path to the runtime without quotes, such as `::my_app::cache_runtime`",
        )),
    }
}

/// An expression out of the invisible brackets that `macro_rules` leaves around what it passed on.
pub(crate) fn expr(input: ParseStream) -> Result<Expr> {
    let mut expr: Expr = input.parse()?;
    while let Expr::Group(group) = expr {
        expr = *group.expr;
    }
    Ok(expr)
}
