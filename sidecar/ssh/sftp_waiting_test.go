package ssh_test

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// changing are the operations that change something, but for opens.
var changing = []string{"setstat", "remove", "rename", "link", "symlink", "mkdir", "rmdir"}

func TestAPathIsLookedAtAgainAfterPeopleWereAsked(t *testing.T) {
	tests := map[string]struct {
		does    string // DIR is open/dir, which becomes a link to shut
		approve func(dir string) error
		changes bool
	}{
		"a file is removed":                   {does: "rm DIR/f"},
		"a file is renamed":                   {does: "rename DIR/f DIR/g"},
		"a file is renamed out":               {does: "rename DIR/f DIR/../out"},
		"a file is renamed as of old":         {does: "rename -l DIR/f DIR/g"},
		"a file is renamed into a folder":     {does: "rename DIR/../other DIR/g"},
		"a mode is set":                       {does: "chmod 600 DIR/f"},
		"a link's own owner is set":           {does: "chgrp -h 0 DIR/f"},
		"a folder is made":                    {does: "mkdir DIR/made"},
		"a folder is removed":                 {does: "rmdir DIR/empty"},
		"a hard link is made":                 {does: "ln DIR/f DIR/../hard"},
		"a hard link is made in a folder":     {does: "ln DIR/../other DIR/hard"},
		"a symbolic link is made in a folder": {does: "symlink nothing DIR/soft"},
		"a file is written":                   {does: "put /etc/hostname DIR/new"},
		"a file that is renamed became a folder": {does: "rename DIR/f DIR/../moved", approve: func(dir string) error {
			if err := os.Remove(dir + "/f"); err != nil {
				return err
			}
			return os.Mkdir(dir+"/f", 0o777)
		}},
		"and where nothing changed it is done": {does: "rename DIR/f DIR/../moved", changes: true, approve: func(string) error { return nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := area(t, map[string]string{
				"open/dir/f": "mine", "open/dir/empty/x": "", "open/other": "mine too", "shut/f": "sesame", "shut/empty/x": "",
			})
			for _, p := range []string{"open/dir/empty/x", "shut/empty/x"} {
				if err := os.Remove(filepath.Join(dir, p)); err != nil {
					t.Fatal(err)
				}
			}
			ask := approvals(900)
			ask.Match = policy.Match{Operations: append([]string{"write"}, changing...), Paths: []string{dir + "/open/**"}}
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server,
				files("shut", policy.Deny, nil, dir+"/shut/**"), ask, files("look", policy.Allow, []string{"stat", "list"}, "*")))
			done := make(chan result, 1)
			cmd := s.Command("sftp", "-b", "-", Host)
			go func() { done <- run(t, cmd, strings.ReplaceAll(test.does, "DIR", dir+"/open/dir")+"\n") }()
			s.Desk.Next(t, 1)
			change := test.approve
			if change == nil {
				change = func(string) error {
					if err := os.Rename(dir+"/open/dir", dir+"/open/before"); err != nil {
						return err
					}
					return os.Symlink("../shut", dir+"/open/dir")
				}
			}
			if err := change(dir + "/open/dir"); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			s.Desk.Decide(1, "Approved", "")
			got := <-done
			if test.changes {
				if got.status != 0 || tree(t, dir) == before {
					t.Fatalf("got %+v", got)
				}
				return
			}
			if got.status == 0 {
				t.Errorf("got %+v", got)
			}
			if after := tree(t, dir); after != before {
				t.Fatalf("it changed\n%s\ninto\n%s", before, after)
			}
			said := s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, "leads elsewhere than when it was judged") })
			if len(said) != 1 {
				t.Errorf("recorded %+v", said)
			}
		})
	}
}

func TestWhatIsThereInADeniedFolderIsNotTold(t *testing.T) {
	dir := area(t, map[string]string{
		"open/a": "alpha", "open/real/b": "", "shut/there/f": "sesame", "shut/there/sub/f": "sesame", "shut/file": "",
	})
	for name, to := range map[string]string{
		"open/folder": "../shut", "open/to-there": "../shut/there/sub", "open/to-none": "../shut/none/sub", "shut/loop": "loop", "open/none": "nothing",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server,
		files("shut", policy.Deny, nil, dir+"/shut/**"), files("open", policy.Allow, nil, dir+"/open/**"),
		files("look", policy.Allow, []string{"stat", "list"}, "*")))
	local := t.TempDir()
	// Each pair differs by what is there alone, and by its names.
	same := strings.NewReplacer("/none", "/there", "/to-none", "/to-there", "/file", "/there", "/loop", "/there")
	tests := map[string][2]string{
		"by its name":                  {dir + "/shut/there/f", dir + "/shut/none/f"},
		"through a link":               {dir + "/open/folder/there/f", dir + "/open/folder/none/f"},
		"deep":                         {dir + "/open/folder/there/sub/f", dir + "/open/folder/none/sub/f"},
		"in a file":                    {dir + "/open/folder/there/f", dir + "/open/folder/file/f"},
		"behind a link to itself":      {dir + "/open/folder/there/f", dir + "/open/folder/loop/f"},
		"through a link to nothing":    {dir + "/open/to-there/f", dir + "/open/to-none/f"},
		"into it and out again":        {dir + "/open/folder/there/../../open/a", dir + "/open/folder/none/../../open/a"},
		"into it by its name, and out": {dir + "/shut/there/../../open/a", dir + "/shut/none/../../open/a"},
		"by a relative path":           {filepath.Base(dir) + "/open/folder/there/f", filepath.Base(dir) + "/open/folder/none/f"},
	}
	for name, pair := range tests {
		t.Run(name, func(t *testing.T) {
			before := tree(t, dir)
			var answers [2]string
			for i, p := range pair {
				var does []string
				for _, d := range []string{
					"get PATH " + local + "/got", "put /etc/hostname PATH", "rm PATH", "mkdir PATH", "rmdir PATH", "chmod 600 PATH",
					"rename PATH " + dir + "/open/x", "rename " + dir + "/open/a PATH", "ln PATH " + dir + "/open/x",
					"symlink PATH " + dir + "/open/x", "cd PATH", "ls PATH",
				} {
					if !path.IsAbs(p) && strings.HasPrefix(d, "symlink") {
						continue // the link would lead elsewhere
					}
					does = append(does, "-"+strings.ReplaceAll(d, "PATH", p))
				}
				got := batch(t, s, does...)
				lines := strings.Split(same.Replace(got.stderr), "\n")
				slices.Sort(lines) // what the client says has no order with what is said to it
				answers[i] = strings.Join(lines, "\n")
				if n := strings.Count(got.stderr, "chaperone: denied"); n < len(does) {
					t.Errorf("%d are denied of\n%s", n, got.stderr)
				}
			}
			if answers[0] != answers[1] {
				t.Errorf("what is there is answered\n%s\nand what is not\n%s", answers[0], answers[1])
			}
			if after := tree(t, dir); after != before {
				t.Fatalf("it changed\n%s\ninto\n%s", before, after)
			}
		})
	}
	t.Run("and elsewhere what is not there is told", func(t *testing.T) {
		for _, p := range []string{"/open/none", "/open/real/none/f", "/open/real/../none"} {
			if got := batch(t, s, "get "+dir+p+" "+local+"/got"); got.status == 0 || !strings.Contains(got.stderr, "not found") && !strings.Contains(got.stderr, "No such file") {
				t.Errorf("%s: %+v", p, got)
			}
		}
		if got := batch(t, s, "get "+dir+"/open/real/../a "+local+"/a"); got.status != 0 {
			t.Errorf("got %+v", got)
		}
	})
}
