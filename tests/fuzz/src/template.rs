//! The macros of the runtime's template take Rust, too: each parameter is read where the template puts it.

use std::collections::BTreeMap;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Expr, File, Macro, Result};

/// Reads generated code, and what it gives to macros.
pub(crate) fn read(tokens: TokenStream) -> Result<()> {
    let mut insides = Insides(Ok(()));
    insides.visit_file(&syn::parse2::<File>(tokens)?);
    insides.0
}

struct Insides(Result<()>);

impl<'ast> Visit<'ast> for Insides {
    fn visit_macro(&mut self, mac: &'ast Macro) {
        if self.0.is_ok() {
            self.0 = inside(mac);
        }
        visit::visit_macro(self, mac);
    }
}

fn inside(mac: &Macro) -> Result<()> {
    let Some(name) = mac.path.segments.last().map(|last| last.ident.to_string()) else { return Ok(()) };
    let given = parameters(mac.tokens.clone());
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    match name.as_str() {
        "in_an_impl_write_companions_Self" => read(mac.tokens.clone()),
        "companions" => {
            let within = |name: &str| within(of(name));
            let (attrs, vis, generics) = (within("attrs"), within("vis"), within("generics"));
            let (bounds, params, key_params) = (within("bounds"), within("params"), within("key_params"));
            let (inserted, stored, output) = (of("inserted"), of("stored"), of("output"));
            let (fill, body, call, function) = (within("key"), of("body"), of("call"), of("function"));
            let entries = of("entries");
            read(quote! {
                #attrs #vis fn insert<#generics>(#key_params #inserted: #stored) #bounds { #fill #function }
                #attrs #vis fn refresh<#generics>(#params) -> #output #bounds { #function.refresh(#body) }
                #attrs #vis async fn lookup<#generics>(#params) -> (#output, Origin) #bounds { #fill #call }
                #attrs #vis fn stats() { #entries }
            })?;
            typed_view(of)
        }
        "function" => typed_view(of),
        "site" => {
            let spec = of("spec");
            syn::parse2::<Expr>(quote!(Spec::#spec)).map(drop)
        }
        // These take types and names alone.
        _ => Ok(()),
    }
}

fn typed_view(of: impl Fn(&str) -> TokenStream) -> Result<()> {
    let (site, output, part, values) = (of("site"), of("output"), of("part"), of("values"));
    let (options, checks) = (within(of("options")), within(of("checks")));
    read(quote! {
        fn function() -> Function<#part, #output> {
            type Values = dyn #values;
            #checks
            Function::new(#site, Values::new() #options)
        }
    })
}

/// What is in the last brackets.
fn within(tokens: TokenStream) -> TokenStream {
    match tokens.into_iter().last() {
        Some(TokenTree::Group(group)) => group.stream(),
        _ => TokenStream::new(),
    }
}

/// The parameters of the template's macros.
const NAMES: [&str; 23] = [
    "names",
    "link",
    "attrs",
    "vis",
    "unsafety",
    "generics",
    "bounds",
    "params",
    "key_params",
    "inserted",
    "key",
    "body",
    "call",
    "function",
    "entries",
    "stored",
    "site",
    "output",
    "part",
    "values",
    "options",
    "checks",
    "spec",
];

/// Splits `name: tokens, …`
fn parameters(tokens: TokenStream) -> BTreeMap<String, TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |at: usize, mark: char| match tokens.get(at) {
        Some(TokenTree::Punct(punct)) => punct.as_char() == mark && punct.spacing() == Spacing::Alone,
        _ => false,
    };
    let starts = |at: usize| match tokens.get(at) {
        Some(TokenTree::Ident(ident)) => {
            NAMES.iter().any(|name| ident == name) && is(at + 1, ':') && (at == 0 || is(at - 1, ','))
        }
        _ => false,
    };
    let (mut parameters, mut name) = (BTreeMap::<String, TokenStream>::new(), String::new());
    for (at, token) in tokens.iter().enumerate() {
        if starts(at) {
            name = token.to_string();
        } else if !(at > 0 && starts(at - 1) || is(at, ',') && (starts(at + 1) || at + 1 == tokens.len())) {
            parameters.entry(name.clone()).or_default().extend([token.clone()]);
        }
    }
    parameters
}
