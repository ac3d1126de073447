// Command client drives client-go: typed clients that speak protobuf, watches, informers, the metadata client, and
// exec over both transports. KUBECONFIG says which server, NAMESPACE where; one line of JSON for each behaviour.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

// protobuf is what operators ask for, and what typed clients send by themselves.
const protobuf = "application/vnd.kubernetes.protobuf"

type client struct {
	context.Context
	config    *rest.Config
	typed     *kubernetes.Clientset
	namespace string
}

type behaviour struct {
	name string
	run  func(client) (any, error)
}

var behaviours = []behaviour{
	{"config map", configMap}, {"deployment", deployment}, {"job", job}, {"service", service},
	{"apply", apply}, {"pages", pages}, {"watch", watch}, {"informer", informer},
	{"metadata", metadataOnly}, {"conflict", conflict}, {"denied", denied}, {"discovery", discovery}, {"collection", collection},
	{"exec", exec}, {"logs", logs},
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	config.ContentType = protobuf
	config.QPS, config.Burst = 1000, 1000
	deadline, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client{deadline, config, kubernetes.NewForConfigOrDie(config), os.Getenv("NAMESPACE")}
	out := json.NewEncoder(os.Stdout)
	for _, behaviour := range behaviours {
		line := map[string]any{"behaviour": behaviour.name}
		if saw, err := behaviour.run(c); err != nil {
			line["failed"] = strings.ReplaceAll(err.Error(), c.namespace, "NAMESPACE")
		} else {
			line["saw"] = saw
		}
		if err := out.Encode(line); err != nil {
			panic(err)
		}
	}
}

func configMap(c client) (any, error) {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "go", Labels: map[string]string{"of": "go"}},
		Data:       map[string]string{"a": "b", "u": "ü"},
		BinaryData: map[string][]byte{"bytes": {0, 255, 1}},
	}
	made, err := maps.Create(c, object, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	made.Data["a"] = "c"
	if made, err = maps.Update(c, made, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	patch := []byte(`{"data":{"d":"e"}}`)
	if made, err = maps.Patch(c, "go", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, err
	}
	return []any{made.Data, made.BinaryData, made.Labels}, nil
}

func pod(command ...string) corev1.PodSpec {
	zero := int64(0)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &zero,
		Volumes:                       []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		Containers: []corev1.Container{{
			Name: "main", Image: os.Getenv("IMAGE"), Command: command,
			Env:            []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}},
			VolumeMounts:   []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "true"}}}},
		}},
	}
}

func deployment(c client) (any, error) {
	none := int32(0)
	half := intstr.FromString("50%")
	object := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "go"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &none,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "go"}},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &half}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "go"}}, Spec: pod("sleep", "3600")},
		},
	}
	made, err := c.typed.AppsV1().Deployments(c.namespace).Create(c, object, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	scale, err := c.typed.AppsV1().Deployments(c.namespace).GetScale(c, "go", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	// its controller may have written meanwhile
	scale.ResourceVersion, scale.Spec.Replicas = "", 0
	if _, err = c.typed.AppsV1().Deployments(c.namespace).UpdateScale(c, "go", scale, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	return made.Spec, nil
}

func job(c client) (any, error) {
	suspend := true
	object := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "go"},
		Spec:       batchv1.JobSpec{Suspend: &suspend, Template: corev1.PodTemplateSpec{Spec: pod("true")}},
	}
	object.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	object.Spec.Template.Spec.Containers[0].ReadinessProbe = nil
	made, err := c.typed.BatchV1().Jobs(c.namespace).Create(c, object, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return []any{made.Spec.Suspend, made.Spec.BackoffLimit, made.Spec.Template.Spec}, nil
}

func service(c client) (any, error) {
	object := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "go"},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Ports:     []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}, {Name: "n", Port: 81, TargetPort: intstr.FromInt32(8081)}},
		},
	}
	made, err := c.typed.CoreV1().Services(c.namespace).Create(c, object, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return made.Spec, nil
}

func apply(c client) (any, error) {
	object := applycorev1.ConfigMap("applied", c.namespace).WithData(map[string]string{"a": "b"})
	made, err := c.typed.CoreV1().ConfigMaps(c.namespace).Apply(c, object, metav1.ApplyOptions{FieldManager: "go"})
	if err != nil {
		return nil, err
	}
	return []any{made.Data, made.ManagedFields[0].Manager, string(made.ManagedFields[0].FieldsV1.Raw)}, nil
}

func pages(c client) (any, error) {
	var names []string
	options := metav1.ListOptions{Limit: 1}
	for {
		list, err := c.typed.CoreV1().ConfigMaps(c.namespace).List(c, options)
		if err != nil {
			return nil, err
		}
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return names, nil
		}
	}
}

