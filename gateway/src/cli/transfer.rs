//! `holdgate table export` and `import`: a whole table out of, and into, a running gateway.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;

use super::{
    args::{Global, TableExportArgs, TableImportArgs},
    client::Client,
    print,
    status::bytes,
    upload::Upload,
};
use crate::admin::view::Steered;

/// Writes the served table to a file, which is there whole or not at all, or to stdout.
///
/// # Errors
/// When the gateway cannot be asked, or the file not be written.
pub fn export(global: &Global, args: &TableExportArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    if args.file == Path::new("-") {
        client.receive_table("/v1/table/export", &mut BufWriter::new(io::stdout().lock()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = args.file.display();
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("{shown} cannot be made"))?;
    let written = client.receive_table("/v1/table/export", &mut BufWriter::new(&mut staged))?;
    staged.flush()?;
    staged.as_file().sync_all().with_context(|| format!("{shown} cannot be written"))?;
    staged.persist(&args.file).with_context(|| format!("{shown} cannot be made"))?;
    print(format_args!("{shown}: {}", bytes(written)))?;
    Ok(ExitCode::SUCCESS)
}

/// Has the table of a file served, until `unpin`.
///
/// # Errors
/// When the file cannot be read, or the gateway does not take it.
pub fn import(global: &Global, args: &TableImportArgs) -> anyhow::Result<ExitCode> {
    let client = Client::find(global, &args.client)?;
    let body = if args.file == Path::new("-") {
        Upload::new(io::stdin())
    } else {
        Upload::new(File::open(&args.file).with_context(|| args.file.display().to_string())?)
    };
    let done: Steered = client.send_table("/v1/table/import", body)?;
    print(steered_text(&done))?;
    Ok(ExitCode::SUCCESS)
}

/// What an import or a rollback has done.
pub(super) fn steered_text(done: &Steered) -> String {
    let Steered { added, updated, removed, invalid, generation, apps, .. } = done;
    let mut text = format!(
        "generation {generation} with {apps} apps is served and pinned: {added} added, {updated} updated, {removed} removed"
    );
    if *invalid > 0 {
        text.push_str(&format!("; {invalid} are not served as they stand in it"));
    }
    if !done.saved {
        text.push_str("; NOT SAVED: it does not survive a restart yet");
    }
    text + "\nfollow the orchestrator again: holdgate table unpin"
}
