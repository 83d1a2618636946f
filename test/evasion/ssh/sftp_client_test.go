package ssh

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Types of packets, flags of an open and of attributes (draft-ietf-secsh-filexfer-02, sections 3, 5 and 6.3).
const (
	fxpInit, fxpVersion                                = 1, 2
	fxpOpen, fxpClose, fxpRead, fxpWrite               = 3, 4, 5, 6
	fxpLstat, fxpFstat, fxpSetstat, fxpFsetstat        = 7, 8, 9, 10
	fxpOpendir, fxpReaddir                             = 11, 12
	fxpRemove, fxpMkdir, fxpRmdir, fxpRealpath         = 13, 14, 15, 16
	fxpStat, fxpRename, fxpReadlink, fxpSymlink        = 17, 18, 19, 20
	fxpStatus, fxpHandle, fxpData, fxpName             = 101, 102, 103, 104
	fxpExtended, fxpExtendedReply               byte   = 200, 201
	forRead, forWrite, forAppend                uint32 = 1, 2, 4
	forCreate, forTruncate, forExclusive        uint32 = 8, 16, 32
	attrSize, attrOwner, attrMode, attrTime     uint32 = 1, 2, 4, 8
)

// reply is the server's, or the sidecar's.
type reply struct {
	kind byte
	code uint32 // of a status
	text string // of a status, or the bytes of anything else
}

// handle is what an open returned, "" for a refusal.
func (r reply) handle() string {
	if r.kind == fxpHandle && len(r.text) > 4 {
		return r.text[4:]
	}
	return ""
}

// lastWord is the least number of a request that is only there to see that all before it were answered.
const lastWord uint32 = 1 << 30

// fileSession is an sftp session whose packets the adversary writes.
type fileSession struct {
	t    *testing.T
	c    *ssh.Client
	s    *ssh.Session
	in   io.WriteCloser
	last uint32
	told lockedBuffer // standard error

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	received bytes.Buffer
	asked    []string // paths and names that hold a slash
	replies  map[uint32][]reply
	refusals int // replies that are an error
	ended    bool
}

// sftpSession starts one and greets.
func sftpSession(t *testing.T, c *ssh.Client) *fileSession {
	t.Helper()
	f := rawSession(t, c)
	f.write([]byte{0, 0, 0, 5, fxpInit, 0, 0, 0, 3})
	f.wait(func() bool { return f.ended || f.received.Len() > 0 })
	return f
}

// rawSession starts one and says nothing.
func rawSession(t *testing.T, c *ssh.Client) *fileSession {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatalf("the connection is gone: %v", err)
	}
	f := &fileSession{t: t, c: c, s: s, changed: make(chan struct{}), replies: make(map[uint32][]reply)}
	s.Stderr = &f.told
	if f.in, err = s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	go f.listen(out)
	return f
}

// listen takes replies until there are no more. Those that are none are kept as bytes alone.
func (f *fileSession) listen(out io.Reader) {
	for {
		var size [4]byte
		_, err := io.ReadFull(out, size[:])
		n := binary.BigEndian.Uint32(size[:])
		var packet []byte
		if err == nil && n <= 1<<20 {
			packet = make([]byte, n)
			_, err = io.ReadFull(out, packet)
		}
		f.mu.Lock()
		f.received.Write(packet)
		if len(packet) >= 5 && packet[0] != fxpVersion {
			id := binary.BigEndian.Uint32(packet[1:])
			r := reply{kind: packet[0], text: string(packet[5:])}
			if r.kind == fxpStatus && len(r.text) >= 4 {
				r.code, r.text = binary.BigEndian.Uint32([]byte(r.text)), r.text[4:]
				if r.code > 1 && id < lastWord {
					f.refusals++
				}
			}
			f.replies[id] = append(f.replies[id], r)
		}
		f.ended = err != nil || n > 1<<20
		ended := f.ended
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
		if ended {
			_, _ = io.Copy(io.Discard, out)
			return
		}
	}
}

const (
	// answerWithin is how long an answer may take.
	answerWithin = 30 * time.Second
	// silence is how long there is no answer before it is asked whether there will be one.
	silence = 100 * time.Millisecond
)

