//! `holdgate man`: for packagers. One page that has every command.

use std::{io, process::ExitCode};

use clap::{Arg, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

use super::{args::Cli, print};
use crate::config::DEFAULT_FILE;

/// What the page says besides the commands: section, then paragraphs of a term and its meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "SIGNALS",
        &[
            ("SIGTERM, SIGINT", "Drain: stop accepting, finish what runs, exit. A second one exits at once."),
            ("SIGHUP", "Reload the configuration. A bad one is refused and the old one kept."),
        ],
    ),
    ("ENVIRONMENT", &[("HOLDGATE_SECTION__KEY", "Overrides a key of the configuration.")]),
    (
        "EXIT STATUS",
        &[("0", "Done, or drained."), ("1", "Failed."), ("2", "Bad command line."), ("78", "Bad configuration.")],
    ),
];

/// Prints the manual page in roff.
///
/// # Errors
/// When stdout cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    print(page()?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> io::Result<String> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    commands(&mut roff, &command);
    SECTIONS.iter().for_each(|(title, terms)| section(&mut roff, title, terms));
    section(&mut roff, "FILES", &[(DEFAULT_FILE, "The configuration, where no --config is given.")]);
    roff.to_writer(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Every command that has none below it; `help` is none of ours.
fn commands(roff: &mut Roff, parent: &clap::Command) {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        if command.has_subcommands() {
            commands(roff, command);
        } else {
            one_command(roff, command);
        }
    }
}

fn one_command(roff: &mut Roff, command: &clap::Command) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    roff.control("SS", [name]);
    roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default() + ".")]);
    let own = |arg: &&Arg| !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str());
    for arg in command.get_arguments().filter(own) {
        argument(roff, arg);
    }
}

fn argument(roff: &mut Roff, arg: &Arg) {
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let value = if arg.get_action().takes_values() { value } else { String::new() };
    roff.control("TP", []);
    match arg.get_long() {
        Some(long) if value.is_empty() => roff.text([bold(format!("--{long}"))]),
        Some(long) => roff.text([bold(format!("--{long}")), roman(" "), italic(value)]),
        None => roff.text([italic(value)]),
    };
    let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let shown = if default.is_empty() { String::new() } else { format!(" [default: {}]", default.join(" ")) };
    roff.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default() + &shown)]);
}

fn section(roff: &mut Roff, title: &str, terms: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_its_options() {
        let page = page().unwrap().replace('\\', "");
        for expected in ["holdgate table approve", "fB--strictfR", "holdgate run", "SIGHUP", "SHELL", "127.0.0.1:7000"]
        {
            assert!(page.contains(expected), "{expected}\n{page}");
        }
        assert!(!page.contains("holdgate help"), "{page}");
    }
}
