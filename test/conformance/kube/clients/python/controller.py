"""What a controller does with the Python client: definitions, custom objects, lists in pages, patches of every kind, server-side
apply, and a watch that goes on from where another one ended."""
import json
import os

from kubernetes import client, dynamic, watch
from kubernetes.config.incluster_config import InClusterConfigLoader

configuration = client.Configuration()
InClusterConfigLoader(os.environ["TOKEN_FILE"], os.environ["CA_FILE"]).load_and_set(configuration)
namespace = os.environ["NS"]
api = client.ApiClient(configuration)
core, apps = client.CoreV1Api(api), client.AppsV1Api(api)

for i in range(7):
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "page-%d" % i, "labels": {"paged": "yes"}}})
seen, more = [], None
while True:
    page = core.list_namespaced_config_map(namespace, label_selector="paged=yes", limit=3, _continue=more)
    seen.append([m.metadata.name for m in page.items])
    more = page.metadata._continue
    if not more:
        break
print("pages", seen)

version = page.metadata.resource_version
core.patch_namespaced_config_map("page-0", namespace, {"data": {"a": "1"}})
core.patch_namespaced_config_map("page-0", namespace, [{"op": "add", "path": "/data/b", "value": "2"}])
core.delete_namespaced_config_map("page-1", namespace)
watcher, events = watch.Watch(), []
for event in watcher.stream(core.list_namespaced_config_map, namespace, label_selector="paged=yes", resource_version=version, timeout_seconds=30):
    events.append((event["type"], event["object"].metadata.name, event["object"].data))
    if len(events) == 3:
        watcher.stop()
print("watch", events)
watcher, later = watch.Watch(), core.read_namespaced_config_map("page-0", namespace).metadata.resource_version
core.patch_namespaced_config_map("page-2", namespace, {"data": {"late": "yes"}})
for event in watcher.stream(core.list_namespaced_config_map, namespace, label_selector="paged=yes", resource_version=later, timeout_seconds=30):
    if event["object"].metadata.name == "page-2":
        print("resumed", event["type"], event["object"].data)
        watcher.stop()

maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")


def apply(value, manager):
    # As text: this version of the client takes no object for the media type of server-side apply.
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": value}}
    return maps.server_side_apply(name="applied", body=json.dumps(body), namespace=namespace, field_manager=manager)


applied = apply("1", "python")
print("applied", applied.to_dict()["data"], [m["manager"] for m in applied.to_dict()["metadata"]["managedFields"]])
try:
    apply("2", "another")
except dynamic.exceptions.ConflictError as e:
    print("conflict", e.status)
dry = core.patch_namespaced_config_map("applied", namespace, {"data": {"a": "3"}}, dry_run="All")
print("dry", dry.data, core.read_namespaced_config_map("applied", namespace).data)

container = {"name": "main", "image": "none"}
apps.create_namespaced_deployment(namespace, {"metadata": {"name": "idle"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "idle"}}, "template": {"metadata": {"labels": {"app": "idle"}}, "spec": {"containers": [container]}}}})
print("scaled", apps.patch_namespaced_deployment_scale("idle", namespace, {"spec": {"replicas": 0}}).spec.replicas)
try:
    apps.patch_namespaced_deployment("idle", namespace, {"spec": {"replicas": -1}})
except client.ApiException as e:
    print("invalid", e.status)
review = client.AuthorizationV1Api(api).create_self_subject_access_review({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}}})
print("may", review.status.allowed)
apps.delete_namespaced_deployment("idle", namespace)
core.delete_collection_namespaced_config_map(namespace, label_selector="paged=yes")
core.delete_namespaced_config_map("applied", namespace)
print("left", [m.metadata.name for m in core.list_namespaced_config_map(namespace, label_selector="paged=yes").items])
