//! The rooms of `cache-runtime/src` form a stack: each imports only rooms below it. CONTRIBUTING.md lists them, lowest
//! first, so a change that this test accepts keeps the map true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rooms in the order of the map, each with its place in the stack.
fn rooms() -> BTreeMap<String, usize> {
    let guide = fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    let map = guide.split_once("\ncache-runtime/src/").expect("the map of the runtime").1;
    let lines = map.lines().skip(1).take_while(|line| line.starts_with("  "));
    let names =
        lines.filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap());
    names.map(|name| name.trim_end_matches(".rs").trim_end_matches('/').to_owned()).zip(0..).collect()
}

/// The source files below `folder`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The modules of the crate's root that a line names.
fn named(line: &str) -> impl Iterator<Item = String> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::").filter_map(move |(at, path)| {
        let rest = &code[at + path.len()..];
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_external = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        (!is_external && name.starts_with(|c: char| c.is_lowercase())).then_some(name)
    })
}

#[test]
fn imports_point_down_the_stack() {
    let (rooms, source) = (rooms(), repository().join("cache-runtime/src"));
    assert!(rooms.len() > 15, "{rooms:?}");
    let mut wrong = Vec::new();
    for file in sources(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let room = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(place) = rooms.get(room) else {
            wrong.push(format!("{}: the map has no room `{room}`", relative.display()));
            continue;
        };
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            for import in named(line) {
                match rooms.get(&import) {
                    Some(imported) if imported <= place => {}
                    _ => wrong.push(format!("{}:{}: imports `{import}`", relative.display(), number + 1)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point up the stack:\n{}", wrong.join("\n"));
}
