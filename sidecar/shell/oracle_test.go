package shell

import (
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// resolved returns what is found in a text, if all of it is resolved.
func resolved(text string) ([]policy.Argv, bool) {
	found, err := Commands(text)
	if err != nil {
		return nil, false
	}
	for i := range found {
		if found[i].Unresolved != "" {
			return nil, false
		}
	}
	return found, true
}

// holds is the promise of the package: whatever a shell runs and writes when it is given a text of which everything is
// resolved was found in it.
func (s *sandbox) holds(t testing.TB, text string) (ran int) {
	t.Helper()
	found, ok := resolved(text)
	if !ok {
		return 0
	}
	canonical, hasCanonical := Canonical(text)
	for _, sh := range s.shells {
		got, err := s.run(sh, text)
		if err != nil {
			t.Fatalf("%s of %q: %v", sh.name, text, err)
		}
		compare(t, sh, text, found, got)
		ran += len(got.ran)
		if !hasCanonical {
			continue
		}
		again, err := s.run(sh, canonical)
		if err != nil {
			t.Fatalf("%s of %q: %v", sh.name, canonical, err)
		}
		compare(t, sh, canonical, found, again)
		// But for what runs at the same time as something else, or in a given time.
		if got.ended && again.ended && !strings.ContainsAny(text, "&|") && !strings.Contains(text, "timeout") && !strings.Contains(text, "setsid") && len(again.ran) != len(got.ran) {
			t.Errorf("%s ran %q, given %q,\nand   %q, given %q", sh.name, got.ran, text, again.ran, canonical)
		}
	}
	return ran
}

func compare(t testing.TB, sh remoteShell, text string, found []policy.Argv, got outcome) {
	t.Helper()
	for _, words := range got.ran {
		if !slices.ContainsFunc(found, func(a policy.Argv) bool {
			file := a.Path == words[0] || !strings.Contains(a.Path, "/") && a.Path == path.Base(words[0])
			return file && slices.Equal(a.Arguments, words[1:])
		}) {
			t.Errorf("%s, given %q,\nran   %q\nfound %s", sh.name, text, words, strings.Join(renderAll(found), "\n      "))
		}
	}
	for _, file := range got.files {
		if !slices.ContainsFunc(found, func(a policy.Argv) bool {
			return slices.ContainsFunc(a.Writes, func(name string) bool { return path.Clean(name) == file || path.Clean(name) == "/work/"+file })
		}) {
			t.Errorf("%s, given %q,\nwrote %q\nfound %s", sh.name, text, file, strings.Join(renderAll(found), "\n      "))
		}
	}
}

func TestResolvedTextsOfTheTableRunNothingElse(t *testing.T) {
	s := theSandbox(t)
	ran := 0
	for _, r := range rows(t) {
		if r.Argv == nil {
			ran += s.holds(t, r.Text)
		}
	}
	if ran < 50 {
		t.Errorf("only %d programs ran: the test shows little", ran)
	}
}

func TestResolvedGeneratedTextsRunNothingElse(t *testing.T) {
	s := theSandbox(t)
	ran := 0
	for seed := range uint64(600) {
		ran += s.holds(t, generate(seed))
	}
	if ran < 100 {
		t.Errorf("only %d programs ran: the test shows little", ran)
	}
}

// FuzzResolvedGeneratedTextsRunNothingElse writes texts by a grammar and breaks them; what is fuzzed is the seed.
func FuzzResolvedGeneratedTextsRunNothingElse(f *testing.F) {
	for seed := range uint64(3) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { theSandbox(t).holds(t, generate(seed)) })
}

// FuzzResolvedTextsRunNothingElse takes the fuzzer's own texts.
func FuzzResolvedTextsRunNothingElse(f *testing.F) {
	for _, text := range []string{"ls 'a b' | cat", "if ls; then rm \"x\"; fi", "cat <<E\na\nE\n", "f() { ls; }\nf && rm x", "env a=b ls >f", "sh -c 'rm x'"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { theSandbox(t).holds(t, text) })
}

// generate writes a text; the same for the same seed.
func generate(seed uint64) string {
	g := &generator{rand.New(rand.NewPCG(seed, 0))}
	text := g.list(3)
	if g.one(2) {
		text = g.broken(text)
	}
	return text
}

