//! Which part of a return value is stored, decided by type at compile time.
//!
//! [`KindProbe`] tells whether a type is a `Result`, an `Option` or plain, through any alias: an inherent constant
//! shadows the one of the blanket trait [`KindFallback`]. [`StoredPart`] of these kinds implements [`Outcome`].

use std::marker::PhantomData;

/// Neither `Result` nor `Option`.
pub(crate) const PLAIN: char = '-';
/// `Result`.
const RESULT: char = 'R';
/// `Option`.
const OPTION: char = 'O';

/// Tells the kind of `T`, and of what it wraps.
pub struct KindProbe<T: ?Sized>(PhantomData<T>);

/// Provides the constants where none of the inherent ones exists.
pub trait KindFallback {
    /// The kind of `T`.
    const OUTER: char = PLAIN;
    /// The kind of the success type within `T`.
    const INNER: char = PLAIN;
}

impl<T: ?Sized> KindFallback for KindProbe<T> {}

impl<T, E> KindProbe<Result<T, E>> {
    /// The kind of `T`.
    pub const OUTER: char = RESULT;
}

impl<T> KindProbe<Option<T>> {
    /// The kind of `T`.
    pub const OUTER: char = OPTION;
}

impl<T, E, F> KindProbe<Result<Result<T, F>, E>> {
    /// The kind of the success type within `T`.
    pub const INNER: char = RESULT;
}

impl<T, E> KindProbe<Result<Option<T>, E>> {
    /// The kind of the success type within `T`.
    pub const INNER: char = OPTION;
}

impl<T, E> KindProbe<Option<Result<T, E>>> {
    /// The kind of the success type within `T`.
    pub const INNER: char = RESULT;
}

impl<T> KindProbe<Option<Option<T>>> {
    /// The kind of the success type within `T`.
    pub const INNER: char = OPTION;
}

/// How a return type `R` is stored, revived and judged; implemented by [`StoredPart`].
pub trait Outcome<R> {
    /// What `ttl = |value|` and `cache_if = |value|` see: the innermost success.
    type Value;
    /// What an entry holds.
    type Stored;
    /// Whether `Value` is neither a `Result` nor an `Option`, as far as the macro could tell: a type parameter may
    /// still stand for one.
    const LOOKS_PLAIN: bool;
    /// The part to store, or the whole if this outcome isn't stored.
    ///
    /// By value, so that an async call that waits for its store holds nothing more: an error that isn't `Send` doesn't
    /// make the future `!Send`.
    ///
    /// # Errors
    /// `ret` itself.
    fn split(ret: R) -> Result<Self::Stored, R>;
    /// The success within a stored part, or `None` if it is negative (`None` or `Err`).
    fn value(stored: &Self::Stored) -> Option<&Self::Value>;
    /// The return value that a stored part stands for.
    fn revive(stored: Self::Stored) -> R;
    /// The number of the `None` that `ret` is, if that isn't stored: anybody can make the same one.
    fn none(ret: &R) -> Option<u8> {
        let _ = ret;
        None
    }

    /// The return value with this number.
    fn of_none(number: u8) -> Option<R> {
        let _ = number;
        None
    }

    /// Whether a return value that isn't stored is an `Err`, rather than a `None`.
    fn failed(_ret: &R) -> bool {
        false
    }
}

/// Decides which part of a return value is stored: by the kinds of the return type and of the success type within it
/// (`'R'` is `Result`, `'O'` is `Option`, `'-'` is neither), and by `cache_none` and `cache_err`.
pub struct StoredPart<const OUTER: char, const INNER: char, const CACHE_NONE: bool, const CACHE_ERR: bool>;

impl<const OUTER: char, const INNER: char, const CACHE_NONE: bool, const CACHE_ERR: bool>
    StoredPart<OUTER, INNER, CACHE_NONE, CACHE_ERR>
{
    /// Stops the compilation if `cache_none` has no use.
    #[track_caller]
    pub const fn assert_returns_option() {
        assert!(
            OUTER == OPTION || INNER == OPTION,
            "`cache_none` needs a function that returns an `Option`: leave it out"
        );
    }

    /// Stops the compilation if `cache_err` has no use.
    #[track_caller]
    pub const fn assert_returns_result() {
        assert!(
            OUTER == RESULT || INNER == RESULT,
            "`cache_err` needs a function that returns a `Result`: leave it out"
        );
    }

    /// Stops the compilation if the kinds that the macro read off the return type aren't those of the type, because an
    /// alias hides them.
    #[track_caller]
    pub const fn assert_kinds(outer: char, inner: char) {
        assert!(
            OUTER == outer && INNER == inner,
            "write this return type out as `Result<…>` or `Option<…>`: in a method or a generic function an alias hides it"
        );
    }
}

/// Implemented by the companions' struct of a function that returns `R`.
///
/// `R` is a parameter, because an associated type must be as visible as the struct.
pub trait Returns<R> {
    /// The [`StoredPart`] of the function, named once for all companions.
    type Part: Outcome<R>;
}

