package shell

import (
	"regexp"
	"slices"
	"strings"
)

// conditional are programs that run others only for some of their words: each says why these may be among them, or
// nothing.
var conditional = map[string]func(args []word) (why string){
	"awk": awk, "gawk": awk, "mawk": awk, "nawk": awk, "original-awk": awk,
	"sed": sed, "gsed": sed,
	"git": git,
	"tar": tar, "gtar": tar, "bsdtar": tar, "star": tar,
	"rsync":   rsync,
	"scp":     refuse("S", "-o", "-F", "-J", "-D"),
	"sort":    refuse("", "--compress-p"),
	"split":   refuse("", "--filter", "--filte", "--filt", "--fil", "--fi", "--f"),
	"zip":     refuse("", "-TT", "-T", "--unzip-command"),
	"wget":    refuse("e", "--execute", "--use-askpass", "--exe", "--exec", "--use-a"),
	"tcpdump": refuse("z", "--postrotate-command"),
	"install": refuse("", "--strip-program", "--strip-p"),
	"cpio":    refuse("", "--rsh-command", "--rsh"),
	"apt":     refuse("oc", "--option", "--config-file"), "apt-get": refuse("oc", "--option", "--config-file"),
	"aptitude": refuse("o", "--option"), "dpkg": refuse("", "--pre-invoke", "--post-invoke", "--status-logger"),
	"nmap": refuse("", "--script", "-sC", "-A"), "crontab": crontab, "openssl": refuse("", "-engine", "-provider", "-provider-path"),
	"java": refuse("", "-jar", "-cp", "-classpath", "--class-path", "-agentlib", "-agentpath", "-javaagent", "-XX:OnError"),
	"ip":   ip, "systemctl": refuse("", "edit", "set-environment", "import-environment", "link"),
	"ssh-keygen": refuse("D"), "ssh-add": refuse("s"), "journalctl": none, "curl": refuse("K", "--config"),
}

func none([]word) string { return "" }

// refuse is for programs that run others if one of the options is among their words: a short one by its letter, in any
// cluster, or one that begins like a longer one.
func refuse(letters string, prefixes ...string) func(args []word) string {
	return func(args []word) string {
		for _, a := range args {
			if !a.known() {
				return notFollowed
			}
			for _, p := range prefixes {
				if strings.HasPrefix(a.text, p) {
					return "its option " + p + " may run commands"
				}
			}
			if len(a.text) > 1 && a.text[0] == '-' && a.text[1] != '-' && strings.ContainsAny(a.text[1:], letters) {
				return "its options may run commands"
			}
		}
		return ""
	}
}

// awk programs run commands by system(), pipes and indirect calls (@); they have nothing that evaluates text.
func awk(args []word) string {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case !a.known():
			return notFollowed
		case a.text == "-F" || a.text == "-v":
			if i++; i == len(args) || !args[i].known() {
				return notFollowed
			}
		case strings.HasPrefix(a.text, "-F") || strings.HasPrefix(a.text, "-v"):
		case a.text == "--":
			if i++; i == len(args) || !args[i].known() {
				return notFollowed
			}
			return awkProgram(args[i].text)
		case strings.HasPrefix(a.text, "-"):
			return notFollowed
		default:
			return awkProgram(a.text)
		}
	}
	return ""
}

func awkProgram(program string) string {
	for _, part := range []string{"system", "getline", "|", "@", ">", "\\\n", "\\\r"} {
		if strings.Contains(program, part) {
			return language
		}
	}
	return ""
}

// sedScript are scripts that only print, delete, quit and substitute: no e, w, r or W, which run commands and write
// files, and no further language.
var sedScript = regexp.MustCompile(`^(?:` + sedCommand + `)(?:[;\n] *(?:` + sedCommand + `))*;?$`)

const (
	sedAddress = `(?:[0-9]+|\$|/[^/\\\n]*/I?)(?:,(?:[+~]?[0-9]+|\$|/[^/\\\n]*/I?))? *!? *`
	sedCommand = ` *(?:` + sedAddress + `)?(?:[pdqDPNnGgHhx=]|s/(?:[^/\\\n]|\\.)*/(?:[^/\\\n]|\\[^\n])*/[gpiI0-9]*|s\|(?:[^|\\\n]|\\.)*\|(?:[^|\\\n]|\\[^\n])*\|[gpiI0-9]*|s#(?:[^#\\\n]|\\.)*#(?:[^#\\\n]|\\[^\n])*#[gpiI0-9]*) *`
)

func sed(args []word) string {
	script := false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case !a.known():
			return notFollowed
		case a.text == "-e" || a.text == "--expression":
			script = true
			if i++; i == len(args) || !args[i].known() || !sedScript.MatchString(args[i].text) {
				return language
			}
		case a.text == "-n" || a.text == "-r" || a.text == "-E" || a.text == "-i" || a.text == "-s" || a.text == "-u" || a.text == "-z" ||
			a.text == "-ni" || a.text == "-nr" || a.text == "-nE" || a.text == "-Ei" || a.text == "-ri" || a.text == "-i.bak" || a.text == "--quiet" || a.text == "--silent" || a.text == "--regexp-extended" || a.text == "--in-place":
		case strings.HasPrefix(a.text, "-") && a.text != "-":
			return notFollowed
		case !script:
			script = true
			if !sedScript.MatchString(a.text) {
				return language
			}
		}
	}
	return ""
}

// gitOptions are what may stand in front of git's command and only says where the repository is.
var gitOptions = options{flags: "pP", args: "C", long: []string{"no-pager", "bare", "no-replace-objects", "no-optional-locks", "literal-pathspecs", "version", "help"},
	longArgs: []string{"git-dir", "work-tree", "namespace"}}

