//! What the attribute generates, compared to the files in `expansions/`. The macros in there are the runtime's
//! (`private/template.rs`); their parameters are printed one per line.
//!
//! After a change `EXPANSIONS=overwrite cargo test -p cache-macros --all-features expansions` writes the files anew.
//! Read them before you commit them: are they still as short as they can be?

use std::path::Path;
use std::{env, fs};

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::visit_mut::{self, VisitMut};
use syn::{File, Item, Macro, MacroDelimiter, parse_quote};

use crate::plan;

/// `item` under `#[cached(attribute)]` expands to the text in `expansions/{name}.rs`.
fn pinned(name: &str, attribute: &str, item: &str) {
    let (is_method, tokens) = (item.contains("&self"), |text: &str| text.parse::<TokenStream>().expect(name));
    let plan = plan(tokens(attribute), tokens(item)).expect("this can be cached");
    let expansion = crate::expand::expand(&plan);
    let expansion = if is_method { quote!(impl Users { #expansion }) } else { expansion };
    let expansion = readable(syn::parse2(expansion).expect("an expansion is Rust"));
    let written: String = item.lines().map(|line| format!("//     {line}\n")).collect();
    let expansion =
        format!("// What this becomes:\n//\n//     #[cached({attribute})]\n{written}\n{expansion}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/tests/expansions/{name}.rs"));
    if env::var_os("EXPANSIONS").is_some_and(|value| value == "overwrite") {
        fs::write(&path, &expansion).expect("the file can be written");
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    assert!(pinned == expansion, "{} has changed; this is what it is now:\n{expansion}", path.display());
}

/// Formats generated code. `prettyplease` doesn't format what macros take: here items in a macro are formatted as
/// items, and parameters in braces are printed one per line.
fn readable(mut file: File) -> String {
    let mut insides = Insides::default();
    insides.visit_file_mut(&mut file);
    let mut text = prettyplease::unparse(&file);
    for name in insides.around_items {
        text = text.replace(&format!("mod {name} {{"), &format!("::cache_runtime::private::{name}! {{"));
    }
    let line = |line: &str| {
        let number =
            line.trim_start().strip_prefix(PARAMETERS).and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else { return format!("{line}\n") };
        let indent = &line[..line.len() - line.trim_start().len()];
        insides.parameters[number].iter().map(|parameter| format!("{indent}{parameter},\n")).collect()
    };
    text.lines().map(line).collect()
}

const PARAMETERS: &str = "PARAMETERS_";

#[derive(Default)]
struct Insides {
    around_items: Vec<String>,
    parameters: Vec<Vec<String>>,
}

impl VisitMut for Insides {
    fn visit_item_mut(&mut self, item: &mut Item) {
        if let Item::Macro(macro_) = item
            && let Ok(File { items, .. }) = syn::parse2(macro_.mac.tokens.clone())
            && let Some(name) = macro_.mac.path.segments.last().map(|last| last.ident.clone())
        {
            *item = parse_quote!(mod #name { #(#items)* });
            self.around_items.push(name.to_string());
        }
        visit_mut::visit_item_mut(self, item);
    }

    fn visit_macro_mut(&mut self, mac: &mut Macro) {
        if let MacroDelimiter::Brace(_) = mac.delimiter {
            let placeholder = format_ident!("{PARAMETERS}{}", self.parameters.len());
            self.parameters.push(parameters(mac.tokens.clone()));
            mac.tokens = quote!(#placeholder);
        }
    }
}

/// Splits at each comma that is followed by a name and a colon. Commas in types aren't.
fn parameters(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, mark: char| {
        let punct = tokens.get(at).and_then(|token| match token {
            TokenTree::Punct(punct) => Some(punct),
            _ => None,
        });
        punct.is_some_and(|punct| punct.as_char() == mark && punct.spacing() == Spacing::Alone)
    };
    let mut parameters = vec![TokenStream::new()];
    for (at, token) in tokens.iter().enumerate() {
        if is(at, ',') && (is(at + 2, ':') || at + 1 == tokens.len()) {
            parameters.push(TokenStream::new());
        } else if let Some(last) = parameters.last_mut() {
            last.extend([token.clone()]);
        }
    }
    parameters.into_iter().filter(|tokens| !tokens.is_empty()).map(tidy).collect()
}

/// Tokens with about as many spaces as people write.
fn tidy(tokens: TokenStream) -> String {
    let tight = [
        (": :: ", ": ::"),
        ("= :: ", "= ::"),
        ("{ :: ", "{ ::"),
        ("{ . ", "{ ."),
        ("{ < ", "{ <"),
        (" :: ", "::"),
        ("<:: ", "<::"),
        (" . ", "."),
        (" ,", ","),
        (" ;", ";"),
        (" :", ":"),
        (":::", ": ::"),
        ("& ", "&"),
        ("* ", "*"),
        (" < ", "<"),
        (" >", ">"),
        (" (", "("),
        (" !", "!"),
        ("# ", "#"),
        ("(:: ", "(::"),
        ("=::", "= ::"),
        ("{::", "{ ::"),
        ("as::", "as ::"),
        ("part:<", "part: <"),
        ("<< ", "<<"),
    ];
    tight.iter().fold(tokens.to_string(), |text, (loose, tight)| text.replace(loose, tight))
}

#[test]
fn blocking_function_without_companions() {
    pinned(
        "blocking_function_without_companions",
        "ttl = 60, companions = false",
        "pub fn user(id: u64, name: &str) -> Option<User> {\n    find(id)?.called(name)\n}",
    );
}

#[test]
fn free_function() {
    pinned(
        "free_function",
        "cache_err = true, negative_ttl = 5",
        "/// Loads a user.\n#[tracing::instrument]\npub fn user(id: u64) -> io::Result<User> {\n    load(id)\n}",
    );
}

#[cfg(all(feature = "redis", feature = "tokio", feature = "bincode"))]
#[test]
fn async_method_on_redis() {
    pinned(
        "async_method_on_redis",
        r#"backend = "redis", ttl = "5m", key = "{self.tenant}:{id}""#,
        "async fn user(&self, id: u64) -> Result<User, Error> {\n    self.db.load(id).await\n}",
    );
}
