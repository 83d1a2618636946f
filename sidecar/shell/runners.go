package shell

import "strings"

// runnerOf returns what finds the commands that the program of that name runs, nil for a program that runs none.
func runnerOf(name string) func(f *finder, words []word, s scope) {
	if wr, ok := wrappers[name]; ok {
		return wr.follow
	}
	if shells[name] {
		return shellRuns
	}
	switch name {
	case "sudo":
		return sudo
	case "su", "runuser":
		return su
	case "xargs", "gxargs":
		return xargs
	case "find", "gfind":
		return find
	case "busybox", "toybox":
		return applet
	case "ssh", "slogin", "dbclient", "autossh":
		return ssh
	case "flock":
		return flock
	case "script":
		return script
	case "sg":
		return sg
	case "eval", "exec", "command", "builtin":
		// No program of the system, but some install them; as such they run their words.
		return wrapper{}.follow
	}
	if check, ok := conditional[name]; ok {
		return func(f *finder, words []word, s scope) {
			f.own(words, &s)
			if why := check(words[1:]); why != "" {
				f.unseen(words[0], s, why)
				return
			}
			f.changed(words[0], s)
		}
	}
	if why, ok := codeOf(name); ok {
		return func(f *finder, words []word, s scope) {
			f.own(words, &s)
			if len(words) == 2 && (words[1].text == "--version" || words[1].text == "--help") {
				return
			}
			if len(words) == 1 || why == terminal {
				f.stdin = true
			}
			f.unseen(words[0], s, why)
		}
	}
	return nil
}

const (
	language  = "runs code of another language"
	terminal  = "takes commands from a terminal that run others"
	elsewhere = "runs commands somewhere else, or by words that are not followed"
	project   = "runs what a project or configuration says"
)

