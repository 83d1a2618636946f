package wire

import "strings"

// formats are the settings by which the server reads literals and bound values that are text (PostgreSQL, section 20.11.2):
// 02/01/2026 is a day in January or one in February. It reports them, as a query or a pipeline ends.
type formats struct {
	dateStyle, intervalStyle, timeZone string
	text                               string // all three
}

func (f *formats) set(parameter, value string) {
	switch parameter {
	case "DateStyle":
		f.dateStyle = value
	case "IntervalStyle":
		f.intervalStyle = value
	case "TimeZone":
		f.timeZone = value
	default:
		return
	}
	f.text = f.dateStyle + "; " + f.intervalStyle + "; " + f.timeZone
}

// reforms tells whether a parameter is one of them, or all are.
func reforms(parameter string) bool {
	switch strings.ToLower(parameter) {
	case "", "datestyle", "intervalstyle", "timezone":
		return true
	}
	return false
}

// unusual says what is not as servers come, for people to see.
func (f *formats) unusual() string {
	var out []string
	for _, s := range []struct{ name, value, usual string }{
		{"DateStyle", f.dateStyle, "ISO, MDY"}, {"IntervalStyle", f.intervalStyle, "postgres"}, {"TimeZone", f.timeZone, "UTC"},
	} {
		if s.value != "" && s.value != s.usual && (s.name != "TimeZone" || s.value != "Etc/UTC" && s.value != "GMT") {
			out = append(out, s.name+" "+s.value)
		}
	}
	return strings.Join(out, ", ")
}
