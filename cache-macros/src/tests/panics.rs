//! No tokens and no text make the macro panic. `tests/fuzz` tries harder.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;

use crate::plan;

/// Well-formed and malformed: what matters is that their tokens meet in new ways.
const SEEDS: [&str; 12] = [
    r#"backend = "redis", ttl = 60, key = "user:{id}", skip(a, self), namespace = "n", version = 1"#,
    r#"ttl = |value, other| value.ttl, capacity = 10_000, max_bytes = "64MiB", cache_if = |v| v > 0"#,
    r#"key = (a, b.c, f(d)[0], format!("{id}")), crate = ::a::b, companions = false, codec = "json""#,
    r#"negative_ttl = -5, ttl = "99999999999999999999d", cache_none = true, cache_err = maybe, stale = "x""#,
    r#"key = "{a.0.1}{{{r#type}}}{", max_bytes = 340282366920938463463374607431768211456, ttl = 5m"#,
    "pub(crate) async fn user(id: u64, mut name: &str) -> Result<User, Error> { load(id).await }",
    "const unsafe extern \"C\" fn f<'a, T: X, const N: usize>(&self, x: &mut T, ...) -> impl Fn(&str) -> &'a str {}",
    "#[inline] fn f((a, b): (u8, u8), S { x, .. }: S, y @ _: [u8; 3], #[cfg(x)] _: dyn Fn()) where u8: Copy { #![a] }",
    "struct S<T>(T);",
    "impl<T> S<T> { fn f(self: Box<Self>) -> for<'a> fn(&'a str) -> &'a str { || {} } }",
    "trait T { fn f(&self); } ! @ # $ % ^ & * = + , ; : :: -> => .. ... ..= < > / | ? ~ ' 'a 'b' \"\\u{0}\"",
    "() [] {} ({[]}) 0 0.0 1e9 0xff 1u8 b'a' b\"b\" c\"c\" r#\"r\"# r#fn fn crate self Self super _ true",
];

/// Random numbers in a fixed sequence, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap_or_default()
    }

    fn stream(&mut self, seeds: &[Vec<TokenTree>]) -> TokenStream {
        let mut tokens = seeds[self.roll(seeds.len())].clone();
        for _ in 0..self.roll(4) {
            let (at, other) = (self.roll(tokens.len()), self.roll(tokens.len()));
            match self.roll(6) {
                _ if tokens.is_empty() => {}
                0 => tokens.truncate(at),
                1 => drop(tokens.remove(at)),
                2 => tokens.swap(at, other),
                3 => tokens.insert(at, tokens[other].clone()),
                4 => {
                    let donor = &seeds[self.roll(seeds.len())];
                    tokens[at] = donor[self.roll(donor.len())].clone();
                }
                _ => {
                    let delimiters =
                        [Delimiter::None, Delimiter::Parenthesis, Delimiter::Brace, Delimiter::Bracket];
                    let inside = tokens.drain(at.min(other)..at.max(other)).collect();
                    let group = Group::new(delimiters[self.roll(4)], inside);
                    tokens.insert(at.min(other), group.into());
                }
            }
        }
        tokens.into_iter().collect()
    }
}

#[test]
fn no_tokens_make_it_panic() {
    let lex = |seed: &str| -> Vec<TokenTree> {
        // A lone quote is no token; the compiler would not pass it on either.
        let tokens: TokenStream = seed.replace(" ' ", " ").parse().expect("seeds are tokens");
        tokens.into_iter().collect()
    };
    let mut seeds: Vec<Vec<TokenTree>> = SEEDS.iter().map(|seed| lex(seed)).collect();
    let inner: Vec<Vec<TokenTree>> = seeds.iter().flatten().filter_map(group).collect();
    seeds.extend(inner);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let attribute = lex(SEEDS[0]);
    let function = lex(SEEDS[5]);
    for round in 0..4_000 {
        let any = dice.stream(&seeds);
        let (args, item) = match round % 3 {
            0 => (any, function.iter().cloned().collect()),
            1 => (attribute.iter().cloned().collect(), any),
            _ => (any, dice.stream(&seeds)),
        };
        let _ = plan(args, item);
    }
}

fn group(token: &TokenTree) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(group) if !group.stream().is_empty() => Some(group.stream().into_iter().collect()),
        _ => None,
    }
}

#[test]
fn no_text_makes_it_panic() {
    let mut dice = Dice(42);
    let letters = [
        "{", "}", "a", "r#", ".", "0", ":", "é", "'", "\"", "\\", " ", "-", "5", "s", "MiB", "_", "\u{0}",
        "{a}",
    ];
    for _ in 0..4_000 {
        let text: String = (0..dice.roll(9)).map(|_| letters[dice.roll(letters.len())]).collect();
        let args = quote! {
            key = #text, ttl = #text, max_bytes = #text, backend = #text, namespace = #text, codec = #text
        };
        let _ = plan(
            args,
            quote!(
                fn user(a: u64) {}
            ),
        );
        let _ = plan(
            quote!(key = #text, backend = #text),
            quote!(
                fn user(a: u64) {}
            ),
        );
    }
}
