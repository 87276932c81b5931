// What this becomes:
//
//     #[cached(ttl = 60, companions = false)]
//     pub fn user(id: u64, name: &str) -> Option<User> {
//         find(id)?.called(name)
//     }

pub fn user(id: u64, name: &str) -> Option<User> {
    let mut __key = ::cache_runtime::private::Args::new();
    {
        let __key = &mut __key;
        __key.instance(&|| {}, true);
        __key.arg(&id);
        __key.arg(&name);
    }
    let __cached = {
        struct __Site;
        static __SITE: ::cache_runtime::private::Site = ::cache_runtime::private::Site::new(
            ::core::any::type_name::<__Site>,
            "user",
            &::cache_runtime::private::Spec::NONE,
        );
        const {
            ::cache_runtime::private::assert_written_out::<
                ::cache_runtime::private::As<
                    ::cache_runtime::private::IsOption,
                    ::cache_runtime::private::IsPlain,
                    ::cache_runtime::private::Off,
                    ::cache_runtime::private::Off,
                >,
            >(
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<Option<User>>::KIND
                },
                {
                    #[allow(unused_imports)]
                    use ::cache_runtime::private::Plain as _;
                    ::cache_runtime::private::Probe::<
                        <Option<
                            User,
                        > as ::cache_runtime::private::Wraps<
                            <::cache_runtime::private::As<
                                ::cache_runtime::private::IsOption,
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
                        ::cache_runtime::private::IsOption,
                        ::cache_runtime::private::IsPlain,
                        ::cache_runtime::private::Off,
                        ::cache_runtime::private::Off,
                    >,
                    Option<User>,
                >>::new::<
                    ::cache_runtime::private::Memory,
                >(::cache_runtime::private::Policy {
                    ttl: ::cache_runtime::private::Ttl::Fixed(
                        ::cache_runtime::private::Duration::new(60u64, 0u32),
                    ),
                    ..::cache_runtime::private::Policy::NONE
                })
            },
        )
    };
    if let ::cache_runtime::private::Some(__hit) = __cached.hit(&__key) {
        return __hit;
    }
    __cached.call(&__key, move || -> Option<User> { { find(id)?.called(name) } })
}
