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
        part: ::cache_runtime::private::StoredPart<'O', '-', false, false>,
        values: in_memory(User),
        options: { .ttl(::core::time::Duration::new(60u64, 0u32)).share_err(::cache_runtime::private::share_err!(Option<User>)) },
        checks: { ::cache_runtime::private::assert_kinds! { ::cache_runtime::private::StoredPart<'O', '-', false, false>, Option<User> } },
    };
    if let ::core::option::Option::Some(__hit) = __cached.hit(&__key) {
        return __hit;
    }
    __cached.call(&__key, move || -> Option<User> { { find(id)?.called(name) } }).0
}
