"""kafka-connect-api 0.5.10: its classes Cluster, Connector and Task."""
from kafka_connect_api.kafka_connect_api import Api, Cluster, Connector

from report import FACTS, NAME, URL, is_state, row, same, status, wait
from report import config as config_of

CLUSTER = Cluster(Api(url=URL))
CONNECTOR = Connector(CLUSTER, NAME)


def until(state, tasks=1):
    return status(wait(lambda: CONNECTOR.status, is_state(state, tasks)))


def done(call, *args):
    """The calls that return nothing raise when they are refused."""
    call(*args)
    return "done"


def configured(more=()):
    CONNECTOR.config = dict(FACTS["config"], **dict(more))
    return "done"


def root_logger(level):
    CLUSTER.root_logger = level
    return CLUSTER.root_logger["level"]


def not_found(ask):
    """The client keeps the answer in the third of its error's arguments."""
    try:
        return ask()
    except Exception as error:
        return f"{type(error).__name__} {error.code} {error.details[-1]['message'].replace(NAME, 'NAME')}"


row("Cluster.version", lambda: same("version", CLUSTER.version, FACTS["server_version"]))
row("Cluster.kafka_cluster", lambda: same("cluster id", CLUSTER.kafka_cluster, FACTS["cluster_id"]))
row("Connector.exists, not yet", lambda: not_found(CONNECTOR.exists))
row("Connector.config =", configured)
row("Connector.exists", CONNECTOR.exists)
row("Cluster.connectors", lambda: NAME in CLUSTER.connectors)
row("Connector.status", lambda: until("RUNNING"))
row("Connector.state", lambda: CONNECTOR.state)
row("Connector.config", lambda: config_of(CONNECTOR.config))
row("Connector.connector_class", lambda: same("class", CONNECTOR.connector_class, FACTS["class"]))
row("Connector.tasks", lambda: [task.id for task in CONNECTOR.tasks])
row("Task.state", lambda: CONNECTOR.tasks[0].state)
row("Task.is_running", lambda: CONNECTOR.tasks[0].is_running())
row("Task.restart", lambda: done(CONNECTOR.tasks[0].restart))
row("Connector.pause", lambda: done(CONNECTOR.pause))
row("Connector.state, paused", lambda: until("PAUSED"))
row("Connector.resume", lambda: done(CONNECTOR.resume))
row("Connector.state, resumed", lambda: until("RUNNING"))
row("Connector.restart", lambda: done(CONNECTOR.restart))
row("Connector.restart_all_tasks", lambda: done(CONNECTOR.restart_all_tasks))
row("Connector.cycle_connector", lambda: done(CONNECTOR.cycle_connector))
row("Connector.state, cycled", lambda: until("RUNNING"))
row("Connector.config =, again", lambda: configured({"a": "b"}))
row("Connector.config, again", lambda: config_of(CONNECTOR.config, {"a": "b"}))
row("Cluster.loggers", lambda: "root" in CLUSTER.loggers)
row("Cluster.root_logger", lambda: CLUSTER.root_logger["level"])
row("Cluster.root_logger =", lambda: root_logger("INFO"))
row("Connector.delete", lambda: done(CONNECTOR.delete))
row("Connector.exists, deleted", lambda: not_found(CONNECTOR.exists))
row("Connector.config, deleted", lambda: not_found(lambda: CONNECTOR.config))
row("Connector.pause, deleted", lambda: not_found(CONNECTOR.pause))
