// What a controller does with the JavaScript client, as it finds itself in a cluster: patches, an informer, logs that are
// followed.
import { PassThrough } from 'node:stream';
import { createRequire } from 'node:module';
const require = createRequire(process.env.MODULES + '/');
const k8s = await import(require.resolve('@kubernetes/client-node'));

const config = new k8s.KubeConfig();
config.loadFromCluster(process.env.POD_ROOT);
const namespace = config.getContextObject(config.getCurrentContext()).namespace;
const core = config.makeApiClient(k8s.CoreV1Api);
const labels = { informed: 'js' };

const events = [], waiting = [];
const note = (text) => {
    events.push(text);
    waiting.splice(0).forEach((f) => f());
};
const until = async (text) => {
    while (!events.includes(text)) await new Promise((resolve) => waiting.push(resolve));
};
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace, labelSelector: 'informed=js' }), 'informed=js');
informer.on('add', (o) => note(`add ${o.metadata.name}`));
informer.on('update', (o) => note(`update ${o.metadata.name} ${JSON.stringify(o.data)}`));
informer.on('delete', (o) => note(`delete ${o.metadata.name}`));
await informer.start();
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'patched', labels }, data: { a: '1' } } });
await until('add patched');
for (const [strategy, body, want] of [
    [k8s.PatchStrategy.MergePatch, { data: { b: '2' } }, { a: '1', b: '2' }],
    [k8s.PatchStrategy.StrategicMergePatch, { data: { c: '3' } }, { a: '1', b: '2', c: '3' }],
    [k8s.PatchStrategy.JsonPatch, [{ op: 'remove', path: '/data/a' }], { b: '2', c: '3' }],
]) {
    const answer = await core.patchNamespacedConfigMap({ name: 'patched', namespace, body }, k8s.setHeaderOptions('Content-Type', strategy));
    console.log(strategy, answer.data);
    await until(`update patched ${JSON.stringify(want)}`);
}
const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'patched' }, data: { c: '4' } };
try {
    await core.patchNamespacedConfigMap({ name: 'patched', namespace, body, fieldManager: 'js-apply' }, k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply));
} catch (e) {
    console.log('conflict', e.code);
}
await core.deleteNamespacedConfigMap({ namespace, name: 'patched' });
await until('delete patched');
await informer.stop();
console.log('informed', events.filter((e) => !e.startsWith('update')));

let text = '';
const lines = new PassThrough();
const followed = new Promise((resolve) => lines.on('data', (d) => (text += d) && text.split('\n').length > 2 && resolve()));
const following = await new k8s.Log(config).log(namespace, 'runner', 'main', lines, { follow: true });
await followed;
following.abort();
console.log('followed', text.split('\n').slice(0, 2));
process.exit(0);
