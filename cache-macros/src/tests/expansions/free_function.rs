// What this becomes:
//
//     #[cached(cache_err = true, negative_ttl = 5)]
//     /// Loads a user.
//     #[tracing::instrument]
//     pub fn user(id: u64) -> io::Result<User> {
//         load(id)
//     }

/// Loads a user.
#[tracing::instrument]
pub fn user(id: u64) -> io::Result<User> {
    let mut __key = ::cache_runtime::private::Args::new();
    user::__key(&mut __key, &id);
    let __cached = user::__cached();
    if let ::cache_runtime::private::Some(__hit) = __cached.hit(&__key) {
        return __hit;
    }
    __cached.call(&__key, move || user::uncached(id))
}
///Companions of the cached function [`user`](fn@user).
#[allow(non_camel_case_types)]
pub struct user {}
impl ::cache_runtime::private::Returns<io::Result<User>> for user {
    type Outer = ::cache_runtime::private::Kind<
        {
            #[allow(unused_imports)]
            use ::cache_runtime::private::Plain as _;
            ::cache_runtime::private::Probe::<io::Result<User>>::KIND
        },
    >;
    type Inner = ::cache_runtime::private::Kind<
        {
            #[allow(unused_imports)]
            use ::cache_runtime::private::Plain as _;
            ::cache_runtime::private::Probe::<
                <io::Result<
                    User,
                > as ::cache_runtime::private::Wraps<
                    <user as ::cache_runtime::private::Returns<io::Result<User>>>::Outer,
                >>::Inner,
            >::KIND
        },
    >;
    type None = ::cache_runtime::private::Off;
    type Err = ::cache_runtime::private::On;
}
impl user {
    /// Runs the body; the cache is neither read nor written.
    #[allow(
        dead_code,
        clippy::missing_errors_doc,
        clippy::missing_panics_doc,
        clippy::missing_safety_doc,
        clippy::must_use_candidate
    )]
    pub fn uncached(id: u64) -> io::Result<User> {
        load(id)
    }
}
#[allow(dead_code, clippy::all, clippy::pedantic)]
impl user {
    #[doc(hidden)]
    #[inline]
    fn __cached<'__v>() -> ::cache_runtime::private::Function<
        '__v,
        ::cache_runtime::private::AsOf<user, io::Result<User>>,
        io::Result<User>,
    > {
        static __SITE: ::cache_runtime::private::Site = ::cache_runtime::private::Site::new(
            ::core::any::type_name::<user>,
            "user",
            &::cache_runtime::private::Spec::NONE,
        );
        const {
            ::cache_runtime::private::assert_err::<
                ::cache_runtime::private::AsOf<user, io::Result<User>>,
            >()
        };
        ::cache_runtime::private::Function::new(
            &__SITE,
            const {
                &<::cache_runtime::private::Values<
                    ::cache_runtime::private::AsOf<user, io::Result<User>>,
                    io::Result<User>,
                >>::new::<
                    ::cache_runtime::private::Memory,
                >(::cache_runtime::private::Policy {
                    negative_ttl: ::cache_runtime::private::Ttl::Fixed(
                        ::cache_runtime::private::Duration::new(5u64, 0u32),
                    ),
                    ..::cache_runtime::private::Policy::NONE
                })
            },
        )
    }
    #[doc(hidden)]
    #[inline]
    fn __key(__key: &mut ::cache_runtime::private::Args, id: &u64) {
        __key.arg(&*id);
    }
    /**What the cache holds for a call of [`user`](fn@user); never runs the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    pub fn peek(
        id: u64,
    ) -> ::cache_runtime::private::Result<
        ::cache_runtime::private::Option<io::Result<User>>,
        ::cache_runtime::Error,
    > {
        let mut __key = ::cache_runtime::private::Args::new();
        user::__key(&mut __key, &id);
        user::__cached().peek(__key)
    }
    /**Stores the result of a call of [`user`](fn@user) without running the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    pub fn insert(
        id: u64,
        value: io::Result<User>,
    ) -> ::cache_runtime::private::Result<(), ::cache_runtime::Error> {
        let mut __key = ::cache_runtime::private::Args::new();
        user::__key(&mut __key, &id);
        user::__cached().insert(__key, value)
    }
    /**Removes the entry of a call, so that the next [`user`](fn@user) runs the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    pub fn invalidate(
        id: u64,
    ) -> ::cache_runtime::private::Result<(), ::cache_runtime::Error> {
        let mut __key = ::cache_runtime::private::Args::new();
        user::__key(&mut __key, &id);
        user::__cached().invalidate(__key)
    }
    ///Runs the body of [`user`](fn@user) now and stores its result.
    #[inline]
    pub fn refresh(id: u64) -> io::Result<User> {
        let mut __key = ::cache_runtime::private::Args::new();
        user::__key(&mut __key, &id);
        user::__cached().refresh(&__key, move || user::uncached(id))
    }
    /**Ends the life of every entry of [`user`](fn@user): at once in this process, within a second in others.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    pub fn clear() -> ::cache_runtime::private::Result<(), ::cache_runtime::Error> {
        user::__cached().clear()
    }
    ///What [`user`](fn@user) has done in this process.
    #[inline]
    pub fn stats() -> ::cache_runtime::Stats {
        user::__cached().stats()
    }
    ///The text key of a call of [`user`](fn@user) on Redis and Memcached.
    #[inline]
    pub fn key(id: u64) -> ::cache_runtime::private::String {
        let mut __key = ::cache_runtime::private::Args::new();
        user::__key(&mut __key, &id);
        user::__cached().key(__key)
    }
}
