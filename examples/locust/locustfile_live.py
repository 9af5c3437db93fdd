"""The same with live figures during the run."""

import os

import consumer_hooks
from locustfile import Visitor  # noqa: F401

consumer_hooks.send_updates(every=float(os.environ.get("UPDATE_EVERY", "15")))
