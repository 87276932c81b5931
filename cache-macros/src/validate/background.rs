//! Whether the background can run the body, with arguments that it owns: for `stale` and `early` that is better than what
//! the caller would do, and `detach` needs it.

use syn::visit::{self, Visit};
use syn::{GenericParam, Ident, Lifetime, Type, TypeImplTrait, TypeReference};

use super::Companions;
use crate::diagnostic::Errors;
use crate::func::{Flow, Func, plain};

/// Receivers, generics and borrows other than a plain `&T` can't be kept.
pub(super) fn can_keep(func: &Func, companions: &Companions) -> bool {
    let is_generic = |param: &GenericParam| !matches!(param, GenericParam::Lifetime(_));
    matches!(companions, Companions::Struct(_))
        && matches!(func.flow, Flow::Blocking | Flow::Async)
        && func.receiver.is_none()
        && !func.sig.generics.params.iter().any(is_generic)
        && func.params.iter().all(|param| is_kept(&param.ty))
}

pub(super) fn detach(detach: &Ident, func: &Func, can_keep: bool, errors: &mut Errors) {
    if func.flow == Flow::Blocking {
        errors.on(detach, "nobody can give up a blocking call, so its run always ends: remove `detach`");
    } else if !cfg!(feature = "tokio") {
        errors.on(detach, "runs are detached as tasks of tokio: enable the feature `tokio` of cache-runtime");
    } else if !can_keep {
        errors.on(
            detach,
            "the background must own the arguments to go on without the caller: `detach` needs a free `async fn` with \
             companions, without type parameters, whose arguments are owned or plain references",
        );
    }
}

/// `T` or `&T`, with nothing borrowed inside.
fn is_kept(ty: &Type) -> bool {
    let inner = match plain(ty) {
        Type::Reference(reference) if reference.mutability.is_some() => return false,
        Type::Reference(reference) => &reference.elem,
        ty => ty,
    };
    !borrows(inner)
}

/// Whether a type shows that it borrows.
pub(crate) fn borrows(ty: &Type) -> bool {
    let mut borrows = Borrows(false);
    borrows.visit_type(ty);
    borrows.0
}

/// `&'static T` is kept as a value: what the background lends to the body doesn't live that long.
pub(crate) fn is_static(reference: &TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// Whether a type borrows, or has no name.
struct Borrows(bool);

impl<'ast> Visit<'ast> for Borrows {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if is_static(reference) {
            visit::visit_type_reference(self, reference);
        } else {
            self.0 = true;
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.0 |= lifetime.ident != "static";
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.0 = true;
    }
}