/// What the entries of the function with the companions `F` hold.
pub type StoredBy<F, R> = <<F as Returns<R>>::Part as Outcome<R>>::Stored;

/// One impl per case: the pattern of the stored part within the return value, and the way back. `$flag` is an option
/// that makes no difference.
macro_rules! outcome {
    ($([$($generic:ident),* $(; $flag:ident)?] $outer:ident $inner:ident [$none:tt $err:tt]:
        $ret:ty => $stored:ty, $value:ty;
        stored $pattern:pat => $part:expr; value $within:pat => $success:expr; revive $back:expr
        $(; none [$($number:literal $none_pattern:pat => $none_value:expr),*])?
        $(; failed [$($failure:tt)*])?;)*) => {$(
        impl<$($generic,)* $(const $flag: bool)?> Outcome<$ret> for StoredPart<$outer, $inner, $none, $err> {
            type Value = $value;
            type Stored = $stored;
            const LOOKS_PLAIN: bool = $inner == PLAIN;
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
            $(fn none(ret: &$ret) -> Option<u8> {
                match ret { $($none_pattern => Some($number),)* _ => None }
            }
            fn of_none(number: u8) -> Option<$ret> {
                match number { $($number => Some($none_value),)* _ => None }
            })?
            $(fn failed(ret: &$ret) -> bool {
                #[allow(clippy::redundant_pattern_matching, reason = "the pattern is given")]
                let failed = matches!(ret, $($failure)*);
                failed
            })?
        }
    )*};
}

impl<R, const INNER: char, const NONE: bool, const ERR: bool> Outcome<R>
    for StoredPart<PLAIN, INNER, NONE, ERR>
{
    type Value = R;
    type Stored = R;
    const LOOKS_PLAIN: bool = true;
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
    [T, E; N] RESULT PLAIN [N false]: Result<T, E> => T, T;
        stored Ok(part) => part; value part => part; revive Ok; failed [Err(_)];
    [T, E; N] RESULT PLAIN [N true]: Result<T, E> => Result<T, E>, T;
        stored part => part; value Ok(value) => value; revive |whole| whole;
    [T; X] OPTION PLAIN [false X]: Option<T> => T, T;
        stored Some(part) => part; value part => part; revive Some; none [0 None => None];
    [T; X] OPTION PLAIN [true X]: Option<T> => Option<T>, T;
        stored part => part; value Some(value) => value; revive |whole| whole;

    [T, E, F; N] RESULT RESULT [N false]: Result<Result<T, F>, E> => T, T;
        stored Ok(Ok(part)) => part; value part => part; revive |part| Ok(Ok(part)); failed [Err(_) | Ok(Err(_))];
    [T, E, F; N] RESULT RESULT [N true]: Result<Result<T, F>, E> => Result<Result<T, F>, E>, T;
        stored part => part; value Ok(Ok(value)) => value; revive |whole| whole;
    [T; X] OPTION OPTION [false X]: Option<Option<T>> => T, T;
        stored Some(Some(part)) => part; value part => part; revive |part| Some(Some(part));
        none [0 None => None, 1 Some(None) => Some(None)];
    [T; X] OPTION OPTION [true X]: Option<Option<T>> => Option<Option<T>>, T;
        stored part => part; value Some(Some(value)) => value; revive |whole| whole;

    [T, E] RESULT OPTION [false false]: Result<Option<T>, E> => T, T;
        stored Ok(Some(part)) => part; value part => part; revive |part| Ok(Some(part));
        none [0 Ok(None) => Ok(None)]; failed [Err(_)];
    [T, E] RESULT OPTION [true false]: Result<Option<T>, E> => Option<T>, T;
        stored Ok(part) => part; value Some(value) => value; revive Ok; failed [Err(_)];
    [T, E] RESULT OPTION [false true]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored whole @ (Ok(Some(_)) | Err(_)) => whole; value Ok(Some(value)) => value; revive |whole| whole;
        none [0 Ok(None) => Ok(None)];
    [T, E] RESULT OPTION [true true]: Result<Option<T>, E> => Result<Option<T>, E>, T;
        stored part => part; value Ok(Some(value)) => value; revive |whole| whole;

    [T, E] OPTION RESULT [false false]: Option<Result<T, E>> => T, T;
        stored Some(Ok(part)) => part; value part => part; revive |part| Some(Ok(part));
        none [0 None => None]; failed [Some(Err(_))];
    [T, E] OPTION RESULT [true false]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole @ (None | Some(Ok(_))) => whole; value Some(Ok(value)) => value; revive |whole| whole;
        failed [Some(Err(_))];
    [T, E] OPTION RESULT [false true]: Option<Result<T, E>> => Result<T, E>, T;
        stored Some(part) => part; value Ok(value) => value; revive Some; none [0 None => None];
    [T, E] OPTION RESULT [true true]: Option<Result<T, E>> => Option<Result<T, E>>, T;
        stored whole => whole; value Some(Ok(value)) => value; revive |whole| whole;
}