// gitCommands are those that run nothing by their words, but for the options in gitRuns.
var gitCommands = []string{"add", "archive", "blame", "branch", "cat-file", "check-ignore", "checkout", "cherry", "clean", "clone", "commit",
	"count-objects", "describe", "diff", "diff-tree", "fetch", "for-each-ref", "fsck", "gc", "grep", "help", "init", "log", "ls-files",
	"ls-remote", "ls-tree", "merge", "merge-base", "mv", "name-rev", "pull", "push", "receive-pack", "reflog", "remote", "reset",
	"restore", "rev-list", "rev-parse", "revert", "rm", "shortlog", "show", "show-ref", "stash", "status", "switch", "symbolic-ref",
	"tag", "update-ref", "upload-archive", "upload-pack", "verify-commit", "verify-tag", "version", "whatchanged", "write-tree"}

func git(args []word) string {
	given, operands, ok := gitOptions.read(args)
	if !ok || has(given, "p") {
		return notFollowed
	}
	if len(operands) == 0 {
		return ""
	}
	if !operands[0].known() || !slices.Contains(gitCommands, operands[0].text) {
		return "a command of git that may run others, or an alias of its configuration"
	}
	for _, a := range operands[1:] {
		switch {
		case !a.known():
			return notFollowed
		case strings.Contains(a.text, "::"):
			return "an address of git that names a program"
		case strings.HasPrefix(a.text, "--"):
			for _, p := range []string{"--u", "--e", "--rec", "--c", "--op", "--o", "--te", "--rem", "--s", "--g", "--v", "--t"} {
				// Abbreviations count: --upload-pack, --exec, --receive-pack, --config, --open-files-in-pager, --ext-diff,
				// --textconv, --template, --remote (archive), --strategy, --gpg-sign, --verify.
				if strings.HasPrefix(a.text, p) && !slices.Contains(gitHarmless, strings.SplitN(a.text, "=", 2)[0]) {
					return "its option " + a.text + " may run commands"
				}
			}
		case len(a.text) > 1 && a.text[0] == '-':
			if strings.ContainsAny(a.text, "uxOcSX") && !slices.Contains(gitHarmlessShort, operands[0].text+" "+a.text) {
				return "its option " + a.text + " may run commands"
			}
		}
	}
	return ""
}

var (
	gitHarmless = []string{"--oneline", "--stat", "--shortstat", "--cached", "--staged", "--short", "--tags", "--color", "--no-color", "--verbose", "--since", "--until",
		"--graph", "--count", "--show-toplevel", "--show-current", "--others", "--soft", "--untracked-files", "--contains", "--continue", "--sort",
		"--track", "--set-upstream", "--set-upstream-to", "--unset-upstream", "--unified", "--source", "--summary", "--topo-order", "--verify", "--exclude-standard",
		"--squash", "--edit", "--single-branch", "--get-url", "--symref", "--server-info", "--stateless-rpc", "--timeout", "--strict"}
	gitHarmlessShort = []string{"push -u", "add -u", "branch -u", "diff -u", "log -u", "show -u", "stash -u", "status -u", "switch -c", "commit -c", "branch -c", "clean -x", "clean -fdx", "clean -fx", "clean -xdf", "clean -dfx", "grep -c", "ls-files -c", "ls-files -x"}
)

// tar runs programs to compress, to read archives of other hosts, and at checkpoints.
func tar(args []word) string {
	for i, a := range args {
		switch {
		case !a.known():
			return notFollowed
		case strings.HasPrefix(a.text, "--"):
			for _, p := range []string{"--ch", "--to", "--us", "--rs", "--rm", "--in", "--ne", "--op"} {
				if strings.HasPrefix(a.text, p) && a.text != "--check-links" && a.text != "--touch" && a.text != "--totals" && a.text != "--newer" && !strings.HasPrefix(a.text, "--newer=") {
					return "its option " + a.text + " may run commands"
				}
			}
		case strings.HasPrefix(a.text, "-") || i == 0:
			if strings.ContainsAny(a.text, "IF") {
				return "its options may run commands"
			}
		}
		if strings.Contains(a.text, ":") {
			return "an archive of another host is read by a program"
		}
	}
	return ""
}

// rsync as its own other side reads no program from its words, but for a configuration; as a client, -e names one.
func rsync(args []word) string {
	server := len(args) > 0 && args[0].known() && args[0].text == "--server"
	for _, a := range args {
		switch {
		case !a.known():
			return notFollowed
		case strings.HasPrefix(a.text, "--"):
			for _, p := range []string{"--rs", "--con", "--da", "--dp", "--op", "--early", "--password"} {
				if strings.HasPrefix(a.text, p) {
					return "its option " + a.text + " may run commands"
				}
			}
		case !server && len(a.text) > 1 && a.text[0] == '-' && strings.ContainsAny(a.text, "eM"):
			return "its options may run commands"
		case !server && strings.Contains(a.text, ":"):
			return elsewhere
		}
	}
	return ""
}

// crontab installs commands that run later, but to list them.
func crontab(args []word) string {
	if len(args) == 1 && args[0].known() && args[0].text == "-l" {
		return ""
	}
	return "installs commands that run later"
}

// ip netns exec runs its words.
func ip(args []word) string {
	for _, a := range args {
		switch {
		case !a.known():
			return notFollowed
		case strings.HasPrefix(a.text, "-b") || strings.HasPrefix(a.text, "n") || strings.HasPrefix(a.text, "v") || strings.HasPrefix(a.text, "-n"):
			return "its words may run commands in another namespace"
		}
	}
	return ""
}
