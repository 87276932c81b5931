//! Two builds of one application share a server: each reads its own entries and never those of the other.

use cache_runtime::testing::Scope;
use cache_runtime::{Config, cached};
use serde::{Deserialize, Serialize};

/// One build: its type, and the function that stores it under the name shared by all builds.
macro_rules! build {
    ($name:ident, $codec:literal, $value:expr, $($type:tt)*) => {
        mod $name {
            use super::*;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            $($type)*

            #[cached(backend = "shared", namespace = "deploy", codec = $codec)]
            pub(super) fn load() -> Value {
                $value
            }
        }
    };
}

/// The old build stores; the new one must run its body, and must not spoil the entry for the old one.
macro_rules! deploys {
    ($($change:ident: $new:expr, { $($type:tt)* })*) => {
        $(mod $change {
            use super::*;

            mod bincode {
                use super::*;
                build!(old, "bincode", Value { width: 640, height: 480, name: "x".into() },
                    pub(super) struct Value { width: u32, height: u32, name: String });
                build!(new, "bincode", $new, $($type)*);

                #[test]
                fn neither_build_reads_the_other() {
                    each_reads_its_own(old::load, old::load::stats, new::load, new::load::stats);
                }
            }

            #[cfg(feature = "servers")]
            mod postcard {
                use super::*;
                build!(old, "postcard", Value { width: 640, height: 480, name: "x".into() },
                    pub(super) struct Value { width: u32, height: u32, name: String });
                build!(new, "postcard", $new, $($type)*);

                #[test]
                fn neither_build_reads_the_other() {
                    each_reads_its_own(old::load, old::load::stats, new::load, new::load::stats);
                }
            }
        })*
    };
}

fn each_reads_its_own<O: PartialEq + std::fmt::Debug, N: PartialEq + std::fmt::Debug>(
    old: fn() -> O,
    old_stats: fn() -> cache_runtime::Stats,
    new: fn() -> N,
    new_stats: fn() -> cache_runtime::Stats,
) {
    let scope = Scope::with_config(Config::new().url("shared", "memory://")).unwrap();
    let _entered = scope.enter();
    let (of_old, of_new) = (old(), new());
    assert_eq!((old_stats().runs, new_stats().runs), (1, 1), "the new build read the old one's bytes");
    assert_eq!((old(), new()), (of_old, of_new));
    assert_eq!((old_stats().runs, old_stats().hits), (1, 1), "the new build spoiled the old one's entry");
    assert_eq!((new_stats().runs, new_stats().hits), (1, 1));
}

