// Package archive keeps the bytes of recordings in a bucket: a folder of the operator's volume or S3. The names of
// objects are those of package record; beside the logs there is an index, one small object a recording, which
// outlives the SessionRecording, its namespace and the bytes themselves.
package archive

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // s3://
	"gocloud.dev/gcerrors"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Prefixes that no namespace can have, since names of namespaces begin with a letter or digit (RFC 1123).
const (
	indexPrefix = "_index/"
	probePrefix = "_probe/"
)

// ErrNotFound says that there is no such log, or no longer.
var ErrNotFound = errors.New("not in the bucket")

// Keyring signs heads and knows whose signatures count.
type Keyring interface {
	// Sign signs a head with the key of the moment.
	Sign(head record.Head) record.Head
	// Trusted returns the set of keys. It has looked for the key with that ID (record.KeyID) where it did not know it.
	Trusted(ctx context.Context, id string) []record.Key
}

// Archive is the bucket.
type Archive struct {
	bucket *blob.Bucket
	keys   Keyring
	// folder is where file:// keeps its objects, for what the blob interface cannot say: that they are on the disk.
	folder string
}

// Open opens file:///absolute/path or s3://bucket?region=...&prefix=... ; credentials for S3 come from the
// environment as the AWS SDK reads them.
func Open(ctx context.Context, location string, keys Keyring) (*Archive, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("reading the recordings URL: %w", err)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return nil, fmt.Errorf("recordings URL %s: file:// needs an absolute path, as in file:///var/lib/chaperone/recordings", location)
		}
		folder := filepath.Clean(u.Path)
		bucket, err := fileblob.OpenBucket(folder, &fileblob.Options{
			CreateDir:   true,
			DirFileMode: 0o700,
			NoTempDir:   true, // a rename from another file system is neither atomic nor possible
			Metadata:    fileblob.MetadataDontWrite,
		})
		if err != nil {
			return nil, fmt.Errorf("opening the recordings folder %s: %w", folder, err)
		}
		return &Archive{bucket: bucket, keys: keys, folder: folder}, nil
	case "s3":
		bucket, err := blob.OpenBucket(ctx, location)
		if err != nil {
			return nil, fmt.Errorf("opening the recordings bucket: %w", err)
		}
		return &Archive{bucket: bucket, keys: keys}, nil
	}
	return nil, fmt.Errorf("recordings URL %s: the scheme must be file or s3", location)
}

// New wraps a bucket that is open already.
func New(bucket *blob.Bucket, keys Keyring) *Archive {
	return &Archive{bucket: bucket, keys: keys}
}

// Shared tells whether several replicas can use the archive at once.
func Shared(location string) bool { return strings.HasPrefix(location, "s3:") }

// Trusted are the keys whose signatures count; the set is as of now where head was signed by none that is known, and
// where head is nil.
func (a *Archive) Trusted(ctx context.Context, head *record.Head) []record.Key {
	id := ""
	if head != nil {
		id = record.KeyID(head.Key)
	}
	return a.keys.Trusted(ctx, id)
}

// Close closes the bucket.
func (a *Archive) Close() error { return a.bucket.Close() }

// Check writes, reads and deletes an object, so that "ready" means that recordings can be kept.
func (a *Archive) Check(ctx context.Context, replica string) error {
	key := probePrefix + replica
	text := time.Now().UTC().Format(time.RFC3339Nano)
	if err := a.put(ctx, key, []byte(text), false); err != nil {
		return fmt.Errorf("writing to the recordings bucket: %w", err)
	}
	got, err := a.bucket.ReadAll(ctx, key)
	if err != nil {
		return fmt.Errorf("reading from the recordings bucket: %w", err)
	}
	if string(got) != text {
		return errors.New("the recordings bucket does not give back what was written")
	}
	if err := a.bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("deleting from the recordings bucket: %w", err)
	}
	return nil
}

// put writes an object and returns once it is durable. With once, an object that is there is left alone and
// errExists returned.
func (a *Archive) put(ctx context.Context, key string, data []byte, once bool) error {
	ctx, cancel := context.WithCancel(ctx) // a cancelled context is how a blob's writer is told to drop the rest
	defer cancel()
	w, err := a.bucket.NewWriter(ctx, key, &blob.WriterOptions{IfNotExist: once, ContentType: "application/octet-stream"})
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		cancel()
		_ = w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		if once && gcerrors.Code(err) == gcerrors.FailedPrecondition {
			return errExists
		}
		return err
	}
	return a.sync(key)
}

var errExists = errors.New("exists")

// sync brings a file and its name to the disk; a bucket that is no folder answers only when it has done so itself.
func (a *Archive) sync(key string) error {
	if a.folder == "" {
		return nil
	}
	// Keys are made of names of objects, uids, hexadecimal and the fixed names of package record, none of which
	// fileblob escapes.
	path := filepath.Join(a.folder, filepath.FromSlash(key))
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), f.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) read(ctx context.Context, key string) ([]byte, error) {
	data, err := a.bucket.ReadAll(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return data, err
}
