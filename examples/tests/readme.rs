//! The README says what is there.

use std::fs;
use std::path::Path;

fn of_workspace(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(path).unwrap()
}

fn block<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("```{language}\n");
    let blocks = text.split(start.as_str()).skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn its_example_is_the_program_quickstart() {
    let readme = of_workspace("README.md");
    let program = of_workspace("examples/src/bin/quickstart.rs");
    let (_, program) = program.split_once("\n\n").unwrap();
    assert_eq!(block(&readme, "rust"), [program]);
}

#[test]
fn its_two_commands_come_before_all_others() {
    let readme = of_workspace("README.md");
    let commands = block(&readme, "sh");
    assert_eq!(commands.len(), 2);
    assert!(commands[0].ends_with("--bin ingest -- README.md\n"));
    assert!(commands[1].starts_with("cargo test "));
}

#[test]
fn its_links_and_packages_are_there() {
    let readme = of_workspace("README.md");
    for link in readme.split("](").skip(1) {
        of_workspace(link.split(')').next().unwrap());
    }
    for line in readme
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("/` | `"))
    {
        let mut names = line.split('`').skip(1).step_by(2);
        let manifest = of_workspace(&format!("{}Cargo.toml", names.next().unwrap()));
        assert!(
            manifest.contains(&format!("name = \"{}\"", names.next().unwrap())),
            "{line}"
        );
    }
}

#[test]
fn its_rust_version_is_the_workspace_s() {
    let readme = of_workspace("README.md");
    let stated = readme
        .split_once("\nRust ")
        .unwrap()
        .1
        .split_once(" or later")
        .unwrap()
        .0;
    assert!(of_workspace("Cargo.toml").contains(&format!("rust-version = \"{stated}\"")));
}
