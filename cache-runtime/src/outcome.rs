//! Which part of a return value is stored, decided by type at compile time.
//!
//! `Result` and `Option` are recognised through any alias: an inherent constant on
//! [`Probe<Result<T, E>>`] is found before the constant of the blanket trait [`Plain`], so
//! `Probe::<R>::KIND` tells what `R` is, and as a const generic it picks the [`Outcome`] impl.
//! `SELF` and `INNER` are the kinds of the type and of what it wraps, `NONE` and `ERR` the options
//! `cache_none` and `cache_err`.

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

/// What a value of kind `KIND` wraps: the `T` of `Result<T, E>` and `Option<T>`, else itself.
pub trait Wraps<const KIND: u8> {
    /// The wrapped type.
    type Inner;
}

impl<T> Wraps<PLAIN> for T {
    type Inner = T;
}

impl<T, E> Wraps<RESULT> for Result<T, E> {
    type Inner = T;
}

impl<T> Wraps<OPTION> for Option<T> {
    type Inner = T;
}

/// How a return type `R` is stored, revived and judged; implemented by [`As`].
pub trait Outcome<R> {
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

/// Stops the compilation if a type of these kinds has no `None`.
#[track_caller]
pub const fn assert_none(outer: u8, inner: u8) {
    assert!(
        outer == OPTION || inner == OPTION,
        "`cache_none` needs a function that returns an `Option`: leave it out"
    );
}

/// Stops the compilation if a type of these kinds has no `Err`.
#[track_caller]
pub const fn assert_err(outer: u8, inner: u8) {
    assert!(
        outer == RESULT || inner == RESULT,
        "`cache_err` needs a function that returns a `Result`: leave it out"
    );
}

/// Stops the compilation if the macro took a type for one of another kind, because an alias hid it.
#[track_caller]
pub const fn assert_written_out(actual: u8, taken_for: u8) {
    assert!(
        actual == taken_for,
        "write this return type out as `Result<…>` or `Option<…>`: in a method or a generic function an alias hides it"
    );
}

/// Picks an [`Outcome`] by the kinds of the return type and the two options.
pub struct As<const SELF: u8, const INNER: u8, const NONE: bool, const ERR: bool>;

/// What an entry of a function that returns `R` holds.
pub type Stored<R, const SELF: u8, const INNER: u8, const NONE: bool, const ERR: bool> =
    <As<SELF, INNER, NONE, ERR> as Outcome<R>>::Stored;

/// One impl: the pattern of the stored part within the return value, and back.
macro_rules! outcome {
    ($([$($generic:ident),*] $self:ident $inner:ident $(any $any:ident)? [$none:expr, $err:expr]:
        $ret:ty => $stored:ty, $value:ty;
        stored $pattern:pat => $part:expr; value $within:pat => $success:expr; revive $back:expr $(; failed [$($failure:tt)*])?;)*) => {$(
        impl<$($generic,)* $(const $any: bool)?> Outcome<$ret> for As<$self, $inner, $none, $err> {
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

impl<R, const INNER: u8, const NONE: bool, const ERR: bool> Outcome<R> for As<PLAIN, INNER, NONE, ERR> {
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
    [T, E] RESULT PLAIN any NONE [NONE, false]: Result<T, E> => T, T;
        stored Ok(part) => part; value part => part; revive Ok; failed [Err(_)];
    [T, E] RESULT PLAIN any NONE [NONE, true]: Result<T, E> => Result<T, E>, T;
        stored part => part; value Ok(value) => value; revive |whole| whole;
    [T] OPTION PLAIN any ERR [false, ERR]: Option<T> => T, T;
        stored Some(part) => part; value part => part; revive Some;
    [T] OPTION PLAIN any ERR [true, ERR]: Option<T> => Option<T>, T;
        stored part => part; value Some(value) => value; revive |whole| whole;

    [T, E, F] RESULT RESULT any NONE [NONE, false]: Result<Result<T, F>, E> => T, T;
        stored Ok(Ok(part)) => part; value part => part; revive |part| Ok(Ok(part)); failed [Err(_) | Ok(Err(_))];
    [T, E, F] RESULT RESULT any NONE [NONE, true]: Result<Result<T, F>, E> => Result<Result<T, F>, E>, T;
        stored part => part; value Ok(Ok(value)) => value; revive |whole| whole;
    [T] OPTION OPTION any ERR [false, ERR]: Option<Option<T>> => T, T;
        stored Some(Some(part)) => part; value part => part; revive |part| Some(Some(part));
    [T] OPTION OPTION any ERR [true, ERR]: Option<Option<T>> => Option<Option<T>>, T;
        stored part => part; value Some(Some(value)) => value; revive |whole| whole;

    [T, E] RESULT OPTION [false, false]: Result<Option<T>, E> => T, T;
        stored Ok(Some(part)) => part; value part => part; revive |part| Ok(Some(part)); failed [Err(_)];
    [T, E] RESULT OPTION [true, false]: Result<Option<T>, E> => Option<T>, T;
        stored Ok(part) => part; value Some(value) => value; revive Ok; failed [Err(_)];
    [T, E] RESULT OPTION [false, true]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored whole @ (Ok(Some(_)) | Err(_)) => whole; value Ok(Some(value)) => value; revive |whole| whole;
    [T, E] RESULT OPTION [true, true]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored part => part; value Ok(Some(value)) => value; revive |whole| whole;

    [T, E] OPTION RESULT [false, false]: Option<Result<T, E>> => T, T;
        stored Some(Ok(part)) => part; value part => part; revive |part| Some(Ok(part)); failed [Some(Err(_))];
    [T, E] OPTION RESULT [true, false]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole @ (None | Some(Ok(_))) => whole; value Some(Ok(value)) => value; revive |whole| whole;
        failed [Some(Err(_))];
    [T, E] OPTION RESULT [false, true]: Option<Result<T, E>> => Result<T, E>, T;
        stored Some(part) => part; value Ok(value) => value; revive Some;
    [T, E] OPTION RESULT [true, true]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole => whole; value Some(Ok(value)) => value; revive |whole| whole;
}
