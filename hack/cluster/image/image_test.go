package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestParseFile(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want File
		bad  bool
	}{
		"a program and its place":              {in: "bin/x:/x", want: File{"bin/x", "/x"}},
		"a host path with a colon":             {in: "a:b/x:/x", want: File{"a:b/x", "/x"}},
		"a place with dots is made clean":      {in: "x:/a/../b", want: File{"x", "/b"}},
		"a relative place is refused":          {in: "x:b", bad: true},
		"a place that is a folder is refused":  {in: "x:/b/", bad: true},
		"no place at all is refused":           {in: "x", bad: true},
		"nothing to put in a place is refused": {in: ":/x", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseFile(tc.in)
			if (err != nil) != tc.bad || got != tc.want {
				t.Errorf("got %+v and %v", got, err)
			}
		})
	}
}

func TestFilesWrite(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec := Files{
		Reference: "localhost/chaperone/test:dev",
		Files:     []File{{program, "/usr/bin/program"}},
		Config:    v1.Config{Entrypoint: []string{"/usr/bin/program"}, User: "65532:65532"},
	}
	one, two := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two.tar")
	if err := spec.Write(one); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(program, later, later); err != nil {
		t.Fatal(err)
	}
	if err := spec.Write(two); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(one)
	b, errB := os.ReadFile(two)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Error("the same files gave two images")
	}
	archive, err := Read(one)
	if err != nil || archive.Reference != spec.Reference {
		t.Fatalf("read back %+v and %v", archive, err)
	}
	image, err := tarball.ImageFromPath(one, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.User != "65532:65532" {
		t.Errorf("configuration %+v and %v", config, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReadRefusesWhatIsNoImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	for name, content := range map[string][]byte{"text": []byte("hello"), "nothing": nil} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil {
			t.Errorf("%s was read as an image", name)
		}
	}
}

func TestLayerWriter(t *testing.T) {
	w, err := newLayerWriter(filepath.Join(t.TempDir(), "layer.tar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := w.addText("etc/deep/file", 0o644, text); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.close()
	if err != nil {
		t.Fatal(err)
	}
	content, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var names []string
	for r := tar.NewReader(content); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if header.Typeflag == tar.TypeReg {
			if text, err := io.ReadAll(r); err != nil || string(text) != "first" {
				t.Errorf("the file holds %q (%v), want what was written first", text, err)
			}
		}
	}
	if want := []string{"etc/", "etc/deep/", "etc/deep/file"}; !slices.Equal(names, want) {
		t.Errorf("the layer holds %v, want %v", names, want)
	}
}

func TestWhatImagesLeaveOut(t *testing.T) {
	for name, want := range map[string]bool{
		"libllvm14": true, "libllvm19": true, "perl-modules-5.36": true, "postgresql-common-dev": true,
		"postgresql-15": false, "libpq5": false, "bash": false,
	} {
		if left(name) != want {
			t.Errorf("package %s is left out: %v, want %v", name, !want, want)
		}
	}
	for name, want := range map[string]bool{
		"usr/share/doc/bash": true, "usr/share/doc": true, "usr/share/documentation": false,
		"usr/lib/postgresql/15/lib/bitcode/a.bc": true, "usr/lib/postgresql/15/lib/llvmjit.so": true,
		"usr/lib/postgresql/15/bin/postgres": false,
	} {
		if skipped(name) != want {
			t.Errorf("file %s is left out: %v, want %v", name, !want, want)
		}
	}
}

func TestUnderUsr(t *testing.T) {
	for in, want := range map[string]string{
		"bin/sh": "usr/bin/sh", "lib/x86_64-linux-gnu/libc.so.6": "usr/lib/x86_64-linux-gnu/libc.so.6",
		"usr/bin/env": "usr/bin/env", "etc/lib/x": "etc/lib/x", "bin": "bin", "binary/x": "binary/x",
	} {
		if got := underUsr(in); got != want {
			t.Errorf("%s goes to %s, want %s", in, got, want)
		}
	}
}

func TestHasComparesNameAndDigest(t *testing.T) {
	listed := strings.Join([]string{
		"REF TYPE DIGEST SIZE PLATFORMS LABELS",
		"localhost/chaperone/a:dev application/vnd.oci.image.manifest.v1+json sha256:11 1.0 MiB linux/amd64 -",
	}, "\n")
	for name, tc := range map[string]struct {
		archive Archive
		want    bool
	}{
		"the same image":       {Archive{"localhost/chaperone/a:dev", "sha256:11"}, true},
		"another of that name": {Archive{"localhost/chaperone/a:dev", "sha256:22"}, false},
		"the same, other name": {Archive{"localhost/chaperone/b:dev", "sha256:11"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := has(listed, tc.archive); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
