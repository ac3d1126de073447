// Command requestinfo resolves requests as the API server does, for the gateway's tests to be compared with.
//
// It makes requests up from a seed, hands each to the real resolver of k8s.io/apiserver, and prints one JSON array a
// line:
//
//	go run . -seed 1 -count 3000 > ../../../proxy/protocols/kubernetes/tests/corpus/requestinfo.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
)

// answer is what the resolver said of one request: method, target, `true` if it or the parser of targets refused or
// else `false`, and then the fields of RequestInfo, empty ones at the end left out.
type answer []any

var (
	methods  = []string{"GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "DELETE"}
	segments = []string{
		"api", "apis", "v1", "v1beta1", "apps", "batch", "rbac.authorization.k8s.io", "namespaces", "default",
		"kube-system", "pods", "secrets", "configmaps", "nodes", "services", "deployments", "serviceaccounts",
		"web", "web-0", "system:node", "status", "finalize", "exec", "attach", "portforward", "proxy", "log",
		"scale", "eviction", "token", "binding", "ephemeralcontainers", "watch", "Secrets", "metrics", "healthz",
		"openapi", "v2", "v3", "logs", "a b", "ä", "x%y", "a+b", "http:web:80",
	}
	names  = []string{"web", "web-0", "a/b", "a%b", ".", "..", "", "ä", "a,b", "a=b", "a\\b", "Web", "a b"}
	fields = []string{"metadata.name", "metadata.namespace", "status.phase", "spec.nodeName", "Metadata.name", ""}
	labels = []string{
		"app=web", "app==web", "app!=web", "app in (a,b)", "app notin (a, b)", "!app", "app", "example.com/app=web",
		"app=web,tier=db", "app>1", "app<x", "app in a", "app in (", "-app=web", "app=we b", "", ",", "app=a=b",
		"in", "app in (in)", "a/b/c=d", " app = web ", "app in ()", "app=-", "exists,!absent",
	}
	flags = []string{"1", "0", "true", "false", "True", "FALSE", "T", "yes", "", "garbage", "falſe", "no"}
	ints  = []string{"1", "500", "0", "-1", "+5", "", "x", "9223372036854775807", "9223372036854775808", "1e3", " 1"}
)

type maker struct{ *rand.Rand }

func (m maker) of(choices []string) string { return choices[m.Intn(len(choices))] }

// path makes one: mostly the forms that exist, sometimes anything at all.
func (m maker) path() string {
	var parts []string
	switch m.Intn(8) {
	case 0:
		for range m.Intn(9) {
			parts = append(parts, m.of(segments))
		}
	case 1, 2, 3:
		parts = []string{"api", "v1"}
	default:
		parts = []string{"apis", m.of([]string{"apps", "batch", "example.com"}), m.of([]string{"v1", "v1beta1"})}
	}
	if m.Intn(8) == 0 {
		parts = append(parts, m.of([]string{"watch", "watch", "proxy"}))
	}
	if m.Intn(3) > 0 {
		parts = append(parts, "namespaces", m.of([]string{"default", "kube-system", "a b"}))
	}
	for range m.Intn(6) {
		parts = append(parts, m.of(segments))
	}
	for i, part := range parts {
		parts[i] = m.encode(part)
	}
	path := "/" + strings.Join(parts, "/")
	switch m.Intn(16) {
	case 0:
		path += "/"
	case 1:
		path = strings.Replace(path, "/", "//", 1+m.Intn(2))
	case 2:
		path = strings.Replace(path, "/v1/", "/v1/"+m.of([]string{"./", "../", "%2e%2e/", "%2e/"}), 1)
	case 3:
		at := 1 + m.Intn(len(path))
		path = path[:at] + m.of([]string{"%2f", "%2F", "%", "%zz", "%00", "%5c", "%25", "%ff", ";", "%3B"}) + path[at:]
	}
	return path
}

// encode escapes as clients must, and now and then as none would.
func (m maker) encode(part string) string {
	if m.Intn(12) > 0 {
		return url.PathEscape(part)
	}
	var out strings.Builder
	for _, b := range []byte(part) {
		if m.Intn(2) == 0 || b <= ' ' || b >= 127 || b == '%' {
			fmt.Fprintf(&out, m.of([]string{"%%%02x", "%%%02X"}), b)
		} else {
			out.WriteByte(b)
		}
	}
	return out.String()
}

func (m maker) fieldSelector() string {
	var terms []string
	for range 1 + m.Intn(2) {
		value := m.of(names)
		if m.Intn(3) > 0 {
			value = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `=`, `\=`).Replace(value)
		}
		terms = append(terms, m.of(fields[:1+m.Intn(len(fields))])+m.of([]string{"=", "=", "==", "!=", ""})+value)
	}
	return strings.Join(terms, ",")
}

func (m maker) query() string {
	var pairs []string
	for range m.Intn(4) {
		key, value := "x", "y"
		switch m.Intn(10) {
		case 0, 1:
			key, value = "watch", m.of(flags)
		case 2, 3, 4:
			key, value = "fieldSelector", m.fieldSelector()
		case 5:
			key, value = "labelSelector", m.of(labels)
		case 6:
			key, value = m.of([]string{"limit", "timeoutSeconds"}), m.of(ints)
		case 7:
			key, value = m.of([]string{"allowWatchBookmarks", "sendInitialEvents"}), m.of(flags)
		case 8:
			key, value = m.of([]string{"Watch", "FieldSelector", "dryRun", "continue"}), m.of([]string{"All", "1", ""})
		}
		pair := url.QueryEscape(key) + "=" + url.QueryEscape(value)
		if m.Intn(20) == 0 {
			pair = strings.Replace(pair, "=", m.of([]string{"", ";", "%", "=%zz"}), 1)
		}
		pairs = append(pairs, pair)
	}
	if len(pairs) == 0 {
		return m.of([]string{"", "", "?"})
	}
	return "?" + strings.Join(pairs, "&")
}

func resolve(factory *request.RequestInfoFactory, method, target string) answer {
	line := method + " " + target + " HTTP/1.1\r\nHost: kubernetes\r\n\r\n"
	read, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line)))
	if err != nil {
		return answer{method, target, true}
	}
	info, err := factory.NewRequestInfo(read)
	if err != nil {
		return answer{method, target, true}
	}
	out := answer{
		method, target, false, info.Path, info.Verb, info.APIPrefix, info.APIGroup, info.APIVersion, info.Namespace,
		info.Resource, info.Subresource, info.Name, info.FieldSelector, info.LabelSelector,
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func main() {
	seed := flag.Int64("seed", 1, "where the made-up requests begin")
	count := flag.Int("count", 3000, "how many requests")
	stdin := flag.Bool("stdin", false, "resolve the requests on standard input instead: method, space, target")
	flag.Parse()
	klog.SetLogger(klog.Logger{})
	factory := &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	if *stdin {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			method, target, _ := strings.Cut(in.Text(), " ")
			lines.Encode(resolve(factory, method, target))
		}
		return
	}
	m := maker{rand.New(rand.NewSource(*seed))}
	for range *count {
		lines.Encode(resolve(factory, m.of(methods), m.path()+m.query()))
	}
}
