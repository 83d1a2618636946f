package ssh_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/crypto/ssh"
)

// fileClient asks one thing after another over sftp (draft-ietf-secsh-filexfer-02).
type fileClient struct {
	channel ssh.Channel
	last    uint32
}

// openFiles begins an sftp session; said is what the sidecar says beside its answers.
func openFiles(t *testing.T, c *ssh.Client) (f *fileClient, said *lines) {
	t.Helper()
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	f = &fileClient{channel: channel}
	if _, err := channel.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.next(); err != nil {
		t.Fatal(err)
	}
	return f, &lines{r: channel.Stderr()}
}

func (f *fileClient) next() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(f.channel, size[:]); err != nil {
		return nil, err
	}
	p := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(f.channel, p)
	return p, err
}

// ask sends a packet of strings and numbers and returns the answer from its type on, without its id.
func (f *fileClient) ask(kind byte, fields ...any) ([]byte, error) {
	f.last++
	p := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, kind}, f.last)
	for _, field := range fields {
		switch v := field.(type) {
		case string:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(v))), v...)
		case uint32:
			p = binary.BigEndian.AppendUint32(p, v)
		case uint64:
			p = binary.BigEndian.AppendUint64(p, v)
		}
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	if _, err := f.channel.Write(p); err != nil {
		return nil, err
	}
	answer, err := f.next()
	if err != nil {
		return nil, err
	}
	if len(answer) < 9 || binary.BigEndian.Uint32(answer[1:]) != f.last {
		return nil, errors.New("an answer to something else")
	}
	return append(answer[:1:1], answer[5:]...), nil
}

func text(p []byte) string { return string(p[4 : 4+binary.BigEndian.Uint32(p)]) }

// open opens a file for reading.
func (f *fileClient) open(t *testing.T, path string) (handle string) {
	t.Helper()
	p, err := f.ask(3, path, uint32(1), uint32(0))
	if err != nil || p[0] != 102 {
		t.Fatalf("%q, %v", p, err)
	}
	return text(p[1:])
}

// read returns the beginning of an open file, or the error's text.
func (f *fileClient) read(t *testing.T, handle string) string {
	t.Helper()
	p, err := f.ask(5, handle, uint64(0), uint32(1024))
	switch {
	case err != nil:
		t.Fatal(err)
	case p[0] == 103:
		return text(p[1:])
	case p[0] == 101:
		return fmt.Sprintf("status %d: %s", binary.BigEndian.Uint32(p[1:]), text(p[5:]))
	}
	t.Fatalf("%q", p)
	return ""
}

func (f *fileClient) close(t *testing.T, handle string) {
	t.Helper()
	if p, err := f.ask(4, handle); err != nil || p[0] != 101 || binary.BigEndian.Uint32(p[1:]) != 0 {
		t.Fatalf("%q, %v", p, err)
	}
}
