package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// stopped is what a log says whose sidecar died.
const stopped = "the sidecar stopped before the log was closed"

// recover reads what a previous life left in the spool. Of each log it keeps the chunks that are whole and follow
// from each other, and closes it as truncated where its end is missing.
func (s *Spool) recover() ([]*chain, error) {
	entries, err := os.ReadDir(s.options.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading the recording spool: %w", err)
	}
	var chains []*chain
	for _, e := range entries {
		dir := filepath.Join(s.options.Dir, e.Name())
		if filepath.Ext(e.Name()) == unfinishedExt {
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("cleaning the recording spool: %w", err)
			}
			continue
		}
		if !ValidLogID(e.Name()) || !e.IsDir() {
			continue
		}
		c, err := s.recoverChain(dir)
		if err != nil {
			s.options.Log.Error(err, "a log in the spool cannot be read", "log", e.Name())
			if err := os.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("cleaning the recording spool: %w", err)
			}
			continue
		}
		chains = append(chains, c)
	}
	return chains, nil
}

func (s *Spool) recoverChain(dir string) (*chain, error) {
	c := &chain{spool: s, files: chainFiles{dir: dir}, delivery: newDelivery()}
	text, err := os.ReadFile(filepath.Join(dir, spoolMeta))
	if err != nil {
		return nil, fmt.Errorf("reading what it is: %w", err)
	}
	if err := json.Unmarshal(text, &c.meta); err != nil {
		return nil, fmt.Errorf("reading what it is: %w", err)
	}
	if c.meta.Log != filepath.Base(dir) {
		return nil, errors.New("it is not what its directory says")
	}
	c.start = c.meta.Start
	numbers, err := c.files.numbers()
	if err != nil {
		return nil, err
	}
	if err := c.adopt(numbers); err != nil {
		return nil, err
	}
	c.held = closingRoom
	s.used.Add(c.held) // whatever the budget says: it is there
	if c.last {
		return c, nil
	}
	return c, c.closeTruncated()
}

// adopt takes over the chunks from the first on that are whole and follow from each other, and removes the rest.
func (c *chain) adopt(numbers []uint64) error {
	var v *Verifier
	for i, n := range numbers {
		chunk, err := c.files.read(n)
		if err == nil && v == nil {
			v = Resume(n, chunk.Previous, chunk.Counts)
			c.oldest, c.cutTo, c.acked = n, n, n
		}
		if err == nil {
			err = v.Add(chunk)
		}
		if err != nil {
			c.spool.options.Log.Info("cutting off what was not finished", "log", c.meta.Log, "chunk", n, "reason", err.Error())
			for _, n := range numbers[i:] {
				if err := c.files.drop(n); err != nil {
					return err
				}
			}
			break
		}
		size := framed(0) + blocks(len(chunk.Payload))
		c.spool.used.Add(size)
		c.chunks = append(c.chunks, spooled{size: size})
		c.cutTo++
		c.last = chunk.Last
	}
	if v != nil {
		c.next, c.hash, c.counts = v.Next(), v.Hash(), v.Counts()
	}
	return nil
}

// closeTruncated ends a chain of which nothing more will come.
func (c *chain) closeTruncated() error {
	t := max(0, c.spool.options.Now().Sub(c.start).Seconds())
	text := appendEvent(nil, &Event{Time: t, Kind: KindEnd, Error: stopped})
	p := piece{counts: c.counts, reserved: c.releaseReserve()}
	err := c.store(p, text, true, c.files.writeReserved)
	if err != nil { // a life before this one may have died while it wrote there
		err = c.store(p, text, true, c.files.write)
	}
	if err != nil {
		return fmt.Errorf("closing it as truncated: %w", err)
	}
	return nil
}
