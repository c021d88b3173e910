//! Reads the sources: a module of core imports nothing from a layer above its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core")
}

/// The layers that the architecture document states: module to layer.
fn layers() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(core().join("docs/architecture.md")).unwrap();
    let table = text.split("<!-- layers").nth(1).unwrap();
    let mut layers = BTreeMap::new();
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let Some(cells) = row.strip_prefix("| ") else { continue };
        let mut cells = cells.split(" | ");
        let Ok(layer) = cells.next().unwrap().parse() else {
            continue;
        };
        for name in cells.next().unwrap().split('`').filter(|name| !name.trim().is_empty()) {
            layers.insert(name.to_owned(), layer);
        }
    }
    layers
}

/// Pairs that the document names as one idea in two files.
const ALLOWED: &[(&str, &str)] = &[
    ("record", "capacity"),
    ("geometry", "segment::layout"),
    ("facts", "capacity"),
    ("voids", "capacity"),
];

/// The module of a source file: `segment::header` for `segment/header.rs`.
fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(core().join("src")).unwrap().with_extension("");
    let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
    parts.join("::").trim_end_matches("::mod").to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every `crate::..` and `super::..` path in code, as modules that the table knows.
fn imports(module: &str, text: &str, layers: &BTreeMap<String, u32>) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    // What the blocking driver and the awaiting one have in common is written with `super`.
    let parent = module.rsplit_once("::").map(|(parent, _)| format!("{parent}::"));
    let code = code.replace("super::", &format!("crate::{}", parent.unwrap_or_default()));
    let mut found = Vec::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for path in line.split("crate::").skip(1) {
            let path: String = path
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | ':'))
                .collect();
            let known = layers.keys().filter(|module| {
                let behind = path.strip_prefix(module.as_str());
                behind.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            });
            found.extend(known.max_by_key(|module| module.len()).cloned());
        }
    }
    found
}

/// Paths that name no module: grouped ones, and names that the crate's root hands on.
fn hidden_imports(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let starts = |path: &str| path.starts_with('{') || path.starts_with(char::is_uppercase);
    code.filter(|line| line.split("crate::").skip(1).any(starts)).collect()
}

fn violations(files: &[(String, String)], layers: &BTreeMap<String, u32>) -> Vec<String> {
    let mut violations = Vec::new();
    for (module, text) in files {
        let Some((name, layer)) = layers.iter().find(|(name, _)| {
            module == *name
                || module
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with("::"))
        }) else {
            if module != "lib" && module != "segment" {
                violations.push(format!("{module} is in no layer"));
            }
            continue;
        };
        for hidden in hidden_imports(text) {
            violations.push(format!("{module} hides what it imports: {hidden}"));
        }
        for import in imports(module, text, layers) {
            if layers[&import] > *layer && !ALLOWED.contains(&(name, &import)) {
                violations.push(format!(
                    "{module} (layer {layer}) uses {import} (layer {})",
                    layers[&import]
                ));
            }
        }
    }
    violations
}

#[test]
fn no_module_imports_upward() {
    let layers = layers();
    assert!(layers.len() > 20, "the table was not read: {layers:?}");
    let mut paths = Vec::new();
    sources(&core().join("src"), &mut paths);
    let files: Vec<_> = paths
        .iter()
        .map(|path| (module_of(path), fs::read_to_string(path).unwrap()))
        .collect();
    let violations = violations(&files, &layers);
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn an_upward_import_is_seen() {
    let file = (
        "wire".to_owned(),
        "use crate::log::Log;\nfn f() -> crate::region::Region {}".to_owned(),
    );
    assert_eq!(violations(&[file], &layers()).len(), 2);
    let hidden = (
        "wire".to_owned(),
        "use crate::{log, region};\nuse crate::Log;".to_owned(),
    );
    assert_eq!(violations(&[hidden], &layers()).len(), 2);
    let beside = ("wire".to_owned(), "use super::log::Log;".to_owned());
    assert_eq!(violations(&[beside], &layers()).len(), 1);
    let stranger = ("stranger".to_owned(), String::new());
    assert_eq!(violations(&[stranger], &layers()).len(), 1);
}
