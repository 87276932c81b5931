//! The template of a cached function: what is the same for all of them, as ordinary Rust.
//!
//! The attribute checks what the user wrote and passes it here by name. It finds these macros in `private`, whatever
//! the user's crate calls this one; they find everything else through `$crate`.

/// The place of a function in the program, as an expression of type `&'static Site`.
#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    (
        // The type beside the function that has its path: the companions' struct.
        path: $path:ty,
        // The function's name.
        name: $name:literal,
        // The options of the function as a whole: an associated item of `Spec`, and methods called on it.
        spec: $($spec:tt)*
    ) => {{
        static __SITE: $crate::private::Site = $crate::private::Site::new(
            ::core::any::type_name::<$path>,
            $name,
            const { &$crate::private::Spec::$($spec)* },
        );
        &__SITE
    }};
    // Without a type beside the function, one within it tells the path.
    (name: $($rest:tt)*) => {{
        struct __Site;
        $crate::__site!(path: __Site, name: $($rest)*)
    }};
}

/// The typed view of a function, as an expression of type `Function`.
#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    (
        // An expression of type `&'static Site`.
        site: $site:expr,
        // The return type; of an async function, what it gives in the end.
        output: $output:ty,
        // The `StoredPart` of the function.
        part: $part:ty,
        // How values are packed: a constructor of `Values`, the type that entries hold, and the codec of a remote
        // function.
        values: $mode:ident($stored:ty $(, $codec:ident)?),
        // The options that are asked for each value: methods of `Values`.
        options: { $($options:tt)* },
        // Statements that stop the compilation where options don't fit the return type.
        checks: { $($checks:tt)* }
    ) => {{
        $($checks)*
        $crate::private::Function::new(
            $site,
            const { &$crate::__values!($mode, $part, $output, $stored $(, $codec)?)$($options)* },
        )
    }};
}

/// How the values of a function are packed, as an expression of type `Values`.
#[doc(hidden)]
#[macro_export]
macro_rules! __values {
    ($mode:ident, $part:ty, $output:ty, $stored:ty) => {
        $crate::private::Values::<$part, $output>::$mode::<$stored>()
    };
    ($mode:ident, $part:ty, $output:ty, $stored:ty, $codec:ident) => {
        $crate::private::Values::<$part, $output>::$mode::<$stored, $crate::private::$codec>({
            use $crate::private::EqFallback as _;
            $crate::private::EqProbe::<$crate::private::$codec, $stored>::PACK
        })
    };
}

/// How the errors of a return type are shared, as an expression of type `Option<ShareErr>`.
#[doc(hidden)]
#[macro_export]
macro_rules! __share_err {
    ($output:ty) => {{
        use $crate::private::ErrFallback as _;
        $crate::private::ErrProbe::<$output>::SHARE
    }};
}

/// The `StoredPart` of a function without type parameters, whose kinds the compiler finds through any alias.
#[doc(hidden)]
#[macro_export]
macro_rules! __stored_part {
    ($output:ty, cache_none: $none:literal, cache_err: $err:literal) => {
        $crate::private::StoredPart<
            { $crate::__kind!(OUTER of $output) },
            { $crate::__kind!(INNER of $output) },
            $none,
            $err,
        >
    };
}

/// Stops the compilation if the kinds in `$part` aren't those of the return type.
#[doc(hidden)]
#[macro_export]
macro_rules! __assert_kinds {
    ($part:ty, $output:ty) => {
        const {
            <$part>::assert_kinds($crate::__kind!(OUTER of $output), $crate::__kind!(INNER of $output))
        };
    };
}

/// The kind of a type, or of the success type within it.
#[doc(hidden)]
#[macro_export]
macro_rules! __kind {
    ($which:ident of $ty:ty) => {{
        use $crate::private::KindFallback as _;
        $crate::private::KindProbe::<$ty>::$which
    }};
}

