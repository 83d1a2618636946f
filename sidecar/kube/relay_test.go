package kube

import (
	"errors"
	"testing"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

func TestAFaultEndsItsSessionAlone(t *testing.T) {
	r := &relay{x: &exchange{connection: &connection{session: &session.Session{Log: logr.Discard()}}}}
	if err := r.contained(func() error { panic("a fault") }); !errors.Is(err, errFault) || ended(err) {
		t.Errorf("got %v", err)
	}
	if err := r.contained(func() error { return errPeerClosed }); !errors.Is(err, errPeerClosed) {
		t.Errorf("got %v", err)
	}
}
