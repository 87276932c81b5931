//! Which arguments identify a call, and whether they can be part of a key.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::{self, Visit};
use syn::{Expr, Ident, Type, TypeImplTrait, TypeParamBound};

use super::{KeyPlan, KeySource};
use crate::args::Given;
use crate::args::key::{Key, Segment};
use crate::diagnostic::{Errors, list, nearest};
use crate::func::{Func, Param};

pub(super) fn plan(
    key: Option<&Given<Key>>,
    skip: Option<&Given<Vec<Ident>>>,
    func: &Func,
    errors: &mut Errors,
) -> KeyPlan {
    let params = Params { named: &func.params, has_self: func.receiver.is_some() };
    if let (Some(_), Some(skip)) = (key, skip) {
        errors.on(&skip.name, "`key` already decides which arguments count: remove `skip`, or `key`");
    }
    let plan = match key {
        None => all_but(skip.map_or(&[], |given| &given.value), params, errors),
        Some(given) => just(given, params, errors),
    };
    if let (Some(receiver), true, None) = (&func.receiver, plan.reads_self, key) {
        errors.on(
            receiver,
            "does `self` identify a call? write `skip(self)` if it doesn't, or `key = (…)` with what does, such as `self.id` or \
             all of `self`",
        );
    }
    for param in plan.reads.iter().filter_map(|index| func.params.get(*index)) {
        identifies(param, &plan.source, errors);
    }
    let is_unread = |(index, _): &(usize, &Param)| !plan.reads.contains(index);
    for (_, param) in func.params.iter().enumerate().filter(is_unread) {
        Unread { errors }.visit_type(&param.ty);
    }
    plan
}

/// What a key may name.
#[derive(Clone, Copy)]
struct Params<'f> {
    named: &'f [Param],
    has_self: bool,
}

impl<'f> Params<'f> {
    fn names(self) -> impl Iterator<Item = String> + use<'f> {
        let this = self.has_self.then(|| "self".to_owned());
        self.named.iter().flat_map(|param| &param.bindings).map(Ident::to_string).chain(this)
    }

    fn which(self, is_read: impl Fn(&Param) -> bool) -> Vec<usize> {
        self.named.iter().enumerate().filter(|(_, param)| is_read(param)).map(|(index, _)| index).collect()
    }
}

/// Without `key`: every argument that isn't skipped.
fn all_but(skipped: &[Ident], params: Params<'_>, errors: &mut Errors) -> KeyPlan {
    for (index, name) in skipped.iter().enumerate() {
        if skipped[..index].contains(name) {
            errors.on(name, format!("`{name}` is skipped twice: remove one of the two"));
        } else {
            known(name, params, errors);
        }
    }
    let is_skipped = |param: &Param| param.bindings.iter().any(|name| skipped.contains(name));
    for param in params.named.iter().filter(|param| is_skipped(param)) {
        if let Some(left) = param.bindings.iter().find(|name| !skipped.contains(name)) {
            let message = "`skip` takes whole arguments: this pattern also binds";
            errors.on(&param.pat, format!("{message} `{left}`, so write {}", skip(param)));
        }
    }
    let reads_self = params.has_self && !skipped.iter().any(|name| name == "self");
    KeyPlan { source: KeySource::Args, reads: params.which(|param| !is_skipped(param)), reads_self }
}

/// With `key`: every argument that it names.
fn just(key: &Given<Key>, params: Params<'_>, errors: &mut Errors) -> KeyPlan {
    let mut named = Vec::new();
    let source = match &key.value {
        Key::Template(segments) => {
            for segment in segments {
                if let Segment::Field(path) = segment {
                    known(&path.root, params, errors);
                    named.push(path.root.to_string());
                }
            }
            if let (true, Some(name)) = (named.is_empty(), params.names().next()) {
                let message = "this names no argument, so all calls would share one entry";
                errors.at(key.span, format!("{message}: write `{{{name}}}` where the argument belongs"));
            }
            KeySource::Template(segments.clone())
        }
        Key::Exprs(exprs) => {
            for expr in exprs {
                if let Some(root) = root(expr) {
                    known(root, params, errors);
                }
                mentioned(expr.to_token_stream(), &mut named);
            }
            KeySource::Exprs(exprs.clone())
        }
    };
    let is_named = |param: &Param| param.bindings.iter().any(|name| named.contains(&name.to_string()));
    let reads_self = params.has_self && named.iter().any(|name| name == "self");
    KeyPlan { source, reads: params.which(is_named), reads_self }
}

fn known(name: &Ident, params: Params<'_>, errors: &mut Errors) {
    let names: Vec<String> = params.names().collect();
    let name_text = name.to_string();
    if names.contains(&name_text) {
        return;
    }
    let names = names.iter().map(String::as_str);
    let message = match nearest(&name_text, names.clone()) {
        Some(meant) => format!("there is no argument `{name}`: did you mean `{meant}`?"),
        None if names.len() == 0 => format!("there is no argument `{name}`: this function takes none"),
        None => format!("there is no argument `{name}`: the function takes {}", list(names)),
    };
    errors.on(name, message);
}

