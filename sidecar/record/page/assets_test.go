package page

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePlayerIsTheOneThatWasPublished(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("player", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"asciinema-player.min.js", "asciinema-player.css", "LICENSE"} {
		text, err := os.ReadFile(filepath.Join("player", name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		want := name + "` | `" + hex.EncodeToString(sum[:]) + "`"
		if !strings.Contains(string(readme), want) {
			t.Errorf("player/README.md does not say …%s", want)
		}
	}
	for _, text := range []string{playerScript, pageScript} {
		if lower := strings.ToLower(text); strings.Contains(lower, "</script") || strings.Contains(lower, "<!--") {
			t.Error("a script ends its own element")
		}
	}
	for _, text := range []string{playerStyle, pageStyle} {
		if strings.Contains(strings.ToLower(text), "</style") || strings.Contains(text, "url(") {
			t.Error("a style ends its own element or asks for something")
		}
	}
	if !strings.Contains(playerNotice, "Permission is hereby granted") {
		t.Error("the notice that goes with the player is missing")
	}
}
