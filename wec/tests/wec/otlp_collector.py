"""An OTLP receiver of classes that others wrote: those of opentelemetry-proto (PyPI). A collector forwards to it.

Prints its address, then for each export a line of JSON: attributes of the resource and all points.
"""

import gzip
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service


def text(attributes):
    values = {}
    for attribute in attributes:
        assert attribute.value.WhichOneof("value") == "string_value", attribute
        assert attribute.key not in values, f"{attribute.key} is there twice"
        values[attribute.key] = attribute.value.string_value
    return values


def points(metric):
    """The points of a metric, after what the specification demands of them."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    if kind in ("sum", "histogram"):
        assert data.aggregation_temporality == 2, f"{metric.name} is not cumulative"
    seen = set()
    for point in data.data_points:
        labels = text(point.attributes)
        assert tuple(sorted(labels.items())) not in seen, f"{metric.name}{labels} is there twice"
        seen.add(tuple(sorted(labels.items())))
        assert point.time_unix_nano > 0, metric.name
        if kind != "gauge":
            assert 0 < point.start_time_unix_nano <= point.time_unix_nano, metric.name
        if kind == "histogram":
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, metric.name
            assert list(point.explicit_bounds) == sorted(set(point.explicit_bounds)), metric.name
            assert sum(point.bucket_counts) == point.count, metric.name
            yield {"kind": kind, "labels": labels, "count": point.count, "sum": point.sum}
        else:
            yield {"kind": kind, "labels": labels, "value": getattr(point, point.WhichOneof("value"))}


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        request = service.ExportMetricsServiceRequest()
        request.ParseFromString(body)
        # Nothing in it that the official classes do not know.
        known = service.ExportMetricsServiceRequest()
        known.CopyFrom(request)
        known.DiscardUnknownFields()
        assert known.SerializeToString() == request.SerializeToString(), "it has unknown fields"
        for resource in request.resource_metrics:
            found = {"resource": text(resource.resource.attributes), "metrics": {}}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert metric.name not in found["metrics"], f"{metric.name} is there twice"
                    found["metrics"][metric.name] = {"unit": metric.unit, "points": list(points(metric))}
            print(json.dumps(found), flush=True)
        answer = service.ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Collector)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
