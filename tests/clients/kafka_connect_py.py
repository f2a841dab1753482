"""kc of kafka-connect-py 1.0.0, command by command. It exits with 0 whatever happens: its output counts."""
import json
import os
import subprocess
import sys

from report import FACTS, NAME, URL, info, is_state, row, same, status, wait
from report import config as config_of

KC = os.path.join(os.path.dirname(sys.executable), "kc")
CONFIG = json.dumps(FACTS["config"])
TOPICS = {NAME: {"topics": [FACTS["topic"]]}}
ONLY = ["--pattern", f"^{NAME}$"]


def kc(*args):
    """What a command prints: JSON where it is JSON."""
    ran = subprocess.run([KC, "--url", URL, *args], capture_output=True, text=True, timeout=60, check=False)
    text = ran.stdout.strip().replace(URL, "URL").replace(NAME, "NAME")
    try:
        return json.loads(ran.stdout)
    except ValueError:
        return text or "nothing"


def until(state, tasks=1):
    return status(wait(lambda: kc("status", NAME), is_state(state, tasks)))


def plugins():
    found = [plugin for plugin in kc("list-plugins") if plugin["class"].endswith(FACTS["class"])
             or plugin["class"].endswith(FACTS["class"] + "Connector")]
    return f"{len(found)} of our class: {found[0]['type']}, {same('version', found[0]['version'], FACTS['version'])}"


def root():
    answer = kc("info")
    return f"{list(answer)}, {same('version', answer['version'], FACTS['server_version'])}, " \
           f"{same('cluster id', answer['kafka_cluster_id'], FACTS['cluster_id'])}"


def tasks():
    answer = kc("list-tasks", NAME)
    return f"{[task['id'] == {'connector': NAME, 'task': 0} for task in answer]}, " \
           f"config with task.class {['task.class' in task['config'] for task in answer]}"


def refused(answer):
    return "refused" if "Error: " in str(answer) else answer


row("info", root)
row("list-plugins", plugins)
# It sends the config as a JSON string, which no Connect takes.
row("validate-config", lambda: refused(kc("validate-config", FACTS["class"], "--config-data", CONFIG)))
row("create", lambda: info(kc("create", "--config-data", json.dumps({"name": NAME, "config": FACTS["config"]}))))
row("create, again", lambda: kc("create", "--config-data", json.dumps({"name": NAME, "config": FACTS["config"]})))
row("status", lambda: until("RUNNING"))
row("list", lambda: NAME in kc("list"))
row("list --pattern", lambda: kc("list", *ONLY) == [NAME])
row("list --state running", lambda: kc("list", "--state", "running", *ONLY) == [NAME])
row("list --state paused", lambda: kc("list", "--state", "paused", *ONLY))
row("list --expand status", lambda: status(kc("list", "--expand", "status", *ONLY)[NAME]["status"]))
row("list --expand info", lambda: info(kc("list", "--expand", "info", *ONLY)[NAME]["info"]))
row("get", lambda: info(kc("get", NAME)))
row("get, unknown", lambda: kc("get", "none"))
row("config", lambda: config_of(kc("config", NAME)))
row("list-tasks", tasks)
row("task-status", lambda: f"{kc('task-status', NAME, '0')['state']}")
row("task-status, unknown", lambda: kc("task-status", NAME, "7"))
row("list-topics", lambda: wait(lambda: kc("list-topics", NAME), lambda answer: answer == TOPICS, 20) == TOPICS)
row("reset-topics", lambda: kc("reset-topics", NAME))
row("restart", lambda: wait(lambda: kc("restart", NAME), is_state("RUNNING"))["connector"]["state"])
row("restart --include-tasks", lambda: kc("restart", "--include-tasks", NAME)["type"])
row("status, restarted", lambda: until("RUNNING"))
row("restart-task", lambda: kc("restart-task", NAME, "0"))
row("restart-task, unknown", lambda: kc("restart-task", NAME, "9"))
row("status, task restarted", lambda: until("RUNNING"))
row("pause", lambda: kc("pause", NAME))
row("status, paused", lambda: until("PAUSED"))
row("list --state paused, paused", lambda: kc("list", "--state", "paused", *ONLY) == [NAME])
row("resume", lambda: kc("resume", NAME))
row("status, resumed", lambda: until("RUNNING"))
row("update", lambda: info(kc("update", NAME, "--config-data", json.dumps(dict(FACTS["config"], a="b"))), {"a": "b"}))
row("config, updated", lambda: config_of(kc("config", NAME), {"a": "b"}))
row("status, updated", lambda: until("RUNNING"))
row("pause --all", lambda: kc("pause", "--all", *ONLY))
row("resume --all", lambda: kc("resume", "--all", *ONLY))
row("restart --all", lambda: list(kc("restart", "--all", *ONLY)) == [NAME])
row("delete --all", lambda: kc("delete", "--all", *ONLY))
row("get, deleted", lambda: kc("get", NAME))
row("delete, again", lambda: kc("delete", NAME))