deploys! {
    field_added: Value { width: 640, height: 480, name: "x".into(), depth: 1 },
        { pub(super) struct Value { width: u32, height: u32, name: String, depth: u32 } }
    field_removed: Value { width: 640, name: "x".into() },
        { pub(super) struct Value { width: u32, name: String } }
    field_renamed: Value { width: 640, length: 480, name: "x".into() },
        { pub(super) struct Value { width: u32, length: u32, name: String } }
    field_retyped: Value { width: 640, height: 480, name: "x".into() },
        { pub(super) struct Value { width: u32, height: i32, name: String } }
    fields_of_one_type_swapped: Value { height: 480, width: 640, name: "x".into() },
        { pub(super) struct Value { height: u32, width: u32, name: String } }
    struct_renamed: Value(Size { width: 640, height: 480, name: "x".into() }),
        { pub(super) struct Value(Size); #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)] pub(super) struct Size { width: u32, height: u32, name: String } }
}

mod variant_inserted {
    use super::*;
    build!(
        old,
        "bincode",
        Value::Circle(1),
        pub(super) enum Value {
            Circle(u32),
            #[allow(dead_code)]
            Square(u32),
        }
    );
    build!(
        new,
        "bincode",
        Value::Circle(1),
        pub(super) enum Value {
            #[allow(dead_code)]
            Point,
            Circle(u32),
            #[allow(dead_code)]
            Square(u32),
        }
    );

    #[test]
    fn neither_build_reads_the_other() {
        each_reads_its_own(old::load, old::load::stats, new::load, new::load::stats);
    }
}

/// Optional fields that serde skips: such values come back unchanged or are not stored, and fields never swap.
mod left_out {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Contact {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
    }

    fn contacts() -> Vec<Contact> {
        let text = |text: &str| Some(text.to_owned());
        vec![
            Contact { name: None, email: text("a@example.org") },
            Contact { name: text("b"), email: None },
            Contact { name: text("c"), email: text("c@example.org") },
            Contact { name: None, email: None },
        ]
    }

    #[cached(backend = "shared")]
    fn positional(index: usize) -> Contact {
        contacts().swap_remove(index)
    }

    #[cached(backend = "shared")]
    fn positional_list() -> Vec<Contact> {
        contacts()
    }

    #[cfg(feature = "servers")]
    #[cached(backend = "shared", codec = "msgpack")]
    fn by_name(index: usize) -> Contact {
        contacts().swap_remove(index)
    }

    #[test]
    fn fields_never_swap() {
        let scope = Scope::with_config(Config::new().url("shared", "memory://")).unwrap();
        let _entered = scope.enter();
        for _ in 0..2 {
            for (index, contact) in contacts().into_iter().enumerate() {
                assert_eq!(positional(index), contact);
                #[cfg(feature = "servers")]
                assert_eq!(by_name(index), contact);
            }
            assert_eq!(positional_list(), contacts());
        }
        // Only the contact with both fields can be stored by position.
        assert_eq!((positional::stats().runs, positional::stats().errors), (7, 6));
        assert_eq!((positional_list::stats().runs, positional_list::stats().errors), (2, 2));
        #[cfg(feature = "servers")]
        assert_eq!((by_name::stats().runs, by_name::stats().hits), (4, 4));
    }
}

/// Values that serde serializes only in part: they come back whole or are not stored.
mod hidden {
    use super::*;

    macro_rules! functions {
        ($module:ident, $codec:literal) => {
            mod $module {
                use super::*;

                #[cached(backend = "shared", codec = $codec)]
                pub(super) fn skipped(id: u8) -> Result<Skipped, String> {
                    Ok(Skipped { id, secret: 42 })
                }

                #[cached(backend = "shared", codec = $codec, companions = false)]
                pub(super) fn rounded(cents: u32) -> Vec<Rounded> {
                    vec![Rounded { cents }]
                }

                #[cached(backend = "shared", codec = $codec)]
                pub(super) fn lossy(name: &str) -> Lossy {
                    Lossy { name: name.to_owned() }
                }

                pub(super) struct Users;

                impl Users {
                    #[cached(backend = "shared", codec = $codec, skip(self), cache_none = true)]
                    pub(super) fn skipped(&self, id: u8) -> Option<Skipped> {
                        Some(Skipped { id, secret: 42 })
                    }
                }

                #[cached(backend = "shared", codec = $codec)]
                pub(super) fn generic<T: From<u8> + PartialEq + Serialize + serde::de::DeserializeOwned>(
                    id: u8,
                ) -> T {
                    T::from(id)
                }

                /// Not equal to anything, not even itself.
                #[cached(backend = "shared", codec = $codec)]
                pub(super) fn unequal(id: u8) -> Unequal {
                    Unequal { id }
                }

                #[test]
                fn nothing_comes_back_without_what_serde_hides() {
                    let scope = Scope::with_config(Config::new().url("shared", "memory://")).unwrap();
                    let _entered = scope.enter();
                    for _ in 0..2 {
                        assert_eq!(skipped(1), Ok(Skipped { id: 1, secret: 42 }));
                        assert_eq!(skipped(2), Ok(Skipped { id: 2, secret: 42 }));
                        assert_eq!(Users.skipped(1), Some(Skipped { id: 1, secret: 42 }));
                        assert_eq!(rounded(149), [Rounded { cents: 149 }]);
                        assert_eq!(rounded(100), [Rounded { cents: 100 }]);
                        assert_eq!(lossy("Ann"), Lossy { name: "Ann".into() });
                        assert_eq!(lossy("ann"), Lossy { name: "ann".into() });
                        assert_eq!(generic::<Skipped>(1), Skipped { id: 1, secret: 42 });
                        assert_eq!(generic::<u16>(1), 1);
                        assert_eq!(unequal(1).id, 1);
                    }
                    // Only values that serde serializes in whole are cached; `Unequal` is one of them.
                    let all = cache_runtime::stats();
                    let counts = |name: &str| {
                        let path = format!("{}::{name}", module_path!());
                        let stats = all.iter().find(|stats| stats.function == path).unwrap();
                        (stats.runs, stats.hits, stats.errors)
                    };
                    assert_eq!(counts("skipped"), (4, 0, 4));
                    assert_eq!(counts("Users::skipped"), (2, 0, 2));
                    assert_eq!(counts("rounded"), (3, 1, 2));
                    assert_eq!(counts("lossy"), (3, 1, 2));
                    assert_eq!(counts("generic"), (3, 1, 2));
                    assert_eq!(counts("unequal"), (1, 1, 0));
                    let error = skipped::insert(3, Skipped { id: 3, secret: 42 }).unwrap_err().to_string();
                    assert!(error.contains("serde(skip)"), "{error}");
                }
            }
        };
    }

    functions!(bincode, "bincode");
    #[cfg(feature = "servers")]
    functions!(postcard, "postcard");
    #[cfg(feature = "servers")]
    functions!(msgpack, "msgpack");
    #[cfg(feature = "servers")]
    functions!(json, "json");

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Skipped {
        id: u8,
        #[serde(skip)]
        secret: u32,
    }

    impl From<u8> for Skipped {
        fn from(id: u8) -> Self {
            Self { id, secret: 42 }
        }
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Rounded {
        #[serde(serialize_with = "to_whole_euros")]
        cents: u32,
    }

    fn to_whole_euros<S: serde::Serializer>(cents: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        (cents / 100 * 100).serialize(serializer)
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(into = "String", from = "String")]
    struct Lossy {
        name: String,
    }

    impl From<Lossy> for String {
        fn from(lossy: Lossy) -> Self {
            lossy.name.to_lowercase()
        }
    }

    impl From<String> for Lossy {
        fn from(name: String) -> Self {
            Self { name }
        }
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Unequal {
        id: u8,
    }

    impl PartialEq for Unequal {
        fn eq(&self, _: &Self) -> bool {
            false
        }
    }
}

/// For types that bincode can't handle, the error names the function and the codec to use.
mod untraceable {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Number(u64),
        Text(String),
    }

    #[cached(backend = "shared")]
    fn positional() -> Loose {
        Loose::Number(1)
    }

    #[cfg(feature = "servers")]
    #[cached(backend = "shared", codec = "msgpack")]
    fn described(n: u64) -> Loose {
        if n == 0 { Loose::Text("none".into()) } else { Loose::Number(n) }
    }

    #[test]
    fn the_codec_to_use_is_named() {
        let scope = Scope::with_config(Config::new().url("shared", "memory://")).unwrap();
        let _entered = scope.enter();
        assert_eq!((positional(), positional()), (Loose::Number(1), Loose::Number(1)));
        assert_eq!((positional::stats().runs, positional::stats().errors), (2, 2));
        let error = positional::invalidate().unwrap_err().to_string();
        assert!(
            error.contains("codec = \"msgpack\"") && error.contains("deploy::untraceable::positional"),
            "{error}"
        );
        let error = cache_runtime::check().unwrap_err().to_string();
        assert!(error.contains("codec = \"msgpack\""), "{error}");
        #[cfg(feature = "servers")]
        for _ in 0..2 {
            assert_eq!((described(0), described(1)), (Loose::Text("none".into()), Loose::Number(1)));
        }
        #[cfg(feature = "servers")]
        assert_eq!((described::stats().runs, described::stats().hits), (2, 2));
    }
}
