//! From the annotated item to [`Func`]: what a cached function needs to know of it.
//!
//! Refuses only what isn't a function with a body. Whether the function can be cached is for `validate`.

mod future;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    AttrStyle, Attribute, Error, FnArg, GenericArgument, GenericParam, Ident, Pat, PatIdent, PatReference,
    PatType, PathArguments, Receiver, Result, ReturnType, Signature, Token, Type, TypeImplTrait, Visibility,
    parse_quote, token,
};

/// The annotated function.
#[derive(Debug, Clone)]
pub(crate) struct Func {
    /// All attributes in outer form, including those written inside the body.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// As written, with the original patterns in `inputs`.
    pub(crate) sig: Signature,
    /// The body in its braces, not parsed.
    pub(crate) body: Group,
    /// `self` in any form.
    pub(crate) receiver: Option<Receiver>,
    /// The other arguments, in order.
    pub(crate) params: Vec<Param>,
    pub(crate) flow: Flow,
    /// Whether the function returns a future that can't hold what the arguments borrow.
    pub(crate) is_detached: bool,
    /// What a call gives in the end: the return type or `()`; of a future, its output.
    pub(crate) output: Type,
}

/// How the result of a call arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Blocking,
    /// `async fn`
    Async,
    /// `-> impl Future<Output = T>`
    Future,
    /// `-> Pin<Box<dyn Future<Output = T>>>`, also written `BoxFuture<'_, T>`. `#[async_trait]` turns an `async fn`
    /// into it.
    BoxedFuture,
}

impl Func {
    pub(crate) fn is_async(&self) -> bool {
        self.flow != Flow::Blocking
    }

    /// Gives arguments spans of this macro, at the same places, so that lints on their names fire only where the body is.
    /// Not those that `is_used` outside of the body, and none if another macro's attribute may mention them.
    pub(crate) fn hide_names(&mut self, is_used: impl Fn(usize) -> bool) {
        const INERT: &str = "allow cfg clippy cold deny deprecated doc expect forbid inline must_use rustfmt track_caller \
                             warn";
        let is_inert = |attr: &Attribute| {
            attr.path()
                .segments
                .first()
                .is_some_and(|first| INERT.split(' ').any(|inert| first.ident == inert))
        };
        if !self.attrs.iter().all(is_inert) {
            return;
        }
        // Names in the edition of the user's crate, and keywords in that of this one.
        const KEYWORDS: [&str; 5] = ["async", "await", "dyn", "gen", "try"];
        // In `macro_rules!` two arguments may have the same name.
        let names: Vec<String> = self.params.iter().map(|param| param.ident.to_string()).collect();
        for (index, param) in self.params.iter_mut().enumerate() {
            let is_one_of_two = names.iter().filter(|name| **name == names[index]).count() > 1;
            if !is_one_of_two && !is_used(index) && !KEYWORDS.contains(&&*names[index]) {
                param.ident.set_span(Span::call_site().located_at(param.ident.span()));
            }
        }
    }

    /// Whether a type mentions a type or const parameter of the function, or one of the `impl` around it, as far as a
    /// capital letter tells. It decides which message a missing bound gets, and nothing more.
    pub(crate) fn has_type_parameter(&self, ty: &TokenStream) -> bool {
        let is_parameter = |ident: &Ident| {
            let own = self.sig.generics.params.iter().any(|param| match param {
                GenericParam::Type(param) => param.ident == *ident,
                GenericParam::Const(param) => param.ident == *ident,
                GenericParam::Lifetime(_) => false,
            });
            let name = ident.to_string();
            own || (name.len() == 1 && name.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        ty.clone().into_iter().any(|token| match token {
            TokenTree::Ident(ident) => is_parameter(&ident),
            TokenTree::Group(group) => self.has_type_parameter(&group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        })
    }
}

/// One argument that isn't the receiver.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    /// Lint attributes; `validate` refuses `cfg`.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) pat: Pat,
    pub(crate) ty: Type,
    /// Its name in generated signatures: the one in `name: T`, `mut name: T` or `name @ …: T`, otherwise
    /// `__arg<index>`.
    pub(crate) ident: Ident,
    /// The names that the pattern binds. A key may use them too.
    pub(crate) bindings: Vec<Ident>,
}

impl Parse for Func {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        starts_fn(input)?;
        let sig: Signature = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(Error::new(
                sig.ident.span(),
                "there is no body to cache: put `#[cached]` on a function with a body",
            ));
        }
        let body = body(input, &mut attrs)?;
        let written = match &sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let (flow, output, is_detached) = match future::written_as(&written) {
            _ if sig.asyncness.is_some() => (Flow::Async, written, false),
            Some(future) => (future.flow, future.output.clone(), future.is_detached(&sig)),
            None => (Flow::Blocking, written, false),
        };
        let receiver = sig.receiver().cloned();
        let typed = sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        });
        let params = typed.enumerate().map(|(index, typed)| Param::new(index, typed)).collect();
        Ok(Func { attrs, vis, sig, body, receiver, params, flow, is_detached, output })
    }
}

/// The first type argument of a path that ends in `name`.
pub(crate) fn argument_of<'t>(name: &str, ty: &'t Type) -> Option<&'t Type> {
    arguments_of(name, ty).next()
}

