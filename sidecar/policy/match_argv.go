package policy

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// argvRule is what a rule says of simple commands.
type argvRule struct {
	programs   []string // globs
	arguments  []argumentPattern
	unresolved *bool
	// anything says that programs and arguments let every word pass.
	anything bool
}

func compileArgv(m *Match) (argvRule, error) {
	r := argvRule{unresolved: m.Unresolved}
	if slices.Contains(m.Programs, "") {
		return r, errors.New("match.programs: an empty pattern matches nothing")
	}
	r.programs = m.Programs
	for _, text := range m.Arguments {
		p, err := compileArgument(text)
		if err != nil {
			return r, fmt.Errorf("match.arguments: %w", err)
		}
		r.arguments = append(r.arguments, p)
	}
	r.anything = (len(r.programs) == 0 || slices.Contains(r.programs, "*")) &&
		(len(r.arguments) == 0 || slices.ContainsFunc(r.arguments, argumentPattern.all))
	return r, nil
}

// set says that the rule asks anything of a simple command.
func (r *argvRule) set() bool {
	return len(r.programs) > 0 || len(r.arguments) > 0 || r.unresolved != nil
}

// matchArgv reports whether what the rule says of simple commands (programs, arguments, unresolved) holds for this one;
// for a request that is none (nil), whether it says nothing of them. A session that could run anything is asked about as
// an Argv whose Program is Unknown.
//
// A rule that forbids needs one reason: its program, or one that the command was found through, and for each pattern of
// arguments some argument or some file of a redirection that it matches. Words that are not known match every pattern.
//
// A rule that permits must cover the whole command: the program, every argument and every file of a redirection; and each
// pattern of arguments must be of use (`*` stands for no argument as well), so that it can ask for a flag. It does
// not look at what the command was found through: programs that change who runs it or where are commands of their own.
// Only a rule that lets everything pass, or has unresolved: true, covers a command of which something is not known; the
// latter also what a program that it names runs (the code of python -c). Only the former covers one that writes a file by
// a redirection: no pattern of programs or arguments speaks of files that are written.
func (r *compiledRule) matchArgv(a *Argv) bool {
	if a == nil {
		return !r.argv.set()
	}
	if want := r.argv.unresolved; want != nil && *want != (a.Unresolved != "") {
		return false
	}
	if r.permits {
		return r.argv.covers(a)
	}
	return r.argv.touches(a)
}

func (r *argvRule) covers(a *Argv) bool {
	if !r.anything {
		if a.Unresolved != "" && r.unresolved == nil {
			return false
		}
		if slices.ContainsFunc(a.Writes, changesFile) {
			return false
		}
	}
	if len(r.programs) > 0 && !r.coversProgram(a.Program, a.Path) {
		// Code that cannot be seen is covered by the program that runs it, where the rule says so.
		if a.Program != Unknown || len(a.Via) == 0 || r.unresolved == nil {
			return false
		}
		if by := a.Via[len(a.Via)-1]; !r.coversProgram(path.Base(by), by) {
			return false
		}
	}
	if len(r.arguments) == 0 {
		return true
	}
	used := make([]bool, len(r.arguments))
	for _, words := range [][]string{a.Arguments, a.Reads, a.Writes} {
		for _, w := range words {
			covered := false
			for i, p := range r.arguments {
				if p.covers(w) {
					covered, used[i] = true, true
				}
			}
			if !covered {
				return false
			}
		}
	}
	for i, p := range r.arguments {
		if !used[i] && !p.all() {
			return false
		}
	}
	return true
}

func (r *argvRule) touches(a *Argv) bool {
	if (len(r.programs) == 0 || r.touchesProgram(a.Program, a.Path)) && r.touchesArguments(a, "") {
		return true
	}
	for _, via := range a.Via {
		if r.touchesProgram(path.Base(via), via) && r.touchesArguments(a, a.Program) {
			return true
		}
	}
	return false
}

