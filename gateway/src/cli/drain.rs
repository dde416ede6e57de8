//! `holdgate drain`: asks, and does not wait for the end.

use std::process::ExitCode;

use serde_json::json;

use super::{
    args::{DrainArgs, Global},
    client::Client,
    print,
};
use crate::admin::view::Done;

/// Makes the running gateway drain.
///
/// # Errors
/// When it cannot be asked.
pub fn run(global: &Global, args: &DrainArgs) -> anyhow::Result<ExitCode> {
    let done: Done = Client::find(global, &args.client)?.post("/v1/drain", &json!({}))?;
    print(format_args!("{}: it accepts nothing new, and ends when its requests have", done.state))?;
    Ok(ExitCode::SUCCESS)
}
