"""Say whether the process beside this one answers on its metrics port: exit 0 when it does, 1 when not.

Run by the container's HEALTHCHECK. Standard library only; looks at loopback, spends nothing.
"""

from __future__ import annotations

import http.client
import sys

TIMEOUT_S = 4.0


def answers(port: int) -> bool:
    """Ask for the metrics; any failure to answer 200 in time is an unhealthy process."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if answers(int(sys.argv[1])) else 1)
