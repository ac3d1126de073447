package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// filler makes values up.
type filler struct{ *rand.Rand }

func newFiller(seed uint64) filler { return filler{rand.New(rand.NewPCG(seed, 0))} }

// Deeper than this, values are mostly left empty: schemas hold schemas.
const deep = 9

func (f filler) text() string {
	return fmt.Sprintf("%s%d", []string{"a", "é", "x.y/z ", "\"", ""}[f.IntN(5)], f.IntN(1000))
}

func (f filler) number() int64 {
	return []int64{0, 1, 300, -1, 1<<31 - 1}[f.IntN(5)]
}

func (f filler) json() []byte {
	text, err := json.Marshal(map[string]any{f.text(): []any{f.number(), f.text(), nil, true, 1.5}})
	if err != nil {
		panic(err)
	}
	return text
}

// fill gives a value, and everything in it.
func (f filler) fill(value reflect.Value, depth int) {
	if f.special(value, depth) || (depth > 0 && f.IntN(8) == 0) {
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if depth < deep {
			value.Set(reflect.New(value.Type().Elem()))
			f.fill(value.Elem(), depth+1)
		}
	case reflect.String:
		value.SetString(f.text())
	case reflect.Bool:
		value.SetBool(f.IntN(2) == 0)
	case reflect.Int, reflect.Int32, reflect.Int64:
		value.SetInt(f.number())
	case reflect.Float64:
		value.SetFloat(float64(f.number()) / 4)
	case reflect.Slice:
		f.list(value, depth)
	case reflect.Map:
		f.members(value, depth)
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).Type != reflect.TypeFor[metav1.TypeMeta]() {
				f.fill(value.Field(i), depth+1)
			}
		}
	default:
		panic(fmt.Sprint(value.Type(), " is not known"))
	}
}

func (f filler) list(value reflect.Value, depth int) {
	if value.Type().Elem().Kind() == reflect.Uint8 {
		value.SetBytes([]byte(f.text()))
		return
	}
	if depth >= deep {
		return
	}
	count := 1 + f.IntN(2)
	value.Set(reflect.MakeSlice(value.Type(), count, count))
	for i := range count {
		f.fill(value.Index(i), depth+1)
	}
}

func (f filler) members(value reflect.Value, depth int) {
	if depth >= deep {
		return
	}
	value.Set(reflect.MakeMap(value.Type()))
	for range 1 + f.IntN(2) {
		key, member := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		key.SetString(f.text())
		f.fill(member, depth+1)
		_, isSpecial := special[member.Type()]
		// nothing at all is null in JSON, which no comparison keeps
		if member.IsZero() && (isSpecial || member.Kind() == reflect.Slice) {
			continue
		}
		value.SetMapIndex(key, member)
	}
}

// special fills values that not every content of their fields is one of.
func (f filler) special(value reflect.Value, depth int) bool {
	moment := time.Unix(int64(f.IntN(2_000_000_000)), int64(f.IntN(1_000_000))*1000).UTC()
	var made any
	switch value.Interface().(type) {
	case metav1.Time:
		made = metav1.NewTime(moment.Truncate(time.Second))
		if f.IntN(4) == 0 {
			made = metav1.Time{}
		}
	case metav1.MicroTime:
		made = metav1.NewMicroTime(moment)
	case resource.Quantity:
		made = resource.MustParse([]string{"0", "100m", "1Gi", "2500", "1e3"}[f.IntN(5)])
	case intstr.IntOrString:
		made = []intstr.IntOrString{intstr.FromInt32(8080), intstr.FromString("25%"), intstr.FromInt32(0)}[f.IntN(3)]
	case runtime.RawExtension:
		made = runtime.RawExtension{Raw: f.json()}
	case metav1.FieldsV1:
		made = metav1.FieldsV1{Raw: f.json()}
	case apiextensionsv1.JSON:
		made = apiextensionsv1.JSON{Raw: f.json()}
	case apiextensionsv1beta1.JSON:
		made = apiextensionsv1beta1.JSON{Raw: f.json()}
	default:
		return f.either(value, depth)
	}
	value.Set(reflect.ValueOf(made))
	return true
}

// either fills one of the two fields of what is either of two things.
func (f filler) either(value reflect.Value, depth int) bool {
	if _, has := schemas[value.Type()]; !has {
		return false
	}
	schema := value.FieldByName("Schema")
	if f.IntN(2) == 0 && depth < deep {
		f.fill(value.FieldByIndex([]int{0}), depth+1)
		if value.Type().Field(0).Name != "Allows" {
			schema.Set(reflect.New(schema.Type().Elem()))
		}
		return true
	}
	if depth < deep {
		f.fill(value.FieldByIndex([]int{1}), depth+1)
	}
	return true
}
