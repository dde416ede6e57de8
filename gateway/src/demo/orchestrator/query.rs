//! The query of GET /v1/changes.

use std::time::Duration;

use reqwest::Url;
use routing_cache::model::{Generation, parse_duration};

/// The longest wait that is granted; clients have deadlines of their own.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Changes in a page at most. Source: the example of spec/orchestrator-api.md.
const MAX_CHANGES: usize = 5000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) epoch: String,
    pub(super) since: Generation,
    pub(super) wait: Duration,
    pub(super) max: usize,
}

impl Query {
    /// Reads it. `wait` is none and `max` the most where they are not given; both are held to a bound.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let (mut epoch, mut since, mut wait, mut max) = (None, None, Duration::ZERO, MAX_CHANGES);
        // Only the query is taken from it: a URL's parser is the one thing here that knows percent-encoding.
        let url = Url::parse(&format!("http://query/?{}", query.unwrap_or_default())).map_err(|e| e.to_string())?;
        for (name, value) in url.query_pairs() {
            match &*name {
                "epoch" => epoch = Some(value.into_owned()),
                "since" => since = Some(value.parse().map_err(|_| "since: not a generation")?),
                "wait" => wait = parse_duration(&value).map_err(|_| "wait: not a duration like \"50s\"")?,
                "max" => max = value.parse().map_err(|_| "max: not a number")?,
                _ => {}
            }
        }
        Ok(Self {
            epoch: epoch.ok_or("epoch: is missing")?,
            since: Generation(since.ok_or("since: is missing")?),
            wait: wait.min(MAX_WAIT),
            max: max.clamp(1, MAX_CHANGES),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_held_to_its_bounds() {
        let check = |text, want| assert_eq!(Query::parse(Some(text)), want, "{text}");
        let query = |epoch: &str, wait, max| {
            Ok(Query { epoch: epoch.into(), since: Generation(7), wait: Duration::from_millis(wait), max })
        };
        check("epoch=E&since=7&wait=50s&max=10", query("E", 50_000, 10));
        check("since=7&epoch=a%2Fb%20c&x=y", query("a/b c", 0, MAX_CHANGES));
        check("epoch=E&since=7&wait=9h&max=1000000", query("E", 300_000, MAX_CHANGES));
        check("epoch=E&since=7&wait=250ms&max=0", query("E", 250, 1));
        check("since=7", Err("epoch: is missing".into()));
        check("epoch=E", Err("since: is missing".into()));
        check("epoch=E&since=-1", Err("since: not a generation".into()));
        check("epoch=E&since=7&wait=50", Err("wait: not a duration like \"50s\"".into()));
        check("epoch=E&since=7&max=x", Err("max: not a number".into()));
    }
}
