// Package page writes a recording as one HTML file: a terminal in the asciinema player, anything else as a timeline
// that can be searched. The file asks the network for nothing, and nothing that an agent wrote runs in it: every text
// is made printable and escaped, and a Content-Security-Policy lets only the page's own scripts run.
//
// It is a package of its own so that the player is linked into what exports recordings and not into the sidecar.
package page
