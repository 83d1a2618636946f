package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/debian"
)

//go:embed clients
var clientFiles embed.FS

// pythonPackages are the Python client with what it needs beside the standard library.
var pythonPackages = []string{
	"python3-kubernetes", "python3-certifi", "python3-dateutil", "python3-google-auth", "python3-oauthlib",
	"python3-requests-oauthlib", "python3-requests", "python3-urllib3", "python3-websocket", "python3-yaml", "python3-six",
	"python3-idna", "python3-chardet", "python3-charset-normalizer", "python3-cachetools", "python3-pyasn1",
	"python3-pyasn1-modules", "python3-rsa",
}

// javaScriptPackage is pinned to the newest that runs with Node.js 20; what it depends on npm chooses.
const javaScriptPackage = "@kubernetes/client-node@1.3.0"

func runPython(ctx context.Context, l *lab) (difference.Report, error) {
	var packages string
	err := debian.Locked("python-kubernetes", func(cache string) error {
		root := filepath.Join(cache, "root")
		packages = filepath.Join(root, "usr/lib/python3/dist-packages")
		if _, err := os.Stat(filepath.Join(cache, "complete")); err == nil {
			return nil
		}
		if err := errors.Join(os.RemoveAll(root), os.MkdirAll(root, 0o755)); err != nil {
			return err
		}
		if err := debian.Fetch(root, pythonPackages...); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(cache, "complete"), nil, 0o644)
	})
	if err != nil {
		return nil, fmt.Errorf("getting the Python client: %w", err)
	}
	return l.runPrograms(ctx, "python", "python3", tool{environment: []string{"PYTHONPATH=" + packages}})
}

func runJavaScript(ctx context.Context, l *lab) (difference.Report, error) {
	var modules string
	err := debian.Locked("npm-kubernetes", func(cache string) error {
		modules = cache
		if _, err := os.Stat(filepath.Join(cache, "complete")); err == nil {
			return nil
		}
		install := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", cache, javaScriptPackage)
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return os.WriteFile(filepath.Join(cache, "complete"), nil, 0o644)
	})
	if err != nil {
		return nil, fmt.Errorf("getting the JavaScript client: %w", err)
	}
	return l.runPrograms(ctx, "javascript", "node", tool{environment: []string{"MODULES=" + filepath.Join(modules, "node_modules")}})
}

// accountFolder is where in-cluster clients find their account.
const accountFolder = "var/run/secrets/kubernetes.io/serviceaccount"

// runPrograms runs each program of a client as a case, named for its file. In-cluster clients read host and port from the
// environment, token, root and namespace from files.
func (l *lab) runPrograms(ctx context.Context, client, interpreter string, with tool) (difference.Report, error) {
	if err := l.startRunner(ctx); err != nil {
		return nil, err
	}
	with.path = l.environment.LookPath("kubectl")
	programs, err := fs.Sub(clientFiles, "clients/"+client)
	if err != nil {
		return nil, err
	}
	for _, s := range []*side{l.direct, l.through} {
		if err := s.prepareClient(client, programs); err != nil {
			return nil, err
		}
	}
	files, err := fs.Glob(programs, "*")
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for _, file := range files {
		name := strings.TrimSuffix(file, path.Ext(file))
		if !strings.Contains(name, l.only) {
			continue
		}
		command := `export POD_ROOT=$PWD/ TOKEN_FILE=$PWD/` + accountFolder + `/token CA_FILE=$PWD/ca.crt KUBERNETES_SERVICE_HOST=$(echo $SERVER | sed 's,https://,,; s,:[0-9]*$,,') KUBERNETES_SERVICE_PORT=${SERVER##*:}; ` +
			interpreter + " " + client + "/" + file
		direct, code, err := l.direct.run(ctx, command, with)
		if err != nil || code != 0 {
			return nil, errors.Join(err, fmt.Errorf("%s does not work past the sidecar: %s", file, direct))
		}
		through, ended, err := l.through.run(ctx, command, with)
		if err != nil {
			return nil, err
		}
		if ended != code {
			through += fmt.Sprintf("(exit %d)\n", ended)
		}
		out[name] = l.judge(name, l.direct.normalise(direct), l.through.normalise(through))
	}
	return out, nil
}

// prepareClient writes a client's programs, and the files of an account as a pod has them.
func (s *side) prepareClient(client string, programs fs.FS) error {
	account := filepath.Join(s.folder, accountFolder)
	if err := errors.Join(os.MkdirAll(account, 0o755), os.RemoveAll(filepath.Join(s.folder, client))); err != nil {
		return err
	}
	return errors.Join(
		os.CopyFS(filepath.Join(s.folder, client), programs),
		os.WriteFile(filepath.Join(account, "token"), []byte(s.config.BearerToken), 0o600),
		os.WriteFile(filepath.Join(account, "ca.crt"), s.config.CAData, 0o600),
		os.WriteFile(filepath.Join(account, "namespace"), []byte(s.namespace), 0o600),
	)
}

// startRunner starts the pod that programs look into, on both sides.
func (l *lab) startRunner(ctx context.Context) error {
	for _, s := range []*side{l.direct, l.through} {
		out, code, err := s.run(ctx, "kubectl get pod runner >/dev/null 2>&1 || kubectl create -f files/pod.yaml; kubectl wait pod/runner --for=condition=Ready --timeout=80s", tool{path: l.environment.LookPath("kubectl")})
		if err != nil || code != 0 {
			return errors.Join(err, fmt.Errorf("starting a pod: %s", strings.TrimSpace(out)))
		}
	}
	return nil
}
