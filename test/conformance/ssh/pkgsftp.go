package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/debian"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// pkgSFTPVersion is the release of github.com/pkg/sftp whose tests run.
const pkgSFTPVersion = "v1.13.12"

// buildPkgSFTP compiles the module's tests where its source is copied to, and returns that folder. What it needs comes
// from the module proxy.
func buildPkgSFTP() (folder string, err error) {
	err = debian.Locked("pkg-sftp", func(cache string) error {
		folder = filepath.Join(cache, pkgSFTPVersion)
		if _, err := os.Stat(filepath.Join(folder, pkgSFTPTests)); err == nil {
			return nil
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		download := exec.Command("go", "mod", "download", "-json", "github.com/pkg/sftp@"+pkgSFTPVersion)
		download.Dir = cache
		out, err := download.Output()
		if err != nil {
			return fmt.Errorf("downloading pkg/sftp: %w: %s", err, out)
		}
		var answer struct{ Dir string }
		if err := json.Unmarshal(out, &answer); err != nil {
			return fmt.Errorf("go mod download: %w", err)
		}
		if err := os.CopyFS(folder, os.DirFS(answer.Dir)); err != nil {
			return err
		}
		// What is in the module cache may not be written.
		err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				err = os.Chmod(path, 0o755)
			}
			return err
		})
		if err != nil {
			return err
		}
		build := exec.Command("go", "test", "-c", "-o", pkgSFTPTests, ".")
		build.Dir = folder
		build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("compiling the tests of pkg/sftp: %w: %s", err, out)
		}
		return nil
	})
	return folder, err
}

const (
	pkgSFTPTests = "pkg-sftp.test"
	// readOnlyServer is what the option -R makes of OpenSSH's sftp-server.
	readOnlyServer = " -R"
)

