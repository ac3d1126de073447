import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.reflect.TypeToken;
import io.kubernetes.client.Exec;
import io.kubernetes.client.PortForward;
import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.AppsV1Api;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ConfigMapList;
import io.kubernetes.client.openapi.models.V1Container;
import io.kubernetes.client.openapi.models.V1Deployment;
import io.kubernetes.client.openapi.models.V1DeploymentSpec;
import io.kubernetes.client.openapi.models.V1EmptyDirVolumeSource;
import io.kubernetes.client.openapi.models.V1LabelSelector;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.openapi.models.V1Pod;
import io.kubernetes.client.openapi.models.V1PodSpec;
import io.kubernetes.client.openapi.models.V1PodTemplateSpec;
import io.kubernetes.client.openapi.models.V1Volume;
import io.kubernetes.client.openapi.models.V1VolumeMount;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.PatchUtils;
import io.kubernetes.client.util.Watch;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The official client: objects, patches, pages, a watch, errors, exec, logs and a port, over HTTP/2 and WebSocket. */
final class Client {
    private static final String NAMESPACE = System.getenv("NAMESPACE");
    private static final String IMAGE = System.getenv("IMAGE");
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    private interface Behaviour {
        Object run() throws Exception;
    }

    private static ApiClient client;
    private static CoreV1Api core;

    private static V1ObjectMeta named() {
        return new V1ObjectMeta().name("java").labels(Map.of("of", "java"));
    }

    private static V1ConfigMap patched(String format, String patch) throws ApiException {
        return PatchUtils.patch(
            V1ConfigMap.class,
            () -> core.patchNamespacedConfigMap("java", NAMESPACE, new V1Patch(patch)).buildCall(null),
            format,
            client);
    }

    private static Object configMap() throws ApiException {
        core.createNamespacedConfigMap(NAMESPACE, new V1ConfigMap().metadata(named()).data(Map.of("a", "b"))).execute();
        patched(V1Patch.PATCH_FORMAT_STRATEGIC_MERGE_PATCH, "{\"data\":{\"c\":\"d\"}}");
        patched(V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, "{\"data\":{\"x\":\"y\"}}");
        String replace = "[{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"e\"}]";
        return new TreeMap<>(patched(V1Patch.PATCH_FORMAT_JSON_PATCH, replace).getData());
    }

    private static Object applied() throws ApiException {
        String manifest = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"applied\"},\"data\":{\"a\":\"b\"}}";
        V1ConfigMap made = PatchUtils.patch(
            V1ConfigMap.class,
            () -> core.patchNamespacedConfigMap("applied", NAMESPACE, new V1Patch(manifest))
                .fieldManager("java").force(true).buildCall(null),
            V1Patch.PATCH_FORMAT_APPLY_YAML,
            client);
        return made.getData();
    }

    private static Object deployment() throws ApiException {
        V1Container container = new V1Container().name("main").image(IMAGE).command(List.of("sleep", "3600"));
        V1PodTemplateSpec template = new V1PodTemplateSpec()
            .metadata(new V1ObjectMeta().labels(Map.of("app", "java")))
            .spec(new V1PodSpec().containers(List.of(container)));
        V1DeploymentSpec spec = new V1DeploymentSpec().replicas(0)
            .selector(new V1LabelSelector().matchLabels(Map.of("app", "java"))).template(template);
        V1Deployment body = new V1Deployment().metadata(named()).spec(spec);
        V1Deployment made = new AppsV1Api(client).createNamespacedDeployment(NAMESPACE, body).execute();
        return made.getSpec().toJson();
    }

    private static Object pages() throws ApiException {
        List<String> names = new ArrayList<>();
        String next = null;
        do {
            V1ConfigMapList page = core.listNamespacedConfigMap(NAMESPACE).limit(1)._continue(next).execute();
            page.getItems().forEach(item -> names.add(item.getMetadata().getName()));
            next = page.getMetadata().getContinue();
        } while (next != null && !next.isEmpty());
        return names;
    }

    private static Object watched() throws Exception {
        List<Object> seen = new ArrayList<>();
        okhttp3.Call call = core.listNamespacedConfigMap(NAMESPACE).labelSelector("of=java").timeoutSeconds(20)
            .watch(true).buildCall(null);
        try (Watch<V1ConfigMap> events =
                Watch.createWatch(client, call, new TypeToken<Watch.Response<V1ConfigMap>>() { }.getType())) {
            for (Watch.Response<V1ConfigMap> event : events) {
                seen.add(List.of(event.type, new TreeMap<>(event.object.getData())));
                if (seen.size() == 2) {
                    return seen;
                }
                patched(V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, "{\"data\":{\"f\":\"g\"}}");
            }
        }
        throw new IllegalStateException("the watch ended: " + seen);
    }

    private static Object denied() {
        return failures(List.of(() -> core.readNamespacedConfigMap("crown-jewels", NAMESPACE).execute()));
    }

