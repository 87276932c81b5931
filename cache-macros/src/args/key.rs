//! The value of `key = …`: a template, taken apart, or expressions.
//!
//! Knows how a key is spelled, and which templates would give two calls the same key. Doesn't know which names exist.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse as _, ParseStream};
use syn::{Error, Expr, ExprLit, Ident, Index, Lit, LitStr, Member, Result};

use super::value;

/// What identifies a call.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    /// `"user:{id}"`
    Template(Vec<Segment>),
    /// `(a, b.c)`, or a single expression.
    Exprs(Vec<Expr>),
}

/// One part of a key template.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    /// Literal text, `{{` and `}}` already unescaped; never empty.
    Text(String),
    /// `{name}` or `{name.field.0}`.
    Field(FieldPath),
}

/// An argument, or a field in it. As tokens: `root.member.0`.
#[derive(Debug, Clone)]
pub(crate) struct FieldPath {
    pub(crate) root: Ident,
    pub(crate) members: Vec<Member>,
}

impl ToTokens for FieldPath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { root, members } = self;
        tokens.extend(quote_spanned!(root.span()=> #root #(.#members)*));
    }
}

/// The value of `key = …`.
pub(crate) fn key(input: ParseStream) -> Result<Key> {
    match value::expr(input)? {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => template(&text).map(Key::Template),
        Expr::Tuple(tuple) => Ok(Key::Exprs(tuple.elems.into_iter().collect())),
        written @ (Expr::Lit(_) | Expr::Closure(_)) => Err(Error::new_spanned(
            written,
            "write what identifies a call: a template such as \"user:{id}\", an expression of the arguments, \
             or several as `(a, b.c)`",
        )),
        one => Ok(Key::Exprs(vec![one])),
    }
}

fn template(literal: &LitStr) -> Result<Vec<Segment>> {
    let fail = |message: &str| Err(Error::new(literal.span(), message));
    let (text, mut plain, mut segments) = (literal.value(), String::new(), Vec::new());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{") {
            plain.push('{');
            rest = after;
        } else if let Some(after) = brace.strip_prefix("}}") {
            plain.push('}');
            rest = after;
        } else if let Some(after) = brace.strip_prefix('{') {
            let Some((field, after)) = after.split_once('}') else {
                return fail(
                    "`{` is never closed: write `{name}` for an argument, `{{` for the brace itself",
                );
            };
            if !plain.is_empty() {
                segments.push(Segment::Text(std::mem::take(&mut plain)));
            }
            segments.push(Segment::Field(field_path(field, literal.span())?));
            rest = after;
        } else {
            return fail("`}` closes nothing: write `}}` for the brace itself");
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        segments.push(Segment::Text(plain));
    }
    separated(&segments, literal.span()).map(|()| segments)
}

/// What stands between `{` and `}`.
fn field_path(field: &str, span: Span) -> Result<FieldPath> {
    let fail = |message: String| Error::new(span, message);
    if field.is_empty() {
        return Err(fail("`{}` names no argument: write `{name}`".to_owned()));
    }
    if let Some((name, _)) = field.split_once(':') {
        let message = format!("a key takes no formats: write `{{{name}}}` instead of `{{{field}}}`");
        return Err(fail(message));
    }
    let unreadable = || {
        fail(format!("`{{{field}}}` is not an argument: write `{{name}}`, `{{name.field}}` or `{{name.0}}`"))
    };
    let mut names = field.split('.');
    // Any identifier, because `self` is a keyword. `validate` knows which names exist.
    let root = names.next().and_then(|name| ident(name, span, Ident::parse_any)).ok_or_else(unreadable)?;
    let members = names.map(|name| match name.parse() {
        Ok(index) => Some(Member::Unnamed(Index { index, span })),
        Err(_) => ident(name, span, Ident::parse).map(Member::Named),
    });
    Ok(FieldPath { root, members: members.collect::<Option<_>>().ok_or_else(unreadable)? })
}

/// Checks the letters first, because the compiler's lexer would report an error of its own.
fn ident(name: &str, span: Span, parse: fn(ParseStream) -> Result<Ident>) -> Option<Ident> {
    let bare = name.strip_prefix("r#").unwrap_or(name);
    if bare.is_empty() || !bare.chars().all(|c| c == '_' || c.is_alphanumeric()) {
        return None;
    }
    LitStr::new(name, span).parse_with(parse).ok()
}

/// Checks that the text between two fields separates them. The runtime writes fields in letters, digits, `_`, `-`,
/// `.`, `~` and `%`, so any other character does. Without one, `{a}{b}` would be the same for 1, 23 and 12, 3.
fn separated(segments: &[Segment], span: Span) -> Result<()> {
    let separates = |c: char| !(c.is_alphanumeric() || "_-.~%".contains(c));
    let mut open: Option<&FieldPath> = None;
    for segment in segments {
        match (segment, open) {
            (Segment::Text(text), _) if text.contains(separates) => open = None,
            (Segment::Text(_), _) => {}
            (Segment::Field(next), None) => open = Some(next),
            (Segment::Field(next), Some(last)) => {
                let (last, next) = (name(last), name(next));
                let message = format!(
                    "`{{{last}}}` and `{{{next}}}` run together: put a separator such as `:` or `/` between \
                     them"
                );
                return Err(Error::new(span, message));
            }
        }
    }
    Ok(())
}

fn name(path: &FieldPath) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}