/// The type arguments of a path that ends in `name`.
pub(crate) fn arguments_of<'t>(name: &str, ty: &'t Type) -> impl Iterator<Item = &'t Type> {
    let arguments = match plain(ty) {
        Type::Path(path) => path.path.segments.last().filter(|last| last.ident == name),
        _ => None,
    };
    let arguments = arguments.and_then(|last| match &last.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    });
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// The type without parentheses, and without the invisible groups that `macro_rules!` puts around it.
pub(crate) fn plain(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => plain(&group.elem),
        Type::Paren(paren) => plain(&paren.elem),
        ty => ty,
    }
}

/// Looks ahead for `fn`, so that the message for another item isn't that its keyword is unexpected.
fn starts_fn(input: ParseStream) -> Result<()> {
    let ahead = input.fork();
    ahead.parse::<Option<Token![const]>>()?;
    ahead.parse::<Option<Token![async]>>()?;
    ahead.parse::<Option<Token![unsafe]>>()?;
    ahead.parse::<Option<syn::Abi>>()?;
    if ahead.peek(Token![fn]) {
        return Ok(());
    }
    Err(input.error("only functions can be cached: put `#[cached]` on a `fn`"))
}

/// The body. Its inner attributes move to the others, because the body of a closure can't have any.
fn body(input: ParseStream, attrs: &mut Vec<Attribute>) -> Result<Group> {
    let content;
    let braces = syn::braced!(content in input);
    let inner = content.call(Attribute::parse_inner)?;
    attrs.extend(inner.into_iter().map(|attr| Attribute { style: AttrStyle::Outer, ..attr }));
    let mut body = Group::new(Delimiter::Brace, content.parse()?);
    body.set_span(braces.span.join());
    Ok(body)
}

impl Param {
    fn new(index: usize, typed: &PatType) -> Self {
        let ident = match &*typed.pat {
            Pat::Ident(PatIdent { ident, .. }) => ident.clone(),
            other => format_ident!("__arg{index}", span = Span::mixed_site().located_at(other.span())),
        };
        let mut found = Contents::default();
        found.visit_pat(&typed.pat);
        Param {
            attrs: typed.attrs.clone(),
            pat: (*typed.pat).clone(),
            ty: (*typed.ty).clone(),
            ident,
            bindings: found.bindings,
        }
    }

    /// Whether it is `name: T`.
    fn is_name(&self) -> bool {
        matches!(&self.pat, Pat::Ident(PatIdent { by_ref: None, mutability: None, subpat: None, .. }))
    }

    /// `let PAT = ident;` for the start of the body; nothing if the pattern is just the name.
    pub(crate) fn rebind(&self) -> Option<TokenStream> {
        if self.is_name() {
            return None;
        }
        let Self { attrs, pat, ident, .. } = self;
        let mut found = Contents::default();
        found.visit_pat(pat);
        // `ref mut` borrows mutably from what it matches.
        let owned = found.ref_mut.then(|| quote!(let mut #ident = #ident;));
        Some(quote!(#owned #(#attrs)* let #pat = #ident;))
    }

    /// `let PAT = &ident;`, which gives a key the names of the pattern before the body runs; nothing if the pattern
    /// is a name. `is_borrowed` says that the argument is borrowed once already.
    pub(crate) fn view(&self, is_borrowed: bool) -> Option<TokenStream> {
        if matches!(&self.pat, Pat::Ident(PatIdent { subpat: None, .. })) {
            return None;
        }
        let Self { ident, pat, bindings, .. } = self;
        let is_reference = matches!(pat, Pat::Reference(_));
        let value = match (is_reference, is_borrowed) {
            // Nothing moves out of a reference, so this pattern can be matched again almost as it is.
            (true, false) => quote!(#ident),
            (true, true) => quote!(*#ident),
            (false, _) => quote!(&#ident),
        };
        let mut shared = pat.clone();
        Shared { keeps_ref: is_reference }.visit_pat_mut(&mut shared);
        // A key need not read all of these. What starts with `_` need not be read anyway, and lints object if it is.
        let read = bindings.iter().filter(|name| !name.to_string().starts_with('_'));
        Some(quote!(let #shared = #value; #(let _ = &#read;)*))
    }

    /// Whether the type is `impl Trait`, or has one inside.
    pub(crate) fn has_impl_trait(&self) -> bool {
        let mut found = Contents::default();
        found.visit_type(&self.ty);
        found.impl_trait
    }

    /// Whether [`Param::view`] is impossible, because of a `&` inside another pattern.
    pub(crate) fn hides_reference(&self) -> bool {
        let mut found = Contents::default();
        found.visit_pat(&self.pat);
        found.references && !matches!(self.pat, Pat::Reference(_))
    }
}

/// What is found in a pattern or a type.
#[derive(Default)]
struct Contents {
    bindings: Vec<Ident>,
    ref_mut: bool,
    references: bool,
    impl_trait: bool,
}

impl<'ast> Visit<'ast> for Contents {
    fn visit_pat_ident(&mut self, pat: &'ast PatIdent) {
        self.bindings.push(pat.ident.clone());
        self.ref_mut |= pat.by_ref.is_some() && pat.mutability.is_some();
        visit::visit_pat_ident(self, pat);
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.impl_trait = true;
    }

    fn visit_pat_reference(&mut self, pat: &'ast PatReference) {
        self.references = true;
        visit::visit_pat_reference(self, pat);
    }
}

/// Removes `mut` and `ref`, which a pattern can't have if it is matched through a reference. If it is the pattern of a
/// reference, it may need its `ref`.
struct Shared {
    keeps_ref: bool,
}

impl VisitMut for Shared {
    fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
        if !self.keeps_ref || pat.by_ref.is_none() {
            pat.by_ref = None;
            pat.mutability = None;
        }
        visit_mut::visit_pat_ident_mut(self, pat);
    }
}