// touchesArguments: program, where not empty, is one of the arguments: of a program that starts another, the other's
// name is one.
func (r *argvRule) touchesArguments(a *Argv, program string) bool {
	for _, p := range r.arguments {
		if !(program != "" && p.touches(program)) && !slices.ContainsFunc(a.Arguments, p.touches) &&
			!slices.ContainsFunc(a.Reads, p.touches) && !slices.ContainsFunc(a.Writes, p.touches) {
			return false
		}
	}
	return true
}

func (r *argvRule) coversProgram(name, file string) bool {
	return slices.ContainsFunc(r.programs, func(p string) bool { return coversProgram(p, name, file) })
}

func (r *argvRule) touchesProgram(name, file string) bool {
	return slices.ContainsFunc(r.programs, func(p string) bool { return touchesProgram(p, name, file) })
}

// systemPaths are the folders of a server's own programs, in which a program is the one that its name says.
var systemPaths = []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// coversProgram: a pattern of a name is for a program that is looked up in the server's PATH or that is in a folder of
// the system; anywhere else (/tmp/ls) an agent may have put it there, and the pattern has to name the path.
func coversProgram(pattern, name, file string) bool {
	if pattern == "*" {
		return true
	}
	if name == "" || name == Unknown {
		return false
	}
	if strings.Contains(pattern, "/") {
		return path.Clean(file) == file && wild(pattern, file)
	}
	if strings.Contains(file, "/") && !slices.Contains(systemPaths, path.Dir(file)) {
		return false
	}
	return wild(pattern, name)
}

// touchesProgram: a pattern of a name is for the program wherever it is, one of a path for its path, and for a name
// alone by its last element.
func touchesProgram(pattern, name, file string) bool {
	if strings.Contains(pattern, "/") && strings.Contains(file, "/") {
		return touches(pattern, file) || touches(pattern, path.Clean(file))
	}
	return touches(path.Base(pattern), name)
}

// changesFile says that writing to the name changes something that stays.
func changesFile(name string) bool {
	switch name {
	case "/dev/null", "/dev/stdout", "/dev/stderr":
		return false
	}
	return true
}

// argumentPattern is a glob, or a regular expression.
type argumentPattern struct {
	glob string
	re   *regexp.Regexp
}

// compileArgument reads `/re/` as a regular expression (RE2) that the whole argument matches, and everything else as a
// glob. A path may begin and end with a slash too (/etc/): it is an expression if it holds a character that only
// expressions are written with, and no further slash but behind a backslash.
func compileArgument(text string) (argumentPattern, error) {
	if text == "" {
		return argumentPattern{}, errors.New("an empty pattern matches nothing")
	}
	inner, ok := strings.CutPrefix(text, "/")
	if !ok || !strings.HasSuffix(inner, "/") {
		return argumentPattern{glob: text}, nil
	}
	inner = strings.TrimSuffix(inner, "/")
	if strings.Contains(strings.ReplaceAll(inner, `\/`, ""), "/") || !strings.ContainsAny(inner, `\^$|?+()[]{}`) && !strings.Contains(inner, ".*") {
		return argumentPattern{glob: text}, nil
	}
	// By itself first: a) | (b would close the group that anchors it.
	if _, err := regexp.Compile(inner); err != nil {
		return argumentPattern{}, fmt.Errorf("%q: %w", text, err)
	}
	re, err := regexp.Compile(`(?s)\A(?:` + inner + `)\z`)
	if err != nil {
		return argumentPattern{}, fmt.Errorf("%q: %w", text, err)
	}
	return argumentPattern{re: re}, nil
}

// all says that the pattern is for every argument.
func (p argumentPattern) all() bool { return p.re == nil && p.glob == "*" }

func (p argumentPattern) covers(word string) bool {
	if p.re == nil {
		return covers(p.glob, word)
	}
	return word != "" && word != Unknown && p.re.MatchString(word)
}

func (p argumentPattern) touches(word string) bool {
	if p.re == nil {
		return touches(p.glob, word)
	}
	return word == "" || word == Unknown || p.re.MatchString(word)
}
