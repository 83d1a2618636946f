package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// installation is a Chromium and what it runs with.
type installation struct {
	program     string
	environment []string
}

// EnvProgram names the browser to use; "debian" unpacks Debian's even where the machine has one.
const EnvProgram = "CHAPERONE_CHROMIUM"

var install = sync.OnceValues(func() (installation, error) {
	switch named := os.Getenv(EnvProgram); named {
	case "":
	case "debian":
		return unpack()
	default:
		return installation{named, os.Environ()}, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return installation{path, os.Environ()}, nil
		}
	}
	return unpack()
})

// unpack gets Debian's chromium with the libraries that the machine lacks, some 150 MB the first time.
func unpack() (in installation, err error) {
	err = debian.Locked("chromium", func(cache string) error {
		root := filepath.Join(cache, "current")
		libraries := filepath.Join(root, "libraries")
		in = installation{
			// Not /usr/bin/chromium: that is a script which looks for its parts below /.
			program:     filepath.Join(root, "usr/lib/chromium/chromium"),
			environment: append(os.Environ(), "LD_LIBRARY_PATH="+libraries, "FONTCONFIG_SYSROOT="+root),
		}
		complete := filepath.Join(root, "complete")
		if _, err := os.Stat(complete); err == nil {
			return nil
		}
		fmt.Fprintln(os.Stderr, "downloading Chromium from Debian's packages")
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := os.MkdirAll(libraries, 0o755); err != nil {
			return err
		}
		if err := debian.Fetch(root, "chromium", "chromium-common", "fonts-dejavu-core", "fontconfig-config"); err != nil {
			return err
		}
		programs := debian.Programs{Package: "chromium", Root: root, Libraries: libraries, Environment: in.environment, Paths: []string{in.program}}
		if err := programs.Complete(); err != nil {
			return err
		}
		return os.WriteFile(complete, nil, 0o644)
	})
	return in, err
}
