package shell

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// row is a line of testdata/commands.json: a text (or the words of an argv) and what is found in it, as render writes it;
// an error where it is refused as a whole.
type row struct {
	Name  string   `json:"name"`
	Text  string   `json:"text,omitempty"`
	Argv  []string `json:"argv,omitempty"`
	Want  []string `json:"want"`
	Error string   `json:"error,omitempty"`
}

func rows(t testing.TB) []row {
	t.Helper()
	content, err := os.ReadFile("testdata/commands.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	if err := json.Unmarshal(content, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// render writes a command as `outer>inner>program word word <file >file`, words that are not plain in quotes, and a
// question mark behind one that is not resolved.
func render(a *policy.Argv) string {
	var b strings.Builder
	write := func(word string) {
		if word == "" || strings.Trim(word, plain+"*=") != "" {
			word = strconv.Quote(word)
		}
		b.WriteString(word)
	}
	for _, v := range a.Via {
		write(v)
		b.WriteByte('>')
	}
	for _, v := range a.Assignments {
		write(v)
		b.WriteByte(' ')
	}
	write(a.Path)
	for _, group := range []struct {
		mark  string
		words []string
	}{{" ", a.Arguments}, {" <", a.Reads}, {" >", a.Writes}} {
		for _, w := range group.words {
			b.WriteString(group.mark)
			write(w)
		}
	}
	if a.Unresolved != "" {
		b.WriteString(" ?")
	}
	return b.String()
}

func renderAll(found []policy.Argv) []string {
	out := []string{}
	for i := range found {
		out = append(out, render(&found[i]))
	}
	return out
}

func TestCommands(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range rows(t) {
		if names[r.Name] {
			t.Errorf("two rows are called %q", r.Name)
		}
		names[r.Name] = true
		t.Run(r.Name, func(t *testing.T) {
			var found []policy.Argv
			var err error
			if r.Argv != nil {
				found, err = OfArgv(r.Argv)
			} else {
				found, err = Commands(r.Text)
			}
			if r.Error != "" {
				if err == nil || !strings.Contains(err.Error(), r.Error) {
					t.Errorf("got %v and %q, want the error %q", err, renderAll(found), r.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := renderAll(found); !slices.Equal(got, r.Want) {
				t.Errorf("%s%q\n got %s\nwant %s", r.Text, r.Argv, strings.Join(got, "\n     "), strings.Join(r.Want, "\n     "))
			}
			for i := range found {
				if found[i].Unresolved == "" && (found[i].Program == policy.Unknown || slices.Contains(found[i].Arguments, policy.Unknown) && !strings.Contains(r.Text+strings.Join(r.Argv, " "), "*")) {
					t.Errorf("%s holds words that are not known and is resolved", render(&found[i]))
				}
			}
		})
	}
	if len(names) < 100 {
		t.Errorf("%d rows, less than 100", len(names))
	}
}
