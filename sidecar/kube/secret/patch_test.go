package secret

import (
	"encoding/json"
	"testing"
)

func TestReveals(t *testing.T) {
	tests := map[string]struct {
		body string
		want bool
	}{
		"nothing":                           {``, false},
		"a merge patch":                     {`{"data":{"a":"eA=="}}`, false},
		"a merge patch of a copy's look":    {`{"op":"copy","from":"/data/a","path":"/metadata/labels/a"}`, false},
		"no operations":                     {`[]`, false},
		"a value that is set":               {`[{"op":"replace","path":"/data/a","value":"eA=="}]`, false},
		"a value that is removed":           {`[{"op":"remove","path":"/data/a"}]`, false},
		"a value that looks like an op":     {`[{"op":"add","path":"/metadata/labels/a","value":{"op":"copy","from":"/data"}}]`, false},
		"a test of a version":               {`[{"op":"test","path":"/metadata/resourceVersion","value":"1"},{"op":"add","path":"/data/a","value":"eA=="}]`, false},
		"a test of the type":                {`[{"op":"test","path":"/type","value":"Opaque"}]`, false},
		"a copy":                            {`[{"op":"copy","from":"/data/a","path":"/metadata/labels/a"}]`, true},
		"a copy behind a good operation":    {`[{"op":"remove","path":"/data/b"},{"op":"copy","from":"/data/a","path":"/metadata/labels/a"}]`, true},
		"a copy behind blanks":              {" \t\r\n" + `[{"op":"copy","from":"/data/a","path":"/x"}]`, true},
		"a move":                            {`[{"op":"move","from":"/data/a","path":"/metadata/labels/a"}]`, true},
		"a copy of all":                     {`[{"op":"copy","from":"","path":"/metadata/annotations"}]`, true},
		"a copy of what kubectl remembers":  {`[{"op":"copy","from":"/metadata/annotations/x","path":"/metadata/labels/a"}]`, true},
		"a copy in escapes":                 {`[{"\u006fp":"c\u006fpy","fr\u006fm":"/data/a","path":"/metadata/labels/a"}]`, true},
		"two operations in one":             {`[{"op":"add","op":"copy","path":"/metadata/labels/a"}]`, true},
		"from without a copy":               {`[{"op":"add","from":"/data/a","path":"/metadata/labels/a"}]`, true},
		"a test of a value":                 {`[{"op":"test","path":"/data/a","value":"eA=="}]`, true},
		"a test of all values":              {`[{"op":"test","path":"/data","value":{}}]`, true},
		"a test of the whole":               {`[{"op":"test","path":"","value":{}}]`, true},
		"a test of the metadata":            {`[{"op":"test","path":"/metadata","value":{}}]`, true},
		"a test of what kubectl remembers":  {`[{"op":"test","path":"/metadata/annotations/x","value":"a"}]`, true},
		"a test of all that is remembered":  {`[{"op":"test","path":"/metadata/annotations","value":{}}]`, true},
		"a test of two places":              {`[{"op":"test","path":"/type","path":"/data/a","value":"eA=="}]`, true},
		"an operation that is no object":    {`[["op","copy"]]`, true},
		"an operation's name that is none":  {`[{"op":["copy"],"path":"/x"}]`, true},
		"an array that breaks off":          {`[{"op":"add","path":"/x","value":1}`, true},
		"something behind the array":        {`[] [{"op":"copy","from":"/data/a","path":"/x"}]`, true},
		"an array that is no JSON (a flow)": {`[{op: copy, from: /data/a, path: /x}]`, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Reveals([]byte(tc.body)); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// FuzzReveals holds that what is let through moves nothing: it has no key from and no operation but three.
func FuzzReveals(f *testing.F) {
	for _, seed := range []string{`[]`, `[{"op":"copy","from":"/data/a","path":"/x"}]`, `[{"op":"test","path":"/type","value":1}]`, `[{"op":"add","path":"/data/a","value":"x"}]`, `{`, `[{"op":"add","op":"move"}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		operations, err := decodePatch(body)
		if err != nil || Reveals(body) {
			return
		}
		for _, o := range operations {
			if op, _ := o["op"].(string); o["from"] != nil || op == "copy" || op == "move" {
				t.Errorf("let through: %s", body)
			}
		}
	})
}

// decodePatch reads a patch as the API server does (gopkg.in/evanphx/json-patch.v4): of keys that stand twice the last.
func decodePatch(body []byte) (operations []map[string]any, err error) {
	return operations, json.Unmarshal(body, &operations)
}
