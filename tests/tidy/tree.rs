//! The files of the repository.

use super::rust::Code;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Rust file: its path from the root, with slashes, and its code.
pub struct File {
    pub path: String,
    pub code: Code,
}

/// A word that only some files may contain.
pub struct Word {
    pub text: &'static str,
    pub only_under: &'static [&'static str],
}

pub fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().expect("the node's crate stands in the root").to_owned()
}

/// Every Rust file of the source folders.
pub fn rust_files(root: &Path, folders: &[&str]) -> Vec<File> {
    let mut paths: Vec<PathBuf> = folders.iter().flat_map(|folder| walk(&root.join(folder))).collect();
    paths.sort();
    let file = |path: &PathBuf| File {
        path: path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/"),
        code: Code::of(&fs::read_to_string(path).expect("reading a source file")),
    };
    paths.iter().map(file).collect()
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("listing a source folder");
    let paths = entries.map(|entry| entry.expect("listing a source folder").path());
    let inner = paths.flat_map(|path| match path.file_name().and_then(|name| name.to_str()) {
        Some("node_modules" | "target") => Vec::new(),
        _ if path.is_dir() => walk(&path),
        Some(name) if name.ends_with(".rs") => vec![path],
        _ => Vec::new(),
    });
    inner.collect()
}

/// Names in the root: what git tracks, or everything when the tree is not a checkout.
pub fn top_level(root: &Path) -> Vec<String> {
    let listed = Command::new("git").args(["ls-tree", "--name-only", "HEAD"]).current_dir(root).output();
    match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => fs::read_dir(root)
            .expect("listing the root")
            .map(|entry| entry.expect("listing the root").file_name().to_string_lossy().into_owned())
            .collect(),
    }
}

/// Names that are neither in `allowed` nor hidden.
pub fn top_level_faults(names: &[String], allowed: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !name.starts_with('.') && !allowed.contains(&name.as_str())).cloned().collect()
}

/// Files with more production lines than `lines_max`; those named `tests.rs` and the exempt aside.
pub fn file_length_faults(files: &[File], lines_max: usize, exempt: &[(&str, &str)]) -> Vec<String> {
    let counted = files.iter().filter(|file| {
        !file.path.ends_with("/tests.rs") && exempt.iter().all(|(path, _)| file.path != *path)
    });
    let lengths = counted.map(|file| (file, file.code.production_lines()));
    lengths
        .filter(|(_, lines)| *lines > lines_max)
        .map(|(file, lines)| format!("{}: {lines} lines", file.path))
        .collect()
}

/// Functions with more than `lines_max` lines, but for the exempt (path, function, reason).
pub fn function_length_faults(
    files: &[File],
    lines_max: usize,
    exempt: &[(&str, &str, &str)],
) -> Vec<String> {
    let functions = files.iter().flat_map(|file| file.code.functions().into_iter().map(move |f| (file, f)));
    functions
        .filter(|(_, function)| function.lines > lines_max)
        .filter(|(file, function)| {
            exempt.iter().all(|(p, f, _)| (file.path.as_str(), function.name.as_str()) != (*p, *f))
        })
        .map(|(file, function)| {
            format!("{}:{}: {} has {} lines", file.path, function.line, function.name, function.lines)
        })
        .collect()
}

/// Places of words outside the files that may contain them.
pub fn word_faults(files: &[File], words: &[Word]) -> Vec<String> {
    let mut faults = Vec::new();
    for word in words {
        let strangers = files.iter().filter(|f| !word.only_under.iter().any(|path| f.path.starts_with(path)));
        for file in strangers {
            let lines = file.code.lines_with(word.text).into_iter();
            faults.extend(lines.map(|line| format!("{}:{line}: {}", file.path, word.text)));
        }
    }
    faults
}

mod tests {
    use super::*;

    fn file(path: &str, source: &str) -> File {
        File { path: path.to_owned(), code: Code::of(source) }
    }

    #[test]
    fn a_name_that_the_design_does_not_know_is_a_fault() {
        let names = ["node", ".github", "utils"].map(str::to_owned);
        assert_eq!(top_level_faults(&names, &["node"]), ["utils"]);
    }

    #[test]
    fn a_long_file_is_a_fault_unless_it_is_exempt_or_holds_tests() {
        let files = [file("a.rs", "1\n2\n3"), file("b.rs", "1\n2\n3"), file("c/tests.rs", "1\n2\n3")];
        assert_eq!(file_length_faults(&files, 2, &[("b.rs", "a table")]), ["a.rs: 3 lines"]);
        assert_eq!(file_length_faults(&files, 3, &[]), [""; 0]);
    }

    #[test]
    fn a_long_function_is_a_fault_unless_it_is_exempt() {
        let files = [file("a.rs", "fn f() {\n1\n}\nfn g() {\n2\n}")];
        assert_eq!(function_length_faults(&files, 2, &[("a.rs", "g", "a table")]), ["a.rs:1: f has 3 lines"]);
        assert_eq!(function_length_faults(&files, 3, &[]), [""; 0]);
    }

    #[test]
    fn a_word_is_a_fault_only_outside_its_place() {
        let files = [file("in/a.rs", "unsafe {}"), file("out/a.rs", "\nunsafe {}")];
        let words = [Word { text: "unsafe", only_under: &["in/"] }];
        assert_eq!(word_faults(&files, &words), ["out/a.rs:2: unsafe"]);
    }
}
