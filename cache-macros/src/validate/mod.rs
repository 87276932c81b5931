//! Every rule and every message: [`Args`] and [`Func`] -> [`Plan`], in which nothing is left to decide.
//!
//! A broken rule is recorded and the function that found it carries on, so that one compilation shows
//! all of them. Knows nothing of the code that will be generated.

mod key;
mod signature;

use syn::{Expr, Ident, LitStr, Path, Result, parse_quote};

use crate::args::key::Segment;
use crate::args::value::{Codec, Lifetime, Period, SingleFlight};
use crate::args::{Args, Given};
use crate::diagnostic::{Errors, nearest};
use crate::func::Func;

/// A cached function that is fit to be generated.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) func: Func,
    pub(crate) target: Target,
    pub(crate) key: KeyPlan,
    /// `None`: no expiry.
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) negative: Negative,
    /// A closure or the path of a function: `|value| bool`.
    pub(crate) cache_if: Option<Expr>,
    pub(crate) freshness: Freshness,
    /// Which calls of a key share a run.
    pub(crate) single_flight: SingleFlight,
    /// How long a call waits for another's run; `None`: as long as it takes.
    pub(crate) wait: Option<Period>,
    /// `None`: from crate, module path and name.
    pub(crate) namespace: Option<LitStr>,
    pub(crate) version: u32,
    pub(crate) companions: Companions,
    /// What is written says that it stands in an `impl` or a trait.
    pub(crate) is_method: bool,
    /// The path to the runtime crate.
    pub(crate) krate: Path,
}

/// Where entries live.
#[derive(Debug)]
pub(crate) enum Target {
    /// In this process, typed; `None` bounds are the runtime's to default.
    Memory { capacity: Option<u64>, max_bytes: Option<u64> },
    /// On a server, encoded: `"redis"`, `"memcached"` or an alias.
    Remote { backend: LitStr, codec: Codec },
}

/// What identifies a call.
#[derive(Debug)]
pub(crate) struct KeyPlan {
    pub(crate) source: KeySource,
    /// Indices into `func.params` of the arguments that the key reads, ascending; companions take just these.
    pub(crate) reads: Vec<usize>,
    /// Whether it reads `self` too.
    pub(crate) reads_self: bool,
}

/// What the key is made of.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// The arguments in `reads`.
    Args,
    Template(Vec<Segment>),
    Exprs(Vec<Expr>),
}

/// Whether `None` and `Err` are stored, and for how long.
#[derive(Debug)]
pub(crate) struct Negative {
    /// The name of `cache_none`, where it is `true`.
    pub(crate) none: Option<Ident>,
    /// The name of `cache_err`, where it is `true`.
    pub(crate) err: Option<Ident>,
    /// `None`: as long as any other value. Never `None` beside a lifetime per value if `none` or `err` is set.
    pub(crate) lifetime: Option<Period>,
}

/// What happens around the end of a lifetime.
#[derive(Debug)]
pub(crate) struct Freshness {
    pub(crate) stale: Option<Period>,
    /// XFetch's β.
    pub(crate) early: Option<f64>,
    /// From 0 to 1.
    pub(crate) jitter: Option<f64>,
}

impl Freshness {
    /// Whether values are renewed while the old one is served.
    pub(crate) fn renews(&self) -> bool {
        self.stale.is_some() || self.early.is_some()
    }
}

/// What stands beside the function.
#[derive(Debug)]
pub(crate) enum Companions {
    Off,
    /// A struct of this name, with methods such as `peek`.
    Struct(Ident),
    /// Siblings such as `name_peek`, because the function stands in an `impl`.
    Siblings(Ident),
}

pub(crate) fn validate(args: Args, func: Func) -> Result<Plan> {
    let mut errors = Errors::default();
    signature::arguments(&func, &mut errors);
    signature::returned(&func, &mut errors);
    let target = target(&args, &func, &mut errors);
    let key = key::plan(args.key.as_ref(), args.skip.as_ref(), &func, &mut errors);
    let negative = negative(&args, &mut errors);
    namespace(&args, &mut errors);
    let is_method = func.receiver.is_some() || signature::names_self(&func);
    let companions = companions(&args, &func, is_method);
    let (single_flight, wait) = args.single_flight.map_or((SingleFlight::Process, None), |given| given.value);
    errors.or(Plan {
        target,
        key,
        lifetime: args.ttl.map(|given| given.value),
        negative,
        cache_if: args.cache_if.map(|given| given.value),
        freshness: Freshness {
            stale: args.stale.map(|given| given.value),
            early: args.early.map(|given| given.value),
            jitter: args.jitter.map(|given| given.value),
        },
        single_flight,
        wait,
        namespace: args.namespace.map(|given| given.value),
        version: args.version.map_or(0, |given| given.value),
        is_method: is_method || matches!(companions, Companions::Siblings(_)),
        companions,
        krate: args.krate.map_or_else(|| parse_quote!(::cache_runtime), |given| given.value),
        func,
    })
}

