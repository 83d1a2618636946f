package cel

import (
	"maps"
	"slices"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestArgvHasAValueForEveryField(t *testing.T) {
	for _, a := range []*policy.Argv{nil, {}, {Program: "ls", Arguments: []string{"-l"}}} {
		got := slices.Sorted(maps.Keys(argvValues(a)))
		if want := slices.Sorted(maps.Keys(withArgv(nil))); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestConditionsOnArgv(t *testing.T) {
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	rm := &policy.Argv{Program: "rm", Path: "/bin/rm", Arguments: []string{"-rf", "/srv"}, Via: []string{"sudo"},
		Assignments: []string{"A=b"}, Reads: []string{"/in"}, Writes: []string{"/out"}, Unresolved: "x"}
	for expression, want := range map[string]map[*policy.Argv]bool{
		`command.program == "rm" && command.path.startsWith("/bin/")`: {rm: true, nil: false},
		`command.arguments[0] == "-rf"`:                               {rm: true},
		`command.arguments.exists(a, a.startsWith("/srv"))`:           {rm: true, nil: false},
		`"sudo" in command.via && command.unresolved`:                 {rm: true, nil: false},
		`command.writes.all(w, w.startsWith("/tmp/"))`:                {rm: false, nil: true},
		`size(command.reads) + size(command.assignments) == 2`:        {rm: true, nil: false},
	} {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		if err := checkFields(ast, argvFields, policy.ProtocolSSH); err != nil {
			t.Fatal(err)
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatal(err)
		}
		for a, want := range want {
			out, _, err := program.Eval(map[string]any{"command": argvValues(a)})
			if err != nil || out.Value() != want {
				t.Errorf("%s of %+v: got %v, %v", expression, a, out, err)
			}
		}
	}
}
