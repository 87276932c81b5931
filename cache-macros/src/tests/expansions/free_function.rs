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
    user::__key(&mut __key, (&id,));
    let __cached = user::__cached();
    if let ::core::option::Option::Some(__hit) = __cached.hit(&__key) {
        return __hit;
    }
    __cached.call(&__key, move || user::uncached(id)).0
}
::cache_runtime::private::in_an_impl_write_companions_Self! {
    /// Companions of the cached function [`user`](fn@user).
    #[doc(hidden)]
    pub struct user {}
    impl ::cache_runtime::private::Returns<io::Result<User>> for user {
        type Part = ::cache_runtime::private::stored_part!(
            io::Result < User >, cache_none : false, cache_err : true
        );
    }
    impl user {
        /// Runs the body; the cache is neither read nor written.
        pub fn uncached(id: u64) -> io::Result<User> {
            load(id)
        }
    }
    impl user {
        #[doc(hidden)]
        #[inline]
        fn __key(__key: &mut ::cache_runtime::private::Args, (id,): (&u64,)) {
            __key.arg::<u64>(&*id);
        }
        ::cache_runtime::private::companions! {
            blocking,
            names: [__cached lookup peek insert invalidate refresh clear stats key],
            link: "[`user`](fn@user)",
            attrs: [],
            vis: [pub],
            unsafety: [],
            generics: [],
            bounds: [],
            params: [id: u64],
            key_params: [id: u64,],
            inserted: value,
            key: __key { let mut __key = ::cache_runtime::private::Args::new(); user::__key(&mut __key,(&id,)); },
            body: move || user::uncached(id),
            call: user::__cached().call(&__key, move || user::uncached(id)),
            function: user::__cached(),
            entries: user::__cached(),
            stored: ::cache_runtime::private::StoredBy<user, io::Result<User>>,
            site: ::cache_runtime::private::site!(path: user, name: "user", spec: IN_MEMORY),
            output: io::Result<User>,
            part: <user as ::cache_runtime::private::Returns<io::Result<User>>>::Part,
            values: in_memory(::cache_runtime::private::StoredBy<user, io::Result<User>>),
            options: { .negative_ttl(::core::time::Duration::new(5u64, 0u32)) },
            checks: { const { <<user as ::cache_runtime::private::Returns<io::Result<User>>>::Part>::assert_returns_result() }; },
        }
    }
}
