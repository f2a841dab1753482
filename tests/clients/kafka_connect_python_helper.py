"""connect_helper of kafka-connect-python-helper 0.0.7."""
import requests
from connect_helper import ConnectHelper

from report import FACTS, NAME, URL, info, row, status, wait

HELPER = ConnectHelper(requests.Session(), URL)
CONNECTOR = HELPER.connector
CONNECTOR.name = NAME


def answered(response, *shown):
    return ", ".join([str(response.status_code), *shown])


def put(more=()):
    response = CONNECTOR.put(dict(FACTS["config"], **dict(more)))
    return answered(response, info(response.json(), more))


def polled():
    CONNECTOR.poll_status(max_retries=300, backoff_seconds=0.2, initial_sleep_seconds=0)
    return "healthy"


def failed(ask):
    """What `raise_for_status` raises."""
    try:
        return ask()
    except requests.HTTPError as error:
        return f"HTTPError {error.response.status_code}"


row("put", put)
row("poll_status", polled)
row("get_connectors", lambda: answered(HELPER.get_connectors(), str(NAME in HELPER.get_connectors().json())))
row("get_status", lambda: status(CONNECTOR.get_status().json()))
row("get_remote_config", lambda: info(CONNECTOR.get_remote_config().json()))
row("put, again", lambda: put({"a": "b"}))
row("poll_status, again", polled)
row("delete", lambda: answered(CONNECTOR.delete()))
row("delete, again", lambda: answered(CONNECTOR.delete()))
row("get_remote_config, deleted", lambda: failed(CONNECTOR.get_remote_config))
row("get_status, deleted", lambda: wait(lambda: failed(CONNECTOR.get_status), lambda answer: answer == "HTTPError 404"))
