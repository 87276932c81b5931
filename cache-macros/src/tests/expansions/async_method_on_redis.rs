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
            Self::__user_key(&self, &mut __key, &id);
            let __cached = Self::__user_cached();
            __cached
                .call_async(__key, async move { Self::user_uncached(self, id).await })
        };
        __call.await
    }
    /// Runs the body; the cache is neither read nor written.
    #[allow(
        dead_code,
        clippy::missing_errors_doc,
        clippy::missing_panics_doc,
        clippy::missing_safety_doc,
        clippy::must_use_candidate
    )]
    async fn user_uncached(&self, id: u64) -> Result<User, Error> {
        self.db.load(id).await
    }
    #[doc(hidden)]
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    fn __user_cached<'__v>() -> ::cache_runtime::private::Function<
        '__v,
        ::cache_runtime::private::As<
            ::cache_runtime::private::IsResult,
            ::cache_runtime::private::IsPlain,
            ::cache_runtime::private::Off,
            ::cache_runtime::private::Off,
        >,
        Result<User, Error>,
    > {
        struct __Site;
        static __SITE: ::cache_runtime::private::Site = ::cache_runtime::private::Site::new(
            ::core::any::type_name::<__Site>,
            "user",
            const {
                &::cache_runtime::private::Spec {
                    written: ::cache_runtime::private::Some(::cache_runtime::private::Written {
                        module: ::core::module_path!(),
                        is_method: true,
                        text: 11538554603445956219u64,
                    }),
                    backend: "redis",
                    place: ::cache_runtime::private::MakePlace::REMOTE,
                    ..::cache_runtime::private::Spec::NONE
                }
            },
        );
        const {
            ::cache_runtime::private::assert_written_out::<
                ::cache_runtime::private::As<
                    ::cache_runtime::private::IsResult,
                    ::cache_runtime::private::IsPlain,
                    ::cache_runtime::private::Off,
                    ::cache_runtime::private::Off,
                >,
            >(
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<Result<User, Error>>::KIND
                },
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<
                        <Result<
                            User,
                            Error,
                        > as ::cache_runtime::private::Wraps<
                            <::cache_runtime::private::As<
                                ::cache_runtime::private::IsResult,
                                ::cache_runtime::private::IsPlain,
                                ::cache_runtime::private::Off,
                                ::cache_runtime::private::Off,
                            > as ::cache_runtime::private::Kinds>::Outer,
                        >>::Inner,
                    >::KIND
                },
            )
        };
        ::cache_runtime::private::Function::new(
            &__SITE,
            const {
                &<::cache_runtime::private::Values<
                    ::cache_runtime::private::As<
                        ::cache_runtime::private::IsResult,
                        ::cache_runtime::private::IsPlain,
                        ::cache_runtime::private::Off,
                        ::cache_runtime::private::Off,
                    >,
                    Result<User, Error>,
                >>::new::<
                    ::cache_runtime::private::Remote<::cache_runtime::private::Bincode>,
                >(::cache_runtime::private::Policy {
                        ttl: ::cache_runtime::private::Ttl::Fixed(
                            ::cache_runtime::private::Duration::new(300u64, 0u32),
                        ),
                        ..::cache_runtime::private::Policy::NONE
                    })
                    .packed_by({
                        #[allow(unused_imports)]
                        use ::cache_runtime::private::Uncompared as _;
                        ::cache_runtime::private::Compared::<
                            ::cache_runtime::private::Bincode,
                            User,
                        >::PACK
                    })
            },
        )
    }
    #[doc(hidden)]
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    fn __user_key(&self, __key: &mut ::cache_runtime::private::Args, id: &u64) {
        let mut __key = ::cache_runtime::private::Template::new(__key);
        __key.instance(&Self::__user_cached, false);
        __key.field(&self.tenant);
        __key.literal(":");
        __key.field(&id);
        __key.end();
    }
    /**What the cache holds for a call of [`user`](Self::user); never runs the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    async fn user_peek(
        &self,
        id: u64,
    ) -> ::cache_runtime::private::Result<
        ::cache_runtime::private::Option<User>,
        ::cache_runtime::Error,
    > {
        let mut __key = ::cache_runtime::private::Args::new();
        Self::__user_key(&self, &mut __key, &id);
        Self::__user_cached().peek_async(__key).await
    }
    /**Stores the result of a call of [`user`](Self::user) without running the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    async fn user_insert(
        &self,
        id: u64,
        value: User,
    ) -> ::cache_runtime::private::Result<(), ::cache_runtime::Error> {
        let mut __key = ::cache_runtime::private::Args::new();
        Self::__user_key(&self, &mut __key, &id);
        Self::__user_cached().insert_async(__key, value).await
    }
    /**Removes the entry of a call, so that the next [`user`](Self::user) runs the body.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    async fn user_invalidate(
        &self,
        id: u64,
    ) -> ::cache_runtime::private::Result<(), ::cache_runtime::Error> {
        let mut __key = ::cache_runtime::private::Args::new();
        Self::__user_key(&self, &mut __key, &id);
        Self::__user_cached().invalidate_async(__key).await
    }
    ///Runs the body of [`user`](Self::user) now and stores its result.
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    async fn user_refresh(&self, id: u64) -> Result<User, Error> {
        let mut __key = ::cache_runtime::private::Args::new();
        Self::__user_key(&self, &mut __key, &id);
        Self::__user_cached()
            .refresh_async(__key, async move { Self::user_uncached(self, id).await })
            .await
    }
    /**Ends the life of every entry of [`user`](Self::user): at once in this process, within a second in others.

# Errors
The arguments can't be a key, the value can't be stored, or the backend failed.*/
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    async fn user_clear() -> ::cache_runtime::private::Result<
        (),
        ::cache_runtime::Error,
    > {
        Self::__user_cached().clear_async().await
    }
    ///What [`user`](Self::user) has done in this process.
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    fn user_stats() -> ::cache_runtime::Stats {
        Self::__user_cached().stats()
    }
    ///The text key of a call of [`user`](Self::user) on Redis and Memcached.
    #[inline]
    #[allow(dead_code, clippy::all, clippy::pedantic)]
    fn user_key(&self, id: u64) -> ::cache_runtime::private::String {
        let mut __key = ::cache_runtime::private::Args::new();
        Self::__user_key(&self, &mut __key, &id);
        Self::__user_cached().key(__key)
    }
}
