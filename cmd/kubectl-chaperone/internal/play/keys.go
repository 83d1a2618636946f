package play

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Key is what a reader asks for while a terminal plays.
type Key byte

const (
	NoKey      Key = 0
	Pause      Key = ' '
	NextMarker Key = ']'
	Quit       Key = 'q'
)

// ErrEnough says that the reader ended the replay.
var ErrEnough = errors.New("the reader had enough")

// Keys waits for time to pass or for a key. While it reads a terminal, that terminal is in raw mode.
type Keys struct {
	pressed chan Key
	restore func()
}

// NoKeys waits for time alone.
func NoKeys() *Keys { return &Keys{restore: func() {}} }

// ReadKeys reads keys from a terminal; anything else gives no keys. Its reader stays until the program ends.
func ReadKeys(in io.Reader) *Keys {
	f, ok := in.(*os.File)
	if !ok {
		return NoKeys()
	}
	was, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return NoKeys()
	}
	k := &Keys{pressed: make(chan Key), restore: func() { _ = term.Restore(int(f.Fd()), was) }}
	go k.read(f)
	return k
}

func (k *Keys) read(in io.Reader) {
	var b [1]byte
	for {
		if n, err := in.Read(b[:]); n == 0 || err != nil {
			return
		}
		switch b[0] {
		case ' ', 'p':
			k.pressed <- Pause
		case ']', 'n':
			k.pressed <- NextMarker
		case 'q', 0x03, 0x04: // raw mode hands over ^C and ^D
			k.pressed <- Quit
		}
	}
}

// Wait lets the time pass, or returns a key that was pressed before it had. An endless wait is a negative d.
func (k *Keys) Wait(ctx context.Context, d time.Duration) (Key, error) {
	var over <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
		return NoKey, nil
	case key := <-k.pressed:
		return key, nil
	case <-ctx.Done():
		return NoKey, context.Cause(ctx)
	}
}

// Close gives the terminal back as it was.
func (k *Keys) Close() { k.restore() }
