package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// EnvJDBC names the file of another JDBC driver than Debian's.
const EnvJDBC = "JDBC_JAR"

// java runs a source file with Debian's JDBC driver: by the machine's own Java where that has a compiler, else by
// Debian's. The certificate's name resolves nowhere; Java reads a file of hosts of its own.
func java(source string) func(context.Context, string) (args, environment []string, err error) {
	return func(ctx context.Context, folder string) (args, environment []string, err error) {
		var root string
		err = debian.Locked("jdbc", func(cache string) error {
			root = filepath.Join(cache, "root")
			return fetched(cache, root, "libpostgresql-jdbc-java")
		})
		if err != nil {
			return nil, nil, err
		}
		program, err := launcher(ctx)
		if err != nil {
			return nil, nil, err
		}
		hosts := filepath.Join(folder, "hosts")
		if err := os.WriteFile(hosts, []byte("127.0.0.1 "+certified+"\n"), 0o644); err != nil {
			return nil, nil, err
		}
		driver := filepath.Join(root, "usr/share/java/postgresql.jar")
		if other := os.Getenv(EnvJDBC); other != "" {
			driver = other
		}
		return []string{program, "-Xmx512m", "-Djdk.net.hosts.file=" + hosts, "-cp", driver, filepath.Join(folder, source)},
			[]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "LD_LIBRARY_PATH=" + filepath.Join(root, "libraries")}, nil
	}
}

// certified is the name in the certificate of the tests' server that is for a host elsewhere.
const certified = "db.test"

// fetched unpacks packages into root, once.
func fetched(cache, root string, packages ...string) error {
	complete := filepath.Join(cache, "complete") // written last
	if _, err := os.Stat(complete); err == nil {
		return nil
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := debian.Fetch(root, packages...); err != nil {
		return err
	}
	return os.WriteFile(complete, nil, 0o644)
}

// launcher is a java that compiles what it runs (JEP 330).
func launcher(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("java"); err == nil {
		out, err := exec.CommandContext(ctx, path, "--list-modules").Output()
		if err == nil && strings.Contains(string(out), "jdk.compiler@") {
			return path, nil
		}
	}
	var root string
	err := debian.Locked("java", func(cache string) error {
		root = filepath.Join(cache, "root")
		out, err := debian.Run("", "apt-cache", "depends", "default-jdk-headless")
		if err != nil {
			return err
		}
		found := developmentKit.FindSubmatch(out)
		if found == nil {
			return errors.New("apt-cache knows no default-jdk-headless: run apt-get update")
		}
		version := string(found[1])
		fmt.Fprintf(os.Stderr, "downloading %s: this machine has no Java with a compiler\n", version)
		if err := fetched(cache, root, version+"-jdk-headless", version+"-jre-headless"); err != nil {
			return err
		}
		return relink(root)
	})
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/jvm/java-*-openjdk-*/bin/java"))
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errors.New("the package of Java holds no java"))
	}
	return found[0], nil
}

var developmentKit = regexp.MustCompile(`(?m)^\s*Depends: (openjdk-[0-9]+)-jdk-headless$`)

// relink turns links to the system's own folders, where Debian keeps Java's configuration, to those under root.
func relink(root string) error {
	return filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink == 0 {
			return err
		}
		to, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(to) || strings.HasPrefix(to, root) {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(filepath.Join(root, to), path)
	})
}