// runPkgSFTP runs the client's tests of pkg/sftp that talk to a server. In the place of the program sftp-server they are
// given one that reaches the server's subsystem over SSH. Those that speak to a server of the package's own are left out.
func runPkgSFTP(b *bench) (report difference.Report, err error) {
	programs := make(map[string]string)
	denied := filepath.Join(b.folder, "pkgsftp-denied.log")
	for _, mode := range []string{"", readOnlyServer} {
		server, err := sshserver.Start("PermitRootLogin yes", "ForceCommand "+b.installation.SFTPServer+mode)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		key := filepath.Join(b.folder, "pkgsftp-key"+strings.TrimSpace(mode))
		if err := os.WriteFile(key, server.UserKey, 0o600); err != nil {
			return nil, err
		}
		port, known, stop, err := b.rootSidecar(server, denied)
		if err != nil {
			return nil, err
		}
		defer stop()
		for side, way := range map[string]struct {
			port  int
			known []byte
		}{"direct": {server.Port, server.KnownHosts("127.0.0.1", server.Port)}, "sidecar": {port, known}} {
			file := filepath.Join(b.folder, "pkgsftp-known-"+side+strings.TrimSpace(mode))
			if err := os.WriteFile(file, way.known, 0o644); err != nil {
				return nil, err
			}
			programs[side+mode] = strings.Join([]string{
				filepath.Join(b.installation.Bin, "ssh"), "-F none -T -o Port=" + strconv.Itoa(way.port), "-o User=root -o LogLevel=ERROR -o BatchMode=yes",
				"-o UserKnownHostsFile=" + file, "-o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o IdentityAgent=none -o IdentitiesOnly=yes",
				"-o IdentityFile=" + key, "-s 127.0.0.1 sftp",
			}, " ")
		}
	}
	ended := make(map[string]map[string]string)
	run := func(names []string) error {
		for _, side := range []string{"direct", "sidecar"} {
			var err error
			if ended[side], err = b.pkgSFTP(side, programs[side], programs[side+readOnlyServer], names); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(b.only); err != nil {
		return nil, err
	}
	report = make(difference.Report)
	for again := range 3 {
		differ := b.compare(report, ended["direct"], ended["sidecar"])
		if len(differ) == 0 || again == 2 {
			break
		}
		// Some hang on how fast the machine is. A test differs if it does each time.
		if err := run(differ); err != nil {
			return nil, err
		}
	}
	was, _ := os.ReadFile(denied)
	if len(was) > 0 {
		return nil, fmt.Errorf("pkg/sftp was refused what all is allowed: %s", was)
	}
	return report, nil
}

// compare puts outcomes into the report, without tests that are skipped on both sides, and returns the names of those that
// differ.
func (b *bench) compare(report difference.Report, direct, through map[string]string) (differ []string) {
	all := maps.Clone(direct)
	maps.Copy(all, through)
	for _, test := range slices.Sorted(maps.Keys(all)) {
		if direct[test] == "SKIP" && through[test] == "SKIP" {
			continue
		}
		r := difference.Result{Differs: direct[test] != through[test]}
		if r.Differs {
			name, _, _ := strings.Cut(test, "/")
			differ = append(differ, name)
			fmt.Printf("%s: directly %s, through the sidecar %s\n", test, direct[test], through[test])
		}
		report[test] = r
	}
	return slices.Compact(differ)
}

// rootSidecar stands before a server, whose user is root: the tests make files that are theirs alone.
func (b *bench) rootSidecar(server *sshserver.Server, denied string) (port int, known []byte, stop func(), err error) {
	folder, err := os.MkdirTemp(b.folder, "keys-")
	if err != nil {
		return 0, nil, nil, err
	}
	keys, err := trust.LoadHostKeys(folder)
	if err != nil {
		return 0, nil, nil, err
	}
	signers, err := keys.Signers()
	if err != nil {
		return 0, nil, nil, err
	}
	s, err := newSidecar(signers, "root", server.KnownHosts(sshserver.Host, 22), server.UserKey, denied)
	if err != nil {
		return 0, nil, nil, err
	}
	s.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Address())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, nil, err
	}
	go s.listen(l)
	port = l.Addr().(*net.TCPAddr).Port
	return port, keys.KnownHosts([]trust.SSHHost{{Host: "127.0.0.1", Port: uint16(port)}}), func() { l.Close() }, nil
}

// clientTests finds the tests in the file that has those of the client with a server.
var clientTests = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testEnd finds how a test ended. What servers say may stand before it in its line.
var testEnd = regexp.MustCompile(`--- (PASS|FAIL|SKIP): (Test\S+) \(`)

// pkgSFTP runs the named tests, or all, and returns how each ended. A test with parts is left out: they stand for it.
func (b *bench) pkgSFTP(side, server, readOnly string, names []string) (map[string]string, error) {
	source := filepath.Join(b.pkgSFTPFolder, "client_integration_test.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, err
	}
	if names == nil {
		for _, found := range clientTests.FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	program := filepath.Join(b.folder, "sftp-server-"+side)
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' -R '*) exec %s;; esac\nexec %s\n", readOnly, server)
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.pkgSFTPFolder, pkgSFTPTests), "-integration", "-sftp="+program, "-test.v", "-test.count=1",
		"-test.timeout=9m", "-test.run=^("+strings.Join(names, "|")+")$")
	cmd.Dir = b.pkgSFTPFolder
	cmd.Env = b.installation.Environment()
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	if werr := os.WriteFile(filepath.Join(b.folder, "pkgsftp-"+side+".log"), said.Bytes(), 0o644); werr != nil {
		return nil, werr
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	out := make(map[string]string)
	for _, found := range testEnd.FindAllStringSubmatch(said.String(), -1) {
		out[found[2]] = found[1]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no test of pkg/sftp ran: %w: %.2000s", err, &said)
	}
	for name := range maps.Clone(out) {
		for i, c := range name {
			if c == '/' {
				delete(out, name[:i])
			}
		}
	}
	return out, nil
}