/// In an `impl` no struct can be declared, and only what the signature says tells that this is one.
fn companions(args: &Args, func: &Func, is_method: bool) -> Companions {
    let given = args.companions.as_ref().map(|given| &given.value);
    let asked = matches!(given, Some(Some(name)) if name == "Self");
    let name = match given {
        Some(None) => return Companions::Off,
        Some(Some(name)) if !asked => name,
        _ => &func.sig.ident,
    };
    match asked || is_method {
        true => Companions::Siblings(name.clone()),
        false => Companions::Struct(name.clone()),
    }
}

const MEMORY: &str = "memory";
const BUILT_IN: [&str; 3] = [MEMORY, "redis", "memcached"];

fn target(args: &Args, func: &Func, errors: &mut Errors) -> Target {
    let backend = args.backend.as_ref().map(|given| &given.value);
    match backend.filter(|backend| backend.value() != MEMORY) {
        Some(backend) => remote(backend, args, func, errors),
        None => {
            if let Some(codec) = &args.codec {
                errors.on(
                    &codec.name,
                    "`codec` has no meaning in memory, where values stay as they are: remove it, or name a \
                     remote `backend`",
                );
            }
            if let Some(Given { value: (SingleFlight::Cluster, _), span, .. }) = &args.single_flight {
                errors.at(
                    *span,
                    "entries in memory belong to one process: remove this, or name a remote `backend`",
                );
            }
            Target::Memory {
                capacity: args.capacity.as_ref().map(|given| given.value),
                max_bytes: args.max_bytes.as_ref().map(|given| given.value),
            }
        }
    }
}

fn remote(backend: &LitStr, args: &Args, func: &Func, errors: &mut Errors) -> Target {
    let name = backend.value();
    let compiled_in = match name.as_str() {
        "redis" => cfg!(feature = "redis"),
        "memcached" => cfg!(feature = "memcached"),
        _ => alias(backend, &name, errors),
    };
    if !compiled_in {
        errors.on(
            backend,
            format!("this backend is not compiled in: enable the feature `{name}` of cache-runtime"),
        );
    } else if func.is_async() && !cfg!(feature = "tokio") {
        let message = "an async function needs an async client: enable the feature `tokio` of cache-runtime";
        errors.on(backend, message);
    }
    for bound in [&args.capacity, &args.max_bytes].into_iter().flatten() {
        let message =
            format!("`{}` bounds the memory backend: remove it, and bound the server instead", bound.name);
        errors.on(&bound.name, message);
    }
    Target::Remote { backend: backend.clone(), codec: codec(backend, args, errors) }
}

/// Any name but a built-in one. Says "compiled in", because an alias may stand for every backend there is.
fn alias(backend: &LitStr, name: &str, errors: &mut Errors) -> bool {
    let letters = name.chars().all(|c| c.is_ascii_alphabetic());
    if let (true, Some(meant)) = (letters, nearest(name, BUILT_IN)) {
        let way_out = "a name of your own has to differ by more than two letters";
        errors.on(backend, format!("there is no backend \"{name}\": did you mean \"{meant}\"? ({way_out})"));
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        errors.on(
            backend,
            "name a backend with letters, digits, `_` and `-`, a letter first, such as \"sessions\": it becomes \
             part of the environment variable `CACHE_<NAME>_URL`",
        );
    }
    true
}

fn codec(backend: &LitStr, args: &Args, errors: &mut Errors) -> Codec {
    let codec = args.codec.as_ref().map_or(Codec::Bincode, |given| given.value);
    if !codec.compiled_in() {
        let name = codec.name();
        match &args.codec {
            Some(given) => {
                let message = "this codec is not compiled in: enable the feature";
                errors.at(given.span, format!("{message} `{name}` of cache-runtime"));
            }
            None => errors.on(
                backend,
                format!(
                    "values on a remote backend are stored as {name}, which is not compiled in: enable the \
                     feature `{name}` of cache-runtime, or choose another format with `codec = \"…\"`"
                ),
            ),
        }
    }
    codec
}

fn namespace(args: &Args, errors: &mut Errors) {
    let Some(Given { value: namespace, .. }) = &args.namespace else { return };
    let text = namespace.value();
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
        errors.on(
            namespace,
            "a namespace is part of keys on the server: write ASCII letters, digits or punctuation, without \
             spaces",
        );
    }
}

fn negative(args: &Args, errors: &mut Errors) -> Negative {
    let on = |given: &Option<Given<bool>>| {
        given.as_ref().filter(|given| given.value).map(|given| given.name.clone())
    };
    let (none, err) = (on(&args.cache_none), on(&args.cache_err));
    let per_value = args.ttl.as_ref().is_some_and(|given| matches!(given.value, Lifetime::PerValue(_)));
    match (&args.negative_ttl, none.as_ref().or(err.as_ref())) {
        (Some(lifetime), None) => errors.on(
            &lifetime.name,
            "neither `None` nor `Err` is stored: add `cache_none = true` or `cache_err = true`, or remove \
             `negative_ttl`",
        ),
        (None, Some(option)) if per_value => errors.on(
            option,
            format!(
                "the closure of `ttl` has no value to look at: add `negative_ttl = 5`, or remove `{option}`"
            ),
        ),
        _ => {}
    }
    Negative { none, err, lifetime: args.negative_ttl.as_ref().map(|given| given.value.clone()) }
}
