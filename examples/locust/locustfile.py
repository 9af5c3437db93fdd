"""A run that the consumer records: registered at the start, committed at the end."""

import consumer_hooks  # noqa: F401
from locust import HttpUser, constant, task


class Visitor(HttpUser):
    wait_time = constant(0.05)

    @task(3)
    def front(self):
        self.client.get("/")

    @task
    def missing(self):
        self.client.get("/missing")
