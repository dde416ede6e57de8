-- What wrk found, as one line of JSON; milliseconds.
done = function(summary, latency)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  print(string.format('{"requests":%d,"seconds":%f,"errors":%d,"p50":%f,"p99":%f,"p999":%f}', summary.requests,
    summary.duration / 1e6, errors, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3))
end
