//! Where entries live, and which options fit that place.

use syn::LitStr;

use super::Target;
use crate::args::value::{Codec, SharedRun, SingleFlight};
use crate::args::{Args, Given};
use crate::diagnostic::{Errors, nearest};
use crate::func::Func;

const MEMORY: &str = "memory";

/// The backends that have a name of their own, and whether each is compiled in. The list mirrors the runtime's
/// `backend/registry.rs`; a backend on a server has a feature of its name.
pub(crate) const BACKENDS: [(&str, bool); 3] =
    [(MEMORY, true), ("redis", cfg!(feature = "redis")), ("memcached", cfg!(feature = "memcached"))];

pub(super) fn target(args: &Args, func: &Func, errors: &mut Errors) -> Target {
    let backend = args.backend.as_ref().map(|given| &given.value);
    match backend.filter(|backend| backend.value() != MEMORY) {
        Some(backend) => remote(backend, args, func, errors),
        None => in_memory(args, errors),
    }
}

fn in_memory(args: &Args, errors: &mut Errors) -> Target {
    if let Some(codec) = &args.codec {
        errors.on(
            &codec.name,
            "`codec` has no meaning in memory, where values stay as they are: remove it, or name a remote `backend`",
        );
    }
    if let Some(Given { value: SharedRun { mode: SingleFlight::Cluster, .. }, span, .. }) =
        &args.single_flight
    {
        errors.at(*span, "entries in memory belong to one process: remove this, or name a remote `backend`");
    }
    Target::Memory {
        capacity: args.capacity.as_ref().map(|given| given.value.clone()),
        max_bytes: args.max_bytes.as_ref().map(|given| given.value),
    }
}

fn remote(backend: &LitStr, args: &Args, func: &Func, errors: &mut Errors) -> Target {
    let name = backend.value();
    let built_in = BACKENDS.iter().find(|(built_in, _)| *built_in == name);
    if built_in.is_none() {
        alias(backend, &name, errors);
    }
    if let Some((_, false)) = built_in {
        let message =
            format!("this backend is not compiled in: enable the feature `{name}` of cache-runtime");
        errors.on(backend, message);
    } else if func.is_async() && !cfg!(feature = "tokio") {
        let message = "an async function needs an async client: enable the feature `tokio` of cache-runtime";
        errors.on(backend, message);
    }
    let bounds =
        [args.capacity.as_ref().map(|given| &given.name), args.max_bytes.as_ref().map(|given| &given.name)];
    for bound in bounds.into_iter().flatten() {
        let message = format!("`{bound}` bounds the memory backend: remove it, and bound the server instead");
        errors.on(bound, message);
    }
    Target::Remote { backend: backend.clone(), codec: codec(backend, args, errors) }
}

/// Any name that no backend has. Which backend it stands for is known when the program runs.
fn alias(backend: &LitStr, name: &str, errors: &mut Errors) {
    let letters = name.chars().all(|c| c.is_ascii_alphabetic());
    if let (true, Some(meant)) = (letters, nearest(name, BACKENDS.map(|(name, _)| name))) {
        let way_out = "a name of your own has to differ by more than two letters";
        errors.on(backend, format!("there is no backend \"{name}\": did you mean \"{meant}\"? ({way_out})"));
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        errors.on(
            backend,
            "name a backend with letters, digits, `_` and `-`, a letter first, such as \"sessions\": it becomes part of the \
             environment variable `CACHE_<NAME>_URL`",
        );
    }
}

fn codec(backend: &LitStr, args: &Args, errors: &mut Errors) -> Codec {
    let codec = args.codec.as_ref().map_or(Codec::Bincode, |given| given.value);
    if codec.is_compiled_in() {
        return codec;
    }
    let name = codec.name();
    match &args.codec {
        Some(given) => {
            let message = format!("this codec is not compiled in: enable the feature `{name}` of cache-runtime");
            errors.at(given.span, message);
        }
        None => errors.on(
            backend,
            format!(
                "values on a remote backend are stored as {name}, which is not compiled in: enable the feature `{name}` of \
                 cache-runtime, or choose another format with `codec = \"…\"`"
            ),
        ),
    }
    codec
}
