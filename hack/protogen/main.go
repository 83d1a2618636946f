// Command protogen compiles the control stream's .proto into Go without protoc: the .proto is compiled in pure
// Go, and the two plugins are built from the modules pinned in this folder's go.mod, so that the same input gives
// the same bytes on every machine.
//
// It is run from this folder (go run .) and writes beneath the repository's sidecar/control.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/types/pluginpb"
)

// plugins are built from their own modules; this module's go.mod pins the versions.
var plugins = []plugin{
	{name: "protoc-gen-go", pkg: "google.golang.org/protobuf/cmd/protoc-gen-go"},
	{name: "protoc-gen-go-grpc", pkg: "google.golang.org/grpc/cmd/protoc-gen-go-grpc"},
}

func main() {
	root := flag.String("root", "../..", "the repository's root")
	file := flag.String("file", "sidecar/control/control.proto", "the .proto, relative to root")
	module := flag.String("module", "github.com/chaperone-dev/chaperone", "the module that go_package begins with")
	check := flag.Bool("check", false, "write nothing; exit non-zero when what is on disk differs")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := run(ctx, *root, *file, *module, *check); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root, file, module string, check bool) error {
	files, err := compile(ctx, root, file)
	if err != nil {
		return fmt.Errorf("compiling %s: %w", file, err)
	}
	scratch, err := os.MkdirTemp("", "protogen")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file},
		ProtoFile:      files,
		Parameter:      new("module=" + module),
	}
	for _, p := range plugins {
		outputs, err := p.generate(ctx, scratch, request)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for _, o := range outputs {
			if err := put(root, o, check); err != nil {
				return err
			}
		}
	}
	return nil
}

// put writes one generated file, or compares it.
func put(root string, o *pluginpb.CodeGeneratorResponse_File, check bool) error {
	name := filepath.Join(root, filepath.FromSlash(o.GetName()))
	old, err := os.ReadFile(name)
	if err == nil && string(old) == o.GetContent() {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what the .proto generates; run make generate", strings.TrimPrefix(o.GetName(), "./"))
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(o.GetContent()), 0o644)
}
