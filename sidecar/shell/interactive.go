package shell

import "path"

// Interactive reports whether argv is a shell or an interpreter that would read commands from its standard input or a
// terminal, so that what it is told never appears in a command: sh, bash -i, sudo -i, python3.
func Interactive(argv []string) bool {
	if len(argv) == 0 {
		return true // the user's login shell
	}
	// Until the options of each are told apart, every start of a shell is one that may read its standard input.
	return shells[path.Base(argv[0])]
}

// shells are the names under which shells are installed.
var shells = map[string]bool{
	"sh": true, "bash": true, "dash": true, "ash": true, "ksh": true, "ksh93": true, "mksh": true, "oksh": true,
	"yash": true, "zsh": true, "rbash": true, "rksh": true, "rzsh": true, "posh": true, "hush": true, "csh": true,
	"tcsh": true, "fish": true, "pwsh": true, "elvish": true, "nu": true, "xonsh": true, "osh": true, "ysh": true,
}
