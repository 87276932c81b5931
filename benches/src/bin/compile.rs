//! Compile time and size: crates of 200, 10 and 1 cached functions, with this and with `cached`.
//!
//! The same crate is written four times: with our attribute, with `cached`'s as its README shows it (bounded, with a
//! lifetime), with `cached`'s at its cheapest (no bound, no lifetime), and without any. Their dependencies are built
//! beforehand. Then each is built in turn, round after round. What its own rustc took (user and system time, the linker
//! included) and the size of the stripped program are compared within each round. Time on the processor, unlike time
//! on the clock, doesn't count foreign load, so that no round is dropped.
//!
//! The functions have different signatures, a tenth of them async; each is called once. Keys are in the form that
//! each crate asks for: `cached` needs `key` and `convert` for borrowed arguments.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use cache_benches::{Goal, Part};

const FUNCTIONS: [usize; 3] = [200, 10, 1];
const ROUNDS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut part = Part::new("compile");
    let rounds = if part.is_quick() { 1 } else { ROUNDS };
    for functions in FUNCTIONS {
        measure(&mut part, rounds, functions)?;
    }
    part.finish();
    Ok(())
}

fn measure(part: &mut Part, rounds: usize, functions: usize) -> Result<()> {
    let workspace = Workspace::write(&target_dir().join("compile-work"), functions)?;
    for profile in [Profile::Debug, Profile::Release] {
        let title = |what: &str| match functions {
            1 => format!("{what}, 1 function, {profile:?}"),
            many => format!("{what}, {many} functions, {profile:?}"),
        };
        let (time, size) = (title("rustc's time"), title("size of the program"));
        if !part.wants(&time) && !part.wants(&size) {
            continue;
        }
        for variant in VARIANTS {
            workspace.build(variant, profile)?;
        }
        let (mut seconds, mut kibibytes) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut costs = Vec::new();
            for variant in VARIANTS {
                workspace.touch(variant)?;
                costs.push(workspace.build(variant, profile)?);
            }
            seconds.push(costs.iter().map(|cost| cost.seconds).collect());
            kibibytes.push(costs.iter().map(|cost| cost.bytes / 1024.0).collect());
        }
        let names = VARIANTS.each_ref().map(|variant| variant.name);
        // The smaller the program, the larger the part of it that is library.
        let goals = [Goal::time(VARIANTS[1].name, if functions == 200 { 0.5 } else { 1.2 })];
        part.measured(&time, "s", &goals, &names, &seconds);
        part.measured(&size, "KiB", &goals, &names, &kibibytes);
    }
    Ok(())
}

// The crates

/// One way of caching the functions.
struct Variant {
    name: &'static str,
    package: &'static str,
    dependencies: fn() -> String,
    import: &'static str,
    /// The attribute of a function.
    attribute: fn(&Function) -> String,
}

/// Ours first: the others are compared with it.
const VARIANTS: &[Variant; 4] = &[
    Variant {
        name: "cache-runtime, ttl",
        package: "ours",
        dependencies: || {
            let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("cache-runtime");
            format!("cache-runtime = {{ path = {runtime:?}, default-features = false }}")
        },
        import: "use cache_runtime::cached;",
        attribute: |_| "#[cached(ttl = 60)]".to_owned(),
    },
    Variant {
        name: "cached, max_size + ttl_secs",
        package: "theirs",
        dependencies: cached,
        import: "use cached::macros::cached;",
        attribute: |function| function.cached("max_size = 10_000, ttl_secs = 60"),
    },
    Variant {
        name: "cached, unbounded",
        package: "theirs-unbounded",
        dependencies: cached,
        import: "use cached::macros::cached;",
        attribute: |function| function.cached(""),
    },
    Variant {
        name: "not cached",
        package: "none",
        dependencies: String::new,
        import: "",
        attribute: |_| String::new(),
    },
];

fn cached() -> String {
    r#"cached = { version = "=4.1.0", features = ["async"] }"#.to_owned()
}

/// An argument: its type, an owned key of it, a value, and a number made of it.
struct Argument {
    ty: &'static str,
    owned: &'static str,
    to_owned: &'static str,
    value: &'static str,
    number: &'static str,
}

const fn argument(
    ty: &'static str,
    owned: &'static str,
    to_owned: &'static str,
    value: &'static str,
    number: &'static str,
) -> Argument {
    Argument { ty, owned, to_owned, value, number }
}

