//! From the attribute's tokens to [`Args`]: which options exist, each given at most once, every value with its span.
//!
//! Knows nothing of the function. Whether options fit it and each other is for `validate`.

mod foreign;
pub(crate) mod key;
pub(crate) mod period;
pub(crate) mod value;

use proc_macro2::{Span, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitStr, Path, Result, Token, parenthesized, token};

use self::key::Key;
use self::period::{Lifetime, Period};
use self::value::{Beside, Capacity, Codec, SharedRun};
use crate::diagnostic::{Errors, list, nearest};

/// One option as written.
#[derive(Debug, Clone)]
pub(crate) struct Given<T> {
    /// The option's name, for messages about the option.
    pub(crate) name: Ident,
    /// Where the value starts, for messages about the value.
    pub(crate) span: Span,
    pub(crate) value: T,
}

/// Everything written in `#[cached(...)]`.
#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) backend: Option<Given<LitStr>>,
    pub(crate) ttl: Option<Given<Lifetime>>,
    pub(crate) key: Option<Given<Key>>,
    pub(crate) skip: Option<Given<Vec<Ident>>>,
    pub(crate) namespace: Option<Given<LitStr>>,
    pub(crate) version: Option<Given<u32>>,
    pub(crate) capacity: Option<Given<Capacity>>,
    pub(crate) max_bytes: Option<Given<u64>>,
    pub(crate) cache_none: Option<Given<bool>>,
    pub(crate) cache_err: Option<Given<bool>>,
    pub(crate) negative_ttl: Option<Given<Period>>,
    pub(crate) cache_if: Option<Given<Expr>>,
    pub(crate) stale: Option<Given<Period>>,
    pub(crate) on_error: Option<Given<Period>>,
    pub(crate) idle: Option<Given<Period>>,
    pub(crate) early: Option<Given<f64>>,
    pub(crate) jitter: Option<Given<f64>>,
    pub(crate) single_flight: Option<Given<SharedRun>>,
    pub(crate) codec: Option<Given<Codec>>,
    /// `None` means `companions = false`.
    pub(crate) companions: Option<Given<Option<Beside>>>,
    pub(crate) krate: Option<Given<Path>>,
}

/// The options that [`Args::option`] reads, for its messages.
pub(crate) const OPTIONS: [&str; 21] = [
    "backend",
    "ttl",
    "key",
    "skip",
    "namespace",
    "version",
    "capacity",
    "max_bytes",
    "cache_none",
    "cache_err",
    "negative_ttl",
    "cache_if",
    "stale",
    "on_error",
    "idle",
    "early",
    "jitter",
    "single_flight",
    "codec",
    "companions",
    "crate",
];

impl Parse for Args {
    fn parse(input: ParseStream) -> Result<Self> {
        let (mut args, mut errors) = (Args::default(), Errors::default());
        while !input.is_empty() {
            if let Err(error) = args.option(input) {
                errors.add(error);
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        errors.or(args)
    }
}

impl Args {
    /// Reads one option up to its comma.
    fn option(&mut self, input: ParseStream) -> Result<()> {
        let start = input.span();
        let name = input
            .call(Ident::parse_any)
            .map_err(|_| Error::new(start, "expected an option, such as `ttl = 60`"))?;
        let text = name.to_string();
        let option = NamedOption { name, input };
        match text.as_str() {
            "backend" => option.value(&mut self.backend, value::text),
            "ttl" => option.value(&mut self.ttl, period::lifetime),
            "key" => option.value(&mut self.key, key::key),
            "skip" => option.list(&mut self.skip),
            "namespace" => option.value(&mut self.namespace, value::text),
            "version" => option.value(&mut self.version, value::version),
            "capacity" => option.value(&mut self.capacity, value::capacity),
            "max_bytes" => option.value(&mut self.max_bytes, value::bytes),
            "cache_none" => option.value(&mut self.cache_none, value::flag),
            "cache_err" => option.value(&mut self.cache_err, value::flag),
            "negative_ttl" => option.value(&mut self.negative_ttl, period::period),
            "cache_if" => option.value(&mut self.cache_if, value::predicate),
            "stale" => option.value(&mut self.stale, period::window),
            "on_error" => option.value(&mut self.on_error, period::window),
            "idle" => option.value(&mut self.idle, period::window),
            "early" => option.value(&mut self.early, value::eagerness),
            "jitter" => option.value(&mut self.jitter, value::fraction),
            "single_flight" if option.has_list() => option.set_once(&mut self.single_flight, |input| {
                let content;
                parenthesized!(content in input);
                value::shared_run(&content)
            }),
            "single_flight" => {
                option.value(&mut self.single_flight, |input| Ok(value::single_flight(input)?.into()))
            }
            "codec" => option.value(&mut self.codec, value::codec),
            "companions" if option.has_list() => option.set_once(&mut self.companions, |input| {
                let content;
                parenthesized!(content in input);
                value::beside(&content).map(Some)
            }),
            "companions" => option.value(&mut self.companions, value::companions),
            "crate" => option.value(&mut self.krate, value::path),
            _ => Err(option.unknown()),
        }
    }
}

/// An option whose name has been read.
struct NamedOption<'a> {
    name: Ident,
    input: ParseStream<'a>,
}

impl NamedOption<'_> {
    /// `name = value`
    fn value<T>(self, slot: &mut Option<Given<T>>, parse: fn(ParseStream) -> Result<T>) -> Result<()> {
        let Self { name, input } = &self;
        if !input.peek(Token![=]) {
            return Err(Error::new(name.span(), format!("`{name}` needs a value: write `{name} = …`")));
        }
        input.parse::<Token![=]>()?;
        if ends(input) {
            return Err(Error::new(name.span(), format!("`{name}` needs a value after its `=`")));
        }
        self.set_once(slot, parse)
    }

    fn has_list(&self) -> bool {
        self.input.peek(token::Paren)
    }

    /// `name(a, b)`
    fn list(self, slot: &mut Option<Given<Vec<Ident>>>) -> Result<()> {
        let name = &self.name;
        if !self.has_list() {
            return Err(Error::new(
                name.span(),
                format!("`{name}` takes the names of arguments: write `{name}(a, b)`"),
            ));
        }
        self.set_once(slot, |input| {
            let names;
            parenthesized!(names in input);
            let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&names, Ident::parse_any)?;
            Ok(names.into_iter().collect())
        })
    }

    /// Reads the value up to the comma, and keeps it unless the option has a value already.
    fn set_once<T>(self, slot: &mut Option<Given<T>>, parse: fn(ParseStream) -> Result<T>) -> Result<()> {
        let Self { name, input } = self;
        let span = input.span();
        let value = parse(input)?;
        if !ends(input) {
            return Err(Error::new(input.span(), format!("expected a comma after the value of `{name}`")));
        }
        if slot.is_some() {
            let message = format!("`{name}` is given twice in this attribute: keep one of the two");
            return Err(Error::new(name.span(), message));
        }
        *slot = Some(Given { name, span, value });
        Ok(())
    }

    /// Skips the value if it can, so that a comma in a closure doesn't look like the start of the next option.
    fn unknown(self) -> Error {
        let Self { name, input } = self;
        let _ = input.parse::<Token![=]>().and_then(|_| input.parse::<Expr>());
        let text = name.to_string();
        let advice = match (foreign::advice(&text), nearest(&text, OPTIONS)) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => format!("the options are {}", list(OPTIONS)),
        };
        Error::new(name.span(), format!("there is no option `{text}`: {advice}"))
    }
}

fn ends(input: ParseStream) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn skip_to_comma(input: ParseStream) -> Result<()> {
    while !ends(input) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
