"""First-come-first-served arbitration that does not depend on event order.

A clock cycle has two phases: first every unit acts on what has completed (units post requests), then the
shared servers arbitrate what was posted in that cycle. Requests of one cycle are served in the order of their
client number, so the outcome is a function of the model's state alone, never of how an event queue broke a tie.
"""

from __future__ import annotations

import simpy

from hw_models.memory import SharedServers, Work


class Request(simpy.Event):
    """A request to a shared server; it succeeds when it has been served."""

    def __init__(self, env: simpy.Environment, client: int, work: Work) -> None:
        super().__init__(env)
        self.client = client
        self.work = work

    def complete_after(self, delay_cycles: int) -> None:
        """Succeed `delay_cycles` from now, as simpy.Timeout does."""
        self._ok = True
        self._value = None
        self.env.schedule(self, delay=delay_cycles)


class Arbiter:
    """Collects the requests of a cycle and has the servers serve them."""

    def __init__(self, env: simpy.Environment, servers: SharedServers) -> None:
        self._env = env
        self._servers = servers
        self._posted: list[Request] = []

    def post(self, client: int, work: Work) -> Request:
        """Queue a request for this cycle's arbitration."""
        request = Request(self._env, client, work)
        self._posted.append(request)
        return request

    def arbitrate(self) -> None:
        """Second phase of a cycle: serve what was posted."""
        if self._posted:
            posted, self._posted = self._posted, []
            now = int(self._env.now)
            for request in sorted(posted, key=lambda request: request.client):
                request.complete_after(self._servers.serve(now, request.work) - now)
