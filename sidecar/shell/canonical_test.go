package shell

import (
	"slices"
	"strings"
	"testing"
)

func TestSimpleCommands(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"plain words":         {"ls -l /tmp", []string{"ls", "-l", "/tmp"}},
		"single quotes":       {"echo 'a b'", []string{"echo", "a b"}},
		"a pipe":              {"ls | cat", nil},
		"double quotes":       {`echo "a \$b" c\ d`, []string{"echo", "a $b", "c d"}},
		"a keyword of bash":   {"time ls", nil},
		"a test of bash":      {"[[ -f x ]]", nil},
		"a test":              {"[ -f x ]", []string{"[", "-f", "x", "]"}},
		"a carriage return":   {"ls\r", nil},
		"a comment":           {"ls # x", []string{"ls"}},
		"a substitution":      {"ls $(rm x)", nil},
		"braces":              {"ls {a,b}", nil},
		"a tilde":             {"ls ~", nil},
		"a variable":          {"ls $HOME", nil},
		"a redirection":       {"ls >f", nil},
		"an assignment":       {"A=b ls", nil},
		"a glob":              {"ls *", nil},
		"in the background":   {"ls &", nil},
		"a mistake":           {"ls )", nil},
		"nothing":             {"", nil},
		"more than a maximum": {"echo " + strings.Repeat("a", maxText), nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Simple(tc.text)
			if ok != (tc.want != nil) || !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestCanonicalTexts(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a list":                      {"ls a;rm b\ncat c", "'ls' 'a'; 'rm' 'b'; 'cat' 'c'"},
		"pipes and conditions":        {"ls|cat && rm x||! true", "'ls' | 'cat' && 'rm' 'x' || ! 'true'"},
		"groups":                      {"(ls;rm x)|{ cat; }", "( 'ls'; 'rm' 'x'; ) | { 'cat'; }"},
		"the background":              {"ls & rm x&", "'ls' & 'rm' 'x' &"},
		"a choice":                    {"if ls;then rm x;elif true;then a;else b;fi", "if 'ls'; then 'rm' 'x'; elif 'true'; then 'a'; else 'b'; fi"},
		"a loop":                      {"until ls\ndo rm x & done", "until 'ls'; do 'rm' 'x' & done"},
		"redirections":                {"ls >\"a b\" 2>&1 <c", "'ls' >'a b' 2>&1 <'c'"},
		"assignments":                 {"LC_ALL=C sort 'a'\\''b'", `LC_ALL='C' 'sort' 'a'\''b'`},
		"quotes":                      {`"rm" l\s "a\"!"`, `'rm' 'ls' 'a"'\!`},
		"a variable":                  {"ls; rm $x", ""},
		"a here-document":             {"cat <<E\nx\nE", ""},
		"a function":                  {"f() { ls; }; f", ""},
		"what only bash reads":        {"ls &>f", ""},
		"what shells do not agree on": {"[[ a ]] && ls", ""},
		"nothing":                     {"# x", ""},
		"a mistake":                   {"ls;;", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := Canonical(tc.text)
			if got != tc.want || ok != (tc.want != "") {
				t.Fatalf("got  %s, %v\nwant %s", got, ok, tc.want)
			}
			if !ok {
				return
			}
			before, _ := Commands(tc.text)
			if after, err := Commands(got); err != nil || !equal(before, after) {
				t.Errorf("it runs %q, not %q, %v", renderAll(after), renderAll(before), err)
			}
		})
	}
}