// codes are programs that run code or commands that are not seen here, and how.
var codes = map[string]string{
	"perl": language, "ruby": language, "irb": language, "node": language, "nodejs": language, "deno": language, "bun": language,
	"php": language, "tclsh": language, "wish": language, "expect": language, "R": language, "Rscript": language,
	"julia": language, "ghc": language, "ghci": language, "runghc": language, "racket": language, "guile": language, "scheme": language,
	"sbcl": language, "clisp": language, "emacs": language, "emacsclient": language, "gdb": language, "lldb": language,
	"jshell": language, "groovy": language, "scala": language, "kotlin": language, "erl": language, "elixir": language,
	"iex": language, "octave": language, "gnuplot": language, "m4": language, "bpftrace": language, "stap": language,
	"dtrace": language, "dc": language, "ed": language, "red": language, "sqlite3": language, "psql": language, "mysql": language,
	"mariadb": language, "mongo": language, "mongosh": language, "cqlsh": language, "osascript": language,
	"ipython": language, "pdb": language, "swift": language,
	"vi": terminal, "vim": terminal, "nvim": terminal, "view": terminal, "vimdiff": terminal, "rvim": terminal, "rview": terminal,
	"ex": terminal, "sudoedit": terminal, "visudo": terminal, "vipw": terminal, "vigr": terminal, "nano": terminal, "pico": terminal, "joe": terminal, "mcedit": terminal, "mc": terminal, "less": terminal,
	"more": terminal, "most": terminal, "pg": terminal, "man": terminal, "info": terminal, "tmux": terminal, "screen": terminal,
	"top": terminal, "htop": terminal, "ftp": terminal, "lftp": terminal, "sftp": terminal, "telnet": terminal, "mail": terminal,
	"mailx": terminal, "mutt": terminal, "w3m": terminal, "lynx": terminal, "ranger": terminal, "nnn": terminal, "fzf": terminal,
	"systemd-run": elsewhere, "systemd-nspawn": elsewhere, "machinectl": elsewhere, "docker": elsewhere, "podman": elsewhere,
	"nerdctl": elsewhere, "crictl": elsewhere, "ctr": elsewhere, "runc": elsewhere, "crun": elsewhere, "lxc": elsewhere,
	"lxc-attach": elsewhere, "kubectl": elsewhere, "oc": elsewhere, "parallel": elsewhere, "sem": elsewhere, "pssh": elsewhere,
	"mosh": elsewhere, "rsh": elsewhere, "rlogin": elsewhere, "rexec": elsewhere, "setpriv": elsewhere, "capsh": elsewhere,
	"prlimit": elsewhere, "setarch": elsewhere, "i386": elsewhere, "x86_64": elsewhere, "numactl": elsewhere, "cgexec": elsewhere,
	"chpst": elsewhere, "setuidgid": elsewhere, "softlimit": elsewhere, "envdir": elsewhere, "envuidgid": elsewhere,
	"tini": elsewhere, "dumb-init": elsewhere, "catatonit": elsewhere, "bwrap": elsewhere, "firejail": elsewhere,
	"proot": elsewhere, "schroot": elsewhere, "fakechroot": elsewhere, "valgrind": elsewhere, "perf": elsewhere,
	"unbuffer": elsewhere, "rlwrap": elsewhere, "ssh-agent": elsewhere, "dbus-run-session": elsewhere, "dbus-launch": elsewhere,
	"xvfb-run": elsewhere, "start-stop-daemon": elsewhere, "daemonize": elsewhere, "run-parts": elsewhere, "at": elsewhere,
	"batch": elsewhere, "entr": elsewhere, "inotifywait": elsewhere, "incrontab": elsewhere, "socat": elsewhere, "nc": elsewhere,
	"ncat": elsewhere, "netcat": elsewhere, "nc.openbsd": elsewhere, "nc.traditional": elsewhere,
	"newgrp": elsewhere, "login": elsewhere, "agetty": elsewhere, "getty": elsewhere, "dtach": elsewhere, "abduco": elsewhere,
	"cpulimit": elsewhere, "trickle": elsewhere, "proxychains": elsewhere, "proxychains4": elsewhere, "torsocks": elsewhere,
	"torify": elsewhere, "eatmydata": elsewhere, "faketime": elsewhere, "sshpass": elsewhere, "aa-exec": elsewhere, "runcon": elsewhere,
	"s6-setuidgid": elsewhere, "ts-node": language,
	"multitime": elsewhere, "hyperfine": elsewhere, "scriptreplay": elsewhere,
	"make": project, "gmake": project, "ninja": project, "cmake": project, "ant": project, "mvn": project, "gradle": project,
	"npm": project, "npx": project, "yarn": project, "pnpm": project, "pip": project, "pip3": project, "pipx": project, "uv": project,
	"uvx": project, "poetry": project, "tox": project, "nox": project, "pytest": project, "cargo": project, "go": project,
	"gem": project, "bundle": project, "rake": project, "composer": project, "cabal": project, "stack": project, "mix": project,
	"rebar3": project, "ansible": project, "ansible-playbook": project, "salt": project, "salt-call": project, "puppet": project,
	"chef-client": project, "terraform": project, "tofu": project, "packer": project, "vagrant": project, "just": project,
	"task": project, "bazel": project, "meson": project, "scons": project, "configure": project, "nix": project, "nix-shell": project,
	"guix": project, "conda": project, "mamba": project, "virtualenv": project, "logrotate": project, "cloud-init": project,
	"monit": project, "supervisorctl": project, "supervisord": project, "certbot": project, "dpkg-reconfigure": project,
	"git-shell": project, "svn": project, "hg": project, "bzr": project, "cvs": project,
}

// families are programs with a version in their name.
var families = []struct{ prefix, why string }{
	{"python", language}, {"pypy", language}, {"lua", language}, {"perl5", language}, {"ruby2", language}, {"ruby3", language},
	{"php7", language}, {"php8", language}, {"node-", language}, {"tclsh8", language}, {"guile-", language}, {"pip3.", project},
	{"ld-linux", elsewhere}, {"ld-musl", elsewhere}, {"ld.so", elsewhere}, {"ld64.so", elsewhere}, {"vim.", terminal}, {"nvim-", terminal},
	{"gdb-", language}, {"emacs-", language}, {"qemu-", elsewhere},
}

func codeOf(name string) (why string, ok bool) {
	if why, ok := codes[name]; ok {
		return why, true
	}
	for _, family := range families {
		if strings.HasPrefix(name, family.prefix) {
			return family.why, true
		}
	}
	return "", false
}
