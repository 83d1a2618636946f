package wire

import (
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// Rules is a destination's policies, compiled for a session. It is immutable; sessions share it.
type Rules struct {
	destination *policy.Destination
	settings    *policy.PostgresSettings
	protected   *sql.Protected
	detectors   *mask.Detectors
	masking     []policy.Masking
	maxText     int
	// blind says that the rules may be asked once for all query strings that differ in constants alone.
	blind bool
}

// CompileRules makes the rules of a PostgreSQL destination.
func CompileRules(d *policy.Destination) (*Rules, error) {
	settings := d.Postgres()
	if settings == nil {
		return nil, fmt.Errorf("target %s is not a PostgreSQL target", d.Name())
	}
	r := &Rules{destination: d, settings: settings, masking: settings.Masking, maxText: sql.MaxStatementBytes, blind: !d.Conditional()}
	if n := settings.Limits.MaxStatementBytes; n > 0 && n < int64(r.maxText) {
		r.maxText = int(n)
	}
	var err error
	if r.protected, err = sql.NewProtected(settings.Masking); err != nil {
		return nil, fmt.Errorf("target %s: %w", d.Name(), err)
	}
	if r.detectors, err = mask.Compile(settings.Masking); err != nil {
		return nil, fmt.Errorf("target %s: %w", d.Name(), err)
	}
	return r, nil
}

// Destination is what the rules were compiled from.
func (r *Rules) Destination() *policy.Destination { return r.destination }

// ByName tells whether any column is protected by its name, so that a session needs the server's catalogue.
func (r *Rules) ByName() bool { return !r.protected.Empty() }

// masks tells whether rows have to be looked at at all.
func (r *Rules) masks() bool { return !r.protected.Empty() || !r.detectors.Empty() }

// touches tells whether a table has a protected column, by what the statement says of its name.
func (r *Rules) touches(t *policy.Table) bool {
	if _, ok := r.protected.Match(t.Schema, t.Name, ""); ok {
		return true
	}
	for _, schema := range t.Candidates {
		if _, ok := r.protected.Match(schema, t.Name, ""); ok {
			return true
		}
	}
	return false
}

// Clean is a text as it may be shown: what detectors find is masked, and it is cut at limit bytes.
func (r *Rules) Clean(text string, limit int) (string, int) { return r.detectors.Text(text, limit) }
