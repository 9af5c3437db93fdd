"""Checks a percentile distribution with HdrHistogram's own Python library (hdrhistogram, PyPI).

Arguments: the CSV of a log's requests, and the distribution of their response times. It is read as HdrHistogram's plotter
reads it. The library counts the requests that succeeded, and every line must be what it counted.
"""

import csv
import sys

from hdrh.histogram import HdrHistogram

histogram = HdrHistogram(1, 3_600_000_000_000, 3)
with open(sys.argv[1], newline="") as requests:
    for row in csv.DictReader(requests):
        if row["successful"] == "true":
            histogram.record_value(int(row["took_ns"]))
total = histogram.get_total_count()
# The largest value of each bucket that has one, and how many are in it and before it.
buckets = [(step.value_iterated_to, step.total_count_to_this_value) for step in histogram.get_recorded_iterator()]

lines = []
with open(sys.argv[2]) as distribution:
    for line in distribution:
        parts = line.split()
        if not line.startswith("#") and parts and parts[0] != "Value":
            lines.append([float(part) for part in parts])
assert len(lines) > 20, lines
for value, percentile, count, *rest in lines:
    ns = round(value * 1e6)
    # The first bucket that has this share of all. A share that is a whole number of requests may be rounded up.
    fitting = [
        next(bucket for bucket in buckets if bucket[1] >= min(percentile * total + rounding, total))
        for rounding in (-1e-6, 1e-6)
    ]
    end, up_to = next((bucket for bucket in fitting if bucket[1] == count), fitting[0])
    assert count == up_to, f"{count} requests up to {value} ms, the library has {up_to}"
    assert histogram.values_are_equivalent(ns, end) or ns == histogram.get_max_value(), f"{ns} is not {end}"
    assert rest == ([] if percentile == 1 else [float(f"{1 / (1 - percentile):.2f}")]), rest
assert lines[0][1] == 0 and lines[-1][1] == 1 and lines[-1][2] == total
print(f"{len(lines)} lines, {total} requests")