const ARGUMENTS: &[Argument] = &[
    argument("u64", "u64", "", "7", " % 1000"),
    argument("&str", "String", ".to_owned()", "\"ann\"", ".len() as u64"),
    argument("u32", "u32", "", "7", " as u64"),
    argument("String", "String", ".clone()", "String::from(\"ann\")", ".len() as u64"),
    argument("bool", "bool", "", "true", " as u64"),
    argument("&[u8]", "Vec<u8>", ".to_vec()", "&[1, 2]", ".len() as u64"),
    argument("(u32, i64)", "(u32, i64)", "", "(1, 2)", ".0 as u64"),
    argument("Option<u16>", "Option<u16>", "", "Some(7)", ".map_or(0, u64::from)"),
    argument("&Place", "Place", ".clone()", "&Place { x: 1, y: 2 }", ".x as u64"),
    argument("Vec<u64>", "Vec<u64>", ".clone()", "vec![1, 2]", ".len() as u64"),
    argument("char", "char", "", "'x'", " as u64"),
];

/// Return types, and how each is made of the number `n`.
const RETURNS: &[(&str, &str)] = &[
    ("u64", "n"),
    ("Result<User, Failure>", "if n == 0 { return Err(Failure); } Ok(User { id: n, name: n.to_string() })"),
    ("String", "n.to_string()"),
    ("Option<User>", "if n == 0 { None } else { Some(User { id: n, name: n.to_string() }) }"),
    ("Vec<u64>", "vec![n; 3]"),
    ("Result<u32, Failure>", "u32::try_from(n).map_err(|_| Failure)"),
    ("(u32, String)", "(3, n.to_string())"),
    ("Option<u64>", "n.checked_mul(3)"),
    ("Arc<Vec<u8>>", "Arc::new(n.to_le_bytes().to_vec())"),
    ("Result<Vec<User>, Failure>", "Ok(vec![User { id: n, name: n.to_string() }])"),
    ("f64", "n as f64 / 3.0"),
    ("Result<Option<String>, Failure>", "Ok((n != 0).then(|| n.to_string()))"),
    ("[u8; 16]", "[n as u8; 16]"),
];

const TYPES: &str = "
#[derive(Debug, Clone)]
pub struct User { pub id: u64, pub name: String }
#[derive(Debug, Clone)]
pub struct Failure;
";

/// What the key needs, which differs: ours are serialised, `cached`'s hashed and compared.
const PLACE: &str = "pub struct Place { pub x: i32, pub y: i32 }\n";

/// One of the functions.
struct Function {
    number: usize,
    arguments: Vec<&'static Argument>,
    output: &'static (&'static str, &'static str),
    is_async: bool,
}

impl Function {
    /// Of different lengths, so that the pairs of arguments and return types don't repeat.
    fn new(number: usize) -> Self {
        let count = [1, 2, 3, 2, 1, 2, 4][number % 7];
        let arguments = (0..count).map(|at| &ARGUMENTS[(number * (at + 1) + at) % ARGUMENTS.len()]).collect();
        Self { number, arguments, output: &RETURNS[number % RETURNS.len()], is_async: number % 10 == 9 }
    }

    fn item(&self) -> String {
        let Self { number, arguments, output: (output, made), is_async } = self;
        let asyncness = if *is_async { "async " } else { "" };
        let list = |of: &dyn Fn(usize, &Argument) -> String, between| {
            arguments.iter().enumerate().map(|(at, one)| of(at, one)).collect::<Vec<_>>().join(between)
        };
        let inputs = list(&|at, one| format!("a{at}: {}", one.ty), ", ");
        let sum = list(&|at, one| format!("(a{at}{})", one.number), " + ");
        format!("pub {asyncness}fn call_{number}({inputs}) -> {output} {{ let n: u64 = {sum}; {made} }}\n")
    }

    fn call(&self) -> String {
        let values: Vec<&str> = self.arguments.iter().map(|argument| argument.value).collect();
        let call = format!("call_{}({})", self.number, values.join(", "));
        let call = if self.is_async { format!("block_on({call})") } else { call };
        format!("#[inline(never)]\nfn use_{}() {{ drop(black_box({call})); }}\n", self.number)
    }

    /// `cached`'s attribute: borrowed arguments need an owned key.
    fn cached(&self, options: &str) -> String {
        if !self.arguments.iter().any(|argument| argument.ty.starts_with('&')) {
            return if options.is_empty() { "#[cached]".to_owned() } else { format!("#[cached({options})]") };
        }
        let owned: Vec<&str> = self.arguments.iter().map(|argument| argument.owned).collect();
        let parts = self.arguments.iter().enumerate().map(|(at, one)| format!("a{at}{}", one.to_owned));
        let (owned, parts) = (owned.join(", "), parts.collect::<Vec<_>>().join(", "));
        let key = format!("key = \"({owned})\", convert = {{ ({parts}) }}");
        if options.is_empty() { format!("#[cached({key})]") } else { format!("#[cached({options}, {key})]") }
    }
}

