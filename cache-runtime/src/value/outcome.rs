//! Which part of a return value is stored, decided by type at compile time.
//!
//! `Result` and `Option` are recognised through any alias: an inherent constant on
//! [`Probe<Result<T, E>>`] is found before the constant of the blanket trait [`Plain`], so
//! `Probe::<R>::KIND` tells what `R` is, and [`Kind`] of it picks the [`Outcome`] impl of [`As`].

use std::marker::PhantomData;

/// The kind of a type that is neither `Result` nor `Option`.
pub(crate) const PLAIN: u8 = 0;
/// The kind of `Result`.
pub(crate) const RESULT: u8 = 1;
/// The kind of `Option`.
pub(crate) const OPTION: u8 = 2;

/// Tells the kind of `T`: see the module.
pub struct Probe<T: ?Sized>(PhantomData<T>);

impl<T, E> Probe<Result<T, E>> {
    /// What `T` is.
    pub const KIND: u8 = RESULT;
}

impl<T> Probe<Option<T>> {
    /// What `T` is.
    pub const KIND: u8 = OPTION;
}

/// The fallback that the inherent constants shadow.
pub trait Plain {
    /// What `T` is.
    const KIND: u8 = PLAIN;
}

impl<T: ?Sized> Plain for Probe<T> {}

/// A kind as a type: generated code names it once and then goes by the name.
pub struct Kind<const KIND: u8>;
/// The kind of a type that is neither `Result` nor `Option`.
pub type IsPlain = Kind<PLAIN>;
/// The kind of `Result`.
pub type IsResult = Kind<RESULT>;
/// The kind of `Option`.
pub type IsOption = Kind<OPTION>;

/// Whether an option is on, as a type.
pub struct Flag<const ON: bool>;
/// On.
pub type On = Flag<true>;
/// Off.
pub type Off = Flag<false>;

/// What a type of the kind `K` wraps: the `T` of `Result<T, E>` and `Option<T>`, else itself.
pub trait Wraps<K> {
    /// The wrapped type.
    type Inner;
}

impl<T> Wraps<IsPlain> for T {
    type Inner = T;
}

impl<T, E> Wraps<IsResult> for Result<T, E> {
    type Inner = T;
}

impl<T> Wraps<IsOption> for Option<T> {
    type Inner = T;
}

/// How a return type `R` is stored, revived and judged; implemented by [`As`].
pub trait Outcome<R>: Kinds {
    /// What `ttl = |value|` and `cache_if = |value|` see: the innermost success.
    type Value;
    /// What an entry holds.
    type Stored;
    /// The part to store, or the whole if this outcome isn't stored.
    ///
    /// By value, so that an async call that waits for its store holds nothing else: an error that isn't `Send`
    /// doesn't spoil the future.
    ///
    /// # Errors
    /// `ret` itself.
    fn split(ret: R) -> Result<Self::Stored, R>;
    /// The success within a stored part, or `None` if it is negative (`None` or `Err`).
    fn value(stored: &Self::Stored) -> Option<&Self::Value>;
    /// The return value that a stored part stands for.
    fn revive(stored: Self::Stored) -> R;
    /// Whether a return value that is not stored is an `Err`, and not merely nothing to store.
    fn failed(_ret: &R) -> bool {
        false
    }
}

/// Picks an `Outcome` by the kinds of the return type and of what it wraps, and by the options `cache_none` and
/// `cache_err`.
pub struct As<Outer, Inner, None, Err>(PhantomData<(Outer, Inner, None, Err)>);

/// What the compiler finds out about the return type `R`, said once: the struct of the companions implements this.
///
/// `R` is a parameter, because an associated type must be as visible as the struct.
pub trait Returns<R> {
    /// The [`Kind`] of `R`.
    type Outer;
    /// The [`Kind`] of what it wraps.
    type Inner;
    /// `cache_none`
    type None;
    /// `cache_err`
    type Err;
}

/// The `Outcome` of the function with the companions `F`, which returns `R`.
pub type AsOf<F, R> =
    As<<F as Returns<R>>::Outer, <F as Returns<R>>::Inner, <F as Returns<R>>::None, <F as Returns<R>>::Err>;

/// What its entries hold.
pub type Stored<F, R> = <AsOf<F, R> as Outcome<R>>::Stored;

/// The kinds of an [`As`].
pub trait Kinds {
    /// The [`Kind`] of the return type.
    type Outer;
    /// That number, and the one of what it wraps.
    const KINDS: (u8, u8);
}

impl<const OUTER: u8, const INNER: u8, N, E> Kinds for As<Kind<OUTER>, Kind<INNER>, N, E> {
    type Outer = Kind<OUTER>;
    const KINDS: (u8, u8) = (OUTER, INNER);
}

/// Stops the compilation if a type of these kinds has no `None`.
#[track_caller]
pub const fn assert_none<K: Kinds>() {
    assert!(
        K::KINDS.0 == OPTION || K::KINDS.1 == OPTION,
        "`cache_none` needs a function that returns an `Option`: leave it out"
    );
}

