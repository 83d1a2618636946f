package shell

// Interactive reports whether argv is a shell or an interpreter that would read commands from its standard input or a
// terminal, so that what it is told never appears in a command: sh, bash -i, sudo -i, python3. A pager or an editor, which
// runs commands that are typed into it, is one as well; and so is what cannot be told.
func Interactive(argv []string) bool {
	if len(argv) == 0 {
		return true // the user's login shell
	}
	f, err := ofArgv(argv)
	return err != nil || f.err != nil || f.stdin
}
