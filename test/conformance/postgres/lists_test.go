package main

import (
	"testing"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

func TestListsOfAllSuites(t *testing.T) {
	for _, s := range suites {
		if _, err := difference.Read(lists, s.name); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
