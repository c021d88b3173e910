//! Gives the linker the board's memory map, and the sections of what is logged.

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumb") {
        println!("cargo:rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
        println!("cargo:rustc-link-arg-bins=-Tlink.x");
        if std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
            println!("cargo:rustc-link-arg-bin=logger=-Tdefmt.x");
        }
    }
}