/// The name that an expression such as `a.b.len()` starts with, if it must be an argument. Constants, paths and
/// called functions are left to the compiler.
fn root(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident().filter(|name| {
            let name = name.to_string();
            name == "self" || name.starts_with(|c: char| c == '_' || c.is_lowercase())
        }),
        Expr::Field(field) => root(&field.base),
        Expr::MethodCall(call) => root(&call.receiver),
        Expr::Index(index) => root(&index.expr),
        Expr::Reference(reference) => root(&reference.expr),
        Expr::Unary(unary) => root(&unary.expr),
        Expr::Cast(cast) => root(&cast.expr),
        Expr::Paren(paren) => root(&paren.expr),
        Expr::Group(group) => root(&group.expr),
        _ => None,
    }
}

/// Every name in an expression that may be an argument, also in `format!("{name}")`. With a name too many, companions
/// take an argument that they don't need; with one too few, they would lack one that they do.
fn mentioned(tokens: TokenStream, names: &mut Vec<String>) {
    let (mut before, mut last) = (' ', ' ');
    for token in tokens {
        let mut next = ' ';
        match token {
            // `b.id` and `module::id` don't mention `id`; `0..id` does.
            TokenTree::Ident(_) if last == '.' && before != '.' || last == ':' && before == ':' => {}
            TokenTree::Ident(name) => names.push(name.to_string()),
            TokenTree::Group(group) => mentioned(group.stream(), names),
            TokenTree::Punct(punct) => next = punct.as_char(),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let inline = text.split('{').skip(1);
                let name = |field: &str| {
                    field.split(|c: char| c != '_' && !c.is_alphanumeric()).next().map(str::to_owned)
                };
                names.extend(inline.filter_map(name));
            }
        }
        (before, last) = (last, next);
    }
}

/// Checks whether an argument can be part of the key.
fn identifies(param: &Param, source: &KeySource, errors: &mut Errors) {
    if !matches!(source, KeySource::Args) && param.hides_reference() {
        errors.on(
            &param.pat,
            "a key can't look behind this `&`: give the argument a name, and use the name in the key",
        );
    }
    let mut found = Unfit::default();
    found.visit_type(&param.ty);
    let way_out =
        format!("leave it out with {}, or say what identifies the call with `key = (…)`", skip(param));
    // With `key`, the user may use a part of such an argument.
    if let (Some(why), KeySource::Args) = (found.why, source) {
        errors.on(&param.ty, format!("{why} can't be part of the cache key: {way_out}"));
    }
}

/// `skip(a)`, for messages.
fn skip(param: &Param) -> String {
    let names: Vec<String> = param.bindings.iter().map(Ident::to_string).collect();
    match names.as_slice() {
        [] => "`skip`, once it has a name".to_owned(),
        names => format!("`skip({})`", names.join(", ")),
    }
}

/// Finds in a type what can't identify a call.
#[derive(Default)]
struct Unfit {
    why: Option<&'static str>,
}

impl<'ast> Visit<'ast> for Unfit {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::ImplTrait(ty) if ty.bounds.iter().any(is_closure) => self.why = Some("a closure"),
            Type::TraitObject(ty) if ty.bounds.iter().any(is_closure) => self.why = Some("a closure"),
            Type::TraitObject(_) => self.why = Some("a trait object"),
            Type::FnPtr(_) => self.why = Some("a function"),
            Type::Ptr(_) => self.why = Some("a pointer"),
            Type::Reference(reference) if reference.mutability.is_some() => {
                self.why = Some("a `&mut` argument");
            }
            _ => visit::visit_type(self, ty),
        }
    }
}

/// Finds `impl Trait` in an argument that the key doesn't read. A type parameter keeps the entries of different types
/// apart; an unread `impl Trait` can't.
struct Unread<'e> {
    errors: &'e mut Errors,
}

impl<'ast> Visit<'ast> for Unread<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        if !ty.bounds.iter().any(is_closure) {
            self.errors.on(
                ty,
                "the key doesn't read this argument, so that all its types would share entries: name the type, as in \
                 `fn user<R: Repo>(repo: R)`, to keep them apart",
            );
        }
    }
}

fn is_closure(bound: &TypeParamBound) -> bool {
    let TypeParamBound::Trait(bound) = bound else { return false };
    let name = bound.path.segments.last().map(|segment| segment.ident.to_string());
    matches!(name.as_deref(), Some("Fn" | "FnMut" | "FnOnce" | "AsyncFn" | "AsyncFnMut" | "AsyncFnOnce"))
}
