package wire

// Message types that an agent sends (PostgreSQL protocol, "Message Formats").
const (
	msgBind         = 'B'
	msgClose        = 'C'
	msgDescribe     = 'D'
	msgExecute      = 'E'
	msgFunctionCall = 'F'
	msgFlush        = 'H'
	msgParse        = 'P'
	msgQuery        = 'Q'
	msgSync         = 'S'
	msgTerminate    = 'X'
	msgCopyFail     = 'f'
)

// Message types that both sides send.
const (
	msgCopyData = 'd'
	msgCopyDone = 'c'
)

// Message types that a server sends once it is ready for queries.
const (
	msgParseComplete        = '1'
	msgBindComplete         = '2'
	msgCloseComplete        = '3'
	msgNotification         = 'A'
	msgCommandComplete      = 'C'
	msgDataRow              = 'D'
	msgErrorResponse        = 'E'
	msgCopyInResponse       = 'G'
	msgCopyOutResponse      = 'H'
	msgEmptyQuery           = 'I'
	msgNoticeResponse       = 'N'
	msgParameterStatus      = 'S'
	msgRowDescription       = 'T'
	msgReadyForQuery        = 'Z'
	msgNoData               = 'n'
	msgPortalSuspended      = 's'
	msgParameterDescription = 't'
)

// Transaction states in ReadyForQuery.
const (
	txIdle   = 'I'
	txOpen   = 'T'
	txFailed = 'E'
)

// header is the size of a message's type and length.
const header = 5

const (
	// maxMessage is the longest message that PostgreSQL itself takes or sends: PQ_LARGE_MESSAGE_LIMIT, one byte
	// short of its allocation limit of 1 GiB (src/include/libpq/libpq.h).
	maxMessage = 1<<30 - 2
	// maxName is the longest name of a prepared statement or portal: the server cuts names at NAMEDATALEN - 1,
	// so two longer ones could be the same one there and two here (src/backend/commands/prepare.c).
	maxName = 63
	// maxNamed bounds messages that hold little beside one name: Describe, Close, Execute.
	maxNamed = 1 << 10
	// maxSmall bounds messages that hold one text of the peer's (CopyFail, CommandComplete, ParameterStatus,
	// notifications, whose payload is under 8000 bytes: NOTIFY_PAYLOAD_MAX_LENGTH).
	maxSmall = 64 << 10
	// maxDescription bounds a RowDescription: 1664 columns (MaxTupleAttributeNumber) of at most 82 bytes each,
	// rounded up.
	maxDescription = 1 << 20
	// maxReport bounds an ErrorResponse or NoticeResponse, which can quote a statement several times.
	maxReport = 8 << 20
	// maxParameters bounds the types that a Parse declares: an unsigned 16-bit count of 4 bytes each.
	maxParameters = 4 * (1<<16 - 1)
	// maxHeldBind is the longest Bind that is held whole; a longer one is checked as it streams through, and
	// cannot wait for an approval.
	maxHeldBind = 4 << 20
)
