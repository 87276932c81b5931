//! The `#[cached]` attribute of `cache-runtime`, which re-exports it: depend on that crate, not on this one.

use proc_macro2::TokenStream;
use quote::quote;

mod args;
mod diagnostic;
mod expand;
mod func;
#[cfg(test)]
mod tests;
mod validate;

// The documentation is where it is re-exported, so that its examples run with the runtime.
#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn cached(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    cached_function(args.into(), item.into()).into()
}

fn cached_function(args: TokenStream, item: TokenStream) -> TokenStream {
    match plan(args, item.clone()) {
        Ok(plan) => expand::expand(&plan),
        // The function stays, so that editors and the rest of the crate keep finding it.
        Err(errors) => {
            let errors = errors.into_compile_error();
            quote!(#errors #item)
        }
    }
}

fn plan(args: TokenStream, item: TokenStream) -> syn::Result<validate::Plan> {
    let (args, func) = diagnostic::both(syn::parse2(args), syn::parse2(item))?;
    validate::validate(args, func)
}
