// Command protobuf writes what the gateway knows of the protobuf form of the API's built-in types.
//
// The Go types are what API server and clients themselves encode and decode by: their tags say each field's number,
// its name in JSON and when JSON leaves it out. The table is made of those tags, and samples of every kind, written by
// the types' own code in both forms, are what the gateway's reader is compared with:
//
//	go run . table > ../../../proxy/protocols/kubernetes/src/protobuf/types.txt
//	go run . samples -seed 1 -count 1 > ../../../proxy/protocols/kubernetes/tests/corpus/protobuf.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationv1beta1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
)

// kind is one that may be the body of a request.
type kind struct {
	schema.GroupVersionKind
	of reflect.Type
}

func main() {
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensionsv1.AddToScheme, apiextensionsv1beta1.AddToScheme,
		apiregistrationv1.AddToScheme, apiregistrationv1beta1.AddToScheme,
	} {
		if err := add(all); err != nil {
			panic(err)
		}
	}
	kinds := bodies(all)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	switch {
	case len(os.Args) > 1 && os.Args[1] == "table":
		table(out, kinds)
	case len(os.Args) > 1 && os.Args[1] == "samples":
		flags := flag.NewFlagSet("samples", flag.ExitOnError)
		seed := flags.Uint64("seed", 1, "where the values come from")
		count := flags.Int("count", 1, "samples of each kind")
		if err := flags.Parse(os.Args[2:]); err != nil {
			panic(err)
		}
		samples(out, kinds, *seed, *count)
	default:
		fmt.Fprintln(os.Stderr, "usage: protobuf table | samples [-seed N] [-count N]")
		os.Exit(2)
	}
}

// marshaler is what has a protobuf form.
type marshaler interface{ Marshal() ([]byte, error) }

var marshals = reflect.TypeFor[marshaler]()

// bodies gives the kinds that a request may carry, in order. Options of a delete are of every group, and stand once.
func bodies(all *runtime.Scheme) []kind {
	kinds := []kind{{schema.GroupVersionKind{Group: "*", Version: "", Kind: "DeleteOptions"}, reflect.TypeFor[metav1.DeleteOptions]()}}
	for gvk, of := range all.AllKnownTypes() {
		_, isList := of.FieldByName("ListMeta")
		isOwn := strings.HasPrefix(of.PkgPath(), "k8s.io/apimachinery/")
		if gvk.Version == runtime.APIVersionInternal || isList || isOwn || strings.HasSuffix(gvk.Kind, "Options") {
			continue
		}
		if reflect.PointerTo(of).Implements(marshals) {
			kinds = append(kinds, kind{gvk, of})
		}
	}
	slices.SortFunc(kinds, func(a, b kind) int { return strings.Compare(a.name(), b.name()) })
	return kinds
}

// name is the kind as a body says it.
func (k kind) name() string {
	if k.Group == "*" {
		return "* " + k.Kind
	}
	return k.GroupVersion().String() + " " + k.Kind
}

func samples(out *bufio.Writer, kinds []kind, seed uint64, count int) {
	filler := newFiller(seed)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, kind := range kinds {
		for range count {
			object := reflect.New(kind.of)
			filler.fill(object.Elem(), 0)
			raw, err := object.Interface().(marshaler).Marshal()
			if err != nil {
				panic(err)
			}
			typeMeta := runtime.TypeMeta{APIVersion: kind.GroupVersion().String(), Kind: kind.Kind}
			if kind.Group == "*" {
				typeMeta.APIVersion = "v1"
			}
			body, err := (&runtime.Unknown{TypeMeta: typeMeta, Raw: raw}).Marshal()
			if err != nil {
				panic(err)
			}
			body = append([]byte("k8s\x00"), body...)
			object.Elem().FieldByName("APIVersion").SetString(typeMeta.APIVersion)
			object.Elem().FieldByName("Kind").SetString(typeMeta.Kind)
			if err := encoder.Encode([]any{body, object.Interface()}); err != nil {
				panic(err)
			}
		}
	}
}
