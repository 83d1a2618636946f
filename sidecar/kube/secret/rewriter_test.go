package secret

import (
	"encoding/json"
	"strings"
	"testing"
)

// masked rewrites text in pieces of n bytes.
func masked(t testing.TB, text string, n int) (string, error) {
	t.Helper()
	var (
		r   Rewriter
		out []byte
		err error
	)
	for rest := []byte(text); len(rest) > 0; rest = rest[min(n, len(rest)):] {
		if out, err = r.Write(out, rest[:min(n, len(rest))]); err != nil {
			return string(out), err
		}
	}
	return string(out), r.Close()
}

func TestRewriter(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"the values of data are masked, as base64": {`{"kind":"Secret","data":{"a":"c2VjcmV0","b":""}}`, `{"kind":"Secret","data":{"a":"` + encoded + `","b":"` + encoded + `"}}`},
		"those of stringData are, as text":         {`{"stringData":{"a":"secret"}}`, `{"stringData":{"a":"` + Text + `"}}`},
		"in a list too":                            {`{"items":[{"data":{"a":"x"}},{"data":null}]}`, `{"items":[{"data":{"a":"` + encoded + `"}},{"data":null}]}`},
		"in a table with objects":                  {`{"rows":[{"cells":["db","Opaque",1],"object":{"data":{"a":"x"}}}]}`, `{"rows":[{"cells":["db","Opaque",1],"object":{"data":{"a":"` + encoded + `"}}}]}`},
		"in every event of a watch":                {"{\"object\":{\"data\":{\"a\":\"x\"}}}\n{\"object\":{\"data\":{\"a\":\"y\"}}}\n", "{\"object\":{\"data\":{\"a\":\"" + encoded + "\"}}}\n{\"object\":{\"data\":{\"a\":\"" + encoded + "\"}}}\n"},
		"a key in escapes is the same key":         {`{"d\u0061ta":{"a":"x"}}`, `{"d\u0061ta":{"a":"` + encoded + `"}}`},
		"a key in a value's place is none":         {`{"type":"data","x":{"a":"data"}}`, `{"type":"data","x":{"a":"data"}}`},
		"whatever is below data is a value":        {`{"data":{"a":{"b":["x",{"c":"y"}]}}}`, `{"data":{"a":{"b":["` + encoded + `",{"c":"` + encoded + `"}]}}}`},
		"a text for data itself is one":            {`{"data":"x"}`, `{"data":"` + encoded + `"}`},
		"metadata is shown":                        {`{"metadata":{"name":"data","labels":{"data":"x"},"annotations":{"data":"x"}}}`, `{"metadata":{"name":"data","labels":{"data":"x"},"annotations":{"data":"x"}}}`},
		"what kubectl remembers is masked":         {`{"metadata":{"annotations":{"k":"{\"data\":{\"a\":\"x\"}}"}}}`, `{"metadata":{"annotations":{"k":"{\"data\":{\"a\":\"` + encoded + `\"}}"}}}`},
		"an annotation that only begins like JSON": {`{"metadata":{"annotations":{"k":"{not"}}}`, `{"metadata":{"annotations":{"k":"` + Text + `"}}}`},
		"one that is JSON without values stays":    {`{"metadata":{"annotations":{"k":"{\"a\": 1}"}}}`, `{"metadata":{"annotations":{"k":"{\"a\": 1}"}}}`},
		"quotes and backslashes in values":         {`{"data":{"a":"x\"y\\"},"b":"\\\"data"}`, `{"data":{"a":"` + encoded + `"},"b":"\\\"data"}`},
		"numbers and literals pass":                {`{"a":[1,-2.5e+3,true,false,null],"b":{}, "c":[] }`, `{"a":[1,-2.5e+3,true,false,null],"b":{}, "c":[] }`},
		"an annotation inside of remembered JSON":  {`{"metadata":{"annotations":{"k":"{\"metadata\":{\"annotations\":{\"k\":\"{\\\"data\\\":{\\\"a\\\":\\\"x\\\"}}\"}}}"}}}`, ``},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= len(tc.in); n++ {
				got, err := masked(t, tc.in, n)
				if err != nil {
					t.Fatalf("in pieces of %d: %v", n, err)
				}
				if tc.want != "" && got != tc.want {
					t.Fatalf("in pieces of %d:\n%s\nwant\n%s", n, got, tc.want)
				}
				if strings.Contains(got, `"x\`) {
					t.Fatalf("a value is left: %s", got)
				}
			}
		})
	}
}

func TestWhatIsNoJSONIsAnError(t *testing.T) {
	for _, text := range []string{
		`{"data":{"a":"x"`, `{"data":`, `{"a" "b"}`, `{,}`, `[1,,2]`, `{"a":1,}`, `}`, `]`, `{"a":1]`, `{1:2}`, `"a":1`, `{"a":b"c"}`, "k8s\x00\n",
		`{"data":{"a":'x'}}`, strings.Repeat("[", maxDepth+1),
	} {
		if got, err := masked(t, text, len(text)); err == nil {
			t.Errorf("%s passed as %s", text, got)
		}
	}
}

func TestHolds(t *testing.T) {
	for body, want := range map[string]bool{
		`{"data":{"a":"` + encoded + `"}}`: true, "stringData:\n  a: '" + Text + "'\n": true, "k8s\x00\n\x0aa\x12\x15" + Text: true, `{"data":{}}`: false,
	} {
		if Holds([]byte(body)) != want {
			t.Errorf("%q: want %v", body, want)
		}
	}
}

// canaries finds what must not be shown.
func canaries(v any, inData, inMetadata bool, found map[string]bool) {
	switch v := v.(type) {
	case string:
		if inData {
			found[v] = true
		}
	case []any:
		for i := range v {
			canaries(v[i], inData, inMetadata, found)
		}
	case map[string]any:
		for k := range v {
			canaries(v[k], inData || !inMetadata && secretKey(k), inMetadata || k == "metadata", found)
		}
	}
}

func FuzzRewriter(f *testing.F) {
	f.Add(`{"kind":"Secret","data":{"a":"canary1"},"metadata":{"annotations":{"k":"{\"data\":{\"a\":\"canary2\"}}"}}}`, uint8(3))
	f.Add(`{"items":[{"data":{"a":"canary1"}}]} {"object":{"stringData":{"x":["canary2"]}}}`, uint8(1))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		got, err := masked(t, text, max(int(n), 1))
		if err != nil {
			return
		}
		in, out := json.NewDecoder(strings.NewReader(text)), json.NewDecoder(strings.NewReader(got))
		for {
			var before, after any
			if in.Decode(&before) != nil {
				return // a reader that is stricter than the rewriter reads nothing of it
			}
			if err := out.Decode(&after); err != nil {
				t.Fatalf("%q became %q: %v", text, got, err)
			}
			found := map[string]bool{}
			canaries(after, false, false, found)
			for s := range found {
				if s != Text && s != encoded {
					t.Fatalf("%q became %q, which shows %q", text, got, s)
				}
			}
		}
	})
}
