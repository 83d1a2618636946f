package record

// Kind says what an event is.
type Kind string

const (
	KindConnect    Kind = "connect"    // a connection was accepted
	KindCommand    Kind = "command"    // a command was decided; Verdict says how
	KindApproval   Kind = "approval"   // an approval was asked for, granted, denied or ran out
	KindResult     Kind = "result"     // a command ended: rows, bytes, error
	KindOutput     Kind = "output"     // bytes that the agent saw (streams and terminals), masked
	KindInput      Kind = "input"      // bytes that the agent typed, where the policy records input
	KindResize     Kind = "resize"     // a terminal changed its size
	KindDisconnect Kind = "disconnect" // a connection ended; Error says why if not by its own wish
	KindLost       Kind = "lost"       // events are missing here; Error says how many and why
	KindEnd        Kind = "end"        // the log ends; Error says why if it was broken off
)

// Event is one line of a session's log. Texts are masked and bounded before they come here.
type Event struct {
	// Seconds since the log's start (SessionRecording.status.startTime).
	Time float64 `json:"t"`
	Kind Kind    `json:"kind"`
	// Connection numbers the connections of a log from 1; Command numbers the commands of a connection from 1.
	Connection uint32 `json:"conn,omitempty"`
	Command    uint64 `json:"cmd,omitempty"`

	// KindConnect.
	Protocol string `json:"protocol,omitempty"`
	Peer     string `json:"peer,omitempty"`     // destination as the agent dialled it, address:port
	User     string `json:"user,omitempty"`     // upstream user
	Database string `json:"database,omitempty"` // PostgreSQL
	Client   string `json:"client,omitempty"`   // application_name, SSH banner, User-Agent: the agent's own words

	// KindCommand and KindApproval. Text is masked, truncated to a bound; TextLength is its whole length in
	// bytes and Digest the SHA-256 (hex) of what runs.
	Text       string   `json:"text,omitempty"`
	TextLength int      `json:"textLength,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Verdict    string   `json:"verdict,omitempty"` // Allow, Deny, RequireApproval
	Audited    string   `json:"audited,omitempty"` // what an Audit policy would have done
	Policy     string   `json:"policy,omitempty"`
	Generation int64    `json:"generation,omitempty"`
	Rule       string   `json:"rule,omitempty"`
	Message    string   `json:"message,omitempty"`
	Request    string   `json:"request,omitempty"`  // ApprovalRequest's name
	Decision   string   `json:"decision,omitempty"` // Pending, Approved, Denied, Expired
	Deciders   []string `json:"deciders,omitempty"`

	// KindResult.
	Tag    string `json:"tag,omitempty"` // command tag, or exit status
	Rows   int64  `json:"rows,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Masked int64  `json:"masked,omitempty"` // values replaced
	// SQLSTATE and Error of KindResult and KindDisconnect; texts masked.
	SQLSTATE string `json:"sqlstate,omitempty"`
	Error    string `json:"error,omitempty"`

	// KindOutput, KindInput: Data is UTF-8, other bytes escaped; Stream is stdout, stderr or stdin.
	Stream string `json:"stream,omitempty"`
	Data   string `json:"data,omitempty"`
	// KindResize.
	Columns int `json:"columns,omitempty"`
	Lines   int `json:"lines,omitempty"`
}
