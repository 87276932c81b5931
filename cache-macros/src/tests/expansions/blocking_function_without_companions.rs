// What this becomes:
//
//     #[cached(ttl = 60, companions = false)]
//     pub fn user(id: u64, name: &str) -> Option<User> {
//         find(id)?.called(name)
//     }

pub fn user(id: u64, name: &str) -> Option<User> {
    let __key = ::cache_runtime::private::Key::of_args(|__key| {
        __key.instance(&|| {}, true);
        __key.arg(&id)?;
        __key.arg(&name)?;
        ::cache_runtime::private::Ok(())
    });
    {
        const {
            ::cache_runtime::private::assert_written_out(
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<Option<User>>::KIND
                },
                2u8,
            )
        };
        const {
            ::cache_runtime::private::assert_written_out(
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<
                        <Option<User> as ::cache_runtime::private::Wraps<2u8>>::Inner,
                    >::KIND
                },
                0u8,
            )
        };
        <::cache_runtime::private::Function<
            ::cache_runtime::private::As<2u8, 0u8, false, false>,
            Option<User>,
        >>::new::<
            ::cache_runtime::private::Memory,
        >(
            {
                struct __Site;
                static SITE: ::cache_runtime::private::Site = ::cache_runtime::private::Site::new(::cache_runtime::private::Spec {
                    path: ::core::any::type_name::<__Site>,
                    name: "user",
                    namespace: ::cache_runtime::private::None,
                    version: 0u32,
                    backend: "memory",
                    is_remote: false,
                    single_flight: ::cache_runtime::private::SingleFlight::Process,
                    wait: ::cache_runtime::private::None,
                    freshness: ::cache_runtime::private::Freshness {
                        stale: ::cache_runtime::private::None,
                        early: 0f64,
                        jitter: 0f64,
                    },
                    bound: ::cache_runtime::private::Bound {
                        capacity: ::cache_runtime::private::None,
                        max_bytes: ::cache_runtime::private::None,
                    },
                });
                &SITE
            },
            ::cache_runtime::private::Policy {
                ttl: ::cache_runtime::private::Some(|_| ::cache_runtime::private::Duration::new(
                    60u64,
                    0u32,
                )),
                negative_ttl: ::cache_runtime::private::Some(|| ::cache_runtime::private::Duration::new(
                    60u64,
                    0u32,
                )),
                cache_if: ::cache_runtime::private::None,
                weigh: ::cache_runtime::private::None,
            },
        )
    }
        .call(__key, move || -> Option<User> { { find(id)?.called(name) } })
}
