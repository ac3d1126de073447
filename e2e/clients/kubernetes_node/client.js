// Drives the JavaScript client: objects, patches, pages, a watch, an informer, logs, exec and port-forward over WebSocket.
//
// KUBECONFIG says which server, NAMESPACE where, IMAGE what pods run; one line of JSON for each behaviour.

import * as k8s from '@kubernetes/client-node';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const { NAMESPACE: namespace, IMAGE: image } = process.env;
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const name = 'js';

const as = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);
const patch = (body, strategy) => core.patchNamespacedConfigMap({ name, namespace, body }, as(strategy));

/** What a stream says, once `until` is in it or it has ended. */
const heard = (stream, until) =>
  new Promise((resolve, reject) => {
    let text = '';
    stream.on('data', (data) => {
      text += data;
      if (until && text.includes(until)) resolve(text);
    });
    stream.on('end', () => resolve(text));
    stream.on('error', reject);
  });

/** How calls fail: code, reason and message of each. */
const failures = async (calls) => {
  const seen = [];
  for (const call of calls) {
    try {
      await call();
    } catch (error) {
      const body = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
      seen.push([error.code, body.reason, body.message.replaceAll(namespace, 'NAMESPACE')]);
    }
  }
  return seen;
};

const behaviours = {
  async configMap() {
    const body = { metadata: { name, labels: { of: name } }, data: { a: 'b', u: 'ü' } };
    await core.createNamespacedConfigMap({ namespace, body });
    await patch({ data: { c: 'd' } }, k8s.PatchStrategy.MergePatch);
    await patch({ data: { e: 'f' } }, k8s.PatchStrategy.StrategicMergePatch);
    const made = await patch([{ op: 'replace', path: '/data/a', value: 'g' }], k8s.PatchStrategy.JsonPatch);
    return [made.data, made.metadata.labels];
  },

  async apply() {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { a: 'b' } };
    const made = await objects.patch(body, undefined, undefined, 'js', true, k8s.PatchStrategy.ServerSideApply);
    return [made.data, made.metadata.managedFields[0].manager];
  },

  async pages() {
    const names = [];
    let next;
    do {
      const page = await core.listNamespacedConfigMap({ namespace, limit: 1, _continue: next });
      names.push(...page.items.map((item) => item.metadata.name));
      next = page.metadata._continue;
    } while (next);
    return names;
  },

  async watched() {
    const seen = [];
    const watch = new k8s.Watch(config);
    let both;
    const done = new Promise((resolve, reject) => (both = { resolve, reject }));
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const controller = await watch.watch(
      path,
      { labelSelector: `of=${name}` },
      (type, object) => {
        seen.push([type, object.data]);
        if (seen.length === 1) patch({ data: { h: 'i' } }, k8s.PatchStrategy.MergePatch).catch(both.reject);
        if (seen.length === 2) both.resolve();
      },
      (error) => both.reject(error ?? new Error('the watch ended')),
    );
    await done;
    controller.abort();
    return seen;
  },

  async informer() {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: `of=${name}` });
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const informer = k8s.makeInformer(config, path, list, `of=${name}`);
    const added = new Promise((resolve) => informer.on('add', resolve));
    await informer.start();
    const object = await added;
    await informer.stop();
    return [object.metadata.name, object.data];
  },

  errors() {
    return failures([
      () => core.readNamespacedConfigMap({ name: 'nobody', namespace }),
      () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'No Name' } } }),
      () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name } } }),
    ]);
  },

  denied() {
    return failures([() => core.readNamespacedConfigMap({ name: 'crown-jewels', namespace })]);
  },

  async run() {
    const command = ['sh', '-c', 'echo started; echo hello >/tmp/index.html; exec httpd -f -p 8080 -h /tmp'];
    const volume = { name: 'tmp', emptyDir: {} };
    const container = { name: 'main', image, command, volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }] };
    const spec = { terminationGracePeriodSeconds: 0, volumes: [volume], containers: [container] };
    await core.createNamespacedPod({ namespace, body: { metadata: { name }, spec } });
    while ((await core.readNamespacedPod({ name, namespace })).status.phase !== 'Running') await sleep(100);
    return await core.readNamespacedPodLog({ name, namespace });
  },

  async followed() {
    const out = new PassThrough();
    const first = heard(out, 'started\n');
    const controller = await new k8s.Log(config).log(namespace, name, 'main', out, { follow: true });
    const text = await first;
    controller.abort();
    return text;
  },

  async exec() {
    const [out, failed] = [new PassThrough(), new PassThrough()];
    const [said, complained] = [heard(out), heard(failed)];
    const command = ['sh', '-c', 'cat; echo err >&2; exit 4'];
    const status = await new Promise((resolve, reject) => {
      new k8s.Exec(config)
        .exec(namespace, name, 'main', command, out, failed, Readable.from(['in']), false, resolve)
        .catch(reject);
    });
    out.end();
    failed.end();
    return [await said, await complained, status];
  },

  async forwarded() {
    const [out, input] = [new PassThrough(), new PassThrough()];
    const answer = heard(out, 'hello');
    await new k8s.PortForward(config).portForward(namespace, name, [8080], out, null, input);
    input.write('GET / HTTP/1.0\r\n\r\n');
    return (await answer).includes('200 OK');
  },

  async collection() {
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: `of=${name}` });
    return (await core.listNamespacedConfigMap({ namespace, labelSelector: `of=${name}` })).items.length;
  },
};

for (const [behaviour, run] of Object.entries(behaviours)) {
  const late = sleep(30_000, undefined, { ref: false }).then(() => Promise.reject(new Error('it takes too long')));
  const line = await Promise.race([run(), late]).then(
    (saw) => ({ behaviour, saw }),
    (error) => ({ behaviour, failed: String(error.message ?? error).slice(0, 500) }),
  );
  console.log(JSON.stringify(line));
}
process.exit(0);
