package sftp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Types of packets (draft-ietf-secsh-filexfer-02, section 3).
const (
	typeInit          = 1
	typeVersion       = 2
	typeOpen          = 3
	typeClose         = 4
	typeRead          = 5
	typeWrite         = 6
	typeLstat         = 7
	typeFstat         = 8
	typeSetstat       = 9
	typeFsetstat      = 10
	typeOpendir       = 11
	typeReaddir       = 12
	typeRemove        = 13
	typeMkdir         = 14
	typeRmdir         = 15
	typeRealpath      = 16
	typeStat          = 17
	typeRename        = 18
	typeReadlink      = 19
	typeSymlink       = 20
	typeStatus        = 101
	typeHandle        = 102
	typeData          = 103
	typeName          = 104
	typeAttrs         = 105
	typeExtended      = 200
	typeExtendedReply = 201
)

// Codes of a status (section 7).
const (
	statusOK               = 0
	statusEOF              = 1
	statusNoSuchFile       = 2
	statusPermissionDenied = 3
	statusFailure          = 4
	statusBadMessage       = 5
	statusOpUnsupported    = 8
)

const (
	// protocolVersion is the one that is spoken to both sides: OpenSSH's only one.
	protocolVersion = 3
	// maxPacket bounds a packet without its length: OpenSSH's own bound (sftp-common.h, SFTP_MAX_MSG_LENGTH).
	maxPacket = 256 << 10
	// maxData is the most that a read asks for: OpenSSH's max-read-length, a packet less room for what is around it.
	maxData = maxPacket - 1024
	// maxPath is Linux's PATH_MAX.
	maxPath = 4096
	// maxHandle is section 6.2's bound of a handle.
	maxHandle = 256
	// header is a packet's length, type and id.
	header = 9
)

// errMalformed is a packet that does not hold what its type says.
var errMalformed = errors.New("malformed packet")

// readFrame reads one packet with its length, into buf where that is large enough. The length is checked before anything
// is allocated for it. io.EOF is the end between packets.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: it ends in its length", errMalformed)
		}
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < header-4 || n > maxPacket {
		return nil, fmt.Errorf("%w: a length of %d bytes; %d to %d are allowed", errMalformed, n, header-4, maxPacket)
	}
	whole := int(n) + 4
	if cap(buf) < whole {
		buf = make([]byte, whole, max(whole, 36<<10))
	}
	buf = buf[:whole]
	copy(buf, size[:])
	if _, err := io.ReadFull(r, buf[4:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf, nil
}

func frameType(frame []byte) byte        { return frame[4] }
func frameID(frame []byte) uint32        { return binary.BigEndian.Uint32(frame[5:9]) }
func setFrameID(frame []byte, id uint32) { binary.BigEndian.PutUint32(frame[5:9], id) }

// builder writes one packet.
type builder struct{ b []byte }

func build(kind byte) *builder {
	return &builder{b: append(make([]byte, 4, 128), kind, 0, 0, 0, 0)}
}

func (b *builder) u32(n uint32) *builder { b.b = binary.BigEndian.AppendUint32(b.b, n); return b }
func (b *builder) u64(n uint64) *builder { b.b = binary.BigEndian.AppendUint64(b.b, n); return b }
func (b *builder) text(s string) *builder {
	b.u32(uint32(len(s)))
	b.b = append(b.b, s...)
	return b
}
func (b *builder) raw(p []byte) *builder { b.b = append(b.b, p...); return b }

// frame ends the packet. Its id is set when it is sent.
func (b *builder) frame() []byte {
	binary.BigEndian.PutUint32(b.b, uint32(len(b.b)-4))
	return b.b
}

// statusFrame is an answer of our own.
func statusFrame(id, code uint32, message string) []byte {
	f := build(typeStatus).u32(code).text(strings.ToValidUTF8(bounded(message, 1<<10), "?")).text("").frame()
	setFrameID(f, id)
	return f
}

func bounded(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}

// fields reads what a packet holds. After the first thing that is not there every read is empty and ok says so.
type fields struct {
	b   []byte
	bad bool
}

func fieldsOf(frame []byte) *fields { return &fields{b: frame[header:]} }

func (f *fields) take(n int) []byte {
	if f.bad || n > len(f.b) {
		f.bad = true
		return nil
	}
	p := f.b[:n:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u32() uint32 {
	if p := f.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if p := f.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// bytes is a string of at most limit bytes, which stays the packet's.
func (f *fields) bytes(limit int) []byte {
	n := f.u32()
	if f.bad || uint64(n) > uint64(limit) {
		f.bad = true
		return nil
	}
	return f.take(int(n))
}

// path is a string that names a file.
func (f *fields) path() string {
	p := string(f.bytes(maxPath))
	if strings.IndexByte(p, 0) >= 0 {
		f.bad = true
	}
	return p
}

// done reports whether everything was there, and nothing after it.
func (f *fields) done() bool { return !f.bad && len(f.b) == 0 }

// Flags of attributes (section 5).
const (
	attrSize        = 1
	attrOwner       = 2
	attrPermissions = 4
	attrTimes       = 8
	attrExtended    = 1 << 31
)

// attributes are a file's, as far as they are looked at; raw is all of them as they came.
type attributes struct {
	flags, permissions uint32
	size               uint64
	raw                []byte
}

// maxAttrExtensions bounds pairs that nobody uses.
const maxAttrExtensions = 16

func (f *fields) attributes() attributes {
	from := f.b
	a := attributes{flags: f.u32()}
	if a.flags&attrSize != 0 {
		a.size = f.u64()
	}
	if a.flags&attrOwner != 0 {
		f.take(8)
	}
	if a.flags&attrPermissions != 0 {
		a.permissions = f.u32()
	}
	if a.flags&attrTimes != 0 {
		f.take(8)
	}
	if a.flags&attrExtended != 0 {
		n := f.u32()
		if n > maxAttrExtensions {
			f.bad = true
		}
		for range n {
			if f.bad {
				break
			}
			f.bytes(maxPath)
			f.bytes(maxPath)
		}
	}
	if a.flags&^(attrSize|attrOwner|attrPermissions|attrTimes|attrExtended) != 0 {
		f.bad = true
	}
	if !f.bad {
		a.raw = from[:len(from)-len(f.b)]
	}
	return a
}

// Types of files in permissions (stat(2)).
const (
	modeType    = 0o170000
	modeFolder  = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
)