/// The struct of a free function's companions, and its impls.
///
/// None of these can be in an `impl`, and the macro can't see that it is in one. The compiler's first error then ends
/// with the name of this macro in `private`, which says what to write.
#[doc(hidden)]
#[macro_export]
macro_rules! __companions_struct {
    ($(#[$attr:meta])* $vis:vis struct $name:ident {} $($impls:tt)*) => {
        $(#[$attr])*
        #[non_exhaustive]
        $vis struct $name {}
        $($impls)*
    };
}

/// The companions of a function, except `uncached`, and the hidden function `__cached` that they call.
#[doc(hidden)]
#[macro_export]
macro_rules! __companions {
    (blocking, $($rest:tt)*) => {
        $crate::__companions! { @ [] [] [&] [peek insert invalidate refresh clear], $($rest)* }
    };
    (async, $($rest:tt)*) => {
        $crate::__companions! {
            @ [async] [.await] [] [peek_async insert_async invalidate_async refresh_async clear_async], $($rest)*
        }
    };
    (
        @ [$($async:tt)?] [$($await:tt)*] [$($borrow:tt)?]
        // The methods of `Function` that do the work.
        [$do_peek:ident $do_insert:ident $do_invalidate:ident $do_refresh:ident $do_clear:ident],
        // The names of the companions.
        names: [
            $hidden:ident
            $lookup:ident $peek:ident $insert:ident $invalidate:ident $refresh:ident $clear:ident $stats:ident
            $text_key:ident
        ],
        // A link to the function, for documentation.
        link: $link:literal,
        // The attributes of each companion, the function's visibility, and `unsafe` if it is.
        attrs: [$($attr:tt)*],
        vis: [$($vis:tt)*],
        unsafety: [$($unsafe:tt)?],
        // The function's generic parameters and `where` clause.
        generics: [$($generics:tt)*],
        bounds: [$($bounds:tt)*],
        // The function's parameters, those that its key reads, and a name for what is inserted that none of these has.
        params: [$($params:tt)*],
        key_params: [$($key_params:tt)*],
        inserted: $inserted:ident,
        // The name of a variable for the key, and statements that fill it.
        key: $key:ident { $($fill:tt)* },
        // What `refresh` runs: a closure or a future.
        body: $body:expr,
        // A call of the typed view.
        call: $call:expr,
        // Calls the hidden function.
        function: $function:expr,
        // What knows the entries of all instantiations: the function, or the site of a generic one.
        entries: $entries:expr,
        // The type that entries hold.
        stored: $stored:ty,
        // The other parameters are those of `__function`.
        site: $site:expr,
        output: $output:ty,
        part: $part:ty,
        $($rest:tt)*
    ) => {
        #[doc(hidden)]
        #[inline]
        $($attr)*
        fn $hidden<'__v, $($generics)*>() -> $crate::private::Function<'__v, $part, $output> $($bounds)* {
            $crate::__function! { site: $site, output: $output, part: $part, $($rest)* }
        }

        #[doc = ::core::concat!("Calls ", $link, ", and tells where the value comes from.")]
        #[inline]
        $($attr)*
        $($vis)* $($async)? $($unsafe)? fn $lookup<$($generics)*>($($params)*) -> ($output, $crate::Origin)
        $($bounds)*
        {
            $($fill)*
            $call
        }

        #[doc = ::core::concat!("What the cache holds for a call of ", $link, "; never runs the body.")]
        #[doc = $crate::__errors!()]
        #[inline]
        $($attr)*
        $($vis)* $($async)? fn $peek<$($generics)*>(
            $($key_params)*
        ) -> ::core::result::Result<::core::option::Option<$stored>, $crate::Error>
        $($bounds)*
        {
            $($fill)*
            $function.$do_peek($key)$($await)*
        }

        #[doc = ::core::concat!("Stores the result of a call of ", $link, " without running the body.")]
        #[doc = $crate::__errors!()]
        #[inline]
        $($attr)*
        $($vis)* $($async)? fn $insert<$($generics)*>(
            $($key_params)* $inserted: $stored
        ) -> ::core::result::Result<(), $crate::Error>
        $($bounds)*
        {
            $($fill)*
            $function.$do_insert($key, $inserted)$($await)*
        }

        #[doc = ::core::concat!("Removes the entry of a call, so that the next ", $link, " runs the body.")]
        #[doc = $crate::__errors!()]
        #[inline]
        $($attr)*
        $($vis)* $($async)? fn $invalidate<$($generics)*>($($key_params)*) -> ::core::result::Result<(), $crate::Error>
        $($bounds)*
        {
            $($fill)*
            $function.$do_invalidate($key)$($await)*
        }

        #[doc = ::core::concat!("Runs the body of ", $link, " now and stores its result.")]
        #[inline]
        $($attr)*
        $($vis)* $($async)? $($unsafe)? fn $refresh<$($generics)*>($($params)*) -> $output
        $($bounds)*
        {
            $($fill)*
            $function.$do_refresh($($borrow)? $key, $body)$($await)*
        }

        #[doc = ::core::concat!(
            "Ends the life of every entry of ", $link, ": at once in this process, within a second in others."
        )]
        #[doc = $crate::__errors!()]
        #[inline]
        $($attr)*
        $($vis)* $($async)? fn $clear() -> ::core::result::Result<(), $crate::Error> {
            $entries.$do_clear()$($await)*
        }

        #[doc = ::core::concat!("What ", $link, " has done in this process.")]
        #[inline]
        $($attr)*
        $($vis)* fn $stats() -> $crate::Stats {
            $entries.stats()
        }

        #[doc = ::core::concat!("The text key of a call of ", $link, " on Redis and Memcached.")]
        #[inline]
        $($attr)*
        $($vis)* fn $text_key<$($generics)*>($($key_params)*) -> $crate::private::String
        $($bounds)*
        {
            $($fill)*
            $function.key($key)
        }
    };
}

/// The part of a companion's documentation on errors.
#[doc(hidden)]
#[macro_export]
macro_rules! __errors {
    () => {
        "\n# Errors\nThe arguments can't be a key, the value can't be stored, or the backend failed."
    };
}

/// The body of the hidden function `__keep`, which takes the arguments of a call by reference: returns a body that owns
/// copies, for the background, if they can be made.
#[doc(hidden)]
#[macro_export]
macro_rules! __keep {
    (
        // Whether the body is `async`.
        blocking,
        // `[]` or `[unsafe]`
        unsafety: [$($unsafe:tt)?],
        // The path of `uncached`.
        uncached: $uncached:path,
        // Each argument, and whether the body takes it by `value` or by `reference`.
        args: [$($arg:ident: $by:ident),*]
    ) => {{
            use $crate::private::CloneFallback as _;
            $(let $arg = $crate::private::Arg::$by($arg).to_own()?;)*
            ::core::option::Option::Some($crate::private::Box::new(move || {
                $($unsafe)? { $uncached($($arg.$by()),*) }
            }))
    }};
    (
        async,
        unsafety: [$($unsafe:tt)?],
        uncached: $uncached:path,
        args: [$($arg:ident: $by:ident),*]
    ) => {{
            use $crate::private::{CloneFallback as _, SendFallback as _};
            $(let $arg = $crate::private::Arg::$by($arg).to_own()?;)*
            $crate::private::BodyFuture::of(|| {
                $(let $arg = $crate::private::unreachable_arg();)*
                $($unsafe)? { $uncached($($arg),*) }
            })
            .spawnable(async move { $($unsafe)? { $uncached($($arg.$by()),*) }.await })
    }};
}
