package ssh

import (
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// TestInterpretedCommands runs every case of the files where scripts are interpreted: what a case is made of may run then,
// but nothing of what it is after.
func TestInterpretedCommands(t *testing.T) {
	needServer(t)
	all, err := families()
	if err != nil {
		t.Fatal(err)
	}
	adversaries := make(map[string]*adversary)
	for name, p := range interpreting() {
		s := sshsidecar.Start(t, server, p)
		adversaries[name] = &adversary{s, s.Client(t)}
	}
	furnish(t)
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			for _, c := range f.cases {
				for name, a := range adversaries {
					if only := c.options["policy"]; only != "" && only != name {
						continue
					}
					t.Run(c.name+" under "+name, func(t *testing.T) {
						before := a.recorded()
						got := execute(t, a.client, c.text, c.stdin)
						if changed := untouched(); changed != "" {
							t.Errorf("%s; received %s", changed, got)
							furnish(t)
						}
						if a.recorded() == before {
							t.Error("it is not recorded")
						}
					})
				}
			}
		})
	}
	if changed := untouched(); changed != "" {
		t.Errorf("at the end: %s", changed)
	}
	for name, a := range adversaries {
		if got := execute(t, a.client, "X=echo; $X still here", ""); got.stdout != "still here\n" {
			t.Errorf("under %s the connection is of no use any more: %s", name, got)
		}
	}
}

// made are ways in which a script can come to a command that is not written in it. All leave a mark in the user's home.
var made = map[string]string{
	"a variable behind a folder":         `cd .; X=touch; $X mark`,
	"a folder's name":                    `cd '.;touch mark' || :; cd "./x' && touch mark && echo '"; X=touch; $X mark`,
	"a variable behind a test":           `X=touch; [ -f keep ] && $X mark || test -e /nowhere || $X mark`,
	"a test's words":                     `X=touch; test -f '$(touch mark)' || $X mark`,
	"a variable":                         `X=touch; $X mark`,
	"a variable for all of it":           `X='touch mark'; $X`,
	"words split by IFS":                 `IFS=_; X=touch_mark; $X`,
	"positional parameters":              `set -- touch mark; "$@"`,
	"a function's arguments":             `f() { "$@"; }; f touch mark`,
	"a function of another name":         `echo() { touch mark; }; ls() { touch "$1"; }; ls mark`,
	"a list":                             `X=(touch mark); "${X[@]}"`,
	"a reference":                        `declare -n r=X; X=touch; $r mark`,
	"an indirect expansion":              `Y=touch; X=Y; ${!X} mark`,
	"backwards":                          `X=hcuot; $(echo $X | rev) mark`,
	"a default":                          `${X:-touch} mark`,
	"a default that is assigned":         `${X:=touch} mark`,
	"a cut variable":                     `X=xtouchy; X=${X#x}; ${X%y} mark`,
	"a replaced one":                     `X=tXuch; ${X/X/o} mark`,
	"a part of one":                      `X=xxtouch; ${X:2} mark`,
	"another case":                       `X=TOUCH; ${X,,} mark`,
	"a case":                             `case a in *) t=touch;; esac; $t mark`,
	"lines that are read":                "while read -r l; do $l; done <<E\ntouch mark\nE",
	"one line that is read":              `read -r X <<<touch; $X mark`,
	"a line from a pipe":                 `printf 'touch mark\n' | while read -r l; do $l; done`,
	"what printf stores":                 `printf -v X touch; $X mark`,
	"an escape":                          `X=$'\x74ouch'; $X mark`,
	"a pattern of the program":           `X=/usr/bin/touc?; $X mark`,
	"braces":                             `X=mark; {touch,$X}`,
	"an alias":                           "shopt -s expand_aliases; alias ls=touch\nX=1; ls mark",
	"a trap":                             `trap 'touch mark' EXIT; X=1`,
	"an error's trap":                    `trap 'touch mark' ERR; X=1; false`,
	"eval":                               `X='touch mark'; eval "$X"`,
	"eval by its builtin":                `X='touch mark'; builtin eval "$X"`,
	"command":                            `X=touch; command $X mark`,
	"exec":                               `X=touch; exec $X mark`,
	"the background":                     `X=touch; $X mark & wait`,
	"a process substitution":             `X=touch; cat <($X mark)`,
	"the other one":                      `X=touch; echo mark | cat > >(xargs $X)`,
	"a coprocess":                        `X=touch; coproc $X mark; wait`,
	"a subshell":                         `X=touch; (cat /dev/null; $X mark)`,
	"a condition":                        `X=touch; if ! $X mark; then :; fi`,
	"arithmetic":                         `a='b[$(touch mark)]'; echo $((a))`,
	"a test's arithmetic":                `a='b[$(touch mark)]'; [[ $a -eq 0 ]]`,
	"an index":                           `a='x[$(touch mark)]'; test -v "$a"`,
	"a here-document":                    "X=touch; cat <<E\n$($X mark)\nE",
	"a shell":                            `X=sh; $X -c 'touch mark'`,
	"a shell that reads":                 `X=sh; echo 'touch mark' | $X`,
	"a shell behind env":                 `X=sh; env -i $X -c 'touch mark'`,
	"a wrapper":                          `X=touch; nice env timeout 9 $X mark`,
	"a redirection":                      `X=mark; echo a > $X`,
	"a redirection of nothing":           `X=mark; : > $X`,
	"an appending one":                   `X=mark; echo a >> "$X"`,
	"one of a group":                     `X=mark; { echo a; } > "$X"`,
	"one of both":                        `X=mark; echo a &> "$X"`,
	"one that reads and writes":          `X=mark; echo a 1<> "$X"`,
	"one that exec leaves":               `X=mark; exec > "$X"; echo a`,
	"a file that is sourced":             `X=./evil.sh; . $X`,
	"a file that is sourced from a pipe": `X=/dev/stdin; echo 'touch mark' | . $X`,
	"an exported function":               `ls() { touch mark; }; export -f ls; X=bash; $X -c ls`,
	"mapfile's callback":                 "mapfile -C 'touch mark;:' -c 1 X <<E\na\nE",
	"PS4":                                `PS4='$(touch mark)'; set -x; X=1`,
	"a selection":                        "X=touch; select i in $X; do $i mark; break; done <<E\n1\nE",
	"a let":                              `X='a[$(touch mark)]'; let "$X"`,
}

