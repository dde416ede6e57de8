//! What is wrong with a configuration: every error, with its place and what would be right.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Where an error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// These bytes of the file.
    File(Range<usize>),
    /// This environment variable.
    Variable(String),
    /// The configuration as a whole.
    Whole,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfigError {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Everything that is wrong with a configuration. Its `Display` is for people: each error with file, line, column and
/// the line itself.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    file: PathBuf,
    source: String,
    errors: Vec<ConfigError>,
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    /// `errors` must not be empty.
    pub(super) fn new(file: &Path, source: &str, mut errors: Vec<ConfigError>) -> Self {
        debug_assert!(!errors.is_empty());
        errors.sort_by_key(|error| error.place.order());
        Self { file: file.to_owned(), source: source.to_owned(), errors }
    }

    /// One error about the file as a whole.
    pub(super) fn of_file(file: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        let error = ConfigError { place: Place::Whole, message: message.into(), help: Some(help.into()) };
        Self::new(file, "", vec![error])
    }

    /// How many errors there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// Each error in one line, `FILE:LINE:COLUMN: message`, for logs.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.errors.iter().map(|error| format!("{}: {}", self.place(&error.place), error.message))
    }

    fn place(&self, place: &Place) -> String {
        let file = self.file.display();
        match place {
            Place::File(at) => {
                let (line, column) = line_and_column(&self.source, at.start);
                format!("{file}:{line}:{column}")
            }
            Place::Variable(name) => format!("environment variable {name}"),
            Place::Whole => file.to_string(),
        }
    }

    fn render(&self, error: &ConfigError) -> String {
        let title = Level::ERROR.primary_title(&error.message);
        let path = self.file.to_string_lossy();
        let help = error.help.iter().map(|help| Level::HELP.message(help));
        let group = match &error.place {
            Place::File(at) => {
                let mark = AnnotationKind::Primary.span(at.clone());
                title.element(Snippet::source(&self.source).path(path).annotation(mark)).elements(help)
            }
            Place::Variable(_) | Place::Whole => {
                let origin = Level::NOTE.message(format!("in {}", self.place(&error.place)));
                title.element(origin).elements(help)
            }
        };
        Renderer::plain().render(&[group])
    }
}

impl Place {
    /// The file first, from its top.
    fn order(&self) -> (u8, usize) {
        match self {
            Self::File(at) => (0, at.start),
            Self::Variable(_) => (1, 0),
            Self::Whole => (2, 0),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{}\n", self.render(error))?;
        }
        let plural = if self.errors.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in the configuration; nothing was changed", self.errors.len())
    }
}

/// The line and column of a byte, both from 1, the column in characters.
pub(super) fn line_and_column(source: &str, byte: usize) -> (usize, usize) {
    let before = source.get(..byte).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// `"a", "b" or "c"`
pub(super) fn quoted_list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("\"{one}\""),
        [rest @ .., last] => {
            let rest: Vec<_> = rest.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{} or \"{last}\"", rest.join(", "))
        }
    }
}
