package clients

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// interpreter is the package that Debian's python3 is made of.
var interpreter = regexp.MustCompile(`(?m)^\s*PreDepends: (python3\.[0-9]+)-minimal$`)

// python runs a script by Debian's own interpreter, for which psycopg2 is compiled, with Debian's drivers.
func python(script string) func(context.Context, string) (args, environment []string, err error) {
	return func(_ context.Context, folder string) (args, environment []string, err error) {
		var root, libraries string
		err = debian.Locked("python", func(cache string) error {
			root, libraries = filepath.Join(cache, "root"), filepath.Join(cache, "libraries")
			complete := filepath.Join(cache, "complete") // written last
			if _, err := os.Stat(complete); err == nil {
				return nil
			}
			if err := errors.Join(os.RemoveAll(root), os.RemoveAll(libraries)); err != nil {
				return err
			}
			if err := errors.Join(os.MkdirAll(root, 0o755), os.MkdirAll(libraries, 0o755)); err != nil {
				return err
			}
			out, err := debian.Run("", "apt-cache", "depends", "python3-minimal")
			if err != nil {
				return err
			}
			found := interpreter.FindSubmatch(out)
			if found == nil {
				return errors.New("apt-cache knows no python3-minimal: run apt-get update")
			}
			version := string(found[1])
			names, err := debian.Libraries(version)
			if err != nil {
				return err
			}
			names = append(names, version, version+"-minimal", "python3-psycopg", "python3-psycopg2", "python3-typing-extensions")
			if err := debian.Fetch(root, names...); err != nil {
				return err
			}
			if err := debian.Collect(root, libraries, filepath.Join(root, "usr/lib", version), filepath.Join(root, "usr/lib/python3")); err != nil {
				return err
			}
			return os.WriteFile(complete, nil, 0o644)
		})
		if err != nil {
			return nil, nil, err
		}
		found, err := filepath.Glob(filepath.Join(root, "usr/bin/python3.*[0-9]"))
		if err != nil || len(found) != 1 {
			return nil, nil, errors.Join(err, errors.New("the package of Python holds no python3"))
		}
		return []string{found[0], "-s", filepath.Join(folder, script)}, []string{
			"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "LD_LIBRARY_PATH=" + libraries, "PYTHONHOME=" + filepath.Join(root, "usr"),
			"PYTHONPATH=" + filepath.Join(root, "usr/lib/python3/dist-packages"), "PYTHONDONTWRITEBYTECODE=1",
		}, nil
	}
}
