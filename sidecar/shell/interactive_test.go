package shell

import (
	"strings"
	"testing"
)

func TestInteractive(t *testing.T) {
	for command, want := range map[string]bool{
		"sh": true, "sh -i": true, "sh -s": true, "env sh": true, "python3": true, "vi": true,
		// Standard input by a name.
		"sh /dev/stdin": true, "bash //dev/./stdin": true, "sh ../../dev/stdin": true, "sh /proc/self/fd/0": true, "bash /dev/fd/0": true, "sh /dev/tty": true,
		"python3 -": true, "perl -": true, "ruby /dev/stdin": true, "awk -f -": true, "awk -f- x": true, "env perl -": true,
		// What reads data there, or nothing.
		"cat": false, "cat -": false, "cat /dev/stdin": false, "tar xmf - -C /tmp": false, "wc -l": false, "tee file": false, "sh script": false, "python3 script.py": false,
	} {
		if got := Interactive(strings.Fields(command)); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
	for _, text := range []string{". /dev/stdin", "exec sh", "sh", ". /proc/self/fd/0"} {
		if !Interactive([]string{"sh", "-c", text}) {
			t.Errorf("sh -c %q is not", text)
		}
	}
}
