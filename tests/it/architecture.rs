//! The shape of the code: layers import downwards, libraries stay in their corner, the core is
//! pure, and the documents name what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lower layers first. A module may import from layers before its own, and from its own module.
const LAYERS: [&[&str]; 12] = [
    &["domain"],
    &["engine", "generator"],
    &["metrics_api"],
    &["stream"],
    &["codec", "store"],
    &["state", "import"],
    &["config"],
    &["telemetry"],
    &["kafka", "http"],
    &["pipeline"],
    &["service"],
    &["cli"],
];

/// Libraries and the only places that may name them.
const CORNERS: [(&str, &[&str]); 4] = [
    ("rdkafka", &["kafka/"]),
    ("rocksdb", &["store/rocks"]),
    ("axum", &["http/"]),
    ("apache_avro", &["codec/", "import/"]),
];

/// Words that bring the outside, the clock or chance into the pure core.
const IMPURE: [&str; 11] = [
    "std::fs",
    "std::net",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "Utc::now",
    "rand::",
    "tracing::",
    "tokio",
    "async fn",
    "std::env",
];
const PURE: [&str; 5] = ["domain", "engine", "metrics_api", "codec", "generator"];

/// Files longer than this are looked at again; those listed may shrink, not grow.
const FILE_LINES_MAX: usize = 500;
const LONG_FILES: [(&str, usize); 2] = [("domain/event.rs", 598), ("engine/shard.rs", 670)];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files.retain(|(name, _)| !is_tests(name));
    files
}

/// The top-level module a file belongs to.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The text before the unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// Whether a file holds unit tests only.
fn is_tests(file: &str) -> bool {
    ["/tests.rs", "/naive.rs", "/worked_examples.rs"].iter().any(|name| file.ends_with(name))
}

fn imports(text: &str) -> BTreeSet<&str> {
    let mut modules = BTreeSet::new();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    for part in code.flat_map(|line| line.split("crate::").skip(1)) {
        let end = part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
        modules.insert(&part[..end]);
    }
    modules
}

#[test]
fn modules_import_downwards_only() {
    let layer: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, modules)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    for (file, text) in rust_files(&root().join("src")) {
        let module = module_of(&file);
        if matches!(module, "main" | "lib") {
            continue;
        }
        let own = layer.get(module).unwrap_or_else(|| panic!("{module} has no layer"));
        assert!(!text.contains("use crate::{"), "{file}: one use line per module path");
        assert!(!text.contains("super::super"), "{file}: name the path from the crate's root");
        for imported in imports(without_tests(&text)) {
            let Some(theirs) = layer.get(imported) else {
                continue;
            };
            let is_down = theirs < own || imported == module;
            assert!(is_down, "{file} imports {imported}, which is not below {module}");
        }
    }
}

#[test]
fn libraries_stay_in_their_corner() {
    for (file, text) in rust_files(&root().join("src")) {
        for (library, corners) in CORNERS {
            let is_named = without_tests(&text).contains(&format!("{library}::"));
            let is_home = corners.iter().any(|corner| file.starts_with(corner));
            assert!(!is_named || is_home, "{file} names {library}, which belongs to {corners:?}");
        }
    }
}

#[test]
fn the_core_is_pure() {
    for (file, text) in rust_files(&root().join("src")) {
        if !PURE.contains(&module_of(&file)) {
            continue;
        }
        for word in IMPURE {
            let text = without_tests(&text);
            let found = text
                .lines()
                .find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(found.is_none(), "{file} is pure but says {word}: {found:?}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for folder in ["src", "tests", "benches"] {
        for (file, text) in rust_files(&root().join(folder)) {
            assert!(text.starts_with("//! "), "{folder}/{file} must begin with a module doc");
        }
    }
}

/// The files of the one module with code that the compiler can't check; they say what must hold.
const UNSAFE_FILES: [&str; 2] = ["kafka/batch.rs", "kafka/batch/headers.rs"];

#[test]
fn unsafe_code_is_in_one_module_and_there_are_no_leftovers() {
    for (file, text) in rust_files(&root().join("src")) {
        for (number, line) in text.lines().enumerate() {
            let code = line.trim_start();
            for word in ["unsafe ", "FIXME", "TODO", "todo!(", "dbg!("] {
                let is_found = code.contains(word) && !code.starts_with("//!");
                let is_allowed = word == "unsafe " && UNSAFE_FILES.contains(&file.as_str());
                assert!(!is_found || is_allowed, "{file}:{} says {word}", number + 1);
            }
        }
    }
}

#[test]
fn files_stay_small() {
    let exceptions = BTreeMap::from(LONG_FILES);
    for (file, text) in rust_files(&root().join("src")) {
        let lines = text.lines().count();
        let most = exceptions.get(file.as_str()).copied().unwrap_or(FILE_LINES_MAX);
        assert!(lines <= most, "{file} has {lines} lines, more than {most}");
    }
}

#[test]
fn the_architecture_document_names_every_module_and_test_that_it_should() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (file, _) in rust_files(&root().join("src")) {
        let module = module_of(&file);
        if !matches!(module, "main" | "lib") {
            assert!(document.contains(&format!("`{module}")), "{module} is not in ARCHITECTURE.md");
        }
    }
    for word in document.split('`').skip(1).step_by(2) {
        let is_path = word.starts_with("tests/") || word.starts_with("src/");
        assert!(!is_path || root().join(word).exists(), "{word} does not exist");
    }
}

#[test]
fn every_test_module_is_run() {
    let main = fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs")
            && module != "main"
        {
            assert!(main.contains(&format!("mod {module};")), "{name} is not in main.rs");
        }
    }
}