type generator struct{ *rand.Rand }

func (g *generator) one(of int) bool { return g.IntN(of) == 0 }

func (g *generator) of(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) list(depth int) string {
	var b strings.Builder
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			b.WriteString(g.of(";", "; ", "\n", " && ", "&&", " || ", "||", " | ", "|", " & ", "&", "\n\n", " ;\n", "&&\n", "|\n", ";\t", " |\\\n", "& \n"))
		}
		b.WriteString(g.command(depth))
	}
	return b.String()
}

func (g *generator) command(depth int) string {
	if depth == 0 || !g.one(4) {
		return g.simple(depth)
	}
	depth--
	switch g.IntN(12) {
	case 0:
		return "(" + g.list(depth) + ")" + g.redirection()
	case 1:
		return "{ " + g.list(depth) + "; }" + g.redirection()
	case 2:
		return "if " + g.list(depth) + "; then " + g.list(depth) + "; " + g.of("", "else "+g.list(depth)+"\n", "elif "+g.list(depth)+"; then "+g.list(depth)+"; ") + "fi"
	case 3:
		return "while false; do " + g.list(depth) + "; done"
	case 4:
		return "until " + g.list(depth) + "; do " + g.of("break", "exit") + "; done"
	case 5:
		return "for i in " + g.word(depth) + " " + g.word(depth) + g.of("; do ", "\ndo ") + g.list(depth) + "; done"
	case 6:
		return "case " + g.word(0) + " in " + g.of("", "(") + g.of("a", "b|a", "'a'", "*") + ") " + g.list(depth) + g.of(";;", "\n;;") + " esac"
	case 7:
		return "! " + g.simple(depth)
	case 8:
		return g.of("f", "ls", "g") + "()" + g.of(" ", "\n") + "{ " + g.list(depth) + "; }; " + g.of("f", "ls", "g")
	case 9:
		end := g.of("EOF", "E", "'EOF'", `"E"`, `\EOF`, "E F", "''")
		return "cat <<" + g.of("", "-", " ") + end + g.of("", " | cat", "; rm x", " && ls") + "\n" + g.of(g.list(depth), "$(rm x)", "`rm y`", "$x", `\$(ls)`, "a\\\nb", "") + g.of("\n", "\n\t", "") + strings.Trim(end, `'"\`) + "\n" + g.of("", g.simple(depth))
	case 10:
		return g.of("sh", "bash", "dash", "sh -e", "eval", "bash -l", "env sh", "nice bash") + g.of(" -c ", " -ec ", " ", " -c -- ") + quoted(g, g.list(depth))
	default:
		return "trap " + quoted(g, g.list(depth)) + " EXIT"
	}
}

func quoted(g *generator, text string) string {
	switch g.IntN(4) {
	case 0:
		return Quote([]string{text})
	case 1:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text) + `"`
	case 2:
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (g *generator) simple(depth int) string {
	var b strings.Builder
	if g.one(12) {
		b.WriteString(g.of("a=b ", "LC_ALL=C ", "TZ='a b' ", "x=$(rm a) ", "PATH=/bin ", "a= ", "TERM=x\\ y "))
	}
	if g.one(12) {
		b.WriteString(g.redirection() + " ")
	}
	switch g.IntN(7) {
	case 0:
		b.WriteString(g.of("env ", "nice ", "nohup ", "timeout 5 ", "setsid ", "env -i PATH=/bin ", "env LC_ALL=C ", "nice -n 1 ", "command ", "exec ", "time ", "sudo ",
			"env -u a ", "stdbuf -o0 ", "xargs ", "xargs -I{} ", "command -p ", "time -p ", "builtin ", "eval ", "find . -exec ", "env -- ", "timeout -s KILL 5 ", "sudo -u a -- "))
	case 1:
		b.WriteString(g.of("echo ", "printf ", "test ", "cd ", "set -- ", "export ", "read ", "alias ", "unset ", ": ", "true ", "set -e; ", "shift ", "return ", ". ", "hash "))
	}
	b.WriteString(g.of("ls", "rm", "cat", "foo", "'ls'", `"rm"`, `\ls`, `l"s"`, "r\\m", "a", "b", "sudo", "git", "/bin/ls", "/bin/../bin/rm", "./ls", "=", "{}", "[[", "c\\\nat", "''ls", "%", "]]", "if-not", "@"))
	for range g.IntN(4) {
		b.WriteString(g.of(" ", "  ", "\t", " \\\n") + g.word(depth))
	}
	if g.one(6) {
		b.WriteString(" " + g.redirection())
	}
	if g.one(15) {
		b.WriteString(g.of(" # ", " #", "#", " ;# ") + g.of("rm x", "\\", "'", `"`, "$(", "\\\nrm y") + "\n")
	}
	return b.String()
}

func (g *generator) redirection() string {
	return g.of("", ">", "<", ">>", "2>", ">|", "<>", "2>&1", ">&2", "&>", ">&", "<&-", "3>", "<<<", "0<", "1>&-", ">f", "2>/dev/null", ">'a b'", "> y", ">\\\nf", ">&f") + g.of("", "a", " x", "/dev/null", "'f'", "$x", "")
}

func (g *generator) word(depth int) string {
	var b strings.Builder
	for range 1 + g.IntN(3) {
		switch g.IntN(9) {
		case 0, 1, 2:
			b.WriteString(g.of("a", "b", "x", "-r", "--f", "1", "a.b", "/tmp/x", "é", "a=b", "@", "%", ":", ",", "+", "^", "]", "a]", "-", "--", "!", "=", "ü b"))
		case 3:
			b.WriteString("'" + g.of("a b", "$x", "$(rm a)", "`rm a`", `\`, `"`, "*", "~", ";", "#", "\n", "a\\\nb", "!", "", "&&", "é", "{a,b}") + "'")
		case 4:
			b.WriteString(`"` + g.of("a b", `\$x`, `\\`, `\"`, "'", "*", "~", ";", "#", "\n", "a\\\nb", "!", "", `\a`, "\\`rm a\\`", `\$(rm a)`, "{a,b}", "é", `\n`, `\!`) + `"`)
		case 5:
			b.WriteString(`\` + g.of(" ", "a", "$", "'", `"`, `\`, "*", "~", ";", "#", "\n", "é", "&", "|", "<", "(", "{", "=", "!", "\t", "n"))
		case 6:
			if !g.one(3) {
				continue
			}
			b.WriteString(g.of("*", "?", "~", "[a]", "{a,b}", "$x", "${x}", "$((1+1))", "$'a'", `$"a"`, "${x:-a}", "#", "a#b", "{}", "{", "}", "$", "[", "((", "=a", "$1", "\x01", "\x7f", "\u00a0", "\r", "~+", "^a"))
		case 7:
			if depth > 0 && g.one(3) {
				b.WriteString(g.of("$(", `"$(`) + g.list(depth-1) + ")")
				if strings.HasPrefix(b.String(), `"`) {
					b.WriteByte('"')
				}
			}
		default:
			if depth > 0 && g.one(4) {
				b.WriteString("`" + g.simple(0) + "`")
			}
		}
	}
	return b.String()
}

// broken changes a text in a few places.
func (g *generator) broken(text string) string {
	for range 1 + g.IntN(3) {
		at := g.IntN(len(text) + 1)
		switch g.IntN(5) {
		case 0, 1, 2:
			text = text[:at] + g.of("'", `"`, `\`, "$", "(", ")", "`", "#", ";", "&", "|", "<", ">", "\n", " ", "\t", "{", "}", "!", "*", "~", "\\\n", "<<E\n", "$(", "))", "((", "${", ";;",
				" if ", " then ", " fi ", " do ", " done ", " in ", "[[ ", " ]]", "=", "^", "%", "\r\n", "\x00", "\xff", "é", "\u2003", "<(", ">(", "&>", "|&", ";&", "$'", `$"`, "<<-", "\nE\n", "EOF\n", "function ", "a=(", "a[", "+=", "0", "-c ", " rm x ") + text[at:]
		case 3:
			if at < len(text) {
				text = text[:at] + text[at+1:]
			}
		default:
			if to := g.IntN(len(text) + 1); at < to && to-at < 40 {
				text = text[:to] + text[at:to] + text[to:]
			}
		}
	}
	return text
}
