package control

import (
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

// waiting is a command that waits for people.
type waiting struct {
	client  *Client
	request *controlpb.ApproveRequest
	notify  func(request string)

	nameMu sync.Mutex // guards name: a timer asks for it as well
	name   string
}

// filed is the ApprovalRequest's name, or empty while it has none.
func (w *waiting) filed() string {
	w.nameMu.Lock()
	defer w.nameMu.Unlock()
	return w.name
}

// named notes the request's name and tells it once.
func (w *waiting) named(name string) {
	w.nameMu.Lock()
	first := w.name == "" && name != ""
	if first {
		w.name = name
	}
	w.nameMu.Unlock()
	if first && w.notify != nil {
		w.notify(name)
	}
}