// nothing are those of which the interpreter makes nothing: it evaluates no substitution in a value.
var nothing = []string{"arithmetic", "a test's arithmetic", "an index", "a let"}

func TestWhatAScriptMakesIsJudged(t *testing.T) {
	needServer(t)
	past := direct(t)
	adversaries := make(map[string]*adversary)
	for name, p := range interpreting() {
		s := sshsidecar.Start(t, server, p)
		adversaries[name] = &adversary{s, s.Client(t)}
	}
	furnish(t)
	for name, text := range made {
		t.Run(name, func(t *testing.T) {
			a := execute(t, past, "bash -c "+shell.Quote([]string{text}), "")
			if !eventually(func() bool { return untouched() != "" }) {
				t.Errorf("past the sidecar this does no harm: %s", a)
			}
			furnish(t)
			for under, a := range adversaries {
				got := execute(t, a.client, text, "")
				if changed := untouched(); changed != "" {
					t.Errorf("under %s: %s; received %s", under, changed, got)
					furnish(t)
				}
				if !strings.Contains(got.stderr, "chaperone: ") && !slices.Contains(nothing, name) {
					t.Errorf("under %s nothing is refused: %s", under, got)
				}
			}
		})
	}
	interpreted := 0
	for _, a := range adversaries {
		for _, e := range a.sidecar.Log.Events() {
			if e.Rule == policy.RuleInterpreted {
				interpreted++
			}
		}
	}
	if interpreted < len(made) {
		t.Errorf("only %d scripts were interpreted", interpreted)
	}
}
