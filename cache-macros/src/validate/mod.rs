//! Every rule and its message: from [`Args`] and [`Func`] to a [`Plan`], in which nothing is left to decide.
//!
//! A broken rule is recorded and checking continues, so that one compilation shows all of them. Knows nothing of the
//! code that will be generated.

pub(crate) mod backend;
pub(crate) mod background;
mod key;
mod names;
pub(crate) mod signature;

use syn::{Expr, Ident, LitStr, Path, Result, Visibility, parse_quote};

use crate::args::key::Segment;
use crate::args::period::{Lifetime, Period};
use crate::args::value::{Capacity, Codec, SharedRun, SingleFlight};
use crate::args::{Args, Given};
use crate::diagnostic::Errors;
use crate::func::Func;

/// A function that can be cached, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) func: Func,
    pub(crate) target: Target,
    pub(crate) key: KeyPlan,
    /// `None` means no expiry.
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) negative: Negative,
    /// A closure or the path of a function, of type `|value| bool`.
    pub(crate) cache_if: Option<Expr>,
    pub(crate) freshness: Freshness,
    /// Which calls with the same key share a run.
    pub(crate) single_flight: SingleFlight,
    /// How long a call waits for another call's run; `None` means as long as it takes.
    pub(crate) wait: Option<Period>,
    /// The name of `detach`, where it is `true`: runs go on when their callers give up.
    pub(crate) detach: Option<Ident>,
    /// Whether the background takes copies of the arguments, to run the body.
    pub(crate) keeps_arguments: bool,
    /// `None` means crate, module path and name.
    pub(crate) namespace: Option<LitStr>,
    pub(crate) version: u32,
    pub(crate) companions: Companions,
    /// Who sees them, if not those who see the function.
    pub(crate) companions_vis: Option<Visibility>,
    /// Its tokens say that it is in an `impl` or a trait.
    pub(crate) is_method: bool,
    /// The path to the runtime crate.
    pub(crate) krate: Path,
}

/// Where entries live.
#[derive(Debug)]
pub(crate) enum Target {
    /// In this process, typed. `None` leaves a bound to the runtime's defaults.
    Memory { capacity: Option<Capacity>, max_bytes: Option<u64> },
    /// On a server, encoded: `"redis"`, `"memcached"` or an alias.
    Remote { backend: LitStr, codec: Codec },
}

/// What identifies a call.
#[derive(Debug)]
pub(crate) struct KeyPlan {
    pub(crate) source: KeySource,
    /// The arguments that the key reads, as ascending indices into `func.params`. Companions take just these.
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
    /// `None` means as long as any other value. It is never `None` if each value decides its lifetime and `none` or
    /// `err` is set.
    pub(crate) lifetime: Option<Period>,
}

/// What happens around the end of a lifetime.
#[derive(Debug)]
pub(crate) struct Freshness {
    pub(crate) stale: Option<Period>,
    pub(crate) on_error: Option<Period>,
    pub(crate) idle: Option<Period>,
    /// XFetch's β.
    pub(crate) early: Option<f64>,
    /// From 0 to 1.
    pub(crate) jitter: Option<f64>,
}

impl Freshness {
    /// Whether values are renewed while the old ones are served.
    pub(crate) fn renews(&self) -> bool {
        self.stale.is_some() || self.early.is_some()
    }
}

/// The functions beside the cached one.
#[derive(Debug)]
pub(crate) enum Companions {
    Off,
    /// A struct of this name, with methods such as `peek`.
    Struct(Ident),
    /// Siblings such as `name_peek`, because the function stands in an `impl`.
    Siblings(Ident),
}

pub(crate) fn validate(args: Args, mut func: Func) -> Result<Plan> {
    let mut errors = Errors::default();
    signature::arguments(&func, &mut errors);
    signature::returned(&func, &mut errors);
    let target = backend::target(&args, &func, &mut errors);
    let key = key::plan(args.key.as_ref(), args.skip.as_ref(), &func, &mut errors);
    let negative = negative(&args, &mut errors);
    namespace(&args, &mut errors);
    idle(&args, &target, &mut errors);
    let is_method = func.receiver.is_some() || signature::names_self(&func);
    let companions = companions(&args, &func, is_method);
    names::taken(&companions, &func, &mut errors);
    if !matches!(companions, Companions::Off) {
        let reads_by_name = matches!(key.source, KeySource::Exprs(_));
        func.hide_names(|index| reads_by_name && key.reads.contains(&index));
    }
    let SharedRun { mode, wait, detach } = args.single_flight.map(|given| given.value).unwrap_or_default();
    let can_keep = background::can_keep(&func, &companions);
    detach.iter().for_each(|detach| background::detach(detach, &func, can_keep, &mut errors));
    if let (Some(on_error), Some(_)) = (&args.on_error, &negative.err) {
        errors.on(&on_error.name, "an `Err` that is stored is no failure: remove `on_error` or `cache_err`");
    }
    let freshness = Freshness {
        stale: args.stale.map(|given| given.value),
        on_error: args.on_error.map(|given| given.value),
        idle: args.idle.map(|given| given.value),
        early: args.early.map(|given| given.value),
        jitter: args.jitter.map(|given| given.value),
    };
    errors.or(Plan {
        target,
        key,
        lifetime: args.ttl.map(|given| given.value),
        negative,
        cache_if: args.cache_if.map(|given| given.value),
        keeps_arguments: can_keep && (freshness.renews() || detach.is_some()),
        freshness,
        single_flight: mode,
        wait,
        detach,
        namespace: args.namespace.map(|given| given.value),
        version: args.version.map_or(0, |given| given.value),
        is_method: is_method || matches!(companions, Companions::Siblings(_)),
        companions,
        companions_vis: args.companions.and_then(|given| given.value?.vis),
        krate: args.krate.map_or_else(|| parse_quote!(::cache_runtime), |given| given.value),
        func,
    })
}

/// An `impl` can't declare a struct, and a macro knows that it is in one only if the function says so.
fn companions(args: &Args, func: &Func, is_method: bool) -> Companions {
    let given = match args.companions.as_ref().map(|given| &given.value) {
        Some(None) => return Companions::Off,
        Some(Some(beside)) => beside.name.as_ref(),
        None => None,
    };
    let asked = given.is_some_and(|name| name == "Self");
    let name = given.filter(|_| !asked).unwrap_or(&func.sig.ident);
    if asked || is_method { Companions::Siblings(name.clone()) } else { Companions::Struct(name.clone()) }
}

/// A life that reads lengthen has no end around which anything could be decided.
fn idle(args: &Args, target: &Target, errors: &mut Errors) {
    let Some(idle) = &args.idle else { return };
    if matches!(target, Target::Remote { .. }) {
        errors.on(
            &idle.name,
            "reads lengthen lives in memory only, because on a server each would be a write: remove `idle`, or `backend`",
        );
    }
    let others = [
        args.stale.as_ref().map(|given| &given.name),
        args.on_error.as_ref().map(|given| &given.name),
        args.early.as_ref().map(|given| &given.name),
    ];
    for other in others.into_iter().flatten() {
        errors.on(other, format!("nothing is left of an idle value: remove `{other}` or `idle`"));
    }
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
                "the closure of `ttl` has no value to look at for `None` and `Err`: add `negative_ttl = 5`, or remove `{option}`"
            ),
        ),
        _ => {}
    }
    Negative { none, err, lifetime: args.negative_ttl.as_ref().map(|given| given.value.clone()) }
}
