"""Logs that are followed with the Python client, while an exec makes more of them; and several sessions at once."""
import os
import threading

from kubernetes import client, watch
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.stream import stream

configuration = client.Configuration()
InClusterConfigLoader(os.environ["TOKEN_FILE"], os.environ["CA_FILE"]).load_and_set(configuration)
namespace = os.environ["NS"]


def core():
    return client.CoreV1Api(client.ApiClient(configuration))  # a connection pool of its own: a session takes one over


def run(*command):
    # The container's own process writes to its standard output, which is its log.
    return stream(core().connect_get_namespaced_pod_exec, "runner", namespace, container="main", command=list(command), stdout=True, stderr=True, stdin=False, tty=False)


print("tail", core().read_namespaced_pod_log("runner", namespace, container="main", tail_lines=1))
follower, lines = watch.Watch(), []
for line in follower.stream(core().read_namespaced_pod_log, "runner", namespace, container="main", since_seconds=86400):
    lines.append(line)
    if len(lines) == 2:
        run("sh", "-c", "echo a line that came later >/proc/1/fd/1")
    if line == "a line that came later":
        follower.stop()
print("followed", lines[:2], lines[-1])

answers = {}


def work(i):
    answers[i] = run("sh", "-c", "for n in 1 2 3; do echo %d.$n; sleep 0.2; done" % i)


threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("at once", sorted(answers.items()))
