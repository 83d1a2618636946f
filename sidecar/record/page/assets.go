package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"strings"
)

//go:embed player/asciinema-player.min.js
var playerScript string

//go:embed player/asciinema-player.css
var playerStyle string

//go:embed player/NOTICE
var playerNotice string

//go:embed page.js
var pageScript string

//go:embed page.css
var pageStyle string

//go:embed page.html.tmpl
var pageTemplate string

var templates = template.Must(template.New("page").Parse(pageTemplate))

// contentSecurityPolicy lets these scripts and styles take effect and nothing else, whatever the page's text says
// (CSP Level 3). The player's terminal emulator is WebAssembly, which needs wasm-unsafe-eval; it lets no JavaScript
// be made from text. The player sizes things through the CSSOM, which style-src is not about.
func contentSecurityPolicy(scripts, styles []string) string {
	var script, style strings.Builder
	for _, s := range scripts {
		script.WriteString(" " + integrity(s))
	}
	for _, s := range styles {
		style.WriteString(" " + integrity(s))
	}
	return "default-src 'none'; script-src" + script.String() + " 'wasm-unsafe-eval'; style-src" + style.String() +
		"; img-src data:; base-uri 'none'; form-action 'none'"
}

func integrity(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