func watch(c client) (any, error) {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	watching, err := maps.Watch(c, metav1.ListOptions{FieldSelector: "metadata.name=watched"})
	if err != nil {
		return nil, err
	}
	defer watching.Stop()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}, Data: map[string]string{"a": "1"}}
	if _, err := maps.Create(c, object, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := maps.Delete(c, "watched", metav1.DeleteOptions{}); err != nil {
		return nil, err
	}
	var seen []any
	for event := range watching.ResultChan() {
		object, isMap := event.Object.(*corev1.ConfigMap)
		if !isMap {
			return nil, fmt.Errorf("an event with a %T", event.Object)
		}
		if seen = append(seen, []any{event.Type, object.Data}); len(seen) == 2 {
			return seen, nil
		}
	}
	return nil, errors.New("the watch ended")
}

func informer(c client) (any, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(c.typed, 0, informers.WithNamespace(c.namespace))
	informer := factory.Apps().V1().Deployments()
	has := informer.Informer().HasSynced
	factory.Start(c.Done())
	if !cache.WaitForCacheSync(c.Done(), has) {
		return nil, errors.New("the cache is not filled")
	}
	found, err := informer.Lister().Deployments(c.namespace).Get("go")
	if err != nil {
		return nil, err
	}
	return []any{found.Name, found.Spec.Replicas}, nil
}

func metadataOnly(c client) (any, error) {
	client, err := metadata.NewForConfig(c.config)
	if err != nil {
		return nil, err
	}
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(c.namespace).List(c, metav1.ListOptions{LabelSelector: "of=go"})
	if err != nil {
		return nil, err
	}
	var seen []any
	for _, item := range list.Items {
		seen = append(seen, []any{item.Kind, item.Name, item.Labels})
	}
	return seen, nil
}

func conflict(c client) (any, error) {
	maps := c.typed.CoreV1().ConfigMaps(c.namespace)
	first, err := maps.Get(c, "go", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	second := first.DeepCopy()
	first.Data["a"] = "first"
	if _, err := maps.Update(c, first, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	second.Data["a"] = "second"
	_, late := maps.Update(c, second, metav1.UpdateOptions{})
	_, again := maps.Create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "go"}}, metav1.CreateOptions{})
	_, nobody := maps.Get(c, "nobody", metav1.GetOptions{})
	_, invalid := maps.Create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "No Name"}}, metav1.CreateOptions{})
	return []any{
		apierrors.IsConflict(late), apierrors.IsAlreadyExists(again), apierrors.IsNotFound(nobody),
		apierrors.IsInvalid(invalid), invalid.Error(),
	}, nil
}

func denied(c client) (any, error) {
	_, err := c.typed.CoreV1().ConfigMaps(c.namespace).Get(c, "crown-jewels", metav1.GetOptions{})
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return nil, err
	}
	return []any{status.Status().Code, status.Status().Reason, status.Status().Message}, nil
}

func discovery(c client) (any, error) {
	_, lists, err := c.typed.Discovery().ServerGroupsAndResources()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, list := range lists {
		for _, resource := range list.APIResources {
			names = append(names, list.GroupVersion+" "+resource.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func collection(c client) (any, error) {
	zero := int64(0)
	err := c.typed.CoreV1().ConfigMaps(c.namespace).DeleteCollection(c, metav1.DeleteOptions{GracePeriodSeconds: &zero}, metav1.ListOptions{LabelSelector: "of=go"})
	if err != nil {
		return nil, err
	}
	list, err := c.typed.CoreV1().ConfigMaps(c.namespace).List(c, metav1.ListOptions{LabelSelector: "of=go"})
	if err != nil {
		return nil, err
	}
	return len(list.Items), nil
}

func exec(c client) (any, error) {
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "go"}, Spec: pod("sh", "-c", "echo started; exec sleep 3600")}
	if _, err := c.typed.CoreV1().Pods(c.namespace).Create(c, object, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	for {
		found, err := c.typed.CoreV1().Pods(c.namespace).Get(c, "go", metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(found.Status.ContainerStatuses, func(status corev1.ContainerStatus) bool { return status.Ready }) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	request := c.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.namespace).Name("go").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"sh", "-c", "cat; echo err >&2; exit 4"}, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	websocket, err := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	seen := map[string]any{}
	for name, executor := range maps.All(map[string]remotecommand.Executor{"websocket": websocket, "spdy": spdy}) {
		var out, failed bytes.Buffer
		err := executor.StreamWithContext(c, remotecommand.StreamOptions{Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &failed})
		seen[name] = []any{out.String(), failed.String(), fmt.Sprint(err)}
	}
	return seen, nil
}

func logs(c client) (any, error) {
	following, err := c.typed.CoreV1().Pods(c.namespace).GetLogs("go", &corev1.PodLogOptions{Follow: true}).Stream(c)
	if err != nil {
		return nil, err
	}
	defer following.Close()
	line := make([]byte, len("started\n"))
	if _, err := io.ReadFull(following, line); err != nil {
		return nil, err
	}
	return string(line), nil
}