// wait returns once ok holds, which is asked under the lock.
func (f *fileSession) wait(ok func() bool) {
	f.t.Helper()
	if !f.within(answerWithin, ok) {
		f.t.Fatalf("no answer within %s", answerWithin)
	}
}

// within reports whether ok comes to hold in time.
func (f *fileSession) within(limit time.Duration, ok func() bool) bool {
	late := time.After(limit)
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// write sends bytes as they are. That the session has ended shows where an answer is waited for.
func (f *fileSession) write(p []byte) { _, _ = f.in.Write(p) }

// pack is a packet of strings, numbers of four and eight bytes, and bytes as they are.
func pack(kind byte, id uint32, fields ...any) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, kind}, id)
	for _, field := range fields {
		switch v := field.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case int:
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case []byte:
			b = append(b, v...)
		default:
			panic("a field of a packet that is neither text nor number")
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// send sends a request and returns its id.
func (f *fileSession) send(kind byte, fields ...any) uint32 {
	f.last++
	for _, field := range fields {
		if path, ok := field.(string); ok && strings.Contains(path, "/") {
			f.mu.Lock()
			f.asked = append(f.asked, path)
			f.mu.Unlock()
		}
	}
	f.write(pack(kind, f.last, fields...))
	return f.last
}

// answer waits for the first answer to a request; an empty one says that the session has ended.
func (f *fileSession) answer(id uint32) (r reply) {
	f.t.Helper()
	f.wait(func() bool {
		if all := f.replies[id]; len(all) > 0 {
			r = all[0]
			return true
		}
		return f.ended
	})
	return r
}

// ask sends a request and waits for its answer. OpenSSH's server says nothing at all to a packet of a type that it does
// not know: an answer to what is asked behind it tells that there will be none. It also takes one packet each time that
// it is told of new bytes, so what is asked has to be asked again.
func (f *fileSession) ask(kind byte, fields ...any) (r reply) {
	f.t.Helper()
	id := f.send(kind, fields...)
	behind := lastWord + id
	answered := func() bool { return len(f.replies[id]) > 0 || len(f.replies[behind]) > 0 || f.ended }
	for end := time.Now().Add(answerWithin); !f.within(silence, answered); {
		if time.Now().After(end) {
			f.t.Fatalf("no answer within %s", answerWithin)
		}
		f.write(pack(fxpRealpath, behind, "."))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if all := f.replies[id]; len(all) > 0 {
		r = all[0]
	}
	return r
}

// cut sends a request that is not whole by its own account, and nothing behind it that could be read as the rest.
func (f *fileSession) cut(kind byte, fields ...any) {
	f.t.Helper()
	f.send(kind, fields...)
	_ = f.in.Close()
	f.wait(func() bool { return f.ended })
}

// none are attributes that say nothing.
var none = []byte{0, 0, 0, 0}

func (f *fileSession) open(path string, flags uint32) string {
	f.t.Helper()
	return f.ask(fxpOpen, path, flags, none).handle()
}

// fetch reads a file's beginning, whatever the open's answer was: a handle that was refused is guessed.
func (f *fileSession) fetch(path string) {
	f.t.Helper()
	h := f.open(path, forRead)
	if h == "" {
		h = "\x00\x00\x00\x00" // the server's first
	}
	f.ask(fxpRead, h, 0, uint32(64<<10))
	f.ask(fxpClose, h)
}

// put writes over a file's beginning, whatever the open's answer was.
func (f *fileSession) put(path string, flags uint32) {
	f.t.Helper()
	h := f.open(path, flags)
	if h == "" {
		h = "\x00\x00\x00\x00"
	}
	f.ask(fxpWrite, h, 0, "overwritten")
	f.ask(fxpClose, h)
}

// list reads a folder's names.
func (f *fileSession) list(path string) {
	f.t.Helper()
	h := f.ask(fxpOpendir, path).handle()
	if h == "" {
		h = "\x00\x00\x00\x00"
	}
	f.ask(fxpReaddir, h)
	f.ask(fxpClose, h)
}

// extend sends an extended request (section 8).
func (f *fileSession) extend(name string, fields ...any) reply {
	f.t.Helper()
	return f.ask(fxpExtended, append([]any{name}, fields...)...)
}
