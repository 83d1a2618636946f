package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	root   = "../.."
	file   = "sidecar/control/control.proto"
	module = "github.com/chaperone-dev/chaperone"
)

func TestWhatIsOnDiskIsWhatTheProtoGenerates(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := run(ctx, root, file, module, true); err != nil {
		t.Error(err)
	}
}

func TestAChangedProtoIsNoticed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	content, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(content), "message Counts {", "message Counts {\n  int64 more = 99;", 1)
	if err := os.WriteFile(filepath.Join(dir, file), []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "sidecar/control/controlpb"), os.DirFS(filepath.Join(root, "sidecar/control/controlpb"))); err != nil {
		t.Fatal(err)
	}
	if err := run(ctx, dir, file, module, true); err == nil || !strings.Contains(err.Error(), "make generate") {
		t.Errorf("got %v", err)
	}
}

func TestMistakesInTheProtoAreNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.proto"), []byte("syntax = \"proto3\";\nmessage M { Missing m = 1; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), dir, "bad.proto", module, true); err == nil || !strings.Contains(err.Error(), "bad.proto:2:13") {
		t.Errorf("got %v", err)
	}
}
