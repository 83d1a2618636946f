package postgresserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// The source archives that are known, as sha256sum prints them: whoever serves the mirror cannot choose what is
// compiled and run here. A server of another minor version needs a line more, with the sum from the Debian source
// package's .dsc.
//
//go:embed sources.sha256
var sources string

// Version is the server's version without what the packager adds: 15.18.
func (in *Installation) Version() (string, error) {
	cmd := exec.CommandContext(context.Background(), filepath.Join(in.Bin, "postgres"), "--version")
	cmd.Env = in.Environment()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking postgres for its version: %w", err)
	}
	words := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
	if len(words) < 3 {
		return "", fmt.Errorf("postgres --version says %q", out)
	}
	return words[2], nil
}

// Source returns the folder of the server's own source: unpacked, configured, and with its headers generated. It is of
// the same minor version, or, where Debian's mirror does not have that (yet, or any more), of another one of the same
// major version that it has, which is told. The first call downloads 23 MB and takes about a minute.
func (in *Installation) Source() (folder string, err error) {
	version, err := in.Version()
	if err != nil {
		return "", err
	}
	err = debian.Locked("postgres", func(cache string) error {
		var missing error
		for _, v := range in.sourceVersions(version) {
			folder = filepath.Join(cache, "source", "postgresql-"+v)
			mark := filepath.Join(cache, "source", v+".complete")
			if _, err := os.Stat(mark); err == nil {
				return nil
			}
			err := in.unpackSource(v, folder)
			if errors.Is(err, errNotOffered) {
				fmt.Fprintln(os.Stderr, "postgresserver:", err)
				missing = errors.Join(missing, err)
				continue
			}
			if err != nil {
				return err
			}
			return os.WriteFile(mark, nil, 0o644)
		}
		return missing
	})
	return folder, err
}

// errNotOffered says that the mirror has the package and not its source.
var errNotOffered = errors.New("the source is not there")

// sourceVersions are the server's version and then the others of its major version whose sums are known, the newest
// first.
func (in *Installation) sourceVersions(version string) []string {
	out := []string{version}
	lines := strings.Split(strings.TrimSpace(sources), "\n")
	for _, line := range slices.Backward(lines) {
		_, file, _ := strings.Cut(line, "  ")
		v := strings.TrimSuffix(strings.TrimPrefix(file, "postgresql-"), ".tar.bz2")
		if v != version && strings.HasPrefix(v, strconv.Itoa(in.Major)+".") {
			out = append(out, v)
		}
	}
	return out
}

// address is where the source archive of a version lies: beside the server's package, of the Debian revision that the
// machine's sources offer.
func (in *Installation) address(version string) (string, error) {
	name := fmt.Sprintf("postgresql-%d", in.Major)
	offered, err := debian.Run("", "apt-cache", "madison", name)
	if err != nil {
		return "", fmt.Errorf("asking apt-cache for versions of the server: %w: %s", err, offered)
	}
	revision := ""
	for line := range strings.Lines(string(offered)) { // postgresql-15 | 15.18-0+deb12u1 | http://deb.debian.org/debian ...
		if columns := strings.Split(line, "|"); len(columns) > 1 && strings.HasPrefix(strings.TrimSpace(columns[1]), version+"-") {
			revision = strings.TrimSpace(columns[1])
		}
	}
	if revision == "" {
		return "", fmt.Errorf("PostgreSQL %s: %w: the machine's sources offer no such package", version, errNotOffered)
	}
	out, err := debian.Run("", "apt-get", "download", "--print-uris", name+"="+revision)
	if err != nil {
		return "", fmt.Errorf("asking apt-get for the server's address: %w: %s", err, out)
	}
	quoted, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	address := strings.Trim(quoted, "'")
	slash := strings.LastIndexByte(address, '/')
	if !strings.HasPrefix(address, "http") || slash < 0 {
		return "", fmt.Errorf("apt-get download --print-uris says %q", out)
	}
	return address[:slash+1] + fmt.Sprintf("%s_%s.orig.tar.bz2", name, version), nil
}

func (in *Installation) unpackSource(version, folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	archive, err := in.download(version)
	if err != nil {
		return err
	}
	tar := exec.CommandContext(context.Background(), "tar", "-xj", "--no-same-owner", "-C", filepath.Dir(folder))
	tar.Stdin = bytes.NewReader(archive)
	if out, err := tar.CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking the source: %w: %s", err, out)
	}
	for _, step := range [][]string{
		{"./configure", "--quiet", "--without-readline", "--without-zlib", "CFLAGS=-O1"},
		{"make", "-s", "-C", "src/backend", "generated-headers"},
	} {
		fmt.Fprintf(os.Stderr, "postgresserver: PostgreSQL %s: %s\n", version, strings.Join(step, " "))
		if out, err := debian.Run(folder, step[0], step[1:]...); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(step, " "), err, out)
		}
	}
	return nil
}

// download fetches the source archive from where the machine's Debian sources have the server's package.
func (in *Installation) download(version string) ([]byte, error) {
	want := ""
	for line := range strings.Lines(sources) {
		if sum, file, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && file == "postgresql-"+version+".tar.bz2" {
			want = sum
		}
	}
	if want == "" {
		return nil, fmt.Errorf("test/postgresserver/sources.sha256 has no line for postgresql-%s.tar.bz2: its sum stands in the .dsc of Debian's source package", version)
	}
	address, err := in.address(version)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "postgresserver: downloading %s\n", address)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("downloading the source: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("downloading %s: %w", address, errNotOffered)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("downloading %s: %s", address, answer.Status)
	}
	const most = 100 << 20 // four times what one takes
	archive, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return nil, fmt.Errorf("downloading %s: %w", address, err)
	}
	sum := sha256.Sum256(archive)
	if got := hex.EncodeToString(sum[:]); got != want {
		return nil, errors.New(address + " has the sum " + got + ", not " + want)
	}
	return archive, nil
}
