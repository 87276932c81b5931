//! Parsers for the values of options: strings, numbers, sizes, codecs, closures, names.
//!
//! They know the accepted spellings and the message for everything else. They know neither options nor functions.

use proc_macro2::Span;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprClosure, ExprLit, Ident, Lit, LitBool, LitStr, Path, Result, Token, Visibility};

use super::period::{Period, period_of};
use crate::diagnostic::{list, nearest};

/// How values are encoded for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Bincode,
    Postcard,
    Msgpack,
    Json,
}

impl Codec {
    pub(crate) const ALL: [Codec; 4] = [Codec::Bincode, Codec::Postcard, Codec::Msgpack, Codec::Json];

    /// Its name in the attribute, which is the feature's too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::Bincode => "bincode",
            Codec::Postcard => "postcard",
            Codec::Msgpack => "msgpack",
            Codec::Json => "json",
        }
    }

    /// Whether the runtime was built with its feature.
    pub(crate) fn is_compiled_in(self) -> bool {
        match self {
            Codec::Bincode => cfg!(feature = "bincode"),
            Codec::Postcard => cfg!(feature = "postcard"),
            Codec::Msgpack => cfg!(feature = "msgpack"),
            Codec::Json => cfg!(feature = "json"),
        }
    }
}

/// Which calls with the same key share a run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SingleFlight {
    Off,
    #[default]
    Process,
    Cluster,
}

/// `single_flight`
#[derive(Debug, Default)]
pub(crate) struct SharedRun {
    pub(crate) mode: SingleFlight,
    /// How long a call waits for another call's run.
    pub(crate) wait: Option<Period>,
    /// The option's name, where it is `true`: the run goes on when its caller gives up.
    pub(crate) detach: Option<Ident>,
}

impl From<SingleFlight> for SharedRun {
    fn from(mode: SingleFlight) -> Self {
        Self { mode, ..Self::default() }
    }
}

/// `early`: how eagerly values are renewed; `true` is 1.
pub(super) fn eagerness(input: ParseStream) -> Result<f64> {
    let eagerness = expr(input)?;
    let given = match &eagerness {
        Expr::Lit(ExprLit { lit: Lit::Bool(on), .. }) if on.value => Some(1.0),
        other => number(other),
    };
    given.filter(|eagerness| *eagerness > 0.0).ok_or_else(|| {
        let message = "`early` is `true` or a positive number, such as `2`: `true` means 1, and a larger number renews \
                       earlier";
        Error::new_spanned(eagerness, message)
    })
}

/// `jitter`
pub(super) fn fraction(input: ParseStream) -> Result<f64> {
    let fraction = expr(input)?;
    number(&fraction)
        .filter(|fraction| *fraction > 0.0 && *fraction < 1.0)
        .ok_or_else(|| Error::new_spanned(fraction, "`jitter` is a fraction between 0 and 1, such as `0.1`"))
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

/// Digits and at most one point: `f64` alone would also take `inf` and exponents.
pub(super) fn plain_number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| text.parse().ok()).flatten()
}

/// `"64 MiB"` -> `64` and `MiB`.
pub(super) fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `max_bytes`: a number, or a string with a unit.
pub(super) fn bytes(input: ParseStream) -> Result<u64> {
    let (size, span) = if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        (bytes_in(&text.value()), text.span())
    } else {
        whole(input)
    };
    size.filter(|size| *size > 0).ok_or_else(|| {
        let forms = "write a positive number of bytes, or a string of a whole number and \
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
#[derive(Debug, Clone)]
pub(crate) enum Capacity {
    /// `u64::MAX` is `"unbounded"`.
    Fixed(u64),
    Expr(Expr),
}

pub(super) fn capacity(input: ParseStream) -> Result<Capacity> {
    let expr = expr(input)?;
    let count = match &expr {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.suffix().is_empty() => {
            number.base10_parse().ok().filter(|count| *count > 0)
        }
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == "unbounded" => Some(u64::MAX),
        Expr::Lit(_) | Expr::Unary(_) => None,
        _ => return Ok(Capacity::Expr(expr)),
    };
    count.map(Capacity::Fixed).ok_or_else(|| {
        let forms =
            "write a positive whole number of entries, such as `10_000`, an expression, or \"unbounded\"";
        Error::new_spanned(&expr, format!("not a capacity: {forms}"))
    })
}

/// `version`
pub(super) fn version(input: ParseStream) -> Result<u32> {
    let (number, span) = whole(input);
    number.and_then(|number| number.try_into().ok()).ok_or_else(|| {
        Error::new(
            span,
            format!("not a version: write a whole number up to {}, to be increased by hand", u32::MAX),
        )
    })
}

/// A whole number, if there is one, and where it is or should be.
fn whole(input: ParseStream) -> (Option<u64>, Span) {
    let span = input.span();
    match input.parse::<Lit>() {
        Ok(Lit::Int(number)) if number.suffix().is_empty() => (number.base10_parse().ok(), number.span()),
        Ok(other) => (None, other.span()),
        Err(_) => (None, span),
    }
}

/// `backend`, `namespace`
pub(super) fn text(input: ParseStream) -> Result<LitStr> {
    let span = input.span();
    input.parse().map_err(|_| match input.parse::<Ident>() {
        Ok(bare) => Error::new(span, format!("put it in quotes: \"{bare}\"")),
        Err(_) => Error::new(span, "write a string in quotes"),
    })
}

/// `cache_none`, `cache_err`
pub(super) fn flag(input: ParseStream) -> Result<bool> {
    let span = input.span();
    let flag: LitBool = input.parse().map_err(|_| Error::new(span, "write `true` or `false`"))?;
    Ok(flag.value)
}

/// `codec`
pub(super) fn codec(input: ParseStream) -> Result<Codec> {
    let written = text(input)?;
    let name = written.value();
    let names = Codec::ALL.map(Codec::name);
    Codec::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
        let message = match nearest(&name, names) {
            Some(meant) => format!("no codec is called `{name}`: did you mean \"{meant}\"?"),
            None => format!("no codec is called `{name}`: the codecs are {}", list(names)),
        };
        Error::new(written.span(), message)
    })
}

