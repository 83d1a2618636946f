package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Names in the spool: a directory for each log, in it what it is, its chunks by number, and the reserved room. What
// ends in unfinishedExt was being written when its writer stopped.
const (
	spoolMeta     = "meta.json"
	spoolReserve  = "reserve"
	unfinishedExt = ".new"
)

// chainFiles are the files of one log. Nothing is synced to the disk: the volume outlives the sidecar's process but
// not the node, whose end is the pod's end too.
type chainFiles struct{ dir string }

// createFiles makes a log's directory; it is either there whole or not at all.
func createFiles(spool string, meta Meta) (chainFiles, error) {
	text, err := json.Marshal(meta)
	if err != nil {
		return chainFiles{}, fmt.Errorf("encoding its description: %w", err)
	}
	f := chainFiles{dir: filepath.Join(spool, meta.Log)}
	unfinished := f.dir + unfinishedExt
	err = os.Mkdir(unfinished, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(unfinished, spoolMeta), text, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(unfinished, spoolReserve), make([]byte, block), 0o600)
	}
	if err == nil {
		err = os.Rename(unfinished, f.dir)
	}
	if err != nil {
		return chainFiles{}, errors.Join(err, os.RemoveAll(unfinished))
	}
	return f, nil
}

func (f chainFiles) chunk(number uint64) string { return filepath.Join(f.dir, ChunkObject(number)) }

// write writes a chunk; it is either there whole or not at all.
func (f chainFiles) write(number uint64, frame []byte) error {
	name := f.chunk(number)
	err := os.WriteFile(name+unfinishedExt, frame, 0o600)
	if err == nil {
		err = os.Rename(name+unfinishedExt, name)
	}
	if err != nil {
		return errors.Join(err, remove(name+unfinishedExt))
	}
	return nil
}

// writeReserved writes a small chunk over the reserved room: that needs nothing of a full volume.
func (f chainFiles) writeReserved(number uint64, frame []byte) error {
	if len(frame) > block {
		return fmt.Errorf("a closing chunk of %d bytes, %d are reserved", len(frame), block)
	}
	reserve := filepath.Join(f.dir, spoolReserve)
	file, err := os.OpenFile(reserve, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening the reserved room: %w", err)
	}
	_, err = file.WriteAt(frame, 0)
	if err == nil {
		err = file.Truncate(int64(len(frame)))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing into the reserved room: %w", err)
	}
	return os.Rename(reserve, f.chunk(number))
}

// read reads a chunk back.
func (f chainFiles) read(number uint64) (*Chunk, error) {
	frame, err := os.ReadFile(f.chunk(number))
	if err != nil {
		return nil, fmt.Errorf("reading a chunk from the spool: %w", err)
	}
	c, err := ParseChunk(frame)
	if err != nil {
		return nil, fmt.Errorf("reading chunk %d from the spool: %w", number, err)
	}
	return c, nil
}

func (f chainFiles) dropReserve() error { return remove(filepath.Join(f.dir, spoolReserve)) }

func (f chainFiles) drop(number uint64) error { return remove(f.chunk(number)) }

func (f chainFiles) dropAll() error { return os.RemoveAll(f.dir) }

// numbers returns the chunks that are there, ascending, and removes what was being written.
func (f chainFiles) numbers() ([]uint64, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("listing a log in the spool: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		if filepath.Ext(e.Name()) == unfinishedExt {
			if err := remove(filepath.Join(f.dir, e.Name())); err != nil {
				return nil, err
			}
		} else if n, ok := ChunkNumber(e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cleaning the spool: %w", err)
	}
	return nil
}
