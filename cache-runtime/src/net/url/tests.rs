use super::*;

#[test]
fn every_part_is_read() {
    let mut url = Url::parse("Redis://me:p%40ss@h1:1,[::1]:2,h3/7?timeout=100ms&max=2KiB&pool=3").unwrap();
    assert_eq!((url.scheme.as_str(), url.path.as_str()), ("redis", "/7"));
    assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me"), Some("p@ss")));
    let hosts: Vec<_> = url.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect();
    assert_eq!(hosts, [("h1", Some(1)), ("::1", Some(2)), ("h3", None)]);
    assert_eq!(url.take_duration("timeout").unwrap(), Some(Duration::from_millis(100)));
    assert_eq!(url.take_size("max").unwrap(), Some(2048));
    assert_eq!(url.take::<usize>("pool", "a number").unwrap(), Some(3));
    url.finish().unwrap();
    assert_eq!(url.to_string(), "redis://me:***@h1:1,[::1]:2,h3/7");
}

/// Passwords in all the places where people put them.
#[test]
fn no_rejected_url_is_shown() {
    for text in [
        "redis://:s3cret@h:notaport",
        "redis://:s3cret@h:0",
        "redis:s3cret@h",
        "redis:user:s3cret",
        "redis//:s3cret@h",
        "s3cret",
        "u:s3cret://h",
        "redis://user:s3cret",
        "redis://user:s3cret/0",
        "redis://u:s3cret?x@h",
        "redis://u:1?s3cret@h",
        "redis://u:1?s3cret=1@h",
        "redis://u:1?s3cret",
        "redis://u:s3cret@h/%zz",
        "redis://u:s3/cret@h:x",
        "redis://h/%zz?password=s3cret",
        "redis://s3cret@:1",
    ] {
        let message = format!("{0} {0:?}", Url::parse(text).expect_err(text));
        assert!(!message.contains("s3") && !message.contains("cret"), "{text}: {message}");
    }
    assert_eq!(Url::parse("redis://s3cret@h").unwrap().to_string(), "redis://***@h");
}

#[test]
fn several_hosts_have_commas_between_them() {
    for text in ["memcached://a;b", "memcached://a:1;b:2", "memcached://a|b", "memcached://a,memcached://b"] {
        assert_eq!(Url::parse(text).expect_err(text).kind(), ErrorKind::Config);
    }
    assert!(
        Url::parse("memcached://a;b").unwrap_err().to_string().contains("`;` between them instead of `,`")
    );
    for text in ["redis://my_host-1.svc.local:1", "redis://[fe80::1%eth0]:1", "redis://höst"] {
        Url::parse(text).expect(text);
    }
}

#[test]
fn white_space_is_around_a_url_or_a_mistake() {
    assert_eq!(Url::parse(" redis://:p w@h:1/2\r\n").unwrap(), Url::parse("redis://:p w@h:1/2").unwrap());
    for text in ["redis://h h", "redis://h\t/2", "redis://h:1 /2", "redis:// h", "re dis://h"] {
        assert_eq!(Url::parse(text).expect_err(text).kind(), ErrorKind::Config);
    }
}

proptest::proptest! {
    /// Ten digits can't be a port, and no message of ours contains them.
    #[test]
    fn no_rejected_url_is_shown_in_part(text in "(redis://)?([:/@?&=%,]|\\[|\\]|[0-9]{10}|h){0,12}") {
        let words = || text.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
        match Url::parse(&text) {
            Err(error) => {
                let shown = format!("{error} {error:?}");
                proptest::prop_assert!(!words().any(|word| shown.contains(word)), "{text}: {shown}");
            }
            Ok(url) => {
                let (login, _) = text.rsplit_once('@').unwrap_or_default();
                let (_, password) = login.split_once("://").and_then(|(_, login)| login.split_once(':')).unwrap_or_default();
                let shown = format!("{url} {:?}", url.finish());
                let rest = &text[login.len()..];
                let is_shown = |word: &str| password.contains(word) && !rest.contains(word) && shown.contains(word);
                proptest::prop_assert!(!words().any(is_shown), "{text}: {shown}");
            }
        }
    }
}

#[test]
fn bad_parameters_name_themselves() {
    let mut url = Url::parse("redis://h?timeout=soon&spool=3").unwrap();
    let error = url.take_duration("timeout").unwrap_err().to_string();
    assert!(error.contains("`timeout=soon` is not a duration"), "{error}");
    assert_eq!(url.take_size("pool").unwrap(), None);
    let error = url.finish().unwrap_err().to_string();
    assert!(error.contains("`spool`") && error.contains("`timeout`, `pool`"), "{error}");
    assert!(Url::parse("redis://h?a=1&a=2").unwrap_err().to_string().contains("a parameter twice"));
}

#[test]
fn durations_have_units_and_are_not_zero() {
    assert_eq!(parse_duration("1.5"), Some(Duration::from_millis(1500)));
    assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(parse_duration("2d"), Some(Duration::from_secs(172_800)));
    assert_eq!(parse_duration("0.25ms"), Some(Duration::from_micros(250)));
    assert_eq!((parse_duration(".5"), parse_duration("5.")), (parse_duration("500ms"), parse_duration("5s")));
    for bad in ["", "0", "0ms", "5 s", "5w", "-1", "1e3", "NaN", ".", "1.2.3", "99999999999999999999d"] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
}
