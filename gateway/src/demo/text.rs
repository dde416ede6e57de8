//! What the demo prints: where everything is, and four things to try, each a command that can be copied.

use std::path::Path;

use super::{Addresses, files::Files};

/// The whole text.
pub(super) fn greeting(addresses: Addresses, files: &Files) -> String {
    let Addresses { gateway, admin, orchestrator, control } = addresses;
    let (apps, log) = (quoted(&files.apps()), files.log().display().to_string());
    let program = std::env::current_exe().map_or_else(|_| "holdgate".to_owned(), |program| quoted(&program));
    let holdgate = format!("{program} --config {}", quoted(&files.config()));
    format!(
        "\
The gateway serves. Ctrl-C ends the demo and leaves nothing behind.

  gateway       http://{gateway}      its log: {log}
  admin         http://{admin}/v1/status
  orchestrator  http://{orchestrator}/v1/state      its apps: {apps}

Four things to try, from another terminal:

1. Ask the two apps through the gateway. One has two instances, the other shows what it was sent.

     curl -H 'Host: hello.localhost' http://{gateway}/
     curl -H 'Host: echo.localhost' http://{gateway}/any/path

2. Make the orchestrator not ready, then kill -9 the gateway and start it again. Nothing happens to the apps: the new
   process serves the table that the old one had saved. (The last command makes the orchestrator ready again.)

     curl -X POST -d '{{\"ready\":false,\"reason\":\"still starting\"}}' http://{orchestrator}/control/ready
     curl -X POST http://{control}/demo/restart-gateway
     curl -H 'Host: hello.localhost' http://{gateway}/
     curl -X POST -d '{{\"ready\":true}}' http://{orchestrator}/control/ready

3. Look at what is served, from where, and how old it is; and ask whether a restart would be safe.

     {holdgate} status
     {holdgate} table show hello.localhost
     {holdgate} preflight

4. Delete all apps. The orchestrator now says, ready and in good faith, that there are none; the guard holds that, and
   the apps answer on. Then bring them back, or let them go with `table approve`.

     rm {apps}/*.json
     {holdgate} status
     curl -H 'Host: hello.localhost' http://{gateway}/
     curl -X POST http://{control}/demo/restore-apps
"
    )
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:@".contains(&b));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/tmp/a-b_1.2/x")), "/tmp/a-b_1.2/x");
        assert_eq!(quoted(Path::new("/tmp/it's a")), r"'/tmp/it'\''s a'");
    }
}
