//! The path of a function, which is its namespace unless the attribute gives another, and the text in front of keys.

use std::borrow::Cow;

use super::{DIGEST, MAX_TEXT};

/// The path of a function, such as `app::db::user`. Unlike `module_path!`, it includes surrounding functions and impls.
///
/// `marker` is the type name of the companion beside the function, or of a `__Site` inside the function or a sibling. In an
/// async function, the latter is inside the closure that the body becomes.
pub(crate) fn function_path(marker: &str, name: &str) -> String {
    let beside = marker.strip_suffix("::__Site").unwrap_or(marker).trim_end_matches("::{{closure}}");
    match beside.rsplit_once("::") {
        Some((parent, _)) => format!("{parent}::{name}"),
        None => name.to_owned(),
    }
}

/// How and where a function is written. Blocks have no names, so two functions in blocks of one function, or in two
/// `const _`, may have the same path, and each process may call another one of them.
pub(crate) struct Written {
    /// `module_path!()`
    pub(crate) module: &'static str,
    /// Whether it mentions `self` or `Self`, so that it is in an `impl` or a trait.
    pub(crate) is_method: bool,
    /// A digest of its tokens.
    pub(crate) text: u64,
}

impl Written {
    /// Whether the function is inside another one or a block: its path has more segments than the module, the type if it is
    /// a method, and the name. In an `impl` of a trait the path consists of the type and the trait.
    pub(crate) fn may_have_namesakes(&self, path: &str) -> bool {
        if path.starts_with('<') {
            return false;
        }
        let module = self.module.replace("r#", "");
        let Some(within) = path.strip_prefix(&*module).and_then(|rest| rest.strip_prefix("::")) else {
            // In a module inside a function.
            return true;
        };
        let mut depth = 0_usize;
        let separators = within.match_indices(['<', '>', ':']).filter(|(_, found)| {
            match *found {
                "<" => depth += 1,
                ">" => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        });
        separators.count() > if self.is_method { "::".len() } else { 0 }
    }
}

/// The keys of one namespace on a server. All of them begin with `{prefix}{namespace}:{version}:`.
pub(crate) struct KeySpace {
    front: String,
    /// A hash of what `front` alone doesn't tell: where the prefix ends, and the namespace as it was given.
    parts: blake3::Hasher,
}

impl KeySpace {
    pub(crate) fn new(prefix: &str, namespace: &str, version: u32) -> Self {
        let mut parts = blake3::Hasher::new();
        parts.update(&(prefix.len() as u64).to_le_bytes()).update(namespace.as_bytes());
        Self { front: format!("{prefix}{}:{version}:", namespace_in_keys(namespace, prefix)), parts }
    }

    /// The text in front of the keys of one kind: `{prefix}{namespace}:{version}:{kind}:`, where the last part is a hash
    /// of `kind` and of the parts before it. So keys differ whenever their parts do, wherever colons and spaces are.
    pub(crate) fn head(&self, kind: u64) -> String {
        let hash = self.parts.clone().update(&kind.to_le_bytes()).finalize().to_hex();
        format!("{}{}:", self.front, &hash[..KIND])
    }
}

/// The length of a kind in a key.
const KIND: usize = 16;

/// The form of a namespace in keys: only characters that every backend accepts, and short enough for a digest to fit after
/// it and `prefix`. `<A as Trait>::f` has spaces, and type names can be arbitrarily long.
fn namespace_in_keys<'n>(namespace: &'n str, prefix: &str) -> Cow<'n, str> {
    // `:4294967295:`, the kind, `:#`, the digest.
    const BEHIND: usize = 12 + KIND + 2 + DIGEST;
    let room = MAX_TEXT.saturating_sub(BEHIND + prefix.len()).max(64);
    let spaced = match namespace.contains(' ') {
        true => namespace.replace(' ', "~").into(),
        false => Cow::Borrowed(namespace),
    };
    if spaced.len() <= room && spaced.bytes().all(|byte| byte.is_ascii_graphic()) {
        return spaced;
    }
    let digest = blake3::hash(namespace.as_bytes()).to_hex();
    let mut readable: Vec<char> =
        spaced.chars().rev().filter(char::is_ascii_graphic).take(room - 33).collect();
    readable.reverse();
    format!("{}~{}", &digest[..32], String::from_iter(readable)).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_through_functions_and_blocks_are_noticed() {
        let may_have_namesakes = |is_method, (path, module): (&str, &'static str)| {
            Written { module, is_method, text: 0 }.may_have_namesakes(path)
        };
        for function in [("app::get", "app"), ("app::r::type::get", "app::r::r#type")] {
            assert!(!may_have_namesakes(false, function), "{function:?}");
        }
        for function in [
            ("app::outer::get", "app"),
            ("app::_::get", "app"),
            ("app::S::get", "app"),
            ("app::G<_>::f::get", "app"),
            ("app::outer::{{closure}}::get", "app"),
            ("app::outer::inside::get", "app::inside"),
        ] {
            assert!(may_have_namesakes(false, function), "{function:?}");
        }
        for method in [
            ("app::S::get", "app"),
            ("app::db::S::get", "app::db"),
            ("app::G<alloc::vec::Vec<_>>::get", "app"),
            ("app::db::<impl app::S>::get", "app::db"),
            ("<app::db::S as app::Get<u8>>::get", "app"),
        ] {
            assert!(!may_have_namesakes(true, method), "{method:?}");
        }
        for method in [
            ("app::outer::S::get", "app"),
            ("app::outer::G<_>::get", "app"),
            ("app::outer::<impl app::S>::get", "app"),
            ("app::G<_>::f::S::get", "app"),
            ("app::G<fn() -> app::A>::f::S::get", "app"),
        ] {
            assert!(may_have_namesakes(true, method), "{method:?}");
        }
    }

    #[test]
    fn heads_differ_whenever_their_parts_do() {
        let parts =
            [("", "a:b"), ("a:", "b"), ("a:b", ""), ("", "a b"), ("", "a~b"), ("", "a:b:0"), ("a", ":b")];
        let head = |(prefix, namespace), kind| KeySpace::new(prefix, namespace, 0).head(kind);
        let heads: BTreeSet<String> =
            parts.iter().flat_map(|parts| [0, 1].map(|kind| head(*parts, kind))).collect();
        assert_eq!(heads.len(), 2 * parts.len(), "{heads:?}");
    }

    #[test]
    fn namespaces_fit_in_keys() {
        assert_eq!(namespace_in_keys("app::user", "p:"), "app::user");
        assert_eq!(namespace_in_keys("<app::A as app::B>::user", ""), "<app::A~as~app::B>::user");
        let long =
            |name: &str| namespace_in_keys(&format!("{}::{name}", "app".repeat(90)), "p:").into_owned();
        assert!(long("user").ends_with("app::user") && long("user").len() == 175, "{}", long("user"));
        let foreign = ["größe", "grösse", "gre", "gr e"].map(|name| namespace_in_keys(name, "").into_owned());
        assert!(foreign.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_graphic())), "{foreign:?}");
        assert_eq!(foreign.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_ne!(long("a-user"), long("b-user"));
        assert_ne!(namespace_in_keys(&"a".repeat(300), ""), namespace_in_keys(&"a".repeat(301), ""));
    }
}