fn program(variant: &Variant, functions: usize) -> String {
    let mut text = format!(
        "#![allow(unused_parens, dropping_copy_types)]\n{}\nuse std::hint::black_box;\nuse std::sync::Arc;\n{TYPES}",
        variant.import
    );
    let derive = if variant.package == "ours" { "serde::Serialize" } else { "PartialEq, Eq, Hash" };
    let _ = write!(text, "#[derive(Debug, Clone, {derive})]\n{PLACE}");
    text.push_str(
        "
fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
",
    );
    let functions: Vec<Function> = (0..functions).map(Function::new).collect();
    for function in &functions {
        let _ = write!(text, "{}\n{}", (variant.attribute)(function), function.item());
    }
    functions.iter().for_each(|function| text.push_str(&function.call()));
    text.push_str("fn main() {\n");
    functions.iter().for_each(|function| _ = writeln!(text, "    use_{}();", function.number));
    text.push_str("}\n");
    text
}

// Building them

#[derive(Debug, Clone, Copy)]
enum Profile {
    Debug,
    Release,
}

/// What one build of one crate took and made.
struct Cost {
    /// User and system time of its rustc.
    seconds: f64,
    /// The stripped program.
    bytes: f64,
}

struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn write(root: &Path, functions: usize) -> Result<Self> {
        let packages: Vec<&str> = VARIANTS.iter().map(|variant| variant.package).collect();
        fs::create_dir_all(root)?;
        fs::write(
            root.join("Cargo.toml"),
            format!("[workspace]\nresolver = \"3\"\nmembers = {packages:?}\n"),
        )?;
        // cargo passes rustc's command line to this. It prints what its children took.
        let wrapper = root.join("rustc-timed");
        fs::write(&wrapper, "#!/bin/sh\n\"$@\"\ncode=$?\ntimes > \"$COMPILE_BENCH_TIMES\"\nexit $code\n")?;
        make_executable(&wrapper)?;
        for variant in VARIANTS {
            let package = root.join(variant.package);
            fs::create_dir_all(package.join("src"))?;
            let serde = if variant.package == "ours" {
                "serde = { version = \"1\", features = [\"derive\"] }\n"
            } else {
                ""
            };
            let manifest = format!(
                "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n\
                 [dependencies]\n{}\n{serde}",
                variant.package,
                (variant.dependencies)()
            );
            fs::write(package.join("Cargo.toml"), manifest)?;
            fs::write(package.join("src/main.rs"), program(variant, functions))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Makes cargo build the crate again.
    fn touch(&self, variant: &Variant) -> io::Result<()> {
        let main =
            fs::File::options().append(true).open(self.root.join(variant.package).join("src/main.rs"))?;
        main.set_modified(std::time::SystemTime::now())
    }

    fn build(&self, variant: &Variant, profile: Profile) -> Result<Cost> {
        let times = self.root.join("times");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "-p", variant.package]);
        let directory = match profile {
            Profile::Debug => "debug",
            Profile::Release => {
                cargo.arg("--release");
                "release"
            }
        };
        let target = self.root.join("target");
        cargo.current_dir(&self.root).env("RUSTC_WORKSPACE_WRAPPER", self.root.join("rustc-timed"));
        cargo.env("COMPILE_BENCH_TIMES", &times).env("CARGO_TARGET_DIR", &target);
        // From scratch each time, as the first build is, and every build in CI.
        cargo.env("CARGO_INCREMENTAL", "0").env_remove("RUSTFLAGS");
        if !cargo.stdin(Stdio::null()).status()?.success() {
            return Err(format!("{} does not build", variant.name).into());
        }
        let stripped = self.root.join("stripped");
        let program = target.join(directory).join(variant.package);
        if !Command::new("strip").arg("-o").arg(&stripped).arg(program).status()?.success() {
            return Err("`strip` failed".into());
        }
        let bytes = fs::metadata(stripped)?.len() as f64;
        Ok(Cost { seconds: seconds_of_children(&fs::read_to_string(times)?)?, bytes })
    }
}

/// The second line that the shell's `times` prints: `0m1.23s 0m0.45s`.
fn seconds_of_children(times: &str) -> Result<f64> {
    let line = times.lines().nth(1).ok_or("`times` printed one line")?;
    let mut sum = 0.0;
    for time in line.split_whitespace() {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m').ok_or("not a time")?;
        sum += minutes.parse::<f64>()? * 60.0 + seconds.parse::<f64>()?;
    }
    Ok(sum)
}

fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}
