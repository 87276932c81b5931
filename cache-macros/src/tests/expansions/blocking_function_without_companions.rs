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
        __key.arg::<u64>(&id);
        __key.arg::<&str>(&name);
    }
    let __cached = ::cache_runtime::private::function! {
        site: ::cache_runtime::private::site!(name: "user", spec: IN_MEMORY),
        output: Option<User>,
        part: ::cache_runtime::private::stored_part!(Option<User>, cache_none: false, cache_err: false),
        values: in_memory(<::cache_runtime::private::stored_part!(Option<User>, cache_none: false, cache_err: false) as ::cache_runtime::private::Outcome<Option<User>>>::Stored),
        options: { .ttl(::core::time::Duration::new(60u64, 0u32)).share_err(::cache_runtime::private::share_err!(Option<User>)) },
        checks: { },
    };
    if let ::core::option::Option::Some(__hit) = __cached.hit(&__key) {
        return __hit;
    }
    __cached.call(&__key, move || -> Option<User> { { find(id)?.called(name) } }).0
}
