//! What fuzzers found worth keeping: each input once more, without a fuzzer.

use std::fs;
use std::path::Path;

use walstone_tests::fuzz::TARGETS;

#[test]
fn no_input_of_the_corpus_breaks_anything() {
    for (name, target) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(inputs.len() > 10, "{name} has {} inputs", inputs.len());
        for input in inputs {
            target(&fs::read(input).unwrap());
        }
    }
}
