// What this becomes:
//
//     #[cached(backend = "redis", ttl = "5m", key = "{self.tenant}:{id}")]
//     async fn user(&self, id: u64) -> Result<User, Error> {
//         self.db.load(id).await
//     }

impl Users {
    async fn user(&self, id: u64) -> Result<User, Error> {
        let __call = {
            let mut __key = ::cache_runtime::private::Args::new();
            Self::__user_key(&self, &mut __key, (&id,));
            let __cached = Self::__user_cached();
            __cached
                .call_async(__key, async move { Self::__user_uncached(self, id).await })
        };
        __call.await.0
    }
    #[doc(hidden)]
    const __user_in_a_trait_impl_needs__companions_false: () = ();
    #[doc(hidden)]
    async fn __user_uncached(&self, id: u64) -> Result<User, Error> {
        self.db.load(id).await
    }
    /// Runs the body; the cache is neither read nor written.
    #[inline]
    #[forbid(dead_code)]
    async fn user_uncached(&self, id: u64) -> Result<User, Error> {
        Self::__user_uncached(self, id).await
    }
    #[doc(hidden)]
    #[inline]
    #[forbid(dead_code)]
    fn __user_key(&self, __key: &mut ::cache_runtime::private::Args, (id,): (&u64,)) {
        let mut __key = ::cache_runtime::private::Template::new(__key);
        __key.instance(&Self::__user_cached, false);
        __key.field(&self.tenant);
        __key.literal(":");
        __key.field(&id);
        __key.end();
    }
    ::cache_runtime::private::companions! {
        async,
        names: [__user_cached user_lookup user_peek user_insert user_invalidate user_refresh user_clear user_stats user_key],
        link: "[`user`](Self::user)",
        attrs: [#[forbid(dead_code)]],
        vis: [],
        unsafety: [],
        generics: [],
        bounds: [],
        params: [&self, id: u64],
        key_params: [&self, id: u64,],
        inserted: value,
        key: __key { let mut __key = ::cache_runtime::private::Args::new(); Self::__user_key(&self, &mut __key,(&id,)); },
        body: async move { Self::__user_uncached(self, id).await },
        call: Self::__user_cached().call_async(__key, async move { Self::__user_uncached(self, id).await }).await,
        function: Self::__user_cached(),
        entries: Self::__user_cached(),
        stored: User,
        site: ::cache_runtime::private::site!(name: "user", spec: remote("redis").written(::core::module_path!(), true, 11538554603445956219u64)),
        output: Result<User, Error>,
        part: ::cache_runtime::private::StoredPart<'R', '-', false, false>,
        values: encoded(User, Bincode),
        options: { .ttl(::core::time::Duration::new(300u64, 0u32)).share_err(::cache_runtime::private::share_err!(Result<User, Error>)) },
        checks: { ::cache_runtime::private::assert_kinds! { ::cache_runtime::private::StoredPart<'R', '-', false, false>, Result<User, Error> } },
    }
}
