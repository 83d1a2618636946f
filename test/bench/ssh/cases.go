package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// benchCase is work that is done once a round and peer.
type benchCase struct {
	name string
	// size is how many bytes are moved, items how many times something is done; one of them is not 0.
	size  int64
	items int
	work  func(l *lab, p *peer, c *benchCase) error
}

// small is what a case does in a short run.
func (c benchCase) small() *benchCase {
	if c.size > 0 {
		c.size = max(c.size/64, 1<<20)
	}
	if c.items > 0 {
		c.items = max(c.items/10, 1)
	}
	return &c
}

const gigabyte = 1 << 30

var cases = []benchCase{
	{"connect and run `true`, OpenSSH", 0, 20, func(l *lab, p *peer, c *benchCase) error {
		for range c.items {
			if err := l.command(p, "ssh", io.Discard, bench1, "true"); err != nil {
				return err
			}
		}
		return nil
	}},
	{"connect and run `true`, Go", 0, 20, func(l *lab, p *peer, c *benchCase) error {
		for range c.items {
			client, err := l.dial(p)
			if err != nil {
				return err
			}
			err = runOnce(client, "true")
			client.Close()
			if err != nil {
				return err
			}
		}
		return nil
	}},
	// Through the sidecar this is its handshake with the agent alone: the one with the server goes on behind it.
	{"connect alone, Go", 0, 20, func(l *lab, p *peer, c *benchCase) error {
		for range c.items {
			client, err := l.dial(p)
			if err != nil {
				return err
			}
			client.Close()
		}
		return nil
	}},
	{"run `true` on an open connection", 0, 100, func(_ *lab, p *peer, c *benchCase) error {
		for range c.items {
			if err := runOnce(p.open, "true"); err != nil {
				return err
			}
		}
		return nil
	}},
	{"`cat` of a file, OpenSSH", gigabyte, 0, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "ssh", counter(c.size), bench1, "head -c "+strconv.FormatInt(c.size, 10)+" "+l.sized(c.size))
	}},
	{"`cat` of zeros, OpenSSH", gigabyte, 0, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "ssh", counter(c.size), bench1, "head -c "+strconv.FormatInt(c.size, 10)+" /dev/zero")
	}},
	{"`scp -O` of a file, from the server", 256 << 20, 0, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "scp", io.Discard, "-O", "-q", bench1+":"+l.sized(c.size), filepath.Join(l.folder, "got"))
	}},
	{"`scp -O` of a file, to the server", 256 << 20, 0, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "scp", io.Discard, "-O", "-q", l.sized(c.size), bench1+":put")
	}},
	{"`scp -O -r` of files of 1 KiB, from the server", 0, 1000, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "scp", io.Discard, "-O", "-q", "-r", bench1+":"+l.many(c.items), filepath.Join(l.folder, "many-"+p.name))
	}},
	{"`sftp` of files of 1 KiB, from the server", 0, 1000, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "scp", io.Discard, "-s", "-q", "-r", bench1+":"+l.many(c.items), filepath.Join(l.folder, "sftp-"+p.name))
	}},
	{"`sftp` of a file, from the server", 256 << 20, 0, func(l *lab, p *peer, c *benchCase) error {
		return l.command(p, "scp", io.Discard, "-s", "-q", bench1+":"+l.sized(c.size), filepath.Join(l.folder, "got"))
	}},
}

func runOnce(c *ssh.Client, command string) error {
	s, err := c.NewSession()
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(command)
}

// expect counts what is written to it.
type expect struct{ want, got int64 }

func counter(want int64) *expect { return &expect{want: want} }

func (e *expect) Write(p []byte) (int, error) {
	e.got += int64(len(p))
	return len(p), nil
}

// complete says whether all came.
func complete(w io.Writer) error {
	if e, ok := w.(*expect); ok && e.got != e.want {
		return fmt.Errorf("%d bytes came, not %d", e.got, e.want)
	}
	return nil
}

// sized is a file of text of that size, made once.
func (l *lab) sized(size int64) string {
	name := filepath.Join(l.folder, "size-"+strconv.FormatInt(size, 10))
	if _, err := os.Stat(name); err != nil {
		_ = writeText(name, size)
	}
	return name
}

// many is a folder of small files, made once.
func (l *lab) many(n int) string {
	name := filepath.Join(l.folder, "files-"+strconv.Itoa(n))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	_ = os.Mkdir(name, 0o755)
	for i := range n {
		_ = writeText(filepath.Join(name, strconv.Itoa(i)), 1<<10)
	}
	return name
}

// writeText fills a file with lines such as logs have; nothing in them is masked.
func writeText(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var block []byte
	for i := 0; len(block) < 1<<20; i++ {
		block = fmt.Appendf(block, "2026-11-26T02:00:%02d.%06d host service[%d]: request %08x took %d ms, status %d\n", i%60, i%1000000, 1000+i%9000, i*2654435761, i%977, 200+i%5)
	}
	for size > 0 {
		n := min(size, int64(len(block)))
		if _, err := f.Write(block[:n]); err != nil {
			return err
		}
		size -= n
	}
	return f.Chmod(0o644)
}
