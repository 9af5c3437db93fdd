"""Reports a Locust run to the consumer of wile-e-coyote (docs/exports.md).

Put this file beside your locustfile and add `import consumer_hooks` to it. Then:

    WEC_CONSUMER=http://127.0.0.1:8091 locust -f locustfile.py --headless …

The run is registered when it starts, and its result is committed when it stops. For live figures during the run:

    consumer_hooks.send_updates(every=15)
"""

import logging
import os
import socket
import time

import gevent
import requests
from locust import events
from locust.runners import WorkerRunner

CONSUMER = os.environ.get("WEC_CONSUMER", "http://127.0.0.1:8091").rstrip("/")
TOKEN = os.environ.get("WEC_CONSUMER_TOKEN")

log = logging.getLogger(__name__)
uuid = None
update_every = None


def send_updates(every=15):
    """Sends live figures, too, each time this number of seconds has passed."""
    global update_every
    update_every = every


def post(event, body):
    """A consumer that is away must not disturb the run."""
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    try:
        url = f"{CONSUMER}/apiv0.1/events/{event}"
        answer = requests.post(url, json=body, headers=headers, timeout=5)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        log.warning("the consumer did not take %s: %s", event, error)
        return {}


def entry(stats):
    return {
        "method": stats.method or "",
        "name": stats.name,
        "num_requests": stats.num_requests,
        "num_failures": stats.num_failures,
        "avg_response_time": stats.avg_response_time,
        "min_response_time": stats.min_response_time,
        "max_response_time": stats.max_response_time,
        "median_response_time": stats.median_response_time,
        "current_rps": stats.current_rps,
        "avg_content_length": stats.avg_content_length,
    }


def request_stats(runner):
    stats = runner.stats
    return {
        "stats": [entry(stats) for stats in [*stats.entries.values(), stats.total]],
        "errors": [
            {"method": e.method, "name": e.name, "error": str(e.error), "occurrences": e.occurrences}
            for e in stats.errors.values()
        ],
        "total_rps": stats.total.total_rps,
        "fail_ratio": stats.total.fail_ratio,
        "state": runner.state,
        "user_count": runner.user_count,
    }


def report(event, environment):
    tags = {"hostname": environment.host or "", "mode": mode(environment)}
    post(
        event,
        {
            "startedAt": int(time.time()),
            "uuid": uuid,
            "measurement": {
                "fields": {"requestStats": request_stats(environment.runner)},
                "tags": tags,
            },
        },
    )


def mode(environment):
    return "cluster" if environment.parsed_options.master else "single"


def keep_updating(environment):
    while True:
        gevent.sleep(update_every)
        report("update", environment)


updating = None


@events.test_start.add_listener
def register(environment, **_):
    global uuid, updating
    if isinstance(environment.runner, WorkerRunner):
        return
    options = environment.parsed_options
    answer = post(
        "register",
        {
            "startedAt": int(time.time()),
            "hostname": socket.gethostname(),
            "measurement": {
                "fields": {
                    "clients": options.num_users or 0,
                    "hatchRate": options.spawn_rate or 0,
                    "requests": 0,
                }
            },
            "tags": {"targetHost": environment.host or "", "mode": mode(environment)},
        },
    )
    uuid = answer.get("data", {}).get("uuid")
    if uuid and update_every:
        updating = gevent.spawn(keep_updating, environment)


@events.test_stop.add_listener
def commit(environment, **_):
    if updating:
        updating.kill()
    if uuid:
        report("commit", environment)
