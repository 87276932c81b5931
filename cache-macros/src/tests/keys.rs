//! Templates and expressions of `key`, and which arguments they read.

use super::*;
use crate::args::key::{Key, Segment};

fn template(text: &str) -> Result<Vec<String>, String> {
    let key = args_of_template(text)?;
    let Key::Template(segments) = key else { return Err("not a template".to_owned()) };
    let show = |segment: &Segment| match segment {
        Segment::Text(text) => format!("'{text}'"),
        Segment::Field(place) => place.to_token_stream().to_string().replace(' ', ""),
    };
    Ok(segments.iter().map(show).collect())
}

fn args_of_template(text: &str) -> Result<Key, String> {
    let given = syn::parse2::<Args>(quote!(key = #text)).map_err(|error| error.to_string())?;
    Ok(given.key.expect("key is given").value)
}

#[test]
fn templates() {
    assert_eq!(template(""), Ok(vec![]));
    assert_eq!(template("all"), Ok(vec!["'all'".to_owned()]));
    assert_eq!(template("{id}").as_deref(), Ok(&["id".to_owned()][..]));
    let parts = |text| template(text).map(|parts| parts.join(" "));
    assert_eq!(parts("user:{id}").as_deref(), Ok("'user:' id"));
    assert_eq!(parts("{user.name.0.1}/{r#type}").as_deref(), Ok("user.name.0.1 '/' r#type"));
    assert_eq!(parts("{{{a}}}{{}}{b}").as_deref(), Ok("'{' a '}{}' b"));
    assert_eq!(parts("{a}/{b}x y{c}").as_deref(), Ok("a '/' b 'x y' c"));
    assert_eq!(parts("{self.id}").as_deref(), Ok("self.id"));
}

#[test]
fn refused_templates() {
    let cases = [
        ("{}", "write `{name}`"),
        ("{id:>5}", "write `{id}` instead of `{id:>5}`"),
        ("a{", "never closed"),
        ("a{{{", "never closed"),
        ("a}", "write `}}`"),
        ("{a b}", "is not an argument"),
        ("{0}", "is not an argument"),
        ("{a.}", "is not an argument"),
        ("{a.await}", "is not an argument"),
        ("{a.-1}", "is not an argument"),
        ("{a#b}", "is not an argument"),
        ("{'}", "is not an argument"),
        ("{a}{b}", "`{a}` and `{b}` run together"),
        ("{a}x_2-.%~{b.0}", "`{a}` and `{b.0}` run together"),
    ];
    for (text, part) in cases {
        let message = template(text).expect_err(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_the_key_reads() {
    let item = quote!(
        fn user(id: u64, Path(name): Path<String>, (mut a, ref b): (u8, u8), _: (), f: impl Fn()) {}
    );
    let reads = |args: TokenStream| planned(args, item.clone()).key.reads;
    assert_eq!(reads(quote!(skip(f))), [0, 1, 2, 3]);
    assert_eq!(reads(quote!(skip(f, a, b, name))), [0, 3]);
    assert_eq!(reads(quote!(key = "{name}:{b}")), [1, 2]);
    assert_eq!(reads(quote!(key = id)), [0]);
    assert_eq!(reads(quote!(key = (name.a(0..id), -id))), [0, 1]);
}

#[test]
fn names_inside_of_key_expressions() {
    let item = quote!(
        fn user(id: u64, name: String) {}
    );
    let reads = |key: TokenStream| planned(quote!(key = #key), item.clone()).key.reads;
    assert_eq!(reads(quote!(format!("{id}"))), [0]);
    assert_eq!(reads(quote!(format!("{id}/{name:?}"))), [0, 1]);
    assert_eq!(reads(quote!(format!("{}", name.id))), [1]);
    assert_eq!(reads(quote!(module::id)), Vec::<usize>::new());
    assert_eq!(reads(quote!((hash(&name), TENANT))), [1]);
    assert_eq!(reads(quote!(())), Vec::<usize>::new());
}
