//! Source files as the plan sees them: without tests, comments and strings.

use std::{fs, path::Path};

/// A source file, relative to the folder it was found in.
#[derive(Debug)]
pub struct Source {
    /// Its path within the folder.
    pub path: String,
    /// Its lines up to its tests, comments and string contents blanked.
    lines: Vec<String>,
}

/// All source files below `folder` of the repository, but for the tests among them.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").join(folder);
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(!found.is_empty(), "{} has no source file", root.display());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().expect("names are UTF-8");
        if path.is_dir() && name != "tests" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let within = path.strip_prefix(root).expect("found below root").to_string_lossy().into_owned();
            found.push(Source::inline(&within, &fs::read_to_string(&path).expect("a readable source file")));
        }
    }
}

impl Source {
    /// `text` as if it were the file at `path`.
    pub fn inline(path: &str, text: &str) -> Self {
        let code = text.lines().take_while(|l| !l.starts_with("#[cfg(test)]"));
        Self { path: path.to_owned(), lines: code.map(bare).collect() }
    }

    /// How many lines it has without its tests.
    pub fn length(&self) -> usize {
        self.lines.len()
    }

    /// The modules from the crate's root down to this file; empty for lib.rs and main.rs.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|part| !matches!(*part, "lib" | "main")).collect()
    }

    /// The code as one text.
    pub fn code(&self) -> String {
        self.lines.join("\n")
    }

    /// Each line that holds one of `words`, with its place.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let hit = |line: &str| words.iter().any(|w| line.contains(w));
        let numbered = self.lines.iter().enumerate().filter(|(_, line)| hit(line));
        numbered.map(|(n, line)| format!("{}:{}: {}", self.path, n + 1, line.trim())).collect()
    }
}

/// The line without its comment and without what stands in its strings.
fn bare(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut quoted, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}
