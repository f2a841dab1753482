"""What the drivers share: the facts about who is asked, rows of the table, waiting.

A driver is called with a file of facts (JSON: url, name, config, failing, class, worker, version, server_version, cluster_id, port), and
prints a row for each call: `call | outcome`.
"""
import json
import sys
import time

with open(sys.argv[1], encoding="utf-8") as file:
    FACTS = json.load(file)
NAME = FACTS["name"]
URL = FACTS["url"]


def row(call, outcome):
    """One row: an outcome, or what calling it gives or raises."""
    if callable(outcome):
        try:
            outcome = outcome()
        except Exception as error:  # whatever the client raises is its outcome
            outcome = f"{type(error).__name__}: {error}"
    print(f"{call} | {' '.join(str(outcome).split())}", flush=True)


def wait(ask, wanted, limit_s=30):
    """Asks until the answer is as wanted, and returns the last one."""
    end = time.monotonic() + limit_s
    while True:
        try:
            answer = ask()
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        if wanted(answer) or time.monotonic() > end:
            return answer
        time.sleep(0.1)


def same(what, value, fact):
    """Whether a value is what it should be."""
    return f"{what} as it is" if value == fact else f"{what} {value}"


def config(got, more=()):
    """Whether a config is the one that was sent, with its name."""
    sent = dict(FACTS["config"], name=NAME, **dict(more))
    return "config as sent" if got == sent else f"config {got}"


def info(connector, more=()):
    """What a client tells of a connector's name, config, tasks and type."""
    tasks = [f"{task['connector'] == NAME}-{task['task']}" for task in connector["tasks"]]
    return f"{same('name', connector['name'], NAME)}, {config(connector['config'], more)}, tasks {tasks}, {connector['type']}"


def status(answer):
    """States, and whether they name the worker."""
    parts = [answer["connector"]] + answer["tasks"]
    workers = "known" if all(part["worker_id"] == FACTS["worker"] for part in parts) else "unknown"
    tasks = [f"{task['id']} {task['state']}" for task in answer["tasks"]]
    return f"{answer['connector']['state']}, tasks {tasks}, worker {workers}, {answer['type']}"


def is_state(state, tasks=1):
    """For `wait`: the connector and so many tasks are in a state."""

    def wanted(answer):
        if not isinstance(answer, dict) or "connector" not in answer:
            return False
        states = [task["state"] for task in answer["tasks"]]
        return answer["connector"]["state"] == state and states == [state] * tasks

    return wanted
