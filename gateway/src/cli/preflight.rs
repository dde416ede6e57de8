//! `holdgate preflight`: whether a restart now is safe, and why.
//!
//! It looks and changes nothing: the state folder is read without its lock, ports are only tried, and the orchestrator is
//! asked directly rather than through the gateway, since it is the next process that will need it. What is seen is
//! judged by pure functions, which the tests drive.

mod before_start;
mod holder;
pub mod kept_note;
mod machine;
mod ports;
mod source;
mod stored;

use std::process::ExitCode;

use serde::Serialize;

use super::{
    args::{Global, PreflightArgs},
    client::{self, CallError, Client},
    print,
};
use crate::{admin::view::Status, config::Config};

/// What one check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// Nothing stands against a restart.
    Ok,
    /// A restart is safe, but somebody should look.
    Warning,
    /// A restart is not safe.
    Failed,
}

/// One line of the outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into() }
    }

    fn warning(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, detail: detail.into() }
    }

    fn failed(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, detail: detail.into() }
    }
}

#[derive(Serialize)]
struct Outcome<'a> {
    safe: bool,
    warnings: usize,
    checks: &'a [Finding],
}

/// Runs every check.
///
/// # Errors
/// When the configuration is bad (exit code 78) or stdout cannot be written.
pub fn run(global: &Global, args: &PreflightArgs) -> anyhow::Result<ExitCode> {
    if args.before_start {
        return before_start::run(global, args);
    }
    let config = client::load(global)?;
    let mut findings = vec![Finding::ok("configuration", "valid")];
    let running = ask_gateway(global, args, &config)?;
    findings.push(gateway(&running));
    let running = running.ok();
    findings.extend(checks(&config, running.as_ref()));
    report(&findings, args.json)?;
    Ok(exit_code(&findings, args.strict))
}

fn checks(config: &Config, running: Option<&Status>) -> Vec<Finding> {
    let saved = stored::look(config);
    let orchestrator = source::ask(config);
    let mut findings = vec![stored::judge(&saved, running, &orchestrator), source::judge(&orchestrator)];
    findings.extend(ports::check(config, running));
    findings.push(machine::descriptors(config, running));
    findings.push(machine::memory(running, saved.bytes()));
    findings.push(machine::connections(config));
    findings.push(machine::disk(&config.state_dir, saved.bytes()));
    findings
}

fn ask_gateway(global: &Global, args: &PreflightArgs, config: &Config) -> anyhow::Result<Result<Status, CallError>> {
    let client = match &args.client.admin {
        Some(_) => Client::find(global, &args.client)?,
        None => Client::of(config, args.client.token_file.as_deref())?,
    };
    Ok(client.fetch("/v1/status"))
}

fn gateway(running: &Result<Status, CallError>) -> Finding {
    match running {
        Ok(status) => Finding::ok("gateway", format!("runs as pid {}, {}", status.pid, status.state)),
        Err(error @ CallError::NotRunning { .. }) => Finding::ok("gateway", format!("none to compare with: {error}")),
        Err(error) => Finding::warning("gateway", error.to_string()),
    }
}

fn report(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    let outcome = Outcome { safe: is_safe(findings), warnings: warnings(findings), checks: findings };
    if json {
        return print(serde_json::to_string(&outcome)?);
    }
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "WARNING",
            Verdict::Failed => "FAILED",
        };
        print(format_args!("{word:<8}{:<15}{}", finding.check, finding.detail))?;
    }
    print(last_line(&outcome))
}

fn last_line(outcome: &Outcome<'_>) -> String {
    match (outcome.safe, outcome.warnings) {
        (true, 0) => "a restart now is safe".to_owned(),
        (true, 1) => "a restart now is safe, with 1 warning".to_owned(),
        (true, n) => format!("a restart now is safe, with {n} warnings"),
        (false, _) => "a restart now is NOT safe".to_owned(),
    }
}

fn is_safe(findings: &[Finding]) -> bool {
    findings.iter().all(|f| f.verdict != Verdict::Failed)
}

fn warnings(findings: &[Finding]) -> usize {
    findings.iter().filter(|f| f.verdict == Verdict::Warning).count()
}

fn exit_code(findings: &[Finding], strict: bool) -> ExitCode {
    let safe = is_safe(findings) && !(strict && warnings(findings) > 0);
    if safe { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_verdict() {
        let check = |safe, warnings, line| assert_eq!(last_line(&Outcome { safe, warnings, checks: &[] }), line);
        check(true, 0, "a restart now is safe");
        check(true, 1, "a restart now is safe, with 1 warning");
        check(true, 2, "a restart now is safe, with 2 warnings");
        check(false, 2, "a restart now is NOT safe");
    }

    #[test]
    fn only_strict_takes_a_warning_for_a_failure() {
        let fine = [Finding::ok("a", "")];
        let warned = [Finding::ok("a", ""), Finding::warning("b", "")];
        let failed = [Finding::failed("a", ""), Finding::ok("b", "")];
        let code = |findings: &[Finding], strict| format!("{:?}", exit_code(findings, strict));
        let (success, failure) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(code(&fine, true), success);
        assert_eq!(code(&warned, false), success);
        assert_eq!(code(&warned, true), failure);
        assert_eq!(code(&failed, false), failure);
    }
}
