// What a program in a pod does with the JavaScript client (@kubernetes/client-node).
import { readFileSync } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { createRequire } from 'node:module';
const require = createRequire(process.env.MODULES + '/');
const k8s = await import(require.resolve('@kubernetes/client-node'));

const namespace = process.env.NS;
const config = new k8s.KubeConfig();
config.loadFromOptions({
    clusters: [{ name: 'c', server: process.env.SERVER, caData: readFileSync(process.env.CA_FILE).toString('base64') }],
    users: [{ name: 'u', token: readFileSync(process.env.TOKEN_FILE, 'utf8') }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u', namespace }],
    currentContext: 'x',
});
const core = config.makeApiClient(k8s.CoreV1Api);

const pods = await core.listNamespacedPod({ namespace });
console.log('list', pods.items.map((p) => p.metadata.name).sort());
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'from-js' }, data: { a: '1' } } });
const read = await core.readNamespacedConfigMap({ namespace, name: 'from-js' });
console.log('read', read.data);
read.data.a = '2';
await core.replaceNamespacedConfigMap({ namespace, name: 'from-js', body: read });
try {
    await core.readNamespacedPod({ namespace, name: 'nothing' });
} catch (e) {
    console.log('missing', e.code);
}
await new Promise((resolve, reject) => {
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    new k8s.Watch(config).watch(path, { fieldSelector: 'metadata.name=from-js', timeoutSeconds: 2 }, (type, object) => console.log('watch', type, object.data), (err) => (err && err.name !== 'AbortError' ? reject(err) : resolve()));
});
await core.deleteNamespacedConfigMap({ namespace, name: 'from-js' });

async function execute(command, stdin) {
    const out = new PassThrough(), err = new PassThrough();
    let printed = '', complained = '';
    out.on('data', (d) => (printed += d));
    err.on('data', (d) => (complained += d));
    const status = await new Promise((resolve, reject) => {
        new k8s.Exec(config).exec(namespace, 'runner', 'main', command, out, err, stdin, false, resolve).catch(reject);
    });
    return [printed.length > 200 ? printed.length : printed, complained, status.status, status.details?.causes?.[0]?.message];
}
console.log('exec', await execute(['sh', '-c', 'echo out; echo err >&2; exit 4'], null));
console.log('typed', await execute(['sh', '-c', 'read x; echo got $x'], Readable.from(['ü typed\n'])));
console.log('big', await execute(['head', '-c', '3000000', '/dev/zero'], null));
process.exit(0);
