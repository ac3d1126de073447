package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Types whose JSON is not that of their fields, and what the gateway calls them.
var special = map[reflect.Type]string{
	reflect.TypeFor[metav1.Time]():                                       "time",
	reflect.TypeFor[metav1.MicroTime]():                                  "microtime",
	reflect.TypeFor[resource.Quantity]():                                 "quantity",
	reflect.TypeFor[intstr.IntOrString]():                                "int-or-string",
	reflect.TypeFor[runtime.RawExtension]():                              "json",
	reflect.TypeFor[metav1.FieldsV1]():                                   "json",
	reflect.TypeFor[apiextensionsv1.JSON]():                              "json",
	reflect.TypeFor[apiextensionsv1beta1.JSON]():                         "json",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray]():            "or-list",
	reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrArray]():       "or-list",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool]():             "or-bool",
	reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrBool]():        "or-bool",
	reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrStringArray]():      "or-texts",
	reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrStringArray](): "or-texts",
}

var (
	marshalsJSON = reflect.TypeFor[json.Marshaler]()
	schemas      = map[reflect.Type]reflect.Type{
		reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray]():            reflect.TypeFor[apiextensionsv1.JSONSchemaProps](),
		reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool]():             reflect.TypeFor[apiextensionsv1.JSONSchemaProps](),
		reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrStringArray]():      reflect.TypeFor[apiextensionsv1.JSONSchemaProps](),
		reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrArray]():       reflect.TypeFor[apiextensionsv1beta1.JSONSchemaProps](),
		reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrBool]():        reflect.TypeFor[apiextensionsv1beta1.JSONSchemaProps](),
		reflect.TypeFor[apiextensionsv1beta1.JSONSchemaPropsOrStringArray](): reflect.TypeFor[apiextensionsv1beta1.JSONSchemaProps](),
	}
)

const head = `# Fields of the built-in types in protobuf and in JSON. Written by e2e/cluster/protobuf from k8s.io/api; do not edit.
#
# kind APIVERSION KIND MESSAGE      what a body may be; * is every version
# message NAME                      the fields of a message follow
# NUMBER NAME TYPE [MESSAGE]        a field. NAME: in JSON, or . if the members of the message stand in the one around it
#                                   TYPE: [] a list, {} a map from texts, ? left out of JSON when empty
`

// writer writes messages that are met on the way.
type writer struct {
	out  *bufio.Writer
	met  map[reflect.Type]bool
	next []reflect.Type
}

func table(out *bufio.Writer, kinds []kind) {
	w := &writer{out: out, met: map[reflect.Type]bool{}}
	fmt.Fprint(out, head)
	for _, kind := range kinds {
		fmt.Fprintf(out, "kind %s %s\n", kind.name(), w.message(kind.of))
	}
	for len(w.next) > 0 {
		of := w.next[0]
		w.next = w.next[1:]
		w.fields(of)
	}
}

// message gives a message's name, and remembers to write it.
func (w *writer) message(of reflect.Type) string {
	if !w.met[of] {
		w.met[of] = true
		w.next = append(w.next, of)
	}
	path := strings.TrimPrefix(of.PkgPath(), "k8s.io/")
	for _, prefix := range []string{"api/", "apimachinery/pkg/apis/", "apiextensions-apiserver/pkg/apis/", "kube-aggregator/pkg/apis/"} {
		path = strings.TrimPrefix(path, prefix)
	}
	return path + "." + of.Name()
}

// field is one line of the table.
type field struct {
	number int
	line   string
}

func (w *writer) fields(of reflect.Type) {
	var fields []field
	for i := range of.NumField() {
		member := of.Field(i)
		if member.Type == reflect.TypeFor[metav1.TypeMeta]() {
			continue
		}
		number := 0
		parts := strings.Split(member.Tag.Get("protobuf"), ",")
		if len(parts) > 1 {
			if _, err := fmt.Sscan(parts[1], &number); err != nil {
				panic(fmt.Sprint(of, ".", member.Name, ": ", err))
			}
		}
		tag := strings.Split(member.Tag.Get("json"), ",")
		name := tag[0]
		if slices.Contains(tag, "inline") || (member.Anonymous && name == "") {
			name = "."
		}
		if number == 0 || name == "" || name == "-" {
			panic(fmt.Sprint(of, ".", member.Name, " has no number or no name"))
		}
		empty := slices.Contains(tag, "omitempty") || slices.Contains(tag, "omitzero")
		fields = append(fields, field{number, fmt.Sprintf("%d %s %s", number, name, w.typeOf(member.Type, empty))})
	}
	slices.SortFunc(fields, func(a, b field) int { return a.number - b.number })
	fmt.Fprintf(w.out, "message %s\n", w.message(of))
	for _, field := range fields {
		fmt.Fprintln(w.out, field.line)
	}
}

// typeOf says what a field holds. empty: JSON leaves it out when it is empty.
func (w *writer) typeOf(of reflect.Type, empty bool) string {
	if name, isSpecial := special[of]; isSpecial {
		if schema, has := schemas[of]; has {
			return name + " " + w.message(schema)
		}
		return name
	}
	if of.Kind() != reflect.Pointer && reflect.PointerTo(of).Implements(marshalsJSON) {
		panic(fmt.Sprint(of, " has a JSON of its own"))
	}
	mark := ""
	if empty {
		mark = "?"
	}
	switch of.Kind() {
	case reflect.Pointer:
		return w.typeOf(of.Elem(), false)
	case reflect.String:
		return mark + "text"
	case reflect.Bool:
		return mark + "bool"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return mark + "int"
	case reflect.Float64:
		return mark + "double"
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return mark + "bytes"
		}
		inner := w.typeOf(of.Elem(), false)
		// a list that is a message of its own, of one field
		if reflect.PointerTo(of).Implements(marshals) {
			if inner != "text" {
				panic(fmt.Sprint(of, " is a list of ", inner))
			}
			return "items"
		}
		return "[]" + inner
	case reflect.Map:
		if of.Key().Kind() != reflect.String {
			panic(fmt.Sprint(of, " is a map from something else"))
		}
		return "{}" + w.typeOf(of.Elem(), false)
	case reflect.Struct:
		return "message " + w.message(of)
	default:
		panic(fmt.Sprint(of, " is not known"))
	}
}