/// `cache_if`: a closure, or the path of a function.
pub(super) fn predicate(input: ParseStream) -> Result<Expr> {
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

pub(super) fn one_argument(closure: &ExprClosure) -> Result<()> {
    if closure.inputs.len() == 1 {
        return Ok(());
    }
    let ExprClosure { inputs_begin, inputs, inputs_end, .. } = closure;
    let arguments = quote!(#inputs_begin #inputs #inputs_end);
    Err(Error::new_spanned(arguments, "the closure takes one argument, the value: write `|value| …`"))
}

/// `single_flight = "cluster"`
pub(super) fn single_flight(input: ParseStream) -> Result<SingleFlight> {
    let mode = text(input)?;
    match mode.value().as_str() {
        "process" => Ok(SingleFlight::Process),
        "cluster" => Ok(SingleFlight::Cluster),
        "off" => Ok(SingleFlight::Off),
        _ => Err(Error::new_spanned(
            mode,
            "write \"process\" or \"cluster\", where calls with the same key share a run, or \"off\"",
        )),
    }
}

/// The inside of `single_flight("cluster", wait = "2s", detach = true)`.
pub(super) fn shared_run(input: ParseStream) -> Result<SharedRun> {
    let mode = if input.peek(LitStr) { single_flight(input)? } else { SingleFlight::default() };
    let (mut run, mut given) = (SharedRun::from(mode), Vec::new());
    input.parse::<Option<Token![,]>>()?;
    while !input.is_empty() {
        let name = input.call(Ident::parse_any)?;
        if given.contains(&name) {
            return Err(Error::new(name.span(), format!("`{name}` is given twice: keep one of the two")));
        }
        match name.to_string().as_str() {
            "wait" => {
                input.parse::<Token![=]>()?;
                run.wait = Some(period_of(
                    expr(input)?,
                    "zero would mean no waiting: write `single_flight = \"off\"`",
                )?);
            }
            "detach" => {
                input.parse::<Token![=]>()?;
                run.detach = flag(input)?.then(|| name.clone());
            }
            _ => {
                return Err(Error::new(
                    name.span(),
                    "write how long a call waits for another call's run, `wait = \"2s\"`, or that a run goes on when its \
                     caller gives up, `detach = true`",
                ));
            }
        }
        if mode == SingleFlight::Off {
            let message = format!("no run is shared if `single_flight` is \"off\": remove `{name}`");
            return Err(Error::new(name.span(), message));
        }
        given.push(name);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(run)
}

/// The name and the visibility of the companions, where they differ from the function's.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// The struct's name, or `Self` for siblings.
    pub(crate) name: Option<Ident>,
    pub(crate) vis: Option<Visibility>,
}

/// `companions`: `None` is `false`.
pub(super) fn companions(input: ParseStream) -> Result<Option<Beside>> {
    let span = input.span();
    if input.peek(LitBool) && !flag(input)? {
        return Ok(None);
    }
    let name = if input.peek(Token![Self]) { input.call(Ident::parse_any) } else { input.parse() };
    match name {
        Ok(name) => Ok(Some(Beside { name: Some(name), vis: None })),
        Err(_) => Err(Error::new(
            span,
            "write `false` for no companions, a name for their struct, or `Self` for siblings in an `impl`; they are on by default",
        )),
    }
}

/// The inside of `companions(user_cache, vis = pub(crate))`.
pub(super) fn beside(input: ParseStream) -> Result<Beside> {
    let mut beside = Beside::default();
    if !input.peek2(Token![=]) {
        beside.name = companions(input)?.unwrap_or_default().name;
        input.parse::<Option<Token![,]>>()?;
    }
    while !input.is_empty() {
        let name = input.call(Ident::parse_any)?;
        if name != "vis" || beside.vis.is_some() {
            let message = "write who sees the companions, `vis = pub(crate)`, once";
            return Err(Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        let span = input.span();
        beside.vis = match input.parse()? {
            Visibility::Inherited => {
                let message =
                    "write a visibility, such as `pub(crate)`, or `pub(self)` for this module alone";
                return Err(Error::new(span, message));
            }
            vis => Some(vis),
        };
        input.parse::<Option<Token![,]>>()?;
    }
    Ok(beside)
}

/// `crate`
pub(super) fn path(input: ParseStream) -> Result<Path> {
    let span = input.span();
    // Generated code uses it as a path to modules and macros, which a type has none of.
    match Path::parse_mod_style(input) {
        Ok(path) if path.segments.iter().all(|segment| segment.ident != "Self") => Ok(path),
        _ => Err(Error::new(
            span,
            "write the path to the runtime without quotes, such as `::my_app::cache_runtime`",
        )),
    }
}

/// An expression, without the invisible brackets that `macro_rules!` puts around what it passes on.
pub(super) fn expr(input: ParseStream) -> Result<Expr> {
    let mut expr: Expr = input.parse()?;
    while let Expr::Group(group) = expr {
        expr = *group.expr;
    }
    Ok(expr)
}
