//! The recorder that all metrics go to, and the handle that renders them.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{names, shares};

/// Upper bounds of the histograms, in seconds: from a fast local answer to the default request timeout.
pub(super) const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What can be read of the metrics. Clones read the same.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// Every metric in Prometheus' text format, the workers' shares included.
    #[must_use]
    pub fn render(&self) -> String {
        shares::tell();
        let mut text = self.0.render();
        shares::write(&mut text);
        text
    }

    /// Lets go of samples that are counted. See [`install`].
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Installs the recorder of this process and describes every metric to it; a second call gives the same one.
///
/// Whoever holds it calls `run_upkeep` every few seconds: histograms keep every sample until then (20 million of them
/// were measured to take 318 MiB), but for those in [`shares`].
pub fn install() -> Exposition {
    static HANDLE: OnceLock<Exposition> = OnceLock::new();
    let install = || {
        let recorder = recorder();
        let handle = Exposition(recorder.handle());
        // ignored: only a recorder that is not ours can be there, as a test may have it, and then it stays
        let _ = metrics::set_global_recorder(recorder);
        names::describe();
        handle
    };
    HANDLE.get_or_init(install).clone()
}

pub(super) fn recorder() -> PrometheusRecorder {
    let buckets = Matcher::Suffix("_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(buckets, &SECONDS)
        .expect("invariant: there are buckets")
        .build_recorder()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_rendered_with_buckets_and_every_metric_with_its_help() {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            names::describe();
            metrics::histogram!(names::REQUEST_DURATION).record(0.003);
            metrics::counter!(names::REQUESTS, names::LISTENER => "web", names::CLASS => "2xx").increment(2);
        });
        let text = recorder.handle().render();
        assert!(text.contains("holdgate_request_duration_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("holdgate_requests_total{listener=\"web\",class=\"2xx\"} 2"), "{text}");
        assert!(text.contains("# HELP holdgate_requests_total Requests answered, by class of status."), "{text}");
    }

    #[test]
    fn a_second_installation_gives_the_same_recorder() {
        install();
        metrics::counter!(names::UPSTREAM_EJECTIONS).increment(7);
        assert!(install().render().contains("holdgate_upstream_ejections_total 7"));
    }

    #[test]
    fn names_follow_the_rules() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in names::ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("holdgate_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == names::Kind::Counter, "{name}");
            let seconds = name.ends_with("_seconds");
            assert_eq!(seconds, metric.unit == metrics::Unit::Seconds, "{name}");
            assert!(seconds || metric.kind != names::Kind::Histogram, "{name}: no buckets");
            assert_eq!(name.contains("_bytes"), metric.unit == metrics::Unit::Bytes, "{name}");
        }
    }
}
