package policy

import (
	"strings"
	"testing"
)

// words is the command of a shell's simple command.
func words(program string, arguments ...string) Argv {
	return Argv{Program: program[strings.LastIndexByte(program, '/')+1:], Path: program, Arguments: arguments}
}

func (a Argv) via(programs ...string) Argv { a.Via = programs; return a }

func (a Argv) unknown(why string) Argv { a.Unresolved = why; return a }

func (a Argv) writes(files ...string) Argv { a.Writes = files; return a }

func (a Argv) reads(files ...string) Argv { a.Reads = files; return a }

func TestRulesOnArgv(t *testing.T) {
	yes, no := true, false
	programs := func(p ...string) Match { return Match{Programs: p} }
	with := func(program string, arguments ...string) Match {
		return Match{Programs: []string{program}, Arguments: arguments}
	}
	code := Argv{Program: Unknown, Path: Unknown, Arguments: []string{Unknown}, Via: []string{"python3"}, Unresolved: "code"}
	tests := map[string]struct {
		action Action
		match  Match
		argv   Argv
		want   bool
	}{
		"an empty match is for every command":       {Allow, Match{}, words("rm").unknown("x").writes("/etc/passwd"), true},
		"a program is compared by its last element": {Deny, programs("rm"), words("/opt/x/rm"), true},
		"a glob over programs":                      {Deny, programs("mkfs*"), words("mkfs.ext4"), true},
		"another program":                           {Deny, programs("rm"), words("ls"), false},
		"programs compare with case":                {Deny, programs("rm"), words("RM"), false},

		"a name permits a program of the system":              {Allow, programs("ls"), words("/usr/bin/ls"), true},
		"a name does not permit a program of another folder":  {Allow, programs("ls"), words("/tmp/ls"), false},
		"a name does not permit a program by a relative path": {Allow, programs("ls"), words("./ls"), false},
		"a path permits it":                                      {Allow, programs("/opt/app/ls"), words("/opt/app/ls"), true},
		"a path does not permit the name alone":                  {Allow, programs("/opt/app/ls"), words("ls"), false},
		"a path does not permit a way around it":                 {Allow, programs("/opt/app/*"), words("/opt/app/../../tmp/ls"), false},
		"a path forbids the name":                                {Deny, programs("/bin/rm"), words("rm"), true},
		"a path forbids the way around it":                       {Deny, programs("/bin/rm"), words("/usr/../bin/rm"), true},
		"a path does not forbid another folder":                  {Deny, programs("/bin/rm"), words("/opt/rm"), false},
		"a rule that forbids sees what it was found through":     {Deny, programs("xargs"), words("rm").via("sh", "xargs"), true},
		"a rule that permits does not":                           {Allow, programs("xargs"), words("rm").via("xargs"), false},
		"a rule that permits needs nothing of the shells around": {Allow, programs("ls"), words("ls").via("sh", "env"), true},

		"an unknown program is forbidden by any name":        {Deny, programs("rm"), Argv{Program: Unknown}.unknown("x"), true},
		"an unknown program is not permitted by a name":      {Allow, programs("ls"), Argv{Program: Unknown}.unknown("x"), false},
		"an unknown program is not permitted by a pattern":   {Allow, programs("?*", "*l*"), Argv{Program: Unknown}.unknown("x"), false},
		"an unknown program is permitted by a star":          {Allow, programs("*"), Argv{Program: Unknown}.unknown("x"), true},
		"a command without a program is any":                 {Allow, programs("ls"), Argv{}, false},
		"an unknown program of any path is forbidden":        {Deny, programs("/bin/rm"), Argv{Program: Unknown, Path: Unknown}, true},
		"an unknown program is not permitted by its wrapper": {Allow, programs("python3"), code, false},

		"forbidden arguments, all there":                  {Deny, with("rm", "-rf", "/"), words("rm", "-rf", "/"), true},
		"forbidden arguments, one missing":                {Deny, with("rm", "-rf", "/"), words("rm", "/"), false},
		"forbidden arguments of another program":          {Deny, with("rm", "-rf"), words("ls", "-rf"), false},
		"forbidden arguments of any program":              {Deny, Match{Arguments: []string{"/etc/shadow"}}, words("cat", "/etc/shadow"), true},
		"an unknown argument is forbidden":                {Deny, with("rm", "-rf", "/"), words("rm", Unknown), true},
		"no argument is not forbidden":                    {Deny, with("rm", "*"), words("rm"), false},
		"a file that is read is an argument to forbid":    {Deny, Match{Arguments: []string{"/etc/shadow"}}, words("cat").reads("/etc/shadow"), true},
		"a file that is written is an argument to forbid": {Deny, Match{Arguments: []string{"/etc/*"}}, words("echo").writes("/etc/passwd"), true},
		"what a wrapper starts is its argument":           {Deny, with("xargs", "rm"), words("rm").via("xargs"), true},
		"what a wrapper starts is not another's argument": {Deny, with("xargs", "cp"), words("rm").via("xargs"), false},

		"permitted arguments cover all":                        {Allow, with("git", "log", "--*"), words("git", "log", "--oneline", "--all"), true},
		"permitted arguments cover not all":                    {Allow, with("git", "log", "--*"), words("git", "log", "main"), false},
		"a permitted argument that is asked for":               {Allow, with("rm", "-i", "/tmp/*"), words("rm", "-i", "/tmp/x"), true},
		"a permitted argument that is asked for and not there": {Allow, with("rm", "-i", "/tmp/*"), words("rm", "/tmp/x"), false},
		"a star is for no argument too":                        {Allow, with("ls", "*"), words("ls"), true},
		"no pattern is for any argument":                       {Allow, programs("ls"), words("ls", "-l"), true},
		"an unknown argument is covered by a star":             {Allow, Match{Programs: []string{"ls"}, Arguments: []string{"*"}, Unresolved: &yes}, words("ls", Unknown).unknown("x"), true},
		"an unknown argument is not covered by a pattern":      {Allow, Match{Programs: []string{"ls"}, Arguments: []string{"/tmp/*"}, Unresolved: &yes}, words("ls", Unknown).unknown("x"), false},
		"a file that is read is an argument to cover":          {Allow, with("cat", "/var/log/*"), words("cat").reads("/etc/shadow"), false},
		"a file that is read, covered":                         {Allow, with("cat", "/var/log/*"), words("cat").reads("/var/log/app"), true},
		"a file that is written is never covered by arguments": {Allow, with("cat", "/var/log/*"), words("cat").writes("/var/log/app"), false},
		"a file that is written is not covered by the program": {Allow, programs("echo"), words("echo").writes("/tmp/x"), false},
		"output that is thrown away is":                        {Allow, programs("echo"), words("echo").writes("/dev/null"), true},
		"a file that is written is covered by everything":      {Allow, programs("*"), words("echo").writes("/tmp/x"), true},

		"an expression":                               {Deny, with("rm", "/-[a-z]*r[a-z]*/"), words("rm", "-fr"), true},
		"an expression is anchored":                   {Deny, with("rm", "/r+/"), words("rm", "-r"), false},
		"an expression with alternatives is":          {Allow, with("git", "/log|status/"), words("git", "status --x"), false},
		"an expression sees behind a newline":         {Deny, with("rm", "/.*secret.*/"), words("rm", "a\nsecret\nb"), true},
		"an expression is touched by the unknown":     {Deny, with("rm", "/-r+/"), words("rm", Unknown), true},
		"an expression does not cover the unknown":    {Allow, Match{Programs: []string{"rm"}, Arguments: []string{"/.*/"}, Unresolved: &yes}, words("rm", Unknown).unknown("x"), false},
		"a folder is no expression":                   {Deny, with("rm", "/etc/"), words("rm", "/etc/"), true},
		"a folder below a folder is no expression":    {Deny, with("rm", "/var/lib+/"), words("rm", "/var/lib+/"), true},
		"an expression with a slash escapes it":       {Deny, with("rm", `/\/etc\/.+/`), words("rm", "/etc/x"), true},
		"an argument with a star is like the unknown": {Deny, with("find", "-delete"), words("find", "*"), true},

		"unresolved":        {Deny, Match{Unresolved: &yes}, words("ls", Unknown).unknown("x"), true},
		"unresolved wanted": {Deny, Match{Unresolved: &yes}, words("ls"), false},
		"resolved wanted":   {Allow, Match{Unresolved: &no}, words("ls", Unknown).unknown("x"), false},
		"a program does not cover the unresolved":            {Allow, programs("ls"), words("ls", Unknown).unknown("x"), false},
		"a program covers the unresolved where that is said": {Allow, Match{Programs: []string{"ls"}, Unresolved: &yes}, words("ls", Unknown).unknown("x"), true},
		"code is covered by its program where that is said":  {Allow, Match{Programs: []string{"python3"}, Unresolved: &yes}, code, true},
		"code of another program is not":                     {Allow, Match{Programs: []string{"awk"}, Unresolved: &yes}, code, false},
		"everything covers the unresolved":                   {Allow, with("*", "*"), words("ls", Unknown).unknown("x"), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, protocol := range []Protocol{ProtocolSSH, ProtocolKubernetes} {
				r, err := compileRule(protocol, &Rule{Name: "r", Match: tc.match, Action: tc.action})
				if err != nil {
					t.Fatal(err)
				}
				if got := r.matchArgv(&tc.argv); got != tc.want {
					t.Errorf("%s: got %v", protocol, got)
				}
				if tc.action != Deny {
					continue
				}
				asking := Rule{Name: "r", Match: tc.match, Action: RequireApproval}
				if r, err = compileRule(protocol, &asking); err != nil {
					t.Fatal(err)
				} else if got := r.matchArgv(&tc.argv); got != tc.want {
					t.Errorf("%s, asking for approval: got %v", protocol, got)
				}
			}
		})
	}
}

func TestRulesOnArgvWhereThereIsNone(t *testing.T) {
	for _, action := range []Action{Allow, Deny} {
		for _, tc := range []struct {
			match Match
			want  bool
		}{{Match{PTY: new(bool)}, true}, {Match{Programs: []string{"*"}}, false}, {Match{Unresolved: new(bool)}, false}} {
			r, err := compileRule(ProtocolSSH, &Rule{Name: "r", Match: tc.match, Action: action})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.matchArgv(nil); got != tc.want {
				t.Errorf("%s %+v: got %v", action, tc.match, got)
			}
		}
	}
}

func TestMistakesInArgumentsAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":            "match.arguments: an empty pattern matches nothing",
		"/(/":         `match.arguments: "/(/": error parsing regexp`,
		"/a)|(b/":     `match.arguments: "/a)|(b/": error parsing regexp`,
		"/a{1,9999}/": `match.arguments: "/a{1,9999}/": error parsing regexp`,
	} {
		_, err := compileRule(ProtocolSSH, &Rule{Name: "r", Action: Deny, Match: Match{Arguments: []string{text}}})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