/// Stops the compilation if a type of these kinds has no `Err`.
#[track_caller]
pub const fn assert_err<K: Kinds>() {
    assert!(
        K::KINDS.0 == RESULT || K::KINDS.1 == RESULT,
        "`cache_err` needs a function that returns a `Result`: leave it out"
    );
}

/// Stops the compilation if the macro took a type for one of another kind, because an alias hid it.
#[track_caller]
pub const fn assert_written_out<K: Kinds>(outer: u8, inner: u8) {
    assert!(
        K::KINDS.0 == outer && K::KINDS.1 == inner,
        "write this return type out as `Result<…>` or `Option<…>`: in a method or a generic function an alias hides it"
    );
}

/// One impl: the pattern of the stored part within the return value, and back.
macro_rules! outcome {
    ($([$($generic:ident),*] $outer:ident $inner:ident [$none:ident $err:ident]:
        $ret:ty => $stored:ty, $value:ty;
        stored $pattern:pat => $part:expr; value $within:pat => $success:expr; revive $back:expr $(; failed [$($failure:tt)*])?;)*) => {$(
        impl<$($generic),*> Outcome<$ret> for As<$outer, $inner, $none, $err> {
            type Value = $value;
            type Stored = $stored;
            fn split(ret: $ret) -> Result<$stored, $ret> {
                #[allow(unreachable_patterns, reason = "some patterns take every value")]
                match ret { $pattern => Ok($part), other => Err(other) }
            }
            fn value(stored: &$stored) -> Option<&$value> {
                #[allow(unreachable_patterns, reason = "some patterns take every value")]
                match stored { $within => Some($success), _ => None }
            }
            fn revive(stored: $stored) -> $ret {
                let back: fn($stored) -> $ret = $back;
                back(stored)
            }
            $(fn failed(ret: &$ret) -> bool {
                #[allow(clippy::redundant_pattern_matching, reason = "the pattern is given")]
                let failed = matches!(ret, $($failure)*);
                failed
            })?
        }
    )*};
}

impl<R, const INNER: u8, N, E> Outcome<R> for As<IsPlain, Kind<INNER>, N, E> {
    type Value = R;
    type Stored = R;
    fn split(ret: R) -> Result<R, R> {
        Ok(ret)
    }
    fn value(stored: &R) -> Option<&R> {
        Some(stored)
    }
    fn revive(stored: R) -> R {
        stored
    }
}

outcome! {
    [T, E, N] IsResult IsPlain [N Off]: Result<T, E> => T, T;
        stored Ok(part) => part; value part => part; revive Ok; failed [Err(_)];
    [T, E, N] IsResult IsPlain [N On]: Result<T, E> => Result<T, E>, T;
        stored part => part; value Ok(value) => value; revive |whole| whole;
    [T, X] IsOption IsPlain [Off X]: Option<T> => T, T;
        stored Some(part) => part; value part => part; revive Some;
    [T, X] IsOption IsPlain [On X]: Option<T> => Option<T>, T;
        stored part => part; value Some(value) => value; revive |whole| whole;

    [T, E, F, N] IsResult IsResult [N Off]: Result<Result<T, F>, E> => T, T;
        stored Ok(Ok(part)) => part; value part => part; revive |part| Ok(Ok(part)); failed [Err(_) | Ok(Err(_))];
    [T, E, F, N] IsResult IsResult [N On]: Result<Result<T, F>, E> => Result<Result<T, F>, E>, T;
        stored part => part; value Ok(Ok(value)) => value; revive |whole| whole;
    [T, X] IsOption IsOption [Off X]: Option<Option<T>> => T, T;
        stored Some(Some(part)) => part; value part => part; revive |part| Some(Some(part));
    [T, X] IsOption IsOption [On X]: Option<Option<T>> => Option<Option<T>>, T;
        stored part => part; value Some(Some(value)) => value; revive |whole| whole;

    [T, E] IsResult IsOption [Off Off]: Result<Option<T>, E> => T, T;
        stored Ok(Some(part)) => part; value part => part; revive |part| Ok(Some(part)); failed [Err(_)];
    [T, E] IsResult IsOption [On Off]: Result<Option<T>, E> => Option<T>, T;
        stored Ok(part) => part; value Some(value) => value; revive Ok; failed [Err(_)];
    [T, E] IsResult IsOption [Off On]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored whole @ (Ok(Some(_)) | Err(_)) => whole; value Ok(Some(value)) => value; revive |whole| whole;
    [T, E] IsResult IsOption [On On]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored part => part; value Ok(Some(value)) => value; revive |whole| whole;

    [T, E] IsOption IsResult [Off Off]: Option<Result<T, E>> => T, T;
        stored Some(Ok(part)) => part; value part => part; revive |part| Some(Ok(part)); failed [Some(Err(_))];
    [T, E] IsOption IsResult [On Off]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole @ (None | Some(Ok(_))) => whole; value Some(Ok(value)) => value; revive |whole| whole;
        failed [Some(Err(_))];
    [T, E] IsOption IsResult [Off On]: Option<Result<T, E>> => Result<T, E>, T;
        stored Some(part) => part; value Ok(value) => value; revive Some;
    [T, E] IsOption IsResult [On On]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole => whole; value Some(Ok(value)) => value; revive |whole| whole;
}
