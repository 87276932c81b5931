//! Cases made of other cases, in a sequence that a number decides, so that a failure can be repeated.

use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::{Case, DEEPEST};

/// Steps of a fixed sequence.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Another number, another sequence.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap_or_default()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())].clone()
    }
}

/// What cases are made of.
#[derive(Debug)]
pub struct Mutations {
    seeds: Vec<Case>,
    /// Every token of the seeds that stands in an attribute, and in an item outside of bodies.
    attributes: Vec<TokenTree>,
    items: Vec<TokenTree>,
}

impl Mutations {
    /// Made of these.
    #[must_use]
    pub fn of(seeds: Vec<Case>) -> Self {
        let (mut attributes, mut items) = (Vec::new(), Vec::new());
        for seed in &seeds {
            every_token(seed.attribute.clone(), &mut attributes);
            every_token(seed.item.clone(), &mut items);
        }
        Self { seeds, attributes, items }
    }

    /// The next case: a seed, or one's attribute on another's item, with some slips in one or both.
    pub fn next(&self, dice: &mut Dice) -> Case {
        let Case { attribute, mut item } = dice.one_of(&self.seeds);
        if dice.roll(2) == 0 {
            item = dice.one_of(&self.seeds).item;
        }
        match dice.roll(4) {
            0 => Case { attribute: self.slips(attribute, &self.attributes, dice), item },
            1 => Case { attribute, item: self.slips(item, &self.items, dice) },
            2 => {
                // Both at once, and now and then each in the other's place.
                let (attribute, item) =
                    if dice.roll(16) == 0 { (item, attribute) } else { (attribute, item) };
                let attribute = self.slips(attribute, &self.attributes, dice);
                Case { attribute, item: self.slips(item, &self.items, dice) }
            }
            _ => {
                let case = Case { attribute, item };
                // Letters rather than tokens: other literals, other names.
                Case::of_text(&misspelt(&case.text(), dice)).unwrap_or(case)
            }
        }
    }

    fn slips(&self, mut tokens: TokenStream, donors: &[TokenTree], dice: &mut Dice) -> TokenStream {
        for _ in 0..=dice.roll(4) {
            tokens = slip(tokens, donors, dice);
        }
        tokens
    }
}

/// One change, somewhere at any depth.
fn slip(tokens: TokenStream, donors: &[TokenTree], dice: &mut Dice) -> TokenStream {
    let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (at, other) = (dice.roll(tokens.len()), dice.roll(tokens.len()));
    if let Some(TokenTree::Group(group)) = tokens.get(at)
        && dice.roll(3) > 0
    {
        let inside = Group::new(group.delimiter(), slip(group.stream(), donors, dice));
        tokens[at] = inside.into();
        return tokens.into_iter().collect();
    }
    if dice.roll(200) == 0 {
        return far_too_much(tokens, at, dice);
    }
    match dice.roll(10) {
        0 => tokens.insert(at, dice.one_of(donors)),
        _ if tokens.is_empty() => tokens.push(odd(dice)),
        1 | 2 => tokens[at] = dice.one_of(donors),
        3 => tokens[at] = odd(dice),
        4 => tokens.truncate(at),
        5 => drop(tokens.remove(at)),
        6 => tokens.swap(at, other),
        7 => tokens.insert(at, tokens[other].clone()),
        8 => {
            let again: Vec<TokenTree> = tokens[at.min(other)..at.max(other)].to_vec();
            tokens.splice(at..at, again);
        }
        _ => {
            let delimiters = [Delimiter::None, Delimiter::Parenthesis, Delimiter::Brace, Delimiter::Bracket];
            let inside = tokens.drain(at.min(other)..at.max(other)).collect();
            tokens.insert(at.min(other), Group::new(dice.one_of(&delimiters), inside).into());
        }
    }
    tokens.into_iter().collect()
}

/// More of one token than anybody writes: in brackets within brackets, or in a row.
fn far_too_much(mut tokens: Vec<TokenTree>, at: usize, dice: &mut Dice) -> TokenStream {
    let times = dice.one_of(&[20, DEEPEST]);
    let token = tokens.get(at).cloned().unwrap_or_else(|| odd(dice));
    if dice.roll(2) == 0 {
        let again = std::iter::repeat_n(token, times);
        tokens.splice(at.min(tokens.len())..at.min(tokens.len()), again);
        return tokens.into_iter().collect();
    }
    let delimiter =
        dice.one_of(&[Delimiter::None, Delimiter::Parenthesis, Delimiter::Brace, Delimiter::Bracket]);
    let nested = (0..times).fold(token, |inside, _| Group::new(delimiter, TokenStream::from(inside)).into());
    tokens.insert(at.min(tokens.len()), nested);
    tokens.into_iter().collect()
}

/// A token that the seeds may not have.
fn odd(dice: &mut Dice) -> TokenTree {
    const NAMES: &[&str] = &[
        "self", "Self", "_", "fn", "mut", "ref", "async", "unsafe", "const", "dyn", "impl", "where", "for",
        "in", "crate", "super", "pub", "static", "extern", "é", "__key", "value", "move", "gen",
    ];
    const MARKS: &[char] = &[
        '&', '*', '+', ',', '-', '.', '/', ':', ';', '<', '=', '>', '?', '@', '!', '#', '$', '%', '^', '|',
        '~', '\'',
    ];
    match dice.roll(4) {
        0 => Ident::new(dice.one_of(NAMES), Span::call_site()).into(),
        1 => {
            let mark = dice.one_of(MARKS);
            // A quote is a lifetime's, and followed by its name: alone it is no token.
            let spacing = dice.one_of(&[Spacing::Alone, Spacing::Joint]);
            Punct::new(if mark == '\'' { '&' } else { mark }, spacing).into()
        }
        2 => {
            let texts: &[&str] =
                &["{", "{}", "{a}{b}", "{self.id}:{id}", "{r#fn}", "{0}", "{{", "\0", "5m", "\u{e9}{\u{e9}}"];
            Literal::string(dice.one_of(texts)).into()
        }
        _ => match dice.roll(5) {
            0 => Literal::u128_unsuffixed(u128::MAX).into(),
            1 => Literal::f64_unsuffixed(f64::MAX).into(),
            2 => Literal::byte_string(b"\xff").into(),
            3 => Literal::character('{').into(),
            _ => Literal::u64_suffixed(0).into(),
        },
    }
}

/// Up to four letters added, lost or replaced.
fn misspelt(text: &str, dice: &mut Dice) -> String {
    const LETTERS: &[&str] = &[
        "{", "}", "(", ")", "<", ">", "a", "_", "r#", ".", "0", "9", "e", ":", "::", "'", "'a ", "\"", "\\",
        " ", "-", "=", ",", "&", "\n", "é", "self", "|x|",
    ];
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(letters.len());
        match dice.roll(3) {
            _ if letters.is_empty() => {}
            0 => drop(letters.remove(at)),
            1 => drop(letters.splice(at..at, dice.one_of(LETTERS).chars())),
            _ => drop(letters.splice(at..=at, dice.one_of(LETTERS).chars())),
        }
    }
    letters.into_iter().collect()
}

fn every_token(tokens: TokenStream, all: &mut Vec<TokenTree>) {
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            every_token(group.stream(), all);
        }
        all.push(token);
    }
}
