package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/image"
)

const imageUsage = `usage:
  image build NAME...        make a test image (%s) unless it is up to date
  image scratch FLAGS        make an image of files; FLAGS as of image scratch -h
  image load NAME|ARCHIVE... give images to the cluster (NAMEs are built first)
  image push ARCHIVE REF     send an image to a registry, for CLUSTER=current`

func imageVerb(ctx context.Context, args []string) error {
	names := strings.Join(image.Distributions(), ", ")
	if len(args) == 0 {
		return fmt.Errorf(imageUsage, names)
	}
	f, err := folder.Find()
	if err != nil {
		return err
	}
	rest := args[1:]
	switch {
	case args[0] == "build" && len(rest) > 0:
		if err := buildDistributions(ctx, f, rest...); err != nil {
			return err
		}
		for _, name := range rest {
			fmt.Println(f.Image(name))
		}
		return nil
	case args[0] == "scratch":
		return scratchImage(rest)
	case args[0] == "load" && len(rest) > 0:
		return loadImages(ctx, f, rest)
	case args[0] == "push" && len(rest) == 2:
		return image.Push(ctx, rest[0], rest[1])
	default:
		return fmt.Errorf(imageUsage, names)
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func scratchImage(args []string) error {
	flags := flag.NewFlagSet("image scratch", flag.ContinueOnError)
	var files, entrypoint, command, env, labels list
	name := flags.String("name", "", "the image's reference, localhost/chaperone/NAME:dev")
	out := flags.String("o", "", "the archive to write")
	user := flags.Int("user", 0, "numeric user and group it runs as")
	workdir := flags.String("workdir", "", "working directory")
	flags.Var(&files, "binary", "host/path:/path/in/image of a program; may be given several times")
	flags.Var(&files, "file", "the same for any other file")
	flags.Var(&entrypoint, "entrypoint", "word of the entrypoint; may be given several times")
	flags.Var(&command, "cmd", "word of the default arguments; may be given several times")
	flags.Var(&env, "env", "NAME=value; may be given several times")
	flags.Var(&labels, "label", "name=value; may be given several times")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *out == "" || flags.NArg() > 0 {
		return errors.New("image scratch needs --name and -o, and takes nothing but flags")
	}
	spec := image.Files{
		Reference: *name,
		Config: v1.Config{
			Entrypoint: entrypoint, Cmd: command, Env: env, WorkingDir: *workdir,
			User:   strconv.Itoa(*user) + ":" + strconv.Itoa(*user),
			Labels: map[string]string{},
		},
	}
	for _, l := range labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok {
			return fmt.Errorf("label %q has no value", l)
		}
		spec.Config.Labels[key] = value
	}
	for _, s := range files {
		file, err := image.ParseFile(s)
		if err != nil {
			return err
		}
		spec.Files = append(spec.Files, file)
	}
	return spec.Write(*out)
}

func loadImages(ctx context.Context, f folder.Folder, names []string) error {
	c, err := chosen()
	if err != nil {
		return err
	}
	if c == current {
		return errors.New("images cannot be put into a cluster that is not ours: push them to a registry that it pulls from (image push), and install with that registry's name")
	}
	for _, name := range names {
		path := name
		if _, err := os.Stat(path); err != nil {
			if err := buildDistributions(ctx, f, name); err != nil {
				return fmt.Errorf("%s is no file: %w", name, err)
			}
			path = f.Image(name)
		}
		if c == kind {
			if err := kindCommand(ctx, "load", "image-archive", path); err != nil {
				return err
			}
			continue
		}
		archive, imported, err := image.Load(ctx, f, path)
		if err != nil {
			return err
		}
		if imported {
			fmt.Printf("%s imported\n", archive.Reference)
		} else {
			fmt.Printf("%s is there already\n", archive.Reference)
		}
	}
	return nil
}
