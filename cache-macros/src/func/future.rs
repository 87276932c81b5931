//! Return types that are written as futures.

use syn::visit::{self, Visit};
use syn::{
    GenericArgument, Lifetime, PathArguments, ReceiverKind, Signature, Type, TypeParamBound, TypeReference,
};

use super::{Flow, argument_of, plain};

/// A return type that is a future.
pub(super) struct Future<'t> {
    pub(super) flow: Flow,
    pub(super) output: &'t Type,
    written: &'t Type,
}

/// Recognizes `impl Future<Output = T>` and `Pin<Box<dyn Future<Output = T>>>`, with any other bounds, and the names
/// that the crate `futures` gives the latter.
pub(super) fn written_as(written: &Type) -> Option<Future<'_>> {
    let aliased = argument_of("BoxFuture", written).or_else(|| argument_of("LocalBoxFuture", written));
    if let Some(output) = aliased {
        return Some(Future { flow: Flow::BoxedFuture, output, written });
    }
    let (flow, bounds) = match plain(written) {
        Type::ImplTrait(future) => (Flow::Future, &future.bounds),
        ty => match plain(argument_of("Box", argument_of("Pin", ty)?)?) {
            Type::TraitObject(future) => (Flow::BoxedFuture, &future.bounds),
            _ => return None,
        },
    };
    bounds.iter().find_map(output_of).map(|output| Future { flow, output, written })
}

/// The `T` of `Future<Output = T>`.
fn output_of(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else { return None };
    let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(&assoc.ty),
        _ => None,
    })
}

impl Future<'_> {
    /// Whether the future can't hold everything that the arguments visibly borrow: it names no lifetime (before
    /// edition 2024 `impl Future` then holds none), or it names one while arguments have elided ones.
    pub(super) fn is_detached(&self, sig: &Signature) -> bool {
        let (mut held, mut borrowed) = (Lifetimes::default(), Lifetimes::default());
        held.visit_type(self.written);
        sig.inputs.iter().for_each(|input| borrowed.visit_fn_arg(input));
        let holds_all = held.elided || held.named && !borrowed.elided;
        (borrowed.elided || borrowed.named) && !holds_all
    }
}

/// Which lifetimes occur, other than `'static`.
#[derive(Default)]
struct Lifetimes {
    named: bool,
    elided: bool,
}

impl<'ast> Visit<'ast> for Lifetimes {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        self.elided |= lifetime.ident == "_";
        self.named |= lifetime.ident != "_" && lifetime.ident != "static";
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.elided |= reference.lifetime.is_none();
        visit::visit_type_reference(self, reference);
    }

    fn visit_receiver_kind(&mut self, kind: &'ast ReceiverKind) {
        self.elided |= matches!(kind, ReceiverKind::Reference(_, None, _));
        visit::visit_receiver_kind(self, kind);
    }
}
