package wire

import (
	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
)

// withheldText stands for a text that could quote a protected value.
const withheldText = "(withheld: the statement touches protected columns)"

// quotes tells whether an error's message may quote a value that the server was working on, by the class of its
// SQLSTATE (appendix A): those that speak of privileges, resources and states do not. Names and syntax may be those
// in a value, read by a cast to regclass and its like; where they are the statement's own, the error points there.
// What comes out of running code has a context, and any SQLSTATE.
func quotes(e *pgproto3.ErrorResponse) bool {
	if len(e.Code) != 5 || e.Where != "" || e.InternalQuery != "" {
		return true
	}
	switch e.Code[:2] {
	case "0A", "3D", "3F", "42":
		return e.Position == 0 && !ownNames[e.Code]
	case "00", "01", "02", "03", "08", "21", "23", "25", "26", "28", "2B", "2D", "34", "3B", "40", "44", "53", "54", "55", "57", "58":
		return false
	}
	return true
}

// ownNames are the SQLSTATEs of class 42 that speak, without a position, of objects that are there, or that the
// statement was to make.
var ownNames = map[string]bool{
	"42501": true,                                                                                                          // insufficient_privilege
	"42701": true, "42710": true, "42723": true, "42P03": true, "42P04": true, "42P05": true, "42P06": true, "42P07": true, // duplicates
}

// touching tells whether what the server works on touches protected columns, so that its texts could quote them.
func (o *owed) touching() bool {
	if o == nil {
		return false
	}
	if o.sensitive {
		return true
	}
	if j := o.judged; j != nil {
		if j.touches {
			return true
		}
		if o.of != nil && o.of.named != nil || o.run.named != nil {
			return !j.rules.protected.Empty()
		}
	}
	return false
}

// report handles an error or a notice: its texts are masked on their way.
func (c *Core) report(frame []byte, alias bool) {
	o := c.queue.front()
	if o != nil && o.hidden {
		return
	}
	rules := c.compiled
	if o != nil && o.judged != nil {
		rules = o.judged.rules
	}
	if rules == nil || !rules.masks() {
		c.emit(frame, alias)
		return
	}
	var e pgproto3.ErrorResponse
	if err := e.Decode(frame[header:]); err != nil {
		c.brokenf("a message of type %q that cannot be read: %v", frame[0], err)
		return
	}
	if !rules.cleanReport(&e, o.touching()) {
		c.emit(frame, alias)
		return
	}
	if c.dropping {
		return
	}
	var (
		out []byte
		err error
	)
	if frame[0] == msgNoticeResponse {
		out, err = (*pgproto3.NoticeResponse)(&e).Encode(c.toAgent.own())
	} else {
		out, err = e.Encode(c.toAgent.own())
	}
	if err != nil {
		c.brokenf("a message that is too long once masked: %v", err)
		return
	}
	c.toAgent.put(out)
}

// cleanReport masks the texts of an error or a notice and tells whether it changed any. The SQLSTATE and the
// names of objects stay.
func (r *Rules) cleanReport(e *pgproto3.ErrorResponse, touching bool) (changed bool) {
	if touching {
		withhold := quotes(e)
		for _, text := range []*string{&e.Detail, &e.Hint, &e.Where, &e.InternalQuery} {
			if *text != "" {
				*text, changed = withheldText, true
			}
		}
		if withhold {
			e.Message, changed = withheldText, true
		}
	}
	for _, text := range []*string{&e.Message, &e.Detail, &e.Hint, &e.Where, &e.InternalQuery} {
		if clean, _ := r.detectors.Text(*text, 0); clean != *text {
			*text, changed = clean, true
		}
	}
	return changed
}

// errorText is an error's message as it stands in the recording.
func (r *Rules) errorText(e *pgproto3.ErrorResponse, o *owed) string {
	if o.message != nil {
		return "refused"
	}
	if r == nil {
		return mask.Cut(e.Message, maxRecorded)
	}
	copied := *e
	r.cleanReport(&copied, o.touching())
	return mask.Cut(copied.Message, maxRecorded)
}

// notification handles NotificationResponse, whose payload some other session wrote.
func (c *Core) notification(frame []byte, alias bool) {
	var m pgproto3.NotificationResponse
	if len(frame) < header+6 || m.Decode(frame[header:]) != nil {
		c.brokenf("a notification that cannot be read")
		return
	}
	rules := c.compiled
	if rules == nil || rules.detectors.Empty() {
		c.async(frame, alias)
		return
	}
	payload, _ := rules.detectors.Text(m.Payload, 0)
	if payload == m.Payload {
		c.async(frame, alias)
		return
	}
	m.Payload = payload
	if out, err := m.Encode(c.toAgent.own()); err == nil {
		c.toAgent.put(out)
	}
}

// async sends a frame on that answers nothing, and so is never dropped.
func (c *Core) async(frame []byte, alias bool) {
	if alias {
		c.toAgent.pass(frame)
	} else {
		c.toAgent.add(frame)
	}
}

// parameter handles ParameterStatus, which also tells what later statements mean.
func (c *Core) parameter(frame, body []byte, alias bool) {
	var m pgproto3.ParameterStatus
	if len(body) < 2 || m.Decode(body) != nil {
		c.brokenf("a ParameterStatus that cannot be read")
		return
	}
	c.formats.set(m.Name, m.Value)
	switch m.Name {
	case "standard_conforming_strings":
		if on := m.Value == "on"; on != c.state.StandardConformingStrings {
			c.state.StandardConformingStrings = on
			c.version++
		}
	case "client_encoding":
		if m.Value != "UTF8" {
			c.fatal(codeNotSupported, "client_encoding has become "+m.Value+", and only UTF8 is understood")
			return
		}
	case "search_path", "session_authorization":
		c.stale, c.touched = true, true
	}
	value := m.Value
	// Changes are reported as a query ends.
	if freeText[m.Name] && (c.sensitive || c.queue.front().touching()) {
		value = withheldParameter
	} else if rules := c.compiled; rules != nil && !rules.detectors.Empty() {
		value, _ = rules.detectors.Text(value, 0)
	}
	if value != m.Value {
		m.Value = value
		if out, err := m.Encode(c.toAgent.own()); err == nil {
			c.toAgent.put(out)
		}
		return
	}
	c.async(frame, alias)
}

// withheldParameter stands for what a parameter was set to where that could be a protected value, as Redact does.
const withheldParameter = "********"

// freeText are the parameters that servers report (protocol, "Asynchronous Operations") and that take any text. The
// others have their own words, and clients need them to read values.
var freeText = map[string]bool{"application_name": true, "search_path": true, "TimeZone": true}
