package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// environment are variables that no program is known to take for a program, a library, a configuration or code. Every
// other may change what a command does: PATH, LD_PRELOAD, BASH_ENV, IFS, PAGER, GIT_SSH_COMMAND, PYTHONSTARTUP, and what
// the next program thinks of.
var environment = map[string]bool{
	"LANG": true, "LANGUAGE": true, "TZ": true, "TERM": true, "COLORTERM": true, "NO_COLOR": true, "FORCE_COLOR": true,
	"CLICOLOR": true, "CLICOLOR_FORCE": true, "COLUMNS": true, "LINES": true, "CI": true, "DEBIAN_FRONTEND": true,
	"PGUSER": true, "PGDATABASE": true, "PGPORT": true, "PGCONNECT_TIMEOUT": true,
}

func harmlessEnvironment(name string) bool {
	// Not LC_ALL's value alone decides how a shell reads bytes, but what is read here is ASCII or UTF-8 in words that
	// are known.
	return environment[name] || strings.HasPrefix(name, "LC_") && syntax.ValidName(name)
}

// shellVariables are lower-case names that mean something to some shell (zsh ties path to PATH).
var shellVariables = map[string]bool{
	"path": true, "cdpath": true, "fpath": true, "manpath": true, "mailpath": true, "module_path": true, "prompt": true,
	"histchars": true, "auto_resume": true, "argv": true, "status": true, "signals": true, "options": true,
	"commands": true, "aliases": true, "functions": true, "builtins": true, "parameters": true, "watch": true,
	"psvar": true, "zle_bracketed_paste": true, "precmd": true, "cwd": true, "home": true, "shell": true, "term": true,
	"user": true, "history": true, "savehist": true, "autologout": true, "http_proxy": true, "https_proxy": true,
	"ftp_proxy": true, "all_proxy": true, "no_proxy": true, "rsync_proxy": true, "fish_function_path": true,
	"fish_user_paths": true, "dis_aliases": true, "dis_functions": true, "galiases": true, "saliases": true,
	"nameddirs": true, "userdirs": true, "zsh_eval_context": true,
}

// harmlessVariable reports whether setting a variable of the shell changes nothing of what runs, even if a variable of
// that name was exported before: names in lower case, which no shell and few programs look at.
func harmlessVariable(name string) bool {
	if harmlessEnvironment(name) {
		return true
	}
	return syntax.ValidName(name) && strings.ToLower(name) == name && !shellVariables[name]
}

// assignments reads the assignments in front of a command, or those that are a command by themselves.
func (w *walker) assignments(list []*syntax.Assign, alone bool, s *scope) {
	for _, a := range list {
		if a.Append || a.Naked || a.Index != nil || a.Array != nil || a.Name == nil {
			w.suspect("it holds an assignment that only some shells know")
			if a.Index != nil {
				w.arithmetic(a.Index, *s)
			}
			if a.Array != nil {
				for _, e := range a.Array.Elems {
					w.substitutions(e.Value, *s)
					if e.Index != nil {
						w.arithmetic(e.Index, *s)
					}
				}
			}
		}
		if a.Name == nil {
			continue
		}
		name := a.Name.Value
		value := policy.Unknown
		if a.Value != nil {
			value = w.word(a.Value, *s).text
		} else if !a.Naked && a.Array == nil {
			value = ""
		}
		if alone {
			if !harmlessVariable(name) {
				w.suspect("it sets " + name + ", which may change what runs")
			}
			continue
		}
		s.assigns = joined(s.assigns, []string{name + "=" + value})
	}
}

// dangerous returns the first name among the assignments of a command that may change what it does.
func dangerous(assigns []string) string {
	for _, a := range assigns {
		name, _, _ := strings.Cut(a, "=")
		if !harmlessEnvironment(name) {
			return name
		}
	}
	return ""
}
