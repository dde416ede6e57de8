//! `holdgate config schema|show`

use std::process::ExitCode;

use super::{
    args::{ConfigShowArgs, Global},
    print,
};
use crate::config::{self, Config};

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// When stdout cannot be written.
pub fn schema() -> anyhow::Result<ExitCode> {
    print(format_args!("{:#}", config::schema()))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the effective values and where each comes from.
///
/// # Errors
/// When the configuration is bad, or stdout cannot be written.
pub fn show(global: &Global, args: &ConfigShowArgs) -> anyhow::Result<ExitCode> {
    let loaded = Config::load(global.config.as_deref(), config::environment())?;
    if args.json {
        print(format_args!("{:#}", loaded.to_json()))?;
    } else {
        print(loaded.to_toml().trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