    private static Object errors() {
        return failures(List.of(
            () -> core.readNamespacedConfigMap("nobody", NAMESPACE).execute(),
            () -> core.createNamespacedConfigMap(
                NAMESPACE, new V1ConfigMap().metadata(new V1ObjectMeta().name("No Name"))).execute(),
            () -> core.createNamespacedConfigMap(NAMESPACE, new V1ConfigMap().metadata(named())).execute()));
    }

    private static Object failures(List<Behaviour> calls) {
        List<Object> seen = new ArrayList<>();
        for (Behaviour call : calls) {
            try {
                seen.add(call.run());
            } catch (ApiException failed) {
                Map<?, ?> body = GSON.fromJson(failed.getResponseBody(), Map.class);
                String message = String.valueOf(body.get("message")).replace(NAMESPACE, "NAMESPACE");
                seen.add(List.of(failed.getCode(), body.get("reason"), message));
            } catch (Exception failed) {
                seen.add(String.valueOf(failed));
            }
        }
        return seen;
    }

    private static String text(InputStream from) throws Exception {
        return new String(from.readAllBytes(), StandardCharsets.UTF_8);
    }

    private static Object run() throws Exception {
        String script = "echo started; echo there > /tmp/index.html; exec httpd -f -p 8080 -h /tmp";
        V1Container container = new V1Container().name("main").image(IMAGE).command(List.of("sh", "-c", script))
            .volumeMounts(List.of(new V1VolumeMount().name("tmp").mountPath("/tmp")));
        V1Volume volume = new V1Volume().name("tmp").emptyDir(new V1EmptyDirVolumeSource());
        // the client would send an overhead of nothing, which is refused
        V1PodSpec spec = new V1PodSpec().overhead(null).terminationGracePeriodSeconds(0L)
            .volumes(List.of(volume)).containers(List.of(container));
        core.createNamespacedPod(NAMESPACE, new V1Pod().metadata(named()).spec(spec)).execute();
        while (!"Running".equals(core.readNamespacedPod("java", NAMESPACE).execute().getStatus().getPhase())) {
            Thread.sleep(100);
        }
        // the client gives no stream of a program that has ended, so both are asked for while this one runs
        String[] command = {"sh", "-c", "sleep 1; echo out; echo err >&2; exit 5"};
        Process program = new Exec(client).exec(NAMESPACE, "java", command, false, false);
        InputStream output = program.getInputStream();
        InputStream errors = program.getErrorStream();
        String out = text(output);
        String err = text(errors);
        int code = program.waitFor();
        String log = core.readNamespacedPodLog("java", NAMESPACE).execute();
        return List.of(out, err, code, log);
    }

    private static Object input() throws Exception {
        String[] command = {"sh", "-c", "read line; sleep 1; echo \"$line\"; exit 3"};
        Process program = new Exec(client).exec(NAMESPACE, "java", command, true, false);
        try (OutputStream to = program.getOutputStream()) {
            InputStream from = program.getInputStream();
            to.write("there and back\n".getBytes(StandardCharsets.UTF_8));
            to.flush();
            return List.of(text(from), program.waitFor());
        }
    }

    private static Object port() throws Exception {
        PortForward.PortForwardResult forward = new PortForward(client).forward(NAMESPACE, "java", List.of(8080));
        OutputStream to = forward.getOutboundStream(8080);
        to.write("GET /index.html HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.UTF_8));
        to.flush();
        StringBuilder heard = new StringBuilder();
        InputStream from = forward.getInputStream(8080);
        // the client never tells the end of the stream
        while (!heard.toString().endsWith("there\n")) {
            int next = from.read();
            if (next < 0) {
                throw new IllegalStateException("the port closed: " + heard);
            }
            heard.append((char) next);
        }
        return heard.substring(0, heard.indexOf("\r\n"));
    }

    private static Object collection() throws ApiException {
        core.deleteCollectionNamespacedConfigMap(NAMESPACE).labelSelector("of=java").execute();
        return core.listNamespacedConfigMap(NAMESPACE).labelSelector("of=java").execute().getItems().size();
    }

    public static void main(String[] arguments) throws Exception {
        client = Config.fromConfig(System.getenv("KUBECONFIG"));
        client.setReadTimeout(0);
        core = new CoreV1Api(client);
        Map<String, Behaviour> behaviours = new LinkedHashMap<>();
        behaviours.put("config_map", Client::configMap);
        behaviours.put("applied", Client::applied);
        behaviours.put("deployment", Client::deployment);
        behaviours.put("pages", Client::pages);
        behaviours.put("watched", Client::watched);
        behaviours.put("errors", Client::errors);
        behaviours.put("denied", Client::denied);
        behaviours.put("run", Client::run);
        behaviours.put("input", Client::input);
        behaviours.put("port", Client::port);
        behaviours.put("collection", Client::collection);
        for (Map.Entry<String, Behaviour> behaviour : behaviours.entrySet()) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("behaviour", behaviour.getKey());
            try {
                line.put("saw", behaviour.getValue().run());
            } catch (Exception failed) {
                // what went wrong is what is compared
                line.put("failed", String.valueOf(failed));
            }
            System.out.println(GSON.toJson(line));
            System.out.flush();
        }
        // the client's threads would go on
        System.exit(0);
    }
}
