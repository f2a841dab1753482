"""kafka-connect-healthcheck 0.3.0 as the process that probes ask. It looks at all connectors, and takes one that is
deleted meanwhile for a failure: so each row waits for its outcome."""
import os
import subprocess
import sys

import requests

from report import FACTS, NAME, URL, row, wait

PROGRAM = os.path.join(os.path.dirname(sys.executable), "kafka-connect-healthcheck")
HERE = f"http://127.0.0.1:{FACTS['port']}"


def ask(path):
    response = requests.get(HERE + path, timeout=60)
    return response.status_code, response.json()


def health(healthy, failing=()):
    def wanted(answer):
        return answer[1].get("healthy") == healthy and all(
            any(failure["connector"] == name for failure in answer[1].get("failures", [])) for name in failing)

    status, answer = wait(lambda: ask("/"), wanted)
    failures = sorted({failure["connector"].replace(NAME, "NAME") for failure in answer.get("failures", [])})
    return f"{status} healthy {answer['healthy']}, failures {failures}, states {answer['failure_states']}"


def create(name, config):
    answer = requests.put(f"{URL}/connectors/{name}/config", json=config, timeout=60)
    return answer.status_code


with subprocess.Popen([PROGRAM, "--port", str(FACTS["port"]), "--connect-url", URL, "--connect-worker-id",
                       FACTS["worker"], "--log-level", "ERROR"]) as server:
    try:
        row("GET /ping", lambda: wait(lambda: ask("/ping"), lambda answer: answer == (200, {"status": "UP"})))
        row("(a connector)", lambda: create(NAME, FACTS["config"]))
        row("GET /", lambda: health(True))
        row("(one that fails)", lambda: create(NAME + "-failing", FACTS["failing"]))
        row("GET /, failing", lambda: health(False, [NAME + "-failing"]))
        row("(the one that fails is deleted)", lambda: requests.delete(f"{URL}/connectors/{NAME}-failing", timeout=60).status_code)
        row("GET /, repaired", lambda: health(True))
        row("(the connector is deleted)", lambda: requests.delete(f"{URL}/connectors/{NAME}", timeout=60).status_code)
    finally:
        server.terminate()
