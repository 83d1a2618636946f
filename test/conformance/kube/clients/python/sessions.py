"""What a program in a pod does with the Python client (kubernetes, Debian's python3-kubernetes)."""
import os


from kubernetes import client, watch
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.stream import portforward, stream

configuration = client.Configuration()
InClusterConfigLoader(os.environ["TOKEN_FILE"], os.environ["CA_FILE"]).load_and_set(configuration)
namespace = os.environ["NS"]
core = client.CoreV1Api(client.ApiClient(configuration))


def said(error):
    return error.status, error.reason


print("list", sorted(p.metadata.name for p in core.list_namespaced_pod(namespace).items))
core.create_namespaced_config_map(namespace, {"metadata": {"name": "from-python"}, "data": {"a": "1"}})
core.patch_namespaced_config_map("from-python", namespace, {"data": {"a": "2"}})
print("read", core.read_namespaced_config_map("from-python", namespace).data)
try:
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "from-python"}})
except client.ApiException as e:
    print("twice", said(e))
try:
    core.read_namespaced_pod("nothing", namespace)
except client.ApiException as e:
    print("missing", said(e))
for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, field_selector="metadata.name=from-python", timeout_seconds=2):
    print("watch", event["type"], event["object"].data)
core.delete_namespaced_config_map("from-python", namespace)
print("log", core.read_namespaced_pod_log("runner", namespace, container="main"))

execute = core.connect_get_namespaced_pod_exec
print("exec", stream(execute, "runner", namespace, container="main", command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True, stdin=False, tty=False))
answer = stream(execute, "runner", namespace, container="main", command=["sh", "-c", "read x; echo got $x; echo two >&2; exit 3"], stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
answer.write_stdin("ü typed\n")
answer.run_forever(timeout=30)
print("typed", answer.read_stdout(), answer.read_stderr(), answer.returncode)
big = stream(execute, "runner", namespace, container="main", command=["head", "-c", "3000000", "/dev/zero"], stdout=True, stderr=True, stdin=False, tty=False)
print("big", len(big))
try:
    stream(execute, "nothing", namespace, command=["true"], stdout=True, stderr=True, stdin=False, tty=False)
except client.ApiException as e:
    print("no pod", e.status)

forward = portforward(core.connect_get_namespaced_pod_portforward, "runner", namespace, ports="8000")
connection = forward.socket(8000)
connection.settimeout(30)
connection.sendall(b"text from python")
print("port", connection.recv(100))
